"""The interface of Python's `socket` module on top of a driver."""

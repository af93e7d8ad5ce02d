"""ustack: a user-space IPv4/IPv6 host stack for Linux TUN devices.

`from ustack import socket` gives the interface of Python's own `socket` module on top of a ustack `Stack`.
"""

__version__ = "0.1.0"

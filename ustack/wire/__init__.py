"""Wire formats: one module a format, with `parse` (bytes to a value, raising `Drop`) and `build` (values to bytes).

Nothing here keeps state, asks the clock or decides what becomes of a packet.  A parser takes any bytes whatever and
either returns a value that fits them or raises `Drop` with the reason; payloads stay views of the buffer passed in.
"""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview
"""What parsers and builders take bytes as: contiguous, one byte an item."""

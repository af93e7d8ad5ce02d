"""The one door to the C extension: `ffi` and `lib`.

No other module imports `ustack._native`.  The declarations are the headers in `native/include/ustack/`.
"""

from ustack._native import ffi, lib

__all__ = ["ffi", "lib"]

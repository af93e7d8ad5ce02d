"""The extension compiled from `native/`; what it holds is declared in `native/include/ustack/*.h`."""

from typing import Any

ffi: Any
lib: Any

"""Cost without a clock: how many lines of Python a call runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType


def lines_run(call: Callable[[], object]) -> int:
    """The number of Python lines that `call` runs, its callees' with them."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    earlier = sys.gettrace()
    gc.disable()  # a collection would run the callbacks of whoever has some
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(earlier)
        gc.enable()
    return count

"""The real clock of drivers: monotonic nanoseconds."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives the time now in monotonic nanoseconds."""

monotonic: Clock = time.monotonic_ns

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


def after(now: int, seconds: float | None) -> int | None:
    """The deadline `seconds` after `now`; None if there is no limit."""
    return None if seconds is None else now + round(seconds * SECOND)

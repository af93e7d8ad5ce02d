"""The virtual clock: it stands still while anything can run, and jumps to the next deadline when nothing can."""

from __future__ import annotations

from ustack.runtime.clock import SECOND


class VirtualClock:
    """Nanoseconds that only the lab moves.  They begin at one second: zero means "no deadline" in many places."""

    __slots__ = ("_now",)

    def __init__(self, start: int = SECOND) -> None:
        self._now = start

    def now(self) -> int:
        """The virtual time."""
        return self._now

    def jump(self, deadline: int) -> None:
        """Move to `deadline`; never backwards."""
        assert deadline >= self._now, "virtual time does not run backwards"
        self._now = deadline

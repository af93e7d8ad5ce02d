"""Rounds: from a segment's transmission to its acknowledgment.  RFC 9406 §4.2, RFC 8257 §3.3."""

from __future__ import annotations

_HALF = 1 << 31
_MASK = (1 << 32) - 1


class Round:
    """Ends when what was sent last as it began is acknowledged."""

    def __init__(self) -> None:
        self.end = 0

    def begin(self, snd_nxt: int) -> None:
        """A round begins: all that is sent from now on belongs to the next one."""
        self.end = snd_nxt

    def is_over(self, snd_una: int) -> bool:
        """Everything that was sent before the round began is acknowledged."""
        return (snd_una - self.end) & _MASK < _HALF

    def is_passed(self, snd_una: int) -> bool:
        """And something of what was sent since then, too."""
        return 0 < (snd_una - self.end) & _MASK < _HALF

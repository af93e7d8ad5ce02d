"""`StandBy`: how the driver's thread rests while a caller pumps, and when it stops to believe that one will."""

from __future__ import annotations

import threading

TICK_S = 0.001
"""How long nobody may pump while a caller is expected."""
PENALTY_MAX = 64


class StandBy:
    """The rest of the driver's thread.  All but `wait` is called with the stack's lock held."""

    __slots__ = ("_mistrust", "_penalty", "_signal", "_signalled", "deep", "expected")

    def __init__(self) -> None:
        self.expected = False
        """A caller was woken who will probably be back soon, and pump."""
        self.deep = False
        """The rest has no end of its own: the caller who pumps must call `end` when he stops."""
        self._signal = threading.Lock()
        self._signal.acquire()
        self._signalled = False
        self._penalty = 0
        self._mistrust = 0

    def expect(self) -> None:
        """A sleeper was woken: expect him back, unless that failed lately."""
        if self._mistrust:
            self._mistrust -= 1
        else:
            self.expected = True

    def wait(self) -> None:
        """Rest until `end` is called, or for a tick."""
        self._signal.acquire(True, -1 if self.deep else TICK_S)

    def end(self) -> None:
        """The driver's thread is needed now."""
        self.expected = False
        if not self._signalled:
            self._signalled = True
            self._signal.release()

    def rested(self, pumping: bool, pumped: bool) -> None:
        """Draw the conclusions of a rest: a caller pumps now, one has pumped since it began."""
        self.deep = False
        if self._signalled:
            self._signalled = False
            self._signal.acquire(False)
        elif pumped:
            self._penalty = 0
        elif pumping:
            self.deep = True
        else:
            self.expected = False
            self._penalty = self._mistrust = min(2 * self._penalty + 1, PENALTY_MAX)

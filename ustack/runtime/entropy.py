"""Randomness from the operating system, for stacks on the real clock."""

from __future__ import annotations

import os


class SystemEntropy:
    """An `Entropy` that asks the kernel (getrandom(2)), a block at a time."""

    _BLOCK = 512

    def __init__(self) -> None:
        self._pool = b""

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self._pool):
            self._pool += os.urandom(max(count, self._BLOCK))
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken

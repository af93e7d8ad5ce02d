"""Where random numbers come from: the protocol `Entropy`, and `SeededEntropy` that gives the same bytes for a seed.

The core never asks the operating system; the runtime floor has an `Entropy` that does.
"""

from __future__ import annotations

import hashlib
from typing import Protocol


class Entropy(Protocol):
    """A source of unpredictable bytes."""

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        ...


class SeededEntropy:
    """A deterministic stream of bytes: BLAKE2b over the seed and a counter."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.blake2b(str(seed).encode(), digest_size=32).digest()
        self._counter = 0
        self._pool = b""

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._pool) < count:
            block = hashlib.blake2b(self._counter.to_bytes(8, "big"), key=self._key).digest()
            self._counter += 1
            self._pool += block
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken


def take_int(entropy: Entropy, bits: int) -> int:
    """An unsigned integer of `bits` bits, a multiple of 8."""
    return int.from_bytes(entropy.take(bits // 8), "big")

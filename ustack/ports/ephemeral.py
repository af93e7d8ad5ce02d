"""The choice of ephemeral ports, RFC 6056."""

from __future__ import annotations

from collections.abc import Iterator

from ustack.entropy import Entropy, take_int
from ustack.native import lib

COUNTERS = 1024
"""Entries of the table of counters; RFC 6056 §3.3.4 calls it TABLE_LENGTH."""


class EphemeralPorts:
    """Gives ports of a range to try, in an order that nobody outside can foretell.

    Where the remote endpoint is known: RFC 6056 §3.3.4, Algorithm 4 (double-hash), which is Algorithm 3 with a
    counter for each group of remote endpoints in place of one for all, so that no remote learns how many connections
    others get.  Where it is not known: §3.3.1, Algorithm 1 (random, then the next).
    """

    __slots__ = ("_counters", "_entropy", "_index_key", "_offset_key", "first", "last")

    def __init__(self, entropy: Entropy, first: int, last: int) -> None:
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"no range of ports: {first} to {last}")
        self.first = first
        self.last = last
        self._entropy = entropy
        self._offset_key = entropy.take(16)
        self._index_key = entropy.take(16)
        seed = entropy.take(2 * COUNTERS)
        self._counters = [int.from_bytes(seed[2 * i : 2 * i + 2], "big") for i in range(COUNTERS)]

    def ports(self, local: bytes, remote: bytes | None, remote_port: int) -> Iterator[int]:
        """Every port of the range once, in the order to be tried; stop at the first that suits."""
        if remote is None:
            return self._random()
        return self._double_hash(local + remote + remote_port.to_bytes(2, "big"))

    def _random(self) -> Iterator[int]:
        count = self.last - self.first + 1
        start = take_int(self._entropy, 64)
        for step in range(count):
            yield self.first + (start + step) % count

    def _double_hash(self, identity: bytes) -> Iterator[int]:
        count = self.last - self.first + 1
        offset = lib.siphash(self._offset_key, identity, len(identity))
        index = lib.siphash(self._index_key, identity, len(identity)) % COUNTERS
        for _ in range(count):
            port = self.first + (offset + self._counters[index]) % count
            self._counters[index] += 1
            yield port

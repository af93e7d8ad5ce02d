"""What is known of the MTU of paths.  RFC 1191, RFC 8201.

Entries age: after `path_mtu_lifetime_ns` the interface's MTU is tried again (RFC 1191 §6.3, RFC 8201 §4).  They are
bounded; the one that was longest without use goes first, so a flood of forged reports costs a host no more than its
discoveries.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ustack.address import Prefix
from ustack.config import IpConfig
from ustack.wire import ipv6

PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
"""MTUs that links have, for routers that report none.  RFC 1191 §7.1."""


def next_plateau(length: int) -> int:
    """The greatest plateau under the total length of the packet that was too big.  RFC 1191 §7.1."""
    return next((plateau for plateau in PLATEAUS if plateau < length), PLATEAUS[-1])


@dataclass(slots=True)
class _PathMtu:
    mtu: int
    expires_ns: int
    fragmentable: bool


class PathMtuCache:
    """Path MTUs by destination.  `generation` changes with every change of an entry."""

    def __init__(self, config: IpConfig) -> None:
        self._config = config
        self._entries: OrderedDict[bytes, _PathMtu] = OrderedDict()
        self.generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, destination: bytes, now: int) -> int | None:
        """The path MTU that was learned, None if none was or it has expired."""
        entry = self._live(destination, now) if self._entries else None
        return None if entry is None else entry.mtu

    def must_allow_fragmentation(self, destination: bytes, now: int) -> bool:
        """Whether the path reported less than we go down to, so that IPv4 packets have to leave without DF."""
        entry = self._live(destination, now) if self._entries else None
        return entry is not None and entry.fragmentable

    def learn(self, destination: bytes, mtu: int, now: int, *, current: int = 65535) -> bool:
        """Take a reported MTU; returns whether the path MTU fell.

        It never rises by a report (RFC 1191 §3, RFC 8201 §4).  `current` is what is assumed where nothing was
        learned: the interface's MTU.  The caller has checked that the report quotes a packet that was sent (RFC 5927
        §7).
        """
        known = self.get(destination, now)
        before = current if known is None else known
        floor = self._config.path_mtu_floor_ipv4 if len(destination) == 4 else ipv6.MINIMUM_MTU
        lowered = min(max(mtu, floor), before)
        fragmentable = len(destination) == 4 and mtu < floor
        if mtu >= before or (lowered == before and not fragmentable):
            return False
        self._entries[destination] = _PathMtu(lowered, now + self._config.path_mtu_lifetime_ns, fragmentable)
        self._entries.move_to_end(destination)
        while len(self._entries) > self._config.path_mtu_entries:
            self._entries.popitem(last=False)
        self.generation += 1
        return lowered < before

    def forget(self, destination: bytes) -> None:
        """Assume the interface's MTU again."""
        if self._entries.pop(destination, None) is not None:
            self.generation += 1

    def forget_within(self, prefix: Prefix) -> None:
        """The way to a network has changed: assume its MTU again for all that is in it."""
        for destination in [each for each in self._entries if prefix.contains(each)]:
            self.forget(destination)

    def _live(self, destination: bytes, now: int) -> _PathMtu | None:
        """The entry, now the last to go, unless it has expired: then it is removed."""
        entry = self._entries.get(destination)
        if entry is None:
            return None
        if now >= entry.expires_ns:
            self.forget(destination)
            return None
        self._entries.move_to_end(destination)
        return entry

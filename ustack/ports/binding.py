"""The units of the port table: `Binding` (an endpoint holds a port), `Tally` (who would share), `Place` (who may win).

A *place* is a name of what a binding is open to: an address, the IPv4 or IPv6 wildcard, or `DUAL`, the wildcard of both
versions that an IPv6 socket without IPV6_V6ONLY has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ustack.address import ANY_IPV4, ANY_IPV6
from ustack.constants import IPPROTO_SCTP, IPPROTO_TCP
from ustack.endpoint import Address, Endpoint

DUAL = b""
"""The place of the IPv6 wildcard that takes IPv4 too."""

LISTENING_PROTOCOLS = frozenset((IPPROTO_TCP, IPPROTO_SCTP))
"""Protocols whose bindings take packets of unknown flows only while they listen."""


@dataclass(slots=True, eq=False)
class Binding:
    """A local port held by one endpoint.  Only `PortTable` writes to it, save `endpoint`.

    `endpoint` may be replaced by its successor (a listener takes the place of the endpoint that was bound).
    `reuse_address` and `reuse_port` are the endpoint's options as the table has last seen them.  `remote` is set
    while a datagram endpoint is connected.
    """

    endpoint: Endpoint
    protocol: int
    address: bytes
    port: int
    dual_mode: bool
    reuse_address: bool
    reuse_port: bool
    listening: bool = False
    remote: Address | None = None
    age: int = 0
    """Grows with each binding that became a candidate: the largest is the newest."""
    held: bool = False
    group_index: int = -1
    """Where it stands in its SO_REUSEPORT group; -1 if it is in none."""
    older: Binding | None = field(default=None, repr=False)
    newer: Binding | None = field(default=None, repr=False)

    @property
    def place(self) -> bytes:
        """The place that this binding is open to."""
        return DUAL if self.dual_mode else self.address

    @property
    def is_candidate(self) -> bool:
        """Whether packets of unknown flows may come here (or, with `remote`, those from there)."""
        return self.listening or self.protocol not in LISTENING_PROTOCOLS


class Tally:
    """How many bindings overlap somewhere, and how many of them would share their port on which condition.

    That is all that a bind needs to know of the others, so it costs the same for one and for 100,000.
    """

    __slots__ = ("total", "with_address", "with_either", "with_port")

    def __init__(self) -> None:
        self.total = 0
        self.with_address = 0
        self.with_port = 0
        self.with_either = 0

    def count(self, binding: Binding, change: int) -> None:
        """Count a binding (`change` 1) or count it no longer (-1)."""
        address = binding.reuse_address and not binding.listening
        self.total += change
        self.with_address += change * address
        self.with_port += change * binding.reuse_port
        self.with_either += change * (address or binding.reuse_port)

    def admits(self, binding: Binding) -> bool:
        """Whether each counted binding would share with this one.

        Two share if both have SO_REUSEADDR and the earlier one is no listener, or if both have SO_REUSEPORT.
        """
        if binding.reuse_address and binding.reuse_port:
            return self.with_either == self.total
        if binding.reuse_address:
            return self.with_address == self.total
        if binding.reuse_port:
            return self.with_port == self.total
        return not self.total


class Place(Tally):
    """All bindings of one port and place; the candidates among them also in a chain, newest first, and a group."""

    __slots__ = ("group", "newest", "offered")

    def __init__(self) -> None:
        super().__init__()
        self.offered = 0
        self.newest: Binding | None = None
        self.group: list[Binding] | None = None

    def offer(self, binding: Binding) -> None:
        """Make it the newest candidate, and a member of the SO_REUSEPORT group if it has that option now."""
        self.offered += 1
        binding.older, binding.newer = self.newest, None
        if self.newest:
            self.newest.newer = binding
        self.newest = binding
        if binding.reuse_port:
            if self.group is None:
                self.group = []
            binding.group_index = len(self.group)
            self.group.append(binding)

    def withdraw(self, binding: Binding) -> None:
        """Make it a candidate no longer; the last of its group takes its index, as in Linux."""
        self.offered -= 1
        if binding.newer:
            binding.newer.older = binding.older
        else:
            self.newest = binding.older
        if binding.older:
            binding.older.newer = binding.newer
        binding.older = binding.newer = None
        if binding.group_index >= 0:
            self._leave_group(binding)

    def _leave_group(self, binding: Binding) -> None:
        assert self.group is not None, "a binding with an index is in its place's group"
        last = self.group.pop()
        if last is not binding:
            self.group[binding.group_index] = last
            last.group_index = binding.group_index
        binding.group_index = -1

    def choose(self, flow_hash: int) -> Binding | None:
        """The newest candidate; if it is in the SO_REUSEPORT group, the member that the flow's 64-bit hash gives."""
        newest = self.newest
        if newest is None or newest.group_index < 0 or self.group is None:
            return newest
        return self.group[(flow_hash * len(self.group)) >> 64]

    @property
    def age(self) -> int:
        """The age of the newest candidate; 0 if there is none."""
        return self.newest.age if self.newest else 0

    def candidates(self, limit: int | None = None) -> list[Binding]:
        """The candidates, newest first, at most `limit`."""
        found: list[Binding] = []
        binding = self.newest
        while binding and len(found) != limit:
            found.append(binding)
            binding = binding.older
        return found


class PortUse:
    """Everything held on one port of one protocol: by place, and in total for each IP version."""

    __slots__ = ("ipv4", "ipv6", "places")

    def __init__(self) -> None:
        self.places: dict[bytes, Place] = {}
        self.ipv4 = Tally()
        self.ipv6 = Tally()

    def overlapping(self, place: bytes) -> list[Tally]:
        """The tallies of all bindings that a binding at `place` would overlap."""
        if place == DUAL:
            return [self.ipv4, self.ipv6]
        if place == ANY_IPV6:
            return [self.ipv6]
        names = (DUAL,) if place == ANY_IPV4 else (place, ANY_IPV4 if len(place) == 4 else ANY_IPV6, DUAL)
        tallies: list[Tally] = [self.places[name] for name in names if name in self.places]
        return [*tallies, self.ipv4] if place == ANY_IPV4 else tallies

    def first_with_candidate(self, local: bytes) -> Place | None:
        """The best of the places open to `local` that has a candidate; among places of one rank the newest."""
        for rank in places_open_to(local):
            best: Place | None = None
            for name in rank:
                place = self.places.get(name)
                if place and place.offered and (best is None or place.age > best.age):
                    best = place
            if best:
                return best
        return None

    def hold(self, binding: Binding) -> Place:
        """Count the binding in; returns its place."""
        place = self.places.get(binding.place)
        if place is None:
            place = self.places[binding.place] = Place()
        self._count(binding, place, 1)
        return place

    def let_go(self, binding: Binding) -> None:
        """Count the binding out."""
        place = self.places[binding.place]
        self._count(binding, place, -1)
        if not place.total:
            del self.places[binding.place]

    def recount(self, binding: Binding, reuse_address: bool, reuse_port: bool) -> None:
        """The binding's options for sharing have changed to these."""
        place = self.places[binding.place]
        self._count(binding, place, -1)
        binding.reuse_address = reuse_address
        binding.reuse_port = reuse_port
        self._count(binding, place, 1)

    def _count(self, binding: Binding, place: Place, change: int) -> None:
        place.count(binding, change)
        (self.ipv4 if len(binding.address) == 4 else self.ipv6).count(binding, change)


def places_open_to(local: bytes) -> tuple[tuple[bytes, ...], ...]:
    """The places whose bindings may take a packet to `local`, best first; places of one rank stand together."""
    if len(local) == 4:
        return (local,), (ANY_IPV4,), (DUAL,)
    return (local,), (ANY_IPV6, DUAL)

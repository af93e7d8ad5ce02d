"""The routing table: longest prefix first, then the least metric.  RFC 1122 §3.3.1, RFC 1812 §5.2.4.3.

One dictionary for each prefix length in use, so a lookup costs at most one probe a length, however many routes there
are; results are remembered until the table changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ustack.address import ANY_IPV4, ANY_IPV6, Prefix
from ustack.ip.interface import Interface

_REMEMBERED = 1024
"""Destinations whose candidates are remembered; beyond that all are forgotten."""

DEFAULT_IPV4 = Prefix(ANY_IPV4, 0)
DEFAULT_IPV6 = Prefix(ANY_IPV6, 0)


@dataclass(frozen=True, slots=True)
class RouteMetrics:
    """What is known of a route besides its next hop: what `ip route` calls its attributes.  0 is: not given."""

    mtu: int = 0
    mtu_locked: bool = False
    """Nothing that is learned of the path changes it, and packets may be fragmented on their way."""
    advmss: int = 0
    """The MSS that is announced to those behind the route."""
    initcwnd: int = 0
    """The initial congestion window in segments."""
    initrwnd: int = 0
    """The first window that is offered, in segments."""
    ecn: bool = False
    """Ask for ECN, and grant it, whatever the configuration says."""
    rto_min_ns: int = 0
    quickack: bool = False
    """Acknowledge at once, always."""
    congctl: str = ""
    """The congestion controller."""
    window: int = 0
    """The largest window to offer, in bytes."""
    ssthresh: int = 0
    """The initial slow-start threshold in segments; as in Linux's default it is noted and not applied."""


NO_METRICS = RouteMetrics()


@dataclass(frozen=True, slots=True)
class Route:
    """A way to the addresses of `prefix`.

    `gateway` is the next hop, None for a network that the interface is on; `source` the address that sends by this
    route prefer. `reject` is the errno that they get instead of being sent: EHOSTUNREACH, EACCES (prohibited), EINVAL
    (a black hole).
    """

    prefix: Prefix
    interface: Interface
    gateway: bytes | None = None
    metric: int = 0
    source: bytes | None = None
    reject: int = 0
    metrics: RouteMetrics = NO_METRICS


class RoutingTable:
    """The routes of both versions."""

    def __init__(self) -> None:
        self._levels: dict[int, dict[int, dict[int, list[Route]]]] = {4: {}, 16: {}}
        self._lengths: dict[int, list[int]] = {4: [], 16: []}
        self._remembered: dict[bytes, list[Route]] = {}
        self.generation = 0
        """Changes with every change of the table."""

    def __len__(self) -> int:
        return len(self.routes())

    def add(self, route: Route) -> None:
        """Add a route; one to the same prefix by the same interface and gateway with the same metric gives way."""
        prefix = route.prefix
        level = self._levels[len(prefix.network)].setdefault(prefix.length, {})
        key = _high_bits(prefix)
        kept = [other for other in level.get(key, ()) if not _same_way(other, route)]
        level[key] = sorted([*kept, route], key=lambda each: each.metric)
        self._changed(len(prefix.network))

    def remove(
        self,
        prefix: Prefix,
        interface: Interface | None = None,
        gateway: bytes | None = None,
        metric: int | None = None,
    ) -> int:
        """Remove the routes to exactly `prefix`, of those only what fits the other arguments; returns how many."""
        return self._discard(prefix, lambda route: _fits(route, interface, gateway, metric))

    def set_metrics(self, prefix: Prefix, metrics: RouteMetrics) -> int:
        """Give the routes to exactly `prefix` these metrics in the place of theirs; returns how many there are."""
        same = [route for route in self.routes() if route.prefix == prefix]
        for route in same:
            self.add(replace(route, metrics=metrics))
        return len(same)

    def remove_interface(self, interface: Interface) -> int:
        """Remove all routes by an interface; returns how many."""
        return self._discard_everywhere(lambda route: route.interface is interface)

    def remove_source(self, address: bytes) -> int:
        """Remove all routes that prefer a source; returns how many."""
        return self._discard_everywhere(lambda route: route.source == address)

    def _discard_everywhere(self, unwanted: Callable[[Route], bool]) -> int:
        prefixes = {route.prefix for route in self.routes() if unwanted(route)}
        return sum(self._discard(prefix, unwanted) for prefix in prefixes)

    def _discard(self, prefix: Prefix, unwanted: Callable[[Route], bool]) -> int:
        """Remove the routes to exactly `prefix` that are unwanted; returns how many."""
        size = len(prefix.network)
        level = self._levels[size].get(prefix.length, {})
        key = _high_bits(prefix)
        before = level.get(key, [])
        kept = [route for route in before if not unwanted(route)]
        if len(kept) < len(before):
            level[key] = kept
            if not kept:
                del level[key]
            if not level:
                del self._levels[size][prefix.length]
            self._changed(size)
        return len(before) - len(kept)

    def lookup(
        self, destination: bytes, interface: Interface | None = None, source: bytes | None = None
    ) -> Route | None:
        """The best route whose interface is up (and is `interface`, if given); None if there is none.

        Of routes that are equal in length and metric, one whose interface owns `source` is taken first.
        """
        candidates = self._remembered.get(destination)
        if candidates is None:
            candidates = self._remember(destination)
        if interface is None and len(candidates) == 1:
            return candidates[0] if candidates[0].interface.up else None
        usable = [each for each in candidates if each.interface.up and interface in (None, each.interface)]
        if not usable:
            return None
        if source is not None and len(usable) > 1:
            for route in usable:
                if _rank(route) == _rank(usable[0]) and route.interface.owns(source):
                    return route
        return usable[0]

    def routes(self) -> list[Route]:
        """Every route, the most specific first."""
        return [
            route
            for size in (4, 16)
            for length in self._lengths[size]
            for _, same in sorted(self._levels[size][length].items())
            for route in same
        ]

    def _remember(self, destination: bytes) -> list[Route]:
        """Every route that covers `destination`, in the order of preference."""
        size = len(destination)
        levels = self._levels[size]
        number = int.from_bytes(destination, "big")
        candidates: list[Route] = []
        for length in self._lengths[size]:
            candidates += levels[length].get(number >> (size * 8 - length), ())
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[destination] = candidates
        return candidates

    def _changed(self, size: int) -> None:
        self._lengths[size] = sorted(self._levels[size], reverse=True)
        self._remembered.clear()
        self.generation += 1


def _high_bits(prefix: Prefix) -> int:
    """The bits of the prefix as a number: the key among the prefixes of its length."""
    return int.from_bytes(prefix.network, "big") >> (len(prefix.network) * 8 - prefix.length)


def _rank(route: Route) -> tuple[int, int]:
    """Routes of the same rank are equally good."""
    return route.prefix.length, route.metric


def _same_way(one: Route, other: Route) -> bool:
    """Whether two routes to one prefix are the same but for their attributes."""
    return (one.interface, one.gateway, one.metric) == (other.interface, other.gateway, other.metric)


def _fits(route: Route, interface: Interface | None, gateway: bytes | None, metric: int | None) -> bool:
    """Whether a route has what is given."""
    return (
        (interface is None or route.interface is interface)
        and (gateway is None or route.gateway == gateway)
        and (metric is None or route.metric == metric)
    )

"""What a connection knows of the way to its peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ustack.ip.routing import Route


@dataclass(slots=True)
class Path:
    """The route as it was when a segment was last sent, and the MTU by which segments are sized now."""

    route: Route | None = None
    route_generation: int = -1
    """The routing table's, when the route was looked up."""
    mtu: int = 0
    mtu_generation: int = -1
    """The one of the cache of path MTUs, when segments were sized."""
    reported_mtu: int = 0
    """What a router has reported during the handshake."""
    largest_window: int = 0
    """The largest window of the peer, when segments were sized."""
    search: PathSearch | None = None
    """The search for a larger path MTU, where that is on."""


@dataclass(slots=True)
class PathSearch:
    """The range that is searched, in bytes of IP packets.  RFC 4821 §7.1."""

    low: int
    """The largest packet that is known to get through, or believed to."""
    high: int
    """The largest that might."""
    enabled: bool
    began_ns: int
    probe_size: int = 0
    """0: no probe is on its way."""
    probe_seq: int = 0
    probe_end: int = 0

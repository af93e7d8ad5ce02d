"""`IpLayer`: all state of IPv4 and IPv6 on one host, and the door to what the other modules do with it.

Read `input` for the way up, `output` for the way down, `icmp` and `icmp_errors` for what the host says about packets.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass

from ustack import errors
from ustack.address import (
    BROADCAST_IPV4,
    LOOPBACK_IPV4,
    LOOPBACK_IPV6,
    InterfaceAddress,
    Prefix,
    is_link_local,
    is_loopback,
    is_mapped,
    is_multicast,
    is_unspecified,
)
from ustack.burst import Burst
from ustack.config import IpConfig
from ustack.drops import DropCounters
from ustack.entropy import Entropy
from ustack.ip import icmp_errors, output
from ustack.ip import input as ip_input
from ustack.ip.addresses import LocalAddresses
from ustack.ip.error_limiter import ErrorLimiter
from ustack.ip.icmp_errors import IcmpErrorKind
from ustack.ip.identification import FlowLabels, Identifications
from ustack.ip.interface import Interface, required_groups
from ustack.ip.packet import Packet
from ustack.ip.path_mtu import PathMtuCache
from ustack.ip.reassembly import Reassembly
from ustack.ip.routing import Route, RouteMetrics, RoutingTable
from ustack.ip.source_selection import select_source
from ustack.native import lib
from ustack.wire import Buffer, ipv6

MINIMUM_MTU_IPV4 = 68
"""Every link takes as much.  RFC 791 §3.2."""
LOOPBACK_MTU = 65535
_LOOPBACK_BURST_BYTES = 4 << 20
_LOOPBACK_OFFLOAD: int = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6 | lib.OFFLOAD_USO
_SOURCES_REMEMBERED = 1024


@dataclass(slots=True)
class IpStatistics:
    """What the layer did that is no drop."""

    datagrams_fragmented: int = 0
    datagrams_reassembled: int = 0
    datagrams_refused: int = 0
    """Not sent because the interface's burst was full: ENOBUFS."""
    echo_replies: int = 0
    echo_replies_failed: int = 0
    """No way back, or no room."""
    errors_sent: int = 0
    errors_limited: int = 0


class IpLayer:
    """IPv4 and IPv6 of one host.  `interfaces[0]` is the loopback interface, which no device serves."""

    def __init__(self, config: IpConfig, entropy: Entropy) -> None:
        self.config = config
        self.counters = DropCounters()
        self.statistics = IpStatistics()
        self.interfaces: list[Interface] = []
        self.routes = RoutingTable()
        self.local = LocalAddresses()
        self.path_mtu = PathMtuCache(config)
        self.reassembly = Reassembly(config, self.counters)
        self.error_limiter = ErrorLimiter(config, entropy)
        self.identifications = Identifications(entropy)
        self._flow_labels = FlowLabels(entropy)
        self._next_index = 1
        self._sources: dict[bytes, tuple[Route, bytes]] = {}
        addresses = (InterfaceAddress(LOOPBACK_IPV4, 8), InterfaceAddress(LOOPBACK_IPV6, 128))
        self.loopback = self.add_interface("lo", LOOPBACK_MTU, addresses, _LOOPBACK_OFFLOAD, loopback=True)

    def add_interface(
        self, name: str, mtu: int, addresses: Iterable[InterfaceAddress], offload: int = 0, *, loopback: bool = False
    ) -> Interface:
        """A new interface with its addresses and the routes to the networks that it is on.

        Raises EEXIST for a name in use, EINVAL for an MTU too small for IPv4 (RFC 791 §3.2) or too big for a frame.
        """
        if any(interface.name == name for interface in self.interfaces):
            raise errors.error(errno.EEXIST, name)
        if not MINIMUM_MTU_IPV4 <= mtu <= lib.FRAME_MAX:
            raise errors.error(errno.EINVAL, f"MTU {mtu}")
        outgoing = Burst(_LOOPBACK_BURST_BYTES) if loopback else Burst()
        outgoing.cdata.offload, outgoing.cdata.mtu = offload, mtu
        interface = Interface(
            self._next_index, name, mtu, [], offload, outgoing, loopback=loopback, groups=required_groups(())
        )
        self._next_index += 1
        self.interfaces.append(interface)
        for address in addresses:
            self.add_address(interface, address)
        return interface

    def remove_interface(self, interface: Interface) -> None:
        """Take an interface away with its addresses and routes."""
        assert not interface.loopback, "a host keeps its loopback interface"
        interface.up = False
        self.interfaces.remove(interface)
        self.routes.remove_interface(interface)
        self._addresses_changed()

    def add_address(self, interface: Interface, address: InterfaceAddress) -> None:
        """Give an interface an address, and the route to its network.

        Raises EEXIST, EADDRNOTAVAIL for what is no host's address, EINVAL for IPv6 on a link whose MTU is under 1280
        (RFC 8200 §5).
        """
        if interface.owns(address.address):
            raise errors.error(errno.EEXIST)
        if is_unspecified(address.address) or is_multicast(address.address) or is_mapped(address.address):
            raise errors.error(errno.EADDRNOTAVAIL)
        if len(address.address) == 16 and interface.mtu < ipv6.MINIMUM_MTU:
            raise errors.error(errno.EINVAL, f"IPv6 on an MTU of {interface.mtu}")
        interface.addresses.append(address)
        interface.groups |= required_groups([address])
        self.routes.add(Route(address.prefix, interface))
        self._addresses_changed()

    def remove_address(self, interface: Interface, address: InterfaceAddress) -> None:
        """Take an address away, and the route to its network if no other address is in that.  Raises EADDRNOTAVAIL."""
        if address not in interface.addresses:
            raise errors.error(errno.EADDRNOTAVAIL)
        interface.addresses.remove(address)
        interface.groups -= required_groups([address])
        interface.groups |= required_groups(interface.addresses)
        if all(other.prefix != address.prefix for other in interface.addresses):
            self.routes.remove(address.prefix, interface)
        self._addresses_changed()
        if not self.is_local(address.address):
            self.routes.remove_source(address.address)

    def _addresses_changed(self) -> None:
        self.local.rebuild(self.interfaces)
        self._sources.clear()

    def is_local(self, address: bytes) -> bool:
        """Whether it is a unicast address of this host."""
        return self.local.is_local(address)

    def is_broadcast(self, address: bytes) -> bool:
        """255.255.255.255, or the broadcast address of a network that this host is on."""
        return address in self.local.broadcast

    def accepts(self, interface: Interface, address: bytes) -> bool:
        """Whether packets to `address` that come in by `interface` are for this host."""
        return self.is_local(address) or self.is_broadcast(address) or address in interface.groups

    def route(self, destination: bytes, source: bytes | None = None, interface: Interface | None = None) -> Route:
        """The way to a destination, by `interface` if that is given.

        Raises ENETUNREACH, EINVAL for a loopback source that would leave the host, and the errno of a route that
        rejects.
        """
        if self.is_local(destination):
            return Route(Prefix(destination, len(destination) * 8), self.loopback)
        if is_unspecified(destination):
            raise errors.error(errno.ENETUNREACH)
        if source is not None and is_loopback(source):
            raise errors.error(errno.EINVAL, "a loopback address does not leave the host")
        group = is_multicast(destination) or destination == BROADCAST_IPV4
        route = self.routes.lookup(destination, interface, source)
        if route is None or (group and not route.prefix.length):
            route = self._on_link(destination, group, source, interface) or route
        if route is None:
            raise errors.error(errno.ENETUNREACH)
        if route.reject:
            raise errors.error(route.reject)
        return route

    def _on_link(
        self, destination: bytes, group: bool, source: bytes | None, interface: Interface | None
    ) -> Route | None:
        """A group needs no route; nor does what may be on the link of the interface that was asked for."""
        if group and interface is None:
            real = [each for each in self.interfaces if each.up and not each.loopback]
            owners = [each for each in real if source is not None and each.owns(source)]
            interface = next(iter(owners or real), None)
        if interface is None or not interface.up:
            return None
        if group or len(destination) == 4 or is_link_local(destination):
            return Route(Prefix(destination, len(destination) * 8), interface)
        return None

    def output_interface(self, destination: bytes, source: bytes | None = None) -> Interface:
        """Where packets to a destination leave: in its `outgoing` they wait.  Raises as `route` does."""
        return self.route(destination, source).interface

    def outlet(
        self, destination: bytes, source: bytes | None, interface: Interface | None, now: int
    ) -> tuple[Interface, int]:
        """The interface for a destination and the path MTU.  Raises as `route` does."""
        if self.is_local(destination):
            return self.loopback, self.loopback.mtu
        route = self.route(destination, source, interface)
        return route.interface, self.mtu_by(route, destination, now)

    def mtu_by(self, route: Route, destination: bytes, now: int) -> int:
        """The path MTU of a destination behind a route: what was learned of it, unless the route's MTU is locked."""
        mtu = min(route.metrics.mtu or route.interface.mtu, route.interface.mtu)
        learned = None if route.metrics.mtu_locked else self.path_mtu.get(destination, now)
        return mtu if learned is None else min(learned, mtu)

    def set_route_metrics(self, prefix: Prefix, metrics: RouteMetrics) -> int:
        """Change the metrics of the routes to exactly `prefix`, as `ip route change` does; returns how many there are.

        What was learned of the paths behind them is forgotten.
        """
        changed = self.routes.set_metrics(prefix, metrics)
        if changed:
            self.path_mtu.forget_within(prefix)
        return changed

    def mtu_for(self, destination: bytes, now: int) -> int:
        """The greatest packet that the path to a destination takes, as far as is known.  Raises as `route` does."""
        return self.outlet(destination, None, None, now)[1]

    def select_source(self, destination: bytes, interface: Interface | None = None) -> bytes:
        """The address to send from.  RFC 6724, RFC 1122 §3.3.4.3.  Raises EADDRNOTAVAIL, or as `route` does."""
        if self.is_local(destination):
            return destination if destination in self.local.unicast else LOOPBACK_IPV4
        route = self.route(destination, None, interface)
        remembered = self._sources.get(destination)
        if remembered is not None and remembered[0] is route:
            return remembered[1]
        source = select_source(destination, route, self.interfaces)
        if source is None:
            raise errors.error(errno.EADDRNOTAVAIL)
        if len(self._sources) >= _SOURCES_REMEMBERED:
            self._sources.clear()
        self._sources[destination] = route, source
        return source

    def resolve_unspecified(self, destination: bytes, source: bytes | None = None) -> bytes:
        """The address that a user means: 0.0.0.0 and :: are this host, at `source` if that is given, as on Linux."""
        if not is_unspecified(destination):
            return destination
        if source is not None and not is_unspecified(source):
            return source
        return LOOPBACK_IPV4 if len(destination) == 4 else LOOPBACK_IPV6

    def receive(
        self, interface: Interface, frame: memoryview, now: int, *, trusted: bool = False, gso_size: int = 0
    ) -> Packet | None:
        """Take a frame from an interface; None if it is a fragment that was kept.  Sends the ICMP errors that are due.

        Raises Drop.  `trusted` says that the device vouches for the transport's checksum.
        """
        return ip_input.receive(self, interface, frame, now, trusted, gso_size)

    def send(
        self,
        source: bytes,
        destination: bytes,
        protocol: int,
        payload: Buffer,
        now: int,
        *,
        ttl: int | None = None,
        traffic_class: int = 0,
        flow_label: int = 0,
        dont_fragment: bool = False,
        discover_path_mtu: bool = True,
        ignore_path_mtu: bool = False,
        options: bytes = b"",
        interface: Interface | None = None,
    ) -> None:
        """Send a datagram: transport header and data in `payload`.

        One that is too long for its path is fragmented, or with `dont_fragment` raises EMSGSIZE.  `discover_path_mtu`
        sets DF on those that fit (Linux's IP_PMTUDISC_WANT); with `ignore_path_mtu` the interface's MTU alone counts.
        Raises ENOBUFS when the interface's burst is full, and
        as `route` does.
        """
        fields = output.Fields(
            self.config.ttl if ttl is None else ttl,
            traffic_class,
            flow_label,
            dont_fragment,
            discover_path_mtu,
            ignore_path_mtu,
            options,
        )
        output.send(self, source, destination, protocol, payload, now, fields, interface)

    def send_raw(self, packet: bytes, now: int) -> None:
        """Send a finished packet as it is.  Raises EINVAL for a bad header, EMSGSIZE, ENOBUFS, and as `route` does."""
        output.send_raw(self, packet, now)

    def icmp_error(self, kind: IcmpErrorKind, packet: Packet, now: int) -> bool:
        """Tell the source of a packet what became of it, if rules and rate allow; returns whether an error was sent."""
        return icmp_errors.report(self, kind, packet, now)

    def next_identification(self, source: bytes, destination: bytes, protocol: int) -> int:
        """An IPv4 identification that does not repeat soon for these three.  RFC 6864 §4.3."""
        return self.identifications.take(source, destination, protocol) & 0xFFFF

    def flow_label(
        self, source: bytes, destination: bytes, protocol: int, source_port: int, destination_port: int
    ) -> int:
        """The flow label of a flow that this host sends.  RFC 6437 §3."""
        return self._flow_labels.label(source, destination, protocol, source_port, destination_port)

    def next_deadline(self) -> int | None:
        """When `advance` is next wanted."""
        return self.reassembly.next_deadline()

    def advance(self, now: int) -> None:
        """Give up datagrams whose fragments did not come in time, and tell their sources.  RFC 1122 §3.3.2."""
        for incomplete in self.reassembly.expire(now):
            if incomplete.first_fragment:
                icmp_errors.report_timeout(self, incomplete.interface, incomplete.first_fragment, now)

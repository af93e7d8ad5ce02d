"""The way of a packet: device, fast path, IP input, reassembly, demultiplexing, transport, socket; and down again.

A `Stack` has six doors: `receive`, `advance`, `transmit`, `next_deadline`, `take_events`, and `open`, whose endpoints
have the user's calls.  It has no clock, no descriptor, no thread and no randomness of its own: time is `now`, monotonic
nanoseconds, and `entropy` is given.  Whoever calls it (a driver) sees to it that one call is made at a time.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ustack import combinations, errors
from ustack.address import InterfaceAddress, Prefix
from ustack.burst import Burst
from ustack.config import StackConfig
from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM
from ustack.drops import Drop, DropReason
from ustack.endpoint import READABLE, Endpoint
from ustack.flow import FlowTable
from ustack.ip import icmp
from ustack.ip.icmp_errors import IcmpErrorKind
from ustack.ip.layer import IpLayer
from ustack.ip.routing import Route
from ustack.native import ffi, lib
from ustack.ports import PortTable
from ustack.raw import RawProtocol
from ustack.tcp.connection import Connection
from ustack.tcp.protocol import TcpProtocol
from ustack.trace import Tracer, Verdict
from ustack.udp import UdpProtocol

if TYPE_CHECKING:
    from ustack.entropy import Entropy
    from ustack.ip.icmp import IcmpError
    from ustack.ip.interface import Interface
    from ustack.ip.packet import Packet

_VOUCHED = lib.FRAME_NEEDS_CHECKSUM | lib.FRAME_DATA_VALID
_LOOPBACK_ROUNDS = 64
"""How often packets to ourselves are taken in before the devices have their turn."""


class PacketCounts(NamedTuple):
    """Packets received since the stack was made, by the path that took them."""

    fast_tcp: int
    fast_udp: int
    slow: int


class Stack:
    """One host.  Any number of stacks live in one process.

    `fast_path=False` leaves every packet to Python: slower, and nothing else changes.  So does a `tracer`.
    """

    def __init__(self, config: StackConfig | None = None, *, entropy: Entropy, fast_path: bool = True) -> None:
        self.config = config or StackConfig()
        self.tracer: Tracer | None = None
        self.running = True
        self._events: list[tuple[Endpoint, int]] = []
        self.ip = IpLayer(self.config.ip, entropy)
        self.counters = self.ip.counters
        self.ports = PortTable(entropy, self.config.ephemeral_ports)
        self.flows = FlowTable(entropy.take(16))
        self.tcp = TcpProtocol(self.ip, self.ports, self.flows, self.config.tcp, entropy, self._events)
        self.udp = UdpProtocol(self.ip, self.ports, self.flows, self.config.udp, self._events)
        self.raw = RawProtocol(self.ip, self.config.udp, self._events)
        self.fast_path = fast_path
        self.tcp.fast_path = fast_path
        self._path: Any = ffi.new("struct fast_path *")
        self._path.flows = self.flows.cdata
        self._spare = Burst()
        self._slow_packets = 0

    # Configuration.

    def add_interface(self, name: str, mtu: int, addresses: Iterable[str], offload: int = 0) -> Interface:
        """An interface with addresses such as `10.9.0.2/24`, and the routes to their networks.  Raises ValueError."""
        return self.ip.add_interface(name, mtu, [InterfaceAddress.parse(text) for text in addresses], offload)

    def add_route(self, prefix: str, interface: Interface, gateway: bytes | None = None) -> None:
        """A route such as `0.0.0.0/0`.  Raises ValueError."""
        self.ip.routes.add(Route(Prefix.parse(prefix), interface, gateway))

    # From devices.

    def receive(self, interface: Interface, burst: Burst, now: int) -> None:
        """Take a burst of frames that a device has received.  Nothing in them raises; each discard is counted."""
        self._take_burst(interface, burst, now)
        self.tcp.settle(now)
        self._take_loopback(now)

    def _take_burst(self, interface: Interface, burst: Burst, now: int) -> None:
        """The fast path takes what it can; the packet that it hands back goes through Python, before any later one."""
        count = len(burst)
        index = 0
        fast = self.fast_path and self.tracer is None and not self.raw.endpoints and interface.up
        while index < count:
            if fast:
                index = lib.fast_path_receive(self._path, burst.cdata, index, interface.index, now)
                if self._path.touched_count:
                    self._note_touched()
                if index >= count:
                    return
            self._take_frame(interface, burst, index, now)
            index += 1

    def _note_touched(self) -> None:
        """Pass on which connections and datagram queues the fast path has changed."""
        path = self._path
        for handle in ffi.unpack(path.touched, path.touched_count):
            owner = self.flows.by_handle(handle)
            if isinstance(owner, Connection):
                self.tcp.touch(owner)
            elif owner is not None:
                self.udp.touched(owner)
        path.touched_count = 0

    def _take_frame(self, interface: Interface, burst: Burst, index: int, now: int) -> None:
        """One frame through Python, to whatever end."""
        self._slow_packets += 1
        meta = burst.cdata.frames[index]
        frame = burst.frame(index)
        trusted = bool(meta.flags & _VOUCHED)
        comment = ""
        drop = None
        try:
            if not interface.up:
                raise Drop(DropReason.INTERFACE_DOWN)
            packet = self.ip.receive(interface, frame, now, trusted=trusted, gso_size=meta.gso_size)
            if packet is None:
                comment = "fragment: kept until the rest arrives"
            else:
                if self.tracer is not None:
                    comment = self._explain(packet)
                self._deliver(packet, now)
        except Drop as end:
            drop = end.reason
            comment = str(end)
            self.counters[drop] += 1
        if self.tracer is not None:
            self.tracer.record(Verdict(now, interface.name, False, burst.completed(index), drop, comment))

    def _deliver(self, packet: Packet, now: int) -> None:
        """To raw sockets, and to the protocol."""
        copies = self.raw.receive(packet, now) if self.raw.endpoints else 0
        protocol = packet.protocol
        if protocol == IPPROTO_TCP:
            self.tcp.receive(packet, now)
        elif protocol == IPPROTO_UDP:
            self.udp.receive(packet, now)
        elif protocol == (IPPROTO_ICMP if packet.version == 4 else IPPROTO_ICMPV6):
            error = icmp.receive(self.ip, packet, now)
            if error is not None:
                self._deliver_error(error, now)
        elif not copies:
            self.ip.icmp_error(IcmpErrorKind.PROTOCOL_UNREACHABLE, packet, now)
            raise Drop(DropReason.UNKNOWN_PROTOCOL, str(protocol))

    def _deliver_error(self, error: IcmpError, now: int) -> None:
        """An ICMP error to the transport whose packet it quotes."""
        protocol = error.quoted.protocol
        self.raw.icmp_error(error, now)
        if protocol == IPPROTO_TCP:
            self.tcp.icmp_error(error, now)
        elif protocol == IPPROTO_UDP:
            self.udp.icmp_error(error, now)

    def _explain(self, packet: Packet) -> str:
        """For a trace: which socket the packet is for, and by which rule."""
        if packet.protocol not in (IPPROTO_TCP, IPPROTO_UDP) or len(packet.payload) < 4:
            return ""
        remote_port, local_port = int.from_bytes(packet.payload[:2], "big"), int.from_bytes(packet.payload[2:4], "big")
        lines = self.ports.explain(
            packet.protocol, packet.destination, local_port, packet.source, remote_port, self.flows
        ).lines()
        return "; ".join(line.strip() for line in lines)

    # Time.

    def advance(self, now: int) -> None:
        """Run what is due at `now`."""
        self.tcp.advance(now)
        self.tcp.settle(now)
        self.ip.advance(now)
        self._take_loopback(now)

    def next_deadline(self) -> int | None:
        """When `advance` is next wanted, None for never; at once while packets to ourselves wait."""
        if len(self.ip.loopback.outgoing):
            return 0
        tcp, ip = self.tcp.timers.next_deadline(), self.ip.next_deadline()
        if tcp is None or ip is None:
            return ip if tcp is None else tcp
        return min(tcp, ip)

    # To devices.

    def transmit(self, now: int) -> list[Interface]:
        """The interfaces whose `outgoing` holds frames for their devices.

        The caller gives the frames to the device, takes from `outgoing` those that it has accepted (`Burst.drop`), and
        calls again until nothing comes: connections that waited for room go on then.
        """
        self._take_loopback(now)
        if self.tcp.blocked:
            self.tcp.resume(now)
        if self.udp.blocked:
            self.udp.resume()
        if self.raw.blocked:
            self.raw.resume()
        return [each for each in self.ip.interfaces if not each.loopback and len(each.outgoing)]

    def _take_loopback(self, now: int) -> None:
        """Packets that we have sent to ourselves arrive."""
        loopback = self.ip.loopback
        for _ in range(_LOOPBACK_ROUNDS):
            if not len(loopback.outgoing):
                return
            burst, loopback.outgoing = loopback.outgoing, self._spare
            self._spare = burst
            loopback.outgoing.cdata.offload = burst.cdata.offload
            loopback.outgoing.cdata.mtu = burst.cdata.mtu
            self._take_burst(loopback, burst, now)
            burst.clear()
            self.tcp.settle(now)
            if self.tcp.blocked:
                self.tcp.resume(now)

    # To sockets.

    def take_events(self) -> list[tuple[Endpoint, int]]:
        """What has happened to endpoints that have an observer: (endpoint, bits of readiness that may hold now)."""
        if not self._events:
            return []
        events = self._events[:]
        self._events.clear()
        return events

    def open(self, family: int, kind: int, protocol: int) -> Endpoint:
        """A new endpoint; 0 is "unspecified" where `combinations.resolve` finds the rest.

        Raises EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPROTOTYPE, EINVAL; EMFILE at the limit; ENETDOWN once
        stopped.
        """
        if not self.running:
            raise errors.error(errno.ENETDOWN)
        family, kind, protocol = combinations.resolve(family, kind, protocol)
        if self._count() >= self.config.endpoints_limit:
            raise errors.error(errno.EMFILE)
        if kind == SOCK_STREAM:
            return self.tcp.open(family)
        if kind == SOCK_DGRAM:
            return self.udp.open(family)
        return self.raw.open(family, protocol)

    def _tables(self) -> Iterator[Iterable[Endpoint]]:
        yield self.tcp.connections
        yield self.udp.endpoints
        yield self.raw.endpoints

    def _count(self) -> int:
        return len(self.tcp.connections) + len(self.tcp.unopened) + len(self.udp.endpoints) + len(self.raw.endpoints)

    @property
    def endpoints(self) -> Iterator[Endpoint]:
        """Every live endpoint: connections, listeners, UDP, raw."""
        for table in self._tables():
            yield from list(table)

    def statistics(self) -> PacketCounts:
        """How many packets took which path."""
        return PacketCounts(self._path.tcp_packets, self._path.udp_packets, self._slow_packets)

    def stop(self, now: int) -> None:
        """The network is gone: every endpoint gets ENETDOWN, nothing more is sent."""
        self.running = False
        for endpoint in self.endpoints:
            endpoint.fail(errno.ENETDOWN)
            if endpoint.observer is not None:
                self._events.append((endpoint, READABLE))

"""`UdpProtocol`: the way of a datagram, and of an ICMP error about one, to its sockets."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ustack import errors
from ustack.address import ANY_IPV4, ANY_IPV6
from ustack.config import UdpConfig
from ustack.constants import AF_INET, IPPROTO_UDP
from ustack.datagram import DatagramProtocol
from ustack.drops import Drop, DropReason
from ustack.endpoint import READABLE, Endpoint
from ustack.flow import FlowTable
from ustack.ip.icmp_errors import IcmpErrorKind
from ustack.ports import Binding, PortTable
from ustack.udp.endpoint import UdpEndpoint
from ustack.udp.flow_cache import FlowCache
from ustack.wire import udp as wire

if TYPE_CHECKING:
    from ustack.ip.icmp import IcmpError
    from ustack.ip.layer import IpLayer
    from ustack.ip.packet import Packet


class UdpProtocol(DatagramProtocol):
    """UDP of one stack."""

    def __init__(
        self,
        ip: IpLayer,
        ports: PortTable,
        flows: FlowTable,
        config: UdpConfig,
        events: list[tuple[Endpoint, int]],
    ) -> None:
        super().__init__(ip, config, events)
        self.ports = ports
        self.cache = FlowCache(flows, config.flow_cache_per_socket)

    # User calls.

    def open(self, family: int) -> UdpEndpoint:
        """An endpoint that is neither bound nor connected."""
        endpoint = UdpEndpoint(self, family)
        self.endpoints[endpoint] = None
        return endpoint

    def bind(self, endpoint: UdpEndpoint, address: bytes, port: int) -> Binding:
        """Hold a port.  Raises EADDRINUSE."""
        binding = self.ports.bind(endpoint, IPPROTO_UDP, address, port)
        self.cache.drop_port(binding.port)
        return binding

    def bind_automatically(self, endpoint: UdpEndpoint) -> Binding:
        """Hold an ephemeral port of the wildcard.  Raises EAGAIN if none is left, as Linux does."""
        address = ANY_IPV4 if endpoint.family == AF_INET else ANY_IPV6
        try:
            return self.bind(endpoint, address, 0)
        except OSError as problem:
            raise errors.error(errno.EAGAIN, "no ephemeral port is left") from problem

    def release(self, binding: Binding) -> None:
        """Let go of a port."""
        self.ports.release(binding)
        self.cache.drop_port(binding.port)

    # Datagrams that come in.

    def receive(self, packet: Packet, now: int) -> None:
        """Check a datagram and queue it where it belongs.  Raises Drop."""
        header = wire.parse(packet.payload)
        datagram = packet.payload[: header.length]
        if not (packet.trusted and header.checksum):
            wire.verify(datagram, packet.source, packet.destination)
        payloads = _single_datagrams(datagram[wire.HEADER_LENGTH :], packet.gso_size)
        if packet.unicast:
            self._receive_unicast(packet, header, payloads, now)
        else:
            self._receive_copies(packet, header, payloads)

    def _receive_unicast(self, packet: Packet, header: wire.UdpHeader, payloads: list[memoryview], now: int) -> None:
        """To one socket; if there is none the sender is told.  RFC 1122 §4.1.3.1."""
        flow = packet.destination, header.destination_port, packet.source, header.source_port
        endpoint = self.ports.lookup(IPPROTO_UDP, *flow)
        if not isinstance(endpoint, UdpEndpoint):
            self.ip.icmp_error(IcmpErrorKind.PORT_UNREACHABLE, packet, now)
            raise Drop(DropReason.UDP_NO_PORT, str(header.destination_port))
        # A flow from this host itself is not entered: the fast path does not ask which interface a packet came by, and
        # such packets must come by the loopback interface.
        if not self.ip.is_local(packet.source):
            self.cache.add(endpoint, flow)
        self._queue([endpoint], packet, header, payloads)

    def _receive_copies(self, packet: Packet, header: wire.UdpHeader, payloads: list[memoryview]) -> None:
        """To every socket that a broadcast or multicast datagram is for; nobody is told if there is none."""
        found = self.ports.matching(
            IPPROTO_UDP, packet.destination, header.destination_port, packet.source, header.source_port
        )
        endpoints = [endpoint for endpoint in found if isinstance(endpoint, UdpEndpoint)]
        if not endpoints:
            raise Drop(DropReason.UDP_NO_PORT, str(header.destination_port))
        self._queue(endpoints, packet, header, payloads)

    def _queue(
        self, endpoints: list[UdpEndpoint], packet: Packet, header: wire.UdpHeader, payloads: list[memoryview]
    ) -> None:
        """Queue every datagram at every endpoint.  Each refusal counts; the packet is dropped if all refuse."""
        refused = 0
        for endpoint in endpoints:
            for payload in payloads:
                refused += not endpoint.deliver(packet, header.source_port, header.destination_port, payload)
        if refused == len(endpoints) * len(payloads):
            self.ip.counters[DropReason.UDP_QUEUE_FULL] += refused - 1
            raise Drop(DropReason.UDP_QUEUE_FULL)
        if refused:
            self.ip.counters[DropReason.UDP_QUEUE_FULL] += refused

    def touched(self, endpoint: Endpoint) -> None:
        """The fast path has queued datagrams at an endpoint, or dropped some because its queue was full."""
        if not isinstance(endpoint, UdpEndpoint):
            return
        endpoint.queue.cdata.touched = 0
        arrivals, drops = endpoint.queue.take_changes()
        if drops:
            self.ip.counters[DropReason.UDP_QUEUE_FULL] += drops
        if arrivals:
            endpoint.raise_event(READABLE)

    # Errors.

    def icmp_error(self, error: IcmpError, now: int) -> None:
        """Report an ICMP error to the socket that has sent what it quotes.  RFC 1122 §4.1.3.3.  Raises Drop.

        The quote must name a socket's port and, if that is connected, its remote endpoint; nothing more of a datagram
        can be verified (RFC 5927 §4).
        """
        quoted = error.quoted
        endpoint = self.ports.lookup(
            IPPROTO_UDP, quoted.source, quoted.source_port, quoted.destination, quoted.destination_port
        )
        if not isinstance(endpoint, UdpEndpoint):
            raise Drop(DropReason.ICMP_QUOTE, f"no socket at port {quoted.source_port}")
        hard = error.hard
        if error.mtu is not None:
            self.ip.path_mtu.learn(quoted.destination, error.mtu, now)
            if not endpoint.options.path_mtu_discovery:
                return
            hard = True
        endpoint.report(error, hard, quoted.destination_port, quoted.transport[wire.HEADER_LENGTH :])


def _single_datagrams(payload: memoryview, gso_size: int) -> list[memoryview]:
    """The datagrams of a frame: one, or those that segmentation offload has joined."""
    if not gso_size or len(payload) <= gso_size:
        return [payload]
    return [payload[start : start + gso_size] for start in range(0, len(payload), gso_size)]

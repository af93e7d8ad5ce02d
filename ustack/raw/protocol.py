"""`RawProtocol`: the way of a packet, and of an ICMP error about one, to the raw sockets of its IP protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.constants import AF_INET, IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP
from ustack.datagram import DatagramProtocol
from ustack.drops import DropReason
from ustack.raw.endpoint import RawEndpoint
from ustack.wire.checksum import SUM_OF_VALID_DATA, pseudo_header_sum, sum_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ustack.config import UdpConfig
    from ustack.endpoint import Endpoint
    from ustack.ip.icmp import IcmpError
    from ustack.ip.layer import IpLayer
    from ustack.ip.packet import Packet


class RawProtocol(DatagramProtocol):
    """The raw sockets of one stack, by IP version and protocol."""

    def __init__(self, ip: IpLayer, config: UdpConfig, events: list[tuple[Endpoint, int]]) -> None:
        super().__init__(ip, config, events)
        self._receivers: dict[tuple[int, int], dict[RawEndpoint, None]] = {}

    def open(self, family: int, protocol: int) -> RawEndpoint:
        """A socket for one IP protocol; one for IPPROTO_RAW can only send."""
        endpoint = RawEndpoint(self, family, protocol)
        self.endpoints[endpoint] = None
        if protocol != IPPROTO_RAW:
            self._receivers.setdefault(_key(endpoint), {})[endpoint] = None
        return endpoint

    def forget(self, endpoint: RawEndpoint) -> None:
        """The socket is closed."""
        receivers = self._receivers.get(_key(endpoint), {})
        receivers.pop(endpoint, None)
        if not receivers:
            self._receivers.pop(_key(endpoint), None)

    def receive(self, packet: Packet, now: int) -> int:
        """Give a copy to every socket that wants the packet, whatever else becomes of it; returns how many want it.

        A copy for which a socket has no room is a counted drop.
        """
        receivers = self._receivers.get((packet.version, packet.protocol))
        if not receivers:
            return 0
        # IPv4 sockets receive the IP header too, IPv6 sockets do not.  raw(7), RFC 3542 §3.
        data = b"".join((packet.header, packet.payload)) if packet.version == 4 else packet.payload
        wanting = [each for each in receivers if each.wants(packet)]
        for endpoint in self._with_right_checksum(wanting, packet):
            if not endpoint.deliver(packet, 0, 0, data):
                self.ip.counters[DropReason.RAW_QUEUE_FULL] += 1
        return len(wanting)

    def _with_right_checksum(self, endpoints: list[RawEndpoint], packet: Packet) -> Iterable[RawEndpoint]:
        """Leave out those that want the checksum checked (IPV6_CHECKSUM, ICMPv6) if it is wrong.  RFC 3542 §3.1."""
        if packet.trusted or all(each.checksum_offset is None for each in endpoints):
            return endpoints
        pseudo = pseudo_header_sum(packet.source, packet.destination, packet.protocol, len(packet.payload))
        if sum_words(packet.payload, pseudo) == SUM_OF_VALID_DATA:
            return endpoints
        unchecked = [each for each in endpoints if each.checksum_offset is None]
        self.ip.counters[DropReason.RAW_CHECKSUM] += len(endpoints) - len(unchecked)
        return unchecked

    def icmp_error(self, error: IcmpError, now: int) -> None:
        """Report an ICMP error to the sockets that may have sent what it quotes.

        A path MTU is learned here for protocols that only raw sockets send.
        """
        quoted = error.quoted
        receivers = self._receivers.get((error.version, quoted.protocol), {})
        concerned = [each for each in receivers if each.is_between(quoted.source, quoted.destination)]
        if concerned and error.mtu is not None and quoted.protocol not in (IPPROTO_TCP, IPPROTO_UDP):
            self.ip.path_mtu.learn(quoted.destination, error.mtu, now)
        for endpoint in concerned:
            endpoint.report_icmp(error)


def _key(endpoint: RawEndpoint) -> tuple[int, int]:
    return 4 if endpoint.family == AF_INET else 6, endpoint.protocol

"""`LivePacket`: a packet on the wire, its fields laid open; and the wire form of what a script sends.

Sequence numbers here are what they are in the packet: translating them is the business of `flow`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from ustack.packetdrill.script import IpSpec
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6, tcp, udp

MASK = 0xFFFFFFFF


class Endpoints(NamedTuple):
    """Who sends a packet to whom."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int

    def reversed(self) -> Endpoints:
        """The other direction."""
        return Endpoints(self.destination, self.destination_port, self.source, self.source_port)


@dataclass(slots=True)
class LivePacket:
    """A packet at a time.  What its protocol does not have is 0 or empty; `kind` is tcp, udp or icmp."""

    now: int
    kind: str
    endpoints: Endpoints
    traffic_class: int = 0
    ttl: int = 64
    flow_label: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    """With AE as its ninth bit."""
    reserved: int = 0
    window: int = 0
    urgent_pointer: int = 0
    options: bytes = b""
    payload: bytes = b""
    icmp_type: int = 0
    icmp_code: int = 0

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if len(self.endpoints.source) == 4 else 6


def parse(packet: bytes, now: int) -> LivePacket | None:
    """A packet that the stack has sent; None for a protocol that scripts do not speak.  Raises Drop."""
    if packet[0] >> 4 == 4:
        four = ipv4.parse(packet)
        live = LivePacket(now, "", Endpoints(four.source, 0, four.destination, 0), four.traffic_class, four.ttl)
        return _parse_transport(live, four.protocol, packet[four.header_length : four.total_length])
    six = ipv6.parse(packet)
    ends = Endpoints(six.source, 0, six.destination, 0)
    live = LivePacket(now, "", ends, six.traffic_class, six.hop_limit, six.flow_label)
    return _parse_transport(live, six.next_header, packet[ipv6.HEADER_LENGTH : ipv6.HEADER_LENGTH + six.payload_length])


def _parse_transport(live: LivePacket, protocol: int, content: bytes) -> LivePacket | None:
    if protocol == IPPROTO_TCP:
        return _parse_segment(live, content)
    if protocol == IPPROTO_UDP:
        header = udp.parse(content)
        live.kind, live.payload = "udp", content[8:]
        live.endpoints = _with_ports(live.endpoints, header.source_port, header.destination_port)
        return live
    if protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6) and len(content) >= 8:
        live.kind, live.icmp_type, live.icmp_code, live.payload = "icmp", content[0], content[1], content[8:]
        return live
    return None


def _parse_segment(live: LivePacket, content: bytes) -> LivePacket:
    header = tcp.parse(content)
    live.kind = "tcp"
    live.endpoints = _with_ports(live.endpoints, header.source_port, header.destination_port)
    live.seq, live.ack = header.seq, header.ack
    live.flags, live.reserved = header.flags, header.reserved
    live.window, live.urgent_pointer = header.window, header.urgent_pointer
    live.options, live.payload = header.options, content[header.data_offset :]
    return live


def _with_ports(endpoints: Endpoints, source: int, destination: int) -> Endpoints:
    return Endpoints(endpoints.source, source, endpoints.destination, destination)


def build(live: LivePacket) -> bytes:
    """The wire form of a TCP or UDP packet."""
    ends = live.endpoints
    if live.kind == "udp":
        transport = udp.build(ends.source, ends.destination, ends.source_port, ends.destination_port, live.payload)
        transport += live.payload
        return build_ip(live, IPPROTO_UDP, transport)
    header = tcp.build(
        ends.source_port, ends.destination_port, live.seq, live.ack, live.flags, live.window,
        urgent_pointer=live.urgent_pointer, options=live.options,
        payload=live.payload, pseudo=(ends.source, ends.destination),
    )  # fmt: skip
    return build_ip(live, IPPROTO_TCP, header + live.payload)


def build_ip(live: LivePacket, protocol: int, content: bytes) -> bytes:
    """An IP packet with the live packet's addresses, traffic class, TTL and flow label."""
    source, _, destination, _ = live.endpoints
    if live.version == 4:
        header = ipv4.build(source, destination, protocol, len(content), ttl=live.ttl, traffic_class=live.traffic_class)
    else:
        header = ipv6.build(
            source, destination, protocol, len(content),
            hop_limit=live.ttl, traffic_class=live.traffic_class, flow_label=live.flow_label,
        )  # fmt: skip
    return header + content


def build_icmp(live: LivePacket, rest: bytes, quoted: bytes) -> bytes:
    """The wire form of an ICMP message: `rest` is the second word of its header."""
    source, _, destination, _ = live.endpoints
    if live.version == 4:
        return build_ip(live, IPPROTO_ICMP, icmpv4.build(live.icmp_type, live.icmp_code, rest, quoted))
    message = icmpv6.build(source, destination, live.icmp_type, live.icmp_code, rest, quoted)
    return build_ip(live, IPPROTO_ICMPV6, message)


def apply_ip(live: LivePacket, spec: IpSpec) -> LivePacket:
    """The packet with what a script says about its IP header."""
    return replace(
        live,
        traffic_class=spec.traffic_class,
        ttl=spec.ttl or 255,
        flow_label=spec.flow_label,
    )


def iterate_options(options: bytes) -> list[tuple[int, bytes, int]]:
    """(kind, data, offset) of every option, no-operations too, to the end of the list or the first illegal length."""
    found = []
    position = 0
    while position < len(options):
        kind = options[position]
        if kind in (0, 1):
            found.append((kind, b"", position))
            position += 1
            continue
        length = options[position + 1] if position + 1 < len(options) else 0
        if length < 2 or position + length > len(options):
            break
        found.append((kind, options[position + 2 : position + length], position))
        position += length
    return found

"""Any bytes taken apart, as far as they go: what `pretty` prints, and what tools show of a packet.

Unlike the parsers, which refuse what is wrong, this goes on with what can still be read, and notes for each layer why a
receiver would drop it.  It never raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ustack.constants import (
    IPPROTO_DSTOPTS,
    IPPROTO_FRAGMENT,
    IPPROTO_HOPOPTS,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IGMP,
    IPPROTO_ROUTING,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from ustack.drops import Drop, DropReason
from ustack.wire import Buffer, icmpv4, icmpv6, igmp, ipv4, ipv6, ipv6_ext, mld, tcp, tcp_options, udp
from ustack.wire.igmp import IgmpMessage
from ustack.wire.ipv4 import Ipv4Header
from ustack.wire.ipv6 import Ipv6Header
from ustack.wire.ipv6_ext import ExtensionHeader, FragmentHeader
from ustack.wire.mld import MldMessage
from ustack.wire.tcp import TcpHeader
from ustack.wire.udp import UdpHeader

EXTENSION_HEADERS_SHOWN = 16
EXTENSION_NAMES = {
    IPPROTO_HOPOPTS: "Hop-by-hop options",
    IPPROTO_ROUTING: "Routing",
    IPPROTO_FRAGMENT: "Fragment",
    IPPROTO_DSTOPTS: "Destination options",
}


@dataclass(slots=True)
class Ports:
    """All that is left of the transport header of a cut packet."""

    source_port: int
    destination_port: int


Header = (
    Ipv4Header
    | Ipv6Header
    | ExtensionHeader
    | FragmentHeader
    | TcpHeader
    | UdpHeader
    | Ports
    | icmpv4.IcmpMessage
    | icmpv6.IcmpMessage
    | IgmpMessage
    | MldMessage
)


@dataclass(slots=True)
class Layer:
    """One header, or the data at the end: the bytes it takes, its value if it has one, what is wrong with it."""

    name: str
    data: memoryview
    header: Header | None = None
    problem: str = ""
    """Why a receiver would drop the packet, "" if it would not."""
    quoted: list[Layer] | None = None
    """The packet that an ICMP error is about."""


@dataclass(slots=True)
class _Datagram:
    """What the transport's layers need of the IP layer.  `whole` is False for fragments and quotes."""

    source: bytes
    destination: bytes
    whole: bool
    quoted: bool


def dissect(packet: Buffer) -> list[Layer]:
    """The layers of a packet that starts at its IP header, outermost first."""
    return _dissect(memoryview(packet), quoted=False)


def _dissect(packet: memoryview, *, quoted: bool) -> list[Layer]:
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        return _dissect_ipv4(packet, quoted)
    if version == 6:
        return _dissect_ipv6(packet, quoted)
    return [Layer("Data", packet, problem=DropReason.NOT_IP.what)]


def problem_of(function: Callable[..., object], *arguments: object) -> str:
    """Why `function` would drop the packet, "" if it would not."""
    try:
        function(*arguments)
    except Drop as drop:
        return f"{drop.reason.what} ({drop.detail})" if drop.detail else drop.reason.what
    return ""


def _dissect_ipv4(packet: memoryview, quoted: bool) -> list[Layer]:
    try:
        header = ipv4.parse_quoted(packet)
    except Drop:
        return [Layer("IPv4", packet, problem=problem_of(ipv4.parse_quoted, packet))]
    problem = "" if quoted else problem_of(ipv4.parse, packet)
    problem = problem or problem_of(ipv4.parse_options, header.options)
    layer = Layer("IPv4", packet[: header.header_length], header, problem)
    payload = packet[header.header_length : max(header.total_length, header.header_length)]
    if header.fragment_offset:
        return [layer, Layer("Data", payload)]
    whole = not (quoted or header.more_fragments or header.total_length > len(packet))
    datagram = _Datagram(header.source, header.destination, whole, quoted)
    return [layer, *_dissect_transport(header.protocol, payload, datagram)]


def _dissect_ipv6(packet: memoryview, quoted: bool) -> list[Layer]:
    try:
        header = ipv6.parse_quoted(packet)
    except Drop:
        return [Layer("IPv6", packet, problem=problem_of(ipv6.parse_quoted, packet))]
    end = ipv6.HEADER_LENGTH + header.payload_length
    whole = not (quoted or end > len(packet))
    packet = packet[:end]
    problem = problem_of(ipv6.parse, packet) or problem_of(ipv6_ext.walk, packet, header.next_header)
    layers = [Layer("IPv6", packet[: ipv6.HEADER_LENGTH], header, "" if quoted else problem)]
    protocol, offset, fragment = _add_extensions(layers, packet, header.next_header)
    if fragment and fragment.fragment_offset:
        return [*layers, Layer("Data", packet[offset:])]
    whole = whole and (fragment is None or fragment.is_atomic)
    datagram = _Datagram(header.source, header.destination, whole, quoted)
    return [*layers, *_dissect_transport(protocol, packet[offset:], datagram)]


def _add_extensions(layers: list[Layer], packet: memoryview, protocol: int) -> tuple[int, int, FragmentHeader | None]:
    """Add the extension headers to `layers`; return what follows, where, and the fragment header that ends them."""
    offset, named_at = ipv6.HEADER_LENGTH, ipv6.NEXT_HEADER_OFFSET
    while protocol in ipv6_ext.EXTENSION_HEADERS and len(layers) <= EXTENSION_HEADERS_SHOWN:
        try:
            length = ipv6_ext.header_length(packet, protocol, offset)
        except Drop:
            break
        name, data = EXTENSION_NAMES[protocol], packet[offset : offset + length]
        following = packet[offset]
        if protocol == IPPROTO_FRAGMENT:
            fragment = ipv6_ext.parse_fragment(packet, offset)
            layers.append(Layer(name, data, fragment))
            if not fragment.is_atomic:
                return following, offset + length, fragment
        else:
            layers.append(Layer(name, data, ExtensionHeader(protocol, offset, length, named_at)))
        protocol, offset, named_at = following, offset + length, offset
    return protocol, offset, None


def _dissect_transport(protocol: int, data: memoryview, datagram: _Datagram) -> list[Layer]:
    """The layers above IP; data alone where nobody here knows the protocol (of this version of IP)."""
    known = _TRANSPORTS.get((protocol, len(datagram.source)))
    return known(data, datagram) if known else [Layer("Data", data)]


def _dissect_tcp(segment: memoryview, datagram: _Datagram) -> list[Layer]:
    try:
        header = tcp.parse(segment)
    except Drop:
        return [_cut("TCP", segment, problem_of(tcp.parse, segment), datagram)]
    problem = problem_of(tcp.verify, segment, datagram.source, datagram.destination) if datagram.whole else ""
    problem = problem or problem_of(tcp_options.parse_options, header.options)
    layer = Layer("TCP", segment[: header.data_offset], header, problem)
    return [layer, Layer("Data", segment[header.data_offset :])]


def _dissect_udp(data: memoryview, datagram: _Datagram) -> list[Layer]:
    if len(data) < udp.HEADER_LENGTH:
        return [_cut("UDP", data, problem_of(udp.parse, data), datagram)]
    header = udp.parse_quoted(data)
    problem = _udp_problem(data, header, datagram) if datagram.whole else ""
    end = max(header.length, udp.HEADER_LENGTH)
    return [Layer("UDP", data[: udp.HEADER_LENGTH], header, problem), Layer("Data", data[udp.HEADER_LENGTH : end])]


def _udp_problem(data: memoryview, header: UdpHeader, datagram: _Datagram) -> str:
    return problem_of(udp.parse, data) or problem_of(
        udp.verify, data[: header.length], datagram.source, datagram.destination
    )


def _cut(name: str, data: memoryview, problem: str, datagram: _Datagram) -> Layer:
    """A transport header that is not whole: its ports, if they are there.  In a quote that is no problem."""
    ports = None
    if len(data) >= 4:
        ports = Ports(int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"))
    return Layer(name, data, ports, "" if datagram.quoted else problem)


def _dissect_icmpv4(data: memoryview, datagram: _Datagram) -> list[Layer]:
    try:
        message = icmpv4.parse_quoted(data)
    except Drop:
        return [_cut("ICMP", data, problem_of(icmpv4.parse_quoted, data), datagram)]
    problem = problem_of(icmpv4.parse, data) if datagram.whole else ""
    layer = Layer("ICMP", data[: icmpv4.HEADER_LENGTH], message, problem)
    return _with_body(layer, message.quoted_packet if message.is_error else None, message.body, datagram)


def _dissect_icmpv6(data: memoryview, datagram: _Datagram) -> list[Layer]:
    try:
        message = icmpv6.parse_quoted(data)
    except Drop:
        return [_cut("ICMPv6", data, problem_of(icmpv6.parse_quoted, data), datagram)]
    addresses = (datagram.source, datagram.destination)
    problem = problem_of(icmpv6.parse, data, *addresses) if datagram.whole else ""
    layer = Layer("ICMPv6", data[: icmpv6.HEADER_LENGTH], message, problem)
    if message.type in mld.MLD_TYPES and datagram.whole:
        return [_dissect_mld(data, message, problem)]
    return _with_body(layer, message.quoted_packet if message.is_error else None, message.body, datagram)


def _with_body(layer: Layer, quoted: memoryview | None, body: memoryview, datagram: _Datagram) -> list[Layer]:
    """An ICMP header with the packet that it quotes, or its data.  Quotes in quotes stay data."""
    if quoted is None or datagram.quoted:
        return [layer, Layer("Data", body)]
    layer.quoted = _dissect(quoted, quoted=True)
    return [layer]


def _dissect_mld(data: memoryview, message: icmpv6.IcmpMessage, problem: str) -> Layer:
    try:
        return Layer("MLD", data, mld.parse(message), problem)
    except Drop:
        return Layer("MLD", data, message, problem or problem_of(mld.parse, message))


def _dissect_igmp(data: memoryview, datagram: _Datagram) -> list[Layer]:
    if not datagram.whole:
        return [Layer("Data", data)]
    try:
        return [Layer("IGMP", data, igmp.parse(data))]
    except Drop:
        return [Layer("IGMP", data, problem=problem_of(igmp.parse, data))]


_TRANSPORTS: dict[tuple[int, int], Callable[[memoryview, _Datagram], list[Layer]]] = {
    (IPPROTO_TCP, 4): _dissect_tcp,
    (IPPROTO_TCP, 16): _dissect_tcp,
    (IPPROTO_UDP, 4): _dissect_udp,
    (IPPROTO_UDP, 16): _dissect_udp,
    (IPPROTO_ICMP, 4): _dissect_icmpv4,
    (IPPROTO_IGMP, 4): _dissect_igmp,
    (IPPROTO_ICMPV6, 16): _dissect_icmpv6,
}

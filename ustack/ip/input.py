"""The way up: a frame becomes a `Packet` for this host, a kept fragment, or a `Drop`.

RFC 1122 §3.2.1 and §3.3.2, RFC 8200 §4; what must not come in is in `addresses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.constants import IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from ustack.drops import Drop, DropReason, ParameterProblem
from ustack.ip import icmp_errors
from ustack.ip.interface import Interface
from ustack.ip.packet import Packet
from ustack.ip.quoted import last_next_header, skip_extensions
from ustack.ip.reassembly import Fragment, Whole
from ustack.wire import ipv4, ipv6, ipv6_ext

if TYPE_CHECKING:
    from ustack.ip.layer import IpLayer

_UPPER_HEADER_LENGTH = {IPPROTO_TCP: 20, IPPROTO_UDP: 8, IPPROTO_ICMPV6: 8}
"""What belongs to the header chain of the upper layers that are known.  RFC 7112 §3."""


def receive(
    layer: IpLayer, interface: Interface, frame: memoryview, now: int, trusted: bool, gso_size: int
) -> Packet | None:
    """`IpLayer.receive`."""
    if not interface.up:
        raise Drop(DropReason.INTERFACE_DOWN, interface.name)
    if not frame:
        raise Drop(DropReason.TRUNCATED, "empty frame")
    version = frame[0] >> 4
    if version == 4:
        return _receive_ipv4(layer, interface, frame, now, trusted, gso_size)
    if version == 6:
        return _receive_ipv6(layer, interface, frame, now, trusted, gso_size)
    raise Drop(DropReason.NOT_IP, f"version {version}")


def _receive_ipv4(
    layer: IpLayer, interface: Interface, frame: memoryview, now: int, trusted: bool, gso_size: int
) -> Packet | None:
    header = ipv4.parse(frame)
    unicast = layer.local.check_ipv4(interface, header.source, header.destination, header.protocol)
    if header.options:
        _check_ipv4_options(layer, interface, frame[: header.total_length], header, now)
    if not header.more_fragments and not header.fragment_offset:
        return _packet_ipv4(interface, header, frame, unicast, trusted, gso_size)
    whole = layer.reassembly.add(_fragment_ipv4(interface, header, frame), now)
    return None if whole is None else _rebuild_ipv4(layer, interface, whole, unicast)


def _packet_ipv4(
    interface: Interface, header: ipv4.Ipv4Header, frame: memoryview, unicast: bool, trusted: bool, gso_size: int,
    reassembled: bool = False,
) -> Packet:  # fmt: skip
    length = header.header_length
    return Packet(
        interface, 4, header.source, header.destination, header.protocol, header.ttl, header.traffic_class, 0,
        frame[:length], frame[length : header.total_length], unicast, trusted, gso_size, reassembled, header.options,
    )  # fmt: skip


def _check_ipv4_options(
    layer: IpLayer, interface: Interface, packet: memoryview, header: ipv4.Ipv4Header, now: int
) -> None:
    """Drop malformed options and say so (RFC 1122 §3.2.2.5); drop source routes silently (RFC 7126 §4.3).

    Those that have been followed to their end are taken where the configuration wants it.
    """
    try:
        options = ipv4.parse_options(header.options)
    except ParameterProblem as problem:
        icmp_errors.report_problem(layer, interface, packet, problem, now)
        raise
    routes = [option for option in options if option.kind in ipv4.SOURCE_ROUTES]
    if not routes:
        return
    ended = all(option.data[0] - 3 >= len(option.data) for option in routes)
    if not layer.config.accept_source_route or not ended:
        raise Drop(DropReason.IP_SOURCE_ROUTE)


def _fragment_ipv4(interface: Interface, header: ipv4.Ipv4Header, frame: memoryview) -> Fragment:
    """Check the fragment's own lengths.  RFC 791 §3.2."""
    data = frame[header.header_length : header.total_length]
    if not data or (header.more_fragments and len(data) % 8):
        raise Drop(DropReason.FRAGMENT_LENGTH, f"{len(data)} bytes")
    if header.header_length + header.fragment_offset + len(data) > ipv4.MAXIMUM_TOTAL_LENGTH:
        raise Drop(DropReason.FRAGMENT_TOO_BIG)
    return Fragment(
        interface,
        (header.source, header.destination, header.protocol, header.identification),
        header.fragment_offset,
        header.more_fragments,
        frame[: header.header_length],
        data,
        header.traffic_class & 3,
    )


def _rebuild_ipv4(layer: IpLayer, interface: Interface, whole: Whole, unicast: bool) -> Packet:
    """The datagram as if it had come in one piece."""
    first = ipv4.parse_quoted(whole.header)
    length = len(whole.data)
    if first.header_length + length > ipv4.MAXIMUM_TOTAL_LENGTH:
        raise Drop(DropReason.FRAGMENT_TOO_BIG)
    layer.statistics.datagrams_reassembled += 1
    header = ipv4.build(
        first.source, first.destination, first.protocol, length,
        ttl=first.ttl, traffic_class=first.traffic_class & ~3 | whole.ecn, identification=first.identification,
        options=first.options,
    )  # fmt: skip
    packet = memoryview(header + whole.data)
    return _packet_ipv4(interface, ipv4.parse_quoted(packet), packet, unicast, False, 0, True)


def _receive_ipv6(
    layer: IpLayer,
    interface: Interface,
    frame: memoryview,
    now: int,
    trusted: bool,
    gso_size: int,
    reassembled: bool = False,
) -> Packet | None:
    header = ipv6.parse(frame)
    unicast = layer.local.check_ipv6(interface, header.source, header.destination)
    end = ipv6.HEADER_LENGTH + header.payload_length
    protocol, offset = header.next_header, ipv6.HEADER_LENGTH
    if protocol in ipv6_ext.EXTENSION_HEADERS:
        packet = frame[:end]
        chain = _walk(layer, interface, packet, header, now)
        protocol, offset = chain.protocol, chain.offset
        if chain.fragment is not None:
            if reassembled:
                raise Drop(DropReason.IPV6_EXTENSION, "a fragment of a fragmented datagram")
            if chain.is_fragment:
                return _receive_fragment_ipv6(layer, interface, packet, header, chain, now)
    return Packet(
        interface, 6, header.source, header.destination, protocol, header.hop_limit, header.traffic_class,
        header.flow_label, frame[:offset], frame[offset:end], unicast, trusted, gso_size, reassembled,
    )  # fmt: skip


def _walk(
    layer: IpLayer, interface: Interface, packet: memoryview, header: ipv6.Ipv6Header, now: int
) -> ipv6_ext.ExtensionChain:
    """Go over the extension headers, and send the parameter problem that is due for one.  RFC 8200 §4."""
    config = layer.config
    try:
        chain = ipv6_ext.walk(
            packet, header.next_header, headers_limit=config.extension_headers_limit, options_limit=config.options_limit
        )
        if chain.is_fragment:
            _check_fragment_ipv6(packet, header, chain)
    except ParameterProblem as problem:
        icmp_errors.report_problem(layer, interface, packet, problem, now)
        raise
    return chain


def _check_fragment_ipv6(packet: memoryview, header: ipv6.Ipv6Header, chain: ipv6_ext.ExtensionChain) -> None:
    """The fragment's own lengths, and for a first one the header chain.  RFC 8200 §4.5, RFC 7112 §5."""
    assert chain.fragment is not None, "only fragments are checked"
    start, length = chain.fragment.fragment_offset, len(packet) - chain.offset
    if chain.fragment.more_fragments and length % 8:
        raise ParameterProblem(
            DropReason.FRAGMENT_LENGTH, ipv6_ext.ERRONEOUS_HEADER, ipv6.PAYLOAD_LENGTH_OFFSET, f"{length} bytes"
        )
    if not length:
        raise Drop(DropReason.FRAGMENT_LENGTH, "no bytes")
    fragment_header = chain.headers[-1].offset
    if fragment_header - ipv6.HEADER_LENGTH + start + length > ipv6.MAXIMUM_PAYLOAD_LENGTH:
        pointer = fragment_header + ipv6_ext.FRAGMENT_OFFSET_FIELD
        raise ParameterProblem(DropReason.FRAGMENT_TOO_BIG, ipv6_ext.ERRONEOUS_HEADER, pointer)
    if not start:
        protocol, _, _ = skip_extensions(packet, header.next_header)
        ipv6_ext.check_first_fragment(packet, chain, _UPPER_HEADER_LENGTH.get(protocol, 1))


def _receive_fragment_ipv6(
    layer: IpLayer,
    interface: Interface,
    packet: memoryview,
    header: ipv6.Ipv6Header,
    chain: ipv6_ext.ExtensionChain,
    now: int,
) -> Packet | None:
    assert chain.fragment is not None, "only fragments are reassembled"
    fragment = Fragment(
        interface,
        (header.source, header.destination, 0, chain.fragment.identification),
        chain.fragment.fragment_offset,
        chain.fragment.more_fragments,
        packet[: chain.offset],
        packet[chain.offset :],
        header.traffic_class & 3,
    )
    whole = layer.reassembly.add(fragment, now)
    if whole is None:
        return None
    packet = memoryview(_rebuild_ipv6(whole))
    layer.statistics.datagrams_reassembled += 1
    return _receive_ipv6(layer, interface, packet, now, False, 0, True)


def _rebuild_ipv6(whole: Whole) -> bytes:
    """The datagram as if it had come in one piece: without the first one's fragment header.  RFC 8200 §4.5."""
    header = bytearray(whole.header[: -ipv6_ext.FRAGMENT_HEADER_LENGTH])
    length = len(header) - ipv6.HEADER_LENGTH + len(whole.data)
    if length > ipv6.MAXIMUM_PAYLOAD_LENGTH:
        raise Drop(DropReason.FRAGMENT_TOO_BIG)
    header[last_next_header(header)] = whole.header[len(header)]
    header[ipv6.PAYLOAD_LENGTH_OFFSET : ipv6.PAYLOAD_LENGTH_OFFSET + 2] = length.to_bytes(2, "big")
    header[1] = header[1] & ~(3 << 4) | whole.ecn << 4
    return bytes(header) + whole.data

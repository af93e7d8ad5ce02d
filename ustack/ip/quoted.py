"""What can be read of a packet that may be cut: the start of one that an ICMP error quotes, or is to quote.

RFC 792, RFC 1122 §3.2.2, RFC 4443 §2.4, RFC 5927 §4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ustack.constants import IPPROTO_FRAGMENT, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP
from ustack.drops import Drop, DropReason
from ustack.wire import Buffer, icmpv4, icmpv6, ipv4, ipv6, ipv6_ext

_WITH_PORTS = frozenset((IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP))


@dataclass(slots=True)
class Quoted:
    """A quoted packet: as this host sent it, so `source` is local to whoever gets an error about it."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    """0 where the protocol has no ports."""
    destination_port: int
    transport: memoryview
    """What is there of the transport's header and data; empty for a fragment that is not the first."""
    length: int
    """Of the whole packet, by its header."""
    traffic_class: int
    first: bool
    """Whether the transport's header would be in this packet, cut or not."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if len(self.source) == 4 else 6

    @property
    def is_icmp_error(self) -> bool:
        """Whether it is an ICMP error, or one for all that can be seen.  RFC 1122 §3.2.2, RFC 4443 §2.4 (e.1, e.2)."""
        if self.protocol not in (IPPROTO_ICMP, IPPROTO_ICMPV6):
            return False
        if not self.transport:
            return True
        kind = self.transport[0]
        if self.version == 4:
            return self.protocol == IPPROTO_ICMP and kind not in _ICMPV4_QUERIES
        return self.protocol == IPPROTO_ICMPV6 and (kind < 128 or kind == icmpv6.Icmpv6Type.REDIRECT)


_ICMPV4_QUERIES = frozenset(icmpv4.IcmpType) - icmpv4.ERROR_TYPES


def read_quoted(packet: Buffer) -> Quoted:
    """Read the start of a packet of either version.  Raises Drop if not even that can be read."""
    view = memoryview(packet)
    if not view:
        raise Drop(DropReason.ICMP_TRUNCATED, "nothing is quoted")
    return _read_ipv4(view) if view[0] >> 4 == 4 else _read_ipv6(view)


def _read_ipv4(view: memoryview) -> Quoted:
    header = ipv4.parse_quoted(view)
    first = header.fragment_offset == 0
    transport = view[header.header_length : header.total_length] if first else view[:0]
    source_port, destination_port = _ports(header.protocol, transport)
    return Quoted(
        header.source, header.destination, header.protocol, source_port, destination_port, transport,
        header.total_length, header.traffic_class, first,
    )  # fmt: skip


def _read_ipv6(view: memoryview) -> Quoted:
    header = ipv6.parse_quoted(view)
    length = ipv6.HEADER_LENGTH + header.payload_length
    protocol, offset, first = skip_extensions(view, header.next_header)
    transport = view[offset:length] if first else view[:0]
    source_port, destination_port = _ports(protocol, transport)
    return Quoted(
        header.source, header.destination, protocol, source_port, destination_port, transport, length,
        header.traffic_class, first,
    )  # fmt: skip


def skip_extensions(packet: Buffer, next_header: int) -> tuple[int, int, bool]:
    """The upper layer of an IPv6 packet, where it lies, and whether it would be there: not in fragments but the first.

    Nothing is checked but the bounds; a chain that is cut gives its last header, at the packet's end.
    """
    offset = ipv6.HEADER_LENGTH
    while next_header in ipv6_ext.EXTENSION_HEADERS and offset + 8 <= len(packet):
        length = (packet[offset + 1] + 1) * 8
        if next_header == IPPROTO_FRAGMENT:
            length = ipv6_ext.FRAGMENT_HEADER_LENGTH
            if ipv6_ext.parse_fragment(packet, offset).fragment_offset:
                return packet[offset], offset + length, False
        next_header, offset = packet[offset], offset + length
    return next_header, min(offset, len(packet)), True


def last_next_header(header: Buffer) -> int:
    """Where the next-header field is that names the upper layer, in an IPv6 header with its extension headers."""
    position, offset = ipv6.NEXT_HEADER_OFFSET, ipv6.HEADER_LENGTH
    while offset < len(header):
        fragment = header[position] == IPPROTO_FRAGMENT
        length = ipv6_ext.FRAGMENT_HEADER_LENGTH if fragment else (header[offset + 1] + 1) * 8
        position, offset = offset, offset + length
    return position


def _ports(protocol: int, transport: memoryview) -> tuple[int, int]:
    if protocol not in _WITH_PORTS or len(transport) < 4:
        return 0, 0
    return transport[0] << 8 | transport[1], transport[2] << 8 | transport[3]

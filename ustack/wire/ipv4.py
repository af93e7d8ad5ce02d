"""The IPv4 header and its options.  RFC 791 §3.1, RFC 1122 §3.2.1.

    0                   1                   2                   3
    |Version|  IHL  |Type of Service|          Total Length         |
    |         Identification        |Flags|      Fragment Offset    |
    |  Time to Live |    Protocol   |         Header Checksum       |
    |                       Source Address                          |
    |                    Destination Address                        |
    |                    Options                    |    Padding    |

The type of service is called traffic class, as in IPv6: DSCP (RFC 2474) and ECN (RFC 3168).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ustack.drops import Drop, DropReason, ParameterProblem
from ustack.wire import Buffer
from ustack.wire.checksum import SUM_OF_VALID_DATA, internet_checksum, sum_words

MINIMUM_HEADER_LENGTH = 20
MAXIMUM_HEADER_LENGTH = 60
MAXIMUM_OPTIONS_LENGTH = MAXIMUM_HEADER_LENGTH - MINIMUM_HEADER_LENGTH
MAXIMUM_TOTAL_LENGTH = 65535
TOTAL_LENGTH_OFFSET = 2
IDENTIFICATION_OFFSET = 4
FLAGS_OFFSET = 6
TTL_OFFSET = 8
PROTOCOL_OFFSET = 9
CHECKSUM_OFFSET = 10
SOURCE_OFFSET = 12
DESTINATION_OFFSET = 16

DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000
FRAGMENT_OFFSET_MASK = 0x1FFF

OPTION_END = 0
OPTION_NO_OPERATION = 1
OPTION_RECORD_ROUTE = 7
OPTION_TIMESTAMP = 68
OPTION_SECURITY = 130
OPTION_LOOSE_SOURCE_ROUTE = 131
OPTION_STREAM_ID = 136
OPTION_STRICT_SOURCE_ROUTE = 137
OPTION_ROUTER_ALERT = 148
SOURCE_ROUTES = frozenset((OPTION_LOOSE_SOURCE_ROUTE, OPTION_STRICT_SOURCE_ROUTE))

_HEADER = struct.Struct("!BBHHHBBH4s4s")
_LEAST_OPTION_LENGTH = {
    OPTION_RECORD_ROUTE: 3,
    OPTION_TIMESTAMP: 4,
    OPTION_LOOSE_SOURCE_ROUTE: 3,
    OPTION_STRICT_SOURCE_ROUTE: 3,
    OPTION_ROUTER_ALERT: 4,
}
_LEAST_OPTION_POINTER = {
    OPTION_RECORD_ROUTE: 4,
    OPTION_TIMESTAMP: 5,
    OPTION_LOOSE_SOURCE_ROUTE: 4,
    OPTION_STRICT_SOURCE_ROUTE: 4,
}


@dataclass(slots=True)
class Ipv4Header:
    """An IPv4 header.  Lengths and the fragment offset are in bytes; `options` include their padding."""

    header_length: int
    traffic_class: int
    total_length: int
    identification: int
    dont_fragment: bool
    more_fragments: bool
    fragment_offset: int
    ttl: int
    protocol: int
    checksum: int
    source: bytes
    destination: bytes
    options: bytes

    @property
    def is_fragment(self) -> bool:
        """Whether other packets hold the rest of the datagram."""
        return self.more_fragments or self.fragment_offset > 0

    @property
    def payload_length(self) -> int:
        """Bytes after the header."""
        return self.total_length - self.header_length


@dataclass(slots=True)
class Ipv4Option:
    """One option: `data` follows the length byte, `offset` is from the IP header's start."""

    kind: int
    data: bytes
    offset: int


def parse(packet: Buffer) -> Ipv4Header:
    """The header of a packet whose lengths and checksum are right; bytes beyond the total length are let be.

    RFC 1122 §3.2.1.1, §3.2.1.2.
    """
    header = parse_quoted(packet)
    total_length = header.total_length
    if not header.header_length <= total_length <= len(packet):
        raise Drop(DropReason.IP_TOTAL_LENGTH, f"total length {total_length}, {len(packet)} bytes received")
    # A copy of so few bytes costs less than C's view of a view.
    if sum_words(bytes(packet[: header.header_length])) != SUM_OF_VALID_DATA:
        raise Drop(DropReason.IP_CHECKSUM, f"checksum 0x{header.checksum:04x}")
    return header


def parse_quoted(packet: Buffer) -> Ipv4Header:
    """The header of a packet that an ICMP error quotes: it may be cut, so total length and checksum are not checked."""
    if len(packet) < MINIMUM_HEADER_LENGTH:
        raise Drop(DropReason.TRUNCATED, f"{len(packet)} bytes of an IPv4 header")
    (
        version_and_length, traffic_class, total_length, identification, fragment,
        ttl, protocol, checksum, source, destination,
    ) = _HEADER.unpack_from(packet)  # fmt: skip
    if version_and_length >> 4 != 4:
        raise Drop(DropReason.NOT_IP, f"version {version_and_length >> 4}")
    header_length = (version_and_length & 0xF) << 2
    if not MINIMUM_HEADER_LENGTH <= header_length <= len(packet):
        raise Drop(DropReason.IP_HEADER_LENGTH, f"header length {header_length}, {len(packet)} bytes received")
    return Ipv4Header(
        header_length,
        traffic_class,
        total_length,
        identification,
        fragment & DONT_FRAGMENT != 0,
        fragment & MORE_FRAGMENTS != 0,
        (fragment & FRAGMENT_OFFSET_MASK) << 3,
        ttl,
        protocol,
        checksum,
        source,
        destination,
        bytes(packet[MINIMUM_HEADER_LENGTH:header_length]) if header_length > MINIMUM_HEADER_LENGTH else b"",
    )


def build(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload_length: int,
    *,
    ttl: int = 64,
    traffic_class: int = 0,
    identification: int = 0,
    dont_fragment: bool = False,
    more_fragments: bool = False,
    fragment_offset: int = 0,
    options: bytes = b"",
) -> bytes:
    """A header with its checksum; `options` are padded with end-of-list to 32 bits.  `fragment_offset` is in bytes."""
    assert fragment_offset % 8 == 0, "fragments start at a multiple of 8 bytes"
    assert len(options) <= MAXIMUM_OPTIONS_LENGTH, "IPv4 options take at most 40 bytes"
    options += bytes(-len(options) % 4)
    header_length = MINIMUM_HEADER_LENGTH + len(options)
    total_length = header_length + payload_length
    fragment = fragment_offset >> 3 | dont_fragment * DONT_FRAGMENT | more_fragments * MORE_FRAGMENTS
    header = _HEADER.pack(
        0x40 | header_length >> 2, traffic_class, total_length, identification, fragment,
        ttl, protocol, 0, source, destination,
    ) + options  # fmt: skip
    checksum = internet_checksum(header)
    return header[:CHECKSUM_OFFSET] + checksum.to_bytes(2, "big") + header[SOURCE_OFFSET:]


def parse_options(options: bytes) -> list[Ipv4Option]:
    """The options but end-of-list and no-operation, in order.

    Raises `ParameterProblem` (IP_OPTION) with a pointer from the IP header's start for one that is malformed.
    RFC 791 §3.1, RFC 1122 §3.2.1.8, §3.2.2.5.
    """
    found = []
    position = 0
    while position < len(options):
        kind = options[position]
        if kind == OPTION_END:
            break
        if kind == OPTION_NO_OPERATION:
            position += 1
            continue
        length = _option_length(options, position)
        data = options[position + 2 : position + length]
        found.append(Ipv4Option(kind, data, MINIMUM_HEADER_LENGTH + position))
        position += length
    return found


def _option_length(options: bytes, position: int) -> int:
    """The length of the option at `position`, once it and the option's own pointer have been checked."""
    kind = options[position]
    if position + 1 >= len(options):
        raise _malformed(position, f"option {kind} without a length")
    length = options[position + 1]
    if not _LEAST_OPTION_LENGTH.get(kind, 2) <= length <= len(options) - position:
        raise _malformed(position + 1, f"option {kind} of length {length}, {len(options) - position} bytes left")
    least_pointer = _LEAST_OPTION_POINTER.get(kind, 0)
    if least_pointer and options[position + 2] < least_pointer:
        raise _malformed(position + 2, f"option {kind} with pointer {options[position + 2]}")
    return length


def _malformed(position: int, detail: str) -> ParameterProblem:
    return ParameterProblem(DropReason.IP_OPTION, 0, MINIMUM_HEADER_LENGTH + position, detail)


def build_option(kind: int, data: bytes) -> bytes:
    """One option with its length byte."""
    return bytes((kind, 2 + len(data))) + data

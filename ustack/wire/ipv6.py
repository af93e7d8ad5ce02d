"""The IPv6 header.  RFC 8200 §3.

    0                   1                   2                   3
    |Version| Traffic Class |              Flow Label               |
    |         Payload Length        |  Next Header  |   Hop Limit   |
    |                   Source Address, 128 bits                    |
    |                 Destination Address, 128 bits                 |

Extension headers are in `ipv6_ext`; jumbograms (RFC 2675) are not spoken.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ustack.drops import Drop, DropReason
from ustack.wire import Buffer

HEADER_LENGTH = 40
MINIMUM_MTU = 1280
MAXIMUM_PAYLOAD_LENGTH = 65535
PAYLOAD_LENGTH_OFFSET = 4
NEXT_HEADER_OFFSET = 6
HOP_LIMIT_OFFSET = 7
SOURCE_OFFSET = 8
DESTINATION_OFFSET = 24

_HEADER = struct.Struct("!IHBB16s16s")


@dataclass(slots=True)
class Ipv6Header:
    """An IPv6 header; `payload_length` is in bytes and counts the extension headers."""

    traffic_class: int
    flow_label: int
    payload_length: int
    next_header: int
    hop_limit: int
    source: bytes
    destination: bytes


def parse(packet: Buffer) -> Ipv6Header:
    """The header of a packet whose length is right; bytes beyond the payload length are let be."""
    header = parse_quoted(packet)
    if HEADER_LENGTH + header.payload_length > len(packet):
        detail = f"payload length {header.payload_length}, {len(packet) - HEADER_LENGTH} bytes received"
        raise Drop(DropReason.IP_TOTAL_LENGTH, detail)
    return header


def parse_quoted(packet: Buffer) -> Ipv6Header:
    """The header of a packet that an ICMP error quotes: it may be cut, so the payload length is not checked."""
    if len(packet) < HEADER_LENGTH:
        raise Drop(DropReason.TRUNCATED, f"{len(packet)} bytes of an IPv6 header")
    word, payload_length, next_header, hop_limit, source, destination = _HEADER.unpack_from(packet)
    if word >> 28 != 6:
        raise Drop(DropReason.NOT_IP, f"version {word >> 28}")
    return Ipv6Header(word >> 20 & 0xFF, word & 0xFFFFF, payload_length, next_header, hop_limit, source, destination)


def build(
    source: bytes,
    destination: bytes,
    next_header: int,
    payload_length: int,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
) -> bytes:
    """A header; `payload_length` counts extension headers."""
    word = 6 << 28 | traffic_class << 20 | flow_label
    return _HEADER.pack(word, payload_length, next_header, hop_limit, source, destination)

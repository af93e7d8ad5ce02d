"""The UDP header.  RFC 768.

    0                   1                   2                   3
    |          Source Port          |       Destination Port        |
    |             Length            |           Checksum            |

The checksum's rules are also of RFC 1122 §4.1.3.4 and RFC 8200 §8.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ustack.constants import IPPROTO_UDP
from ustack.drops import Drop, DropReason
from ustack.wire import Buffer
from ustack.wire.checksum import SUM_OF_VALID_DATA, internet_checksum, pseudo_header_sum, sum_words

HEADER_LENGTH = 8
MAXIMUM_LENGTH = 65535
LENGTH_OFFSET = 4
CHECKSUM_OFFSET = 6

_HEADER = struct.Struct("!HHHH")


@dataclass(slots=True)
class UdpHeader:
    """A UDP header; `length` counts header and data, a `checksum` of zero says that there is none."""

    source_port: int
    destination_port: int
    length: int
    checksum: int


def parse(datagram: Buffer) -> UdpHeader:
    """The header of a datagram whose length is right; bytes beyond it are let be.  `verify` checks the checksum."""
    header = parse_quoted(datagram)
    if not HEADER_LENGTH <= header.length <= len(datagram):
        raise Drop(DropReason.UDP_LENGTH, f"length {header.length}, {len(datagram)} bytes received")
    return header


def parse_quoted(datagram: Buffer) -> UdpHeader:
    """The header of a datagram that an ICMP error quotes: it may be cut, so the length is not checked."""
    if len(datagram) < HEADER_LENGTH:
        raise Drop(DropReason.TRUNCATED, f"{len(datagram)} bytes of a UDP header")
    return UdpHeader(*_HEADER.unpack_from(datagram))


def verify(datagram: Buffer, source: bytes, destination: bytes) -> None:
    """Raise `Drop` unless the checksum is right, or absent over IPv4.

    `datagram` is exactly as long as its length field says.  RFC 1122 §4.1.3.4, RFC 8200 §8.1.
    """
    checksum = datagram[CHECKSUM_OFFSET] << 8 | datagram[CHECKSUM_OFFSET + 1]
    if not checksum:
        if len(source) == 4:
            return
        raise Drop(DropReason.UDP_NO_CHECKSUM)
    pseudo = pseudo_header_sum(source, destination, IPPROTO_UDP, len(datagram))
    if sum_words(datagram, pseudo) != SUM_OF_VALID_DATA:
        raise Drop(DropReason.UDP_CHECKSUM, f"checksum 0x{checksum:04x}")


def build(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    payload: Buffer,
    checksum: bool = True,
) -> bytes:
    """The header of a datagram with `payload`; a computed checksum of zero is sent as 0xFFFF.  RFC 768."""
    length = HEADER_LENGTH + len(payload)
    header = _HEADER.pack(source_port, destination_port, length, 0)
    if not checksum:
        return header
    pseudo = pseudo_header_sum(source, destination, IPPROTO_UDP, length)
    value = internet_checksum(payload, sum_words(header, pseudo)) or 0xFFFF
    return header[:CHECKSUM_OFFSET] + value.to_bytes(2, "big")

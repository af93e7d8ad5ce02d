"""IP_HDRINCL and IPV6_HDRINCL: packets whose IP header the user wrote, and what the stack fills in.

raw(7) has the fields of IPv4: the checksum and the total length always, source and identification where they are
zero.  Of IPv6 the same is done with source and payload length.  A header that no receiver could parse is refused.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from ustack import errors
from ustack.address import ANY_IPV4, ANY_IPV6
from ustack.wire import ipv4, ipv6
from ustack.wire.checksum import internet_checksum

_TOTAL_LENGTH = slice(2, 4)
_IDENTIFICATION = slice(4, 6)
_PROTOCOL = 9
_CHECKSUM = slice(10, 12)
_SOURCE = slice(12, 16)
_DESTINATION = slice(16, 20)
_PAYLOAD_LENGTH = slice(4, 6)
_SOURCE_IPV6 = slice(8, 24)

NextIdentification = Callable[[bytes, bytes, int], int]


def complete_ipv4(packet: bytes, source: bytes, next_identification: NextIdentification) -> bytes:
    """A packet of at most 65535 bytes with its header complete.  Raises EINVAL for a malformed header."""
    header_length = (packet[0] & 15) * 4 if packet else 0
    if header_length < ipv4.MINIMUM_HEADER_LENGTH or packet[0] >> 4 != 4 or header_length > len(packet):
        raise errors.error(errno.EINVAL, "the IPv4 header is malformed")
    header = bytearray(packet[:header_length])
    header[_TOTAL_LENGTH] = len(packet).to_bytes(2, "big")
    if header[_SOURCE] == ANY_IPV4:
        header[_SOURCE] = source
    if header[_IDENTIFICATION] == b"\0\0":
        identification = next_identification(bytes(header[_SOURCE]), bytes(header[_DESTINATION]), header[_PROTOCOL])
        header[_IDENTIFICATION] = identification.to_bytes(2, "big")
    header[_CHECKSUM] = b"\0\0"
    header[_CHECKSUM] = internet_checksum(header).to_bytes(2, "big")
    return b"".join((header, packet[header_length:]))


def complete_ipv6(packet: bytes, source: bytes) -> bytes:
    """A packet of at most 65535 bytes with its header complete.  Raises EINVAL for a malformed header."""
    payload_length = len(packet) - ipv6.HEADER_LENGTH
    if payload_length < 0 or packet[0] >> 4 != 6:
        raise errors.error(errno.EINVAL, "the IPv6 header is malformed")
    header = bytearray(packet[: ipv6.HEADER_LENGTH])
    if header[_PAYLOAD_LENGTH] == b"\0\0":
        header[_PAYLOAD_LENGTH] = payload_length.to_bytes(2, "big")
    elif int.from_bytes(header[_PAYLOAD_LENGTH], "big") != payload_length:
        raise errors.error(errno.EINVAL, "the IPv6 payload length is not the packet's")
    if header[_SOURCE_IPV6] == ANY_IPV6:
        header[_SOURCE_IPV6] = source
    return b"".join((header, packet[ipv6.HEADER_LENGTH :]))

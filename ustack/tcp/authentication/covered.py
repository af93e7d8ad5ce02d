"""The parts of a segment that signatures are made over.  RFC 2385 §2.0, RFC 5925 §5.1."""

from __future__ import annotations

import struct

from ustack.constants import IPPROTO_TCP
from ustack.wire import Buffer
from ustack.wire.tcp import CHECKSUM_OFFSET, MINIMUM_HEADER_LENGTH

HEADER_BYTES = MINIMUM_HEADER_LENGTH
_TAIL_IPV4 = struct.Struct(">BBH")
_TAIL_IPV6 = struct.Struct(">II")


def pseudo_header(source: bytes, destination: bytes, length: int) -> bytes:
    """Of a segment of `length` bytes.  RFC 9293 §3.1, RFC 8200 §8.1."""
    if len(source) == 4:
        return source + destination + _TAIL_IPV4.pack(0, IPPROTO_TCP, length)
    return source + destination + _TAIL_IPV6.pack(length, IPPROTO_TCP)


def without_checksum(header: Buffer) -> bytes:
    """The header with checksum zero."""
    return bytes(header[:CHECKSUM_OFFSET]) + bytes(2) + bytes(header[CHECKSUM_OFFSET + 2 :])

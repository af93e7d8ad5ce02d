"""The TCP header.  RFC 9293 §3.1, RFC 9768 §3.1 (the flag AE).

    0                   1                   2                   3
    |          Source Port          |       Destination Port        |
    |                        Sequence Number                        |
    |                    Acknowledgment Number                      |
    |  Data |     |A|C|E|U|A|P|R|S|F|                               |
    | Offset|Rsrvd|E|W|C|R|C|S|S|Y|I|            Window             |
    |       |     | |R|E|G|K|H|T|N|N|                               |
    |           Checksum            |         Urgent Pointer        |
    |                           Options                             |

What is in the options is the business of `tcp_options`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ustack.constants import IPPROTO_TCP
from ustack.drops import Drop, DropReason
from ustack.wire import Buffer
from ustack.wire.checksum import SUM_OF_VALID_DATA, internet_checksum, pseudo_header_sum, sum_words

MINIMUM_HEADER_LENGTH = 20
MAXIMUM_HEADER_LENGTH = 60
MAXIMUM_OPTIONS_LENGTH = MAXIMUM_HEADER_LENGTH - MINIMUM_HEADER_LENGTH
CHECKSUM_OFFSET = 16

FIN = 1
SYN = 2
RST = 4
PSH = 8
ACK = 16
URG = 32
ECE = 64
CWR = 128
AE = 256

_HEADER = struct.Struct("!HHIIHHHH")


@dataclass(slots=True)
class TcpHeader:
    """A TCP header.  `data_offset` is in bytes; `reserved` is the three bits before AE; `window` is not scaled."""

    source_port: int
    destination_port: int
    seq: int
    ack: int
    data_offset: int
    reserved: int
    flags: int
    window: int
    checksum: int
    urgent_pointer: int
    options: bytes


def parse(segment: Buffer) -> TcpHeader:
    """The header of a segment whose data offset is right; `verify` checks the checksum."""
    if len(segment) < MINIMUM_HEADER_LENGTH:
        raise Drop(DropReason.TRUNCATED, f"{len(segment)} bytes of a TCP header")
    source_port, destination_port, seq, ack, word, window, checksum, urgent_pointer = _HEADER.unpack_from(segment)
    data_offset = word >> 12 << 2
    if not MINIMUM_HEADER_LENGTH <= data_offset <= len(segment):
        raise Drop(DropReason.TCP_HEADER_LENGTH, f"data offset {data_offset}, {len(segment)} bytes received")
    return TcpHeader(
        source_port,
        destination_port,
        seq,
        ack,
        data_offset,
        word >> 9 & 0x7,
        word & 0x1FF,
        window,
        checksum,
        urgent_pointer,
        bytes(segment[MINIMUM_HEADER_LENGTH:data_offset]) if data_offset > MINIMUM_HEADER_LENGTH else b"",
    )


def verify(segment: Buffer, source: bytes, destination: bytes) -> None:
    """Raise `Drop` (TCP_CHECKSUM) unless the checksum of the whole segment is right.  RFC 9293 §3.1 (MUST-3)."""
    pseudo = pseudo_header_sum(source, destination, IPPROTO_TCP, len(segment))
    if sum_words(segment, pseudo) != SUM_OF_VALID_DATA:
        checksum = int.from_bytes(segment[CHECKSUM_OFFSET : CHECKSUM_OFFSET + 2], "big")
        raise Drop(DropReason.TCP_CHECKSUM, f"checksum 0x{checksum:04x}")


def build(
    source_port: int,
    destination_port: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    *,
    urgent_pointer: int = 0,
    options: bytes = b"",
    reserved: int = 0,
    payload: Buffer = b"",
    pseudo: tuple[bytes, bytes] | None = None,
) -> bytes:
    """A header, without the payload; `options` are whole 32-bit words.

    With `pseudo`, the source and destination address, the checksum over header and `payload` is in it; else it is zero.
    """
    assert len(options) <= MAXIMUM_OPTIONS_LENGTH, "TCP options take at most 40 bytes"
    assert len(options) % 4 == 0, "TCP options are padded to 32 bits"
    data_offset = MINIMUM_HEADER_LENGTH + len(options)
    word = data_offset >> 2 << 12 | reserved << 9 | flags
    header = _HEADER.pack(source_port, destination_port, seq, ack, word, window, 0, urgent_pointer) + options
    if pseudo is None:
        return header
    total = pseudo_header_sum(*pseudo, IPPROTO_TCP, data_offset + len(payload))
    checksum = internet_checksum(payload, sum_words(header, total))
    return header[:CHECKSUM_OFFSET] + checksum.to_bytes(2, "big") + header[CHECKSUM_OFFSET + 2 :]

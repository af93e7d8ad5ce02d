"""What IGMPv3 and MLDv2 have in common: group records, source lists, times as floating-point codes.

RFC 3376 §4.1.1, §4.2.4 and RFC 3810 §5.1.3, §5.2.5: the same but for the length of an address.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ustack.drops import Drop, DropReason

_RECORD = struct.Struct("!BBH")


class RecordType(enum.IntEnum):
    """What a group record says.  RFC 3376 §4.2.12, RFC 3810 §5.2.12."""

    MODE_IS_INCLUDE = 1
    MODE_IS_EXCLUDE = 2
    CHANGE_TO_INCLUDE_MODE = 3
    CHANGE_TO_EXCLUDE_MODE = 4
    ALLOW_NEW_SOURCES = 5
    BLOCK_OLD_SOURCES = 6


@dataclass(slots=True)
class GroupRecord:
    """A membership in one group; `auxiliary` is whole 32-bit words, and empty by the RFCs."""

    record_type: int
    group: bytes
    sources: tuple[bytes, ...] = ()
    auxiliary: bytes = b""


def parse_records(data: memoryview, count: int, address_length: int, reason: DropReason) -> tuple[GroupRecord, ...]:
    """The `count` records that `data` starts with.  Raises `Drop` for `reason` if they do not fit."""
    records = []
    position = 0
    for _ in range(count):
        record, length = _parse_record(data[position:], address_length, reason)
        records.append(record)
        position += length
    return tuple(records)


def _parse_record(data: memoryview, address_length: int, reason: DropReason) -> tuple[GroupRecord, int]:
    """The first record, and its length."""
    sources_at = _RECORD.size + address_length
    if len(data) < sources_at:
        raise Drop(reason, f"{len(data)} bytes of a group record")
    record_type, auxiliary_words, count = _RECORD.unpack_from(data)
    sources = parse_sources(data[sources_at:], count, address_length, reason)
    auxiliary_at = sources_at + count * address_length
    end = auxiliary_at + auxiliary_words * 4
    if len(data) < end:
        raise Drop(reason, f"{len(data) - auxiliary_at} bytes of {auxiliary_words} words of auxiliary data")
    group = bytes(data[_RECORD.size : sources_at])
    return GroupRecord(record_type, group, sources, bytes(data[auxiliary_at:end])), end


def parse_sources(data: memoryview, count: int, address_length: int, reason: DropReason) -> tuple[bytes, ...]:
    """The `count` addresses that `data` starts with.  Raises `Drop` for `reason` if they do not fit."""
    end = count * address_length
    if len(data) < end:
        raise Drop(reason, f"{len(data)} bytes of {count} source addresses")
    return tuple(bytes(data[start : start + address_length]) for start in range(0, end, address_length))


def build_records(records: Iterable[GroupRecord]) -> bytes:
    """The records one after the other."""
    return b"".join(
        _RECORD.pack(record.record_type, len(record.auxiliary) // 4, len(record.sources))
        + record.group
        + b"".join(record.sources)
        + record.auxiliary
        for record in records
    )


def decode_time(code: int, mantissa_bits: int) -> int:
    """The time that a code stands for: itself, or with its highest bit set a floating-point number.

    The exponent has three bits; the mantissa 4 in IGMP's octets and 12 in MLD's 16 bits.  RFC 3376 §4.1.1, §4.1.7,
    RFC 3810 §5.1.3; MLD's QQIC (§5.1.9) is an octet too.
    """
    hidden_bit = 1 << mantissa_bits
    if code < hidden_bit << 3:
        return code
    exponent = code >> mantissa_bits & 7
    return (code & hidden_bit - 1 | hidden_bit) << exponent + 3

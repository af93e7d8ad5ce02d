"""IGMP, versions 1 to 3: the formats.  RFC 1112 appendix I, RFC 2236 §2, RFC 3376 §4.

    0                   1                   2                   3
    |     Type      | Max Resp Code |           Checksum            |
    |                         Group Address                         |
    | Resv  |S| QRV |     QQIC      |     Number of Sources (N)     |
    |                       Source Address ...                      |

The third line on is only in queries of version 3; a report of version 3 has group records.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from ustack.drops import Drop, DropReason
from ustack.wire import Buffer
from ustack.wire.checksum import SUM_OF_VALID_DATA, internet_checksum, sum_words
from ustack.wire.group_record import GroupRecord, build_records, decode_time, parse_records, parse_sources

HEADER_LENGTH = 8
QUERY_V3_LENGTH = 12
CHECKSUM_OFFSET = 2
SUPPRESS = 8

_HEADER = struct.Struct("!BBH4s")
_QUERY_V3 = struct.Struct("!BBH")
_REPORT_V3 = struct.Struct("!BBHHH")


class IgmpType(enum.IntEnum):
    """Message types.  RFC 3376 §4."""

    MEMBERSHIP_QUERY = 0x11
    MEMBERSHIP_REPORT_V1 = 0x12
    MEMBERSHIP_REPORT_V2 = 0x16
    LEAVE_GROUP = 0x17
    MEMBERSHIP_REPORT_V3 = 0x22


@dataclass(slots=True)
class MembershipQuery:
    """A query of any version; all after `group` is of version 3.  The codes are as on the wire."""

    version: int
    max_response_code: int
    group: bytes
    suppress: bool = False
    robustness: int = 0
    query_interval_code: int = 0
    sources: tuple[bytes, ...] = ()

    @property
    def max_response_time(self) -> int:
        """In tenths of a second; version 1 knows only 10 s.  RFC 3376 §4.1.1, RFC 2236 §4."""
        if self.version == 1:
            return 100
        return decode_time(self.max_response_code, 4) if self.version == 3 else self.max_response_code

    @property
    def query_interval(self) -> int:
        """In seconds.  RFC 3376 §4.1.7."""
        return decode_time(self.query_interval_code, 4)


@dataclass(slots=True)
class MembershipReport:
    """A report of version 1 or 2."""

    version: int
    group: bytes


@dataclass(slots=True)
class LeaveGroup:
    """A leave group message of version 2."""

    group: bytes


@dataclass(slots=True)
class MembershipReportV3:
    """A report of version 3."""

    records: tuple[GroupRecord, ...]


IgmpMessage = MembershipQuery | MembershipReport | LeaveGroup | MembershipReportV3


def parse(message: Buffer) -> IgmpMessage:
    """A message of a known type whose checksum is right; bytes after what it describes are let be.  RFC 3376 §4."""
    if len(message) < HEADER_LENGTH:
        raise Drop(DropReason.IGMP_MALFORMED, f"{len(message)} bytes")
    message_type, code, checksum, group = _HEADER.unpack_from(message)
    if sum_words(message) != SUM_OF_VALID_DATA:
        raise Drop(DropReason.IGMP_CHECKSUM, f"checksum 0x{checksum:04x}")
    match message_type:
        case IgmpType.MEMBERSHIP_QUERY:
            return _parse_query(memoryview(message), code, group)
        case IgmpType.MEMBERSHIP_REPORT_V1:
            return MembershipReport(1, group)
        case IgmpType.MEMBERSHIP_REPORT_V2:
            return MembershipReport(2, group)
        case IgmpType.LEAVE_GROUP:
            return LeaveGroup(group)
        case IgmpType.MEMBERSHIP_REPORT_V3:
            count = int.from_bytes(group[2:], "big")
            records = parse_records(memoryview(message)[HEADER_LENGTH:], count, 4, DropReason.IGMP_MALFORMED)
            return MembershipReportV3(records)
    raise Drop(DropReason.IGMP_UNKNOWN_TYPE, f"type 0x{message_type:02x}")


def _parse_query(message: memoryview, code: int, group: bytes) -> MembershipQuery:
    """A query: its length tells its version.  RFC 3376 §7.1."""
    if len(message) == HEADER_LENGTH:
        return MembershipQuery(2 if code else 1, code, group)
    if len(message) < QUERY_V3_LENGTH:
        raise Drop(DropReason.IGMP_MALFORMED, f"query of {len(message)} bytes")
    flags, interval, count = _QUERY_V3.unpack_from(message, HEADER_LENGTH)
    sources = parse_sources(message[QUERY_V3_LENGTH:], count, 4, DropReason.IGMP_MALFORMED)
    return MembershipQuery(3, code, group, flags & SUPPRESS != 0, flags & 7, interval, sources)


def build(message: IgmpMessage) -> bytes:
    """A whole message with its checksum."""
    match message:
        case MembershipQuery():
            data = _build_query(message)
        case MembershipReport():
            report_type = IgmpType.MEMBERSHIP_REPORT_V1 if message.version == 1 else IgmpType.MEMBERSHIP_REPORT_V2
            data = _HEADER.pack(report_type, 0, 0, message.group)
        case LeaveGroup():
            data = _HEADER.pack(IgmpType.LEAVE_GROUP, 0, 0, message.group)
        case MembershipReportV3():
            start = _REPORT_V3.pack(IgmpType.MEMBERSHIP_REPORT_V3, 0, 0, 0, len(message.records))
            data = start + build_records(message.records)
    return data[:CHECKSUM_OFFSET] + internet_checksum(data).to_bytes(2, "big") + data[CHECKSUM_OFFSET + 2 :]


def _build_query(query: MembershipQuery) -> bytes:
    start = _HEADER.pack(IgmpType.MEMBERSHIP_QUERY, query.max_response_code, 0, query.group)
    if query.version < 3:
        return start
    flags = query.suppress * SUPPRESS | query.robustness
    return start + _QUERY_V3.pack(flags, query.query_interval_code, len(query.sources)) + b"".join(query.sources)

"""Multicast listener discovery, versions 1 and 2: the formats, inside ICMPv6.  RFC 2710 §3, RFC 3810 §5.

    0                   1                   2                   3
    |     Type      |     Code      |           Checksum            |
    |    Maximum Response Code      |           Reserved            |
    |                 Multicast Address, 128 bits                   |
    | Resv  |S| QRV |     QQIC      |     Number of Sources (N)     |
    |                  Source Address, 128 bits ...                 |

The last two lines are only in queries of version 2; a report of version 2 has group records.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ustack.drops import Drop, DropReason
from ustack.wire import icmpv6
from ustack.wire.group_record import GroupRecord, build_records, decode_time, parse_records, parse_sources
from ustack.wire.icmpv6 import IcmpMessage, Icmpv6Type

ADDRESS_LENGTH = 16
QUERY_V2_LENGTH = 20
"""Of the body of a query of version 2 without sources."""
SUPPRESS = 8
MLD_TYPES = frozenset((130, 131, 132, 143))

_REST = struct.Struct("!HH")
_QUERY_V2 = struct.Struct("!BBH")


@dataclass(slots=True)
class ListenerQuery:
    """A query of either version; all after `group` is of version 2.  The codes are as on the wire."""

    version: int
    max_response_code: int
    group: bytes
    suppress: bool = False
    robustness: int = 0
    query_interval_code: int = 0
    sources: tuple[bytes, ...] = ()

    @property
    def max_response_time(self) -> int:
        """In milliseconds.  RFC 2710 §3.4, RFC 3810 §5.1.3."""
        return decode_time(self.max_response_code, 12) if self.version == 2 else self.max_response_code

    @property
    def query_interval(self) -> int:
        """In seconds.  RFC 3810 §5.1.9."""
        return decode_time(self.query_interval_code, 4)


@dataclass(slots=True)
class ListenerReport:
    """A report of version 1."""

    group: bytes


@dataclass(slots=True)
class ListenerDone:
    """A done message of version 1."""

    group: bytes


@dataclass(slots=True)
class ListenerReportV2:
    """A report of version 2."""

    records: tuple[GroupRecord, ...]


MldMessage = ListenerQuery | ListenerReport | ListenerDone | ListenerReportV2


def parse(message: IcmpMessage) -> MldMessage:
    """The MLD message in an ICMPv6 message of one of its four types; bytes after what it describes are let be."""
    if message.type not in MLD_TYPES:
        raise Drop(DropReason.ICMP_UNKNOWN_TYPE, f"type {message.type} is not of MLD")
    first, second = _REST.unpack(message.rest)
    if message.type == Icmpv6Type.MULTICAST_LISTENER_REPORT_V2:
        return ListenerReportV2(parse_records(message.body, second, ADDRESS_LENGTH, DropReason.MLD_MALFORMED))
    if len(message.body) < ADDRESS_LENGTH:
        raise Drop(DropReason.MLD_MALFORMED, f"{len(message.body)} bytes of a multicast address")
    group = bytes(message.body[:ADDRESS_LENGTH])
    if message.type == Icmpv6Type.MULTICAST_LISTENER_QUERY:
        return _parse_query(message.body, first, group)
    return ListenerReport(group) if message.type == Icmpv6Type.MULTICAST_LISTENER_REPORT else ListenerDone(group)


def _parse_query(body: memoryview, code: int, group: bytes) -> ListenerQuery:
    """A query: its length tells its version.  RFC 3810 §8.1."""
    if len(body) == ADDRESS_LENGTH:
        return ListenerQuery(1, code, group)
    if len(body) < QUERY_V2_LENGTH:
        raise Drop(DropReason.MLD_MALFORMED, f"query of {icmpv6.HEADER_LENGTH + len(body)} bytes")
    flags, interval, count = _QUERY_V2.unpack_from(body, ADDRESS_LENGTH)
    sources = parse_sources(body[QUERY_V2_LENGTH:], count, ADDRESS_LENGTH, DropReason.MLD_MALFORMED)
    return ListenerQuery(2, code, group, flags & SUPPRESS != 0, flags & 7, interval, sources)


def build(source: bytes, destination: bytes, message: MldMessage) -> bytes:
    """A whole ICMPv6 message with its checksum; its packet also needs hop limit 1 and a router alert (RFC 3810 §5)."""
    rest = bytes(4)
    match message:
        case ListenerQuery():
            message_type = Icmpv6Type.MULTICAST_LISTENER_QUERY
            rest = _REST.pack(message.max_response_code, 0)
            body = _build_query(message)
        case ListenerReport():
            message_type, body = Icmpv6Type.MULTICAST_LISTENER_REPORT, message.group
        case ListenerDone():
            message_type, body = Icmpv6Type.MULTICAST_LISTENER_DONE, message.group
        case ListenerReportV2():
            message_type = Icmpv6Type.MULTICAST_LISTENER_REPORT_V2
            rest = _REST.pack(0, len(message.records))
            body = build_records(message.records)
    return icmpv6.build(source, destination, message_type, 0, rest, body)


def _build_query(query: ListenerQuery) -> bytes:
    """A query's body."""
    if query.version < 2:
        return query.group
    flags = query.suppress * SUPPRESS | query.robustness
    counts = _QUERY_V2.pack(flags, query.query_interval_code, len(query.sources))
    return query.group + counts + b"".join(query.sources)

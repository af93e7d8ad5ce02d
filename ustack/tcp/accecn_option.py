"""The Accurate ECN option that we send: when, with how many fields, and where.  RFC 9768 §3.2.3.

Always of order 1, whose fields count ECT(1), CE and ECT(0): what tells of marks comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp.accecn import FIRST_BYTES, ORDERS
from ustack.wire.tcp_options import ACCURATE_ECN_1, AccurateEcn, build_accurate_ecn

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_FIELDS_MOST = 3
_BASE_LENGTH, _FIELD_LENGTH = 2, 3
_BLOCK_LENGTH = 8
_ALWAYS = 2
"""`TcpConfig.ecn_option`: on every segment that has room; 1 is as seldom as the RFC allows."""
_EVEN_IF_LOST = 3


def is_due(connection: Connection, now: int) -> bool:
    """Whether a segment sent now shall carry the option."""
    tcb, mode = connection.tcb, connection.tcp.config.ecn_option
    if tcb.ecn_mode != lib.ECN_ACCURATE or not mode or not tcb.accecn_seen:
        return False
    if tcb.accecn_fail & lib.ACCECN_OPTION_SEND and mode < _EVEN_IF_LOST:
        return False
    return mode >= _ALWAYS or bool(tcb.accecn_demand) or _beacon_is_due(connection, now)


def _beacon_is_due(connection: Connection, now: int) -> bool:
    """At least so many times a round trip.  RFC 9768 §3.2.3.3."""
    beacons = connection.tcp.config.ecn_option_beacon
    return bool(beacons) and (now - connection.tcb.accecn_sent_ns) * beacons >= connection.tcb.srtt_ns


def fit(room: int, blocks: int, least: int) -> tuple[int, int]:
    """How many fields go into `room` bytes beside `blocks` SACK blocks, and how many of these stay.

    A block beyond the second gives way to the `least` fields that are needed; -1 fields: the option does not fit.
    """
    kept = blocks
    while True:
        for fields in range(_FIELDS_MOST, least - 1, -1):
            if room >= _aligned_length(fields, 2 if kept else 0):
                return fields, kept
        if kept <= _BASE_LENGTH or not least:
            return -1, blocks
        kept -= 1
        room += _BLOCK_LENGTH


def _aligned_length(fields: int, shared: int) -> int:
    """The bytes that the option adds, where it may take the place of `shared` no-operations of the next one."""
    length = _BASE_LENGTH + _FIELD_LENGTH * fields
    return length & ~3 if length & 3 <= shared else length + 3 & ~3


def build(tcb: Any, fields: int) -> bytes:
    """The option with our counts of what has arrived, not aligned."""
    return build_accurate_ecn(_option(tcb.received_ecn_bytes, fields))


def of_syn_ack(room: int) -> AccurateEcn | None:
    """The option of a <SYN,ACK> with `room` bytes left: nothing was counted yet."""
    fields, _ = fit(room, 0, 0)
    return None if fields < 0 else _option((0, 0, 0), fields)


def _option(counts: Any, fields: int) -> AccurateEcn:
    codepoints = ORDERS[1][:fields]
    return AccurateEcn(ACCURATE_ECN_1, tuple(counts[each - 1] + FIRST_BYTES[each] & 0xFFFFFF for each in codepoints))


def note_sent(tcb: Any, now: int) -> None:
    """A segment has left with the option."""
    tcb.accecn_least_fields = 0
    tcb.accecn_sent_ns = now
    if tcb.accecn_demand:
        tcb.accecn_demand -= 1

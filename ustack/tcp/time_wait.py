"""Reuse of a connection in TIME-WAIT by a new SYN.  RFC 9293 §3.6.1 (MAY-2, SHLD-4), RFC 6191 §2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.tcp import sequence
from ustack.tcp.state import TIME_WAIT
from ustack.wire.tcp import ACK, RST, SYN

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

ALWAYS, ON_LOOPBACK = 1, 2
"""Values of `TcpConfig.tw_reuse`."""
_INCARNATION_GAP = 0x10001
"""How far above the last sequence number of the earlier incarnation a new one begins: more than an unscaled window."""


def is_new_incarnation(tcb: Any, segment: Segment) -> bool:
    """Whether the segment is a SYN that may take the place of a connection in TIME-WAIT.

    Timestamps decide where the earlier connection had them, else sequence numbers; with timestamps now and none
    before, PAWS will keep old duplicates out of the new connection.
    """
    if tcb.state != TIME_WAIT or segment.flags & (SYN | RST | ACK) != SYN:
        return False
    stamps = segment.options.timestamps
    if stamps is None:
        return sequence.gt(segment.seq, tcb.rcv_nxt)
    if not tcb.timestamps:
        return True
    if stamps[0] == tcb.ts_recent:
        return sequence.gt(segment.seq, tcb.rcv_nxt)
    return sequence.gt(stamps[0], tcb.ts_recent)


def may_be_replaced(connection: Connection, now: int) -> bool:
    """Whether an active open may take the place of a connection in TIME-WAIT: timestamps keep the two apart.

    RFC 6191 §2, the other way round: a new timestamp is larger than every old one after a second at the latest.
    """
    tcb, config = connection.tcb, connection.tcp.config
    if tcb.state != TIME_WAIT or not tcb.timestamps or not config.timestamps:
        return False
    assert connection.interface is not None, "an open connection has a route"
    allowed = config.tw_reuse == ALWAYS or (config.tw_reuse == ON_LOOPBACK and connection.interface.loopback)
    return allowed and now - tcb.ts_recent_ns >= config.tw_reuse_delay_ns


def initial_sequence_number(chosen: int, previous_nxt: int | None) -> int:
    """The ISN for a new incarnation: above all that the earlier one has used.  RFC 9293 §3.6.1."""
    if previous_nxt is None or sequence.gt(chosen, previous_nxt):
        return chosen
    return sequence.add(previous_nxt, _INCARNATION_GAP)

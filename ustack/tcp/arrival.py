"""SEGMENT ARRIVES for a connection.

RFC 9293 §3.10.7: here SYN-SENT (§3.10.7.3); CLOSED is in `reset`, LISTEN in `listener`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack.drops import Drop, DropReason
from ustack.native import ffi, lib
from ustack.tcp import (
    arrival_synchronized,
    ecn,
    opening,
    output,
    quick_ack,
    reset,
    retransmission,
    segment_size,
    sequence,
    timestamps,
)
from ustack.tcp import options as tcp_options
from ustack.tcp.fast_open import client as fast_open_client
from ustack.tcp.state import ESTABLISHED, SYN_RECEIVED, SYN_SENT, change_state
from ustack.wire.tcp import ACK, FIN, RST, SYN

_AT_ONCE_NS = 2_000_000
_ACK_WITH_DATA_NS = 200_000_000

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment


def segment_arrives(connection: Connection, segment: Segment, now: int) -> None:
    """RFC 9293 §3.10.7.3 or §3.10.7.4, by the state.  The window of a SYN is never scaled (RFC 7323 §2.2)."""
    count(connection.tcb, segment)
    if not segment.flags & SYN:
        segment.window <<= connection.tcb.snd_wscale
    if connection.tcb.state == SYN_SENT:
        _in_syn_sent(connection, segment, now)
    else:
        arrival_synchronized.segment_arrives(connection, segment, now)


def count(tcb: Any, segment: Segment) -> None:
    """Count what has arrived, whether it is of use or not.  RFC 4898 §3.1 (tcpEStatsPerfSegsIn)."""
    segments = segment.count
    tcb.received_traffic_class = segment.traffic_class
    tcb.segments_received += segments
    if segment.payload:
        tcb.data_segments_received += segments


def _in_syn_sent(connection: Connection, segment: Segment, now: int) -> None:
    acceptable = _check_ack(connection, segment, now)
    _check_rst(connection, segment, acceptable)
    if not segment.flags & SYN:
        raise Drop(DropReason.TCP_SYN_SENT_NO_SYN)
    _take_syn(connection, segment, now)
    if acceptable:
        _become_established(connection, segment, now)
    else:
        _become_syn_received(connection, segment, now)


def _check_ack(connection: Connection, segment: Segment, now: int) -> bool:
    """First: whether the segment acknowledges our SYN; with timestamps, TSecr must be ours too, as in Linux."""
    tcb = connection.tcb
    if not segment.flags & ACK:
        return False
    ours = sequence.is_within(tcb.iss, segment.ack, tcb.snd_nxt) and _echoes_our_timestamp(connection, segment, now)
    if not ours:
        if not segment.flags & RST:
            reset.send_reset(connection.tcp, segment, now)
            _ask_again_soon(connection, segment, now)
        raise Drop(DropReason.TCP_SYN_SENT_BAD_ACK)
    return True


def _ask_again_soon(connection: Connection, segment: Segment, now: int) -> None:
    """The peer holds half of an older connection: our RST ends it, and the SYN should follow at once, as in Linux.

    A SYN that has taken part in Fast Open is left to its timer: what follows it is another one, without data.
    """
    tcb = connection.tcb
    if (
        connection.fast_open.client is None
        and not tcb.retransmits
        and not sequence.is_within(tcb.iss, segment.ack, tcb.snd_nxt)
    ):
        tcb.deadline_ns[lib.TIMER_RETRANSMIT] = now + _AT_ONCE_NS
        connection.tcp.timers.update(connection)


def _echoes_our_timestamp(connection: Connection, segment: Segment, now: int) -> bool:
    tcb, stamps = connection.tcb, segment.options.timestamps
    if not tcb.timestamps or stamps is None or not stamps[1]:
        return True
    first_sent = lib.sent_queue_at(ffi.addressof(tcb, "sent"), 0).first_sent_ns
    first = timestamps.value(tcb, first_sent)
    return sequence.distance(first, stamps[1]) <= sequence.distance(first, timestamps.value(tcb, now))


def _check_rst(connection: Connection, segment: Segment, acceptable: bool) -> None:
    """Second: a RST that acknowledges our SYN refuses the connection."""
    if segment.flags & RST:
        if acceptable:
            connection.fail(errno.ECONNREFUSED)
        raise Drop(DropReason.TCP_SYN_SENT_RST)


def _take_syn(connection: Connection, segment: Segment, now: int) -> None:
    """Fourth: IRS, RCV.NXT, and what the options agree."""
    tcb = connection.tcb
    tcb.irs = segment.seq
    tcb.rcv_nxt = tcb.rcv_up = sequence.add(segment.seq, 1)
    tcp_options.agree(connection, segment.options, offered=True)
    tcb.ts_recent_ns = now
    if segment.flags & ACK:
        ecn.syn_ack_arrives(connection, segment)
    else:
        ecn.crossed_syn_arrives(connection, segment)
    segment_size.size_segments(connection, now)


def _become_established(connection: Connection, segment: Segment, now: int) -> None:
    """<SYN,ACK>: acknowledge it, with data if there is any."""
    tcb = connection.tcb
    change_state(tcb, ESTABLISHED)
    opening.establish(connection, segment, now)
    fast_open_client.syn_answered(connection, segment, now)
    if connection.write_pending or connection.options.defer_accept:
        _delay_ack(connection, now)
    else:
        tcb.ack_now = 1
    _take_rest(connection, segment, now)


def _delay_ack(connection: Connection, now: int) -> None:
    """Somebody waits to send: his data will carry the ACK, as in Linux."""
    quick_ack.enter(connection.tcb)
    connection.tcb.deadline_ns[lib.TIMER_DELAYED_ACK] = now + _ACK_WITH_DATA_NS
    connection.tcp.timers.update(connection)


def _become_syn_received(connection: Connection, segment: Segment, now: int) -> None:
    """<SYN> without ACK: simultaneous open (MUST-10).  Data and FIN come again, once our SYN,ACK has arrived."""
    tcb = connection.tcb
    if fast_open_client.is_deferred(connection):
        fast_open_client.send_syn(connection, b"", False, now)
    change_state(tcb, SYN_RECEIVED)
    tcb.snd_wnd = segment.window
    tcb.snd_wl1 = segment.seq
    output.send_syn(connection, now)
    retransmission.watch(connection, now)


def _take_rest(connection: Connection, segment: Segment, now: int) -> None:
    """Data and FIN that came with the SYN,ACK: steps six to eight of the synchronized states."""
    segment.seq = sequence.add(segment.seq, 1)
    segment.flags &= ~SYN
    if segment.payload or segment.flags & FIN:
        arrival_synchronized.take_content(connection, segment, now)

"""SEGMENT ARRIVES in SYN-RECEIVED and every synchronized state: the eight checks of RFC 9293 §3.10.7.4, in their order.

Each check is one function over all states.  It returns to go on with the next, or raises the Drop that ends the
segment.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack.drops import Drop, DropReason
from ustack.endpoint import READ_HANGUP, READABLE
from ustack.native import ffi, lib
from ustack.tcp import (
    accecn,
    acknowledgment,
    challenge,
    ecn,
    opening,
    orphans,
    output,
    receive_queue,
    reset,
    sequence,
    source_route,
    timeouts,
    timestamps,
)
from ustack.tcp.fast_open import client as fast_open_client
from ustack.tcp.fast_open import server as fast_open_server
from ustack.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_RECEIVED,
    TIME_WAIT,
    change_state,
)
from ustack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.listener import Listener
    from ustack.tcp.segment import Segment

_RECEIVING_STATES = frozenset((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2))


def segment_arrives(connection: Connection, segment: Segment, now: int) -> None:
    """The eight checks."""
    tcb = connection.tcb
    check_sequence(connection, segment, now)
    tcb.last_received_ns = now
    tcb.probes_sent = 0
    check_rst(connection, segment, now)
    check_security(connection, segment)
    check_syn(connection, segment, now)
    if segment.ip_options:
        source_route.segment_arrives(connection, segment)
    if tcb.state != SYN_RECEIVED:
        ecn.count_arrival(connection, segment)
    check_ack(connection, segment, now)
    if tcb.state != TIME_WAIT or segment.flags & FIN:
        take_content(connection, segment, now)


def take_content(connection: Connection, segment: Segment, now: int) -> None:
    """The sixth to the eighth check: what the segment carries."""
    if connection.tcb.state == CLOSED:
        return
    check_urg(connection, segment)
    process_text(connection, segment, now)
    if connection.urgent_seq >= 0:
        receive_queue.extract_urgent(connection)
    check_fin(connection, segment, now)


def check_sequence(connection: Connection, segment: Segment, now: int) -> None:
    """First: PAWS (RFC 7323 §5.3), then whether the segment is in the window, to which it is trimmed."""
    tcb = connection.tcb
    _check_simultaneous_open(connection, segment, now)
    _check_timestamps(connection, segment, now)
    if not _is_acceptable(tcb, segment):
        if segment.flags & RST:
            raise Drop(DropReason.TCP_RST_OUT_OF_WINDOW)
        if tcb.state == TIME_WAIT and segment.flags & FIN:
            timeouts.enter_time_wait(connection, now)
        challenge.answer_unacceptable(connection, segment, now)
        raise Drop(DropReason.TCP_OUT_OF_WINDOW)
    if segment.flags & (RST | SYN):
        return
    if segment.options.timestamps is not None and tcb.timestamps:
        timestamps.update_recent(tcb, segment, now)
    trim(tcb, segment)


def _check_simultaneous_open(connection: Connection, segment: Segment, now: int) -> None:
    """In SYN-RECEIVED the peer's SYN may come again.

    With an ACK of ours the SYN is taken off, without one ours is sent again.
    """
    waits = connection.tcb.state == SYN_RECEIVED or connection.fast_open.server is not None
    if not waits or not segment.flags & SYN or segment.seq != connection.tcb.irs:
        return
    if segment.flags & ACK and connection.listener is None and connection.fast_open.server is None:
        segment.seq = sequence.add(segment.seq, 1)
        segment.flags &= ~SYN
        connection.tcb.ack_now = 1
    elif not segment.flags & (ACK | RST):
        accecn.syn_arrives_again(connection, segment)
        output.send_syn(connection, now)
        raise Drop(DropReason.TCP_OUT_OF_WINDOW, "the SYN again: answered with the same SYN,ACK")


def _check_timestamps(connection: Connection, segment: Segment, now: int) -> None:
    """RFC 7323 §3.2 (a segment must have the option once it was agreed) and §5.3, R1 (PAWS); a RST is exempt.

    A SYN without the option is of another connection, and is challenged like any.
    """
    tcb = connection.tcb
    if not tcb.timestamps or segment.flags & RST:
        return
    if segment.options.timestamps is None:
        if segment.flags & SYN:
            return
        raise Drop(DropReason.TCP_TIMESTAMP_MISSING)
    if timestamps.is_old(tcb, segment.options.timestamps[0], now):
        challenge.answer_unacceptable(connection, segment, now)
        raise Drop(DropReason.TCP_PAWS)


def _is_acceptable(tcb: Any, segment: Segment) -> bool:
    """The four cases of RFC 9293 §3.10.7.4, Table 6.

    # DEVIATION RFC 9293 §3.10.7.4: an empty segment exactly at the right edge is acceptable, as in Linux: a sender that
    has # filled the window has no other sequence number for its ACKs.  With a window of zero a segment at RCV.NXT is #
    acceptable, so that its ACK, URG and RST are seen (MUST-66); its text is trimmed away.
    """
    nxt: int = tcb.rcv_nxt
    edge = sequence.add(nxt, tcb.rcv_wnd)
    length = segment.length
    if not length:
        return sequence.ge(segment.seq, nxt) and sequence.le(segment.seq, edge)
    if segment.seq == nxt:
        return True
    return sequence.lt(segment.seq, edge) and sequence.gt(segment.end, nxt)


def trim(tcb: Any, segment: Segment) -> None:
    """Cut off what is before RCV.NXT and what is beyond the window."""
    early = sequence.distance(segment.seq, tcb.rcv_nxt)
    if sequence.lt(segment.seq, tcb.rcv_nxt):
        segment.payload = segment.payload[early:]
        segment.seq = sequence.add(segment.seq, early)
        tcb.ack_now = 1
    room = sequence.distance(segment.seq, sequence.add(tcb.rcv_nxt, tcb.rcv_wnd))
    if segment.length > room:
        segment.payload = segment.payload[:room]
        segment.flags &= ~(FIN | PSH)
        tcb.ack_now = 1


def check_rst(connection: Connection, segment: Segment, now: int) -> None:
    """Second: RST, only exactly at RCV.NXT; any other one in the window is challenged.  RFC 5961 §3.2."""
    if not segment.flags & RST:
        return
    tcb = connection.tcb
    if segment.seq != tcb.rcv_nxt:
        challenge.send_challenge_ack(connection, now)
        raise Drop(DropReason.TCP_RST_NOT_EXACT)
    if tcb.state == TIME_WAIT and connection.tcp.config.rfc1337:
        timeouts.enter_time_wait(connection, now)
        raise Drop(DropReason.TCP_TIME_WAIT, "RFC 1337 §3")
    state = tcb.state
    if connection.fast_open.server is not None:
        fast_open_server.ended(connection, now, reset=True)
        connection.fail(errno.ECONNRESET)
    elif state == SYN_RECEIVED:
        connection.fail(0 if connection.listener is not None else errno.ECONNREFUSED)
    elif state in (CLOSING, LAST_ACK, TIME_WAIT):
        connection.fail(0)
    elif state == CLOSE_WAIT:
        connection.fail(errno.EPIPE)
    else:
        connection.fail(errno.ECONNRESET)
    raise Drop(DropReason.TCP_RESET)


def check_security(connection: Connection, segment: Segment) -> None:
    """Third: security and compartment: not used in the Internet.  RFC 9293 §3.10.7.4, appendix A.1."""


def check_syn(connection: Connection, segment: Segment, now: int) -> None:
    """Fourth: a SYN on a connection that has had its own is challenged.  RFC 5961 §4.2.

    In SYN-RECEIVED after a passive open it returns the connection to LISTEN.
    """
    if not segment.flags & SYN:
        return
    if connection.listener is not None:
        connection.fail(0)
        raise Drop(DropReason.TCP_SYN_IN_WINDOW, "back to LISTEN")
    accecn.syn_in_window(connection, segment)
    challenge.send_challenge_ack(connection, now)
    raise Drop(DropReason.TCP_SYN_IN_WINDOW)


def check_ack(connection: Connection, segment: Segment, now: int) -> None:
    """Fifth: the acknowledgment, which may complete an open or a close."""
    if not segment.flags & ACK:
        raise Drop(DropReason.TCP_NO_ACK_FLAG)
    tcb = connection.tcb
    if tcb.state == SYN_RECEIVED:
        _complete_open(connection, segment, now)
    elif connection.fast_open.server is not None and sequence.is_within(tcb.iss, segment.ack, tcb.snd_nxt):
        fast_open_server.ended(connection, now)
    if sequence.gt(segment.ack, tcb.snd_nxt):
        challenge.send_challenge_ack(connection, now)
        raise Drop(DropReason.TCP_ACK_UNSENT)
    if sequence.lt(segment.ack, sequence.add(tcb.snd_una, -max(tcb.snd_max_wnd, 1))):
        challenge.send_challenge_ack(connection, now)
        raise Drop(DropReason.TCP_ACK_TOO_OLD)
    acknowledgment.process(connection, segment, now)
    if tcb.fin_sent and tcb.snd_una == tcb.snd_nxt:
        _fin_acknowledged(connection, now)


def _complete_open(connection: Connection, segment: Segment, now: int) -> None:
    """SYN-RECEIVED: an ACK of our SYN establishes the connection, any other is answered with a RST."""
    tcb = connection.tcb
    if not (sequence.gt(segment.ack, tcb.snd_una) and sequence.le(segment.ack, tcb.snd_nxt)):
        reset.send_reset(connection.tcp, segment, now)
        raise Drop(DropReason.TCP_SYN_RECEIVED_BAD_ACK)
    listener = connection.listener
    if listener is not None:
        _check_admission(connection, listener, segment, now)
    change_state(tcb, ESTABLISHED)
    fast_open_server.ended(connection, now)
    opening.establish(connection, segment, now)
    ecn.established(connection, segment)
    fast_open_client.syn_answered(connection, segment, now)
    if listener is not None:
        listener.established(connection)
    elif connection.fin_queued:
        change_state(tcb, FIN_WAIT_1)


def _check_admission(connection: Connection, listener: Listener, segment: Segment, now: int) -> None:
    """Whether the listener takes the connection now: there is room, and with TCP_DEFER_ACCEPT something to read."""
    if connection.tcb.retransmits < listener.options.defer_accept and segment.end == connection.tcb.rcv_nxt:
        listener.syn_queue.acknowledged(connection)
        raise Drop(DropReason.TCP_DEFERRED)
    if listener.has_room():
        return
    if connection.tcp.config.abort_on_overflow:
        reset.send_reset(connection.tcp, segment, now)
        connection.fail(0)
    else:
        listener.syn_queue.acknowledged(connection)
    raise Drop(DropReason.TCP_BACKLOG_FULL)


def _fin_acknowledged(connection: Connection, now: int) -> None:
    """Our FIN is acknowledged: FIN-WAIT-1, CLOSING and LAST-ACK go on."""
    tcb = connection.tcb
    if tcb.state == FIN_WAIT_1:
        change_state(tcb, FIN_WAIT_2)
        if connection.orphaned:
            orphans.enter_fin_wait_2(connection, now)
    elif tcb.state == CLOSING:
        timeouts.enter_time_wait(connection, now)
    elif tcb.state == LAST_ACK:
        connection.fail(0)


def check_urg(connection: Connection, segment: Segment) -> None:
    """Sixth: urgent data."""
    if segment.flags & URG and connection.tcb.state in _RECEIVING_STATES:
        receive_queue.take_urgent(connection, segment)


def process_text(connection: Connection, segment: Segment, now: int) -> None:
    """Seventh: the text.  Data that nobody will read any more resets the connection (SHLD-3)."""
    if not segment.payload:
        return
    tcb = connection.tcb
    if tcb.state not in _RECEIVING_STATES:
        return
    if tcb.refuses_data:
        reset.send_reset(connection.tcp, segment, now)
        connection.fail(errno.ECONNRESET)
        raise Drop(DropReason.TCP_DATA_AFTER_CLOSE)
    receive_queue.take(connection, segment, now)


def check_fin(connection: Connection, segment: Segment, now: int) -> None:
    """Eighth: the FIN, once all before it has arrived."""
    tcb = connection.tcb
    if segment.flags & FIN:
        if tcb.state == TIME_WAIT:
            timeouts.enter_time_wait(connection, now)
            tcb.ack_now = 1
            return
        if not segment.payload:
            tcb.ack_now = 1
        if not tcb.fin_received:
            connection.fin_seq = sequence.add(segment.seq, len(segment.payload))
            connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, True)
    if tcb.fin_received or connection.fin_seq != tcb.rcv_nxt:
        return
    lib.ranges_release(ffi.addressof(tcb, "out_of_order"))
    connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, False)
    tcb.rcv_nxt = sequence.add(tcb.rcv_nxt, 1)
    tcb.rcv_wnd = max(tcb.rcv_wnd - 1, 0)
    tcb.bytes_received += 1
    tcb.fin_received = 1
    tcb.ack_now = 1
    tcb.events |= READABLE | READ_HANGUP
    _fin_received(connection, now)


def _fin_received(connection: Connection, now: int) -> None:
    tcb = connection.tcb
    if tcb.state == ESTABLISHED:
        change_state(tcb, CLOSE_WAIT)
    elif tcb.state == FIN_WAIT_1:
        change_state(tcb, CLOSING)
    elif tcb.state == FIN_WAIT_2:
        timeouts.enter_time_wait(connection, now)

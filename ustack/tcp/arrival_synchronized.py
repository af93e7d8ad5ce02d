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
    receive_buffer,
    receive_queue,
    reset,
    retransmission,
    selective_acks,
    sequence,
    source_route,
    timeouts,
    timestamps,
    user_timeout_option,
    window,
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
from ustack.wire.tcp import ACK, FIN, RST, SYN, URG

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.listener import Listener
    from ustack.tcp.segment import Segment

_RECEIVING_STATES = frozenset((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2))
_FIN_TAKEN_STATES = frozenset((CLOSE_WAIT, LAST_ACK, CLOSING))


def segment_arrives(connection: Connection, segment: Segment, now: int) -> None:
    """The eight checks."""
    tcb = connection.tcb
    if not segment.flags & (ACK | RST | SYN):
        raise Drop(DropReason.TCP_NO_ACK_FLAG)
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
    if segment.options.user_timeout is not None:
        user_timeout_option.take(connection, segment.options)
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
    """First: PAWS (RFC 7323 §5.3), then whether the segment is in the window."""
    tcb = connection.tcb
    _check_simultaneous_open(connection, segment, now)
    _check_timestamps(connection, segment, now)
    problem = _position(tcb, segment)
    if problem is None:
        return
    if segment.flags & RST:
        if _follows_fin(tcb, segment):
            return
        raise Drop(DropReason.TCP_RST_OUT_OF_WINDOW)
    if tcb.state == TIME_WAIT and segment.flags & FIN:
        timeouts.enter_time_wait(connection, now)
    challenge.answer_unacceptable(connection, segment, now)
    raise Drop(problem)


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
        selective_acks.duplicate(connection, connection.tcb.irs, segment.seq)
    elif not segment.flags & (ACK | RST):
        accecn.syn_arrives_again(connection, segment)
        if challenge.may_answer(connection, now):
            output.send_syn(connection, now)
            retransmission.rearm(connection, now)
        raise Drop(DropReason.TCP_OUT_OF_WINDOW, "the SYN again: answered with the same SYN,ACK")


def _check_timestamps(connection: Connection, segment: Segment, now: int) -> None:
    """RFC 7323 §5.3, R1 (PAWS); a RST is exempt.

    # DEVIATION RFC 7323 §3.2: a segment without the option is taken, as in Linux, though it was agreed.
    # DEVIATION RFC 7323 §5.3: so is an empty one that changes nothing and is not much older: PAWS is not meant for
    reordered ACKs.
    """
    tcb, stamps = connection.tcb, segment.options.timestamps
    if not tcb.timestamps or stamps is None or segment.flags & RST or not timestamps.is_old(tcb, stamps[0], now):
        return
    if segment.flags & ACK and not segment.length:
        if sequence.lt(segment.seq, tcb.rcv_nxt):
            raise Drop(DropReason.TCP_PAWS_OLD_ACK)
        if segment.seq == tcb.rcv_nxt and _changes_nothing(tcb, segment) and timestamps.is_replayed(tcb, stamps[0]):
            return
    challenge.answer_unacceptable(connection, segment, now)
    raise Drop(DropReason.TCP_PAWS)


def _changes_nothing(tcb: Any, segment: Segment) -> bool:
    """Whether an ACK is a duplicate with the same window."""
    return segment.ack == tcb.snd_una and not window.may_update(tcb, segment.seq, segment.ack, segment.window)


def _position(tcb: Any, segment: Segment) -> DropReason | None:
    """What is wrong with where the segment stands; None if it is acceptable.  RFC 9293 §3.10.7.4, Table 6.

    # DEVIATION RFC 9293 §3.10.7.4: as in Linux what counts is not RCV.NXT but the last ACK sent, beyond which the peer
    may not have got; an empty segment exactly at the right edge is acceptable, as a sender that has filled the window
    has no other sequence number for its ACKs (MUST-66); and what reaches beyond the window is taken whole where the
    user has read all: then there is room, and the sender knows better than the window that was rounded.
    """
    if sequence.lt(segment.end, tcb.last_ack_sent):
        return DropReason.TCP_OUT_OF_WINDOW
    edge = sequence.add(tcb.rcv_nxt, window.receive_window(tcb))
    if sequence.gt(segment.seq, edge):
        return DropReason.TCP_OUT_OF_WINDOW
    end = sequence.add(segment.seq, len(segment.payload))
    if sequence.gt(end, edge) and tcb.rcv_ring.length:
        return DropReason.TCP_BEYOND_WINDOW
    return None


def _follows_fin(tcb: Any, segment: Segment) -> bool:
    """Whether a RST has the sequence number of the FIN before it: some systems send both so."""
    return tcb.state in _FIN_TAKEN_STATES and segment.seq == sequence.add(tcb.rcv_nxt, -1)


def check_rst(connection: Connection, segment: Segment, now: int) -> None:
    """Second: RST, exactly at RCV.NXT or at the end of what we have told with SACK; else it is challenged.

    RFC 5961 §3.2.
    """
    if not segment.flags & RST:
        return
    tcb = connection.tcb
    exact = segment.seq == tcb.rcv_nxt or _follows_fin(tcb, segment) or segment.seq == selective_acks.last_end(tcb)
    if not exact:
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
        _update_timestamp(tcb, segment, now)
        _complete_open(connection, segment, now)
    elif connection.fast_open.server is not None and sequence.is_within(tcb.iss, segment.ack, tcb.snd_nxt):
        fast_open_server.ended(connection, now)
    if sequence.gt(segment.ack, tcb.snd_nxt):
        challenge.send_challenge_ack(connection, now)
        raise Drop(DropReason.TCP_ACK_UNSENT)
    if sequence.lt(segment.ack, sequence.add(tcb.snd_una, -max(tcb.snd_max_wnd, 1))):
        challenge.send_challenge_ack(connection, now)
        raise Drop(DropReason.TCP_ACK_TOO_OLD)
    _update_timestamp(tcb, segment, now)
    acknowledgment.process(connection, segment, now)
    if segment.options.timestamps is not None and tcb.timestamps:
        receive_buffer.measure_echo(tcb, segment.options.timestamps[1], len(segment.payload), now)
    if tcb.fin_sent and tcb.snd_una == tcb.snd_nxt:
        _fin_acknowledged(connection, segment, now)


def _update_timestamp(tcb: Any, segment: Segment, now: int) -> None:
    """TS.Recent follows segments whose ACK is in order too, so that a forged one does not move it."""
    if segment.options.timestamps is not None and tcb.timestamps:
        timestamps.update_recent(tcb, segment, now)


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


def _fin_acknowledged(connection: Connection, segment: Segment, now: int) -> None:
    """Our FIN is acknowledged: FIN-WAIT-1, CLOSING and LAST-ACK go on."""
    tcb = connection.tcb
    if tcb.state == FIN_WAIT_1:
        change_state(tcb, FIN_WAIT_2)
        if connection.orphaned:
            orphans.enter_fin_wait_2(connection, now, segment)
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
    tcb = connection.tcb
    if not segment.length or tcb.state == TIME_WAIT:
        return
    if tcb.state in _FIN_TAKEN_STATES and sequence.ge(segment.seq, tcb.rcv_nxt):
        return
    end = sequence.add(segment.seq, len(segment.payload))
    if tcb.refuses_data and tcb.state != ESTABLISHED and sequence.gt(end, tcb.rcv_nxt):
        reset.send_reset(connection.tcp, segment, now)
        connection.fail(errno.ECONNRESET)
        raise Drop(DropReason.TCP_DATA_AFTER_CLOSE)
    receive_queue.take(connection, segment, now)


def check_fin(connection: Connection, segment: Segment, now: int) -> None:
    """Eighth: the FIN, once all before it has arrived; if it had to wait, its sender hears at once (RFC 5681 §4.2)."""
    tcb = connection.tcb
    waited = connection.fin_seq >= 0
    if segment.flags & FIN:
        if tcb.state == TIME_WAIT:
            timeouts.enter_time_wait(connection, now)
            tcb.ack_now = 1
            return
        if not tcb.fin_received:
            connection.fin_seq = sequence.add(segment.seq, len(segment.payload))
            connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, True)
    if tcb.fin_received or connection.fin_seq != tcb.rcv_nxt:
        return
    lib.ranges_release(ffi.addressof(tcb, "out_of_order"))
    selective_acks.clear(tcb)
    connection.fin_seq = -1
    connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, False)
    tcb.rcv_nxt = sequence.add(tcb.rcv_nxt, 1)
    tcb.bytes_received += 1
    tcb.fin_received = 1
    tcb.ack_scheduled = 1
    tcb.ack_now = tcb.ack_now or waited
    tcb.events |= READABLE | READ_HANGUP
    _fin_received(connection, now)


def _fin_received(connection: Connection, now: int) -> None:
    """The peer sends no more.  In CLOSE-WAIT our answer is near, with which the ACK may ride along."""
    tcb = connection.tcb
    if tcb.state == ESTABLISHED:
        change_state(tcb, CLOSE_WAIT)
        tcb.ack_pingpong = 1
    elif tcb.state == FIN_WAIT_1:
        tcb.ack_now = 1
        change_state(tcb, CLOSING)
    elif tcb.state == FIN_WAIT_2:
        tcb.ack_now = 1
        timeouts.enter_time_wait(connection, now)

"""The states of loss recovery, and what an acknowledgment, a mark or a time-out does to them.

RFC 6675 §5, RFC 6582 §3.2, RFC 8985 §6 and §8, RFC 3168 §6.1.2.  Linux's five states: see `ca_state`.  What is lost
is decided in `rack` and `newreno`, how fast the window comes down in `prr`, what is spurious in `undo` and `frto`, and
what is sent again in `resend`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import (
    ack_sample,
    ca_state,
    ecn,
    flight,
    frto,
    newreno,
    path_mtu,
    path_search,
    prr,
    rack,
    reneging,
    reordering,
    retransmission,
    sequence,
    undo,
)
from ustack.tcp.ack_event import SEND_LOST

if TYPE_CHECKING:
    from ustack.tcp.ack_event import AckEvent
    from ustack.tcp.connection import Connection


def is_controlled(connection: Connection) -> bool:
    """Whether the controller sets cwnd in recovery too, so that PRR must not."""
    return connection.congestion is not None and connection.congestion.controls_recovery


def is_dubious(tcb: Any, event: AckEvent) -> bool:
    """Whether the state machine must see this acknowledgment."""
    return bool(not event.not_duplicate or event.alarming or tcb.ca_state != lib.CA_OPEN)


def alert(connection: Connection, event: AckEvent, now: int) -> None:
    """A dubious acknowledgment: leave a state that is over, then do what the present one asks for."""
    tcb = connection.tcb
    if not tcb.sent.count:
        tcb.dup_acks = 0
    if event.ece:
        tcb.prior_ssthresh_packets = 0
    if reneging.is_suspected(connection, event, now):
        return
    if tcb.ca_state == lib.CA_OPEN:
        tcb.retrans_stamp_ns = 0
    elif sequence.ge(tcb.snd_una, tcb.recovery_point) and _is_kept(connection, event, now):
        return
    if _process_state(connection, event, now):
        event.send = SEND_LOST


def _is_kept(connection: Connection, event: AckEvent, now: int) -> bool:
    """All that was out when the state began is acknowledged: leave CWR and Recovery; True if it must stay."""
    tcb = connection.tcb
    if tcb.ca_state == lib.CA_CWR:
        # The peer must have seen CWR: something beyond is acknowledged.
        if tcb.snd_una != tcb.recovery_point:
            prr.end(connection, now)
            ca_state.change(tcb, lib.CA_OPEN)
    elif tcb.ca_state == lib.CA_RECOVERY:
        if not tcb.sack_permitted:
            tcb.dup_acks = 0
        if undo.at_end_of_recovery(connection, event):
            return True
        prr.end(connection, now)
    return False


def _process_state(connection: Connection, event: AckEvent, now: int) -> bool:
    """True if what is lost may be sent again."""
    tcb = connection.tcb
    if tcb.ca_state == lib.CA_RECOVERY:
        return _in_recovery(connection, event, now)
    if tcb.ca_state == lib.CA_LOSS:
        frto.process_ack(connection, event)
        _identify_loss(connection, event, now)
        if tcb.ca_state != lib.CA_OPEN and not event.lost_retransmission:
            return False
    return _outside_recovery(connection, event, now)


def _in_recovery(connection: Connection, event: AckEvent, now: int) -> bool:
    tcb = connection.tcb
    if not event.advanced:
        if not tcb.sack_permitted:
            newreno.add_duplicates(connection, event.duplicates)
    elif undo.at_partial_ack(connection, event):
        return False
    if undo.by_dsack(connection):
        _try_to_open(connection, event, now)
    _identify_loss(connection, event, now)
    if tcb.ca_state != lib.CA_RECOVERY:
        if not tcb.sent.lost_segments:
            return False
        enter(connection, now, ece=event.ece)
    return True


def _outside_recovery(connection: Connection, event: AckEvent, now: int) -> bool:
    tcb = connection.tcb
    if not tcb.sack_permitted:
        if event.advanced:
            tcb.dup_acks = 0
        newreno.add_duplicates(connection, event.duplicates)
    if tcb.ca_state <= lib.CA_DISORDER:
        undo.by_dsack(connection)
    _identify_loss(connection, event, now)
    if not tcb.sent.lost_segments:
        _try_to_open(connection, event, now)
        return False
    if tcb.ca_state < lib.CA_CWR and path_search.has_failed(connection):
        path_mtu.resend_too_large(connection, now)
        return False
    enter(connection, now, ece=event.ece)
    return True


def _identify_loss(connection: Connection, event: AckEvent, now: int) -> None:
    """Mark what this acknowledgment shows to be lost."""
    tcb = connection.tcb
    if not tcb.sent.count:
        return
    if not tcb.sack_permitted:
        newreno.mark_lost(connection, event.advanced)
        return
    resent: int = tcb.sent.retransmitted_segments
    if rack.detect_loss(connection, now):
        event.sets_timer = False
    if resent > tcb.sent.retransmitted_segments:
        event.lost_retransmission = True


def _try_to_open(connection: Connection, event: AckEvent, now: int) -> None:
    tcb = connection.tcb
    undo.forget_first_retransmission(tcb)
    if event.ece:
        enter_cwr(connection, now)
    if tcb.ca_state != lib.CA_CWR:
        ca_state.keep_open(tcb)


def enter(connection: Connection, now: int, *, ece: bool = False) -> None:
    """Fast recovery begins.  RFC 6675 §5, step 4."""
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    undo.forget_first_retransmission(tcb)
    tcb.prior_ssthresh_packets = 0
    undo.begin(tcb)
    if not prr.is_reducing(tcb):
        if not ece:
            tcb.prior_ssthresh_packets = connection.congestion.remembered_ssthresh()
        prr.begin(connection, now)
    ca_state.change(tcb, lib.CA_RECOVERY)
    connection.wants_slow_path(lib.SLOW_RECOVERY, True)


def enter_cwr(connection: Connection, now: int) -> None:
    """The network has marked packets: the window comes down, once a round trip.  RFC 3168 §6.1.2."""
    tcb = connection.tcb
    tcb.prior_ssthresh_packets = 0
    if tcb.ca_state < lib.CA_CWR:
        undo.forget(tcb)
        prr.begin(connection, now, ecn=True)
        ca_state.change(tcb, lib.CA_CWR)
        connection.wants_slow_path(lib.SLOW_RECOVERY, True)


def on_timeout(connection: Connection, now: int) -> None:
    """The retransmission timer has expired: Loss.  RFC 6298 §5, RFC 5681 §3.1, RFC 8985 §6.3, RFC 5682 §2.1 step 1.

    `tcb.retransmits` counts the time-outs before this one.
    """
    tcb, config = connection.tcb, connection.tcp.config
    assert connection.congestion is not None, "a synchronized connection has a controller"
    is_new = tcb.ca_state < lib.CA_RECOVERY
    arrived = int(tcb.sent.sacked_segments) + int(tcb.dup_acks)
    _mark_timed_out(tcb, now)
    if (
        tcb.ca_state <= lib.CA_DISORDER
        or not sequence.gt(tcb.recovery_point, tcb.snd_una)
        or (tcb.ca_state == lib.CA_LOSS and not tcb.retransmits)
    ):
        _reduce_for_timeout(connection, now)
    flight.set_cwnd(connection, flight.packets_in_flight(tcb) + 1)
    if tcb.ca_state <= lib.CA_DISORDER and arrived >= config.reordering:
        tcb.reordering = min(tcb.reordering, config.reordering)
    ca_state.change(tcb, lib.CA_LOSS)
    tcb.recovery_point = tcb.snd_nxt
    tcb.tlp_outstanding = 0
    ecn.queue_cwr(tcb)
    tcb.frto = bool(config.frto and (is_new or tcb.retransmits))
    connection.wants_slow_path(lib.SLOW_RECOVERY, True)


def _reduce_for_timeout(connection: Connection, now: int) -> None:
    """The first time-out of an episode: the controller sets ssthresh, which may be undone."""
    tcb, controller = connection.tcb, connection.congestion
    assert controller is not None, "a synchronized connection has a controller"
    tcb.prior_ssthresh_packets = controller.remembered_ssthresh()
    tcb.prior_cwnd_packets = tcb.cwnd_packets
    controller.on_timeout(flight.loss_sample(connection, now))
    ack_sample.publish(connection)
    undo.begin(tcb)


def _mark_timed_out(tcb: Any, now: int) -> None:
    """The first segment and all that RACK would deem lost are; after reneging everything is."""
    head = reordering.in_flight_head(tcb)
    reneged = head is not None and bool(head.flags & lib.SENT_SACKED)
    if reneged:
        tcb.sack_reneging = 1
    tcb.dup_acks = 0
    tcb.lost += lib.sent_queue_time_out(ffi.addressof(tcb, "sent"), tcb.rack.rtt_ns, reneged, now)


def resend_without_reduction(connection: Connection) -> None:
    """What is marked was lost, though not to congestion: send it again, with the window that there is.

    So it is after a packet was too big (RFC 1191 §6.4, RFC 8899 §3), and for data on a SYN that were not taken.
    """
    tcb, controller = connection.tcb, connection.congestion
    connection.loss.resend_due = True
    if tcb.ca_state != lib.CA_LOSS and controller is not None:
        tcb.recovery_point = tcb.snd_nxt
        controller.ssthresh = controller.remembered_ssthresh()
        ack_sample.publish(connection)
        tcb.prior_ssthresh_packets = 0
        undo.forget(tcb)
        ca_state.change(tcb, lib.CA_LOSS)
        connection.wants_slow_path(lib.SLOW_RECOVERY, True)


def on_window_opened(connection: Connection, now: int) -> None:
    """What was sent again into a closed window was lost there: it need not wait for a backed-off timer."""
    tcb = connection.tcb
    if tcb.ca_state == lib.CA_LOSS:
        tcb.lost += lib.sent_queue_mark_lost(ffi.addressof(tcb, "sent"), tcb.snd_una, tcb.snd_nxt)
        tcb.backoff = tcb.retransmits = 0
        connection.loss.resend_due = True
        retransmission.restart(connection, now)


def watch(connection: Connection) -> None:
    """The fast path keeps out while anything but plain acknowledgments is to be expected."""
    tcb = connection.tcb
    busy = tcb.ca_state or tcb.dup_acks or tcb.tlp_outstanding or tcb.sent.sacked_segments or tcb.sent.lost_segments
    connection.wants_slow_path(lib.SLOW_RECOVERY, bool(busy))

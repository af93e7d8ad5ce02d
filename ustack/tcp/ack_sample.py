"""What acknowledgments have told, passed on to the RTT estimator, loss recovery, the timers and the controller.

The ordinary ones of a burst are summed in `tcb.acked`, and `flush` concludes them once; any other is concluded by
itself.
RFC 5681 §3.1, RFC 6298 §5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import (
    accounting,
    cwnd_validation,
    flight,
    newreno,
    pacing,
    path_search,
    prr,
    rack,
    rate_sampling,
    recovery,
    reordering,
    resend,
    retransmission,
    rtt,
    sequence,
    tail_loss_probe,
    timestamps,
)
from ustack.tcp.ack_event import AckEvent
from ustack.tcp.congestion import AckSample
from ustack.tcp.state import is_synchronized

if TYPE_CHECKING:
    from ustack.tcp.congestion import CongestionController
    from ustack.tcp.congestion.delivery_rate import RateSample
    from ustack.tcp.connection import Connection

_NOTHING_ACKED = ffi.new("struct sent_acknowledged *")


def flush(connection: Connection, now: int) -> None:
    """Tell what the ordinary ACKs since the last flush have done."""
    tcb = connection.tcb
    if not tcb.acked_at_ns:
        return
    newly: int = tcb.acked.segments
    conclude(connection, AckEvent(tcb.snd_una, tcb.delivered - newly, tcb.lost, advanced=True), now)


def conclude(connection: Connection, event: AckEvent, now: int) -> None:
    """SND.UNA and the scoreboard are up to date: RTT, loss recovery, timers, congestion window, and what may leave."""
    tcb = connection.tcb
    rtt_ns = _take_acknowledged(connection, event, now)
    rate = rate_sampling.take(connection, tcb.acked, now) if not tcb.sack_reneging else None
    rack.adapt_window(connection, tcb.acked.delivered if tcb.acked.newest_xmit_ns else 0)
    if tcb.tlp_outstanding:
        tail_loss_probe.process_ack(connection, event, now)
    if recovery.is_dubious(tcb, event) and connection.congestion is not None:
        recovery.alert(connection, event, now)
    if event.sets_timer and is_synchronized(tcb.state):
        retransmission.restart(connection, now)
    if connection.congestion is not None:
        path_search.on_acknowledged(connection, now)
        _tell_controller(connection, connection.congestion, event, rtt_ns, rate, now)
    tcb.acked = _NOTHING_ACKED[0]
    tcb.acked_at_ns = 0
    resend.after_ack(connection, event, now)
    recovery.watch(connection)


def conclude_old(connection: Connection, event: AckEvent, now: int) -> None:
    """The same for an overtaken ACK: only its SACKs count."""
    recovery.alert(connection, event, now)
    connection.tcb.acked = _NOTHING_ACKED[0]
    connection.tcb.acked_at_ns = 0
    resend.after_ack(connection, event, now)
    recovery.watch(connection)


def _take_acknowledged(connection: Connection, event: AckEvent, now: int) -> int:
    """What the segments taken off the queue tell; returns the round-trip time of the newest, 0 for none."""
    tcb = connection.tcb
    acked = tcb.acked
    event.acked = acked.acked_segments > 0
    event.original = event.original or bool(acked.original)
    event.retransmitted = acked.retransmitted > 0
    if event.advanced:
        tcb.retransmits = 0
        accounting.end_timeouts(tcb, now)
        tcb.first_retransmit_ns = 0
    rtt_ns, has_sample = _take_round_trip(connection, event, now)
    if event.acked:
        event.sets_timer = True
        _note_arrivals(connection, event)
    elif has_sample and acked.first_sacked_ns and _sacked_after_head(tcb, now):
        event.sets_timer = True
    return rtt_ns


def _note_arrivals(connection: Connection, event: AckEvent) -> None:
    """Segments were acknowledged cumulatively: duplicates are used up, or a hole was filled late."""
    tcb = connection.tcb
    acked = tcb.acked
    if not tcb.sack_permitted:
        newreno.remove_acknowledged(connection, acked.acked_segments)
        event.original = event.original and not event.retransmitted
    elif event.prior_sacked and acked.has_hole_filled and sequence.lt(acked.hole_filled, event.prior_highest_sacked):
        reordering.note_hole_filled(connection, acked.hole_filled)


def _sacked_after_head(tcb: Any, now: int) -> bool:
    """Whether what is SACKed was sent before the first segment was last: else the timer would go on for ever."""
    head = reordering.in_flight_head(tcb)
    return head is not None and now - tcb.acked.first_sacked_ns > now - head.xmit_ns


def _take_round_trip(connection: Connection, event: AckEvent, now: int) -> tuple[int, bool]:
    """The round-trip time of the newest segment, and whether there was a sample at all.

    Of segments sent once the first one's counts (Karn, RFC 6298 §3, MUST-18), of SACKed ones too; else only the echoed
    timestamp can tell which transmission was acknowledged (RFC 7323 §4.1).
    """
    tcb, acked = connection.tcb, connection.tcb.acked
    at: int = tcb.acked_at_ns or now
    first, last = int(acked.first_xmit_ns), int(acked.last_xmit_ns)
    if event.retransmitted:
        first = last = 0
    if acked.first_sacked_ns:
        first, last = first or int(acked.first_sacked_ns), int(acked.last_sacked_ns)
    sample = max(at - first, 1) if first else 0
    newest = max(at - last, 1) if last else 0
    if not sample and event.acked and event.ts_echo:
        sample = newest = timestamps.round_trip(tcb, event.ts_echo, now)
    if not sample:
        return 0, False
    _learn(connection, sample, newest or sample, now)
    return newest or sample, True


def _learn(connection: Connection, sample: int, newest: int, now: int) -> None:
    tcb, config = connection.tcb, connection.tcp.config
    tcb.min_rtt_ns = connection.loss.min_rtt.update(now, newest, config.min_rtt_wlen_ns)
    rtt.update(tcb, sample, connection.rto_min_ns, config.rto_max_ns)
    tcb.backoff = 0


def _tell_controller(
    connection: Connection,
    controller: CongestionController,
    event: AckEvent,
    rtt_ns: int,
    rate: RateSample | None,
    now: int,
) -> None:
    """What it observes may end slow start, and with it the right to grow; in recovery the window is PRR's."""
    tcb = connection.tcb
    delivered = int(tcb.delivered) - event.prior_delivered
    lost = int(tcb.lost) - event.prior_lost
    sample = numbers(connection, now)
    sample.acked_packets, sample.sacked_packets = tcb.acked.acked_segments, tcb.acked.sacked_segments
    sample.delivered_packets, sample.rtt_ns, sample.rate, sample.ece = delivered, rtt_ns, rate, event.ece
    sample.lost_packets = tcb.lost - tcb.lost_told
    sample.delivered_ce_packets = tcb.delivered_ce - tcb.delivered_ce_told
    tcb.lost_told, tcb.delivered_ce_told = tcb.lost, tcb.delivered_ce
    controller.observe(sample)
    if controller.controls_recovery or (not prr.is_reducing(tcb) and _may_raise(connection, event)):
        sample.is_cwnd_limited = cwnd_validation.is_cwnd_limited(tcb, controller.cwnd, controller.ssthresh)
        controller.on_ack(sample)
        tcb.cwnd_checked_ns = now
    elif prr.is_reducing(tcb):
        prr.reduce(connection, delivered, lost, event.advanced)
    publish(connection)
    pacing.update(connection)


def _may_raise(connection: Connection, event: AckEvent) -> bool:
    """The window grows with what arrives in order; where reordering is common, with whatever arrives."""
    return event.acked or (event.sacked and connection.tcb.reordering > connection.tcp.config.reordering)


def numbers(connection: Connection, now: int) -> AckSample:
    """What a controller may know of the connection, whether something was acknowledged or not."""
    tcb = connection.tcb
    return AckSample(
        now=now,
        mss=tcb.snd_mss,
        prior_in_flight=tcb.prior_in_flight,
        in_flight=flight.packets_in_flight(tcb),
        srtt_ns=tcb.srtt_ns,
        min_rtt_ns=tcb.min_rtt_ns,
        snd_una=tcb.snd_una,
        snd_nxt=tcb.snd_nxt,
        state=tcb.ca_state,
        is_peer_limited=tcb.waits_for == lib.WAITS_PEER,
        delivered=tcb.delivered,
        delivered_ce=tcb.delivered_ce,
        has_ecn=tcb.ecn_mode in (lib.ECN_CLASSIC, lib.ECN_ACCURATE),
        has_accurate_ecn=tcb.ecn_mode == lib.ECN_ACCURATE,
        pacing_rate=tcb.pacing_rate,
        is_paced=pacing.is_paced(connection),
    )


def publish(connection: Connection) -> None:
    """Copy the controller's numbers to where C reads them."""
    assert connection.congestion is not None, "a synchronized connection has a controller"
    connection.tcb.cwnd_packets = connection.congestion.cwnd
    connection.tcb.ssthresh_packets = connection.congestion.ssthresh

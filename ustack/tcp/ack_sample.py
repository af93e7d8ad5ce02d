"""What the acknowledgments of one burst have told, passed on to the RTT estimator, the controller and the timer.

The sum is in `tcb.acked`.  `flush` runs once a burst, and always before a loss is acted upon.  RFC 5681 §3.1, RFC 6298
§5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import ffi, lib
from ustack.tcp import accounting, cwnd_validation, output, pacing, path_search, rate_sampling, retransmission, rtt
from ustack.tcp.congestion import AckSample
from ustack.tcp.state import is_synchronized

if TYPE_CHECKING:
    from ustack.tcp.congestion import CongestionController
    from ustack.tcp.connection import Connection

_NOTHING_ACKED = ffi.new("struct sent_acknowledged *")


def flush(connection: Connection, now: int) -> None:
    """Tell what the ACKs since the last flush have done: RTT, congestion window, retransmission timer."""
    tcb = connection.tcb
    at: int = tcb.acked_at_ns
    if not at:
        return
    newly: int = tcb.acked.segments
    rtt_ns = _round_trip(connection, at)
    if rtt_ns:
        rtt.update(tcb, rtt_ns, connection.tcp.config)
        tcb.backoff = 0
    rate = rate_sampling.take(connection, tcb.acked, now)
    tcb.acked = _NOTHING_ACKED[0]
    tcb.acked_at_ns = 0
    tcb.retransmits = 0
    accounting.end_timeouts(tcb, now)
    tcb.first_retransmit_ns = 0
    if connection.congestion is not None:
        path_search.on_acknowledged(connection, now)
        sample = numbers(connection, now)
        sample.acked_packets = sample.delivered_packets = newly
        sample.rtt_ns = rtt_ns
        sample.rate = rate
        _tell_controller(connection, connection.congestion, sample)
    if is_synchronized(tcb.state):
        retransmission.restart(connection, now)


def _tell_controller(connection: Connection, controller: CongestionController, sample: AckSample) -> None:
    """What it observes may end slow start, and with it the right to grow."""
    tcb = connection.tcb
    sample.lost_packets = tcb.lost - tcb.lost_told
    sample.delivered_ce_packets = tcb.delivered_ce - tcb.delivered_ce_told
    tcb.lost_told, tcb.delivered_ce_told = tcb.lost, tcb.delivered_ce
    controller.observe(sample)
    if tcb.ca_state != lib.CA_RECOVERY or controller.controls_recovery:
        sample.is_cwnd_limited = cwnd_validation.is_cwnd_limited(tcb, controller.cwnd, controller.ssthresh)
        controller.on_ack(sample)
        tcb.cwnd_checked_ns = sample.now
    publish(connection)
    pacing.update(connection)


def numbers(connection: Connection, now: int) -> AckSample:
    """What a controller may know of the connection, whether something was acknowledged or not."""
    tcb = connection.tcb
    return AckSample(
        now=now,
        mss=tcb.snd_mss,
        prior_in_flight=tcb.prior_in_flight,
        in_flight=output.packets_in_flight(tcb),
        srtt_ns=tcb.srtt_ns,
        snd_una=tcb.snd_una,
        snd_nxt=tcb.snd_nxt,
        state=tcb.ca_state,
        delivered=tcb.delivered,
        delivered_ce=tcb.delivered_ce,
        has_ecn=tcb.ecn_mode in (lib.ECN_CLASSIC, lib.ECN_ACCURATE),
        has_accurate_ecn=tcb.ecn_mode == lib.ECN_ACCURATE,
        pacing_rate=tcb.pacing_rate,
        is_paced=pacing.is_paced(connection),
    )


def _round_trip(connection: Connection, at: int) -> int:
    """The round-trip time that the ACKs tell; 0 where data sent twice were among it (Karn).  RFC 6298 §3 (MUST-18).

    Then only the echoed timestamp can tell which transmission was acknowledged (RFC 7323 §4.1).
    """
    acked = connection.tcb.acked
    echoed, connection.echoed_rtt_ns = connection.echoed_rtt_ns, 0
    if acked.retransmitted:
        return echoed
    return max(at - int(acked.xmit_ns), 1) if acked.xmit_ns else 0


def publish(connection: Connection) -> None:
    """Copy the controller's numbers to where C reads them."""
    assert connection.congestion is not None, "a synchronized connection has a controller"
    connection.tcb.cwnd_packets = connection.congestion.cwnd
    connection.tcb.ssthresh_packets = connection.congestion.ssthresh

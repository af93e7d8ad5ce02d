"""What the acknowledgments of one burst have told, passed on to the RTT estimator, the controller and the timer.

The sum is in `tcb.acked`.  `flush` runs once a burst, and always before a loss is acted upon.  RFC 5681 §3.1, RFC 6298
§5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import accounting, output, retransmission, rtt
from ustack.tcp.congestion import AckSample
from ustack.tcp.state import is_synchronized

if TYPE_CHECKING:
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
    tcb.acked = _NOTHING_ACKED[0]
    tcb.acked_at_ns = 0
    tcb.retransmits = 0
    accounting.end_timeouts(tcb, now)
    tcb.first_retransmit_ns = 0
    if connection.congestion is not None:
        sample = _sample(tcb, newly, rtt_ns, now)
        connection.congestion.observe(sample)
        if tcb.ca_state != lib.CA_RECOVERY or connection.congestion.controls_recovery:
            connection.congestion.on_ack(sample)
            publish(connection)
    if is_synchronized(tcb.state):
        retransmission.restart(connection, now)


def _sample(tcb: Any, newly: int, rtt_ns: int, now: int) -> AckSample:
    return AckSample(
        now=now,
        mss=tcb.snd_mss,
        acked_packets=newly,
        delivered_packets=newly,
        prior_in_flight=tcb.prior_in_flight,
        in_flight=output.packets_in_flight(tcb),
        rtt_ns=rtt_ns,
        srtt_ns=tcb.srtt_ns,
        is_cwnd_limited=2 * tcb.prior_in_flight >= tcb.cwnd_packets,
        snd_una=tcb.snd_una,
        snd_nxt=tcb.snd_nxt,
        state=tcb.ca_state,
        delivered=tcb.delivered,
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

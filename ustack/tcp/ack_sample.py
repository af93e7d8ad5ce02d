"""What the acknowledgments of one burst have told, passed on to the RTT estimator, the controller and the timer.

The sum is in `tcb.acked`.  `flush` runs once a burst, and always before a loss is acted upon.  RFC 5681 §3.1, RFC 6298
§5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import ffi, lib
from ustack.tcp import accounting, retransmission, rtt
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
    newly: int = tcb.acked.bytes
    rtt_ns = _round_trip(connection, at)
    if rtt_ns:
        rtt.update(tcb, rtt_ns, connection.tcp.config)
        tcb.backoff = 0
    tcb.acked = _NOTHING_ACKED[0]
    tcb.acked_at_ns = 0
    tcb.retransmits = 0
    accounting.end_timeouts(tcb, now)
    tcb.first_retransmit_ns = 0
    if connection.congestion is not None and tcb.in_recovery != lib.RECOVERY_FAST:
        connection.congestion.on_ack(AckSample(now, newly, tcb.flight_before, rtt_ns, tcb.snd_mss))
        publish(connection)
    if is_synchronized(tcb.state):
        retransmission.restart(connection, now)


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
    connection.tcb.cwnd = connection.congestion.cwnd
    connection.tcb.ssthresh = connection.congestion.ssthresh

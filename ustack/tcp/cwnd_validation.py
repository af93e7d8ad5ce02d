"""Whether the congestion window is made use of: only then may it grow, and else it comes down.  RFC 7661, RFC 2861.

The strongest sign within a window of data counts: that cwnd was the limit, or else how much was outstanding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import sequence

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def is_cwnd_limited(tcb: Any, cwnd: int, ssthresh: int) -> bool:
    """The window was the limit; in slow start it is enough that more than half of it was used."""
    return bool(tcb.is_cwnd_limited) or (cwnd < ssthresh and cwnd < 2 * tcb.max_packets_out)


def after_output(connection: Connection, cwnd_limited: bool, now: int) -> None:
    """New data were sent, or would have been but for cwnd.  RFC 7661 §4.3, RFC 2861 §3.1."""
    tcb = connection.tcb
    outstanding: int = tcb.sent.segments
    if (
        cwnd_limited
        or sequence.ge(tcb.snd_una, tcb.cwnd_usage_seq)
        or (not tcb.is_cwnd_limited and outstanding > tcb.max_packets_out)
    ):
        tcb.is_cwnd_limited = cwnd_limited
        tcb.max_packets_out = outstanding
        tcb.cwnd_usage_seq = tcb.snd_nxt
    if is_cwnd_limited(tcb, tcb.cwnd_packets, tcb.ssthresh_packets):
        tcb.cwnd_used = 0
        tcb.cwnd_checked_ns = now
        return
    tcb.cwnd_used = max(tcb.cwnd_used, outstanding)
    if now - tcb.cwnd_checked_ns >= tcb.rto_ns and _follows_idleness(connection):
        _reduce_unused(connection, now)


def _follows_idleness(connection: Connection) -> bool:
    controller = connection.congestion
    assert controller is not None, "a synchronized connection has a controller"
    return connection.tcp.config.slow_start_after_idle and not controller.controls_recovery


def _reduce_unused(connection: Connection, now: int) -> None:
    """For a time-out cwnd was not the limit: half way down to what was used.  RFC 2861 §3.2."""
    tcb, controller = connection.tcb, connection.congestion
    assert controller is not None, "a synchronized connection has a controller"
    if tcb.ca_state == lib.CA_OPEN:
        used = max(int(tcb.cwnd_used), controller.initial_window)
        if used < controller.cwnd:
            controller.ssthresh = controller.remembered_ssthresh()
            controller.cwnd = (controller.cwnd + used) >> 1
            tcb.cwnd_packets, tcb.ssthresh_packets = controller.cwnd, controller.ssthresh
        tcb.cwnd_used = 0
    tcb.cwnd_checked_ns = now


def restart_after_idle(connection: Connection, now: int) -> None:
    """There is new data; if nothing was sent for a time-out, what was learned of the path is old.  RFC 5681 §4.1."""
    tcb, controller = connection.tcb, connection.congestion
    assert controller is not None, "a synchronized connection has a controller"
    idle_ns = now - int(tcb.last_sent_ns)
    if tcb.sent.segments or idle_ns <= tcb.rto_ns or not _follows_idleness(connection):
        return
    controller.on_idle(now, idle_ns, int(tcb.rto_ns))
    tcb.cwnd_packets, tcb.ssthresh_packets = controller.cwnd, controller.ssthresh
    tcb.cwnd_used = 0
    tcb.cwnd_checked_ns = now


def before_transmit(connection: Connection, now: int) -> None:
    """Data leave: if nothing is in flight the controller is told that it begins anew."""
    tcb, controller = connection.tcb, connection.congestion
    if controller is not None and not lib.sent_queue_in_flight(ffi.addressof(tcb, "sent")):
        controller.on_transmit_start(now, now - int(tcb.last_sent_ns))

"""What is in flight, counted in segments, and the window that limits it.  RFC 6675 §4, RFC 5681 §3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp.congestion import LossSample

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def packets_in_flight(tcb: Any) -> int:
    """Segments in the network: sent, not acknowledged, and not known to have left it.  The pipe of RFC 6675 §4.

    A duplicate ACK tells that one segment has left (RFC 5681 §3.2, step 4, in other words).
    """
    return max(int(lib.sent_queue_in_flight(ffi.addressof(tcb, "sent"))) - int(tcb.dup_acks), 0)


def left_network(tcb: Any) -> int:
    """Segments that are known to have arrived out of order, or deemed lost."""
    return int(tcb.sent.sacked_segments) + int(tcb.dup_acks) + int(tcb.sent.lost_segments)


def set_cwnd(connection: Connection, packets: int) -> None:
    """Set the controller's window, and the copy that C reads."""
    assert connection.congestion is not None, "a synchronized connection has a controller"
    connection.congestion.cwnd = connection.tcb.cwnd_packets = max(packets, 1)


def loss_sample(connection: Connection, now: int) -> LossSample:
    """The numbers that a controller is told when the window is to be reduced."""
    tcb = connection.tcb
    return LossSample(
        now=now,
        mss=tcb.snd_mss,
        in_flight=packets_in_flight(tcb),
        lost_packets=tcb.sent.lost_segments,
        srtt_ns=tcb.srtt_ns,
        min_rtt_ns=tcb.min_rtt_ns,
    )

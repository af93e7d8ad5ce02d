"""Proportional rate reduction: how fast the window comes down to ssthresh.  RFC 6937 §3, RFC 9937."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp import ack_sample, flight
from ustack.tcp import ecn as cwr
from ustack.tcp.congestion.controller import INFINITE_SSTHRESH

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def is_reducing(tcb: Any) -> bool:
    """Whether cwnd is PRR's: in fast recovery, and after ECN."""
    return tcb.ca_state in (lib.CA_CWR, lib.CA_RECOVERY)


def note_sent(tcb: Any, segments: int) -> None:
    """So many segments have left: RFC 6937 §3.1's prr_out."""
    if is_reducing(tcb):
        tcb.prr_out += segments


def begin(connection: Connection, now: int, *, ecn: bool = False) -> None:
    """The controller sets ssthresh, and the reduction begins.  RFC 6937 §3.1."""
    tcb, controller = connection.tcb, connection.congestion
    assert controller is not None, "a synchronized connection has a controller"
    tcb.recovery_point = tcb.snd_nxt
    tcb.tlp_outstanding = 0
    tcb.prior_cwnd_packets = tcb.cwnd_packets
    tcb.prr_delivered = tcb.prr_out = 0
    sample = flight.loss_sample(connection, now)
    if ecn:
        controller.on_ecn(sample)
    else:
        controller.on_loss(sample)
    ack_sample.publish(connection)
    cwr.queue_cwr(tcb)


def reduce(connection: Connection, delivered: int, lost: int, advanced: bool) -> None:
    """An acknowledgment that told of `delivered` segments: what may leave now.

    Above ssthresh in proportion; below it slow start as long as SND.UNA moves and nothing is newly lost (the safe ACK
    of RFC 9937 §6.2), else packet conservation.
    """
    tcb = connection.tcb
    if delivered <= 0 or not tcb.prior_cwnd_packets:
        return
    tcb.prr_delivered += delivered
    in_flight = flight.packets_in_flight(tcb)
    ssthresh: int = tcb.ssthresh_packets
    room = ssthresh - in_flight
    if room < 0:
        count = -(-ssthresh * tcb.prr_delivered // tcb.prior_cwnd_packets) - tcb.prr_out
    else:
        count = max(tcb.prr_delivered - tcb.prr_out, delivered)
        count = min(room, count + (advanced and not lost))
    count = max(count, 0 if tcb.prr_out else 1)
    flight.set_cwnd(connection, in_flight + count)


def end(connection: Connection, now: int) -> None:
    """The reduction is complete: cwnd = ssthresh, unless it was taken back."""
    tcb, controller = connection.tcb, connection.congestion
    assert controller is not None, "a synchronized connection has a controller"
    if controller.controls_recovery:
        controller.on_recovered(flight.loss_sample(connection, now))
        ack_sample.publish(connection)
        return
    if tcb.ssthresh_packets < INFINITE_SSTHRESH and (tcb.ca_state == lib.CA_CWR or tcb.undo_marked):
        flight.set_cwnd(connection, tcb.ssthresh_packets)
    controller.on_recovered(flight.loss_sample(connection, now))
    ack_sample.publish(connection)

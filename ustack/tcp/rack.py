"""RACK: what was sent before something that was delivered, and is older by the reordering window, is lost.

RFC 8985 §6.2; the reordering window adapts as in Linux.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import flight, prr, recovery, resend, retransmission

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_STATIC_WINDOW = 2
_NO_DUPLICATE_THRESHOLD = 4
"""Bits of `TcpConfig.recovery`."""
_STEPS_MOST = 255
_PERSIST = 16
"""Recoveries that a larger window lasts without another DSACK."""
_TIMER_SLACK_NS = 2_000_000


def reordering_window_ns(connection: Connection) -> int:
    """RFC 8985 §6.2, step 4: 0 once a loss is evident and nothing was ever reordered, else a share of the least RTT."""
    tcb = connection.tcb
    if not tcb.reordering_seen:
        if tcb.ca_state >= lib.CA_RECOVERY:
            return 0
        if tcb.sent.sacked_segments >= tcb.reordering and not connection.tcp.config.recovery & _NO_DUPLICATE_THRESHOLD:
            return 0
    return min(int(tcb.min_rtt_ns) // 4 * int(tcb.rack.reo_wnd_steps), int(tcb.srtt_ns))


def detect_loss(connection: Connection, now: int) -> bool:
    """After something was delivered: mark what is lost.  True if the reordering timer runs for the rest."""
    tcb = connection.tcb
    if not tcb.rack.advanced:
        return False
    tcb.rack.advanced = 0
    wait = _mark_lost(connection, now)
    if wait:
        retransmission.arm(connection, lib.RETRANSMIT_REORDERING, now + wait + _TIMER_SLACK_NS)
    return bool(wait)


def _mark_lost(connection: Connection, now: int) -> int:
    tcb = connection.tcb
    lost = ffi.new("uint32_t *")
    wait: int = lib.sent_queue_detect_loss(
        ffi.addressof(tcb, "sent"), ffi.addressof(tcb, "rack"), reordering_window_ns(connection), now, lost
    )
    tcb.lost += lost[0]
    return wait


def on_reordering_timeout(connection: Connection, now: int) -> None:
    """The reordering window has passed: what has not arrived is lost.  RFC 8985 §6.3."""
    tcb = connection.tcb
    before = flight.packets_in_flight(tcb)
    lost_before: int = tcb.lost
    _mark_lost(connection, now)
    if flight.packets_in_flight(tcb) != before:
        if tcb.ca_state != lib.CA_RECOVERY:
            recovery.enter(connection, now)
            if not recovery.is_controlled(connection):
                prr.reduce(connection, 1, tcb.lost - lost_before, advanced=False)
        resend.start(connection, now)
    if tcb.retransmit_kind != lib.RETRANSMIT_RTO or not tcb.deadline_ns[lib.TIMER_RETRANSMIT]:
        retransmission.rearm_rto(connection, now)


def adapt_window(connection: Connection, prior_delivered: int) -> None:
    """Enlarge the reordering window by a step in every round with a DSACK; forget it after some without."""
    tcb = connection.tcb
    rack = tcb.rack
    if connection.tcp.config.recovery & _STATIC_WINDOW or not prior_delivered:
        return
    if prior_delivered < rack.last_delivered:
        rack.dsack_seen = 0
    if rack.dsack_seen:
        rack.reo_wnd_steps = min(rack.reo_wnd_steps + 1, _STEPS_MOST)
        rack.dsack_seen = 0
        rack.last_delivered = tcb.delivered
        rack.reo_wnd_persist = _PERSIST
    elif not rack.reo_wnd_persist:
        rack.reo_wnd_steps = 1


def forget(tcb: Any) -> None:
    """Begin with the least window."""
    tcb.rack.reo_wnd_steps = 1

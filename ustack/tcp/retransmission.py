"""The retransmission timer, and the persist timer that shares its slot.  RFC 6298 §5, RFC 9293 §3.8.1 and §3.8.6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_SLOT = lib.TIMER_RETRANSMIT


def backed_off_rto(tcb: Any, limit_ns: int) -> int:
    """RTO with the doublings so far.  RFC 6298 §5.5."""
    return min(int(tcb.rto_ns) << min(int(tcb.backoff), 32), limit_ns)


def watch(connection: Connection, now: int) -> None:
    """See that the right timer runs.

    RTO while anything is outstanding; persist while something keeps back what there is to send: a closed window
    (SHLD-29), or Nagle, a cork and silly-window avoidance, whose override time-out it is then (RFC 9293 §3.8.6.2.1).
    """
    tcb = connection.tcb
    if tcb.sent.count:
        if tcb.retransmit_kind != lib.RETRANSMIT_RTO:
            if tcb.retransmit_kind == lib.RETRANSMIT_PERSIST:
                tcb.backoff = 0
            _arm(connection, lib.RETRANSMIT_RTO, now)
    elif _has_unsent(connection):
        if tcb.retransmit_kind != lib.RETRANSMIT_PERSIST:
            tcb.backoff = 0
            _arm(connection, lib.RETRANSMIT_PERSIST, now)
    elif tcb.retransmit_kind:
        disarm(tcb)


def restart(connection: Connection, now: int) -> None:
    """New data was acknowledged: the timer starts again, or stops if nothing is outstanding.

    RFC 6298 §5.2 and §5.3.
    """
    disarm(connection.tcb)
    watch(connection, now)


def rearm(connection: Connection, now: int) -> None:
    """Start the timer of the present kind again, with the back-off."""
    _arm(connection, connection.tcb.retransmit_kind, now)


def disarm(tcb: Any) -> None:
    """Stop the timer."""
    tcb.retransmit_kind = lib.RETRANSMIT_NONE
    tcb.deadline_ns[_SLOT] = 0


def _arm(connection: Connection, kind: int, now: int) -> None:
    tcb = connection.tcb
    deadline = now + backed_off_rto(tcb, connection.tcp.config.rto_max_ns)
    limit = connection.options.user_timeout_ns
    if limit and tcb.first_retransmit_ns:
        deadline = max(min(deadline, tcb.first_retransmit_ns + limit), now)
    tcb.retransmit_kind = kind
    tcb.deadline_ns[_SLOT] = deadline
    connection.tcp.timers.update(connection)


def _has_unsent(connection: Connection) -> bool:
    tcb = connection.tcb
    if tcb.fin_sent or tcb.state < lib.TCP_ESTABLISHED:
        return False
    return bool(connection.fin_queued or tcb.snd_ring.length)

"""The retransmission timer, and those that share its slot: persist, loss probe, reordering.

RFC 6298 §5, RFC 9293 §3.8.1 and §3.8.6.1, RFC 8985 §7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import tail_loss_probe, user_timeout_option

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_SLOT = lib.TIMER_RETRANSMIT


def backed_off_rto(tcb: Any, limit_ns: int) -> int:
    """RTO with the doublings so far.  RFC 6298 §5.5."""
    return min(int(tcb.rto_ns) << min(int(tcb.backoff), 32), limit_ns)


def _from_now(connection: Connection, now: int) -> int:
    """RTO from now, or from when pacing lets the next segment leave."""
    return max(now, int(connection.tcb.paced_until_ns)) + current_rto(connection)


def current_rto(connection: Connection) -> int:
    """RTO with the doublings, for this connection."""
    return backed_off_rto(connection.tcb, connection.tcp.config.rto_max_ns)


def watch(connection: Connection, now: int) -> None:
    """See that the right timer runs.

    RTO, or a loss probe before it, while anything is outstanding; persist while something keeps back what there is to
    send: a closed window (SHLD-29), or Nagle, a cork and silly-window avoidance, whose override time-out it is then
    (RFC 9293 §3.8.6.2.1).
    """
    tcb = connection.tcb
    if tcb.sent.count:
        _watch_outstanding(connection, now)
    elif _has_unsent(connection):
        if tcb.retransmit_kind != lib.RETRANSMIT_PERSIST:
            tcb.backoff = 0
            arm(connection, lib.RETRANSMIT_PERSIST, _from_now(connection, now))
    elif tcb.retransmit_kind:
        disarm(tcb)


def _watch_outstanding(connection: Connection, now: int) -> None:
    """New data has left: RFC 6298 §5.1, RFC 8985 §7.2."""
    tcb = connection.tcb
    kind = tcb.retransmit_kind
    if kind == lib.RETRANSMIT_PERSIST:
        tcb.backoff = 0
    if kind in (lib.RETRANSMIT_NONE, lib.RETRANSMIT_PERSIST):
        arm_rto(connection, now)
    if tcb.snd_nxt == connection.loss.timed_nxt:
        return
    connection.loss.timed_nxt = tcb.snd_nxt
    if kind == lib.RETRANSMIT_TLP:
        rearm_rto(connection, now)
    tail_loss_probe.schedule(connection, now, advancing=False)


def restart(connection: Connection, now: int) -> None:
    """New data was acknowledged: the timer starts again, or stops if nothing is outstanding.

    RFC 6298 §5.2 and §5.3, RFC 8985 §7.2.
    """
    if connection.tcb.sent.count:
        if not tail_loss_probe.schedule(connection, now, advancing=True):
            rearm_rto(connection, now)
        return
    disarm(connection.tcb)
    watch(connection, now)


def rearm_rto(connection: Connection, now: int) -> None:
    """RTO from now on; but if a probe or the reordering timer has taken its place, from when the first was sent."""
    tcb = connection.tcb
    if not tcb.sent.count:
        disarm(tcb)
    elif tcb.retransmit_kind in (lib.RETRANSMIT_REORDERING, lib.RETRANSMIT_TLP):
        arm(connection, lib.RETRANSMIT_RTO, max(rto_deadline(connection), now + 1000))
    else:
        arm_rto(connection, now)


def rto_deadline(connection: Connection) -> int:
    """When the first segment in flight is timed out."""
    head = lib.sent_queue_at(ffi.addressof(connection.tcb, "sent"), 0)
    return int(head.xmit_ns) + current_rto(connection)


def arm_rto(connection: Connection, now: int) -> None:
    """RTO from now on."""
    arm(connection, lib.RETRANSMIT_RTO, _from_now(connection, now))


def rearm(connection: Connection, now: int) -> None:
    """Start the timer of the present kind again, with the back-off."""
    arm(connection, connection.tcb.retransmit_kind, _from_now(connection, now))


def probe_later(connection: Connection, now: int) -> None:
    """Start the persist timer, with its back-off."""
    arm(connection, lib.RETRANSMIT_PERSIST, _from_now(connection, now))


def disarm(tcb: Any) -> None:
    """Stop the timer."""
    tcb.retransmit_kind = lib.RETRANSMIT_NONE
    tcb.deadline_ns[_SLOT] = 0


def arm(connection: Connection, kind: int, deadline: int) -> None:
    """Let the timer expire at `deadline`, or when the user's time-out does."""
    tcb = connection.tcb
    limit = user_timeout_option.in_force(connection)
    if limit and tcb.first_retransmit_ns:
        deadline = min(deadline, tcb.first_retransmit_ns + limit)
    tcb.retransmit_kind = kind
    tcb.deadline_ns[_SLOT] = deadline
    connection.tcp.timers.update(connection)


def _has_unsent(connection: Connection) -> bool:
    tcb = connection.tcb
    if tcb.fin_sent or tcb.state < lib.TCP_ESTABLISHED:
        return False
    return bool(connection.sending.chunks)

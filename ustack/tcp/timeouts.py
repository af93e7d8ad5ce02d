"""What is due when a deadline has passed.

RFC 9293 §3.10.8, §3.8.3 (R1 and R2), §3.8.4 (keep-alive), RFC 6298 §5.4 to 5.7.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import (
    accounting,
    ack_sample,
    delayed_ack,
    give_up,
    orphans,
    output,
    path_search,
    rack,
    recovery,
    resend,
    retransmission,
    tail_loss_probe,
    window_probe,
)
from ustack.tcp.congestion.controller import INFINITE_SSTHRESH
from ustack.tcp.fast_open import client as fast_open_client
from ustack.tcp.state import FIN_WAIT_2, SYN_RECEIVED, SYN_SENT, TIME_WAIT, change_state

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


_COUNT_MAX = 255
"""Where the counters of the TCB stand still."""
_DEVICE_RETRY_NS = 500_000_000
"""When a probe is tried again that the device has refused: that is no word of the peer's, so there is no back-off."""
_THIN_SEGMENTS = 4
_THIN_RETRIES = 6


def expire(connection: Connection, now: int) -> None:
    """Handle every deadline of the connection that is at or before `now`."""
    for timer, handle in _HANDLERS.items():
        deadline = connection.tcb.deadline_ns[timer]
        if deadline and deadline <= now:
            connection.tcb.deadline_ns[timer] = 0
            handle(connection, now)


def _retransmit_slot(connection: Connection, now: int) -> None:
    tcb = connection.tcb
    if tcb.state in (SYN_SENT, SYN_RECEIVED) or connection.fast_open.server is not None:
        _syn_timeout(connection, now)
    elif tcb.retransmit_kind == lib.RETRANSMIT_PERSIST:
        _persist(connection, now)
    elif tcb.retransmit_kind == lib.RETRANSMIT_RTO:
        _retransmission_timeout(connection, now)
    elif tcb.retransmit_kind == lib.RETRANSMIT_TLP:
        ack_sample.flush(connection, now)
        tail_loss_probe.send(connection, now)
    elif tcb.retransmit_kind == lib.RETRANSMIT_REORDERING:
        rack.on_reordering_timeout(connection, now)


def _syn_timeout(connection: Connection, now: int) -> None:
    """Send the SYN again, or give up: by default after some four minutes (MUST-22, MUST-23)."""
    tcb = connection.tcb
    give_up.note_start(tcb, lib.sent_queue_at(_sent(connection), 0).xmit_ns)
    given_up, resent = _weigh_handshake(connection, now)
    fast_open_client.timed_out(connection, tcb.retransmits, given_up, now)
    if given_up:
        connection.fail(connection.soft_error or errno.ETIMEDOUT)
        return
    accounting.note_timeout(tcb, now)
    is_linear = tcb.state == SYN_SENT and tcb.retransmits < connection.tcp.config.syn_linear_timeouts
    _back_off(tcb)
    tcb.backoff -= is_linear
    if resent:
        lib.sent_queue_retransmitted(_sent(connection), 0, 0, now)
        tcb.retransmissions += 1
        output.send_syn(connection, now)
    retransmission.rearm(connection, now)


def _weigh_handshake(connection: Connection, now: int) -> tuple[bool, bool]:
    """Whether to give the handshake up, and whether to send the SYN or SYN,ACK again."""
    tcb, listener = connection.tcb, connection.listener
    retries = _syn_retries(connection)
    if connection.fast_open.server is not None:
        return tcb.retransmits >= retries, True
    if listener is None:
        return give_up.handshake_is_hopeless(connection, retries, now), True
    retries = listener.syn_queue.retries(retries, listener.backlog)
    verdict = listener.syn_queue.verdict(connection, tcb.retransmits, retries, listener.options.defer_accept)
    listener.syn_queue.timed_out(connection)
    return verdict


def _syn_retries(connection: Connection) -> int:
    """How often a SYN is sent again, or a SYN,ACK: once more where a Fast Open cookie has opened the connection."""
    chosen, config = connection.options.syn_retries, connection.tcp.config
    if chosen is not None:
        return chosen
    if connection.fast_open.server is not None:
        return config.synack_retries + 1
    return config.syn_retries if connection.listener is None else config.synack_retries


def _back_off(tcb: Any) -> None:
    """RFC 6298 §5.5."""
    tcb.backoff = min(tcb.backoff + 1, _COUNT_MAX)
    tcb.retransmits = min(tcb.retransmits + 1, _COUNT_MAX)


def _retransmission_timeout(connection: Connection, now: int) -> None:
    """RFC 6298 §5.4 to 5.7: send the earliest again, back off; give up beyond R2 (MUST-20)."""
    tcb = connection.tcb
    ack_sample.flush(connection, now)
    if not tcb.sent.count:
        return
    given_up = give_up.is_hopeless(connection, now)
    fast_open_client.timed_out(connection, tcb.retransmits, given_up, now)
    if given_up or _orphan_is_one_too_many(connection, now):
        connection.fail(connection.soft_error or errno.ETIMEDOUT)
        return
    recovery.on_timeout(connection, now)
    give_up.note_start(tcb, now)
    accounting.note_timeout(tcb, now)
    _back_off(tcb)
    if give_up.passes_r1(connection, now):
        _note_trouble(connection, now)
    if not resend.send_first(connection, now):
        connection.loss.resend_due = True
    if not tcb.snd_wnd:
        # The peer has shrunk its window: the retransmission serves as the probe (RFC 9293 §3.8.6, SHLD-16, SHLD-17).
        _count_probe(tcb)
    elif _is_thin(connection):
        tcb.backoff = 0
    retransmission.arm_rto(connection, now)


def _is_thin(connection: Connection) -> bool:
    """Whether a stream of few segments is timed out at even intervals, as the configuration may want it."""
    tcb, config = connection.tcb, connection.tcp.config
    is_thin = tcb.sent.segments < _THIN_SEGMENTS and tcb.ssthresh_packets < INFINITE_SSTHRESH
    return bool(config.thin_linear_timeouts and is_thin and tcb.retransmits <= _THIN_RETRIES)


def _note_trouble(connection: Connection, now: int) -> None:
    """R1 is passed: the reason of a later end is known (SHLD-9), and the path may swallow large segments."""
    if not connection.soft_error and not connection.orphaned:
        connection.soft_error = errno.ETIMEDOUT
    path_search.on_black_hole(connection, now)


def _orphan_is_one_too_many(connection: Connection, now: int) -> bool:
    """An orphan that makes no progress while there are too many of them is reset."""
    if not connection.orphaned or not orphans.are_too_many(connection):
        return False
    output.send_reset(connection, now)
    return True


def _persist(connection: Connection, now: int) -> None:
    """Probe the closed window; the connection stays open while the peer answers (MUST-36, MUST-37, SHLD-30).

    If the window is open, what Nagle, a cork or silly-window avoidance have held back for so long leaves now.
    """
    tcb = connection.tcb
    if give_up.probing_is_hopeless(connection, now) or _orphan_is_one_too_many(connection, now):
        connection.fail(connection.soft_error or errno.ETIMEDOUT)
        return
    left = window_probe.send(connection, now)
    if tcb.sent.count:
        return
    give_up.note_start(tcb, now)
    _count_probe(tcb)
    if left:
        tcb.backoff = min(tcb.backoff + 1, _COUNT_MAX)
        retransmission.rearm(connection, now)
    else:
        retransmission.arm(connection, lib.RETRANSMIT_PERSIST, now + _DEVICE_RETRY_NS)


def _count_probe(tcb: Any) -> None:
    """One more probe has left; any segment that arrives sets the count back."""
    tcb.probes_sent = min(tcb.probes_sent + 1, _COUNT_MAX)


def _delayed_ack(connection: Connection, now: int) -> None:
    """RFC 9293 §3.8.6.3 (MUST-40)."""
    delayed_ack.timed_out(connection, now)


def _paced(connection: Connection, now: int) -> None:
    """What pacing has held back may leave."""
    output.output(connection, now)


def start_keepalive(connection: Connection, now: int) -> None:
    """Arm the timer if the user wants keep-alives (MUST-24, MUST-25)."""
    if connection.options.keepalive:
        connection.tcb.deadline_ns[lib.TIMER_KEEPALIVE] = now + _keepalive_time(connection)
        connection.tcp.timers.update(connection)


def _keepalive_time(connection: Connection) -> int:
    return connection.options.keepalive_time_ns or connection.tcp.config.keepalive_time_ns


def _keepalive(connection: Connection, now: int) -> None:
    """Probe an idle connection; give up after several probes without an answer.  RFC 9293 §3.8.4 (MUST-26, MUST-29)."""
    if not connection.options.keepalive:
        return
    tcb, config = connection.tcb, connection.tcp.config
    quiet = now - max(tcb.last_received_ns, tcb.last_sent_ns)
    time = _keepalive_time(connection)
    interval = connection.options.keepalive_interval_ns or config.keepalive_interval_ns
    if tcb.sent.count or connection.sending.chunks:
        wait = time
    elif quiet < time:
        tcb.probes_sent = 0
        wait = time - quiet
    elif _keepalive_has_failed(connection, quiet):
        output.send_reset(connection, now)
        connection.fail(connection.soft_error or errno.ETIMEDOUT)
        return
    else:
        (output.send_garbage_probe if config.keepalive_garbage else output.send_probe)(connection, now)
        _count_probe(tcb)
        wait = interval
    tcb.deadline_ns[lib.TIMER_KEEPALIVE] = now + wait


def _keepalive_has_failed(connection: Connection, quiet: int) -> bool:
    """Too many probes without an answer; a user's time-out counts instead of them, as in Linux."""
    sent: int = connection.tcb.probes_sent
    if connection.options.user_timeout_ns:
        return sent > 0 and quiet >= connection.options.user_timeout_ns
    return sent >= (connection.options.keepalive_probes or connection.tcp.config.keepalive_probes)


def start_state_timer(connection: Connection, delay_ns: int, now: int) -> None:
    """Limit the stay in FIN-WAIT-2 or TIME-WAIT."""
    connection.tcb.deadline_ns[lib.TIMER_STATE] = now + delay_ns
    connection.tcp.timers.update(connection)


def enter_time_wait(connection: Connection, now: int) -> None:
    """TIME-WAIT for 2 MSL; the other timers stop, the buffers are not needed for sending any more.  MUST-13."""
    tcb = connection.tcb
    if tcb.state != TIME_WAIT:
        change_state(tcb, TIME_WAIT)
    connection.tcp.orphans.discard(connection)
    for timer in range(lib.TIMER_COUNT):
        tcb.deadline_ns[timer] = 0
    tcb.retransmit_kind = lib.RETRANSMIT_NONE
    connection.sending.chunks.clear()
    lib.ring_release(ffi.addressof(tcb, "snd_ring"))
    if not tcb.rcv_ring.length:
        lib.ring_release(ffi.addressof(tcb, "rcv_ring"))
    lib.sent_queue_release(_sent(connection))
    start_state_timer(connection, 2 * connection.tcp.config.msl_ns, now)


def _state_timeout(connection: Connection, now: int) -> None:
    """2 MSL are over, or the peer did not close its side of an orphan in time."""
    assert connection.tcb.state in (FIN_WAIT_2, TIME_WAIT), "only these two states are timed"
    connection.fail(0)


def _sent(connection: Connection) -> Any:
    return ffi.addressof(connection.tcb, "sent")


_HANDLERS = {
    lib.TIMER_RETRANSMIT: _retransmit_slot,
    lib.TIMER_DELAYED_ACK: _delayed_ack,
    lib.TIMER_COMPRESSED_ACK: _delayed_ack,
    lib.TIMER_KEEPALIVE: _keepalive,
    lib.TIMER_STATE: _state_timeout,
    lib.TIMER_PACING: _paced,
}

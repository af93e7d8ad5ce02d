"""When what was received is acknowledged: at once, later, or with data that leave.

RFC 9293 §3.8.6.3 (MUST-40, SHLD-18, SHLD-19), RFC 1122 §4.2.3.2, RFC 5681 §4.2.  As Linux does it: every second full
segment at once, in quick mode (`quick_ack`) every one; and where data answer data ACKs wait to ride along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp import output, quick_ack, receive_buffer, receive_queue, sequence, window
from ustack.tcp.state import CLOSE_WAIT, ESTABLISHED

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_MILLISECOND = 1_000_000
TIMEOUT_MOST_NS = 200 * _MILLISECOND
_TIMEOUT_UNHURRIED_NS = 500 * _MILLISECOND
_DUPLICATES_AT_ONCE = 3


def settle(connection: Connection, now: int) -> None:
    """The burst is over: the ACK that is owed leaves now or later."""
    tcb = connection.tcb
    if not tcb.ack_scheduled and not tcb.ack_now:
        return
    if _is_due(connection):
        output.send_ack(connection, now)
    elif not receive_queue.holds_out_of_order(connection):
        _delay(connection, now)
    else:
        _compress(connection, now)


def _is_due(connection: Connection) -> bool:
    """More than a full segment, if the user keeps pace; in quick mode always, and where the route wants it."""
    tcb = connection.tcb
    if sequence.distance(tcb.last_ack_sent, tcb.rcv_nxt) > tcb.rcv_mss and (
        tcb.rcv_ring.length < connection.options.receive_low_water
        or window.new_window(tcb, connection.tcp.config.shrink_window) >= tcb.rcv_wnd
    ):
        return True
    return bool(quick_ack.is_quick(tcb) or tcb.ack_now or connection.route_metrics.quickack)


def _delay(connection: Connection, now: int) -> None:
    tcb = connection.tcb
    timeout = min(_timeout(tcb), TIMEOUT_MOST_NS, connection.rto_min_ns - _MILLISECOND)
    deadline: int = tcb.deadline_ns[lib.TIMER_DELAYED_ACK]
    if not timeout or (deadline and deadline <= now + timeout // 4):
        output.send_ack(connection, now)
    elif not deadline or now + timeout < deadline:
        tcb.deadline_ns[lib.TIMER_DELAYED_ACK] = now + timeout
        connection.tcp.timers.update(connection)


def _timeout(tcb: Any) -> int:
    timeout: int = tcb.ack_timeout_ns
    if timeout <= quick_ack.TIMEOUT_LEAST_NS:
        return timeout
    most = TIMEOUT_MOST_NS if tcb.ack_pingpong or tcb.ack_pushed else _TIMEOUT_UNHURRIED_NS
    if tcb.srtt_ns:
        most = min(most, max(int(tcb.srtt_ns), quick_ack.TIMEOUT_LEAST_NS))
    return min(timeout, most)


def _compress(connection: Connection, now: int) -> None:
    """Data out of order: the first duplicate ACKs leave at once (RFC 5681 §4.2), then several may become one."""
    tcb, config = connection.tcb, connection.tcp.config
    if tcb.ack_compressed_at != tcb.rcv_nxt:
        tcb.ack_compressed_at = tcb.rcv_nxt
        tcb.ack_duplicates = 0
    if not tcb.sack_permitted or tcb.ack_compressed >= config.comp_sack_nr:
        output.send_ack(connection, now)
        return
    if tcb.ack_duplicates < _DUPLICATES_AT_ONCE:
        tcb.ack_duplicates += 1
        output.send_ack(connection, now)
        return
    tcb.ack_compressed += 1
    if tcb.deadline_ns[lib.TIMER_COMPRESSED_ACK]:
        return
    round_trip = int(tcb.rcv_rtt_ns) // 8
    if tcb.srtt_ns and tcb.srtt_ns < round_trip:
        round_trip = int(tcb.srtt_ns)
    tcb.deadline_ns[lib.TIMER_COMPRESSED_ACK] = now + min(config.comp_sack_delay_ns, round_trip // 20)
    connection.tcp.timers.update(connection)


def release_compressed(connection: Connection, now: int) -> None:
    """The list of SACK blocks grows long, or time is over: what was held back leaves."""
    if connection.tcb.ack_compressed:
        output.send_ack(connection, now)


def timed_out(connection: Connection, now: int) -> None:
    """Nothing came that the ACK could have ridden along with: leave ping-pong mode, or wait longer next time."""
    tcb = connection.tcb
    if tcb.ack_scheduled and not tcb.ack_compressed:
        if tcb.ack_pingpong:
            tcb.ack_pingpong = 0
            tcb.ack_timeout_ns = quick_ack.TIMEOUT_LEAST_NS
        else:
            tcb.ack_timeout_ns = min(2 * tcb.ack_timeout_ns, tcb.rto_ns)
    output.send_ack(connection, now)


def after_read(connection: Connection, count: int, now: int) -> None:
    """The user has taken `count` bytes: tell the peer, if it waits for an ACK or if its window opens widely.

    RFC 9293 §3.8.6.2.2.
    """
    tcb = connection.tcb
    if (tcb.ack_scheduled and _read_is_enough(tcb, count)) or (
        count and not tcb.fin_received and not connection.read_shutdown and _window_opens(connection)
    ):
        output.send_ack(connection, now)


def _read_is_enough(tcb: Any, count: int) -> bool:
    """The second full segment was not acknowledged yet, or the user has taken all up to a small segment."""
    if sequence.distance(tcb.last_ack_sent, tcb.rcv_nxt) > tcb.rcv_mss:
        return True
    pushed = tcb.ack_pushed == 2 or (tcb.ack_pushed and not tcb.ack_pingpong)
    return bool(count and pushed and not receive_buffer.memory_held(tcb))


def _window_opens(connection: Connection) -> bool:
    """Whether the window would be twice as large as the peer knows it."""
    tcb = connection.tcb
    known = window.receive_window(tcb)
    if 2 * known > tcb.rcv_window_clamp:
        return False
    new = window.new_window(tcb, connection.tcp.config.shrink_window)
    return bool(new and new >= 2 * known)


def set_quick_ack(connection: Connection, value: int, now: int) -> None:
    """TCP_QUICKACK: 0 is ping-pong mode; another value leaves it, an even one only for the ACK that is owed now."""
    tcb = connection.tcb
    tcb.ack_pingpong = 0 if value else 1
    if value and tcb.state in (ESTABLISHED, CLOSE_WAIT) and tcb.ack_scheduled:
        tcb.ack_pushed = max(tcb.ack_pushed, 1)
        after_read(connection, 1, now)
        if not value & 1:
            tcb.ack_pingpong = 1

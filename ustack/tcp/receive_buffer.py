"""The receive buffer: what received data cost in memory, and the window that the rest of it allows.

RFC 9293 §3.8.6 leaves the size of the window to the receiver; here it is found as Linux finds it, number by number
(docs/decisions/0012): a buffer of `rcv_buffer` bytes of memory is worth `rcv_scaling_ratio` 256ths of that in data;
`rcv_ssthresh` opens the window as segments prove to be large, and the buffer itself grows with what the user takes in a
round trip (dynamic right-sizing).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import selective_acks, sequence, super_segment, timestamps

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

LOCKED_MIN = 2304
"""The least buffer that the user can ask for; half of it is the least TCP_WINDOW_CLAMP."""
_FIRST_RATIO = 128
_RATIO_SHIFT = 8
_WORTH_GROWING = 128
"""Payload bytes of the least segment that may open the window."""
_FIRST_SEGMENTS = 10
_RCV_MSS_FIRST = 536
_HEADERS = 40
_RCV_MSS_LEAST = 88
_LONGEST_TICKS = (1 << 31) // 1000
_TICK_NS = 1_000_000


def window_from_memory(tcb: Any, memory: int) -> int:
    """How much data `memory` bytes hold, as the segments are."""
    return memory * int(tcb.rcv_scaling_ratio) >> _RATIO_SHIFT


def memory_from_window(tcb: Any, window: int) -> int:
    """The opposite."""
    return (window << _RATIO_SHIFT) // int(tcb.rcv_scaling_ratio)


def memory_held(tcb: Any) -> int:
    """Of all data received and not read, in order or not."""
    return int(tcb.held.memory) + int(tcb.out_of_order.memory)


def free_window(tcb: Any) -> int:
    """Bytes of data for which there is memory now."""
    return window_from_memory(tcb, tcb.rcv_buffer - memory_held(tcb))


def full_window(tcb: Any) -> int:
    """Bytes of data for which there is memory when all is read."""
    return window_from_memory(tcb, tcb.rcv_buffer)


# At the opening.


def open_buffer(connection: Connection) -> None:
    """The buffer of a new TCB."""
    tcb, config = connection.tcb, connection.tcp.config
    tcb.rcv_buffer = connection.receive_limit
    tcb.rcv_buffer_locked = connection.options.receive_buffer is not None
    tcb.rcv_buffer_most = config.rmem[2]
    tcb.rcv_scaling_ratio = _FIRST_RATIO
    tcb.rcv_window_clamp = connection.options.window_clamp


def establish(connection: Connection, now: int) -> None:
    """Both SYNs are through: what of the buffer the window may take, and where the measurements begin."""
    tcb = connection.tcb
    if tcb.timestamps:
        tcb.advmss -= timestamps.OPTION_LENGTH
    _clamp_to_buffer(tcb, connection.tcp.config.app_win)
    tcb.rcv_ssthresh = min(tcb.rcv_ssthresh, tcb.rcv_window_clamp)
    tcb.rcv_space = min(tcb.rcv_ssthresh, tcb.rcv_wnd, _FIRST_SEGMENTS * tcb.advmss)
    tcb.rcv_space_seq, tcb.rcv_space_ns = tcb.rcv_nxt, now
    theirs = super_segment.bounded_by_half(tcb, tcb.snd_mss, _HEADERS)
    tcb.rcv_mss = max(min(tcb.advmss, theirs, tcb.rcv_wnd // 2, _RCV_MSS_FIRST), _RCV_MSS_LEAST)


def _clamp_to_buffer(tcb: Any, app_win: int) -> None:
    most, advmss, clamp = full_window(tcb), int(tcb.advmss), int(tcb.rcv_window_clamp)
    if clamp >= most:
        clamp = most
        if app_win and most > 4 * advmss:
            clamp = max(most - (most >> app_win), 4 * advmss)
    if app_win and clamp > 2 * advmss and clamp + advmss > most:
        clamp = max(2 * advmss, most - advmss)
    tcb.rcv_window_clamp = clamp


# As segments arrive.


def packet_length(tcb: Any, segment: Segment) -> int:
    """Bytes of the IP packet that a segment came in."""
    return (20 if tcb.version == 4 else 40) + segment.header_length + len(segment.payload)


def scale(tcb: Any, length: int, memory: int) -> None:
    """Segments have another size: a buffer with `length` bytes takes `memory`, and the window follows."""
    ratio = min(max((length << _RATIO_SHIFT) // memory, 1), 255)
    if ratio == tcb.rcv_scaling_ratio:
        return
    tcb.rcv_scaling_ratio = ratio
    set_window_clamp(tcb, full_window(tcb))
    tcb.rcv_space = min(tcb.rcv_space, tcb.rcv_window_clamp)


def set_window_clamp(tcb: Any, clamp: int) -> None:
    """The most to offer from now on; what was offered stays."""
    clamp = max(LOCKED_MIN // 2, clamp)
    before, tcb.rcv_window_clamp = tcb.rcv_window_clamp, clamp
    if clamp < before:
        tcb.rcv_ssthresh = min(tcb.rcv_ssthresh, clamp)
    elif clamp > before:
        tcb.rcv_ssthresh = max(min(tcb.rcv_wnd, clamp), tcb.rcv_ssthresh)


def grow_window(tcb: Any, length: int, memory: int) -> None:
    """A segment with `length` bytes in `memory` has come: open the window if its like will fit the buffer."""
    room = min(tcb.rcv_window_clamp, free_window(tcb)) - tcb.rcv_ssthresh
    if room <= 0 or length < _WORTH_GROWING:
        return
    more = 2 * tcb.advmss if window_from_memory(tcb, memory) <= length else _slow_increment(tcb, length, memory)
    if more:
        tcb.rcv_ssthresh += min(room, max(more, 2 * length))
        tcb.ack_quick |= 1


def _slow_increment(tcb: Any, length: int, memory: int) -> int:
    """Segments that waste memory may still open a window that is small beside the largest buffer."""
    cost = window_from_memory(tcb, memory) >> 1
    window = window_from_memory(tcb, tcb.rcv_buffer_most) >> 1
    while tcb.rcv_ssthresh <= window:
        if cost <= length:
            return 2 * int(tcb.rcv_mss)
        cost >>= 1
        window >>= 1
    return 0


# The round trip as the receiver sees it.


def measure_echo(tcb: Any, ts_echo: int, length: int, now: int) -> None:
    """With timestamps: data that come after our ACK has left; each TSecr tells once."""
    if ts_echo == tcb.rcv_rtt_echo:
        return
    tcb.rcv_rtt_echo = ts_echo
    if length >= tcb.rcv_mss:
        ticks = sequence.distance(ts_echo, timestamps.value(tcb, now))
        if 0 < ticks < _LONGEST_TICKS:
            _update_round_trip(tcb, ticks * _TICK_NS, of_a_window=False)


def measure_window(tcb: Any, now: int) -> None:
    """Without: a window's worth of data comes in a round trip or more."""
    if tcb.rcv_rtt_since_ns:
        if sequence.lt(tcb.rcv_nxt, tcb.rcv_rtt_seq):
            return
        _update_round_trip(tcb, max(now - tcb.rcv_rtt_since_ns, 1), of_a_window=True)
    tcb.rcv_rtt_seq = sequence.add(tcb.rcv_nxt, tcb.rcv_wnd)
    tcb.rcv_rtt_since_ns = now


def _update_round_trip(tcb: Any, sample_ns: int, *, of_a_window: bool) -> None:
    before: int = tcb.rcv_rtt_ns
    if not before or 8 * sample_ns < before:
        tcb.rcv_rtt_ns = 8 * sample_ns
    elif not of_a_window and not tcb.rcv_ring.length:
        tcb.rcv_rtt_ns = before - before // 8 + sample_ns


# Growing with the user's pace.


def adjust(connection: Connection, unread_seq: int, now: int) -> None:
    """The user has read up to `unread_seq`: once a round trip, let the buffer follow what was taken in it."""
    tcb = connection.tcb
    if not tcb.rcv_rtt_ns or now - tcb.rcv_space_ns < tcb.rcv_rtt_ns // 8:
        return
    taken = sequence.distance(tcb.rcv_space_seq, unread_seq) - sequence.distance(unread_seq, tcb.rcv_nxt)
    if taken > tcb.rcv_space:
        grow_buffer(connection, taken)
    tcb.rcv_space_seq, tcb.rcv_space_ns = unread_seq, now


def grow_buffer(connection: Connection, space: int) -> None:
    """The user takes `space` bytes in a round trip: memory for twice that, and for the sender to speed up."""
    tcb, config = connection.tcb, connection.tcp.config
    before, tcb.rcv_space = max(tcb.rcv_space, 1), space
    if tcb.rcv_buffer_locked or not config.moderate_rcvbuf:
        return
    window = 2 * space
    window += 2 * (window * (space - before) // before)
    held = tcb.out_of_order
    if held.count:
        window += sequence.distance(tcb.rcv_nxt, held.items[held.count - 1].end)
    memory = min(memory_from_window(tcb, window), tcb.rcv_buffer_most)
    if memory > tcb.rcv_buffer:
        tcb.rcv_buffer = memory
        tcb.rcv_window_clamp = full_window(tcb)


# Short of memory.


def admits(tcb: Any, seq: int) -> bool:
    """Whether a segment at `seq` may be kept; makes room for it if need be, at last by forgetting data out of order.

    What is held counts, not the segment itself.
    """
    if _fits(tcb):
        return True
    _clamp(tcb)
    if _fits(tcb):
        return True
    lib.ranges_collapse(ffi.addressof(tcb, "out_of_order"))
    lib.held_segments_collapse(ffi.addressof(tcb, "held"))
    if not _fits(tcb):
        _prune(tcb, seq)
    return _fits(tcb)


def _fits(tcb: Any) -> bool:
    return memory_held(tcb) <= int(tcb.rcv_buffer)


def _clamp(tcb: Any) -> None:
    """Let the buffer grow unless the user has set it; if it is at its limit, shut the window."""
    tcb.ack_quick = 0
    if not tcb.rcv_buffer_locked:
        tcb.rcv_buffer = max(tcb.rcv_buffer, min(memory_held(tcb), tcb.rcv_buffer_most))
    if not _fits(tcb):
        tcb.rcv_ssthresh = min(tcb.rcv_window_clamp, 2 * tcb.advmss)


def _prune(tcb: Any, seq: int) -> None:
    """Forget data from the highest on, an eighth of the buffer at a time, but nothing before `seq`.

    RFC 2018 §8 allows it: the sender must keep what was only selectively acknowledged.
    """
    ranges = ffi.addressof(tcb, "out_of_order")
    portion = tcb.rcv_buffer >> 3
    pruned = False
    while ranges.count and not _fits(tcb) and not sequence.gt(seq, ranges.items[ranges.count - 1].start):
        before = ranges.memory
        while ranges.count and before - ranges.memory < portion:
            lib.ranges_cut(ranges, portion - (before - ranges.memory))
        pruned = True
    if pruned:
        selective_acks.clear(tcb)

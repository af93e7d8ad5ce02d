"""The size of what leaves at once: super-segments, which are to be large, but not so large that the path gets bursts.

A super-segment is at most what pacing would send in a millisecond, half of the congestion window, and what the peer's
window allows; and where waiting for the next ACK lets a larger one leave, it may wait.  No RFC has these rules: they
are Linux's, whose bursts public scripts compare.  RFC 9293 §3.8.6.2.1 (silly windows) is met by `bounded_by_half`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import nagle, sequence

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.write_queue import Chunk

BYTES_MAX = 65_536 - 321
"""Payload bytes of one super-segment, at most; with the longest headers it is still one IP packet."""
SEGMENTS_MAX: int = lib.BURST_FRAMES // 4
"""Segments of one super-segment, at most: cut, they must fit the burst of a device."""
_PACING_SHIFT = 10
"""A super-segment holds what leaves in 2^-10 seconds at the pacing rate."""
_MICROSECOND = 1000
_MILLISECOND = 1_000_000
_SMALL_WINDOW = 536
_LEAST_MSS = 68
_DEFERRED_SEGMENTS = 3
"""Without tso_win_divisor: room for more than so many segments is worth sending at once."""


def bounded_by_half(tcb: Any, size: int, header_length: int = 20) -> int:
    """`size`, but not over half of the largest window that the peer has ever offered, unless that is tiny.

    RFC 9293 §3.8.6.2.1 sends what is half of the window; cutting segments to that size does the same.
    """
    most: int = tcb.snd_max_wnd
    if most > _SMALL_WINDOW:
        most >>= 1
    return max(most, _LEAST_MSS - header_length) if most and size > most else size


def size_goal(tcb: Any) -> int:
    """Bytes up to which writes are gathered into one chunk: whole segments."""
    mss: int = tcb.snd_mss
    return max(bounded_by_half(tcb, BYTES_MAX) // mss, 1) * mss


def most_segments(connection: Connection) -> int:
    """Segments of a super-segment now: a millisecond's worth of the pacing rate, more where the path is short.

    Never less than tcp_min_tso_segs, or than the controller wants.
    """
    tcb, config, controller = connection.tcb, connection.tcp.config, connection.congestion
    least = config.min_tso_segs
    if controller is not None and controller.single_segments_below:
        least = 1 if tcb.pacing_rate < controller.single_segments_below else 2
    size = int(tcb.pacing_rate) >> _PACING_SHIFT
    if tcb.min_rtt_ns:
        size += BYTES_MAX >> min(int(tcb.min_rtt_ns) // _MICROSECOND >> config.tso_rtt_log, 32)
    size = min(size, BYTES_MAX)
    return min(max(size // int(tcb.snd_mss), least), SEGMENTS_MAX)


def quota(tcb: Any, in_flight: int) -> int:
    """Segments that cwnd lets out at once: half of it at the most, so that two super-segments are in flight."""
    window: int = tcb.cwnd_packets
    return max(min(max(window >> 1, 1), window - in_flight), 0)


def split_point(tcb: Any, chunk: Chunk, is_last: bool, segments: int, rule: int) -> int:
    """How many bytes of a chunk longer than the MSS leave now, when `segments` may.

    A partial segment ends them only if it is the chunk's last and Nagle's rule lets it.
    """
    mss: int = tcb.snd_mss
    room = window_room(tcb)
    most = segments * mss
    if most <= room and not is_last:
        return most
    needed = min(chunk.length, room)
    if most <= needed:
        return most
    partial = needed % mss
    return needed - partial if partial and nagle.holds(tcb, rule) else needed


def may_begin(tcb: Any, chunk: Chunk) -> bool:
    """Whether the peer's window has room for a chunk's first segment, or for all of it with its FIN."""
    needed = min(chunk.length, int(tcb.snd_mss))
    if needed == chunk.length and chunk.flags & lib.SENT_FIN:
        needed += 1
    return needed <= window_room(tcb)


def window_room(tcb: Any) -> int:
    """SND.UNA + SND.WND - SND.NXT: negative where the peer has shrunk its window."""
    return int(tcb.snd_wnd) - sequence.distance(tcb.snd_una, tcb.snd_nxt)


def waits(connection: Connection, chunk: Chunk, is_last: bool, segments: int, in_flight: int, now: int) -> int:
    """Whether a chunk longer than the MSS should wait for the next ACK, to leave as a larger super-segment.

    Returns what it waits for: WAITS_NETWORK (cwnd), WAITS_PEER (the peer's window), WAITS_APPLICATION (more data), or
    WAITS_NOTHING: send it.
    """
    tcb = connection.tcb
    if tcb.ca_state >= lib.CA_RECOVERY or now - tcb.last_departure_ns >= _MILLISECOND:
        return int(lib.WAITS_NOTHING)
    mss: int = tcb.snd_mss
    room = window_room(tcb)
    allowed = (int(tcb.cwnd_packets) - in_flight) * mss
    limit = min(room, allowed)
    if limit >= segments * mss or (not is_last and limit >= chunk.length) or _is_worthwhile(connection, limit):
        return int(lib.WAITS_NOTHING)
    if not tcb.sent.count or _ack_is_far(tcb, now):
        return int(lib.WAITS_NOTHING)
    if allowed < room and allowed <= chunk.length:
        return int(lib.WAITS_NETWORK)
    if allowed >= room and room <= chunk.length:
        return int(lib.WAITS_PEER)
    return int(lib.WAITS_NOTHING if chunk.flags & (lib.SENT_FIN | lib.SENT_RECORD_END) else lib.WAITS_APPLICATION)


def _is_worthwhile(connection: Connection, limit: int) -> bool:
    """Whether a fair part of the window could leave now: 1/tcp_tso_win_divisor of it."""
    tcb = connection.tcb
    divisor = connection.tcp.config.tso_win_divisor
    if divisor:
        return limit >= min(int(tcb.snd_wnd), int(tcb.cwnd_packets) * int(tcb.snd_mss)) // divisor
    return limit > _DEFERRED_SEGMENTS * int(tcb.snd_mss)


def _ack_is_far(tcb: Any, now: int) -> bool:
    """Whether the oldest outstanding segment was sent less than half a round trip ago."""
    first = lib.sent_queue_at(ffi.addressof(tcb, "sent"), 0)
    return bool(now - first.xmit_ns < tcb.srtt_ns // 2)

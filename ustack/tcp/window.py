"""Both windows: what the peer would take, and what we offer.  RFC 9293 §3.8.6, RFC 1122 §4.2.3.3 and 4.2.3.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.tcp import receive_buffer, sequence

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

WINDOW_FIELD_MAX = 0xFFFF
SHIFT_MAX = 14
_SIGNED_MAX = 0x7FFF


def acceptable_seq(tcb: Any) -> int:
    """The sequence number of a segment without data: SND.NXT, or the window's end where the peer has shrunk it.

    It would not take what lies behind its window, not even an ACK (RFC 9293 §3.4, table 6).  Less than its window
    field can tell does not count.
    """
    beyond = sequence.distance(tcb.snd_una, tcb.snd_nxt) - int(tcb.snd_wnd)
    if beyond <= 0 or (tcb.window_scaling and beyond < 1 << int(tcb.rcv_wscale)):
        return int(tcb.snd_nxt)
    return sequence.add(tcb.snd_una, tcb.snd_wnd)


def usable_window(tcb: Any) -> int:
    """Bytes the peer would take now: SND.UNA + SND.WND - SND.NXT, never below 0.  RFC 9293 §3.8.6.2.1, MUST-34."""
    room: int = tcb.snd_wnd - sequence.distance(tcb.snd_una, tcb.snd_nxt)
    return max(room, 0)


def receive_window(tcb: Any) -> int:
    """RCV.WND of RFC 9293 §3.3.1: what the peer may still send of the window that it knows."""
    left: int = tcb.rcv_wnd - sequence.distance(tcb.last_ack_sent, tcb.rcv_nxt)
    return max(left, 0)


def _round_up(window: int, shift: int) -> int:
    return (window + (1 << shift) - 1) >> shift << shift


def offer_first(connection: Connection, mss: int) -> None:
    """The window and its shift for our SYN: the buffer in whole segments of `mss`.  RFC 7323 §2.3.

    The route may say how many segments it is at most at first, and what it never exceeds.
    """
    tcb, config, metrics = connection.tcb, connection.tcp.config, connection.route_metrics
    clamp: int = tcb.rcv_window_clamp or metrics.window or WINDOW_FIELD_MAX << SHIFT_MAX
    full = receive_buffer.full_window(tcb)
    if tcb.rcv_buffer_locked:
        clamp = min(clamp, full)
    space = min(clamp, full)
    if space > mss:
        space -= space % mss
    tcb.rcv_wnd = tcb.rcv_ssthresh = min(
        space,
        metrics.initrwnd * mss or space,
        _SIGNED_MAX if config.workaround_signed_windows else space,
    )
    tcb.rcv_wscale = 0
    if tcb.window_scaling:
        most = min(max(space, config.rmem[2], config.rmem_max), clamp)
        tcb.rcv_wscale = min(max(most.bit_length() - 16, 0), SHIFT_MAX)
    tcb.rcv_window_clamp = min(WINDOW_FIELD_MAX << tcb.rcv_wscale, clamp)


def new_window(tcb: Any, may_shrink: bool) -> int:
    """The window that the buffer allows now; it may be smaller than what was offered.

    RFC 9293 §3.8.6.2.2 (MUST-39): nothing rather than less than a segment, or than a sixteenth of the buffer, and where
    the window is not scaled only whole segments.  A buffer that is half full ends quick mode.
    """
    shift: int = tcb.rcv_wscale
    free, whole = receive_buffer.free_window(tcb), receive_buffer.full_window(tcb)
    full = min(tcb.rcv_window_clamp, whole)
    mss = min(tcb.rcv_mss, full)
    if mss <= 0:
        return 0
    shrinks = may_shrink and shift > 0
    if shrinks:
        free = free >> shift << shift
    if free < full >> 1:
        tcb.ack_quick = 0
        free = free >> shift << shift
        if free < whole >> 4 or free < mss or (shrinks and not free):
            return 0
    free = min(free, tcb.rcv_ssthresh)
    return _round_up(free, shift) if shift else _whole_segments(tcb, free, mss, full)


def _whole_segments(tcb: Any, free: int, mss: int, full: int) -> int:
    """`free` in whole segments; what was offered is kept while it is within one of that."""
    window: int = tcb.rcv_wnd
    if window <= free - mss or window > free:
        return free - free % mss
    return free if mss == full and free > window + (full >> 1) else window


def choose_window(tcb: Any, may_shrink: bool) -> int:
    """The window to offer now, in bytes: it never shrinks (SHLD-14) unless `may_shrink`."""
    if tcb.ack_no_memory:
        return 0
    known = receive_window(tcb)
    new = new_window(tcb, may_shrink)
    if new < known and not (may_shrink and tcb.rcv_wscale):
        return _round_up(known, tcb.rcv_wscale)
    return new


def field(tcb: Any, window: int, signed: bool) -> int:
    """The window for the wire.  RFC 7323 §2.2; some old peers take it for a signed number."""
    if signed and not tcb.rcv_wscale:
        return min(window, _SIGNED_MAX)
    return min(window >> int(tcb.rcv_wscale), WINDOW_FIELD_MAX)


def may_update(tcb: Any, seq: int, ack: int, window: int) -> bool:
    """Whether a segment, whose ACK is not old, tells a window that is newer, or larger, or zero."""
    if sequence.gt(ack, tcb.snd_wl2) or sequence.gt(seq, tcb.snd_wl1):
        return True
    return bool(seq == tcb.snd_wl1 and (window > tcb.snd_wnd or not window))


def take_window(tcb: Any, seq: int, ack: int, window: int) -> bool:
    """SND.WND, SND.WL1, SND.WL2 from a segment, if it is not older than the last one.  RFC 9293 §3.10.7.4, fifth check.

    Returns whether the offered window has changed.
    """
    if not may_update(tcb, seq, ack, window):
        return False
    changed = bool(window != tcb.snd_wnd)
    tcb.snd_wnd = window
    tcb.snd_wl1 = seq
    tcb.snd_wl2 = ack
    tcb.snd_max_wnd = max(tcb.snd_max_wnd, window)
    return changed

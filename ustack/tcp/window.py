"""Both windows: what the peer would take, and what we offer.  RFC 9293 §3.8.6, RFC 1122 §4.2.3.3 and 4.2.3.4."""

from __future__ import annotations

from typing import Any

from ustack.tcp import sequence

WINDOW_FIELD_MAX = 0xFFFF


def usable_window(tcb: Any) -> int:
    """Bytes the peer would take now: SND.UNA + SND.WND - SND.NXT, never below 0.  RFC 9293 §3.8.6.2.1, MUST-34."""
    room: int = tcb.snd_wnd - sequence.distance(tcb.snd_una, tcb.snd_nxt)
    return max(room, 0)


def wanted_window(tcb: Any) -> int:
    """The bytes that the receive buffer could take beyond RCV.NXT, as far as the window field can tell."""
    free: int = min(tcb.rcv_limit - tcb.rcv_ring.length, WINDOW_FIELD_MAX << tcb.rcv_wscale)
    return max(free, 0)


def choose_window(tcb: Any) -> int:
    """The window to offer now, in bytes: it never shrinks (SHLD-14), and grows only by a worthwhile step.

    RFC 9293 §3.8.6.2.2 (MUST-39): by at least half of the buffer or one segment.
    """
    current: int = tcb.rcv_wnd
    wanted = wanted_window(tcb)
    if wanted - current >= min(tcb.rcv_limit // 2, tcb.rcv_mss):
        return wanted
    return current


def advertise(tcb: Any) -> int:
    """Choose the window, record it in RCV.WND and return the field for the wire.

    Where the field cannot tell it exactly it is rounded up if the buffer has room, else down: what was offered before
    stays acceptable all the same.  RFC 7323 §2.4.
    """
    shift: int = tcb.rcv_wscale
    current: int = tcb.rcv_wnd
    field = choose_window(tcb) >> shift
    if field << shift < current and (field + 1) << shift <= wanted_window(tcb):
        field += 1
    field = min(field, WINDOW_FIELD_MAX)
    tcb.rcv_wnd = max(field << shift, current)
    return field


def update_is_due(tcb: Any) -> bool:
    """Whether reading has opened the window so far that the peer should hear of it: it has at least doubled."""
    current: int = tcb.rcv_wnd
    wanted = wanted_window(tcb)
    return wanted >= 2 * current and wanted - current >= min(tcb.rcv_limit // 2, tcb.rcv_mss)


def take_window(tcb: Any, seq: int, ack: int, window: int) -> bool:
    """SND.WND, SND.WL1, SND.WL2 from a segment, if it is not older than the last one.  RFC 9293 §3.10.7.4, fifth check.

    Returns whether the offered window has changed.
    """
    wl1: int = tcb.snd_wl1
    if not (sequence.lt(wl1, seq) or (wl1 == seq and sequence.le(tcb.snd_wl2, ack))):
        return False
    changed = bool(window != tcb.snd_wnd)
    tcb.snd_wnd = window
    tcb.snd_wl1 = seq
    tcb.snd_wl2 = ack
    tcb.snd_max_wnd = max(tcb.snd_max_wnd, window)
    return changed

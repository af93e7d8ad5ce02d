"""What an acknowledgment does.  RFC 9293 §3.10.7.4, fifth check; RFC 5681 §2 (duplicate acknowledgment).

Ordinary ACKs of a burst are summed in `tcb.acked`, by C or here alike, and `ack_sample.flush` passes the sum on.  Any
other one is dealt with by itself, after those before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import ack_sample, ecn, recovery, reordering, scoreboard, sequence, window, window_probe
from ustack.tcp.ack_event import AckEvent
from ustack.tcp.segment import Segment
from ustack.wire.tcp import CWR, ECE, FIN, SYN

if TYPE_CHECKING:
    from typing import Any

    from ustack.tcp.connection import Connection


def process(connection: Connection, segment: Segment, now: int) -> None:
    """Take SEG.ACK, which is not beyond SND.NXT, and SEG.WND."""
    tcb = connection.tcb
    if _is_ordinary(tcb, segment):
        _take_window(connection, segment, now)
        _advance(connection, segment, now)
        return
    ack_sample.flush(connection, now)
    event = _event(connection, segment)
    if sequence.lt(segment.ack, tcb.snd_una):
        _take_old(connection, segment, event, now)
        return
    had_sent: int = tcb.sent.count
    _take_window(connection, segment, now)
    if segment.options.sack_blocks and tcb.sack_permitted:
        scoreboard.take(connection, segment.ack, segment.options.sack_blocks, event, now)
    _advance(connection, segment, now)
    delivered = int(tcb.delivered) - event.prior_delivered
    event.ece = ecn.ack_arrives(connection, segment, delivered, int(tcb.acked.bytes))
    if had_sent:
        _count_duplicate(segment, event)
        ack_sample.conclude(connection, event, now)
    elif event.dsack or tcb.tlp_outstanding:
        ack_sample.conclude(connection, event, now)


def _is_ordinary(tcb: Any, segment: Segment) -> bool:
    """Whether it acknowledges new data, or only comes with data, while all is in order."""
    if tcb.slow_path_reasons & lib.SLOW_RECOVERY or segment.options.sack_blocks:
        return False
    if tcb.ecn_mode != lib.ECN_NONE and (tcb.ecn_mode != lib.ECN_CLASSIC or segment.flags & (ECE | CWR)):
        return False
    return sequence.gt(segment.ack, tcb.snd_una) or (segment.ack == tcb.snd_una and bool(segment.payload))


def _event(connection: Connection, segment: Segment) -> AckEvent:
    tcb = connection.tcb
    echo = segment.options.timestamps
    return AckEvent(
        prior_una=tcb.snd_una,
        prior_delivered=tcb.delivered,
        prior_lost=tcb.lost,
        prior_sacked=tcb.sent.sacked_segments,
        prior_highest_sacked=reordering.highest_sacked(tcb),
        ts_echo=echo[1] if echo is not None and tcb.timestamps else None,
        advanced=sequence.gt(segment.ack, tcb.snd_una),
        carries_data=bool(segment.payload or segment.flags & (SYN | FIN)),
        updates_window=_updates_window(tcb, segment),
    )


def _updates_window(tcb: Any, segment: Segment) -> bool:
    """Whether it tells of a window: then it is no duplicate ACK.  A smaller one does not count, as in Linux."""
    if sequence.gt(segment.ack, tcb.snd_una) or sequence.gt(segment.seq, tcb.snd_wl1):
        return True
    return bool(segment.seq == tcb.snd_wl1 and (segment.window > tcb.snd_wnd or not segment.window))


def _count_duplicate(segment: Segment, event: AckEvent) -> None:
    """A duplicate ACK, or as many as a super-segment stands for.  RFC 5681 §2."""
    segments_acked = event.advanced or event.carries_data or event.updates_window
    if not segments_acked and not event.dsack:
        event.duplicates = 1


def _take_old(connection: Connection, segment: Segment, event: AckEvent, now: int) -> None:
    """An ACK that was overtaken may still tell of SACKed data."""
    tcb = connection.tcb
    if not segment.options.sack_blocks or not tcb.sack_permitted:
        return
    event.advanced = event.updates_window = False
    scoreboard.take(connection, segment.ack, segment.options.sack_blocks, event, now)
    ack_sample.conclude_old(connection, event, now)


def _take_window(connection: Connection, segment: Segment, now: int) -> None:
    """SND.WND; RFC 9293 §3.10.7.4."""
    tcb = connection.tcb
    tcb.last_ack_received_ns = now
    was_closed = not tcb.snd_wnd
    changed = window.take_window(tcb, segment.seq, segment.ack, segment.window)
    if changed:
        connection.wants_slow_path(lib.SLOW_WINDOW, not tcb.snd_wnd)
        if was_closed:
            recovery.on_window_opened(connection, now)
    if connection.sending.chunks:
        answers = not tcb.sent.count and not segment.payload
        window_probe.window_taken(connection, changed, answers, now)


def _advance(connection: Connection, segment: Segment, now: int) -> None:
    """SND.UNA = SEG.ACK; what is acknowledged leaves the queue and the ring."""
    tcb = connection.tcb
    if not sequence.gt(segment.ack, tcb.snd_una):
        return
    echo = segment.options.timestamps
    lib.tcb_acknowledge(tcb, segment.ack, echo is not None, echo[1] if echo is not None else 0, now)
    if tcb.snd_up == segment.ack:
        connection.wants_slow_path(lib.SLOW_URGENT, connection.urgent_seq >= 0)

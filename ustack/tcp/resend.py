"""Sending again what was lost, as far as cwnd and the peer's window allow.  RFC 6675 §5, RFC 5681 §3.2.

What is lost was decided elsewhere and is marked in the queue of sent segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import (
    flight,
    notices,
    output,
    pacing,
    path_search,
    prr,
    quick_ack,
    rate_sampling,
    retransmission,
    sequence,
    super_segment,
)
from ustack.tcp.ack_event import SEND_LOST, SEND_NEW
from ustack.wire.tcp import ACK, FIN, PSH

if TYPE_CHECKING:
    from ustack.tcp.ack_event import AckEvent
    from ustack.tcp.connection import Connection


def after_ack(connection: Connection, event: AckEvent, now: int) -> None:
    """Send what the acknowledgment lets out: the lost, or in F-RTO's second step new data."""
    tcb = connection.tcb
    if event.send == SEND_NEW:
        connection.loss.resend_due = False
        output.output(connection, now)
        if sequence.gt(tcb.snd_nxt, tcb.recovery_point):
            return
        tcb.frto = 0
    if event.send in (SEND_LOST, SEND_NEW):
        start(connection, now)


def start(connection: Connection, now: int) -> None:
    """What is lost may leave again, now and when the device or pacing allows more."""
    connection.loss.resend_due = True
    send_due(connection, now)


def send_due(connection: Connection, now: int) -> bool:
    """Go on with it; False if the device or pacing stops it before cwnd does."""
    if not connection.loss.resend_due:
        return True
    if has_lost(connection.tcb) and not _send_lost(connection, output.segment_options(connection, now), now):
        return False
    connection.loss.resend_due = False
    return True


def has_lost(tcb: Any) -> bool:
    """Whether something is deemed lost and was not sent again since."""
    sent = tcb.sent
    return bool(sent.retransmitted_segments < sent.lost_segments)


def _send_lost(connection: Connection, options: bytes, now: int) -> bool:
    """Send again what is marked as lost, as far as cwnd allows; False if something else stops it."""
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    while has_lost(tcb):
        if pacing.must_wait(connection, now):
            return False
        room: int = tcb.cwnd_packets - flight.packets_in_flight(tcb)
        index = lib.sent_queue_next_lost(sent)
        if room <= 0 or index < 0:
            break
        if not _prepare(connection, index, room):
            break
        if not send_entry(connection, index, options, now):
            return False
        prr.note_sent(tcb, lib.sent_segment_count(lib.sent_queue_at(sent, index)))
        if not index and tcb.retransmit_kind != lib.RETRANSMIT_REORDERING:
            retransmission.arm_rto(connection, now)
    return True


def _prepare(connection: Connection, index: int, room: int) -> bool:
    """Cut an entry to what may leave at once, `room` segments at most, or join small ones to one segment.

    False where the peer has shrunk its window so that it lies outside; but the first segment serves as a window probe.
    """
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    segment = lib.sent_queue_at(sent, index)
    mss: int = tcb.snd_mss
    edge = sequence.add(tcb.snd_una, tcb.snd_wnd)
    usable = sequence.distance(segment.seq, edge) if sequence.lt(segment.seq, edge) else 0
    if not usable:
        if index:
            return False
        usable = mss
    allowed = min(room, super_segment.most_segments(connection)) * mss
    if allowed > usable:
        allowed = usable - usable % mss or usable
    length = sequence.distance(segment.seq, segment.end) - bool(segment.flags & lib.SENT_FIN)
    if length > allowed:
        lib.sent_queue_split(sent, sequence.add(segment.seq, allowed))
    elif connection.tcp.config.retrans_collapse and length < min(usable, mss):
        _collapse(tcb, index, min(usable, mss) - length)
    lib.sent_queue_recut(sent, index, mss)
    return True


def _collapse(tcb: Any, index: int, space: int) -> None:
    """Small segments that follow are sent again in one: RFC 9293 §3.8.1 allows to repacketize."""
    sent = ffi.addressof(tcb, "sent")
    while lib.sent_queue_at(sent, index).flags & (lib.SENT_SYN | lib.SENT_FIN | lib.SENT_RECORD_END) == 0:
        following = lib.sent_queue_at(sent, index + 1)
        if following == ffi.NULL or following.flags & (lib.SENT_SACKED | lib.SENT_FIN):
            return
        space -= sequence.distance(following.seq, following.end)
        if space < 0 or lib.sent_segment_count(following) > 1:
            return
        lib.sent_queue_join(sent, index)


def send_entry(connection: Connection, index: int, options: bytes, now: int, *, probe: bool = False) -> bool:
    """Send entry `index` of the queue of sent segments again; False if the device has no room."""
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    segment = lib.sent_queue_at(sent, index)
    length = sequence.distance(segment.seq, segment.end)
    path_search.on_retransmission(connection)
    fin = bool(segment.flags & lib.SENT_FIN)
    flags = ACK | (FIN if fin else 0)
    if segment.flags & lib.SENT_PUSH and length > fin:
        flags |= PSH
    if not output.transmit(connection, segment.seq, flags, length - fin, options):
        return False
    rate_sampling.stamp(tcb, segment, now)
    quick_ack.data_sent(tcb, now)
    tcb.last_departure_ns = now
    lib.sent_queue_retransmitted(sent, index, probe, now)
    pacing.note_sent(connection, length - fin, now)
    notices.transmitted(connection, segment.seq, length - fin, now)
    _count(tcb, lib.sent_segment_count(segment), length - fin, now, probe=probe)
    return True


def _count(tcb: Any, segments: int, length: int, now: int, *, probe: bool) -> None:
    tcb.bytes_retransmitted += length
    tcb.retransmissions += segments
    if probe:
        return
    if not tcb.retrans_stamp_ns:
        tcb.retrans_stamp_ns = now
    tcb.undo_retrans = max(tcb.undo_retrans, 0) + segments


def send_first(connection: Connection, now: int) -> bool:
    """Send the first segment that is not acknowledged again, whatever cwnd says: after a time-out.  RFC 6298 §5.4."""
    options = output.segment_options(connection, now)
    _prepare(connection, 0, 1)
    return send_entry(connection, 0, options, now)


def probe_last(connection: Connection, now: int) -> bool:
    """Send the last segment again as a loss probe.  RFC 8985 §7.3."""
    tcb = connection.tcb
    options = output.segment_options(connection, now)
    sent = ffi.addressof(tcb, "sent")
    last = lib.sent_queue_at(sent, sent.count - 1)
    segments: int = lib.sent_segment_count(last)
    mss: int = last.mss or tcb.snd_mss
    if segments > 1:
        lib.sent_queue_split(sent, sequence.add(last.seq, (segments - 1) * mss))
    index = sent.count - 1
    return _prepare(connection, index, 1) and send_entry(connection, index, options, now, probe=True)

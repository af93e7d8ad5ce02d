"""Sending again what was lost, as far as cwnd and the peer's window allow.  RFC 6675 §5, RFC 5681 §3.2.

What is lost was decided elsewhere and is marked in the queue of sent segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import notices, output, pacing, path_search, rate_sampling, sequence
from ustack.wire.tcp import ACK, FIN, PSH

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def has_lost(tcb: Any) -> bool:
    """Whether something is deemed lost and was not sent again since."""
    return bool(tcb.sent.lost_segments) and lib.sent_queue_next_lost(ffi.addressof(tcb, "sent"), 0) >= 0


def send_lost(connection: Connection, options: bytes, now: int) -> bool:
    """Send again what is marked as lost, as far as cwnd allows; True if nothing of it is left."""
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    mss: int = tcb.snd_mss
    while True:
        index = lib.sent_queue_next_lost(sent, 0)
        if index < 0:
            return True
        segment = lib.sent_queue_at(sent, index)
        edge = sequence.add(tcb.snd_una, tcb.snd_wnd)
        if pacing.must_wait(connection, now):
            return False
        room = output.cwnd_room(tcb)
        if room <= 0 or sequence.ge(segment.seq, edge):
            return False
        allowed = min(room * mss, sequence.distance(segment.seq, edge), output.super_segment_limit(mss))
        take = max(allowed - allowed % mss, mss)
        if take < sequence.distance(segment.seq, segment.end):
            lib.sent_queue_split(sent, sequence.add(segment.seq, take))
        if not resend(connection, index, options, now):
            return False


def resend(connection: Connection, index: int, options: bytes, now: int) -> bool:
    """Send entry `index` of the queue of sent segments again; False if the device has no room."""
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    segment = lib.sent_queue_at(sent, index)
    length = sequence.distance(segment.seq, segment.end)
    path_search.on_retransmission(connection)
    flags = ACK
    fin = 0
    if segment.flags & lib.SENT_FIN:
        flags |= FIN
        fin = 1
    if segment.flags & lib.SENT_PUSH and length > fin:
        flags |= PSH
    if not output.transmit(connection, segment.seq, flags, length - fin, options):
        return False
    rate_sampling.stamp(tcb, segment, now)
    lib.sent_queue_retransmitted(sent, index, now)
    pacing.note_sent(connection, length - fin, now)
    notices.transmitted(connection, segment.seq, length - fin, now)
    tcb.bytes_retransmitted += length
    tcb.retransmissions += 1
    return True

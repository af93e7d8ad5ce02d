"""Loss detection without SACK: duplicate ACKs stand for the SACKs that are missing.  RFC 5681 §3.2, RFC 6582 §3.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import ffi, lib
from ustack.tcp import reordering, sequence

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def add_duplicates(connection: Connection, count: int) -> None:
    """Each duplicate ACK tells that one more segment has arrived."""
    tcb = connection.tcb
    if not count:
        return
    before: int = tcb.dup_acks
    tcb.dup_acks += count
    _check_reordering(connection, 0)
    tcb.delivered += max(tcb.dup_acks - before, 0)


def remove_acknowledged(connection: Connection, acked: int) -> None:
    """Of `acked` segments one has filled the hole; the others were told of by duplicate ACKs before."""
    tcb = connection.tcb
    if acked > 0:
        tcb.delivered += max(acked - tcb.dup_acks, 1) - acked
        tcb.dup_acks = max(tcb.dup_acks - (acked - 1), 0)
    _check_reordering(connection, acked)


def _check_reordering(connection: Connection, acked: int) -> None:
    """More duplicates than segments that can have arrived: some came late."""
    tcb = connection.tcb
    segments: int = tcb.sent.segments
    holes = min(max(tcb.sent.lost_segments, 1), segments)
    if tcb.dup_acks + holes > segments:
        tcb.dup_acks = segments - holes
        reordering.note_extent(connection, segments + acked)


def mark_lost(connection: Connection, advanced: bool) -> None:
    """The first segment is lost: at the duplicate threshold, and at a partial ACK in recovery.  RFC 6582 §3.2."""
    tcb = connection.tcb
    threshold = tcb.ca_state < lib.CA_RECOVERY and tcb.dup_acks >= tcb.reordering
    if not threshold and not (tcb.ca_state == lib.CA_RECOVERY and advanced):
        return
    sent = ffi.addressof(tcb, "sent")
    head = lib.sent_queue_at(sent, 0)
    if head.flags & lib.SENT_LOST:
        return
    length = sequence.distance(head.seq, head.end)
    end = sequence.add(head.seq, min(head.mss or length, length))
    tcb.lost += lib.sent_queue_mark_lost(sent, head.seq, end)

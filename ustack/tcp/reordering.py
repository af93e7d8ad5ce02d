"""How far segments are displaced on the path: the duplicate threshold follows.  RFC 4653 §3, RFC 8985 §6.2 step 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import ffi, lib
from ustack.tcp import sequence

if TYPE_CHECKING:
    from typing import Any

    from ustack.tcp.connection import Connection


def highest_sacked(tcb: Any) -> int:
    """The end of the highest SACKed segment; SND.UNA if there is none."""
    return int(tcb.sent.highest_sacked if tcb.sent.sacked_segments else tcb.snd_una)


def note_hole_filled(connection: Connection, seq: int) -> None:
    """A segment from `seq` on that was never sent again has arrived after higher ones were SACKed."""
    tcb = connection.tcb
    highest = highest_sacked(tcb)
    if not sequence.lt(seq, highest):
        return
    extent = -(-sequence.distance(seq, highest) // max(int(tcb.snd_mss), 1))
    _note(connection, extent)


def note_extent(connection: Connection, segments: int) -> None:
    """Without SACK: more duplicate ACKs have come than segments could have been lost."""
    _note(connection, segments)


def _note(connection: Connection, segments: int) -> None:
    tcb = connection.tcb
    if segments > tcb.reordering:
        tcb.reordering = min(segments, connection.tcp.config.max_reordering)
    tcb.reordering_seen += 1


def in_flight_head(tcb: Any) -> Any:
    """The first entry of the queue of sent segments, or None."""
    head = lib.sent_queue_at(ffi.addressof(tcb, "sent"), 0)
    return None if head == ffi.NULL else head

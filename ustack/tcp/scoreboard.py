"""The SACK blocks of an acknowledgment, checked and marked in the queue of sent segments.  RFC 2018 §5, 6675 §4, 2883.

Blocks of what was never sent, of what lies below SND.UNA, and reversed ones are ignored, unless they are a DSACK's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import reordering, sequence

if TYPE_CHECKING:
    from ustack.tcp.ack_event import AckEvent
    from ustack.tcp.connection import Connection

Block = tuple[int, int]
_BLOCKS_MOST = 4


def take(connection: Connection, ack: int, blocks: tuple[Block, ...], event: AckEvent, now: int) -> None:
    """Take the SACK blocks of an ACK with number `ack`; SND.UNA is still what it was before."""
    tcb = connection.tcb
    _check_dsack(connection, ack, blocks, event)
    if not tcb.sent.count:
        return
    una = sequence.latest(int(tcb.snd_una), ack)
    marked, duplicate = _usable(tcb, una, blocks, is_dsack=event.dsack)
    if marked:
        _mark(connection, ack, marked, duplicate, event, now)


def _mark(connection: Connection, ack: int, blocks: list[Block], duplicate: int, event: AckEvent, now: int) -> None:
    tcb = connection.tcb
    lib.tcb_take_sack(
        tcb, ack, ffi.new("struct sack_block[]", blocks), len(blocks), duplicate,
        event.ts_echo is not None, event.ts_echo or 0, now,
    )  # fmt: skip
    acked = tcb.acked
    event.sacked = acked.sacked_segments > 0
    if acked.original:
        event.original = True
    if acked.duplicate_segments and tcb.undo_marked and tcb.undo_retrans > 0:
        tcb.undo_retrans = max(tcb.undo_retrans - acked.duplicate_segments, 0)
    if acked.has_hole_sacked and (tcb.ca_state != lib.CA_LOSS or tcb.undo_marked):
        reordering.note_hole_filled(connection, acked.hole_sacked)


def _usable(tcb: Any, una: int, blocks: tuple[Block, ...], *, is_dsack: bool) -> tuple[list[Block], int]:
    """The blocks that can be true, ascending, and the index of the DSACK's among them, or -1."""
    usable = [
        (block, is_dsack and not index)
        for index, block in enumerate(blocks[:_BLOCKS_MOST])
        if _is_valid(tcb, una, block, is_dsack=is_dsack and not index) and sequence.gt(block[1], tcb.snd_una)
    ]
    usable.sort(key=lambda item: sequence.distance(int(tcb.snd_una), item[0][0]) + item[1] / 2)
    duplicate = next((index for index, (_, is_duplicate) in enumerate(usable) if is_duplicate), -1)
    return [block for block, _ in usable], duplicate


def _is_valid(tcb: Any, una: int, block: Block, *, is_dsack: bool) -> bool:
    """Whether a receiver in its right mind can have sent this block."""
    start, end = block
    if sequence.gt(end, tcb.snd_nxt) or not sequence.lt(start, end) or not sequence.lt(start, tcb.snd_nxt):
        return False
    if sequence.gt(start, una):
        return True
    if not is_dsack or not tcb.undo_marked or sequence.gt(end, una):
        return False
    if sequence.ge(start, tcb.undo_marker):
        return True
    if sequence.le(end, tcb.undo_marker):
        return False
    return sequence.ge(start, sequence.add(end, -int(tcb.snd_max_wnd)))


def _check_dsack(connection: Connection, ack: int, blocks: tuple[Block, ...], event: AckEvent) -> None:
    """Whether the first block is a DSACK: below the ACK, or within the second block.  RFC 2883 §4."""
    tcb = connection.tcb
    start, end = blocks[0]
    below = sequence.lt(start, ack)
    within = len(blocks) > 1 and sequence.le(end, blocks[1][1]) and sequence.ge(start, blocks[1][0])
    if not below and not within:
        return
    segments = _count_dsack(tcb, start, end, event)
    if not segments:
        return
    event.dsack = True
    told_before = sequence.le(end, tcb.snd_una)
    if tcb.undo_marked and tcb.undo_retrans > 0 and told_before and sequence.gt(end, tcb.undo_marker):
        tcb.undo_retrans = max(tcb.undo_retrans - segments, 0)


def _count_dsack(tcb: Any, start: int, end: int, event: AckEvent) -> int:
    """The segments that a DSACK tells of; 0 if we have not sent so much again: then the network duplicates."""
    length = sequence.distance(start, end)
    mss: int = max(tcb.snd_mss, 1)
    if not sequence.lt(start, end) or length > tcb.snd_max_wnd:
        return 0
    segments = -(-length // mss) if length > mss else 1
    if segments == 1 and tcb.tlp_outstanding and tcb.tlp_high_seq == end:
        event.dsack_of_probe = True
    tcb.dsack_dups += segments
    if tcb.dsack_dups > tcb.retransmissions:
        event.dsack_of_probe = False
        return 0
    if tcb.reordering_seen and not event.dsack_of_probe:
        tcb.rack.dsack_seen = 1
    tcb.delivered += segments
    return segments

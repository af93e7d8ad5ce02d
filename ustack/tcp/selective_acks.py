"""The SACK blocks that this host sends.  RFC 2018 §4; for data that came twice RFC 2883.

The TCB keeps four blocks, the latest first, as Linux does: what is pushed out of the list is not told again until data
beside it arrive.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ustack.tcp import accecn, sequence

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_BLOCKS = 4
_BLOCK = struct.Struct(">II")

Block = tuple[int, int]


def _read(tcb: Any) -> list[Block]:
    held = tcb.selective_acks
    return [(held[index].start, held[index].end) for index in range(tcb.selective_ack_count)]


def _write(tcb: Any, blocks: list[Block]) -> None:
    for index in range(_BLOCKS):
        block = tcb.selective_acks[index]
        block.start, block.end = blocks[index] if index < len(blocks) else (0, 0)
    tcb.selective_ack_count = len(blocks)


def _touch(one: Block, other: Block) -> bool:
    return sequence.le(one[0], other[1]) and sequence.le(other[0], one[1])


def _join(one: Block, other: Block) -> Block:
    start = one[0] if sequence.lt(one[0], other[0]) else other[0]
    end = one[1] if sequence.gt(one[1], other[1]) else other[1]
    return start, end


def place_of(tcb: Any, start: int, end: int) -> int:
    """Where in the list the block stands that touches [start, end); for none how many there are."""
    blocks = _read(tcb)
    return next((index for index, block in enumerate(blocks) if _touch((start, end), block)), len(blocks))


def add(tcb: Any, start: int, end: int) -> None:
    """[start, end) has arrived out of order: the block that holds it comes first."""
    blocks = _read(tcb)
    place = place_of(tcb, start, end)
    first = (start, end)
    if place < len(blocks):
        first = _join(first, blocks.pop(place))
    rest = []
    for block in blocks:
        if _touch(first, block):
            first = _join(first, block)
        else:
            rest.append(block)
    _write(tcb, [first, *rest][:_BLOCKS])


def advance(tcb: Any) -> None:
    """RCV.NXT has advanced: blocks that it covers are told no more."""
    if tcb.selective_ack_count:
        _write(tcb, [block for block in _read(tcb) if sequence.gt(block[0], tcb.rcv_nxt)])


def clear(tcb: Any) -> None:
    """Nothing is held out of order, or what is held may be forgotten."""
    tcb.has_duplicate_sack = 0
    if tcb.selective_ack_count:
        _write(tcb, [])


def last_end(tcb: Any) -> int:
    """The highest end of a block; -1 without one."""
    ends = [end for _, end in _read(tcb)]
    return max(ends, key=lambda end: sequence.distance(tcb.rcv_nxt, end), default=-1)


def duplicate(connection: Connection, start: int, end: int, *, more: bool = False) -> None:
    """[start, end) has come again: the next ACK tells it, once; with `more` joined to what it was to tell already."""
    tcb = connection.tcb
    if not tcb.sack_permitted or not connection.tcp.config.dsack:
        return
    block: Block = (start, end)
    held = tcb.duplicate_sack
    accecn.duplicate_arrives(tcb, end)
    if more and tcb.has_duplicate_sack:
        present: Block = (held.start, held.end)
        block = _join(block, present) if _touch(block, present) else present
    held.start, held.end = block
    tcb.has_duplicate_sack = 1


def take_blocks(tcb: Any, most: int) -> list[Block]:
    """The blocks for a segment that leaves now, at most so many; the duplicate's comes first, and is told once."""
    blocks = _read(tcb)
    if tcb.has_duplicate_sack:
        tcb.has_duplicate_sack = 0
        blocks.insert(0, (tcb.duplicate_sack.start, tcb.duplicate_sack.end))
    return blocks[: max(most, 0)]


def option(tcb: Any, room: int) -> bytes:
    """The SACK option with the padding before it, in at most `room` bytes; empty if there is nothing to tell."""
    if not tcb.selective_ack_count and not tcb.has_duplicate_sack:
        return b""
    blocks = take_blocks(tcb, (room - 4) // 8)
    if not blocks:
        return b""
    return bytes((1, 1, 5, 2 + 8 * len(blocks))) + b"".join(_BLOCK.pack(*block) for block in blocks)

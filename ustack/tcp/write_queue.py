"""What was written and not sent yet: `connection.sending.chunks`, a list of chunks, and how writes fill it.

The bytes are in the send ring; a chunk says how many of them belong together.  Linux keeps them in buffers that
sendmsg() fills up to a super-segment, and where those end can be seen on the wire: PUSH stands at the end of some, what
may wait for more is the last one, and a record's end (MSG_EOR) is never joined with what follows.

docs/decisions/0012 says why a list in Python is enough.  RFC 9293 §3.9.1.2 (SEND, PUSH).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.constants import MSG_CONTINUED, MSG_EOR, MSG_MORE, MSG_OOB
from ustack.native import ffi, lib
from ustack.tcp import cwnd_validation, nagle, notices, output, send_buffer, sequence, super_segment

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


class Chunk:
    """Unsent bytes in a row that may leave as one super-segment, at the most.

    `flags` are SENT_ bits: PUSH, RECORD_END, FIN.  Only the FIN's chunk may be empty.
    """

    __slots__ = ("flags", "length")

    def __init__(self, length: int = 0, flags: int = 0) -> None:
        self.length = length
        self.flags = flags


def take(connection: Connection, buffer: Any, flags: int, now: int) -> int:
    """Take what fits the send buffer, sending each chunk that is full; how many bytes.  Raises EAGAIN, ENOBUFS."""
    tcb = connection.tcb
    length = len(buffer)
    goal = int(tcb.snd_mss) if flags & MSG_OOB else super_segment.size_goal(tcb)
    _reserve(connection, length, goal)
    taken = 0
    while taken < length:
        chunk = _chunk_for_more(connection, goal, now)
        if chunk is None:
            break
        count = min(goal - chunk.length, length - taken)
        lib.ring_write(ffi.addressof(tcb, "snd_ring"), buffer + taken, count)
        if not taken:
            chunk.flags &= ~lib.SENT_PUSH
        chunk.length += count
        taken += count
        if taken < length and chunk.length >= goal and not flags & MSG_OOB:
            _send_full(connection, chunk, now)
    if taken < length:
        send_buffer.note_full(connection)
        if not taken:
            raise errors.error(errno.EAGAIN)
        if not flags & MSG_CONTINUED:
            notices.sent(connection, flags)
        _push(connection, flags & ~MSG_MORE, nagle.PUSH, now)
    else:
        notices.sent(connection, flags)
        if flags & MSG_EOR:
            connection.sending.chunks[-1].flags |= lib.SENT_RECORD_END
        _push(connection, flags, nagle.rule_of(connection), now)
    return taken


def _reserve(connection: Connection, length: int, goal: int) -> None:
    """Memory for all that may be taken: the last chunk may exceed the limit.  Raises ENOBUFS."""
    ring = connection.tcb.snd_ring
    held: int = ring.length
    needed = min(held + length, max(connection.send_limit, held) + goal)
    if needed > ring.capacity and lib.ring_reserve(ffi.addressof(connection.tcb, "snd_ring"), needed, 0):
        raise errors.error(errno.ENOBUFS)


def _chunk_for_more(connection: Connection, goal: int, now: int) -> Chunk | None:
    """The last chunk if it takes more, else a new one; None if the send buffer is full."""
    unsent = connection.sending.chunks
    if unsent and unsent[-1].length < goal and not unsent[-1].flags & lib.SENT_RECORD_END:
        return unsent[-1]
    if not send_buffer.has_room(connection):
        return None
    connection.sending.released = False
    cwnd_validation.restart_after_idle(connection, now)
    unsent.append(Chunk())
    return unsent[-1]


def _send_full(connection: Connection, chunk: Chunk, now: int) -> None:
    """A chunk is full and more follows: send it if it is the first, or all once half a window was not pushed."""
    if _must_push(connection):
        _mark_push(connection, chunk)
        output.output(connection, now, nagle.PUSH)
    elif chunk is connection.sending.chunks[0]:
        output.output(connection, now, nagle.PUSH, only_first=True)


def _push(connection: Connection, flags: int, rule: int, now: int) -> None:
    """The end of a write: PUSH, unless more was announced, and send what may leave.  RFC 9293 §3.9.1.2 (SHLD-27)."""
    tcb = connection.tcb
    more = flags & MSG_MORE
    if connection.sending.chunks and (not more or _must_push(connection)):
        _mark_push(connection, connection.sending.chunks[-1])
    if flags & MSG_OOB:
        tcb.snd_up = write_seq(tcb)
        connection.wants_slow_path(lib.SLOW_URGENT, True)
    output.output(connection, now, nagle.CORK if more else rule)


def _must_push(connection: Connection) -> bool:
    """Whether over half of the peer's largest window was written since the last PUSH."""
    tcb = connection.tcb
    return sequence.gt(write_seq(tcb), sequence.add(connection.sending.pushed_seq, int(tcb.snd_max_wnd) >> 1))


def _mark_push(connection: Connection, chunk: Chunk) -> None:
    chunk.flags |= lib.SENT_PUSH
    connection.sending.pushed_seq = write_seq(connection.tcb)


def write_seq(tcb: Any) -> int:
    """The sequence number after the last byte that was written."""
    return sequence.add(tcb.snd_ring_seq, int(tcb.snd_ring.length))


def finish(connection: Connection) -> None:
    """No more is written: the FIN goes with the last chunk, or follows alone what was sent already."""
    if connection.sending.chunks:
        connection.sending.chunks[-1].flags |= lib.SENT_FIN
    else:
        connection.sending.chunks.append(Chunk(flags=lib.SENT_FIN))


def record_ends(connection: Connection, length: int) -> bool:
    """Whether a record ends before the unsent byte number `length`."""
    for chunk in connection.sending.chunks:
        length -= chunk.length
        if length <= 0:
            return False
        if chunk.flags & lib.SENT_RECORD_END:
            return True
    return False


def drop(connection: Connection, length: int) -> int:
    """The first `length` unsent bytes were sent as one segment: the SENT_ flags of the chunks that end in it."""
    unsent = connection.sending.chunks
    flags = 0
    while length:
        first = unsent[0]
        if first.length > length:
            first.length -= length
            break
        length -= first.length
        flags |= first.flags
        del unsent[0]
    return flags


def part_fin(connection: Connection) -> None:
    """The FIN has no room in the peer's window behind the first chunk: it follows alone."""
    chunk = connection.sending.chunks[0]
    chunk.flags &= ~lib.SENT_FIN
    connection.sending.chunks.insert(1, Chunk(flags=lib.SENT_FIN))


def join(connection: Connection, wanted: int) -> None:
    """Let the first chunk grow towards `wanted` bytes by what the second one holds, unless it ends a record."""
    unsent = connection.sending.chunks
    first = unsent[0]
    if len(unsent) == 1 or first.flags & lib.SENT_RECORD_END:
        return
    second = unsent[1]
    moved = min(max(wanted - first.length, 0), second.length)
    first.length += moved
    second.length -= moved
    if moved and not second.length:
        first.flags |= second.flags
        del unsent[1]

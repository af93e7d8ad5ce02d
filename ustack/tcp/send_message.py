"""sendmsg() of a connection: control messages that hold for one call, and the pieces of a send without copy."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.constants import MSG_EOR, MSG_ZEROCOPY, SOL_SOCKET
from ustack.tcp import calls, notices

if TYPE_CHECKING:
    from ustack.endpoint import Address, ControlMessage
    from ustack.tcp.connection import Connection

_SO_MARK, _SO_PRIORITY, _SCM_RIGHTS, _SCM_CREDENTIALS = 36, 12, 1, 2
_IGNORED = frozenset((_SO_MARK, _SO_PRIORITY, _SCM_RIGHTS, _SCM_CREDENTIALS))
_SO_TIMESTAMPING = frozenset((37, 65))
"""The old and the new number."""
_INT = struct.Struct("=I")
_FRAGMENTS = 17
"""Of pages of the user's memory in one segment, at most: Linux's MAX_SKB_FRAGS."""
_PAGE = 4096


def send(
    connection: Connection,
    buffers: list[Any],
    control: list[ControlMessage],
    flags: int,
    destination: Address | None,
    now: int,
) -> int:
    """SEND of several buffers.  Raises as `calls.send`, EINVAL for a control message that is not known."""
    options = connection.options
    always = options.timestamping
    options.timestamping = _timestamping(control, always)
    try:
        if flags & MSG_ZEROCOPY and options.zerocopy and len(buffers) > _FRAGMENTS:
            return _send_in_pieces(connection, buffers, flags, now)
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        return calls.send(connection, data, flags, destination, now)
    finally:
        options.timestamping = always


def _timestamping(control: list[ControlMessage], always: int) -> int:
    """SO_TIMESTAMPING for this call: the message says what is stamped, the option how it is told."""
    for level, kind, data in control:
        if level != SOL_SOCKET or kind in _IGNORED:
            continue
        if kind not in _SO_TIMESTAMPING or len(data) != _INT.size:
            raise errors.error(errno.EINVAL)
        wanted = _INT.unpack(data)[0]
        if wanted & ~notices.TX_ANY:
            raise errors.error(errno.EINVAL)
        always = always & ~notices.TX_ANY | wanted
    return always


def _send_in_pieces(connection: Connection, buffers: list[Any], flags: int, now: int) -> int:
    """Without copy every buffer is a fragment of its own, and a segment ends when it has no room for another.

    The pieces are one send to the user: only the last is counted.
    """
    pieces = _pieces(buffers)
    options, stamped = connection.options, connection.options.timestamping
    count = 0
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        options.timestamping = stamped if last else 0
        try:
            taken = calls.send(connection, piece, flags if last else flags & ~MSG_ZEROCOPY | MSG_EOR, None, now)
        except BlockingIOError:
            if not count:
                raise
            return count
        count += taken
        if taken < len(piece):
            return count
    return count


def _pieces(buffers: list[Any]) -> list[bytes]:
    pieces: list[list[Any]] = [[]]
    room = _FRAGMENTS
    for buffer in buffers:
        needed = -(-len(buffer) // _PAGE)
        if needed > room and pieces[-1]:
            pieces.append([])
            room = _FRAGMENTS
        pieces[-1].append(buffer)
        room -= needed
    return [b"".join(piece) for piece in pieces]

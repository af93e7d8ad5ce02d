"""The user's calls: OPEN, SEND, RECEIVE, CLOSE, ABORT.

RFC 9293 §3.10.1 to §3.10.5, with the errors of Linux's sockets.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.address import LOOPBACK_IPV4, LOOPBACK_IPV6, is_multicast, is_unspecified
from ustack.constants import (
    MSG_ERRQUEUE,
    MSG_FASTOPEN,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
)
from ustack.endpoint import READ_HANGUP, READABLE, WRITABLE, Address
from ustack.native import ffi, lib
from ustack.tcp import (
    delayed_ack,
    nagle,
    notices,
    opening,
    orphans,
    output,
    rate_sampling,
    receive_buffer,
    receive_queue,
    retransmission,
    send_buffer,
    sequence,
    window,
    write_queue,
)
from ustack.tcp import options as tcp_options
from ustack.tcp.fast_open import client as fast_open_client
from ustack.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    change_state,
)

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.listener import Listener

_UNCONNECTED = (SYN_SENT, SYN_RECEIVED)
_CONVERSING = (ESTABLISHED, CLOSE_WAIT, FIN_WAIT_1, FIN_WAIT_2)


def open_active(connection: Connection, address: bytes, port: int, now: int) -> None:
    """OPEN, active: send a SYN and raise EINPROGRESS.  RFC 9293 §3.10.1.

    Raises what connect(2) does: EISCONN, EALREADY, EADDRNOTAVAIL, ENETUNREACH, and the pending error of an earlier try.
    With TCP_FASTOPEN_CONNECT and a cookie for the remote nothing is sent, and nothing raised.
    """
    _refuse_second_open(connection)
    _prepare_open(connection, address, port, now)
    if not connection.options.fast_open_connect:
        _send_first_syn(connection, now)
    elif fast_open_client.prepare(connection, now):
        fast_open_client.defer(connection)
        return
    else:
        fast_open_client.send_syn(connection, b"", False, now)
    raise errors.error(errno.EINPROGRESS)


def _prepare_open(connection: Connection, address: bytes, port: int, now: int) -> None:
    """All of an active open but the SYN."""
    tcp = connection.tcp
    if is_unspecified(address):
        address = LOOPBACK_IPV4 if len(address) == 4 else LOOPBACK_IPV6
    if is_multicast(address) or tcp.ip.is_broadcast(address):
        raise errors.error(errno.ENETUNREACH)
    if not port:
        raise errors.error(errno.EADDRNOTAVAIL)
    local = connection.local_address
    if local is None or is_unspecified(local):
        local = tcp.ip.select_source(address)
    elif len(local) != len(address):
        raise errors.error(errno.EINVAL if len(address) == 16 else errno.ENETUNREACH)
    replaced = tcp.hold_port(connection, local, address, port, now)
    previous_nxt, recent = None, 0
    if replaced is not None:
        previous_nxt, recent = replaced.tcb.snd_nxt, replaced.tcb.ts_recent
        replaced.fail(0)
    try:
        opening.create_tcb(connection, local, connection.local_port, address, port, now, previous_nxt)
        connection.tcb.ts_recent = recent
        opening.register(connection)
    except OSError:
        connection.opened = False
        raise
    tcp_options.offer(connection)
    connection.tcb.peer_mss = tcp.receive_mss(connection)
    change_state(connection.tcb, SYN_SENT)
    connection.fast_open.result_pending = True


def _refuse_second_open(connection: Connection) -> None:
    if fast_open_client.is_deferred(connection):
        raise errors.error(errno.EISCONN)
    if connection.tcb.state in _UNCONNECTED:
        raise errors.error(errno.EALREADY)
    if connection.tcb.state != CLOSED:
        raise errors.error(errno.EISCONN)
    connection.raise_pending_error()
    if connection.opened:
        raise errors.error(errno.ECONNABORTED)


def _send_first_syn(connection: Connection, now: int) -> None:
    tcb = connection.tcb
    output.record_sent(tcb, tcb.iss, sequence.add(tcb.iss, 1), lib.SENT_SYN, now)
    output.send_syn(connection, now)
    retransmission.watch(connection, now)


def open_passive(connection: Connection, backlog: int) -> Listener:
    """OPEN, passive.  RFC 9293 §3.10.1.  Raises EINVAL for a connected socket, EADDRINUSE."""
    tcp = connection.tcp
    if connection.opened:
        raise errors.error(errno.EINVAL)
    if connection.binding is None:
        tcp.bind(connection, bytes(4 if connection.family == 2 else 16), 0)
    return tcp.listen(connection, backlog)


def _send_opening(connection: Connection, data: Any, flags: int, destination: Address | None, now: int) -> int | None:
    """SEND that may have to open the connection first (RFC 7413); None if it is an ordinary one.

    Raises EOPNOTSUPP if the stack forbids it, EALREADY during the handshake, EISCONN when connected; EINPROGRESS if
    the SYN has left without data, of which the rest of the call must not know.
    """
    if not fast_open_client.is_enabled(connection):
        raise errors.error(errno.EOPNOTSUPP)
    connection.raise_pending_error()
    if fast_open_client.is_deferred(connection):
        return fast_open_client.send_deferred(connection, data, now)
    if connection.opened:
        _check_flag_when_open(connection)
        return None
    if destination is None:
        raise errors.error(errno.EINVAL)
    _prepare_open(connection, *destination, now)
    may_carry = fast_open_client.prepare(connection, now)
    count = fast_open_client.send_syn(connection, data, may_carry, now)
    if not count:
        raise errors.error(errno.EINPROGRESS)
    return count


def _check_flag_when_open(connection: Connection) -> None:
    """MSG_FASTOPEN on a connection: once it is like a connect() that tells how the open went, later an error."""
    if connection.tcb.state in _UNCONNECTED:
        raise errors.error(errno.EALREADY)
    if not connection.fast_open.result_pending and connection.tcb.state != CLOSED:
        raise errors.error(errno.EISCONN)
    connection.fast_open.result_pending = False


def send(connection: Connection, data: Any, flags: int, destination: Address | None, now: int) -> int:
    """SEND: take what fits the send buffer, and send what the windows allow.  RFC 9293 §3.10.2.

    Raises EAGAIN when the buffer is full or the handshake is going on, EPIPE after a shutdown, ENOTCONN before an open.
    """
    if flags & MSG_FASTOPEN or fast_open_client.is_deferred(connection):
        count = _send_opening(connection, data, flags, destination, now)
        if count is not None:
            notices.sent(connection, flags)
            return count
    connection.raise_pending_error()
    _check_can_send(connection)
    notices.check_send(connection, flags)
    buffer = ffi.from_buffer(data)
    if not len(buffer):
        return 0
    rate_sampling.note_app_limited(connection.tcb, send_buffer.unsent_bytes(connection.tcb))
    return write_queue.take(connection, buffer, flags, now)


def _check_can_send(connection: Connection) -> None:
    state = connection.tcb.state
    if connection.fin_queued:
        raise errors.error(errno.EPIPE)
    if connection.may_send():
        return
    if state in _UNCONNECTED:
        raise errors.error(errno.EAGAIN)
    raise errors.error(errno.EPIPE)


def receive_into(connection: Connection, buffer: Any, flags: int, now: int) -> tuple[int, Address | None, int]:
    """RECEIVE: bytes in order, up to the urgent mark.  RFC 9293 §3.10.3.

    Raises EAGAIN when there is nothing, ENOTCONN before an open, the error that ended the connection once; 0 bytes is
    the end.
    """
    if flags & MSG_ERRQUEUE:
        return notices.receive(connection, buffer)
    if flags & MSG_OOB:
        return _receive_urgent(connection, buffer, flags)
    tcb = connection.tcb
    space = ffi.from_buffer(buffer)
    wanted = len(space)
    start, available = _readable_part(connection)
    ring = ffi.addressof(tcb, "rcv_ring")
    count = min(wanted, available)
    if flags & MSG_PEEK and count:
        lib.ring_peek(ring, start, space, count)
        return count, None, 0
    if connection.urgent_seq >= 0 and wanted and not flags & MSG_PEEK:
        _pass_mark(connection, start)
    if not count:
        return 0 if tcb.rcv_ring.length and not wanted else _nothing_to_read(connection), None, 0
    if flags & MSG_TRUNC:
        lib.ring_drop(ring, count)
    else:
        lib.ring_read(ring, space, count)
    receive_queue.forget(tcb, count)
    after_read(connection, count, now)
    return count, None, 0


def _nothing_to_read(connection: Connection) -> int:
    """0 at the end of the stream, which comes before any error; else raises."""
    if connection.tcb.fin_received:
        return 0
    if connection.error:
        connection.raise_pending_error()
    state = connection.tcb.state
    if not connection.opened:
        raise errors.error(errno.ENOTCONN)
    if connection.read_shutdown or state in (CLOSED, TIME_WAIT):
        return 0
    raise errors.error(errno.EAGAIN)


def after_read(connection: Connection, count: int, now: int) -> None:
    """The user has taken `count` bytes: the buffer follows, and the peer may have to hear of it."""
    tcb = connection.tcb
    if tcb.state in _CONVERSING:
        receive_buffer.adjust(connection, receive_queue.first_unread(tcb), now)
        delayed_ack.after_read(connection, count, now)


def _readable_part(connection: Connection) -> tuple[int, int]:
    """Where the next bytes to read begin in the ring, and how many there are up to the urgent mark."""
    tcb = connection.tcb
    available: int = tcb.rcv_ring.length
    if connection.urgent_seq < 0:
        return 0, available
    mark = sequence.distance(receive_queue.first_unread(tcb), connection.urgent_seq)
    if mark:
        return 0, min(mark, available)
    skipped = min(available, 0 if connection.options.out_of_band_inline else 1)
    return skipped, available - skipped


def _pass_mark(connection: Connection, skipped: int) -> None:
    """Standing at the mark, go on: the urgent byte leaves the stream, unless it stays in line."""
    if not at_mark(connection):
        return
    connection.urgent_seq = connection.urgent_byte = -1
    connection.wants_slow_path(lib.SLOW_URGENT, sequence.gt(connection.tcb.snd_up, connection.tcb.snd_una))
    lib.ring_drop(ffi.addressof(connection.tcb, "rcv_ring"), skipped)
    receive_queue.forget(connection.tcb, skipped)


def readable_bytes(connection: Connection) -> int:
    """How many bytes a receive would give now."""
    return _readable_part(connection)[1]


def is_readable(connection: Connection) -> bool:
    """Whether there is as much to read as the user wants at once, or the peer cannot send more."""
    tcb = connection.tcb
    count = readable_bytes(connection)
    if count >= connection.options.receive_low_water:
        return True
    full = receive_buffer.memory_held(tcb) > tcb.rcv_buffer or window.receive_window(tcb) <= tcb.rcv_mss
    return bool(count and full)


def _receive_urgent(connection: Connection, buffer: Any, flags: int) -> tuple[int, Address | None, int]:
    """MSG_OOB: the urgent byte.

    Raises EINVAL where there is none or it stays in line, EAGAIN while it is on its way, ENOTCONN after a reset.
    """
    there = connection.urgent_seq >= 0 and connection.urgent_byte != receive_queue.URGENT_READ
    if connection.options.out_of_band_inline or not there:
        raise errors.error(errno.EINVAL)
    if connection.tcb.state == CLOSED and not connection.tcb.fin_received:
        raise errors.error(errno.ENOTCONN)
    if connection.urgent_byte < 0:
        if connection.tcb.fin_received or connection.read_shutdown:
            return 0, None, 0
        raise errors.error(errno.EAGAIN)
    space = ffi.from_buffer(buffer)
    count = min(len(space), 1)
    space[0:count] = bytes((connection.urgent_byte,))[:count]
    if not flags & MSG_PEEK:
        connection.urgent_byte = receive_queue.URGENT_READ
    return count, None, MSG_OOB if count else MSG_TRUNC | MSG_OOB


def at_mark(connection: Connection) -> bool:
    """Whether the next byte to read is the urgent mark."""
    return connection.urgent_seq >= 0 and receive_queue.first_unread(connection.tcb) == connection.urgent_seq


def shutdown(connection: Connection, how: int, now: int) -> None:
    """Close one direction or both.  Raises ENOTCONN, EINVAL."""
    if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
        raise errors.error(errno.EINVAL)
    if connection.tcb.state in (CLOSED, TIME_WAIT):
        raise errors.error(errno.ENOTCONN)
    if connection.tcb.state == SYN_SENT:
        connection.fail(errno.ECONNRESET)
        return
    if how != SHUT_WR:
        connection.read_shutdown = True
        connection.raise_event(READABLE | READ_HANGUP)
    if how != SHUT_RD:
        _queue_fin(connection, now)
        connection.raise_event(WRITABLE)
    if connection.read_shutdown and connection.fin_queued:
        connection.tcb.refuses_data = 1


def close(connection: Connection, now: int) -> None:
    """CLOSE: send what is queued, then FIN.

    With unread data, or linger of zero, RST instead.  RFC 9293 §3.10.4 (SHLD-3).
    """
    if connection.orphaned:
        return
    connection.orphaned = True
    connection.observer = None
    tcb = connection.tcb
    state = tcb.state
    if state in (CLOSED, SYN_SENT):
        connection.tcp.delete(connection)
        return
    if state == TIME_WAIT:
        lib.ring_release(ffi.addressof(tcb, "rcv_ring"))
        return
    if tcb.rcv_ring.length:
        output.send_reset(connection, now)
        connection.tcp.delete(connection)
        return
    if connection.options.linger_ns == 0:
        abort(connection, now)
        return
    connection.tcp.orphans.add(connection)
    if orphans.are_too_many(connection):
        abort(connection, now)
        return
    tcb.refuses_data = 1
    _queue_fin(connection, now)
    if tcb.state == FIN_WAIT_2:
        orphans.enter_fin_wait_2(connection, now)


def _queue_fin(connection: Connection, now: int) -> None:
    """No more data follows what is in the send ring.

    FIN-WAIT-1 or LAST-ACK at once, the FIN as soon as it may leave.
    """
    if connection.fin_queued:
        return
    connection.fin_queued = True
    tcb = connection.tcb
    if tcb.state == ESTABLISHED:
        change_state(tcb, FIN_WAIT_1)
    elif connection.fast_open.server is not None:
        change_state(tcb, FIN_WAIT_1)
        connection.wants_slow_path(lib.SLOW_SHUTDOWN, True)
    elif tcb.state == CLOSE_WAIT:
        change_state(tcb, LAST_ACK)
    write_queue.finish(connection)
    output.output(connection, now, nagle.OFF)


def abort(connection: Connection, now: int) -> None:
    """ABORT: <RST>, and all is forgotten.  RFC 9293 §3.10.5."""
    connection.orphaned = True
    connection.observer = None
    state = connection.tcb.state
    if state in (SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT):
        output.send_reset(connection, now)
    connection.tcp.delete(connection)

"""What a socket is told of its own bytes: MSG_ZEROCOPY completions and SO_TIMESTAMPING, by MSG_ERRQUEUE and recvmsg().

A connection has `Notices` only if its user has asked for any.  Linux's Documentation/networking has the interface in
msg_zerocopy.rst and timestamping.rst.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.constants import MSG_ERRQUEUE, MSG_TRUNC, MSG_ZEROCOPY, SOL_SOCKET
from ustack.datagram import extended_error
from ustack.endpoint import ERROR, Address
from ustack.native import ffi, lib
from ustack.tcp import receive_queue, sequence, stamp_statistics

if TYPE_CHECKING:
    from ustack.endpoint import ControlMessage
    from ustack.ip.icmp import IcmpError
    from ustack.tcp.connection import Connection

TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, TX_SCHED, TX_ACK, OPT_TSONLY, OPT_STATS, BIND_PHC, OPT_ID_TCP = (
    1 << bit for bit in (1, 3, 4, 7, 8, 9, 11, 12, 15, 16)
)
"""SOF_TIMESTAMPING_ flags."""
TX_ANY = TX_SOFTWARE | TX_SCHED | TX_ACK
TSTAMP_SND, TSTAMP_SCHED, TSTAMP_ACK = 0, 1, 2
"""What a timestamp is of: `ee_info`."""
SCM_TIMESTAMP, SCM_TIMESTAMPNS, SCM_TIMESTAMPING, SCM_TIMESTAMPING_OPT_STATS = 29, 35, 37, 54

_CODE_COPIED = 1
_HELD = 1024
"""The most notices of one connection, and the most times of arrival: more are dropped."""
_KEY = (1 << 32) - 1
_SECOND = 1_000_000_000
_PAIR = struct.Struct("@ll")
_NO_HARDWARE = bytes(2 * _PAIR.size)


@dataclass(slots=True)
class Notice:
    """One entry of the error queue."""

    errno: int
    origin: int
    kind: int = 0
    code: int = 0
    info: int = 0
    data: int = 0
    stamp_ns: int = 0
    payload: bytes = b""
    statistics: bool = False
    """The payload is what SCM_TIMESTAMPING_OPT_STATS tells."""
    offender: bytes | None = None
    destination: Address | None = None


@dataclass(slots=True)
class _Uncompleted:
    """Sends with MSG_ZEROCOPY in a row: the sequence number after the last, and their numbers."""

    end: int
    first: int
    last: int


@dataclass(slots=True)
class _Stamp:
    """A byte whose ways are to be timestamped: its sequence number, its key, and what to tell."""

    seq: int
    key: int
    flags: int
    payload: bytes


class Notices:
    """The error queue of one connection, and what will be put there."""

    __slots__ = ("arrivals", "base", "control", "next_id", "queue", "stamps", "uncompleted")

    def __init__(self) -> None:
        self.queue: deque[Notice] = deque()
        self.next_id = 0
        """Of the next send with MSG_ZEROCOPY."""
        self.uncompleted: deque[_Uncompleted] = deque()
        self.base: int | None = None
        """The sequence number that has key 0; None while keys are not wanted."""
        self.stamps: deque[_Stamp] = deque()
        self.arrivals: deque[tuple[int, int]] = deque()
        """RCV.NXT after each burst that brought data, and its time."""
        self.control: list[ControlMessage] | None = None
        """What came with the last entry that was read; None if the last read was of data."""


def of(connection: Connection) -> Notices:
    """The connection's notices, made if there are none."""
    if connection.notices is None:
        connection.notices = Notices()
    return connection.notices


# The options.


def timestamping_changed(connection: Connection, now: int) -> None:
    """SO_TIMESTAMPING: check the flags.  Keys count from now on if they were not counted before.

    Raises EINVAL, and EOPNOTSUPP for the clock of a device.
    """
    flags = connection.options.timestamping
    if (flags & OPT_ID_TCP and not flags & OPT_ID) or (flags & OPT_STATS and not flags & OPT_TSONLY):
        raise errors.error(errno.EINVAL)
    tcb, notices = connection.tcb, of(connection)
    if flags & OPT_ID and notices.base is None and not tcb.state:
        raise errors.error(errno.EINVAL)
    if flags & BIND_PHC:
        raise errors.error(errno.EOPNOTSUPP)
    if not flags & OPT_ID:
        notices.base = None
    elif notices.base is None:
        unwritten = sequence.add(tcb.snd_ring_seq, tcb.snd_ring.length)
        notices.base = unwritten if flags & OPT_ID_TCP else int(tcb.snd_una)


def receive_timestamp_changed(connection: Connection, now: int) -> None:
    """SO_TIMESTAMP or SO_TIMESTAMPNS."""
    if connection.options.receive_timestamp:
        of(connection)


# Sending.


def check_send(connection: Connection, flags: int) -> None:
    """Raise ENOBUFS if too many sends without copy wait for their end."""
    notices = connection.notices
    if flags & MSG_ZEROCOPY and notices is not None and len(notices.uncompleted) >= _HELD:
        raise errors.error(errno.ENOBUFS)


def sent(connection: Connection, flags: int) -> None:
    """The last of a send's data was put into the ring: what has the user asked to be told of it?"""
    options = connection.options
    zerocopy = flags & MSG_ZEROCOPY and options.zerocopy
    stamped = options.timestamping & TX_ANY
    if not zerocopy and not stamped:
        return
    tcb, notices = connection.tcb, of(connection)
    end = sequence.add(tcb.snd_ring_seq, tcb.snd_ring.length)
    if zerocopy:
        _await_completion(tcb, notices, end)
    if stamped and len(notices.stamps) < _HELD:
        last = sequence.add(end, -1)
        key = 0 if notices.base is None else sequence.distance(notices.base, last)
        payload = b"" if options.timestamping & OPT_TSONLY else _last_byte(tcb)
        notices.stamps.append(_Stamp(last, key, stamped, payload))


def _await_completion(tcb: Any, notices: Notices, end: int) -> None:
    """Number one more send without copy; it ends with the one before if that was not sent wholly yet, as on Linux."""
    number = notices.next_id
    notices.next_id = (number + 1) & _KEY
    waiting = notices.uncompleted
    if waiting and sequence.gt(waiting[-1].end, tcb.snd_nxt):
        waiting[-1].end, waiting[-1].last = end, number
    else:
        waiting.append(_Uncompleted(end, number, number))


def _last_byte(tcb: Any) -> bytes:
    byte = ffi.new("uint8_t[1]")
    lib.ring_peek(ffi.addressof(tcb, "snd_ring"), tcb.snd_ring.length - 1, byte, 1)
    return bytes(byte)


def transmitted(connection: Connection, seq: int, length: int, now: int) -> None:
    """[seq, seq + length) leaves, perhaps again."""
    notices = connection.notices
    if notices is None:
        return
    end = sequence.add(seq, length)
    for stamp in notices.stamps:
        if sequence.ge(stamp.seq, end):
            break
        if sequence.ge(stamp.seq, seq):
            if stamp.flags & TX_SCHED:
                _stamp(connection, stamp, TSTAMP_SCHED, now)
            if stamp.flags & TX_SOFTWARE:
                _stamp(connection, stamp, TSTAMP_SND, now)


def acknowledged(connection: Connection, now: int) -> None:
    """SND.UNA has advanced."""
    notices = connection.notices
    if notices is None:
        return
    una: int = connection.tcb.snd_una
    while notices.stamps and sequence.lt(notices.stamps[0].seq, una):
        stamp = notices.stamps.popleft()
        if stamp.flags & TX_ACK:
            _stamp(connection, stamp, TSTAMP_ACK, now)
    while notices.uncompleted and sequence.le(notices.uncompleted[0].end, una):
        _complete(connection, notices.uncompleted.popleft())


def ended(connection: Connection) -> None:
    """The connection is deleted: nobody uses the data of sends without copy any more."""
    notices = connection.notices
    if notices is not None:
        notices.stamps.clear()
        while notices.uncompleted:
            _complete(connection, notices.uncompleted.popleft())


def _stamp(connection: Connection, stamp: _Stamp, what: int, now: int) -> None:
    """# DEVIATION Linux: of the packet only the last byte is given back, not all of it with its headers."""
    notice = Notice(
        errno.ENOMSG,
        extended_error.ORIGIN_TIMESTAMPING,
        info=what,
        data=stamp.key,
        stamp_ns=now,
        payload=stamp.payload,
        statistics=bool(connection.options.timestamping & OPT_STATS),
    )
    if notice.statistics:
        notice.payload = stamp_statistics.statistics(connection, now)
    _put(connection, notice)


def _complete(connection: Connection, done: _Uncompleted) -> None:
    """Sends without copy are over: they join the last entry if their numbers follow.

    The data were copied to the send ring all the same, and so the user is told (SO_EE_CODE_ZEROCOPY_COPIED).
    """
    notices = of(connection)
    origin = extended_error.ORIGIN_ZEROCOPY
    if notices.queue:
        last = notices.queue[-1]
        if last.origin == origin and (last.data + 1) & _KEY == done.first:
            last.data = done.last
            connection.raise_event(ERROR)
            return
    _put(connection, Notice(0, origin, code=_CODE_COPIED, info=done.first, data=done.last))


def icmp_error(connection: Connection, error: IcmpError) -> None:
    """Keep an ICMP error for a user who wants them (IP_RECVERR)."""
    quoted = error.quoted
    _put(
        connection,
        Notice(
            error.errno,
            extended_error.ORIGIN_ICMP if error.version == 4 else extended_error.ORIGIN_ICMP6,
            kind=error.type,
            code=error.code,
            info=error.mtu or 0,
            payload=bytes(quoted.transport),
            offender=error.source,
            destination=(quoted.destination, quoted.destination_port),
        ),
    )


def _put(connection: Connection, notice: Notice) -> None:
    queue = of(connection).queue
    if len(queue) < _HELD:
        queue.append(notice)
        connection.raise_event(ERROR)


# Receiving.


def receive(connection: Connection, buffer: Any) -> tuple[int, Address | None, int]:
    """MSG_ERRQUEUE: the oldest entry, which is taken even with MSG_PEEK, as on Linux.  Raises EAGAIN for none."""
    notices = connection.notices
    if notices is None or not notices.queue:
        raise errors.error(errno.EAGAIN)
    notice = notices.queue.popleft()
    view = memoryview(buffer)
    count = min(len(view), len(notice.payload))
    view[:count] = notice.payload[:count]
    notices.control = _control_messages(connection, notice)
    truncated = MSG_TRUNC if count < len(notice.payload) else 0
    return count, notice.destination, MSG_ERRQUEUE | truncated


def _control_messages(connection: Connection, notice: Notice) -> list[ControlMessage]:
    messages: list[ControlMessage] = []
    if notice.stamp_ns:
        messages += _stamps(connection, notice.stamp_ns, bool(connection.options.timestamping & SOFTWARE))
    if notice.statistics:
        messages.append((SOL_SOCKET, SCM_TIMESTAMPING_OPT_STATS, notice.payload))
    error = extended_error.control_message(
        connection.family,
        notice.errno,
        notice.origin,
        kind=notice.kind,
        code=notice.code,
        info=notice.info,
        data=notice.data,
        offender=notice.offender,
    )
    return [*messages, error]


def _stamps(connection: Connection, at: int, software: bool) -> list[ControlMessage]:
    """A time as the user wants it: SO_TIMESTAMP or SO_TIMESTAMPNS, SO_TIMESTAMPING or both."""
    seconds, rest = divmod(at + connection.tcp.config.realtime_offset_ns, _SECOND)
    messages: list[ControlMessage] = []
    if connection.options.receive_timestamp == "us":
        messages.append((SOL_SOCKET, SCM_TIMESTAMP, _PAIR.pack(seconds, rest // 1000)))
    elif connection.options.receive_timestamp == "ns":
        messages.append((SOL_SOCKET, SCM_TIMESTAMPNS, _PAIR.pack(seconds, rest)))
    if software:
        messages.append((SOL_SOCKET, SCM_TIMESTAMPING, _PAIR.pack(seconds, rest) + _NO_HARDWARE))
    return messages


def inherit(connection: Connection) -> None:
    """A listener's child has its options."""
    if connection.options.receive_timestamp or connection.options.timestamping:
        of(connection)


def arrived(connection: Connection, now: int) -> None:
    """A burst is over: note its time if it has brought data."""
    notices = connection.notices
    options = connection.options
    if notices is None or not (options.receive_timestamp or options.timestamping & RX_SOFTWARE):
        return
    tcb, arrivals = connection.tcb, notices.arrivals
    if tcb.last_data_received_ns != now or (arrivals and arrivals[-1][0] == tcb.rcv_nxt):
        return
    if len(arrivals) >= _HELD:
        arrivals.pop()
    arrivals.append((sequence.add(tcb.rcv_nxt, -tcb.fin_received), now))


def of_read_data(connection: Connection) -> list[ControlMessage]:
    """When the data that were read last had arrived; nothing unless some burst was read to its end."""
    notices = connection.notices
    if notices is None:
        return []
    read_to = receive_queue.first_unread(connection.tcb)
    at = 0
    while notices.arrivals and sequence.le(notices.arrivals[0][0], read_to):
        at = notices.arrivals.popleft()[1]
    return _stamps(connection, at, bool(connection.options.timestamping & SOFTWARE)) if at else []

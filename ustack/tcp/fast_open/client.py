"""Fast Open, the client's side: data on the SYN by a cookie of an earlier connection.  RFC 7413 §4.1.3, §4.2.1.

A send with MSG_FASTOPEN opens the connection; with TCP_FASTOPEN_CONNECT the connect only prepares it, and the first
send does so.  The SYN and its data are two entries in the queue of sent segments: only the bare SYN is ever sent again,
and the data follow the SYN,ACK if that has not acknowledged them.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.native import ffi, lib
from ustack.tcp import fast_open, output, recovery, retransmission, segment_size, sequence
from ustack.tcp.state import SYN_SENT

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

_OPTIONS_RESERVED = 40
"""Left free in a SYN with data for options, also those that middleboxes put in."""


@dataclass(slots=True)
class ClientOpen:
    """What an active open does about Fast Open."""

    cookie: bytes | None = b""
    """What goes on the first SYN: a cookie, empty the request for one, None no option at all."""
    experimental: bool = False
    deferred: bool = False
    """The SYN waits for the first data."""
    asked: bool = False
    """The option was on the SYN: an answer is believed."""
    data_sent: int = 0
    """Bytes on the SYN."""


def is_enabled(connection: Connection) -> bool:
    """Whether the stack allows it."""
    return bool(connection.tcp.config.fastopen & fast_open.CLIENT)


def is_deferred(connection: Connection) -> bool:
    """Whether the connection waits for its first data before it sends its SYN."""
    return connection.fast_open.client is not None and connection.fast_open.client.deferred


def prepare(connection: Connection, now: int) -> bool:
    """Choose the cookie and the MSS for the SYN of a new connection; whether data may go with it."""
    tcp, tcb, request = connection.tcp, connection.tcb, ClientOpen()
    connection.fast_open.client = request
    local, remote = _addresses(connection)
    known = tcp.cookie_cache.find(local, remote)
    if known is not None:
        tcb.peer_mss = known.mss or tcb.peer_mss
        request.cookie = known.cookie
        request.experimental = known.experimental if known.cookie else known.tried_experimental == 1
    if tcp.black_hole.forbids(now):
        request.cookie = None
        return False
    if tcp.config.fastopen & fast_open.CLIENT_WITHOUT_COOKIE or connection.options.fast_open_no_cookie:
        request.cookie = None
        return True
    if not request.cookie:
        connection.fast_open.failure = fast_open.FAILURE_NO_COOKIE
    return bool(request.cookie)


def defer(connection: Connection) -> None:
    """The SYN waits for the first data."""
    assert connection.fast_open.client is not None, "the open was prepared"
    connection.fast_open.client.deferred = True


def _addresses(connection: Connection) -> tuple[bytes, bytes]:
    assert connection.local_address is not None, "an open connection has a local address"
    assert connection.remote_address is not None, "an open connection has a remote address"
    return connection.local_address, connection.remote_address


def send_syn(connection: Connection, data: Any, may_carry: bool, now: int) -> int:
    """The first SYN, with what it has room for of `data` if it may carry any; how many bytes it took."""
    request = connection.fast_open.client
    assert request is not None, "the open was prepared"
    request.deferred = False
    count = _take_data(connection, data, now) if may_carry else 0
    tcb = connection.tcb
    cookie = request.cookie
    request.asked = cookie is not None
    request.data_sent = count
    output.record_sent(tcb, tcb.iss, sequence.add(tcb.iss, 1), lib.SENT_SYN, now)
    if count:
        output.record_sent(tcb, tcb.snd_nxt, sequence.add(tcb.snd_nxt, count), lib.SENT_PUSH, now)
    output.send_syn(connection, now, cookie, experimental=request.experimental, payload=count)
    retransmission.watch(connection, now)
    return count


def _take_data(connection: Connection, data: Any, now: int) -> int:
    """Put what goes on the SYN into the send ring: by the MSS of the last SYN,ACK, the path and the user."""
    segment_size.size_segments(connection, now)
    ring = ffi.addressof(connection.tcb, "snd_ring")
    buffer = ffi.from_buffer(data)
    count = max(min(connection.max_segment - _OPTIONS_RESERVED, len(buffer)), 0)
    if count and lib.ring_reserve(ring, count, 0):
        raise errors.error(errno.ENOBUFS)
    lib.ring_write(ring, buffer, count)
    return count


def send_deferred(connection: Connection, data: Any, now: int) -> int:
    """The first data of a connection whose SYN has waited for them.  Raises EINPROGRESS if none went along."""
    count = send_syn(connection, data, True, now)
    if not count:
        raise errors.error(errno.EINPROGRESS)
    return count


def syn_answered(connection: Connection, segment: Segment, now: int) -> None:
    """A <SYN,ACK> has been taken: learn from it, and send again what it has not acknowledged.  RFC 7413 §4.2.1."""
    request = connection.fast_open.client
    if request is None:
        return
    _learn(connection, request, segment)
    if not request.data_sent:
        return
    tcb = connection.tcb
    if tcb.sent.count:
        resent = tcb.retransmissions > 0
        connection.fast_open.failure = (
            fast_open.FAILURE_SYN_RETRANSMITTED if resent else fast_open.FAILURE_DATA_NOT_ACKNOWLEDGED
        )
        tcb.lost += max(lib.sent_queue_mark_lost(ffi.addressof(tcb, "sent"), tcb.snd_una, tcb.snd_nxt), 0)
        recovery.resend_without_reduction(connection)
        return
    connection.fast_open.syn_data_acknowledged = True
    connection.fast_open.failure = fast_open.FAILURE_NONE
    tcb.delivered -= 1  # the SYN and its data were one segment


def _learn(connection: Connection, request: ClientOpen, segment: Segment) -> None:
    if not request.asked and not request.data_sent:
        return
    options = segment.options
    cookie = (options.fast_open_cookie or b"") if request.asked else b""
    try_experimental = 0
    if request.asked and not cookie and not request.data_sent and not connection.tcb.retransmissions:
        try_experimental = 2 if request.experimental else 1
    connection.tcp.cookie_cache.learn(
        *_addresses(connection),
        options.mss or 0,
        cookie,
        experimental=options.fast_open_experimental,
        try_experimental=try_experimental,
    )


def timed_out(connection: Connection, retries: int, given_up: bool, now: int) -> None:
    """A connection that has used Fast Open has timed out for the time `retries`: perhaps the path is the reason."""
    if connection.fast_open.client is None or not (
        connection.fast_open.client.asked or connection.fast_open.client.data_sent
    ):
        return
    if retries == 2 or (retries < 2 and given_up):
        connection.tcp.black_hole.notice(now)


def resend_at_once(connection: Connection, now: int) -> None:
    """The SYN with its data was too big for the path: the bare SYN goes at once.  RFC 7413 §4.2.1."""
    tcb = connection.tcb
    if tcb.state != SYN_SENT or connection.fast_open.client is None or not connection.fast_open.client.data_sent:
        return
    lib.sent_queue_retransmitted(ffi.addressof(tcb, "sent"), 0, 0, now)
    tcb.retransmissions += 1
    output.send_syn(connection, now)

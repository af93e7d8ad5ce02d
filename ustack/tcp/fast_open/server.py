"""Fast Open, the server's side: a connection that has data, and may send, before its handshake is complete.

RFC 7413 §4.1.2, §4.2.2, §5.1.  The connection is accepted at once; until the SYN,ACK is acknowledged it is in
SYN-RECEIVED (or FIN-WAIT-1, if it was closed), and counts against the listener's TCP_FASTOPEN queue.  One that was
reset then goes on counting for a minute, so that forged addresses cannot wear the server out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ustack.config import SECOND
from ustack.native import ffi, lib
from ustack.tcp import fast_open, opening, receive_buffer, sequence
from ustack.tcp.fast_open import cookies

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.listener import Listener
    from ustack.tcp.segment import Segment

_RESET_COUNTS_NS = 60 * SECOND


class PendingOpens:
    """How many connections of a listener were opened by a cookie and have not finished their handshake."""

    def __init__(self) -> None:
        self.count = 0
        self._resets: deque[int] = deque()
        """When those that were reset cease to count."""

    def has_room(self, limit: int, now: int) -> bool:
        """Whether one more may be opened."""
        while self._resets and self._resets[0] <= now:
            self._resets.popleft()
        return self.count + len(self._resets) < limit

    def reset(self, now: int) -> None:
        """One was reset before it was established."""
        self._resets.append(now + _RESET_COUNTS_NS)


@dataclass(slots=True)
class ServerOpen:
    """A connection that was opened by a cookie, until its handshake is complete."""

    pending: PendingOpens
    accepted: bool = False
    """The user has it."""


@dataclass(slots=True)
class Answer:
    """What becomes of a SYN."""

    accepted: bool = False
    cookie: bytes | None = None
    """What the SYN,ACK brings."""


def consider(listener: Listener, segment: Segment, now: int) -> Answer:
    """Whether a SYN opens its connection at once, and what cookie is due.  RFC 7413 §4.2.2."""
    given = segment.options.fast_open_cookie
    config = listener.tcp.config
    asks = bool(segment.payload) or given is not None
    if not asks or not config.fastopen & fast_open.SERVER:
        return Answer()
    if not listener.pending_opens.has_room(listener.fast_open_limit(), now):
        return Answer()
    if config.fastopen & fast_open.SERVER_WITHOUT_COOKIE or listener.options.fast_open_no_cookie:
        return Answer(accepted=True)
    if given is None:
        return Answer()
    keys = listener.fast_open_keys()
    due = keys.cookie(segment.remote, segment.local)
    if not given or not keys.accepts(given, segment.remote, segment.local):
        return Answer(cookie=due)
    return Answer(accepted=True, cookie=None if given == due else due)


def open_child(child: Connection, listener: Listener, segment: Segment, now: int) -> None:
    """Take the data of the SYN and give the connection to the user, all in SYN-RECEIVED."""
    tcb = child.tcb
    payload = segment.payload[: tcb.rcv_wnd]
    if payload:
        ring = ffi.addressof(tcb, "rcv_ring")
        result = lib.ring_reserve(ring, len(payload), 0)
        assert result == 0, "memory for the receive ring"
        lib.ring_write(ring, ffi.from_buffer(payload), len(payload))
        tcb.rcv_nxt = sequence.add(tcb.rcv_nxt, len(payload))
        cost = receive_buffer.packet_length(tcb, segment)
        lib.held_segments_add(ffi.addressof(tcb, "held"), len(payload), cost)
        tcb.bytes_received += len(payload)
        child.fast_open.syn_data_acknowledged = True
    child.fast_open.server = ServerOpen(listener.pending_opens)
    listener.pending_opens.count += 1
    opening.start_transfer(child, now)
    listener.established(child)


def ended(child: Connection, now: int, *, reset: bool = False) -> None:
    """The handshake of a connection that was opened by a cookie is over, for better or worse."""
    server_open = child.fast_open.server
    if server_open is None:
        return
    child.fast_open.server = None
    child.wants_slow_path(lib.SLOW_SHUTDOWN, False)
    server_open.pending.count -= 1
    if reset and server_open.accepted:
        server_open.pending.reset(now)


def limit_from_backlog(config_bits: int, backlog: int, chosen: int) -> int:
    """The queue's limit of a listener: what the user chose, else the backlog where every listener takes part."""
    everywhere = fast_open.SERVER | fast_open.EVERY_LISTENER
    if chosen or config_bits & everywhere != everywhere:
        return chosen
    return backlog


def default_keys(text: str, secret: bytes) -> cookies.Keys:
    """The stack's keys: as configured, else random ones."""
    return cookies.parse_keys(text) if text else cookies.Keys(secret)

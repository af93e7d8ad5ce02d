"""`Connection`: the endpoint of a TCP connection.

Its state is `tcb`, the C struct that Python and the fast path share.  Here is only what C never needs: the user's side,
the controller, and the places where the connection is registered.  What is done with a connection stands in the modules
named after it; the methods of `Endpoint` lead there.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.endpoint import (
    ERROR,
    HANGUP,
    PRIORITY,
    READ_HANGUP,
    READABLE,
    WRITABLE,
    Address,
    ControlMessage,
    Endpoint,
)
from ustack.ip.routing import NO_METRICS, RouteMetrics
from ustack.native import ffi
from ustack.tcp import calls, changed_options, info, queries, send_buffer, send_message, timeouts
from ustack.tcp.congestion import CONTROLLERS
from ustack.tcp.fast_open import FastOpenState
from ustack.tcp.fast_open import client as fast_open_client
from ustack.tcp.path import Path
from ustack.tcp.receive_queue import URGENT_READ
from ustack.tcp.recovery_state import RecoveryState
from ustack.tcp.send_buffer import SendState
from ustack.tcp.state import CLOSED, SYN_RECEIVED, SYN_SENT, can_send

if TYPE_CHECKING:
    from ustack.ip.interface import Interface
    from ustack.ports import Binding
    from ustack.tcp.authentication.guard import Guard
    from ustack.tcp.congestion import CongestionController
    from ustack.tcp.listener import Listener
    from ustack.tcp.notices import Notices
    from ustack.tcp.protocol import TcpProtocol

CLOSED_TCB = ffi.new("struct tcb *")
"""The TCB of every connection that has none: its state is CLOSED, and nobody writes to it."""


class Connection(Endpoint):
    """A TCP connection, from before its OPEN until its TCB is deleted."""

    __slots__ = (
        "accepted", "binding", "congestion", "fast_open", "fin_queued", "fin_seq", "guard", "interface",
        "last_challenge_ns", "listener", "loss", "max_segment", "max_segment_until_ns", "notices", "opened",
        "orphaned", "path", "read_shutdown", "sending", "soft_error", "tcb",
        "tcp", "timer_entry_ns", "urgent_byte", "urgent_seq",
    )  # fmt: skip

    def __init__(self, tcp: TcpProtocol, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.tcp = tcp
        self.tcb: Any = CLOSED_TCB
        """The TCB; before OPEN, and once the connection is deleted and nobody can read from it, the one that is always
        CLOSED."""
        self.opened = False
        """The connection was opened once: its socket cannot connect again."""
        self.interface: Interface | None = None
        self.path = Path()
        self.congestion: CongestionController | None = None
        self.binding: Binding | None = None
        self.accepted = True
        """Not one that waits for accept()."""
        self.listener: Listener | None = None
        """The listener that a connection in SYN-RECEIVED came from: it tells passive from active open (MUST-11)."""
        self.max_segment = 0
        """Bytes of options and payload of a full segment now: the effective send MSS before options (MUST-16)."""
        self.max_segment_until_ns = 0
        """When it is worked out anew."""
        self.fin_queued = False
        """The user sends no more: a FIN follows the last byte of the send ring."""
        self.sending = SendState()
        self.read_shutdown = False
        self.orphaned = False
        """The user has let go of the socket."""
        self.soft_error = 0
        """An ICMP error or a lack of answers that did not end the connection.

        The reason given if it ends by time-out.
        """
        self.fin_seq = -1
        """The sequence number of a FIN that arrived ahead of missing data; -1 for none."""
        self.last_challenge_ns = -(1 << 62)
        self.urgent_byte = -1
        """The urgent byte that was taken out of the stream and not read; -1 for none."""
        self.urgent_seq = -1
        """The sequence number of the urgent byte while it is ahead of the reader; -1 for none."""
        self.timer_entry_ns = 0
        self.loss = RecoveryState()
        self.fast_open = FastOpenState()
        self.guard: Guard | None = None
        """Signs and checks segments, if there is a key for the peer."""
        self.notices: Notices | None = None
        """The error queue; None while the user has not asked for anything that is told there."""

    # Timed.

    def earliest_deadline(self) -> int:
        """The earliest of the TCB's deadlines, or 0."""
        return min((int(deadline) for deadline in self.tcb.deadline_ns if deadline), default=0)

    def expire(self, now: int) -> None:
        """RFC 9293 §3.10.8."""
        timeouts.expire(self, now)

    # Endpoint.

    def readiness(self) -> int:
        """The bits that hold now, as Linux's tcp_poll() gives them."""
        bits = ERROR if self.error or (self.notices is not None and self.notices.queue) else 0
        if not self.opened:
            return bits | WRITABLE | HANGUP
        tcb = self.tcb
        state = tcb.state
        if state == SYN_SENT or (state == SYN_RECEIVED and self.fast_open.server is None):
            return bits | WRITABLE if fast_open_client.is_deferred(self) else bits
        ended = state == CLOSED
        if ended or tcb.fin_received or self.read_shutdown:
            bits |= READABLE | READ_HANGUP
            if ended or self.fin_queued:
                bits |= HANGUP
        elif calls.is_readable(self):
            bits |= READABLE
        if ended or self.fin_queued:
            bits |= WRITABLE
        elif self.may_send():
            if send_buffer.is_writable(self):
                bits |= WRITABLE
            else:
                send_buffer.note_full(self)
        unread = self.urgent_seq >= 0 and self.urgent_byte != URGENT_READ
        if self.urgent_byte >= 0 or (unread and self.options.out_of_band_inline):
            bits |= PRIORITY
        return bits

    def is_opening(self) -> bool:
        """As `Endpoint`."""
        return bool(self.tcb.state == SYN_SENT) and not fast_open_client.is_deferred(self)

    def may_send(self) -> bool:
        """Whether the user may send now: in SYN-RECEIVED too, if a Fast Open cookie has opened it (RFC 7413 §4.2.2)."""
        state = self.tcb.state
        return can_send(state) or (state == SYN_RECEIVED and self.fast_open.server is not None)

    @property
    def route_metrics(self) -> RouteMetrics:
        """What is configured for the way to the peer."""
        return NO_METRICS if self.path.route is None else self.path.route.metrics

    @property
    def rto_min_ns(self) -> int:
        """The least that the RTO adds to SRTT: what the route says, or the configuration."""
        return self.route_metrics.rto_min_ns or self.tcp.config.rto_min_ns

    @property
    def controller_name(self) -> str:
        """The congestion controller that it shall have: what the route says goes before the user, as in Linux."""
        by_route = self.route_metrics.congctl
        if by_route in CONTROLLERS:
            return by_route
        return self.options.congestion_control or self.tcp.config.congestion_control

    @property
    def send_limit(self) -> int:
        """The memory that may be charged for what is written and not acknowledged (`send_buffer`)."""
        return self.options.send_buffer or self.sending.grown_buffer or self.tcp.config.wmem[1]

    @property
    def receive_limit(self) -> int:
        """Memory for what is received and not read, at first: SO_RCVBUF."""
        return self.options.receive_buffer or self.tcp.config.rmem[1]

    def bind(self, address: bytes, port: int) -> None:
        """Bind the local side, before connect or listen."""
        if self.binding is not None or self.opened:
            raise errors.error(errno.EINVAL)
        self.tcp.bind(self, address, port)

    def connect(self, address: bytes, port: int, now: int) -> None:
        """OPEN, active.  RFC 9293 §3.10.1.

        Ends with an OSError, EINPROGRESS when a SYN was sent; unless the SYN waits for the first data (RFC 7413).
        """
        calls.open_active(self, address, port, now)

    def listen(self, backlog: int) -> Listener:
        """OPEN, passive.  RFC 9293 §3.10.1."""
        return calls.open_passive(self, backlog)

    def send(self, data: Any, flags: int, destination: Address | None, now: int) -> int:
        """SEND.  RFC 9293 §3.10.2."""
        return calls.send(self, data, flags, destination, now)

    def send_message(
        self, buffers: list[Any], control: list[ControlMessage], flags: int, destination: Address | None, now: int
    ) -> int:
        """SEND of several buffers."""
        return send_message.send(self, buffers, control, flags, destination, now)

    def receive_into(self, buffer: Any, flags: int, now: int) -> tuple[int, Address | None, int]:
        """RECEIVE.  RFC 9293 §3.10.3."""
        return calls.receive_into(self, buffer, flags, now)

    def shutdown(self, how: int, now: int) -> None:
        """CLOSE of one direction or both, the socket stays.  RFC 9293 §3.6."""
        calls.shutdown(self, how, now)

    def close(self, now: int) -> None:
        """CLOSE.  RFC 9293 §3.10.4."""
        calls.close(self, now)

    def abort(self, now: int) -> None:
        """ABORT.  RFC 9293 §3.10.5."""
        calls.abort(self, now)

    def tcp_info(self, now: int) -> bytes:
        """TCP_INFO: what `info` makes of the TCB."""
        return info.tcp_info(self, now)

    def option_changed(self, name: str, now: int) -> None:
        """As `Endpoint`."""
        changed_options.apply(self, name, now)

    def ancillary(self) -> list[ControlMessage]:
        """As `Endpoint`: TCP_INQ, timestamps, and the entries of the error queue."""
        return queries.control_messages(self)

    def readable(self) -> int:
        """Bytes that can be read (SIOCINQ)."""
        return queries.readable(self)

    def unacknowledged(self) -> int:
        """Bytes that were written, and a FIN, that the peer has not acknowledged (SIOCOUTQ)."""
        return queries.unacknowledged(self)

    def unsent(self) -> int:
        """Those of them that were not sent yet (SIOCOUTQNSD)."""
        return queries.unsent(self)

    def at_mark(self) -> bool:
        """Whether the next byte to read is the one after the urgent data (sockatmark)."""
        return calls.at_mark(self)

    def fail(self, number: int) -> None:
        """End the connection at once with errno `number` for the user (0: a normal end); nothing is sent."""
        if number:
            self.error = number
        self.tcp.delete(self)
        self.raise_event(READABLE | WRITABLE | HANGUP | (ERROR if number else 0))

    def raise_event(self, bits: int) -> None:
        """Tell the floor above that `bits` may have become true."""
        if self.observer is not None:
            self.tcp.events.append((self, bits))

    def wants_slow_path(self, reason: int, wanted: bool) -> None:
        """Set or clear one bit of `slow_path_reasons`."""
        if wanted:
            self.tcb.slow_path_reasons |= reason
        else:
            self.tcb.slow_path_reasons &= ~reason

"""`Listener`: a passive OPEN, and the connections that it has begun and not yet given to the user.

RFC 9293 §3.10.7.2.
"""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from ustack import errors
from ustack.address import is_multicast, is_unspecified
from ustack.drops import Drop, DropReason
from ustack.endpoint import HANGUP, READ_HANGUP, READABLE, Endpoint
from ustack.native import lib
from ustack.tcp import (
    arrival,
    controller_choice,
    ecn,
    info,
    notices,
    opening,
    output,
    reset,
    retransmission,
    segment_size,
    sequence,
    source_route,
    syn_cookies,
    timestamps,
)
from ustack.tcp import options as tcp_options
from ustack.tcp.fast_open import server as fast_open_server
from ustack.tcp.fast_open.cookies import Keys, split_keys
from ustack.tcp.state import SYN_RECEIVED, change_state
from ustack.tcp.syn_cookies import ALWAYS
from ustack.tcp.syn_queue import SynQueue
from ustack.wire.tcp import ACK, FIN, RST, SYN
from ustack.wire.tcp_options import TcpOptions

if TYPE_CHECKING:
    from ustack.ports import Binding
    from ustack.tcp.connection import Connection
    from ustack.tcp.protocol import TcpProtocol
    from ustack.tcp.segment import Segment


class Listener(Endpoint):
    """A listening endpoint.

    Its SYN queue holds connections in SYN-RECEIVED, its accept queue those that are established.
    """

    __slots__ = ("_cookie_sent_ns", "accept_queue", "backlog", "binding", "closed", "pending_opens", "syn_queue", "tcp")

    def __init__(self, tcp: TcpProtocol, unopened: Connection, binding: Binding, backlog: int) -> None:
        super().__init__(unopened.family, unopened.kind, unopened.protocol)
        self.tcp = tcp
        self.options = unopened.options
        self.observer = unopened.observer
        self.local_address, self.local_port = unopened.local_address, unopened.local_port
        self.binding = binding
        self.closed = False
        self.accept_queue: deque[Connection] = deque()
        self.syn_queue = SynQueue()
        self._cookie_sent_ns = -(1 << 62)
        self.pending_opens = fast_open_server.PendingOpens()
        self.backlog = 0
        self.set_backlog(backlog)

    def set_backlog(self, backlog: int) -> None:
        """The accept queue holds at most one more than this, as in Linux."""
        self.backlog = min(max(backlog, 0), self.tcp.config.listen_backlog_max)

    def has_room(self) -> bool:
        """Whether the accept queue would take one more."""
        return len(self.accept_queue) <= self.backlog

    def fast_open_limit(self) -> int:
        """How many connections opened by a cookie may wait for the end of their handshake."""
        config, chosen = self.tcp.config, self.options.fast_open_queue
        limit = fast_open_server.limit_from_backlog(config.fastopen, self.backlog, chosen)
        return min(limit, config.listen_backlog_max)

    def fast_open_keys(self) -> Keys:
        """The keys of the cookies that this listener gives."""
        own = self.options.fast_open_key
        return split_keys(own) if own else self.tcp.fast_open_keys()

    # SEGMENT ARRIVES in LISTEN.

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """First RST, second ACK, third SYN; all else is dropped."""
        if segment.flags & RST:
            raise Drop(DropReason.TCP_LISTEN_RST)
        if segment.flags & ACK:
            self._ack_arrives(segment, now)
            return
        if not segment.flags & SYN:
            raise Drop(DropReason.TCP_LISTEN_NO_SYN)
        if segment.flags & FIN:
            raise Drop(DropReason.TCP_LISTEN_SYN_FIN)
        if is_unspecified(segment.remote) or is_multicast(segment.remote):
            raise Drop(DropReason.TCP_BAD_ADDRESS)
        config, revives = self.tcp.config, segment.previous_nxt is not None
        wants_cookie = not revives and (config.syncookies == ALWAYS or len(self.syn_queue) > self.backlog)
        if not self.has_room() or (wants_cookie and not config.syncookies):
            raise Drop(DropReason.TCP_BACKLOG_FULL)
        if not config.syncookies and not revives and not self._leaves_a_quarter():
            raise Drop(DropReason.TCP_BACKLOG_FULL, "the last quarter of max_syn_backlog")
        if wants_cookie:
            self._answer_with_cookie(segment, now)
        else:
            self._open_child(segment, now)

    def _leaves_a_quarter(self) -> bool:
        most = self.tcp.config.max_syn_backlog
        return most - len(self.syn_queue) >= most >> 2

    def _open_child(self, segment: Segment, now: int) -> None:
        """A connection in SYN-RECEIVED, and its <SYN,ACK>.  The listener itself stays as it is (MUST-41)."""
        child = self._make_child(segment, segment.seq, now)
        self._register(child)
        self._agree(child, segment, segment.options, now)
        self._answer(child, segment, now)

    def _register(self, child: Connection) -> None:
        opening.register(child)
        child.binding = self.tcp.ports.share(self.binding, child, child.local_address)

    def _make_child(self, segment: Segment, peer_isn: int, now: int) -> Connection:
        """A connection in SYN-RECEIVED that nobody knows of yet."""
        tcp = self.tcp
        child = tcp.new_connection(self.family)
        child.options = replace(self.options)
        if self.options.authentication is not None:
            child.options.authentication = self.options.authentication.copy()
        notices.inherit(child)
        child.accepted = False
        try:
            opening.create_tcb(
                child, segment.local, segment.local_port, segment.remote, segment.remote_port, now, segment.previous_nxt
            )
        except OSError as problem:
            raise Drop(DropReason.TCP_NO_RETURN_ROUTE, str(problem)) from problem
        tcb = child.tcb
        change_state(tcb, SYN_RECEIVED)
        tcb.irs = peer_isn
        tcb.rcv_nxt = tcb.rcv_up = tcb.last_ack_sent = sequence.add(peer_isn, 1)
        tcb.ts_recent_ns = now
        tcb.snd_wnd = segment.window
        tcb.snd_wl1 = peer_isn
        return child

    def _agree(self, child: Connection, segment: Segment, options: TcpOptions, now: int) -> None:
        """What the options of the SYN, and its flags, have asked for."""
        tcp_options.agree(child, options, offered=False)
        ecn.syn_arrives(child, segment)
        source_route.segment_arrives(child, segment)
        segment_size.size_segments(child, now)

    def _answer_with_cookie(self, segment: Segment, now: int) -> None:
        """<SYN,ACK> of a connection that is forgotten again at once: the ACK will tell all.  RFC 4987 §3.6."""
        child = self._make_child(segment, segment.seq, now)
        options = segment.options
        if options.timestamps is None:
            options = TcpOptions(mss=options.mss)
        self._agree(child, segment, options, now)
        tcb = child.tcb
        if tcb.ecn_mode != lib.ECN_CLASSIC or not tcb.timestamps:
            tcb.ecn_mode = lib.ECN_NONE
        opening.begin_at(tcb, self.tcp.syn_cookies.make(segment, tcb.peer_mss, now)[0])
        ticks = timestamps.ticks(now)
        packed = syn_cookies.pack_options(ticks, options, ecn=tcb.ecn_mode == lib.ECN_CLASSIC)
        tcb.ts_offset = sequence.add(tcb.ts_offset, packed - ticks)
        self._cookie_sent_ns = now
        output.send_syn(child, now)

    def _ack_arrives(self, segment: Segment, now: int) -> None:
        """The ACK of a SYN cookie opens the connection; any other is of none.  RFC 9293 §3.10.7.2, second."""
        mss = 0
        if self.tcp.config.syncookies and not segment.flags & SYN and now - self._cookie_sent_ns < syn_cookies.VALID_NS:
            mss = self.tcp.syn_cookies.check(segment, now)
        if not mss:
            reset.send_reset(self.tcp, segment, now)
            raise Drop(DropReason.TCP_LISTEN_ACK)
        if not self.has_room():
            raise Drop(DropReason.TCP_BACKLOG_FULL)
        self._open_from_cookie(segment, mss, now)

    def _open_from_cookie(self, segment: Segment, mss: int, now: int) -> None:
        """The connection as if it had waited in SYN-RECEIVED for this ACK."""
        child = self._make_child(segment, sequence.add(segment.seq, -1), now)
        tcb = child.tcb
        opening.begin_at(tcb, sequence.add(segment.ack, -1))
        options, ecn_agreed = TcpOptions(mss=mss), False
        if segment.options.timestamps is not None:
            stamps = segment.options.timestamps
            options, ecn_agreed = syn_cookies.unpack_options(sequence.add(stamps[1], -tcb.ts_offset), mss, stamps)
        self._register(child)
        tcp_options.agree(child, options, offered=False)
        tcb.ecn_mode = lib.ECN_CLASSIC if ecn_agreed and self.tcp.config.ecn else lib.ECN_NONE
        segment_size.size_segments(child, now)
        child.listener = self
        self.syn_queue.add(child)
        output.record_sent(tcb, tcb.iss, sequence.add(tcb.iss, 1), lib.SENT_SYN | lib.SENT_RETRANSMITTED, now)
        self.tcp.touch(child)
        arrival.segment_arrives(child, segment, now)

    def _answer(self, child: Connection, segment: Segment, now: int) -> None:
        """<SYN,ACK>; a Fast Open cookie lets the connection begin with it."""
        tcb = child.tcb
        answer = fast_open_server.consider(self, segment, now)
        output.record_sent(tcb, tcb.iss, sequence.add(tcb.iss, 1), lib.SENT_SYN, now)
        if answer.accepted:
            fast_open_server.open_child(child, self, segment, now)
        else:
            child.listener = self
            self.syn_queue.add(child)
        output.send_syn(child, now, answer.cookie, experimental=segment.options.fast_open_experimental)
        retransmission.watch(child, now)

    def established(self, child: Connection) -> None:
        """The handshake of a child is complete: it waits for accept()."""
        self.forget(child)
        self.accept_queue.append(child)
        if self.observer is not None:
            self.tcp.events.append((self, READABLE))

    def forget(self, child: Connection) -> None:
        """A child has left SYN-RECEIVED."""
        self.syn_queue.remove(child)
        child.listener = None

    # Endpoint.

    def readiness(self) -> int:
        """READABLE while there is a connection to accept."""
        if self.closed:
            return READABLE | READ_HANGUP | HANGUP
        return READABLE if self.accept_queue else 0

    def listen(self, backlog: int) -> Listener:
        """Change the backlog."""
        self.set_backlog(backlog)
        return self

    def accept(self) -> Connection:
        """The connection that has waited longest.  Raises EAGAIN, or EINVAL after a shutdown."""
        if self.accept_queue:
            connection = self.accept_queue.popleft()
            connection.accepted = True
            if connection.fast_open.server is not None:
                connection.fast_open.server.accepted = True
            return connection
        if self.error:
            self.raise_pending_error()
        raise errors.error(errno.EINVAL if self.closed else errno.EAGAIN)

    def connect(self, address: bytes, port: int, now: int) -> None:
        """A listener cannot connect: EISCONN, as Linux has it."""
        raise errors.error(errno.EISCONN)

    def send(self, data: object, flags: int, destination: object, now: int) -> int:
        """A listener has nobody to send to: EPIPE, as Linux has it."""
        raise errors.error(errno.EPIPE)

    def receive_into(self, buffer: object, flags: int, now: int) -> tuple[int, None, int]:
        """A listener receives no data: ENOTCONN."""
        raise errors.error(errno.ENOTCONN)

    def shutdown(self, how: int, now: int) -> None:
        """SHUT_RD ends the listening, as in Linux; the port stays held."""
        if how in (0, 2) and not self.closed:
            self.tcp.ports.stop_listening(self.binding)
            self._drop_children(now)
            if self.observer is not None:
                self.tcp.events.append((self, READABLE | HANGUP))

    def close(self, now: int) -> None:
        """Stop listening; connections that nobody has accepted are reset, handshakes forgotten."""
        if self not in self.tcp.connections:
            return
        self._drop_children(now)
        self.tcp.release(self)

    def tcp_info(self, now: int) -> bytes:
        """TCP_INFO."""
        return info.listener_info(self)

    def option_changed(self, name: str, now: int) -> None:
        """As `Endpoint`; connections accepted later inherit the options."""
        if name in ("reuse_address", "reuse_port"):
            self.tcp.ports.refresh(self.binding)
        elif name == "congestion_control":
            controller_choice.check(self.options.congestion_control)

    def fail(self, number: int) -> None:
        """The stack has stopped."""
        self.error = number
        self.closed = True
        if self.observer is not None:
            self.tcp.events.append((self, READABLE | HANGUP))

    def _drop_children(self, now: int) -> None:
        self.closed = True
        for embryo in list(self.syn_queue):
            embryo.fail(0)
        for child in self.accept_queue:
            child.abort(now)
        self.accept_queue.clear()

"""`TcpProtocol`.

All TCP of one stack: its connections and listeners, what they share, and the way of a segment to them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ustack import errors
from ustack.address import is_multicast, is_unspecified
from ustack.config import TcpConfig
from ustack.constants import IP_PMTUDISC_DO, IP_PMTUDISC_WANT, IPPROTO_TCP, SOCK_STREAM
from ustack.drops import Drop, DropReason
from ustack.endpoint import Endpoint
from ustack.entropy import Entropy
from ustack.native import ffi, lib
from ustack.tcp import arrival, fast_path, icmp, notices, reset, time_wait
from ustack.tcp.authentication import guard
from ustack.tcp.challenge import ChallengeLimit
from ustack.tcp.connection import CLOSED_TCB, Connection
from ustack.tcp.fast_open import cookies
from ustack.tcp.fast_open import server as fast_open_server
from ustack.tcp.fast_open.black_hole import BlackHoleDetector
from ustack.tcp.fast_open.cache import CookieCache
from ustack.tcp.isn import InitialSequenceNumbers
from ustack.tcp.listener import Listener
from ustack.tcp.segment import Segment
from ustack.tcp.state import CLOSED, SYN_SENT, change_state
from ustack.tcp.syn_cookies import SynCookies
from ustack.timers import TimerQueue
from ustack.wire import tcp as wire_tcp
from ustack.wire import tcp_options

if TYPE_CHECKING:
    from ustack.flow import FlowTable
    from ustack.ip.icmp import IcmpError
    from ustack.ip.layer import IpLayer
    from ustack.ip.packet import Packet
    from ustack.ports import PortTable
    from ustack.tcp.authentication.guard import Guard

_DSCP = 0xFC
"""The bits of the traffic class that the user sets; the others are ECN's.  RFC 3168 §5."""


class TcpProtocol:
    """TCP of one stack."""

    def __init__(
        self,
        ip: IpLayer,
        ports: PortTable,
        flows: FlowTable,
        config: TcpConfig,
        entropy: Entropy,
        events: list[tuple[Endpoint, int]],
    ) -> None:
        self.ip = ip
        self.ports = ports
        self.flows = flows
        self.config = config
        self.events = events
        self.fast_path = True
        self.timers = TimerQueue()
        self.isn = InitialSequenceNumbers(entropy.take(16))
        self.syn_cookies = SynCookies(entropy.take(32))
        self.cookie_cache = CookieCache()
        """What Fast Open servers have told."""
        self.black_hole = BlackHoleDetector(config)
        self._fast_open_secret = entropy.take(cookies.KEY_BYTES)
        self.challenge_limit = ChallengeLimit(config.challenge_ack_per_second)
        self.connections: dict[Endpoint, None] = {}
        """Every connection with a TCB and every listener, in the order of their opening."""
        self.unopened: WeakSet[Connection] = WeakSet()
        """Sockets that are neither connected nor listening yet: they count, but nothing arrives for them."""
        self.orphans: WeakSet[Connection] = WeakSet()
        """Connections whose users have closed them, and which go on until TIME-WAIT."""
        self.touched: dict[Connection, None] = {}
        """Connections that the packets of the current burst have changed, in the order of the first change."""
        self.blocked: dict[Connection, None] = {}
        """Connections that have more to send than their device would take."""

    # User calls.

    def open(self, family: int) -> Connection:
        """An endpoint that is neither connected nor listening."""
        connection = self.new_connection(family)
        self.unopened.add(connection)
        return connection

    def new_connection(self, family: int) -> Connection:
        """A connection without a TCB."""
        return Connection(self, family, SOCK_STREAM, IPPROTO_TCP)

    def bind(self, connection: Connection, address: bytes, port: int) -> None:
        """Hold a local port.  Raises EADDRNOTAVAIL for an address that is not ours, EADDRINUSE."""
        if not (connection.options.free_bind or is_unspecified(address) or self.ip.is_local(address)):
            raise errors.error(errno.EADDRNOTAVAIL)
        connection.binding = self.ports.bind(connection, IPPROTO_TCP, address, port)
        connection.local_address, connection.local_port = address, connection.binding.port

    def hold_port(
        self, connection: Connection, local: bytes, remote: bytes, remote_port: int, now: int
    ) -> Connection | None:
        """Before an active open: pick a local port if there is none, and see that the flow is free.

        Returns a connection in TIME-WAIT whose flow it is, but which the new one may replace.  Raises EADDRNOTAVAIL.
        """
        taken = self._flow_taken(local, remote, remote_port, now)
        if connection.binding is None:
            connection.binding = self.ports.bind(
                connection, IPPROTO_TCP, local, 0, taken, remote=remote, remote_port=remote_port
            )
            connection.local_port = connection.binding.port
        elif taken(connection.local_port):
            raise errors.error(errno.EADDRNOTAVAIL)
        else:
            self.ports.move(connection.binding, local)
        owner = self.flows.find(IPPROTO_TCP, local, connection.local_port, remote, remote_port)
        return owner if isinstance(owner, Connection) else None

    def _flow_taken(self, local: bytes, remote: bytes, remote_port: int, now: int) -> Callable[[int], bool]:
        def taken(port: int) -> bool:
            owner = self.flows.find(IPPROTO_TCP, local, port, remote, remote_port)
            replaceable = isinstance(owner, Connection) and time_wait.may_be_replaced(owner, now)
            return owner is not None and not replaceable

        return taken

    def listen(self, connection: Connection, backlog: int) -> Listener:
        """Put a listener in the place of an endpoint that is bound."""
        assert connection.binding is not None, "an endpoint is bound before it listens"
        self.ports.listen(connection.binding)
        listener = Listener(self, connection, connection.binding, backlog)
        connection.binding.endpoint = listener
        self.unopened.discard(connection)
        self.connections[listener] = None
        return listener

    def release(self, listener: Listener) -> None:
        """A listener is gone."""
        self.ports.release(listener.binding)
        self.connections.pop(listener, None)

    # SEGMENT ARRIVES.

    def receive(self, packet: Packet, now: int) -> None:
        """Check a segment, find its connection or listener, and let it arrive there."""
        segment = self._parse(packet)
        owner = self.flows.find(IPPROTO_TCP, segment.local, segment.local_port, segment.remote, segment.remote_port)
        if isinstance(owner, Connection):
            guard.check(owner.guard, owner.options.authentication, owner.tcb, segment)
        if isinstance(owner, Connection) and not self._is_replaced(owner, segment):
            self.touch(owner)
            arrival.segment_arrives(owner, segment, now)
            return
        listener = self._listener_for(segment)
        if listener is not None:
            ring = listener.options.authentication
            guard.check(guard.guard_for(ring, segment.remote), ring, None, segment)
            listener.segment_arrives(segment, now)
        else:
            reset.answer_closed(self, segment, now)

    def guard_of(self, segment: Segment) -> tuple[Guard | None, Any]:
        """The guard, and the TCB if there is one, of whoever a segment is for: what is answered is signed too."""
        owner = self.flows.find(IPPROTO_TCP, segment.local, segment.local_port, segment.remote, segment.remote_port)
        if isinstance(owner, Connection):
            return owner.guard, owner.tcb
        listener = self._listener_for(segment)
        return None if listener is None else guard.guard_for(listener.options.authentication, segment.remote), None

    def _listener_for(self, segment: Segment) -> Listener | None:
        found = self.ports.lookup(IPPROTO_TCP, segment.local, segment.local_port, segment.remote, segment.remote_port)
        return found if isinstance(found, Listener) else None

    def _is_replaced(self, connection: Connection, segment: Segment) -> bool:
        """Whether a SYN for a listener takes the place of a connection in TIME-WAIT, which is deleted then."""
        if not time_wait.is_new_incarnation(connection.tcb, segment) or self._listener_for(segment) is None:
            return False
        segment.previous_nxt = connection.tcb.snd_nxt
        connection.fail(0)
        return True

    def _parse(self, packet: Packet) -> Segment:
        header = wire_tcp.parse(packet.payload)
        if not packet.trusted:
            wire_tcp.verify(packet.payload, packet.source, packet.destination)
        if not packet.unicast or is_multicast(packet.source) or self.ip.is_broadcast(packet.source):
            raise Drop(DropReason.TCP_BAD_ADDRESS)
        if not header.source_port or not header.destination_port:
            raise Drop(DropReason.TCP_PORT_ZERO)
        return Segment(
            local=packet.destination,
            local_port=header.destination_port,
            remote=packet.source,
            remote_port=header.source_port,
            seq=header.seq,
            ack=header.ack,
            flags=header.flags,
            window=header.window,
            urgent_pointer=header.urgent_pointer,
            options=tcp_options.parse_options(header.options),
            payload=packet.payload[header.data_offset :],
            gso_size=packet.gso_size,
            traffic_class=packet.traffic_class,
            raw=memoryview(packet.payload),
            carried=len(packet.payload) - header.data_offset,
            ip_options=packet.options,
            header_length=header.data_offset,
        )

    def icmp_error(self, error: IcmpError, now: int) -> None:
        """An ICMP error that quotes a segment.  Raises Drop if that was none of ours."""
        icmp.error_arrives(self, error, now)

    def touch(self, connection: Connection) -> None:
        """Note that the connection must be settled at the end of the burst."""
        self.touched[connection] = None

    def settle(self, now: int) -> None:
        """The burst is over: settle every connection that it has changed."""
        while self.touched:
            touched, self.touched = self.touched, {}
            for connection in touched:
                fast_path.settle(connection, now)

    # Time and devices.

    def advance(self, now: int) -> None:
        """Run what is due."""
        self.timers.advance(now)

    def wait_for_device(self, connection: Connection) -> None:
        """The connection's device takes no more now: `resume` will try again."""
        self.blocked[connection] = None

    def resume(self, now: int) -> None:
        """Devices have taken what was there: send on."""
        blocked, self.blocked = self.blocked, {}
        for connection in blocked:
            if connection.tcb.state != CLOSED:
                connection.tcb.ack_now = 1
                fast_path.settle(connection, now)

    # What connections need of the rest.

    def fast_open_keys(self) -> cookies.Keys:
        """The keys of the cookies that listeners give which have none of their own."""
        return fast_open_server.default_keys(self.config.fastopen_key, self._fast_open_secret)

    def receive_mss(self, connection: Connection) -> int:
        """The MSS that we announce: what the interface takes, less the fixed headers; or less, if the user wants.

        Where its MTU varies, the smallest counts (SHLD-6).  RFC 9293 §3.7.1 (MUST-67), RFC 6691.  A SYN that is sent
        again because its data were too big for the path announces what the path takes, as in Linux: the way back is
        likely the same.
        """
        assert connection.interface is not None, "an open connection has a route"
        metrics = connection.route_metrics
        mtu = min(metrics.mtu or connection.interface.least_mtu, connection.interface.least_mtu, 65_535)
        if connection.tcb.state == SYN_SENT:
            mtu = min(mtu, connection.path.reported_mtu or mtu)
        size = mtu - (40 if connection.tcb.version == 4 else 60)
        return min(size, connection.options.max_segment or size, metrics.advmss or size)

    def follow_route(self, connection: Connection) -> None:
        """Look the connection's route up again: its metrics may be others now."""
        assert connection.remote_address is not None, "an open connection has a remote address"
        connection.path.route_generation = self.ip.routes.generation
        with suppress(OSError):
            connection.path.route = self.ip.route(connection.remote_address, connection.local_address)

    def apply_ip_options(self, connection: Connection, now: int) -> None:
        """Copy TTL, traffic class and flow label to the TCB, where the segment builder finds them.

        MUST-48, MUST-49.
        """
        tcb, options = connection.tcb, connection.options
        tcb.ttl = options.ttl if options.ttl is not None else self.ip.config.ttl
        tcb.traffic_class = options.traffic_class & _DSCP
        tcb.dont_fragment = options.path_mtu_discovery == IP_PMTUDISC_DO or (
            options.path_mtu_discovery == IP_PMTUDISC_WANT
            and not connection.route_metrics.mtu_locked
            and not self.ip.path_mtu.must_allow_fragmentation(connection.remote_address or b"", now)
        )
        if tcb.version == 6 and connection.local_address is not None and connection.remote_address is not None:
            tcb.flow_label = self.ip.flow_label(
                connection.local_address, connection.remote_address, IPPROTO_TCP, tcb.local_port, tcb.remote_port
            )

    def send_unconnected(self, segment: Segment, header: bytes, now: int) -> None:
        """Send a segment of no connection, back to where `segment` came from; without a route it is lost."""
        try:
            self.ip.send(segment.local, segment.remote, IPPROTO_TCP, header, now, dont_fragment=True)
        except OSError:
            self.ip.counters[DropReason.TCP_NO_RETURN_ROUTE] += 1

    def delete(self, connection: Connection) -> None:
        """Delete the TCB: the flow is free again.

        What was received can still be read, unless nobody is there to do so.
        """
        tcb = connection.tcb
        self.orphans.discard(connection)
        if tcb.state != CLOSED:
            change_state(tcb, CLOSED)
            self.flows.remove(
                IPPROTO_TCP,
                connection.local_address or b"",
                connection.local_port,
                connection.remote_address or b"",
                connection.remote_port,
            )
            self.flows.forget(connection)
            self.connections.pop(connection, None)
            self.blocked.pop(connection, None)
            for timer in range(lib.TIMER_COUNT):
                tcb.deadline_ns[timer] = 0
            self.timers.forget(connection)
            connection.sending.chunks.clear()
            lib.ring_release(ffi.addressof(tcb, "snd_ring"))
            lib.sent_queue_release(ffi.addressof(tcb, "sent"))
            fast_open_server.ended(connection, now=0)
            notices.ended(connection)
            if connection.listener is not None:
                connection.orphaned = True
                connection.listener.forget(connection)
        if connection.orphaned:
            self.unopened.discard(connection)
            connection.tcb = CLOSED_TCB
            if connection.binding is not None:
                self.ports.release(connection.binding)
                connection.binding = None

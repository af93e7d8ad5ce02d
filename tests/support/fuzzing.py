"""A peer, a network and a user that do whatever a string of bytes tells them, to a stack that must bear it.

The bytes are a program: each decision takes one of them, so Hypothesis can shrink a failure, and random ones go deep.
Segments are mostly near what the connection expects, as its TCB tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ustack.address import parse_address
from ustack.burst import Burst
from ustack.config import StackConfig, TcpConfig
from ustack.constants import (
    AF_INET,
    AF_INET6,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_TCP,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SOCK_STREAM,
)
from ustack.drops import DropReason
from ustack.native import ffi, lib
from ustack.sim.verify import VerifyingStack
from ustack.stack import Stack
from ustack.tcp import sequence
from ustack.tcp.connection import Connection
from ustack.tcp.state import State
from ustack.tcp.super_segment import BYTES_MAX
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6, tcp, tcp_options
from ustack.wire.tcp_options import TcpOptions

Choice = TypeVar("Choice")

MILLISECOND = 1_000_000
LISTENING_PORT = 80
PEER_PORTS = (5000, 5001, 5002)
RECEIVE_BUFFER = 20_000
SEND_BUFFER = 30_000
RANGES = 8
BACKLOG = 2
NOT_DISCARDED = frozenset((DropReason.TCP_NO_RETURN_ROUTE,))
"""What is counted besides the frame itself: an answer that could not be sent."""


class Program:
    """The decisions, one byte each; it has ended when the bytes have."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        """The next byte, zero behind the end."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def choose(self, choices: Sequence[Choice]) -> Choice:
        """One of up to 256."""
        return choices[self.byte() % len(choices)]

    def one_in(self, count: int) -> bool:
        """Whether something seldom happens; zero bytes make it happen never."""
        return self.byte() % count == count - 1


class Fuzzed:
    """A stack with a listener, connections in any state, and whatever comes to it."""

    def __init__(self, version: int, program: Program, stack: Stack | VerifyingStack, offload: int = 0) -> None:
        self.version = version
        self.program = program
        self.stack: Any = stack
        self.now = 1_000_000_000
        addresses = ("10.0.0.1", "10.0.0.2") if version == 4 else ("fd00::1", "fd00::2")
        self.local, self.remote = (parse_address(each) for each in addresses)
        mtu = program.choose((1500, 1500, 1280, 9000, 100 if version == 4 else 1281))
        self.interface = stack.add_interface("tun0", mtu, [f"{addresses[0]}/{24 if version == 4 else 64}"], offload)
        self.burst = Burst()
        self.listener = self._listen()
        self.held: list[Any] = []
        """Endpoints that the user holds."""
        self.last_frame = b""
        self.frames = 0
        """How many have come from the device."""
        self.speaks_to_itself = False
        """Frames of the loopback may be dropped too."""
        self._planned: dict[int, int] = {}
        """Where the next segment of this burst begins, by connection."""

    @staticmethod
    def config() -> StackConfig:
        """Small limits, so that they are reached."""
        return StackConfig(
            tcp=TcpConfig(
                rmem=(4096, RECEIVE_BUFFER, RECEIVE_BUFFER),
                wmem=(SEND_BUFFER, SEND_BUFFER, SEND_BUFFER),
                out_of_order_ranges=RANGES,
                retries2=4,
                syn_retries=2,
            ),
            ephemeral_ports=(6000, 6007),
        )

    def _socket(self) -> Any:
        return self.stack.open(AF_INET if self.version == 4 else AF_INET6, SOCK_STREAM, IPPROTO_TCP)

    def _listen(self) -> Any:
        endpoint = self._socket()
        endpoint.options.reuse_address = True
        endpoint.bind(self.local, LISTENING_PORT)
        return endpoint.listen(BACKLOG)

    # One step after the other.

    def run(self) -> None:
        """Do all that the program says, checking after each step."""
        steps: list[Callable[[], None]] = (
            [self.step_segments] * 16
            + [self.step_user] * 8
            + [self.step_time] * 2
            + [self.step_device, self.step_icmp, self.step_garbage]
        )
        while not self.program.ended:
            self.program.choose(steps)()
            self.check()

    def finish(self) -> None:
        """Close all, let every timer run out: nothing may be left."""
        for endpoint in [*self.held, self.listener]:
            endpoint.close(self.now)
        self.drain_device()
        for _ in range(10_000):
            deadline = self.stack.next_deadline()
            if deadline is None:
                break
            self.now = max(self.now, deadline)
            self.stack.advance(self.now)
            self.drain_device()
        assert not list(self.stack.tcp.connections), "every connection ends"
        assert len(self.stack.flows) == 0

    # What the peer does.

    def step_segments(self) -> None:
        """A burst of one or more segments, seldom of one that is repeated."""
        count = self.program.choose((1, 1, 1, 2, 3, 8))
        self._planned = {}
        if self.program.one_in(12):
            self.receive([self._segment()] * (1 + count))
        else:
            self.receive([self._segment() for _ in range(count)])

    def _flow(self) -> tuple[int, int, Any]:
        """Local port, remote port, and the TCB between them, if there is one."""
        connections = [each for each in self.stack.tcp.connections if isinstance(each, Connection)]
        if connections and not self.program.one_in(10):
            connection = self.program.choose(connections)
            return connection.local_port, connection.remote_port, connection.tcb
        return self.program.choose((LISTENING_PORT, LISTENING_PORT, 6000, 9)), self.program.choose(PEER_PORTS), None

    def _segment(self) -> bytes:
        local_port, remote_port, tcb = self._flow()
        if tcb is not None and not self.program.one_in(4):
            return self._sensible(local_port, remote_port, tcb)
        return self._wild(local_port, remote_port, tcb)

    def _sensible(self, local_port: int, remote_port: int, tcb: Any) -> bytes:
        """What a well-behaved peer could send."""
        program = self.program
        stamps = (sequence.add(tcb.ts_recent, program.byte() % 2), self._own_stamp(tcb)) if tcb.timestamps else None
        options = TcpOptions(timestamps=stamps)
        if tcb.state == State.SYN_SENT:
            options.mss, options.window_scale = program.choose((1460, 500)), program.choose((None, 3))
            flags, seq, ack, payload = tcp.SYN | tcp.ACK, 0xFFFFFFF0, tcb.snd_nxt, b""
        else:
            half = sequence.add(tcb.snd_una, sequence.distance(tcb.snd_una, tcb.snd_nxt) // 2)
            ack = program.choose((tcb.snd_nxt, tcb.snd_nxt, tcb.snd_una, half))
            flags = tcp.ACK | (tcp.FIN if program.one_in(50) else 0)
            payload = bytes([program.byte()]) * program.choose((0, 0, 0, 1, 500, 1000, 1460))
            seq = self._planned.get(tcb.handle, tcb.rcv_nxt)
            if program.one_in(16):
                seq = sequence.add(seq, 1000)
            else:
                self._planned[tcb.handle] = sequence.add(seq, len(payload))
        header = tcp.build(
            remote_port, local_port, seq, ack, flags, program.choose((65535, 65535, 65535, 2000)),
            options=tcp_options.build(options), payload=payload, pseudo=(self.remote, self.local),
        )  # fmt: skip
        return self._packet(header + payload, IPPROTO_TCP)

    def _own_stamp(self, tcb: Any) -> int:
        return sequence.add(tcb.ts_offset, self.now // MILLISECOND)

    def _wild(self, local_port: int, remote_port: int, tcb: Any) -> bytes:
        """What nobody should send."""
        program = self.program
        flags = self._flags(tcb)
        payload = bytes(program.choose((0, 0, 0, 1, 5, 100, 536, 1000, 1460, 3000)))
        if payload:
            payload = bytes([program.byte()]) * len(payload)
        transport = tcp.build(
            remote_port,
            local_port,
            self._seq(tcb),
            self._ack(tcb),
            flags,
            program.choose((0, 1, 100, 5000, 65535, 65535)),
            urgent_pointer=program.choose((0, 0, 1, 5, 1000, 65535)) if flags & tcp.URG else 0,
            options=self._options(tcb),
            reserved=program.byte() % 16 if program.one_in(30) else 0,
            payload=payload,
            pseudo=(self.remote, self.local),
        )
        return self._spoil(self._packet(transport + payload, IPPROTO_TCP))

    def _flags(self, tcb: Any) -> int:
        program = self.program
        if tcb is None:
            return program.choose((tcp.SYN, tcp.SYN, tcp.SYN, tcp.ACK, tcp.RST, tcp.SYN | tcp.ACK, tcp.FIN))
        if tcb.state == State.SYN_SENT and not program.one_in(4):
            return tcp.SYN | program.choose((tcp.ACK, tcp.ACK, 0))
        common = (tcp.ACK, tcp.ACK, tcp.ACK, tcp.ACK | tcp.PSH, tcp.ACK | tcp.FIN, tcp.ACK | tcp.URG)
        if not program.one_in(8):
            return program.choose(common)
        return program.byte()

    def _seq(self, tcb: Any) -> int:
        program = self.program
        if tcb is None:
            return program.choose((0, 1, 0xFFFFFFFF, 0x80000000))
        if tcb.state == State.SYN_SENT:
            return program.choose((7, 0xFFFFFFFF))
        base = program.choose((tcb.rcv_nxt,) * 8 + (tcb.rcv_nxt + tcb.rcv_wnd, tcb.irs, tcb.rcv_nxt + (1 << 31)))
        return sequence.add(base, self._near())

    def _ack(self, tcb: Any) -> int:
        program = self.program
        if tcb is None:
            return program.byte()
        base = program.choose((tcb.snd_nxt,) * 4 + (tcb.snd_una,) * 4 + (tcb.iss, tcb.snd_una - tcb.snd_max_wnd))
        return sequence.add(base, self._near())

    def _near(self) -> int:
        return self.program.choose((0,) * 12 + (1, -1, 2, 100, -100, 536, 1000, 1460, -1460, 20_000, -20_000))

    def _options(self, tcb: Any) -> bytes:
        program = self.program
        if program.one_in(20):
            return bytes(program.byte() for _ in range(4 * (program.byte() % 11)))
        stamps = None
        if (tcb is not None and tcb.timestamps) or program.one_in(6):
            recent = tcb.ts_recent if tcb is not None else 1000
            stamps = (sequence.add(recent, program.choose((0, 0, 1, 1, 5, -1, 1 << 31))), program.byte())
        options = TcpOptions(timestamps=stamps)
        if tcb is None or tcb.state <= State.SYN_RECEIVED:
            options.mss = program.choose((1460, 1000, 536, 0, 40, None))
            options.window_scale = program.choose((None, 0, 2, 7, 14))
            options.sack_permitted = program.byte() % 2 == 0
        return tcp_options.build(options)

    def _spoil(self, packet: bytes) -> bytes:
        """Seldom flip bits, and mostly repair the checksum, so that the damage goes deep."""
        program = self.program
        if not program.one_in(12):
            return packet
        spoilt = bytearray(packet)
        start = 20 if self.version == 4 else 40
        for _ in range(1 + program.byte() % 3):
            spoilt[start + program.byte() % min(len(spoilt) - start, 60)] ^= 1 << program.byte() % 8
        if not program.one_in(4):
            spoilt[start + 16 : start + 18] = bytes(2)
            checksum = lib.checksum_compute(
                ffi.from_buffer(spoilt) + start,
                len(spoilt) - start,
                lib.checksum_pseudo(self.remote, self.local, len(self.remote), IPPROTO_TCP, len(spoilt) - start),
            )
            spoilt[start + 16 : start + 18] = checksum.to_bytes(2, "big")
        return bytes(spoilt)

    def _packet(self, transport: bytes, protocol: int) -> bytes:
        build = ipv4.build if self.version == 4 else ipv6.build
        return build(self.remote, self.local, protocol, len(transport)) + transport

    def step_icmp(self) -> None:
        """An error about the last frame that was sent, or about something like it."""
        program = self.program
        quote = bytearray(self.last_frame[: program.choose((28, 60, 68, 20, 9))])
        if quote and program.one_in(3):
            quote[program.byte() % len(quote)] ^= 1 << program.byte() % 8
        parameter = program.choose((0, 68, 500, 576, 1000, 1280, 1400, 9000)).to_bytes(4, "big")
        if self.version == 4:
            message = icmpv4.build(
                program.choose((3, 3, 11, 12, 4, 5)), program.choose((4, 4, 3, 1, 0, 13)), parameter, quote
            )
            self.receive([self._packet(message, IPPROTO_ICMP)])
        else:
            kind, code = program.choose((2, 2, 1, 3, 4, 99)), program.choose((0, 1, 4))
            message = icmpv6.build(self.remote, self.local, kind, code, parameter, quote)
            self.receive([self._packet(message, IPPROTO_ICMPV6)])

    def step_garbage(self) -> None:
        """Bytes that may begin like a packet."""
        start = self.program.choose((b"", b"\x45", b"\x60", self._packet(b"", IPPROTO_TCP), self.last_frame[:50]))
        self.receive([start + bytes(self.program.byte() for _ in range(self.program.byte() % 64))])

    def receive(self, packets: list[bytes]) -> None:
        """Frames from the device: each is consumed, or counted as one drop."""
        self.burst.clear()
        for packet in packets:
            self.burst.append(packet)
        self.frames += len(packets)
        before = self._discarded()
        self.stack.receive(self.interface, self.burst, self.now)
        assert self.speaks_to_itself or self._discarded() - before <= len(packets), "a frame is dropped once"
        if not self.program.one_in(10):
            self.drain_device()

    def _discarded(self) -> int:
        return sum(count for reason, count in self.stack.counters.items() if reason not in NOT_DISCARDED)

    # What the device and the clock do.

    def step_device(self) -> None:
        """The device takes what waits, or a part of it."""
        if self.program.one_in(2):
            self.drain_device()

    def drain_device(self) -> None:
        """The device takes all."""
        while self.stack.transmit(self.now):
            outgoing = self.interface.outgoing
            self.last_frame = bytes(outgoing.frame(len(outgoing) - 1))
            outgoing.drop(len(outgoing))

    def step_time(self) -> None:
        """Time passes: a little, up to the next deadline, or long."""
        choice = self.program.byte() % 8
        deadline = self.stack.next_deadline()
        if choice < 4 and deadline is not None:
            self.now = max(self.now, deadline)
        else:
            self.now += self.program.choose((1, 10, 39, 100, 1000, 70_000, 7_300_000)) * MILLISECOND
        self.stack.advance(self.now)
        self.drain_device()

    # What the user does.

    def step_user(self) -> None:
        """Some call; it may fail, but only with an OSError."""
        calls = [self._send, self._receive] * 3 + [self._shutdown, self._close, self._set_option, self._look]
        try:
            if not self.held or self.program.one_in(4):
                self._new_endpoint()
            else:
                self.program.choose(calls)(self.program.choose(self.held))
        except OSError:
            pass
        self.drain_device()

    def _new_endpoint(self) -> None:
        if self.program.byte() % 4:
            self.held.append(self.listener.accept())
        elif len(self.held) < 6:
            endpoint = self._socket()
            self.held.append(endpoint)
            endpoint.observer = endpoint
            if self.program.one_in(4):
                self.speaks_to_itself = True
                endpoint.connect(self.local, LISTENING_PORT, self.now)
            else:
                endpoint.connect(self.remote, self.program.choose(PEER_PORTS), self.now)

    def _send(self, endpoint: Any) -> None:
        data = bytes(self.program.choose((1, 10, 1000, 5000, 40_000)))
        endpoint.send(data, self.program.choose((0,) * 12 + (MSG_MORE, MSG_OOB)), None, self.now)

    def _receive(self, endpoint: Any) -> None:
        buffer = bytearray(self.program.choose((1, 100, 30_000, 30_000)))
        endpoint.receive_into(buffer, self.program.choose((0,) * 8 + (MSG_PEEK, MSG_OOB, MSG_TRUNC)), self.now)

    def _shutdown(self, endpoint: Any) -> None:
        endpoint.shutdown(self.program.choose((0, 1, 1, 1, 2, 3)), self.now)

    def _close(self, endpoint: Any) -> None:
        self.held.remove(endpoint)
        if self.program.one_in(4):
            endpoint.abort(self.now)
        else:
            endpoint.close(self.now)

    def _set_option(self, endpoint: Any) -> None:
        name, values = self.program.choose(_OPTIONS)
        setattr(endpoint.options, name, self.program.choose(values))
        endpoint.option_changed(name, self.now)

    def _look(self, endpoint: Any) -> None:
        endpoint.readiness()
        endpoint.take_error()
        self.stack.take_events()

    # What must always hold.

    def check(self) -> None:
        """Memory is bounded, the numbers are consistent, and something will always go on."""
        assert len(self.listener.syn_queue) <= max(BACKLOG, 8)
        assert len(self.listener.accept_queue) <= BACKLOG + 1
        connections = [each for each in self.stack.tcp.connections if isinstance(each, Connection)]
        assert len(connections) <= len(self.held) + 60
        assert len(self.stack.tcp.timers) <= 2 * len(connections) + 65
        for connection in connections:
            check_tcb(connection)


_OPTIONS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("no_delay", (True, False)),
    ("cork", (True, False)),
    ("keepalive", (True, False)),
    ("keepalive_time_ns", (1_000_000_000, None)),
    ("quick_ack", (True, False)),
    ("linger_ns", (0, None)),
    ("out_of_band_inline", (True, False)),
    ("user_timeout_ns", (0, 5_000_000_000)),
    ("receive_buffer", (1, 3000, 100_000, None)),
    ("receive_errors", (True, False)),
    ("ttl", (1, None)),
    ("path_mtu_discovery", (True, False)),
)


def check_tcb(connection: Connection) -> None:
    """The invariants of one connection."""
    tcb = connection.tcb
    outstanding = sequence.distance(tcb.snd_una, tcb.snd_nxt)
    sent = tcb.sent
    assert outstanding <= SEND_BUFFER + BYTES_MAX + 2
    assert sent.sacked_segments + sent.lost_segments <= sent.segments <= outstanding
    assert sent.retransmitted_segments <= sent.segments
    assert _queued_bytes(sent) == outstanding
    assert tcb.snd_ring.length <= SEND_BUFFER + BYTES_MAX
    assert tcb.rcv_ring.length <= 1 << 17
    assert tcb.rcv_ring.capacity <= 1 << 18
    assert tcb.out_of_order.count <= RANGES
    assert tcb.cwnd_packets >= 1 or tcb.state < State.ESTABLISHED
    _check_timers(connection, outstanding)


def _queued_bytes(sent: Any) -> int:
    entries = (lib.sent_queue_at(ffi.addressof(sent), index) for index in range(sent.count))
    return sum(sequence.distance(entry.seq, entry.end) for entry in entries)


def _check_timers(connection: Connection, outstanding: int) -> None:
    tcb = connection.tcb
    watched = tcb.deadline_ns[lib.TIMER_RETRANSMIT]
    assert not connection.earliest_deadline() or connection.timer_entry_ns, "every deadline is in the queue"
    if outstanding:
        assert watched, "what is not acknowledged is sent again some time"
    elif tcb.snd_ring.length and tcb.state >= State.ESTABLISHED:
        assert watched or connection in connection.tcp.blocked, "what waits is sent some time"

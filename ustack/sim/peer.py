"""`Peer`: a host scripted packet by packet against one `Stack`, in virtual time.

Sequence numbers are relative, as in packetdrill: the peer's SYN has 0 (unless told otherwise), the stack's SYN is seen
as 0. What was exchanged is kept in packetdrill's notation, and a failed expectation prints it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from ustack.address import parse_address
from ustack.burst import Burst
from ustack.config import StackConfig
from ustack.constants import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM
from ustack.entropy import SeededEntropy
from ustack.native import lib
from ustack.stack import Stack
from ustack.tcp import sequence
from ustack.tcp.connection import Connection
from ustack.tcp.listener import Listener
from ustack.wire import ipv4, ipv6, tcp, tcp_options
from ustack.wire.tcp_options import TcpOptions

MILLISECOND = 1_000_000
_LETTERS = {
    "F": tcp.FIN,
    "S": tcp.SYN,
    "R": tcp.RST,
    "P": tcp.PSH,
    ".": tcp.ACK,
    "U": tcp.URG,
    "E": tcp.ECE,
    "W": tcp.CWR,
    "A": tcp.AE,
}
_ACE_SHIFT = 6


def parse_flags(text: str) -> int:
    """The flags of packetdrill's letters, such as `S.` for SYN,ACK; a digit is the number that AE, CWR and ECE make."""
    value = 0
    for letter in text:
        value |= int(letter) << _ACE_SHIFT if letter.isdigit() else _LETTERS[letter]
    return value


def format_flags(flags: int) -> str:
    """Packetdrill's letters of a flags byte."""
    return "".join(letter for letter, bit in _LETTERS.items() if flags & bit) or "-"


@dataclass(slots=True)
class Sent:
    """A segment that the stack has sent; `seq` and `ack` are relative."""

    now: int
    flags: str
    seq: int
    ack: int
    window: int
    urgent_pointer: int
    options: TcpOptions
    payload: bytes
    source: bytes
    destination: bytes
    ttl: int
    traffic_class: int
    gso_size: int
    """Payload bytes of each segment of a super-segment; 0 for an ordinary one."""
    frame: bytes
    """The whole IP packet."""

    def __str__(self) -> str:
        text = f"{self.flags} {self.seq}:{self.seq + len(self.payload)}({len(self.payload)})"
        return f"{text} ack {self.ack} win {self.window}"


class Peer:
    """The other end of one TCP connection of a stack, and the wire between them."""

    def __init__(
        self,
        version: int = 4,
        config: StackConfig | None = None,
        *,
        mtu: int = 1500,
        offload: int = 0,
        fast_path: bool = True,
        local_port: int = 8080,
        port: int = 54321,
        seed: int = 1,
    ) -> None:
        self.now = 1_000_000_000
        self.version = version
        self.stack = Stack(config, entropy=SeededEntropy(seed), fast_path=fast_path)
        stack_address, peer_address = ("10.0.0.1", "10.0.0.2") if version == 4 else ("fd00::1", "fd00::2")
        length = 24 if version == 4 else 64
        self.interface = self.stack.add_interface("tun0", mtu, [f"{stack_address}/{length}"], offload)
        self.local, self.remote = parse_address(stack_address), parse_address(peer_address)
        self.local_port, self.port = local_port, port
        self.isn = 0
        self.stack_isn: int | None = None
        self.sent: deque[Sent] = deque()
        self.log: list[str] = []
        self.burst = Burst()

    # Sockets of the stack.

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return AF_INET if self.version == 4 else AF_INET6

    def socket(self) -> Connection:
        """A new TCP endpoint of the stack."""
        endpoint = self.stack.open(self.family, SOCK_STREAM, IPPROTO_TCP)
        assert isinstance(endpoint, Connection), "a stream socket is a connection"
        return endpoint

    def listen(self, backlog: int = 8) -> Listener:
        """A listener at the local port."""
        endpoint = self.socket()
        endpoint.bind(self.local, self.local_port)
        return endpoint.listen(backlog)

    def connect(self) -> Connection:
        """Begin an active open of the stack towards the peer's port."""
        endpoint = self.socket()
        endpoint.bind(bytes(len(self.local)), self.local_port)
        try:
            endpoint.connect(self.remote, self.port, self.now)
        except BlockingIOError:
            self.collect()
        return endpoint

    def accept(self, window: int = 65535, **options: Any) -> Connection:
        """Let the peer open a connection to a new listener; the stack's side of it, established."""
        listener = self.listen()
        self.inject("S", 0, window=window, **options)
        self.expect("S.", 0, 1)
        self.inject(".", 1, 1, window=window)
        return listener.accept()

    # The wire.

    def inject(
        self,
        flags: str,
        seq: int,
        ack: int = 0,
        payload: bytes = b"",
        *,
        window: int = 65535,
        urgent_pointer: int = 0,
        gso_size: int = 0,
        raw_options: bytes | None = None,
        traffic_class: int = 0,
        **options: Any,
    ) -> None:
        """Let a segment arrive now, with `gso_size` a super-segment; options by the names of `TcpOptions`."""
        packet = self.segment(
            flags, seq, ack, payload, window=window, urgent_pointer=urgent_pointer, raw_options=raw_options,
            traffic_class=traffic_class, **options,
        )  # fmt: skip
        self.arrive([packet], gso_size)

    def segment(
        self,
        flags: str,
        seq: int,
        ack: int = 0,
        payload: bytes = b"",
        *,
        window: int = 65535,
        urgent_pointer: int = 0,
        raw_options: bytes | None = None,
        traffic_class: int = 0,
        **options: Any,
    ) -> bytes:
        """The whole IP packet of a segment; `raw_options` are the bytes of the options, whatever they say."""
        bits = parse_flags(flags)
        header = tcp.build(
            self.port,
            self.local_port,
            sequence.add(self.isn, seq),
            sequence.add(self.stack_isn or 0, ack) if bits & tcp.ACK else 0,
            bits,
            window,
            urgent_pointer=urgent_pointer,
            options=tcp_options.build(TcpOptions(**options)) if raw_options is None else raw_options,
            payload=payload,
            pseudo=(self.remote, self.local),
        )
        self.note("<", f"{flags} {seq}:{seq + len(payload)}({len(payload)}) ack {ack} win {window}")
        return self.packet(header + payload, traffic_class)

    def packet(self, transport: bytes, traffic_class: int = 0) -> bytes:
        """An IP packet from the peer to the stack."""
        build = ipv4.build if self.version == 4 else ipv6.build
        header = build(self.remote, self.local, IPPROTO_TCP, len(transport), traffic_class=traffic_class)
        return header + transport

    def arrive(self, packets: list[bytes], gso_size: int = 0) -> None:
        """Let IP packets arrive in one burst; with `gso_size` each is a super-segment, as a device has joined it."""
        self.burst.clear()
        for index, packet in enumerate(packets):
            self.burst.append(packet)
            if gso_size:
                self.burst.cdata.frames[index].gso_type = lib.GSO_TCPV4 if self.version == 4 else lib.GSO_TCPV6
                self.burst.cdata.frames[index].gso_size = gso_size
        self.stack.receive(self.interface, self.burst, self.now)
        self.collect()

    def collect(self) -> None:
        """Take what the stack has sent."""
        while self.stack.transmit(self.now):
            outgoing = self.interface.outgoing
            for index, frame in enumerate(outgoing.frames()):
                self._take(bytes(frame), outgoing.cdata.frames[index].gso_size)
            outgoing.clear()

    def _take(self, frame: bytes, gso_size: int) -> None:
        if self.version == 4:
            ip4 = ipv4.parse(frame)
            source, destination, ttl, traffic_class = ip4.source, ip4.destination, ip4.ttl, ip4.traffic_class
            content = frame[ip4.header_length : ip4.total_length]
        else:
            ip6 = ipv6.parse(frame)
            source, destination, ttl, traffic_class = ip6.source, ip6.destination, ip6.hop_limit, ip6.traffic_class
            content = frame[40 : 40 + ip6.payload_length]
        header = tcp.parse(content)
        if not self.interface.offload & lib.OFFLOAD_CHECKSUM:
            tcp.verify(content, source, destination)
        if header.flags & tcp.SYN:
            self.stack_isn = header.seq
        self.sent.append(
            Sent(
                now=self.now,
                flags=format_flags(header.flags),
                seq=self._relative(header.seq, self.stack_isn),
                ack=self._relative(header.ack, self.isn) if header.flags & tcp.ACK else 0,
                window=header.window,
                urgent_pointer=header.urgent_pointer,
                options=tcp_options.parse_options(header.options),
                payload=content[header.data_offset :],
                source=source,
                destination=destination,
                ttl=ttl,
                traffic_class=traffic_class,
                gso_size=gso_size,
                frame=frame,
            )
        )
        self.note(">", str(self.sent[-1]))

    @staticmethod
    def _relative(number: int, isn: int | None) -> int:
        distance = sequence.distance(isn or 0, number)
        return distance - sequence.MODULUS if distance > sequence.MODULUS // 2 else distance

    # Time.

    def advance(self, milliseconds: float) -> None:
        """Let virtual time pass, from deadline to deadline."""
        until = self.now + int(milliseconds * MILLISECOND)
        while True:
            deadline = self.stack.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.stack.advance(self.now)
            self.collect()
        self.now = until

    # Expectations.

    def expect(
        self, flags: str | None = None, seq: int | None = None, ack: int | None = None, payload: bytes | None = None
    ) -> Sent:
        """The next segment that the stack has sent, which must be as told."""
        assert self.sent, self._complaint(f"nothing was sent, expected {flags} {seq} ack {ack}")
        sent = self.sent.popleft()
        if flags is not None:
            assert parse_flags(sent.flags) == parse_flags(flags), self._complaint(f"flags {sent}, expected {flags}")
        if seq is not None:
            assert sent.seq == seq, self._complaint(f"seq of {sent}, expected {seq}")
        if ack is not None:
            assert sent.ack == ack, self._complaint(f"ack of {sent}, expected {ack}")
        if payload is not None:
            assert sent.payload == payload, self._complaint(f"payload of {sent}, expected {len(payload)} bytes")
        return sent

    def expect_nothing(self) -> None:
        """The stack has sent nothing more."""
        assert not self.sent, self._complaint(f"unexpected {self.sent[0]}")

    def note(self, direction: str, text: str) -> None:
        """A line of the exchange."""
        self.log.append(f"{(self.now - 1_000_000_000) / 1e9:+.6f} {direction} {text}")

    def _complaint(self, text: str) -> str:
        return "\n".join([text, "the exchange so far:", *self.log])

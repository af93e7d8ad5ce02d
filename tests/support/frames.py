"""Whole packets and super-segments for tests of devices."""

from __future__ import annotations

from dataclasses import dataclass

from ustack.address import parse_address
from ustack.burst import Burst
from ustack.drops import Drop
from ustack.native import lib
from ustack.wire import ipv4, ipv6, tcp, udp
from ustack.wire.checksum import pseudo_header_sum

ADDRESSES = {
    4: (parse_address("10.9.0.2"), parse_address("10.9.0.1")),
    6: (parse_address("fd09::2"), parse_address("fd09::1")),
}
"""Source and destination: the stack's side and the kernel's."""

TCP, UDP = 6, 17


def ip_packet(version: int, protocol: int, transport: bytes) -> bytes:
    source, destination = ADDRESSES[version]
    build = ipv4.build if version == 4 else ipv6.build
    return build(source, destination, protocol, len(transport)) + transport


def udp_packet(version: int, payload: bytes, source_port: int = 5000, destination_port: int = 9) -> bytes:
    header = udp.build(*ADDRESSES[version], source_port, destination_port, payload)
    return ip_packet(version, UDP, header + payload)


def tcp_packet(version: int, payload: bytes, seq: int = 1000, flags: int = tcp.ACK | tcp.PSH) -> bytes:
    header = tcp.build(5000, 9, seq, 1, flags, 1000, payload=payload, pseudo=ADDRESSES[version])
    return ip_packet(version, TCP, header + payload)


def ip_header_length(version: int) -> int:
    return 20 if version == 4 else 40


def append_partial(burst: Burst, packet: bytes) -> None:
    """Append a packet as one that needs its checksum completed: its field holds the pseudo-header's sum."""
    version = packet[0] >> 4
    start = ip_header_length(version)
    protocol = packet[9] if version == 4 else packet[6]
    offset = 6 if protocol == UDP else 16
    partial = bytearray(packet)
    pseudo = pseudo_header_sum(*ADDRESSES[version], protocol, len(packet) - start)
    partial[start + offset : start + offset + 2] = pseudo.to_bytes(2, "big")
    assert burst.append(partial)
    frame = burst.cdata.frames[len(burst) - 1]
    frame.flags = lib.FRAME_NEEDS_CHECKSUM
    frame.checksum_start = start
    frame.checksum_offset = offset


def append_super(burst: Burst, packet: bytes, gso_size: int) -> None:
    """Append a packet as a super-segment of segments with `gso_size` payload bytes."""
    append_partial(burst, packet)
    version = packet[0] >> 4
    frame = burst.cdata.frames[len(burst) - 1]
    is_udp = frame.checksum_offset == 6
    frame.gso_type = lib.GSO_UDP_L4 if is_udp else lib.GSO_TCPV4 if version == 4 else lib.GSO_TCPV6
    frame.gso_size = gso_size
    frame.header_length = ip_header_length(version) + (8 if is_udp else 20)


def burst_of(*packets: bytes) -> Burst:
    burst = Burst()
    for packet in packets:
        assert burst.append(packet)
    return burst


def contents(burst: Burst) -> list[bytes]:
    return [bytes(frame) for frame in burst.frames()]


def is_valid(packet: bytes) -> bool:
    """Whether all checksums of a TCP or UDP packet hold, and its lengths."""
    return reason_to_drop(packet) is None


def reason_to_drop(packet: bytes) -> str | None:
    """Why a receiver would discard a packet before demultiplexing; None if it would not."""
    try:
        if packet[0] >> 4 == 4:
            header = ipv4.parse(packet)
            start, end, protocol = header.header_length, header.total_length, header.protocol
            source, destination = header.source, header.destination
        else:
            header6 = ipv6.parse(packet)
            start, end, protocol = 40, 40 + header6.payload_length, header6.next_header
            source, destination = header6.source, header6.destination
        verify = {TCP: tcp.verify, UDP: udp.verify}[protocol]
        verify(packet[start:end], source, destination)
    except Drop as drop:
        return drop.reason.name
    return None


@dataclass
class FakeDevice:
    """A device that records what is written to it and gives what it is told to; it takes `room` frames a write."""

    name: str = "fake"
    mtu: int = 1500
    offload: int = 0
    room: int = 1 << 20

    def __post_init__(self) -> None:
        self.written: list[bytes] = []
        self.times: list[int] = []
        self.arriving: list[bytes] = []
        self.failure: OSError | None = None
        self.closed = False

    def read(self, burst: Burst, now: int) -> int:
        count = 0
        while self.arriving and burst.append(self.arriving[0]):
            del self.arriving[0]
            count += 1
        if not count and self.failure is not None:
            raise self.failure
        return count

    def write(self, burst: Burst, now: int) -> int:
        taken = contents(burst)[: self.room]
        self.written += taken
        self.times += [now] * len(taken)
        return len(taken)

    def next_deadline(self) -> int | None:
        return None

    def fileno(self) -> int:
        return 77

    def close(self) -> None:
        self.closed = True

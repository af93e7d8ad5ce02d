"""Any bytes whatever from the device: only `Drop` leaves, and memory stays bounded."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ip_host import (
    HOST4,
    HOST6,
    PEER4,
    PEER6,
    SECOND,
    Host,
    icmpv4_packet,
    icmpv6_packet,
    ipv4_packet,
    ipv6_packet,
)
from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6
from ustack.drops import Drop
from ustack.ip import icmp
from ustack.ip.icmp_errors import IcmpErrorKind
from ustack.wire import icmpv4, ipv6_ext
from ustack.wire.checksum import internet_checksum

LIMITS = {"reassembly_limit_bytes": 50_000, "reassembly_limit_source_bytes": 20_000, "path_mtu_entries": 8}


def feed(host: Host, frame: bytes) -> None:
    """What a stack does with a frame that no transport wants."""
    for interface in (host.tun, host.layer.loopback):
        try:
            packet = host.receive(frame, interface)
            if packet is None:
                continue
            assert packet.version in (4, 6)
            assert len(packet.header) + len(packet.payload) <= max(len(frame), 65575)
            for kind in IcmpErrorKind:
                host.layer.icmp_error(kind, packet, host.now)
            if packet.protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6):
                error = icmp.receive(host.layer, packet, host.now)
                if error is not None and error.mtu is not None:
                    host.layer.path_mtu.learn(error.quoted.destination, error.mtu, host.now)
        except Drop as drop:
            host.layer.counters[drop.reason] += 1
    assert host.layer.reassembly.charged <= 50_000
    assert len(host.layer.path_mtu) <= 8
    host.tun.outgoing.clear()
    host.layer.loopback.outgoing.clear()


def settle(host: Host) -> None:
    host.layer.advance(host.now + 100 * SECOND)
    assert (len(host.layer.reassembly), host.layer.reassembly.charged) == (0, 0)


@given(st.lists(st.binary(max_size=120), max_size=10))
@settings(max_examples=300)
def test_random_bytes_only_drop(frames: list[bytes]) -> None:
    host = Host(**LIMITS)
    for frame in frames:
        feed(host, frame)
    settle(host)


@given(st.sampled_from((4, 6)), st.lists(st.binary(max_size=120), max_size=10))
@settings(max_examples=300)
def test_random_bytes_behind_right_addresses_only_drop(version: int, frames: list[bytes]) -> None:
    host = Host(**LIMITS)
    for frame in frames:
        protocol = frame[0] if frame else 0
        feed(host, ipv4_packet(frame, protocol) if version == 4 else ipv6_packet(frame, protocol))
    settle(host)


OWN4 = ipv4_packet(bytes(40), 17, source=HOST4, destination=PEER4)
OWN6 = ipv6_packet(bytes(40), 17, source=HOST6, destination=PEER6)
CHAIN = (
    ipv6_ext.build_hop_by_hop(60, [(5, b"\0\0"), (1, b"")])
    + ipv6_ext.build_destination_options(43, [(0x1E, b"abc")])
    + ipv6_ext.build_routing(44, 2, 0, bytes(20))
    + ipv6_ext.build_fragment(58, 0, True, 5)
)
SEEDS = [
    ipv4_packet(),
    ipv4_packet(options=bytes((7, 11, 4)) + bytes(8) + bytes((68, 8, 5, 0)) + bytes(4) + b"\x01"),
    ipv4_packet(bytes(64), more_fragments=True, identification=3),
    ipv4_packet(bytes(64), fragment_offset=64, identification=3),
    icmpv4_packet(icmpv4.build_echo_request(1, 2, b"data"), options=bytes((7, 7, 4)) + bytes(4) + b"\0"),
    icmpv4_packet(icmpv4.build_destination_unreachable(3, OWN4)),
    icmpv4_packet(icmpv4.build_destination_unreachable(4, OWN4, 600)),
    icmpv4_packet(icmpv4.build_time_exceeded(0, OWN4)),
    ipv6_packet(),
    ipv6_packet(CHAIN + bytes(64), 0),
    ipv6_packet(ipv6_ext.build_fragment(17, 64, False, 5) + bytes(20), 44),
    ipv6_packet(ipv6_ext.build_fragment(58, 0, False, 5) + bytes(20), 44),
    icmpv6_packet(128, body=b"data"),
    icmpv6_packet(1, 4, body=OWN6),
    icmpv6_packet(2, 0, rest=(1400).to_bytes(4, "big"), body=OWN6),
    icmpv6_packet(3, 1, body=ipv6_packet(CHAIN + bytes(30), 0, source=HOST6, destination=PEER6)),
]


@st.composite
def mutated(draw: Any) -> bytes:
    """A valid packet with bytes changed, cut, repeated or put in; an IPv4 header may get its checksum again."""
    packet = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, max(len(packet) - 1, 0)))
        what = draw(st.sampled_from(("set", "flip", "cut", "insert", "repeat")))
        if what == "set" and packet:
            packet[place] = draw(st.sampled_from((0, 1, 4, 6, 8, 0x7F, 0x80, 0xFF)))
        elif what == "flip" and packet:
            packet[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del packet[place:]
        elif what == "insert":
            packet[place:place] = draw(st.binary(max_size=8))
        else:
            packet[place:place] = packet[place : place + 16]
    if draw(st.booleans()):
        repair(packet)
    return bytes(packet)


def repair(packet: bytearray) -> None:
    """Make lengths and the header checksum right, so that what follows is looked at."""
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
    elif len(packet) >= 20 and packet[0] >> 4 == 4:
        packet[2:4] = len(packet).to_bytes(2, "big")
        packet[10:12] = bytes(2)
        length = max((packet[0] & 15) * 4, 20)
        packet[10:12] = internet_checksum(bytes(packet[:length])).to_bytes(2, "big")


@given(st.lists(mutated(), min_size=1, max_size=12))
@settings(max_examples=500)
def test_mutated_packets_only_drop(frames: list[bytes]) -> None:
    host = Host(**LIMITS)
    for frame in frames:
        feed(host, frame)
    settle(host)


@given(st.lists(mutated(), min_size=1, max_size=8))
@settings(max_examples=50)
def test_the_same_input_gives_the_same_output(frames: list[bytes]) -> None:
    outputs = []
    for _ in range(2):
        host, sent = Host(**LIMITS), []
        for frame in frames:
            try:
                packet = host.receive(frame)
                if packet is not None:
                    host.layer.icmp_error(IcmpErrorKind.PORT_UNREACHABLE, packet, host.now)
            except Drop as drop:
                sent.append(str(drop).encode())
            sent += host.sent()
        host.layer.advance(host.now + 100 * SECOND)
        outputs.append(sent + host.sent())
    assert outputs[0] == outputs[1]


def test_a_thousand_nested_fragment_headers_do_not_exhaust_the_stack() -> None:
    host = Host()
    atomic = ipv6_ext.build_fragment(44, 0, False, 1)
    feed(host, ipv6_packet(atomic * 1000 + bytes(8), 44))
    inner = atomic * 100 + bytes(8)
    for offset in range(0, len(inner), 400):
        more = offset + 400 < len(inner)
        feed(host, ipv6_packet(ipv6_ext.build_fragment(44, offset, more, 9) + inner[offset : offset + 400], 44))
    settle(host)

"""native/src/packet.c against the parsers of ustack.wire, on valid, mutated and cut packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.octets import exact, naive_sum
from ustack.drops import Drop
from ustack.native import ffi, lib
from ustack.wire import ipv4, ipv6, tcp, tcp_options, udp

OK, NOT_SIMPLE, BAD = lib.PACKET_OK, lib.PACKET_NOT_SIMPLE, lib.PACKET_BAD
TRUSTED = [lib.FRAME_NEEDS_CHECKSUM, lib.FRAME_DATA_VALID]
ADDRESSES = {
    4: (b"\x0a\x09\x00\x01", b"\x0a\x09\x00\x02"),
    6: (b"\xfd" + bytes(14) + b"\x01", b"\xfd" + bytes(14) + b"\x02"),
}
TIMESTAMPS = tcp_options.build_timestamps(0x01020304, 0xF1F2F3F4)


@dataclass(slots=True)
class Described:
    """What packet_describe says of a frame."""

    verdict: int
    packet: Any
    frame: Any

    def payload(self) -> bytes:
        return bytes(ffi.buffer(self.packet.payload, self.packet.payload_length))


def describe(frame: bytes, flags: int = 0, gso_size: int = 0) -> Described:
    packet = ffi.new("struct packet *")
    copy = exact(frame)
    return Described(lib.packet_describe(copy, len(frame), flags, gso_size, packet), packet, copy)


def ip_packet(version: int, protocol: int, transport: bytes, ttl: int = 64, traffic_class: int = 0) -> bytes:
    source, destination = ADDRESSES[version]
    if version == 4:
        header = ipv4.build(source, destination, protocol, len(transport), ttl=ttl, traffic_class=traffic_class)
    else:
        header = ipv6.build(source, destination, protocol, len(transport), hop_limit=ttl, traffic_class=traffic_class)
    return header + transport


def tcp_packet(version: int, payload: bytes = b"", options: bytes = b"", flags: int = tcp.ACK, **ip: int) -> bytes:
    pseudo = ADDRESSES[version]
    header = tcp.build(1234, 80, 0xFFFFFFF0, 7, flags, 500, options=options, payload=payload, pseudo=pseudo)
    return ip_packet(version, 6, header + payload, **ip)


def udp_packet(version: int, payload: bytes = b"", checksum: bool = True) -> bytes:
    header = udp.build(*ADDRESSES[version], 5353, 53, payload, checksum)
    return ip_packet(version, 17, header + payload)


def repaired(frame: bytes) -> bytes:
    """With the right IPv4 header checksum, so that other faults are reached."""
    if len(frame) < 20 or frame[0] >> 4 != 4:
        return frame
    checksum = 0xFFFF - naive_sum(frame[:10] + frame[12:20])
    return frame[:10] + checksum.to_bytes(2, "big") + frame[12:]


@dataclass(slots=True)
class Expected:
    """What the parsers of ustack.wire say of a simple packet."""

    source: bytes
    destination: bytes
    ports: tuple[int, int]
    payload: bytes
    numbers: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    """seq, ack, flags, window, reserved"""
    options: bytes = b""


def oracle_ip(frame: bytes) -> tuple[bytes, bytes, int, bytes] | None:
    """Source, destination, protocol and transport bytes; None if it is not simple.  Raises Drop."""
    if frame[:1] and frame[0] >> 4 == 6:
        six = ipv6.parse(frame)
        transport = frame[40 : 40 + six.payload_length]
        return (six.source, six.destination, six.next_header, transport) if six.hop_limit else None
    four = ipv4.parse(frame)
    if four.options or four.is_fragment or not four.ttl or frame[6] & 0x80:
        return None
    return four.source, four.destination, four.protocol, frame[20 : four.total_length]


def oracle(frame: bytes, trusted: bool) -> Expected | None:
    """The fields of a simple packet; None if it is not simple.  Raises Drop."""
    found = oracle_ip(frame)
    if found is None:
        return None
    source, destination, protocol, transport = found
    if protocol == 17:
        datagram = udp.parse(transport)
        if datagram.length != len(transport):
            return None
        if not trusted or not datagram.checksum:
            udp.verify(transport, source, destination)
        return Expected(source, destination, (datagram.source_port, datagram.destination_port), transport[8:])
    if protocol != 6:
        return None
    segment = tcp.parse(transport)
    if not trusted:
        tcp.verify(transport, source, destination)
    ports = (segment.source_port, segment.destination_port)
    reserved = segment.reserved << 1 | segment.flags >> 8
    numbers = (segment.seq, segment.ack, segment.flags & 0xFF, segment.window, reserved)
    return Expected(source, destination, ports, transport[segment.data_offset :], numbers, segment.options)


def parsed_options(options: bytes) -> tcp_options.TcpOptions | None:
    """None if one has an illegal length."""
    try:
        return tcp_options.parse_options(options)
    except Drop:
        return None


def check_options(described: Described, options: bytes) -> None:
    """Timestamps agree, and `other_options` is set whenever Python would find anything else."""
    packet, parsed = described.packet, parsed_options(options)
    if parsed is None or parsed != tcp_options.TcpOptions(timestamps=parsed.timestamps):
        assert packet.other_options
    elif not packet.other_options:
        expected = (packet.ts_value, packet.ts_echo) if packet.has_timestamps else None
        assert parsed.timestamps == expected


def check_fields(described: Described, expected: Expected) -> None:
    packet = described.packet
    length = packet.address_length
    assert length == len(expected.source)
    assert packet.version == (4 if length == 4 else 6)
    assert bytes(ffi.buffer(packet.source, length)) == expected.source
    assert bytes(ffi.buffer(packet.destination, length)) == expected.destination
    assert (packet.source_port, packet.destination_port) == expected.ports
    assert (packet.seq, packet.ack, packet.flags, packet.window, packet.reserved) == expected.numbers
    assert described.payload() == expected.payload
    assert packet.payload - described.frame == packet.header_length
    check_options(described, expected.options)


def check(frame: bytes, flags: int = 0) -> int:
    """Compare with the oracle, and return the verdict: OK means what Python means, BAD is a Drop in Python."""
    described = describe(frame, flags)
    try:
        expected = oracle(frame, flags in TRUSTED)
    except Drop:
        assert described.verdict != OK
        return described.verdict
    if described.verdict == OK:
        assert expected is not None
        check_fields(described, expected)
    elif described.verdict == BAD:
        assert expected is not None
        assert parsed_options(expected.options) is None
    else:
        assert expected is None
    return described.verdict


payloads = st.binary(max_size=60)
versions = st.sampled_from([4, 6])
option_fields = st.sampled_from(
    [
        b"",
        TIMESTAMPS,
        TIMESTAMPS * 2,
        TIMESTAMPS + b"\x01\x01\x05\x0a" + bytes(8),
        b"\x01" * 40,
        b"\x02\x04\x05\xb4",
        b"\0" * 8,
    ]
) | st.binary(max_size=10).map(lambda words: words * 4)
packets = st.one_of(
    st.builds(tcp_packet, versions, payloads, option_fields, st.integers(0, 255)),
    st.builds(udp_packet, versions, payloads, st.booleans()),
    st.builds(ip_packet, versions, st.integers(0, 255), payloads),
)
mutations = st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=3)


@given(packets)
def test_packets_are_described_as_python_parses_them(frame: bytes) -> None:
    check(frame)


@settings(max_examples=500)
@given(packets, mutations, st.sampled_from([0, *TRUSTED]), st.integers(0, 130), st.binary(max_size=4))
def test_mutated_and_cut_packets_are_judged_as_python_judges_them(
    frame: bytes, changes: list[tuple[int, int]], flags: int, length: int, padding: bytes
) -> None:
    changed = bytearray(frame)
    for place, value in changes:
        if place < len(changed):
            changed[place] = value
    check(repaired(bytes(changed[:length]) + padding), flags)


@given(st.binary(max_size=120), st.sampled_from([0, *TRUSTED]))
def test_any_bytes_are_judged_as_python_judges_them(frame: bytes, flags: int) -> None:
    check(frame, flags)
    check(b"\x45" + frame, flags)
    check(repaired(b"\x45" + frame), flags)
    check(b"\x60" + frame, flags)


@pytest.mark.parametrize("version", [4, 6])
def test_every_truncation_of_a_packet_is_bad(version: int) -> None:
    for frame in (tcp_packet(version, b"payload", TIMESTAMPS), udp_packet(version, b"payload")):
        assert check(frame) == OK
        assert all(check(frame[:length]) == BAD for length in range(len(frame)))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("make", [tcp_packet, udp_packet])
def test_every_wrong_bit_is_noticed_unless_the_device_vouches(version: int, make: Any) -> None:
    frame = make(version, b"payload")
    transport = 20 if version == 4 else 40
    checksum = transport + (16 if make is tcp_packet else 6)
    for bit in range(transport * 8, len(frame) * 8):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        assert check(bytes(changed)) != OK
    changed = bytearray(frame)
    changed[checksum] ^= 0x55
    assert [check(bytes(changed), flags) for flags in (0, *TRUSTED)] == [BAD, OK, OK]


@pytest.mark.parametrize("version", [4, 6])
def test_all_fields_of_a_segment_with_timestamps(version: int) -> None:
    described = describe(tcp_packet(version, b"abc", TIMESTAMPS, tcp.ACK | tcp.PSH, ttl=3, traffic_class=0xB9))
    packet = described.packet
    assert described.verdict == OK
    assert (packet.version, packet.protocol, packet.ttl, packet.traffic_class) == (version, 6, 3, 0xB9)
    assert (packet.has_timestamps, packet.ts_value, packet.ts_echo) == (1, 0x01020304, 0xF1F2F3F4)
    assert (packet.other_options, packet.gso_size) == (0, 0)
    assert packet.header_length == {4: 20, 6: 40}[version] + 32
    assert described.payload() == b"abc"


@pytest.mark.parametrize(
    ("options", "verdict", "timestamps", "other"),
    [
        (b"", OK, 0, 0),
        (b"\x01\x01\x01\x00", OK, 0, 0),
        (b"\x00\xff\xff\xff", OK, 0, 0),
        (TIMESTAMPS, OK, 1, 0),
        (b"\x08\x0a" + bytes(8) + b"\x01\x01", OK, 1, 0),
        (b"\x08\x0a" + bytes(8) + b"\x00\x00", OK, 1, 0),
        (TIMESTAMPS + TIMESTAMPS, OK, 1, 1),
        (b"\x02\x04\x05\xb4", OK, 0, 1),
        (TIMESTAMPS + b"\x01\x01\x05\x0a" + bytes(8), OK, 1, 1),
        (b"\xfe\x04\x00\x00", OK, 0, 1),
        (b"\x01\x01\x01\x08", BAD, 0, 0),
        (b"\x08\x0a\x00\x00", BAD, 0, 0),
        (b"\x08\x04\x00\x00", BAD, 0, 0),
        (b"\xfe\x00\x00\x00", BAD, 0, 0),
        (b"\xfe\x01\x00\x00", BAD, 0, 0),
        (b"\xfe\x05\x00\x00", BAD, 0, 0),
    ],
)
def test_options_of_a_segment(options: bytes, verdict: int, timestamps: int, other: int) -> None:
    described = describe(tcp_packet(4, b"x", options))
    assert described.verdict == verdict
    if verdict == OK:
        assert (described.packet.has_timestamps, described.packet.other_options) == (timestamps, other)


def test_ipv4_options_fragments_and_the_reserved_flag_are_not_simple() -> None:
    source, destination = ADDRESSES[4]
    data = udp.build(source, destination, 1, 2, b"abcdefgh") + b"abcdefgh"
    variants: list[dict[str, Any]] = [
        {"options": b"\x01\x01\x01\x00"},
        {"more_fragments": True},
        {"fragment_offset": 8},
    ]
    assert check(ipv4.build(source, destination, 17, len(data), dont_fragment=True) + data) == OK
    for variant in variants:
        assert check(ipv4.build(source, destination, 17, len(data), **variant) + data) == NOT_SIMPLE
    reserved = bytearray(udp_packet(4, b"x"))
    reserved[6] |= 0x80
    assert check(repaired(bytes(reserved))) == NOT_SIMPLE


@pytest.mark.parametrize("version", [4, 6])
def test_other_protocols_and_a_dead_ttl_are_not_simple(version: int) -> None:
    for protocol in (0, 1, 43, 44, 50, 58, 60, 132):
        assert check(ip_packet(version, protocol, bytes(40))) == NOT_SIMPLE
    assert check(tcp_packet(version, ttl=0)) == NOT_SIMPLE
    assert check(tcp_packet(version, ttl=1)) == OK


def test_udp_checksum_zero_is_none_over_ipv4_and_wrong_over_ipv6() -> None:
    assert check(udp_packet(4, b"abc", checksum=False)) == OK
    assert check(udp_packet(6, b"abc", checksum=False)) == BAD
    for flags in TRUSTED:
        assert check(udp_packet(6, b"abc", checksum=False), flags) == BAD


@pytest.mark.parametrize(
    ("length", "verdict"), [(0, BAD), (7, BAD), (8, NOT_SIMPLE), (10, NOT_SIMPLE), (11, OK), (12, BAD)]
)
def test_udp_length_that_differs_from_the_packet(length: int, verdict: int) -> None:
    frame = bytearray(udp_packet(4, b"abc", checksum=False))
    frame[24:26] = length.to_bytes(2, "big")
    assert check(bytes(frame)) == verdict


@pytest.mark.parametrize("version", [4, 6])
def test_bytes_beyond_the_ip_length_are_ignored(version: int) -> None:
    described = describe(tcp_packet(version, b"abc") + bytes(20))
    assert described.verdict == OK
    assert described.payload() == b"abc"


@pytest.mark.parametrize(("gso_size", "expected"), [(0, 0), (1, 1), (2, 2), (3, 0), (1448, 0)])
def test_a_super_segment_is_longer_than_its_segments(gso_size: int, expected: int) -> None:
    assert describe(tcp_packet(4, b"abc"), gso_size=gso_size).packet.gso_size == expected


@pytest.mark.parametrize("version", [4, 6])
def test_the_longest_packet(version: int) -> None:
    headers = {4: 40, 6: 60}[version]
    described = describe(tcp_packet(version, bytes(65535 - headers)))
    assert described.verdict == OK
    assert described.packet.payload_length == 65535 - headers

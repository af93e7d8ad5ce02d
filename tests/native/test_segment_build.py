"""native/src/segment.c: what it builds is taken apart by scapy, and summed by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from tests.support.octets import exact, naive_sum, pseudo_header
from ustack.native import ffi, lib

FIN, SYN, PSH, ACK, URG, CWR = 1, 2, 8, 16, 32, 128
CHECKSUM, TSO = lib.OFFLOAD_CHECKSUM, lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6
LOCAL = {4: bytes([10, 9, 0, 2]), 6: b"\xfd" + bytes(14) + b"\x02"}
REMOTE = {4: bytes([10, 9, 0, 1]), 6: b"\xfd" + bytes(14) + b"\x01"}
MODULUS = 2**32


def new_burst(offload: int = 0, capacity: int = 1 << 20) -> Any:
    burst = ffi.gc(lib.burst_new(capacity), lib.burst_free)
    burst.offload = offload
    return burst


def new_tcb(version: int, data: bytes = b"", *, head: int = 0, ring_seq: int = 1000, mss: int = 100) -> Any:
    """A TCB whose send ring holds `data`, which may lie around the ring's end."""
    tcb = ffi.gc(lib.tcb_new(), lib.tcb_free)
    tcb.version, tcb.ttl, tcb.traffic_class, tcb.flow_label = version, 63, 0xB9, 0xABCDE
    ffi.memmove(tcb.local_address, LOCAL[version], len(LOCAL[version]))
    ffi.memmove(tcb.remote_address, REMOTE[version], len(REMOTE[version]))
    tcb.local_port, tcb.remote_port, tcb.ip_id, tcb.dont_fragment = 80, 1234, 0xFFFE, 1
    tcb.snd_mss, tcb.snd_ring_seq = mss, ring_seq
    ring = ffi.addressof(tcb, "snd_ring")
    lib.ring_reserve(ring, max(len(data), 1), 0)
    ring.head = head % ring.capacity
    assert lib.ring_write(ring, exact(data), len(data)) == len(data)
    return tcb


@dataclass(slots=True)
class Segment:
    """One frame, parsed by scapy, with its offload fields."""

    ip: Any
    tcp: Any
    payload: bytes
    frame: Any
    raw: bytes


def segments(burst: Any) -> list[Segment]:
    found = []
    for index in range(burst.count):
        frame = burst.frames[index]
        raw = bytes(ffi.buffer(burst.data + frame.offset, frame.length))
        ip = IP(raw) if raw[0] >> 4 == 4 else IPv6(raw)
        tcp = ip[TCP]
        header = (20 if raw[0] >> 4 == 4 else 40) + tcp.dataofs * 4
        found.append(Segment(ip, tcp, raw[header:], frame, raw))
    return found


def build(burst: Any, tcb: Any, seq: int, length: int, flags: int = ACK, **fields: Any) -> int:
    options = fields.get("options", b"")
    result: int = lib.segment_build(
        burst, tcb, seq, fields.get("ack", 77), flags, fields.get("window", 5000), fields.get("urgent", 0),
        exact(options), len(options), length,
    )  # fmt: skip
    return result


def transport_sum(segment: Segment, version: int) -> int:
    """The sum over pseudo-header and segment as it is: all ones where the checksum is complete."""
    transport = segment.raw[20 if version == 4 else 40 :]
    pseudo = pseudo_header(LOCAL[version], REMOTE[version], 6, len(transport))
    return naive_sum(pseudo + transport)


def check_ip(segment: Segment, version: int, ip_id: int) -> None:
    ip = segment.ip
    if version == 4:
        assert naive_sum(segment.raw[:20]) == 0xFFFF
        assert (ip.version, ip.ihl, ip.len, ip.ttl, ip.tos) == (4, 5, len(segment.raw), 63, 0xB9)
        assert (ip.id, str(ip.flags), ip.frag, ip.proto) == (ip_id % 65536, "DF", 0, 6)
        assert (ip.src, ip.dst) == ("10.9.0.2", "10.9.0.1")
    else:
        assert (ip.version, ip.plen, ip.hlim, ip.tc, ip.fl) == (6, len(segment.raw) - 40, 63, 0xB9, 0xABCDE)
        assert (ip.nh, ip.src, ip.dst) == (6, "fd00::2", "fd00::1")


def check_checksum(segment: Segment, version: int, offload: int) -> None:
    if not offload & CHECKSUM:
        assert (segment.frame.flags, segment.frame.checksum_start) == (0, 0)
        assert transport_sum(segment, version) == 0xFFFF
        return
    start = 20 if version == 4 else 40
    assert segment.frame.flags == lib.FRAME_NEEDS_CHECKSUM
    assert (segment.frame.checksum_start, segment.frame.checksum_offset) == (start, 16)
    expected = naive_sum(pseudo_header(LOCAL[version], REMOTE[version], 6, len(segment.raw) - start))
    assert segment.tcp.chksum == expected


versions = st.sampled_from([4, 6])
offloads = st.sampled_from([0, CHECKSUM, TSO])
option_bytes = st.sampled_from([b"", b"\x01\x01\x08\x0a" + bytes(range(8)), b"\x01" * 40])


@given(
    version=versions, offload=offloads, data=st.binary(max_size=1500), head=st.integers(0, 4095),
    start=st.integers(0, 1500), mss=st.integers(1, 600), flags=st.integers(0, 255), options=option_bytes,
    ring_seq=st.sampled_from([0, 1000, MODULUS - 1, MODULUS - 700]), urgent=st.integers(0, 1600),
)  # fmt: skip
def test_segments_carry_the_bytes_of_the_ring_in_order(
    version: int, offload: int, data: bytes, head: int, start: int, mss: int, flags: int, options: bytes,
    ring_seq: int, urgent: int,
) -> None:  # fmt: skip
    start = min(start, len(data))
    tcb = new_tcb(version, data, head=head, ring_seq=ring_seq, mss=mss)
    burst = new_burst(offload)
    seq = (ring_seq + start - bool(flags & SYN)) % MODULUS
    payload = data[start:]
    wire_segments = max(1, math.ceil(len(payload) / mss))
    result = build(burst, tcb, seq, len(payload), flags, options=options, urgent=urgent)
    if result == -1:
        assert wire_segments > lib.BURST_FRAMES
        assert (burst.count, burst.used, tcb.segments_sent, tcb.ip_id) == (0, 0, 0, 0xFFFE)
        return
    found = segments(burst)
    assert b"".join(segment.payload for segment in found) == payload
    assert len(found) == (1 if offload == TSO and not flags & URG else wire_segments)
    assert (tcb.segments_sent, tcb.ip_id) == (wire_segments, (0xFFFE + wire_segments) % 65536)
    assert tcb.last_ack_sent == (77 if flags & ACK else 0)
    offset = 0
    for segment in found:
        check_ip(segment, version, 0xFFFE + offset // mss)
        check_checksum(segment, version, offload)
        tcp = segment.tcp
        assert (tcp.sport, tcp.dport, tcp.ack, tcp.window, tcp.reserved) == (80, 1234, 77, 5000, 0)
        assert tcp.seq == (seq + offset + (offset > 0 and bool(flags & SYN))) % MODULUS
        assert segment.raw[-len(segment.payload) - len(options) or None :][: len(options)] == options
        expected_flags = flags
        if offset > 0:
            expected_flags &= ~(SYN | CWR)
        if offset + len(segment.payload) < len(payload):
            expected_flags &= ~(FIN | PSH)
        if offset and urgent <= offset:
            expected_flags &= ~URG
        assert int(tcp.flags) == expected_flags
        assert tcp.urgptr == (urgent - offset if expected_flags & URG else 0)
        offset += len(segment.payload)


@pytest.mark.parametrize("offload", [0, CHECKSUM])
def test_payload_around_the_end_of_the_ring_is_summed_wherever_it_breaks(offload: int) -> None:
    data = bytes(range(1, 42))
    for straight in range(42):
        burst, tcb = new_burst(offload), new_tcb(4, data, head=512 - straight)
        assert build(burst, tcb, 1000, 41) == 0
        (segment,) = segments(burst)
        assert segment.payload == data
        check_checksum(segment, 4, offload)


@pytest.mark.parametrize(
    ("urgent", "pointers"),
    [
        (1, [1, None, None]),
        (99, [99, None, None]),
        (100, [100, None, None]),
        (101, [101, 1, None]),
        (200, [200, 100, None]),
        (201, [201, 101, 1]),
        (65535, [65535, 65435, 65335]),
    ],
)
def test_the_urgent_pointer_is_counted_from_each_segment(urgent: int, pointers: list[int | None]) -> None:
    burst = new_burst(TSO)
    assert build(burst, new_tcb(4, bytes(250)), 1000, 250, ACK | URG, urgent=urgent) == 0
    found = [segment.tcp for segment in segments(burst)]
    assert [tcp.urgptr if int(tcp.flags) & URG else None for tcp in found] == pointers
    assert all(tcp.urgptr == 0 for tcp in found if not int(tcp.flags) & URG)


@pytest.mark.parametrize("version", [4, 6])
def test_a_super_segment_is_one_frame_with_its_gso_fields(version: int) -> None:
    burst = new_burst(TSO)
    assert build(burst, new_tcb(version, bytes(60_000), mss=1448), 1000, 60_000, options=b"\x01" * 12) == 0
    (segment,) = segments(burst)
    headers = {4: 52, 6: 72}[version]
    assert segment.frame.gso_type == {4: lib.GSO_TCPV4, 6: lib.GSO_TCPV6}[version]
    assert (segment.frame.gso_size, segment.frame.header_length) == (1448, headers)
    assert segment.frame.length == headers + 60_000


def test_a_segment_of_one_mss_is_no_gso_frame() -> None:
    burst = new_burst(TSO)
    build(burst, new_tcb(4, bytes(100), mss=100), 1000, 100)
    (segment,) = segments(burst)
    assert (segment.frame.gso_type, segment.frame.gso_size, segment.frame.header_length) == (0, 0, 0)


@pytest.mark.parametrize(("version", "offload"), [(4, lib.OFFLOAD_TSO6), (6, lib.OFFLOAD_TSO4), (4, 0), (6, 0)])
def test_without_tso_for_the_family_a_super_segment_is_cut(version: int, offload: int) -> None:
    burst = new_burst(CHECKSUM | offload)
    assert build(burst, new_tcb(version, bytes(250)), 1000, 250) == 0
    assert [len(segment.payload) for segment in segments(burst)] == [100, 100, 50]


@pytest.mark.parametrize("version", [4, 6])
def test_more_than_64_kib_is_several_super_segments_cut_at_the_mss(version: int) -> None:
    burst = new_burst(TSO)
    data = bytes(index % 251 for index in range(150_000))
    tcb = new_tcb(version, data, mss=1448)
    assert build(burst, tcb, 1000, len(data), ACK | PSH) == 0
    found = segments(burst)
    assert len(found) == 3
    assert all(len(segment.payload) % 1448 == 0 for segment in found[:-1])
    assert b"".join(segment.payload for segment in found) == data
    assert [int(segment.tcp.flags) for segment in found] == [ACK, ACK, ACK | PSH]
    assert tcb.segments_sent == math.ceil(150_000 / 1448)
    if version == 4:
        assert [segment.ip.id for segment in found] == [0xFFFE, 43, 88]


def test_an_mss_of_zero_or_beyond_64_kib_is_what_goes_into_a_frame() -> None:
    for mss in (0, 2**32 - 1):
        burst = new_burst()
        assert build(burst, new_tcb(4, bytes(70_000), mss=mss), 1000, 70_000) == 0
        assert [segment.frame.length for segment in segments(burst)] == [65535, 70_000 - 65495 + 40]


@pytest.mark.parametrize("length", [1, 51, 2**32 - 1])
@pytest.mark.parametrize("offload", [0, TSO])
def test_payload_that_is_not_in_the_ring_is_refused(length: int, offload: int) -> None:
    burst, tcb = new_burst(offload), new_tcb(4, bytes(50))
    assert build(burst, tcb, 1000 + 50, length) == -2
    assert build(burst, tcb, 999, length) == -2
    assert build(burst, tcb, 1000, max(length, 51)) == -2
    assert (burst.count, tcb.segments_sent) == (0, 0)
    assert build(burst, tcb, 5, 0) == 0


@pytest.mark.parametrize("options", [b"\x01", b"\x01" * 41, b"\x01" * 44, b"\x01" * 6])
def test_options_that_do_not_go_into_a_header_are_refused(options: bytes) -> None:
    burst, tcb = new_burst(), new_tcb(4)
    assert build(burst, tcb, 1000, 0, options=options) == -1
    assert burst.count == 0


def test_nothing_is_written_when_not_all_frames_fit() -> None:
    burst, tcb = new_burst(capacity=0), new_tcb(4, bytes(60_000), mss=100)
    assert build(burst, tcb, 1000, 30_000) == -1
    for _ in range(200):
        lib.burst_reserve(burst, 0)
    assert build(burst, tcb, 1000, 5700) == -1
    assert (burst.count, tcb.ip_id, tcb.segments_sent, tcb.last_ack_sent) == (200, 0xFFFE, 0, 0)
    assert build(burst, tcb, 1000, 5600) == 0
    assert burst.count == lib.BURST_FRAMES


def test_the_flow_label_cannot_leak_into_the_traffic_class() -> None:
    burst, tcb = new_burst(), new_tcb(6)
    tcb.flow_label = 0xFFFFFFFF
    tcb.traffic_class = 0
    build(burst, tcb, 1000, 0)
    (segment,) = segments(burst)
    assert (segment.ip.tc, segment.ip.fl) == (0, 0xFFFFF)


def test_fragmentation_may_be_allowed() -> None:
    burst, tcb = new_burst(), new_tcb(4)
    tcb.dont_fragment = 0
    build(burst, tcb, 1000, 0)
    assert int(segments(burst)[0].ip.flags) == 0

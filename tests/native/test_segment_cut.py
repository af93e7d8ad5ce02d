"""native/src/segment_cut.c: against what segment_build sends without offload, and against scapy."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from tests.support.octets import exact, naive_sum, pseudo_header
from ustack.native import ffi, lib

SOURCE = {4: bytes([10, 9, 0, 2]), 6: b"\xfd" + bytes(14) + b"\x02"}
DESTINATION = {4: bytes([10, 9, 0, 1]), 6: b"\xfd" + bytes(14) + b"\x01"}
HEADERS = {4: 20, 6: 40}


def new_burst(capacity: int = 1 << 20) -> Any:
    return ffi.gc(lib.burst_new(capacity), lib.burst_free)


def cut(frame: bytes, gso_size: int, burst: Any | None = None) -> list[bytes] | int:
    """The segments, or the error."""
    burst = burst or new_burst()
    before = burst.count
    result: int = lib.segment_cut(burst, exact(frame), len(frame), gso_size)
    if result < 0:
        assert burst.count == before
        return result
    described = [burst.frames[index] for index in range(before, burst.count)]
    assert all((frame.flags, frame.gso_type) == (0, 0) for frame in described)
    return [bytes(ffi.buffer(burst.data + frame.offset, frame.length)) for frame in described]


def ip_layer(version: int, **ipv4: Any) -> Any:
    if version == 4:
        return IP(src="10.9.0.2", dst="10.9.0.1", id=0xFFFE, flags="DF", tos=3, **ipv4)
    return IPv6(src="fd00::2", dst="fd00::1", tc=3, fl=77)


def checked(packet: bytes) -> Any:
    """The packet as scapy sees it; its checksums are right."""
    version = packet[0] >> 4
    parsed = IP(packet) if version == 4 else IPv6(packet)
    header = parsed.ihl * 4 if version == 4 else 40
    protocol = parsed.proto if version == 4 else parsed.nh
    if version == 4:
        assert naive_sum(packet[:header]) == 0xFFFF
        assert parsed.len == len(packet)
    else:
        assert parsed.plen == len(packet) - 40
    pseudo = pseudo_header(SOURCE[version], DESTINATION[version], protocol, len(packet) - header)
    assert naive_sum(pseudo + packet[header:]) == 0xFFFF
    return parsed


def tcb_with(version: int, data: bytes, mss: int) -> Any:
    tcb = ffi.gc(lib.tcb_new(), lib.tcb_free)
    tcb.version, tcb.ttl, tcb.ip_id, tcb.dont_fragment, tcb.flow_label = version, 64, 0xFFFF, 1, 5
    ffi.memmove(tcb.local_address, SOURCE[version], len(SOURCE[version]))
    ffi.memmove(tcb.remote_address, DESTINATION[version], len(DESTINATION[version]))
    tcb.local_port, tcb.remote_port, tcb.snd_mss = 80, 1234, mss
    lib.ring_reserve(ffi.addressof(tcb, "snd_ring"), len(data) + 1, 0)
    lib.ring_write(ffi.addressof(tcb, "snd_ring"), exact(data), len(data))
    return tcb


@given(st.sampled_from([4, 6]), st.binary(min_size=1, max_size=2000), st.integers(10, 700), st.integers(0, 255))
def test_a_super_segment_is_cut_to_what_would_be_sent_without_offload(
    version: int, data: bytes, mss: int, flags: int
) -> None:
    flags &= ~0x22
    sent = []
    for offload in (0, lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6):
        burst = new_burst()
        burst.offload = offload
        arguments = (0xFFFFFF00, 9, flags, 77, 0, exact(b"\x01" * 12), 12, len(data))
        tcb = tcb_with(version, data, mss)
        tcb.snd_ring_seq = 0xFFFFFF00
        assert lib.segment_build(burst, tcb, *arguments) == 0
        frames = [burst.frames[index] for index in range(burst.count)]
        sent.append([bytes(ffi.buffer(burst.data + frame.offset, frame.length)) for frame in frames])
    plain, (whole,) = sent
    assert cut(whole, mss) == plain


@given(st.sampled_from([4, 6]), st.integers(0, 3000), st.integers(1, 1500), st.integers(0, 5))
def test_a_udp_super_segment_is_cut_to_datagrams(version: int, length: int, size: int, extra: int) -> None:
    payload = random.Random(length).randbytes(length)
    frame = bytes(ip_layer(version) / UDP(sport=53, dport=5353) / Raw(payload)) + bytes(extra)
    result = cut(frame, size)
    count = max(1, math.ceil(length / size))
    if count > lib.BURST_FRAMES:
        assert result == -1
        return
    assert isinstance(result, list)
    assert len(result) == count
    header = HEADERS[version] + 8
    assert b"".join(packet[header:] for packet in result) == payload
    for index, parsed in enumerate(map(checked, result)):
        assert (parsed[UDP].sport, parsed[UDP].dport) == (53, 5353)
        assert parsed[UDP].len == min(size, length - index * size) + 8
        assert version == 6 or parsed.id == (0xFFFE + index) % 65536


def test_a_udp_checksum_that_comes_to_zero_is_sent_as_all_ones() -> None:
    for last in range(65536):
        payload = bytes(98) + last.to_bytes(2, "big")
        total = naive_sum(pseudo_header(SOURCE[4], DESTINATION[4], 17, 108) + bytes([0, 53, 20, 233, 0, 108]) + payload)
        if total == 0xFFFF:
            break
    frame = bytes(ip_layer(4) / UDP(sport=53, dport=5353) / Raw(payload))
    (packet,) = cut(frame, 100)  # type: ignore[misc]
    assert packet[26:28] == b"\xff\xff"
    checked(packet)


def test_flags_of_the_first_and_the_last_segment() -> None:
    tcp = TCP(sport=80, dport=1234, seq=0xFFFFFFF0, ack=5, flags="FPACE", options=[("NOP", None)] * 4)
    result = cut(bytes(ip_layer(4) / tcp / Raw(bytes(250))), 100)
    assert isinstance(result, list)
    parsed = [checked(packet)[TCP] for packet in result]
    assert [str(segment.flags) for segment in parsed] == ["AEC", "AE", "FPAE"]
    assert [segment.seq for segment in parsed] == [0xFFFFFFF0, 0x54, 0xB8]


def test_syn_is_on_the_first_segment_and_counts_one() -> None:
    tcp = TCP(sport=80, dport=1234, seq=100, flags="S")
    result = cut(bytes(ip_layer(6) / tcp / Raw(bytes(25))), 10)
    assert isinstance(result, list)
    assert [(str(checked(p)[TCP].flags), checked(p)[TCP].seq) for p in result] == [("S", 100), ("", 111), ("", 121)]


@pytest.mark.parametrize(
    ("urgent", "pointers"),
    [(9, [9, 0, 0]), (10, [10, 0, 0]), (11, [11, 1, 0]), (20, [20, 10, 0]), (65535, [65535, 65525, 65515])],
)
def test_the_urgent_pointer_is_counted_from_each_segment(urgent: int, pointers: list[int]) -> None:
    tcp = TCP(sport=80, dport=1234, seq=100, flags="UA", urgptr=urgent)
    result = cut(bytes(ip_layer(4) / tcp / Raw(bytes(30))), 10)
    assert isinstance(result, list)
    parsed = [checked(packet)[TCP] for packet in result]
    assert [segment.urgptr for segment in parsed] == pointers
    assert [str(segment.flags) for segment in parsed] == ["AU" if pointer else "A" for pointer in pointers]


def test_ipv4_options_are_on_every_segment() -> None:
    frame = bytes(ip_layer(4, options=[b"\x94\x04\x00\x00"]) / TCP(sport=1, dport=2, flags="A") / Raw(bytes(30)))
    result = cut(frame, 20)
    assert isinstance(result, list)
    assert [packet[20:24] for packet in result] == [b"\x94\x04\x00\x00"] * 2
    assert [checked(packet).ihl for packet in result] == [6, 6]


def test_a_segment_without_data_stays_one() -> None:
    (packet,) = cut(bytes(ip_layer(6) / TCP(sport=80, dport=1234, flags="FA")), 100)  # type: ignore[misc]
    assert str(checked(packet)[TCP].flags) == "FA"


@pytest.mark.parametrize("version", [4, 6])
def test_every_truncation_is_malformed(version: int) -> None:
    frame = bytes(ip_layer(version) / TCP(sport=80, dport=1234) / Raw(b"payload"))
    assert all(cut(frame[:length], 3) == -2 for length in range(len(frame)))


def malformed() -> dict[str, bytes]:
    tcp4 = bytes(ip_layer(4) / TCP(sport=80, dport=1234) / Raw(bytes(50)))
    tcp6 = bytes(ip_layer(6) / TCP(sport=80, dport=1234) / Raw(bytes(50)))

    def changed(frame: bytes, place: int, value: int) -> bytes:
        return frame[:place] + bytes([value]) + frame[place + 1 :]

    return {
        "version": changed(tcp4, 0, 0x55),
        "header length": changed(tcp4, 0, 0x44),
        "header length over the packet": changed(tcp4[:20], 0, 0x4F),
        "total length under the header": changed(changed(tcp4, 2, 0), 3, 19),
        "more fragments": changed(tcp4, 6, 0x20),
        "fragment offset": changed(tcp4, 7, 1),
        "IPv4 protocol": changed(tcp4, 9, 1),
        "IPv6 extension header": changed(tcp6, 6, 0),
        "data offset under 20": changed(tcp4, 32, 0x40),
        "data offset over the segment": changed(tcp6[:65][:4] + b"\x00\x19" + tcp6[6:65], 52, 0xF0),
    }


@pytest.mark.parametrize("name", malformed())
def test_malformed_frames_are_refused(name: str) -> None:
    assert cut(malformed()[name], 10) == -2


def test_a_size_of_zero_is_refused() -> None:
    assert cut(bytes(ip_layer(4) / TCP() / Raw(bytes(10))), 0) == -2


def test_all_segments_fit_or_none() -> None:
    frame = bytes(ip_layer(4) / TCP(sport=1, dport=2) / Raw(bytes(1000)))
    burst = new_burst()
    for _ in range(250):
        lib.burst_reserve(burst, 0)
    assert cut(frame, 100, burst) == -1
    assert len(cut(frame, 200, burst)) == 5  # type: ignore[arg-type]
    small = new_burst(0)
    lib.burst_reserve(small, 64_460)
    assert cut(frame, 500, small) == -1
    assert len(cut(frame, 1000, small)) == 1  # type: ignore[arg-type]


@given(st.binary(max_size=200), st.integers(0, 65535), st.sampled_from([b"", b"\x45", b"\x60"]))
def test_any_bytes_are_cut_or_refused(data: bytes, size: int, start: bytes) -> None:
    cut(start + data, size)

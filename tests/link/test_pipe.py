"""The in-memory pipe: order, bounds, metadata, its two ways to wake a reader, and its end."""

import errno
import select
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.frames import append_partial, append_super, burst_of, contents, is_valid, tcp_packet, udp_packet
from tests.support.raising import raises_errno
from ustack.burst import Burst
from ustack.link.device import ALL_OFFLOADS
from ustack.link.pipe import PipeEnd, pipe
from ustack.native import lib


def read_all(end: PipeEnd) -> list[bytes]:
    packets: list[bytes] = []
    burst = Burst()
    while end.read(burst, 0):
        packets += contents(burst)
        burst.clear()
    return packets


@given(st.lists(st.binary(max_size=200), max_size=50))
def test_frames_arrive_at_the_other_end_in_order_and_unchanged(packets: list[bytes]) -> None:
    a, b = pipe()
    assert a.write(burst_of(*packets), 0) == len(packets)
    assert read_all(b) == packets
    assert read_all(a) == []


def test_both_directions_are_independent() -> None:
    a, b = pipe()
    a.write(burst_of(b"to b"), 0)
    b.write(burst_of(b"to a"), 0)
    assert read_all(a) == [b"to a"]
    assert read_all(b) == [b"to b"]


def test_a_full_queue_drops_the_newest_frames_and_counts_them() -> None:
    a, b = pipe(capacity_frames=3)
    assert a.write(burst_of(*[bytes([i]) for i in range(5)]), 0) == 5
    assert read_all(b) == [b"\0", b"\1", b"\2"]
    assert (b.counters.arrived, b.counters.queue_full, b.counters.read) == (3, 2, 3)


@given(st.integers(1, 20), st.lists(st.integers(0, 30), max_size=10))
def test_every_frame_is_read_dropped_or_still_queued(capacity: int, sizes: list[int]) -> None:
    a, b = pipe(capacity_frames=capacity)
    burst = Burst()
    for size in sizes:
        a.write(burst_of(*[b"x"] * size), 0)
        if size % 3 == 0:
            b.read(burst, 0)
            burst.clear()
    counters = b.counters
    assert sum(sizes) == counters.arrived + counters.queue_full
    assert counters.arrived == counters.read + len(b)


def test_a_full_burst_leaves_the_rest_for_the_next_read() -> None:
    a, b = pipe()
    packets = [i.to_bytes(2, "big") for i in range(300)]
    for packet in packets:
        a.write(burst_of(packet), 0)
    burst = Burst()
    assert b.read(burst, 0) == lib.BURST_FRAMES
    assert b.read(burst, 0) == 0
    assert contents(burst) + read_all(b) == packets


def test_read_appends_behind_what_the_burst_holds() -> None:
    a, b = pipe()
    a.write(burst_of(b"second"), 0)
    burst = burst_of(b"first")
    assert b.read(burst, 0) == 1
    assert contents(burst) == [b"first", b"second"]


@pytest.mark.parametrize("version", [4, 6])
def test_a_partial_checksum_passes_to_an_end_that_grants_it(version: int) -> None:
    a, b = pipe(offload=lib.OFFLOAD_CHECKSUM)
    burst, received = Burst(), Burst()
    append_partial(burst, udp_packet(version, b"payload"))
    a.write(burst, 0)
    b.read(received, 0)
    sent, got = burst.cdata.frames[0], received.cdata.frames[0]
    assert got.flags == lib.FRAME_NEEDS_CHECKSUM
    assert (got.checksum_start, got.checksum_offset) == (sent.checksum_start, sent.checksum_offset)
    assert received.completed(0) == udp_packet(version, b"payload")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("build", [udp_packet, tcp_packet])
def test_a_partial_checksum_is_completed_for_an_end_that_does_not_grant_it(version: int, build) -> None:
    a, b = pipe(offload=(lib.OFFLOAD_CHECKSUM, 0))
    burst, received = Burst(), Burst()
    append_partial(burst, build(version, b"odd payload"))
    a.write(burst, 0)
    b.read(received, 0)
    assert received.cdata.frames[0].flags == 0
    assert contents(received) == [build(version, b"odd payload")]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("build", [udp_packet, tcp_packet])
def test_a_super_segment_passes_whole_to_an_end_that_grants_it(version: int, build) -> None:
    a, b = pipe(offload=ALL_OFFLOADS)
    burst, received = Burst(), Burst()
    append_super(burst, build(version, bytes(10_000)), 1000)
    a.write(burst, 0)
    assert b.read(received, 0) == 1
    sent, got = burst.cdata.frames[0], received.cdata.frames[0]
    for field in ("flags", "gso_type", "gso_size", "header_length", "checksum_start", "checksum_offset", "length"):
        assert getattr(got, field) == getattr(sent, field)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("build", [udp_packet, tcp_packet])
def test_a_super_segment_is_cut_for_an_end_that_does_not_grant_its_kind(version: int, build) -> None:
    payload = bytes(i % 251 for i in range(9_500))
    a, b = pipe(offload=(ALL_OFFLOADS, lib.OFFLOAD_CHECKSUM))
    burst = Burst()
    append_super(burst, build(version, payload), 1000)
    a.write(burst, 0)
    packets = read_all(b)
    headers = burst.cdata.frames[0].header_length
    assert len(packets) == 10
    assert all(is_valid(packet) for packet in packets)
    assert b"".join(packet[headers:] for packet in packets) == payload


def test_a_super_segment_of_more_segments_than_a_burst_holds_is_cut_completely() -> None:
    payload = bytes(i % 251 for i in range(60_000))
    a, b = pipe(capacity_frames=5000)
    burst = Burst()
    append_super(burst, tcp_packet(4, payload), 48)
    a.write(burst, 0)
    packets = read_all(b)
    assert len(packets) == 1250
    assert all(is_valid(packet) for packet in packets)
    assert b"".join(packet[40:] for packet in packets) == payload


@given(st.binary(min_size=1, max_size=100), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535))
def test_metadata_that_does_not_fit_its_frame_is_counted_and_nothing_worse(
    packet: bytes, start: int, offset: int, size: int
) -> None:
    a, b = pipe()
    burst = burst_of(packet, packet)
    for index, gso_type in enumerate((lib.GSO_NONE, lib.GSO_TCPV4)):
        frame = burst.cdata.frames[index]
        frame.flags = lib.FRAME_NEEDS_CHECKSUM
        frame.gso_type, frame.gso_size = gso_type, size
        frame.checksum_start, frame.checksum_offset = start, offset
    assert a.write(burst, 0) == 2
    assert b.counters.malformed + b.counters.arrived + b.counters.queue_full >= 2
    assert b.counters.arrived == len(read_all(b))


def test_on_readable_is_called_once_for_each_time_the_queue_stops_being_empty() -> None:
    a, b = pipe()
    calls: list[int] = []
    b.on_readable = lambda: calls.append(len(b))
    a.write(burst_of(), 0)
    assert calls == []
    a.write(burst_of(b"1", b"2"), 0)
    a.write(burst_of(b"3"), 0)
    assert calls == [2]
    read_all(b)
    a.write(burst_of(b"4"), 0)
    assert calls == [2, 1]


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def test_the_descriptor_is_readable_exactly_while_frames_wait() -> None:
    a, b = pipe(descriptors=True)
    assert not is_readable(b.fileno())
    a.write(burst_of(b"1"), 0)
    a.write(burst_of(b"2"), 0)
    assert is_readable(b.fileno())
    assert not is_readable(a.fileno())
    burst = Burst()
    b.read(burst, 0)
    assert not is_readable(b.fileno())
    b.read(burst, 0)
    assert not is_readable(b.fileno())
    a.close()
    b.close()


def test_a_pipe_without_descriptors_has_none() -> None:
    a, b = pipe()
    assert (a.fileno(), b.fileno()) == (-1, -1)


def test_the_deadline_says_since_when_there_is_something_to_read() -> None:
    a, b = pipe()
    assert b.next_deadline() is None
    a.write(burst_of(b"1"), 5)
    a.write(burst_of(b"2"), 7)
    assert (a.next_deadline(), b.next_deadline()) == (None, 5)
    read_all(b)
    assert b.next_deadline() is None
    a.write(burst_of(b"3"), 9)
    assert b.next_deadline() == 9
    b.close()
    assert b.next_deadline() is None
    assert a.next_deadline() is not None


def test_frames_written_before_the_other_end_closed_are_read_before_the_device_is_gone() -> None:
    a, b = pipe(descriptors=True)
    a.write(burst_of(b"last words"), 0)
    a.close()
    assert is_readable(b.fileno())
    burst = Burst()
    assert b.read(burst, 0) == 1
    assert is_readable(b.fileno())
    with raises_errno(errno.ENODEV):
        b.read(burst, 0)
    with raises_errno(errno.ENODEV):
        b.write(burst, 0)
    b.close()


def test_a_closed_end_refuses_calls_and_may_be_closed_again() -> None:
    a, b = pipe()
    hung_up: list[bool] = []
    b.on_readable = lambda: hung_up.append(True)
    b.write(burst_of(b"never read"), 0)
    a.close()
    a.close()
    assert hung_up == [True]
    with raises_errno(errno.EBADF):
        a.read(Burst(), 0)
    with raises_errno(errno.EBADF):
        a.write(Burst(), 0)


def test_two_threads_lose_nothing() -> None:
    a, b = pipe(capacity_frames=100_000, descriptors=True)
    packets = [i.to_bytes(3, "big") for i in range(5000)]
    received: list[bytes] = []

    def receive() -> None:
        burst = Burst()
        while len(received) < len(packets):
            select.select([b.fileno()], [], [])
            b.read(burst, 0)
            received.extend(contents(burst))
            burst.clear()

    reader = threading.Thread(target=receive)
    reader.start()
    for first in range(0, len(packets), 7):
        a.write(burst_of(*packets[first : first + 7]), 0)
    reader.join()
    assert received == packets
    a.close()
    b.close()

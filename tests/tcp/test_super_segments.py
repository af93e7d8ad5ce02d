"""Super-segments for devices that cut them, and the same frames for those that do not.  RFC 9293 §3.7.4."""

from __future__ import annotations

import pytest

from tests.support.stream import drain, established, payload_of, write
from ustack.native import lib
from ustack.sim.peer import Peer, Sent
from ustack.tcp.super_segment import BYTES_MAX

STREAM = bytes(range(256)) * 1200
MSS = 1000
FULL_OFFLOAD = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6


def wide(version: int, offload: int, size: int = 10) -> Peer:
    """A peer whose connection has sent `size` segments that are not acknowledged."""
    peer = Peer(version, offload=offload)
    connection = established(peer, mss=MSS, window_scale=10)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[: size * MSS])
    return peer


def segments_of(sent: Sent) -> list[tuple[int, bytes, str]]:
    """(seq, payload, flags) of the segments that a device would make of one frame."""
    size = sent.gso_size or max(len(sent.payload), 1)
    cuts = range(0, max(len(sent.payload), 1), size)
    last = cuts[-1]
    middle = sent.flags.replace("P", "").replace("F", "")
    return [
        (sent.seq + start, sent.payload[start : start + size], sent.flags if start == last else middle)
        for start in cuts
    ]


def test_a_device_with_offload_gets_large_frames(version: int) -> None:
    peer = wide(version, FULL_OFFLOAD)
    """In two frames: half of the congestion window at once, as Linux does."""
    halves = [peer.expect("P.", 1, 1, STREAM[: 5 * MSS]), peer.expect("P.", 5001, 1, STREAM[5 * MSS : 10 * MSS])]
    assert [each.gso_size for each in halves] == [MSS, MSS]
    peer.expect_nothing()


def test_a_device_without_offload_gets_frames_of_the_mss(version: int) -> None:
    peer = wide(version, 0)
    sent = drain(peer)
    assert [len(each.payload) for each in sent] == [MSS] * 10
    assert all(not each.gso_size for each in sent)
    assert [each.flags for each in sent] == (["."] * 4 + ["P."]) * 2


@pytest.mark.parametrize("missing", [lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6, lib.OFFLOAD_CHECKSUM])
def test_a_device_that_cannot_cut_this_family_gets_frames_of_the_mss(version: int, missing: int) -> None:
    peer = wide(version, FULL_OFFLOAD & ~missing)
    assert [len(each.payload) for each in drain(peer)] == [MSS] * 10
    other = lib.OFFLOAD_TSO6 if version == 4 else lib.OFFLOAD_TSO4
    peer = wide(version, lib.OFFLOAD_CHECKSUM | other)
    assert [len(each.payload) for each in drain(peer)] == [MSS] * 10


def exchange(peer: Peer, loss: int) -> list[tuple[int, bytes, str]]:
    """Send everything over a path that loses some segments; every segment on the wire."""
    connection = established(peer, mss=MSS, window_scale=10)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[:150_300])
    wire: list[tuple[int, bytes, str]] = []
    received: dict[int, bytes] = {}
    expected = 1
    for _ in range(400):
        arrived = [each for sent in drain(peer) for each in segments_of(sent)]
        for index, segment in enumerate(arrived):
            wire.append(segment)
            if (len(wire) + index) % loss == 0:
                continue
            received[segment[0]] = segment[1]
            while expected in received:
                expected += len(received[expected])
            peer.inject(".", 1, expected, window=60_000)
        if expected == 150_301:
            return wire
        if not peer.sent:
            peer.advance(1000)
    raise AssertionError("the stream did not arrive")


@pytest.mark.parametrize("loss", [10_000, 13])
def test_the_segments_on_the_wire_are_the_same_with_and_without_offload(version: int, loss: int) -> None:
    with_offload = exchange(Peer(version, offload=FULL_OFFLOAD), loss)
    without = exchange(Peer(version), loss)
    assert with_offload == without
    first_times: dict[int, bytes] = {}
    for seq, payload, _ in without:
        first_times.setdefault(seq, payload)
    assert b"".join(first_times[seq] for seq in sorted(first_times)) == STREAM[:150_300]


def test_a_super_segment_is_whole_segments_unless_it_ends_the_data(version: int) -> None:
    peer = Peer(version, offload=FULL_OFFLOAD)
    connection = established(peer, mss=MSS, window_scale=10)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM)
    acked = 1
    while acked < 1 + len(STREAM):
        for sent in drain(peer):
            assert len(sent.payload) <= BYTES_MAX
            acked += len(sent.payload)
            assert len(sent.payload) % MSS == 0 or acked == 1 + len(STREAM)
        peer.inject(".", 1, acked, window=60_000)


@pytest.mark.parametrize("mss", [48, 100, 200])
def test_tiny_segments_never_make_a_super_segment_that_no_burst_can_hold(version: int, mss: int) -> None:
    peer = Peer(version)
    connection = established(peer, mss=mss, window_scale=10)
    peer.inject(".", 1, 1, window=60_000)
    connection.send(STREAM[:100_000], 0, None, peer.now)
    acked = 1
    while acked < 100_001:
        assert 0 < len(peer.interface.outgoing) <= lib.BURST_FRAMES
        peer.collect()
        acked = max(each.seq + len(each.payload) for each in drain(peer))
        peer.burst.clear()
        peer.burst.append(peer.segment(".", 1, acked, window=60_000))
        peer.stack.receive(peer.interface, peer.burst, peer.now)


def test_a_fin_rides_on_the_last_frame(version: int) -> None:
    for offload in (0, FULL_OFFLOAD):
        peer = Peer(version, offload=offload)
        connection = established(peer, mss=MSS)
        connection.options.cork = True
        write(peer, connection, STREAM[:2500])
        connection.close(peer.now)
        peer.collect()
        sent = drain(peer)
        assert payload_of(sent) == STREAM[:2500]
        assert [each.flags for each in sent][-1] == "FP."
        assert all("F" not in each.flags for each in sent[:-1])


def test_part_of_a_super_segment_may_be_acknowledged_and_the_rest_sent_again(version: int) -> None:
    peer = wide(version, FULL_OFFLOAD)
    drain(peer)
    peer.inject(".", 1, 1 + 3 * MSS + 500, window=60_000)
    peer.advance(201)
    sent = peer.expect(".", 3501)
    assert sent.payload == STREAM[3500:4500]


def test_urgent_data_are_cut_by_us(version: int) -> None:
    peer = Peer(version, offload=FULL_OFFLOAD)
    connection = established(peer, mss=MSS)
    write(peer, connection, STREAM[:2500], 1)
    sent = drain(peer)
    assert [len(each.payload) for each in sent] == [MSS, MSS, 500]
    assert all(each.seq + each.urgent_pointer == 2501 for each in sent)


def test_a_device_without_room_takes_the_rest_later(version: int) -> None:
    peer = Peer(version)
    connection = established(peer, mss=536, window_scale=14)
    peer.inject(".", 1, 1, window=60_000)
    acked, total = 1, 1_000_000
    connection.send(bytes(total), 0, None, peer.now)
    bursts = set()
    while acked < 1 + total:
        interface = peer.interface.outgoing
        bursts.add(len(interface))
        peer.collect()
        acked = max(each.seq + len(each.payload) for each in drain(peer))
        peer.burst.clear()
        peer.burst.append(peer.segment(".", 1, acked, window=60_000))
        peer.stack.receive(peer.interface, peer.burst, peer.now)
    assert lib.BURST_FRAMES - BYTES_MAX // 536 < max(bursts) <= lib.BURST_FRAMES
    assert not peer.stack.tcp.blocked

"""Data on their way to the user, in whatever order they come.  RFC 9293 §3.10.7.4 (first and seventh check), §3.4."""

from __future__ import annotations

import errno
import random

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import drain, dropped, established, read, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.constants import MSG_PEEK, MSG_TRUNC
from ustack.drops import DropReason
from ustack.endpoint import READABLE
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State

STREAM = bytes(range(256)) * 40


def test_bytes_arrive_in_order(peer: Peer) -> None:
    connection = established(peer)
    for start in range(0, 4000, 400):
        peer.inject("P.", 1 + start, 1, STREAM[start : start + 400])
    assert read(peer, connection) == STREAM[:4000]
    with raises_errno(errno.EAGAIN):
        read(peer, connection)


def test_a_burst_of_segments_is_taken_whole(peer: Peer) -> None:
    connection = established(peer)
    peer.arrive([peer.segment(".", 1 + start, 1, STREAM[start : start + 1000]) for start in range(0, 10_000, 1000)])
    assert read(peer, connection) == STREAM[:10_000]


def test_single_bytes_arrive(peer: Peer) -> None:
    connection = established(peer)
    for index in range(300):
        peer.inject("P.", 1 + index, 1, STREAM[index : index + 1])
    assert read(peer, connection) == STREAM[:300]


@requirement("RFC9293", "SHLD-31")
@pytest.mark.parametrize("seed", range(8))
def test_any_order_with_repetitions_and_overlaps_gives_the_same_stream(peer: Peer, seed: int) -> None:
    connection = established(peer)
    chance = random.Random(seed)
    pieces = []
    for start in range(0, len(STREAM), 300):
        pieces += [(start, start + chance.choice((300, 450, 700)))] * chance.choice((1, 1, 2))
        if chance.random() < 0.3:
            pieces.append((start + chance.randrange(300), start + 300 + chance.randrange(300)))
    chance.shuffle(pieces)
    for start, end in pieces:
        peer.inject(".", 1 + start, 1, STREAM[start:end])
    assert read(peer, connection) == STREAM
    assert connection.tcb.out_of_order.count == 0
    assert drain(peer)[-1].ack == 1 + len(STREAM)


def test_a_stream_that_comes_backwards_is_put_in_order(peer: Peer) -> None:
    connection = established(peer)
    for start in range(5900, -1, -100):
        peer.inject(".", 1 + start, 1, STREAM[start : start + 100])
    assert read(peer, connection) == STREAM[:6000]


@pytest.mark.parametrize(("start", "end"), [(-3, 5), (-3, 0), (0, 5), (-10, 20)])
def test_what_was_received_before_is_cut_off_the_front(peer: Peer, start: int, end: int) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, STREAM[:100])
    drain(peer)
    peer.inject("P.", 101 + start, 1, b"x" * -start + STREAM[100 : 100 + end])
    if start < 0:
        assert peer.expect(".").ack == 101 + end
    assert read(peer, connection) == STREAM[: 100 + end]


def with_small_buffer(peer: Peer) -> Connection:
    """A connection whose window is one segment of 1460 bytes."""
    endpoint = peer.socket()
    endpoint.options.receive_buffer = 4608
    endpoint.bind(peer.local, peer.local_port)
    listener = endpoint.listen(1)
    peer.inject("S", 0, sack_permitted=True)
    assert peer.expect("S.").window in (1440, 1460)
    peer.inject(".", 1, 1)
    return listener.accept()


@pytest.mark.parametrize("size", [1000, 1500, 5000])
def test_what_reaches_beyond_the_window_is_taken_whole_while_nothing_is_unread(peer: Peer, size: int) -> None:
    connection = with_small_buffer(peer)
    peer.inject("P.", 1, 1, STREAM[:size])
    peer.advance(40)
    assert drain(peer)[-1].ack == 1 + size
    assert read(peer, connection) == STREAM[:size]


@requirement("RFC9293", "SHLD-14")
def test_what_reaches_beyond_the_window_is_dropped_whole_while_something_is_unread(peer: Peer) -> None:
    connection = with_small_buffer(peer)
    peer.inject("P.", 1, 1, STREAM[:1000])
    drain(peer)
    for start in (1001, 1201):
        with dropped(peer, DropReason.TCP_BEYOND_WINDOW):
            peer.inject("FP.", start, 1, STREAM[1000:5000])
        peer.expect(".", 1, 1001)
    assert read(peer, connection) == STREAM[:1000]
    assert state_of(connection) == State.ESTABLISHED


def test_a_fin_behind_a_full_window_is_taken(peer: Peer) -> None:
    connection = with_small_buffer(peer)
    peer.inject("P.", 1, 1, STREAM[:5000])
    peer.advance(40)
    assert drain(peer)[-1].window == 0
    peer.inject("F.", 5001, 1)
    assert drain(peer)[-1].ack == 5002
    assert state_of(connection) == State.CLOSE_WAIT


@pytest.mark.parametrize("late", [0, 200])
def test_of_bytes_that_differ_those_count_that_belong_to_the_segment_that_begins_earlier(peer: Peer, late: int) -> None:
    connection = established(peer)
    pieces = [(101, b"a" * 200), (201, b"b" * 200)]
    for start, payload in pieces if late else reversed(pieces):
        peer.inject(".", start, 1, payload)
    peer.inject(".", 1, 1, bytes(100))
    assert read(peer, connection) == bytes(100) + b"a" * 200 + b"b" * 100


def test_duplicates_are_acknowledged_at_once_and_not_delivered_again(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"once")
    assert read(peer, connection) == b"once"
    drain(peer)
    with dropped(peer, DropReason.TCP_OUT_OF_WINDOW):
        peer.inject("P.", 1, 1, b"once")
    peer.expect(".", 1, 5)
    with raises_errno(errno.EAGAIN):
        read(peer, connection)


def test_ranges_of_out_of_order_data_are_limited(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(out_of_order_ranges=4)))
    connection = established(peer)
    for index in range(4):
        peer.inject(".", 11 + 10 * index, 1, b"x")
    with dropped(peer, DropReason.TCP_OUT_OF_ORDER_LIMIT):
        peer.inject(".", 101, 1, b"x")
    assert connection.tcb.out_of_order.count == 4
    assert len(drain(peer)) == 5
    with dropped(peer, DropReason.TCP_OUT_OF_ORDER_LIMIT, 0):
        peer.inject(".", 12, 1, b"y")
    peer.inject(".", 1, 1, bytes(200))
    assert len(read(peer, connection)) == 200


def test_readable_follows_the_data(peer: Peer) -> None:
    connection = established(peer)
    assert not connection.readiness() & READABLE
    peer.inject(".", 6, 1, b"world")
    assert not connection.readiness() & READABLE
    peer.inject(".", 1, 1, b"hello")
    assert connection.readiness() & READABLE
    read(peer, connection)
    assert not connection.readiness() & READABLE


def test_reading_in_pieces_peeking_and_discarding(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"0123456789")
    assert read(peer, connection, 4, MSG_PEEK) == b"0123"
    assert read(peer, connection, 2) == b"01"
    assert connection.receive_into(bytearray(3), MSG_TRUNC, peer.now)[0] == 3
    assert read(peer, connection, 100, MSG_PEEK) == b"56789"
    assert read(peer, connection, 100) == b"56789"


def test_reading_nothing_is_nothing_but_not_from_an_empty_stream(peer: Peer) -> None:
    """As on Linux."""
    connection = established(peer)
    with raises_errno(errno.EAGAIN):
        read(peer, connection, 0)
    peer.inject("P.", 1, 1, b"data")
    assert read(peer, connection, 0) == b""
    assert read(peer, connection) == b"data"


def test_super_segments_of_the_device_are_taken(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, STREAM[:10_000], gso_size=1448)
    assert peer.expect(".").ack == 10_001
    assert read(peer, connection) == STREAM[:10_000]


def test_data_may_come_with_every_ack(peer: Peer) -> None:
    connection = established(peer)
    for index in range(20):
        write(peer, connection, b"ping")
        assert drain(peer)[-1].payload == b"ping"
        peer.inject("P.", 1 + 4 * index, 5 + 4 * index, b"pong")
        assert read(peer, connection) == b"pong"
    assert connection.tcb.sent.count == 0

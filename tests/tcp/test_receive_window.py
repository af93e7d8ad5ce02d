"""The window that we offer.  RFC 9293 §3.8.6, §3.8.6.2.2; RFC 7323 §2."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, established, read, set_option, write
from ustack.config import StackConfig, TcpConfig
from ustack.constants import MSG_PEEK
from ustack.sim.peer import Peer, Sent
from ustack.tcp.connection import Connection

MSS = 1000


def with_buffer(version: int, size: int, **options: Any) -> tuple[Peer, Connection]:
    """A connection whose receive buffer is `size`."""
    peer = Peer(version, StackConfig(tcp=TcpConfig(receive_buffer=size)))
    return peer, established(peer, **options)


def right_edge(sent: Sent, shift: int = 0) -> int:
    """The first sequence number that is not offered."""
    return sent.ack + (sent.window << shift)


@requirement("RFC7323", "2.2")
def test_the_window_of_a_syn_is_not_scaled(version: int) -> None:
    peer = Peer(version)
    peer.listen()
    peer.inject("S", 0, window_scale=0)
    syn_ack = peer.expect("S.", 0, 1)
    assert syn_ack.window == 65_535
    assert syn_ack.options.window_scale == 5


@requirement("RFC9293", "MUST-1")
@requirement("RFC9293", "REC-1")
def test_the_whole_buffer_is_offered_with_scaling(version: int) -> None:
    peer, _ = with_buffer(version, 1 << 20, window_scale=0)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(1000))
    assert peer.expect(".").window == ((1 << 20) - 2000) >> 5


@requirement("RFC9293", "MUST-1")
def test_without_scaling_the_window_is_65535_at_most(version: int) -> None:
    peer, _ = with_buffer(version, 1 << 20)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(1000))
    assert peer.expect(".").window == 65_535


@requirement("RFC9293", "SHLD-14")
@pytest.mark.parametrize("scaled", [False, True])
def test_the_right_edge_never_moves_back(version: int, scaled: bool) -> None:
    peer, connection = with_buffer(version, 200_000, mss=MSS, window_scale=2 if scaled else None)
    shift = connection.tcb.rcv_wscale
    edge, seq = 0, 1
    for index in range(300):
        room = (edge or 65_536) - seq
        if room <= 0:
            read(peer, connection, 30_000)
        length = min(7 + 97 * index % 1400, max(room, 0))
        if length:
            peer.inject("P.", seq, 1, bytes(length))
            seq += length
        peer.advance(40)
        for sent in drain(peer):
            assert right_edge(sent, shift) > edge - (1 << shift), "but for what the scaled field cannot tell"
            edge = max(edge, right_edge(sent, shift))
        if index % 7 == 0:
            read(peer, connection, 5000)


@requirement("RFC7323", "2.4")
def test_all_that_was_ever_offered_is_taken_where_the_field_cannot_tell_it(version: int) -> None:
    peer, connection = with_buffer(version, 1 << 20, mss=MSS, window_scale=0)
    set_option(peer, connection, "receive_buffer", 65_536)
    edge, seq = 65_536, 1
    while seq < edge:
        length = min(333, edge - seq)
        peer.inject("P.", seq, 1, bytes(length))
        seq += length
        peer.advance(40)
        edge = max([edge, *(right_edge(each, 5) for each in drain(peer))])
    assert connection.tcb.rcv_ring.length == edge - 1 <= 65_536


def test_single_bytes_do_not_keep_a_scaled_window_open_for_ever(version: int) -> None:
    peer, connection = with_buffer(version, 1 << 20, mss=MSS, window_scale=0)
    set_option(peer, connection, "receive_buffer", 65_536)
    set_option(peer, connection, "quick_ack", True)
    peer.inject(".", 1, 1, bytes(65_000))
    for seq in range(65_001, 66_001):
        peer.inject(".", seq, 1, b"x")
    assert drain(peer)[-1].window == 0
    assert connection.tcb.rcv_ring.length <= 65_536


@requirement("RFC9293", "SHLD-14")
def test_a_smaller_buffer_takes_nothing_back(peer: Peer) -> None:
    connection = established(peer, window_scale=0)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(1000))
    edge = right_edge(peer.expect("."), 5)
    set_option(peer, connection, "receive_buffer", 5000)
    peer.inject("P.", 2001, 1, bytes(1000))
    peer.inject("P.", 3001, 1, bytes(1000))
    assert abs(right_edge(peer.expect("."), 5) - edge) < 32


def test_a_full_buffer_closes_the_window(version: int) -> None:
    peer, connection = with_buffer(version, 4000, mss=MSS)
    for start in range(1, 4001, 1000):
        peer.inject("P.", start, 1, bytes(1000))
    assert drain(peer)[-1].window == 0
    peer.inject("P.", 4001, 1, b"x")
    sent = peer.expect(".", 1, 4001)
    assert sent.window == 0
    assert connection.tcb.rcv_ring.length == 4000


def test_a_window_probe_is_answered_at_once(version: int) -> None:
    peer, _ = with_buffer(version, 2000, mss=MSS)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(1000))
    drain(peer)
    peer.inject(".", 2001, 1, b"x")
    assert peer.expect(".", 1, 2001).window == 0
    peer.inject(".", 2000, 1)
    assert peer.expect(".", 1, 2001).window == 0


@requirement("RFC9293", "MUST-66")
def test_acks_are_taken_with_a_closed_window(version: int) -> None:
    peer, connection = with_buffer(version, 2000, mss=MSS)
    write(peer, connection, b"data")
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(1000))
    assert drain(peer)[-1].window == 0
    peer.inject("P.", 2001, 5, b"beyond")
    assert connection.tcb.sent.count == 0


def test_reading_opens_a_closed_window_and_tells_the_peer_at_once(version: int) -> None:
    peer, connection = with_buffer(version, 4000, mss=MSS)
    for start in range(1, 4001, 1000):
        peer.inject("P.", start, 1, bytes(1000))
    assert drain(peer)[-1].window == 0
    read(peer, connection, 4000)
    assert peer.expect(".", 1, 4001).window == 4000


@requirement("RFC9293", "MUST-39")
def test_a_closed_window_opens_by_no_less_than_a_segment(version: int) -> None:
    peer, connection = with_buffer(version, 8000, mss=MSS)
    for start in range(1, 8001, 1000):
        peer.inject("P.", start, 1, bytes(1000))
    assert drain(peer)[-1].window == 0
    read(peer, connection, 500)
    peer.expect_nothing()
    read(peer, connection, 499)
    peer.expect_nothing()
    read(peer, connection, 1)
    assert peer.expect(".", 1, 8001).window == 1000


@requirement("RFC9293", "MUST-39")
def test_a_closed_window_of_a_small_buffer_opens_by_half_of_it(version: int) -> None:
    peer, connection = with_buffer(version, 1200, mss=MSS)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(200))
    peer.advance(40)
    assert drain(peer)[-1].window == 0
    read(peer, connection, 599)
    peer.expect_nothing()
    read(peer, connection, 1)
    assert peer.expect(".", 1, 1201).window == 600


@requirement("RFC9293", "MUST-39")
def test_a_silly_window_is_not_offered_when_data_trickle_in(version: int) -> None:
    peer, connection = with_buffer(version, 8000, mss=MSS)
    for start in range(1, 8001, 1000):
        peer.inject("P.", start, 1, bytes(1000))
    edge = right_edge(drain(peer)[-1])
    read(peer, connection, 300)
    peer.inject(".", 8000, 1)
    assert right_edge(peer.expect(".")) == edge
    read(peer, connection, 300)
    peer.inject("P.", 8001, 1, b"x")
    assert right_edge(peer.expect(".")) == edge


def test_a_wide_open_window_is_not_announced_after_every_read(version: int) -> None:
    peer, connection = with_buffer(version, 60_000, mss=MSS)
    for start in range(1, 10_001, 1000):
        peer.inject("P.", start, 1, bytes(1000))
    drain(peer)
    for _ in range(10):
        read(peer, connection, 1000)
    peer.expect_nothing()


def test_peeking_does_not_open_the_window(version: int) -> None:
    peer, connection = with_buffer(version, 2000, mss=MSS)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(1000))
    drain(peer)
    assert len(read(peer, connection, 2000, MSG_PEEK)) == 2000
    peer.expect_nothing()


def test_a_larger_buffer_is_offered_with_the_next_ack(version: int) -> None:
    peer, connection = with_buffer(version, 2000, mss=MSS, window_scale=0)
    set_option(peer, connection, "receive_buffer", 50_000)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.inject("P.", 1001, 1, bytes(1000))
    assert peer.expect(".").window == 48_000


@requirement("RFC9293", "MAY-8")
def test_a_closed_window_may_stay_closed_for_ever(version: int) -> None:
    peer, connection = with_buffer(version, 1000, mss=MSS)
    peer.inject("P.", 1, 1, bytes(1000))
    for _ in range(50):
        peer.advance(100_000)
        peer.inject(".", 1000, 1)
        assert drain(peer)[-1].window == 0
    assert len(read(peer, connection)) == 1000

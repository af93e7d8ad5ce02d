"""When what was received is acknowledged.  RFC 9293 §3.8.6.3, RFC 5681 §4.2."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, established, read, set_option, write
from ustack.sim.peer import MILLISECOND, Peer

FULL = bytes(1000)


@requirement("RFC9293", "SHLD-18")
@requirement("RFC9293", "MUST-40")
def test_a_single_segment_is_acknowledged_after_40_ms(peer: Peer) -> None:
    established(peer, mss=1000)
    at = peer.now
    peer.inject("P.", 1, 1, FULL)
    peer.expect_nothing()
    peer.advance(1000)
    assert peer.expect(".", 1, 1001).now - at == 40 * MILLISECOND
    peer.expect_nothing()


@requirement("RFC5681", "4.2")
@requirement("RFC9293", "SHLD-19")
def test_every_second_full_segment_is_acknowledged_at_once(peer: Peer) -> None:
    established(peer, mss=1000)
    for index in range(10):
        peer.inject(".", 1 + 1000 * index, 1, FULL)
        if index % 2:
            peer.expect(".", 1, 1001 + 1000 * index)
        peer.expect_nothing()


@requirement("RFC9293", "SHLD-19")
def test_small_segments_are_acknowledged_at_the_latest_when_they_make_two_full_ones(peer: Peer) -> None:
    established(peer, mss=1000)
    peer.inject(".", 1, 1, FULL)
    peer.inject(".", 1001, 1, FULL)
    drain(peer)
    for index in range(19):
        peer.inject("P.", 2001 + 100 * index, 1, bytes(100))
        peer.expect_nothing()
    peer.inject("P.", 3901, 1, bytes(100))
    peer.expect(".", 1, 4001)


def test_the_delay_counts_from_the_first_segment(peer: Peer) -> None:
    established(peer, mss=1000)
    at = peer.now
    for index in range(4):
        peer.inject("P.", 1 + index, 1, b"x")
        peer.advance(10)
    assert peer.expect(".", 1, 5).now - at == 40 * MILLISECOND
    peer.expect_nothing()


def test_data_that_leave_carry_the_ack(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    peer.inject("P.", 1, 1, FULL)
    write(peer, connection, b"answer")
    peer.expect("P.", 1, 1001, b"answer")
    peer.advance(100)
    assert all(each.payload for each in drain(peer))


@requirement("RFC9293", "MUST-58")
@requirement("RFC9293", "MUST-59")
def test_a_burst_is_acknowledged_once(peer: Peer) -> None:
    established(peer, mss=1000)
    peer.arrive([peer.segment(".", 1 + 1000 * index, 1, FULL) for index in range(20)])
    peer.expect(".", 1, 20_001)
    peer.expect_nothing()


@requirement("RFC5681", "4.2")
@requirement("RFC9293", "MAY-13")
def test_out_of_order_data_are_acknowledged_at_once_each(peer: Peer) -> None:
    established(peer, mss=1000)
    for index in range(1, 4):
        peer.inject(".", 1 + 1000 * index, 1, FULL)
        peer.expect(".", 1, 1)
        peer.expect_nothing()


@requirement("RFC5681", "4.2")
def test_filling_a_hole_is_acknowledged_at_once(peer: Peer) -> None:
    established(peer, mss=1000)
    peer.inject(".", 1001, 1, FULL)
    peer.inject(".", 3001, 1, FULL)
    drain(peer)
    peer.inject(".", 1, 1, FULL)
    peer.expect(".", 1, 2001)
    peer.inject(".", 2001, 1, bytes(10))
    peer.expect(".", 1, 2011)
    peer.inject(".", 2011, 1, bytes(990))
    peer.expect(".", 1, 4001)
    peer.expect_nothing()


def test_a_fin_is_acknowledged_at_once(peer: Peer) -> None:
    established(peer)
    peer.inject("P.", 1, 1, b"data")
    peer.expect_nothing()
    peer.inject("F.", 5, 1)
    peer.expect(".", 1, 6)
    peer.advance(100)
    peer.expect_nothing()


@pytest.mark.parametrize("early", [True, False])
def test_the_user_can_have_every_segment_acknowledged_at_once(peer: Peer, early: bool) -> None:
    connection = established(peer)
    if early:
        set_option(peer, connection, "quick_ack", True)
    peer.inject("P.", 1, 1, b"data")
    if not early:
        peer.expect_nothing()
        set_option(peer, connection, "quick_ack", True)
    peer.expect(".", 1, 5)
    peer.inject("P.", 5, 1, b"data")
    peer.expect(".", 1, 9)


def test_an_ack_is_never_acknowledged(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    drain(peer)
    peer.inject(".", 1, 5)
    for _ in range(5):
        peer.inject(".", 1, 5)
    peer.advance(1000)
    peer.expect_nothing()


def test_reading_does_not_owe_an_ack(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"data")
    read(peer, connection)
    peer.expect_nothing()
    peer.advance(40)
    peer.expect(".", 1, 5)

"""When what was received is acknowledged.  RFC 9293 §3.8.6.3, RFC 5681 §4.2, and Linux's quick and ping-pong modes."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import close, drain, established, read, sack_blocks, set_option, write
from ustack.config import StackConfig, TcpConfig
from ustack.sim.peer import MILLISECOND, Peer
from ustack.tcp.connection import Connection

FULL = bytes(1440)


def calm(peer: Peer) -> Connection:
    """A connection with the delayed ACKs of one that has answered already."""
    connection = established(peer)
    set_option(peer, connection, "quick_ack", 0)
    return connection


@requirement("RFC9293", "SHLD-18")
@requirement("RFC9293", "MUST-40")
def test_a_single_segment_is_acknowledged_after_40_ms(peer: Peer) -> None:
    calm(peer)
    at = peer.now
    peer.inject("P.", 1, 1, FULL)
    peer.expect_nothing()
    peer.advance(1000)
    assert peer.expect(".", 1, 1441).now - at == 40 * MILLISECOND
    peer.expect_nothing()


@requirement("RFC5681", "4.2")
@requirement("RFC9293", "SHLD-19")
def test_every_second_full_segment_is_acknowledged_at_once(peer: Peer) -> None:
    connection = calm(peer)
    for index in range(10):
        peer.inject(".", 1 + 1440 * index, 1, FULL)
        if index % 2:
            peer.expect(".", 1, 1441 + 1440 * index)
        peer.expect_nothing()
        read(peer, connection)


@requirement("RFC9293", "SHLD-19")
def test_small_segments_are_acknowledged_once_they_are_more_than_a_full_one(peer: Peer) -> None:
    connection = calm(peer)
    peer.inject(".", 1, 1, FULL)
    read(peer, connection)
    peer.advance(40)
    set_option(peer, connection, "quick_ack", 0)
    drain(peer)
    for index in range(10):
        peer.inject("P.", 1441 + 144 * index, 1, bytes(144))
        peer.expect_nothing()
    peer.inject("P.", 2881, 1, bytes(144))
    peer.expect(".", 1, 3025)


def test_the_first_sixteen_acks_leave_at_once(peer: Peer) -> None:
    connection = established(peer)
    for index in range(16):
        peer.inject("P.", 1 + index, 1, b"x")
        read(peer, connection)
        peer.expect(".", 1, 2 + index)
    peer.inject("P.", 17, 1, b"x")
    peer.expect_nothing()


def test_an_answer_ends_quick_mode_and_carries_the_ack(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"first")
    peer.expect(".", 1, 6)
    write(peer, connection, b"answer")
    peer.expect("P.", 1, 6, b"answer")
    peer.inject("P.", 6, 7, b"next")
    peer.expect_nothing()
    write(peer, connection, b"answer")
    peer.expect("P.", 7, 10, b"answer")
    peer.inject(".", 10, 13)
    peer.advance(1000)
    peer.expect_nothing()


def test_ping_pong_mode_ends_when_no_answer_comes_in_time(peer: Peer) -> None:
    connection = calm(peer)
    peer.inject("P.", 1, 1, b"x")
    peer.advance(40)
    peer.expect(".", 1, 2)
    assert not connection.tcb.ack_pingpong
    peer.inject("P.", 2, 1, b"x")
    peer.expect(".", 1, 3)


def test_after_a_long_silence_acks_leave_at_once_again(peer: Peer) -> None:
    connection = established(peer)
    for index in range(20):
        peer.inject("P.", 1 + index, 1, b"x")
        read(peer, connection)
    drain(peer)
    assert not connection.tcb.ack_quick
    peer.advance(2000)
    drain(peer)
    peer.inject("P.", 21, 1, b"x")
    peer.expect(".", 1, 22)


def test_data_that_come_again_bring_quick_mode_back(peer: Peer) -> None:
    calm(peer)
    peer.inject("P.", 1, 1, b"data")
    peer.advance(40)
    drain(peer)
    peer.inject("P.", 1, 1, b"data")
    peer.expect(".", 1, 5)
    peer.inject("P.", 5, 1, b"more")
    peer.expect(".", 1, 9)


def test_the_time_out_follows_the_rhythm_of_the_data(peer: Peer) -> None:
    connection = established(peer, round_trip=200)
    for index in range(40):
        peer.inject("P.", 1 + index, 1 + index, b"x")
        write(peer, connection, b"y")
        peer.inject(".", 2 + index, 2 + index)
        peer.advance(39)
    assert connection.tcb.ack_timeout_ns > 70 * MILLISECOND


def test_data_that_leave_carry_the_ack(peer: Peer) -> None:
    connection = calm(peer)
    peer.inject("P.", 1, 1, FULL)
    write(peer, connection, b"answer")
    peer.expect("P.", 1, 1441, b"answer")
    peer.advance(100)
    assert all(each.payload for each in drain(peer))


@requirement("RFC9293", "MUST-58")
@requirement("RFC9293", "MUST-59")
def test_a_burst_is_acknowledged_once(peer: Peer) -> None:
    established(peer)
    peer.arrive([peer.segment(".", 1 + 1440 * index, 1, FULL) for index in range(20)])
    peer.expect(".", 1, 28_801)
    peer.expect_nothing()


@requirement("RFC5681", "4.2")
@requirement("RFC9293", "MAY-13")
def test_out_of_order_data_are_acknowledged_at_once_each(peer: Peer) -> None:
    calm(peer)
    for index in range(1, 9):
        peer.inject(".", 1 + 1440 * index, 1, FULL)
        peer.expect(".", 1, 1)
        peer.expect_nothing()


def test_with_sack_the_fourth_duplicate_and_those_behind_it_may_become_one(peer: Peer) -> None:
    connection = established(peer, sack_permitted=True, round_trip=100)
    write(peer, connection, b"x")
    peer.inject(".", 1, 1, FULL)
    peer.advance(100)
    peer.inject(".", 1441, 2, FULL)
    set_option(peer, connection, "quick_ack", 0)
    drain(peer)
    for index in range(3, 6):
        peer.inject(".", 1 + 1440 * index, 2, FULL)
        peer.expect(".", 2, 2881)
    for index in range(6, 20):
        peer.inject(".", 1 + 1440 * index, 2, FULL)
    peer.expect_nothing()
    peer.advance(1)
    assert sack_blocks(peer, peer.expect(".", 2, 2881)) == [(4321, 28_801)]
    peer.inject(".", 28_801, 2, FULL)
    peer.expect_nothing()
    peer.inject(".", 2881, 2, FULL)
    peer.expect(".", 2, 30_241)
    peer.expect_nothing()


def test_no_more_than_44_acks_become_one(peer: Peer) -> None:
    connection = established(peer, sack_permitted=True, round_trip=100)
    peer.inject(".", 1, 1, FULL)
    peer.advance(100)
    peer.inject(".", 1441, 1, FULL)
    set_option(peer, connection, "quick_ack", 0)
    drain(peer)
    for index in range(1, 50):
        peer.inject(".", 2881 + 10 * index, 1, bytes(10))
    assert len(drain(peer)) == 4


@requirement("RFC5681", "4.2")
def test_filling_the_last_hole_is_acknowledged_at_once(peer: Peer) -> None:
    calm(peer)
    peer.inject(".", 1441, 1, FULL)
    drain(peer)
    peer.inject(".", 1, 1, FULL)
    peer.expect(".", 1, 2881)
    peer.expect_nothing()


def test_a_fin_before_any_data_is_acknowledged_at_once(peer: Peer) -> None:
    established(peer)
    peer.inject("F.", 1, 1)
    peer.expect(".", 1, 2)
    peer.advance(100)
    peer.expect_nothing()


def test_after_data_the_answer_to_a_fin_has_40_ms(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"data")
    peer.expect(".", 1, 5)
    peer.inject("F.", 5, 1)
    peer.expect_nothing()
    close(peer, connection)
    assert [(each.flags, each.ack) for each in drain(peer)] == [("R.", 6)]


@pytest.mark.parametrize("flags", ["F.", "FP."])
def test_a_fin_for_one_who_has_closed_is_acknowledged_at_once(peer: Peer, flags: str) -> None:
    connection = established(peer)
    close(peer, connection)
    drain(peer)
    peer.inject("F.", 1, 2)
    peer.expect(".", 2, 2)


def test_reading_up_to_a_small_segment_acknowledges_it(peer: Peer) -> None:
    connection = established(peer)
    for index in range(17):
        peer.inject("P.", 1 + index, 1, b"x")
    drain(peer)
    peer.inject("P.", 18, 1, b"x")
    peer.expect_nothing()
    read(peer, connection, 3)
    peer.expect_nothing()
    read(peer, connection)
    peer.expect(".", 1, 19)


def test_the_user_can_have_acks_at_once(peer: Peer) -> None:
    connection = calm(peer)
    peer.inject("P.", 1, 1, b"data")
    peer.expect_nothing()
    read(peer, connection)
    set_option(peer, connection, "quick_ack", 1)
    peer.expect(".", 1, 5)
    peer.inject("P.", 5, 1, b"data")
    peer.expect(".", 1, 9)


def test_an_even_value_asks_for_this_one_ack_only(peer: Peer) -> None:
    connection = calm(peer)
    peer.inject("P.", 1, 1, b"data")
    read(peer, connection)
    set_option(peer, connection, "quick_ack", 2)
    peer.expect(".", 1, 5)
    peer.inject("P.", 5, 1, b"data")
    peer.expect_nothing()


def test_an_ack_is_never_acknowledged(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    drain(peer)
    peer.inject(".", 1, 5)
    for _ in range(5):
        peer.inject(".", 1, 5)
    peer.advance(1000)
    peer.expect_nothing()


def test_a_reader_in_conversation_does_not_owe_an_ack(peer: Peer) -> None:
    connection = calm(peer)
    peer.inject("P.", 1, 1, b"data")
    read(peer, connection)
    peer.expect_nothing()
    peer.advance(40)
    peer.expect(".", 1, 5)


def test_the_segment_size_is_learned_from_what_arrives(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig()))
    connection = established(peer)
    assert connection.tcb.rcv_mss == 536
    peer.inject(".", 1, 1, bytes(1200))
    assert connection.tcb.rcv_mss == 1200
    for index in range(2):
        peer.inject(".", 1201 + 700 * index, 1, bytes(700))
    assert connection.tcb.rcv_mss == 700
    for index in range(3):
        peer.inject("P.", 2601 + 100 * index, 1, bytes(100))
    assert connection.tcb.rcv_mss == 700

"""Closing in order: every path from ESTABLISHED to CLOSED.  RFC 9293 §3.6, §3.10.4, §3.10.7.4 (eighth check)."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import close, connected, drain, dropped, established, read, shut, state_of, write
from ustack.constants import SHUT_RD, SHUT_RDWR, SHUT_WR
from ustack.drops import DropReason
from ustack.endpoint import HANGUP, READ_HANGUP, READABLE, WRITABLE
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State


def in_fin_wait_1(peer: Peer) -> Connection:
    """A connection whose user has closed first."""
    connection = established(peer)
    shut(peer, connection, SHUT_WR)
    peer.expect("F.", 1, 1)
    return connection


def test_closing_first_passes_fin_wait_1_fin_wait_2_and_time_wait(peer: Peer) -> None:
    connection = established(peer)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    assert state_of(connection) == State.FIN_WAIT_1
    peer.inject(".", 1, 2)
    assert state_of(connection) == State.FIN_WAIT_2
    peer.inject("F.", 1, 2)
    peer.expect(".", 2, 2)
    assert state_of(connection) == State.TIME_WAIT
    peer.advance(60_000)
    assert state_of(connection) == State.CLOSED
    peer.expect_nothing()


def test_a_fin_that_acknowledges_ours_leads_straight_to_time_wait(peer: Peer) -> None:
    connection = established(peer)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.inject("F.", 1, 2)
    peer.expect(".", 2, 2)
    assert state_of(connection) == State.TIME_WAIT


def test_crossing_fins_pass_closing(peer: Peer) -> None:
    connection = established(peer)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.inject("F.", 1, 1)
    peer.expect(".", 2, 2)
    assert state_of(connection) == State.CLOSING
    peer.inject(".", 2, 2)
    assert state_of(connection) == State.TIME_WAIT
    peer.expect_nothing()


def test_closing_second_passes_close_wait_and_last_ack(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("F.", 1, 1)
    peer.expect(".", 1, 2)
    assert state_of(connection) == State.CLOSE_WAIT
    assert connection.readiness() == READABLE | READ_HANGUP | WRITABLE
    close(peer, connection)
    peer.expect("F.", 1, 2)
    assert state_of(connection) == State.LAST_ACK
    peer.inject(".", 2, 2)
    assert state_of(connection) == State.CLOSED
    peer.inject("F.", 1, 1)
    peer.expect("R", 1)


@requirement("RFC9293", "MUST-12")
def test_the_user_learns_that_the_peer_has_closed_normally(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("FP.", 1, 1, b"the end")
    assert read(peer, connection) == b"the end"
    assert read(peer, connection) == b""
    assert read(peer, connection) == b""
    assert connection.take_error() == 0


def test_a_half_closed_connection_still_receives(peer: Peer) -> None:
    connection = in_fin_wait_1(peer)
    with raises_errno(errno.EPIPE):
        write(peer, connection, b"too late")
    peer.inject("P.", 1, 1, b"before the ack")
    assert read(peer, connection) == b"before the ack"
    peer.advance(100)
    drain(peer)
    peer.inject("P.", 15, 2, b", and after")
    assert state_of(connection) == State.FIN_WAIT_2
    assert read(peer, connection) == b", and after"
    peer.inject("F.", 26, 2)
    assert read(peer, connection) == b""
    assert connection.readiness() & (HANGUP | READ_HANGUP | READABLE) == HANGUP | READ_HANGUP | READABLE


def test_a_connection_that_the_peer_has_half_closed_still_sends(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("F.", 1, 1)
    peer.expect(".", 1, 2)
    write(peer, connection, b"still here")
    peer.expect("P.", 1, 2, b"still here")
    peer.inject(".", 2, 11)
    close(peer, connection)
    peer.expect("F.", 11, 2)


def test_queued_data_leave_before_the_fin(peer: Peer) -> None:
    connection = established(peer, window=1072, mss=536)
    write(peer, connection, bytes(1500))
    peer.expect(".", 1, payload=bytes(536))
    peer.expect(None, 537, payload=bytes(536))
    close(peer, connection)
    assert state_of(connection) == State.FIN_WAIT_1
    peer.expect_nothing()
    peer.inject(".", 1, 537, window=2000)
    sent = drain(peer)
    assert b"".join(each.payload for each in sent) == bytes(1500 - 1072)
    assert [each.flags for each in sent] == ["FP."]
    assert sent[-1].seq + len(sent[-1].payload) == 1501


def test_a_fin_waits_for_a_closed_window(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"x")
    peer.expect("P.", 1)
    peer.inject(".", 1, 2, window=0)
    close(peer, connection)
    peer.expect_nothing()
    peer.advance(201)
    peer.expect(".", 1, 1)
    peer.inject(".", 1, 2, window=100)
    peer.expect("F.", 2, 1)


def test_a_lost_fin_is_sent_again(peer: Peer) -> None:
    connection = established(peer)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.advance(201)
    peer.expect("F.", 1, 1)
    peer.advance(401)
    peer.expect("F.", 1, 1)
    peer.inject("F.", 1, 2)
    assert state_of(connection) == State.TIME_WAIT


def test_a_fin_with_data_that_was_lost_is_sent_again_with_them(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data", flags=0x8000)
    peer.expect_nothing()
    close(peer, connection)
    peer.expect("F.", 1, 1, b"data")
    peer.advance(201)
    peer.expect("F.", 1, 1, b"data")
    peer.inject(".", 1, 5)
    assert state_of(connection) == State.FIN_WAIT_1
    peer.advance(401)
    peer.expect("F.", 5, 1, b"")


def test_the_ack_of_the_data_alone_does_not_acknowledge_the_fin(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data", flags=0x8000)
    close(peer, connection)
    peer.expect("F.", 1, 1, b"data")
    peer.inject(".", 1, 5)
    assert state_of(connection) == State.FIN_WAIT_1
    peer.inject(".", 1, 6)
    assert state_of(connection) == State.FIN_WAIT_2


def test_a_fin_ahead_of_missing_data_waits_for_them(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("F.", 11, 1)
    peer.expect(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED
    peer.inject("P.", 1, 1, b"0123456789")
    peer.expect(".", 1, 12)
    assert state_of(connection) == State.CLOSE_WAIT
    assert read(peer, connection) == b"0123456789"
    assert read(peer, connection) == b""


def test_a_fin_with_data_ahead_of_missing_data_causes_one_duplicate_ack(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("FP.", 6, 1, b"world")
    peer.expect(".", 1, 1)
    peer.expect_nothing()
    peer.inject("P.", 1, 1, b"hello")
    peer.expect(".", 1, 12)
    assert read(peer, connection) == b"helloworld"
    assert state_of(connection) == State.CLOSE_WAIT


def test_a_fin_that_comes_again_is_acknowledged_again(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("F.", 1, 1)
    peer.expect(".", 1, 2)
    with dropped(peer, DropReason.TCP_OUT_OF_WINDOW):
        peer.inject("F.", 1, 1)
    peer.expect(".", 1, 2)
    assert state_of(connection) == State.CLOSE_WAIT


def test_data_after_the_fin_of_the_peer_are_ignored(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("F.", 1, 1)
    peer.expect(".", 1, 2)
    peer.inject("P.", 2, 1, b"impossible")
    assert read(peer, connection) == b""
    assert connection.tcb.rcv_ring.length == 0


def test_data_that_were_held_beyond_the_fin_are_forgotten(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 20, 1, b"impossible")
    peer.inject("F.", 5, 1)
    drain(peer)
    peer.inject("P.", 1, 1, b"real")
    peer.expect(".", 1, 6)
    assert connection.tcb.out_of_order.count == 0
    assert read(peer, connection) == b"real"
    assert read(peer, connection) == b""


@pytest.mark.parametrize("how", [SHUT_RD, SHUT_WR, SHUT_RDWR])
def test_shutdown_tells_the_user_at_once(peer: Peer, how: int) -> None:
    connection = established(peer)
    connection.observer = connection
    peer.stack.take_events()
    shut(peer, connection, how)
    bits = 0
    for _, event in peer.stack.take_events():
        bits |= event
    assert bool(bits & READABLE) == (how != SHUT_WR)
    assert bool(bits & WRITABLE) == (how != SHUT_RD)
    assert bool(connection.readiness() & READ_HANGUP) == (how != SHUT_WR)


def test_after_shutting_down_receiving_data_that_come_can_still_be_read(peer: Peer) -> None:
    connection = established(peer)
    shut(peer, connection, SHUT_RD)
    peer.expect_nothing()
    assert read(peer, connection) == b""
    peer.inject("P.", 1, 1, b"data")
    assert read(peer, connection) == b"data"
    assert read(peer, connection) == b""


def test_shutting_down_twice_sends_one_fin(peer: Peer) -> None:
    connection = established(peer)
    shut(peer, connection, SHUT_WR)
    shut(peer, connection, SHUT_WR)
    peer.expect("F.", 1, 1)
    peer.expect_nothing()


def test_shutdown_wants_a_known_direction(peer: Peer) -> None:
    with raises_errno(errno.EINVAL):
        established(peer).shutdown(3, peer.now)


def test_fin_wait_2_of_a_socket_that_nobody_holds_ends_in_time(peer: Peer) -> None:
    connection = established(peer)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.inject(".", 1, 2)
    peer.advance(59_999)
    assert state_of(connection) == State.FIN_WAIT_2
    peer.advance(1)
    assert state_of(connection) == State.CLOSED
    peer.inject("F.", 1, 2)
    peer.expect("R", 2)


def test_fin_wait_2_of_a_socket_that_is_held_lasts_until_it_is_closed(peer: Peer) -> None:
    connection = in_fin_wait_1(peer)
    peer.inject(".", 1, 2)
    peer.advance(3_600_000)
    assert state_of(connection) == State.FIN_WAIT_2
    close(peer, connection)
    peer.advance(60_000)
    assert state_of(connection) == State.CLOSED


@requirement("RFC9293", "MUST-13")
def test_time_wait_lasts_two_msl_from_the_last_fin(peer: Peer) -> None:
    connection = connected(peer)
    close(peer, connection)
    peer.inject("F.", 1, 2)
    drain(peer)
    peer.advance(59_000)
    peer.inject("F.", 1, 2)
    peer.expect(".", 2, 2)
    peer.advance(59_999)
    assert state_of(connection) == State.TIME_WAIT
    peer.advance(1)
    assert state_of(connection) == State.CLOSED


def test_a_user_who_still_reads_in_time_wait_loses_nothing(peer: Peer) -> None:
    connection = in_fin_wait_1(peer)
    peer.inject("FP.", 1, 2, b"farewell")
    assert state_of(connection) == State.TIME_WAIT
    peer.advance(70_000)
    assert state_of(connection) == State.CLOSED
    assert read(peer, connection) == b"farewell"
    assert read(peer, connection) == b""
    close(peer, connection)


def test_a_fin_of_an_orphan_is_given_up_after_eight_retransmissions(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    close(peer, connection)
    begin = peer.now
    peer.advance(3_600_000)
    assert state_of(connection) == State.CLOSED
    assert {each.flags for each in peer.sent} == {"F."}
    assert 50 < (peer.sent[-1].now - begin) / 1e9 < 110


def test_the_configuration_says_how_long_orphans_are_tried_for(peer: Peer) -> None:
    peer.stack.config.tcp.orphan_retries = 2
    connection = established(peer, round_trip=100)
    close(peer, connection)
    peer.advance(5_000)
    assert state_of(connection) == State.CLOSED


def test_orphans_beyond_the_limit_are_reset(peer: Peer) -> None:
    peer.stack.config.tcp.max_orphans = 0
    connection = established(peer)
    close(peer, connection)
    peer.expect("R.", 1, 1)
    assert state_of(connection) == State.CLOSED
    assert not peer.stack.tcp.orphans


def test_linger2_limits_the_stay_in_fin_wait_2(peer: Peer) -> None:
    connection = established(peer)
    connection.options.linger2_ns = 10_000_000_000
    close(peer, connection)
    peer.inject(".", 1, 2)
    peer.advance(9_900)
    assert state_of(connection) == State.FIN_WAIT_2
    peer.advance(200)
    assert state_of(connection) == State.CLOSED


def test_with_negative_linger2_there_is_no_fin_wait_2(peer: Peer) -> None:
    connection = established(peer)
    connection.options.linger2_ns = -1
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.inject(".", 1, 2)
    peer.expect("R", 2)
    assert state_of(connection) == State.CLOSED

"""Ends without order: ABORT, close with unread data, data after close, linger zero, RST of the peer.

RFC 9293 §3.6.1, §3.10.5, §3.5.3; RFC 5961 §3.
"""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import close, drain, dropped, established, read, set_option, shut, state_of, write
from ustack.constants import SHUT_RDWR, SHUT_WR
from ustack.drops import DropReason
from ustack.endpoint import ERROR, HANGUP
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State


def bring_to(peer: Peer, state: State) -> Connection:
    """A connection in a synchronized state, reached by exchanging segments; nothing is left to look at."""
    connection = established(peer)
    received = state in (State.CLOSE_WAIT, State.LAST_ACK)
    if received:
        peer.inject("F.", 1, 1)
    if state not in (State.ESTABLISHED, State.CLOSE_WAIT):
        shut(peer, connection, SHUT_WR)
    if state in (State.FIN_WAIT_2, State.TIME_WAIT):
        peer.inject(".", 1, 2)
    if state == State.TIME_WAIT:
        peer.inject("F.", 1, 2)
    if state == State.CLOSING:
        peer.inject("F.", 1, 1)
    assert state_of(connection) == state
    drain(peer)
    return connection


SYNCHRONIZED = [state for state in State if state >= State.ESTABLISHED]
FIN_RECEIVED = [State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT]


def next_seq(connection: Connection) -> int:
    """RCV.NXT, relative."""
    return 2 if state_of(connection) in FIN_RECEIVED else 1


@requirement("RFC5961", "3.2/exact")
@requirement("RFC9293", "MUST-12")
@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_an_exact_rst_ends_every_synchronized_state(peer: Peer, state: State) -> None:
    connection = bring_to(peer, state)
    with dropped(peer, DropReason.TCP_RESET):
        peer.inject("R", next_seq(connection))
    assert state_of(connection) == State.CLOSED
    peer.expect_nothing()
    expected = {
        State.CLOSE_WAIT: errno.EPIPE,
        State.CLOSING: 0,
        State.LAST_ACK: 0,
        State.TIME_WAIT: 0,
    }.get(state, errno.ECONNRESET)
    assert bool(connection.readiness() & ERROR) == bool(expected)
    assert connection.readiness() & HANGUP
    assert connection.take_error() == expected


@requirement("RFC9293", "SHLD-2")
def test_a_rst_may_carry_data(peer: Peer) -> None:
    connection = established(peer)
    with dropped(peer, DropReason.TCP_RESET):
        peer.inject("R.", 1, 1, b"because")
    assert connection.take_error() == errno.ECONNRESET


def test_the_error_of_a_reset_is_reported_once(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("R", 1)
    with raises_errno(errno.ECONNRESET):
        write(peer, connection, b"data")
    with raises_errno(errno.EPIPE):
        write(peer, connection, b"data")
    assert read(peer, connection) == b""


def test_what_was_received_before_a_reset_can_still_be_read(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"last words")
    drain(peer)
    peer.inject("R", 11)
    assert read(peer, connection) == b"last words"
    with raises_errno(errno.ECONNRESET):
        read(peer, connection)


@requirement("RFC9293", "SHLD-3")
@pytest.mark.parametrize("state", [s for s in SYNCHRONIZED if s != State.TIME_WAIT])
def test_closing_with_unread_data_resets(peer: Peer, state: State) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"unread")
    if state in (State.CLOSE_WAIT, State.LAST_ACK):
        peer.inject("F.", 7, 1)
    if state not in (State.ESTABLISHED, State.CLOSE_WAIT):
        shut(peer, connection, SHUT_WR)
    if state == State.FIN_WAIT_2:
        peer.inject(".", 7, 2)
    if state == State.CLOSING:
        peer.inject("F.", 7, 1)
    assert state_of(connection) == state
    drain(peer)
    close(peer, connection)
    peer.expect("R.")
    peer.expect_nothing()
    assert state_of(connection) == State.CLOSED
    assert not [each for each in peer.stack.endpoints if each is connection]


@requirement("RFC9293", "MAY-1")
@requirement("RFC9293", "SHLD-3")
@pytest.mark.parametrize("state", [State.FIN_WAIT_1, State.FIN_WAIT_2])
def test_data_after_close_are_answered_with_rst(peer: Peer, state: State) -> None:
    connection = established(peer)
    close(peer, connection)
    if state == State.FIN_WAIT_2:
        peer.inject(".", 1, 2)
    assert state_of(connection) == state
    drain(peer)
    with dropped(peer, DropReason.TCP_DATA_AFTER_CLOSE):
        peer.inject("P.", 1, 2, b"nobody reads this")
    peer.expect("R", 2)
    assert state_of(connection) == State.CLOSED


def test_data_after_shutting_down_both_ways_are_answered_with_rst(peer: Peer) -> None:
    connection = established(peer)
    shut(peer, connection, SHUT_RDWR)
    peer.expect("F.", 1, 1)
    with dropped(peer, DropReason.TCP_DATA_AFTER_CLOSE):
        peer.inject("P.", 1, 2, b"nobody reads this")
    peer.expect("R", 2)
    assert connection.take_error() == errno.ECONNRESET


def test_a_fin_without_data_after_close_is_welcome(peer: Peer) -> None:
    connection = established(peer)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.inject("F.", 1, 2)
    assert state_of(connection) == State.TIME_WAIT


@pytest.mark.parametrize("state", [State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT])
def test_closing_with_linger_zero_resets(peer: Peer, state: State) -> None:
    connection = bring_to(peer, state)
    set_option(peer, connection, "linger_ns", 0)
    close(peer, connection)
    peer.expect("R.")
    peer.expect_nothing()
    assert state_of(connection) == State.CLOSED


@pytest.mark.parametrize("state", [State.CLOSING, State.LAST_ACK])
def test_aborting_when_both_sides_have_closed_sends_nothing(peer: Peer, state: State) -> None:
    connection = bring_to(peer, state)
    connection.abort(peer.now)
    peer.collect()
    peer.expect_nothing()
    assert state_of(connection) == State.CLOSED


def test_linger_zero_leaves_time_wait_alone(peer: Peer) -> None:
    connection = bring_to(peer, State.TIME_WAIT)
    set_option(peer, connection, "linger_ns", 0)
    close(peer, connection)
    peer.expect_nothing()
    assert state_of(connection) == State.TIME_WAIT


def test_aborting_throws_unsent_data_away(peer: Peer) -> None:
    connection = established(peer, window=100)
    write(peer, connection, bytes(1000))
    drain(peer)
    connection.abort(peer.now)
    peer.collect()
    peer.expect("R.", None, 1)
    peer.inject(".", 1, 101)
    peer.expect("R", 101)
    peer.expect_nothing()


def test_closing_twice_is_closing_once(peer: Peer) -> None:
    connection = established(peer)
    close(peer, connection)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.expect_nothing()


def test_a_stopped_stack_ends_every_connection(peer: Peer) -> None:
    connection = established(peer)
    peer.stack.stop(peer.now)
    with raises_errno(errno.ENETDOWN):
        read(peer, connection)
    peer.expect_nothing()
    close(peer, connection)

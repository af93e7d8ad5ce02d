"""Keep-alives: when they are sent, and what ends the connection.  RFC 9293 §3.8.4."""

from __future__ import annotations

import errno

import pytest

from tests.support.requirement import requirement
from tests.support.stream import close, connected, drain, established, set_option, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State

SECOND = 1_000_000_000


def kept_alive(peer: Peer, time: int = 10, interval: int = 2, probes: int = 3) -> Connection:
    """A connection with keep-alives; times in seconds."""
    connection = established(peer)
    connection.options.keepalive_time_ns = time * SECOND
    connection.options.keepalive_interval_ns = interval * SECOND
    connection.options.keepalive_probes = probes
    set_option(peer, connection, "keepalive", True)
    return connection


@requirement("RFC9293", "MAY-6")
def test_a_keep_alive_can_carry_an_octet_of_garbage(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(keepalive_garbage=True)))
    connection = kept_alive(peer)
    write(peer, connection, b"data")
    peer.expect("P.", 1, 1)
    peer.inject(".", 1, 5)
    peer.advance(10_000)
    assert len(peer.expect(".", 4, 1).payload) == 1
    peer.inject(".", 1, 5)
    write(peer, connection, b"more")
    peer.expect("P.", 5, 1, b"more")


@requirement("RFC9293", "MUST-25")
def test_keep_alives_are_off_by_default(peer: Peer) -> None:
    connection = established(peer)
    peer.advance(100_000_000)
    peer.expect_nothing()
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC9293", "MUST-24")
@requirement("RFC9293", "MUST-28")
@requirement("RFC9293", "MAY-5")
def test_the_first_default_probe_comes_after_two_hours(peer: Peer) -> None:
    connection = established(peer)
    set_option(peer, connection, "keepalive", True)
    peer.advance(7_199_999)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect(".", 0, 1, b"")


@requirement("RFC9293", "MUST-24")
def test_keep_alives_can_be_switched_off_again(peer: Peer) -> None:
    connection = kept_alive(peer)
    set_option(peer, connection, "keepalive", False)
    peer.advance(1_000_000)
    peer.expect_nothing()


@requirement("RFC9293", "MUST-24")
def test_an_option_set_before_the_open_counts(peer: Peer) -> None:
    connection = peer.socket()
    connection.options.keepalive = True
    connection.options.keepalive_time_ns = 5 * SECOND
    connection.bind(peer.local, peer.local_port)
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    peer.inject("S.", 0, 1)
    drain(peer)
    peer.advance(5000)
    peer.expect(".", 0, 1)


@requirement("RFC9293", "MUST-27")
@requirement("RFC9293", "MUST-29")
@requirement("RFC9293", "SHLD-12")
def test_times_and_probes_are_as_the_user_wants(peer: Peer) -> None:
    connection = kept_alive(peer, time=10, interval=2, probes=3)
    begin = peer.now
    peer.advance(60_000)
    sent = drain(peer)
    assert [(each.now - begin) // SECOND for each in sent] == [10, 12, 14, 16]
    assert all((each.flags, each.seq, each.ack, each.payload) == (".", 0, 1, b"") for each in sent[:3])
    assert sent[3].flags == "R."
    assert connection.take_error() == errno.ETIMEDOUT


@requirement("RFC9293", "MUST-29")
def test_an_answer_sets_everything_back(peer: Peer) -> None:
    connection = kept_alive(peer)
    for _ in range(20):
        peer.advance(12_000)
        assert len(drain(peer)) == 2
        peer.inject(".", 1, 1)
        peer.expect_nothing()
    assert state_of(connection) == State.ESTABLISHED
    peer.advance(9_999)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect(".", 0, 1)


@requirement("RFC9293", "MUST-26")
def test_data_of_the_peer_put_the_probe_off(peer: Peer) -> None:
    kept_alive(peer)
    for index in range(10):
        peer.advance(9_000)
        peer.inject("P.", 1 + index, 1, b"x")
        peer.advance(40)
        peer.expect(".", 1, 2 + index)
    peer.expect_nothing()


@requirement("RFC9293", "MUST-26")
def test_data_of_ours_put_the_probe_off(peer: Peer) -> None:
    connection = kept_alive(peer)
    peer.advance(9_000)
    write(peer, connection, b"x")
    peer.expect("P.")
    peer.inject(".", 1, 2)
    peer.advance(9_999)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect(".", 1, 1)


@requirement("RFC9293", "MUST-26")
def test_no_probe_is_sent_while_data_are_outstanding(peer: Peer) -> None:
    connection = kept_alive(peer, time=1)
    write(peer, connection, b"unanswered")
    peer.advance(100_000)
    assert all(each.payload == b"unanswered" for each in drain(peer))
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC9293", "MUST-26")
def test_no_keep_alive_is_sent_while_the_window_is_closed(peer: Peer) -> None:
    connection = kept_alive(peer, time=1, interval=1, probes=1)
    write(peer, connection, b"x")
    peer.inject(".", 1, 2, window=0)
    write(peer, connection, b"waits")
    drain(peer)
    for _ in range(30):
        peer.advance(1000)
        if drain(peer):
            peer.inject(".", 1, 2, window=0)
    assert state_of(connection) == State.ESTABLISHED


def test_a_reset_ends_the_probing(peer: Peer) -> None:
    connection = kept_alive(peer)
    peer.advance(10_000)
    peer.expect(".", 0, 1)
    peer.inject("R", 1)
    assert connection.take_error() == errno.ECONNRESET
    peer.advance(100_000)
    peer.expect_nothing()


def test_a_half_closed_connection_is_kept_alive_too(peer: Peer) -> None:
    connection = kept_alive(peer)
    connection.shutdown(1, peer.now)
    peer.collect()
    drain(peer)
    peer.inject(".", 1, 2)
    peer.advance(10_000)
    peer.expect(".", 1, 1)


def test_time_wait_is_not_probed(peer: Peer) -> None:
    connection = kept_alive(peer)
    close(peer, connection)
    peer.inject("F.", 1, 2)
    drain(peer)
    peer.advance(100_000)
    peer.expect_nothing()
    assert state_of(connection) == State.CLOSED


def test_a_user_time_out_counts_instead_of_the_number_of_probes(peer: Peer) -> None:
    connection = kept_alive(peer, time=10, interval=1, probes=2)
    set_option(peer, connection, "user_timeout_ns", 30 * SECOND)
    peer.advance(29_999)
    assert state_of(connection) == State.ESTABLISHED
    peer.advance(1)
    assert connection.take_error() == errno.ETIMEDOUT


def test_many_probes_without_an_answer_are_counted_safely(peer: Peer) -> None:
    connection = kept_alive(peer, time=1, interval=1, probes=2)
    set_option(peer, connection, "user_timeout_ns", 1000 * SECOND)
    peer.advance(999_000)
    assert state_of(connection) == State.ESTABLISHED


def test_the_probe_of_a_peer_is_answered(peer: Peer) -> None:
    connected(peer)
    peer.inject(".", 0, 1)
    peer.expect(".", 1, 1)
    peer.advance(1000)
    peer.inject(".", 0, 1, b"x")
    peer.expect(".", 1, 1)

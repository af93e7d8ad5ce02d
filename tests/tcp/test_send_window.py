"""The window that the peer offers: full use, closing, shrinking, probing.  RFC 9293 §3.8.6.1, §3.8.6.2.1."""

from __future__ import annotations

import errno
import itertools

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, established, payload_of, set_option, state_of, write
from ustack.sim.peer import MILLISECOND, Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State

STREAM = bytes(range(256)) * 400
SECOND = 1_000_000_000


def blocked(peer: Peer, data: bytes = b"waiting") -> Connection:
    """A connection whose peer has closed its window, with data to send; its RTO is 200 ms."""
    connection = established(peer, mss=1000)
    write(peer, connection, b"x")
    peer.expect("P.", 1)
    peer.inject(".", 1, 2, window=0)
    write(peer, connection, data)
    peer.expect_nothing()
    return connection


def test_the_window_is_used_to_its_last_byte(peer: Peer) -> None:
    connection = established(peer, window=2500, mss=1000)
    write(peer, connection, STREAM[:10_000])
    sent = drain(peer)
    assert payload_of(sent) == STREAM[:2000]
    peer.inject(".", 1, 2001, window=2500)
    assert payload_of(drain(peer)) == STREAM[2000:4500]


def test_the_window_is_scaled(peer: Peer) -> None:
    connection = established(peer, window=2000, mss=1000, window_scale=3)
    assert connection.tcb.snd_wnd == 2000
    peer.inject(".", 1, 1, window=500)
    assert connection.tcb.snd_wnd == 4000
    write(peer, connection, STREAM[:9000])
    assert payload_of(drain(peer)) == STREAM[:4000]


@requirement("RFC9293", "MUST-1")
def test_a_large_scaled_window_is_no_negative_number(peer: Peer) -> None:
    connection = established(peer, window=65535, window_scale=14)
    peer.inject(".", 1, 1, window=65535)
    assert connection.tcb.snd_wnd == 65535 << 14
    write(peer, connection, b"data")
    peer.expect("P.", 1, 1, b"data")


@requirement("RFC9293", "MUST-38")
def test_the_sender_does_not_fill_silly_windows(peer: Peer) -> None:
    connection = established(peer, window=10_000, mss=1000)
    write(peer, connection, STREAM[:10_000])
    assert payload_of(drain(peer)) == STREAM[:10_000]
    write(peer, connection, STREAM[10_000:20_000])
    peer.inject(".", 1, 10_001, window=100)
    peer.expect_nothing()
    peer.inject(".", 1, 10_001, window=999)
    peer.expect_nothing()
    peer.inject(".", 1, 10_001, window=1000)
    peer.expect(".", 10_001, 1, STREAM[10_000:11_000])


@requirement("RFC9293", "MUST-38")
def test_half_of_the_largest_window_is_not_silly(peer: Peer) -> None:
    connection = established(peer, window=1600, mss=1460)
    write(peer, connection, STREAM[:1460])
    drain(peer)
    write(peer, connection, STREAM[1460:5000])
    peer.inject(".", 1, 1461, window=799)
    peer.expect_nothing()
    peer.inject(".", 1, 1461, window=800)
    assert len(peer.expect(".").payload) == 800


@requirement("RFC9293", "MUST-38")
def test_all_that_there_is_goes_into_a_small_window(peer: Peer) -> None:
    connection = established(peer, window=10_000, mss=1000)
    write(peer, connection, STREAM[:10_000])
    drain(peer)
    peer.inject(".", 1, 10_001, window=50)
    write(peer, connection, bytes(50))
    assert len(peer.expect("P.").payload) == 50


@requirement("RFC9293", "MUST-60")
def test_a_silly_window_is_filled_after_the_override_time_out(peer: Peer) -> None:
    connection = established(peer, window=10_000, mss=1000)
    write(peer, connection, STREAM[:10_000])
    drain(peer)
    write(peer, connection, STREAM[10_000:12_000])
    peer.inject(".", 1, 10_001, window=100)
    at = peer.now
    peer.advance(250)
    sent = peer.expect("P.", 10_001, 1, STREAM[10_000:10_100])
    assert 100 * MILLISECOND <= sent.now - at <= SECOND
    peer.inject(".", 1, 10_101, window=100)
    peer.advance(250)
    peer.expect("P.", 10_101, 1, STREAM[10_100:10_200])


@requirement("RFC9293", "MUST-36")
@requirement("RFC9293", "SHLD-29")
@requirement("RFC9293", "SHLD-30")
def test_a_closed_window_is_probed_after_one_rto_and_then_ever_more_seldom(peer: Peer) -> None:
    connection = blocked(peer)
    at = peer.now
    rto = connection.tcb.rto_ns
    peer.advance(300_000)
    times = [each.now - at for each in peer.sent]
    assert times[:6] == [rto * (2**k - 1) for k in range(1, 7)]
    assert all((each.flags, each.seq, each.payload) == (".", 1, b"") for each in peer.sent)
    assert max(b - a for a, b in itertools.pairwise(times)) <= 120 * SECOND


@requirement("RFC9293", "MUST-37")
def test_the_connection_stays_while_the_probes_are_answered(peer: Peer) -> None:
    connection = blocked(peer)
    for _ in range(200):
        peer.advance(121_000)
        assert drain(peer)
        peer.inject(".", 1, 2, window=0)
    assert state_of(connection) == State.ESTABLISHED
    peer.inject(".", 1, 2, window=1000)
    peer.expect("P.", 2, 1, b"waiting")


def test_the_connection_ends_when_the_probes_stay_without_an_answer(peer: Peer) -> None:
    connection = blocked(peer)
    peer.advance(3_600_000)
    assert connection.take_error() == errno.ETIMEDOUT
    assert len(peer.sent) >= 15


def test_an_orphan_is_not_probed_for_ever(peer: Peer) -> None:
    connection = blocked(peer)
    connection.close(peer.now)
    for _ in range(60):
        peer.advance(121_000)
        peer.inject(".", 1, 2, window=0)
    assert state_of(connection) == State.CLOSED


@requirement("RFC9293", "MUST-36")
def test_an_opening_window_is_used_at_once(peer: Peer) -> None:
    blocked(peer)
    peer.advance(5000)
    drain(peer)
    peer.inject(".", 1, 2, window=500)
    peer.expect("P.", 2, 1, b"waiting")
    peer.expect_nothing()


def test_the_back_off_of_the_probes_does_not_delay_later_retransmissions(peer: Peer) -> None:
    connection = blocked(peer)
    peer.advance(50_000)
    drain(peer)
    peer.inject(".", 1, 2, window=500)
    at = peer.expect("P.", 2).now
    peer.advance(60_000)
    assert peer.expect("P.", 2).now - at == connection.tcb.rto_ns


def test_the_answer_to_a_probe_that_opens_nothing_changes_nothing(peer: Peer) -> None:
    connection = blocked(peer)
    peer.advance(1000)
    probes = len(drain(peer))
    deadline = peer.stack.next_deadline()
    peer.inject(".", 1, 2, window=0)
    peer.expect_nothing()
    assert probes == 2
    assert peer.stack.next_deadline() == deadline
    assert connection.tcb.dup_acks == 0


@requirement("RFC9293", "MUST-34")
@requirement("RFC9293", "SHLD-15")
def test_a_window_that_shrinks_below_what_was_sent_stops_new_data(peer: Peer) -> None:
    connection = established(peer, window=5000, mss=1000)
    write(peer, connection, STREAM[:5000])
    assert len(payload_of(drain(peer))) == 5000
    peer.inject(".", 1, 1001, window=1000)
    write(peer, connection, STREAM[5000:6000])
    peer.expect_nothing()
    peer.inject(".", 1, 3001, window=1000)
    peer.expect_nothing()
    peer.inject(".", 1, 5001, window=1000)
    peer.expect("P.", 5001, 1, STREAM[5000:6000])


@requirement("RFC9293", "SHLD-16")
def test_data_within_a_shrunk_window_are_still_sent_again(peer: Peer) -> None:
    connection = established(peer, window=5000, mss=1000)
    write(peer, connection, STREAM[:5000])
    drain(peer)
    peer.inject(".", 1, 1001, window=1000)
    peer.advance(201)
    peer.expect(".", 1001, 1, STREAM[1000:2000])
    peer.expect_nothing()
    peer.inject(".", 1, 2001, window=1000)
    peer.expect(".", 2001, 1, STREAM[2000:3000])
    peer.expect_nothing()
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC9293", "MUST-35")
@requirement("RFC9293", "SHLD-17")
@requirement("RFC9293", "MAY-7")
def test_a_window_that_shrinks_to_nothing_is_probed_by_one_segment_while_the_peer_answers(peer: Peer) -> None:
    connection = established(peer, window=5000, mss=1000)
    write(peer, connection, STREAM[:5000])
    drain(peer)
    peer.inject(".", 1, 1, window=0)
    for _ in range(300):
        peer.advance(120_000)
        for sent in drain(peer):
            assert (sent.seq, sent.payload) == (1, STREAM[:1000])
        peer.inject(".", 1, 1, window=0)
    assert state_of(connection) == State.ESTABLISHED
    peer.inject(".", 1, 1, window=5000)
    peer.expect(".", 1, 1, STREAM[:1000])
    peer.inject(".", 1, 1001, window=5000)
    assert payload_of(drain(peer)) == STREAM[1000:3000]
    peer.inject(".", 1, 5001, window=5000)
    assert connection.tcb.sent.count == 0


def test_an_older_segment_does_not_change_the_window(peer: Peer) -> None:
    connection = established(peer, window=5000)
    peer.inject("P.", 1, 1, b"newer", window=4000)
    peer.inject("P.", 6, 1, b"newer", window=4000)
    assert connection.tcb.snd_wnd == 4000
    peer.inject("P.", 1, 1, b"newer", window=5000)
    assert connection.tcb.snd_wnd == 4000
    write(peer, connection, b"data")
    peer.inject(".", 11, 5, window=3000)
    peer.inject(".", 11, 1, window=200)
    peer.inject(".", 11, 5, window=200)
    assert connection.tcb.snd_wnd == 3000


@pytest.mark.parametrize("limit", [5, 20])
def test_a_user_time_out_ends_a_connection_whose_probes_stay_without_an_answer(peer: Peer, limit: int) -> None:
    connection = blocked(peer)
    set_option(peer, connection, "user_timeout_ns", limit * SECOND)
    peer.advance(1000 * (limit - 1))
    assert state_of(connection) == State.ESTABLISHED
    peer.advance(60_000)
    assert connection.take_error() == errno.ETIMEDOUT


def test_an_ack_lies_within_a_window_that_was_shrunk(peer: Peer) -> None:
    connection = established(peer, window=10_000, mss=1000)
    write(peer, connection, STREAM[:5000])
    drain(peer)
    peer.inject("P.", 1, 1, b"open", window=10_000)
    peer.advance(100)
    peer.expect(".", 5001, 5, b"")
    peer.inject("P.", 5, 1, b"shrunk", window=2000)
    peer.advance(100)
    peer.expect(".", 2001, 11, b"")
    connection.abort(peer.now)
    peer.collect()
    peer.expect("R.", 2001, 11)

"""The retransmission timer: round-trip times, back-off, giving up.  RFC 6298; RFC 9293 §3.8.1, §3.8.3."""

from __future__ import annotations

import errno
import itertools

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import drain, established, read, set_option, state_of, write
from ustack.sim.peer import MILLISECOND, Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State

SECOND = 1_000_000_000
FLOOR = 200 * MILLISECOND
STREAM = bytes(range(256)) * 100


def times_since(peer: Peer, begin: int) -> list[int]:
    """When each segment was sent, in milliseconds."""
    return [(each.now - begin) // MILLISECOND for each in drain(peer)]


@requirement("RFC9293", "MUST-18")
@requirement("RFC6298", "2.2")
def test_the_first_sample_sets_srtt_to_itself_and_rttvar_to_its_half(peer: Peer) -> None:
    connection = established(peer, round_trip=300)
    tcb = connection.tcb
    assert (tcb.srtt_ns, tcb.rttvar_ns) == (300 * MILLISECOND, 150 * MILLISECOND)
    assert tcb.rto_ns == 900 * MILLISECOND


@requirement("RFC9293", "MUST-18")
@requirement("RFC6298", "2.3")
def test_later_samples_are_smoothed_by_an_eighth_and_a_quarter(peer: Peer) -> None:
    connection = established(peer, round_trip=300)
    write(peer, connection, b"x")
    peer.advance(500)
    peer.inject(".", 1, 2)
    tcb = connection.tcb
    rttvar = (3 * 150 * MILLISECOND + 200 * MILLISECOND) // 4
    srtt = (7 * 300 * MILLISECOND + 500 * MILLISECOND) // 8
    assert (tcb.srtt_ns, tcb.rttvar_ns, tcb.rto_ns) == (srtt, rttvar, srtt + 4 * rttvar)


@requirement("RFC6298", "2.4")
def test_a_steady_path_has_an_rto_of_its_round_trip_and_200_ms(peer: Peer) -> None:
    connection = established(peer, round_trip=50)
    for index in range(60):
        write(peer, connection, b"x")
        peer.advance(50)
        peer.inject(".", 1, 2 + index)
    assert connection.tcb.srtt_ns == 50 * MILLISECOND
    assert connection.tcb.rto_ns == 50 * MILLISECOND + FLOOR


@requirement("RFC6298", "5.1")
def test_an_unacknowledged_segment_is_sent_again_after_the_rto(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    assert connection.tcb.rto_ns == 300 * MILLISECOND
    begin = peer.now
    write(peer, connection, b"data")
    first = peer.expect("P.", 1, 1, b"data")
    peer.advance(299)
    peer.expect_nothing()
    peer.advance(1)
    again = peer.expect("P.", 1, 1, b"data")
    assert (first.now, again.now) == (begin, begin + 300 * MILLISECOND)
    assert connection.tcb.retransmissions == 1


@requirement("RFC6298", "5.6")
@requirement("RFC6298", "2.5")
@requirement("RFC9293", "MUST-19")
@requirement("RFC6298", "5.5")
def test_the_time_out_doubles_up_to_two_minutes(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    begin = peer.now
    write(peer, connection, b"data")
    peer.advance(500_000)
    times = times_since(peer, begin)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps == [300 * 2**k for k in range(9)] + [120_000] * (len(gaps) - 9)
    assert len(gaps) > 10


@requirement("RFC6298", "5.2")
@requirement("RFC6298", "5.3")
def test_the_timer_starts_again_with_every_new_ack_and_stops_with_the_last(peer: Peer) -> None:
    connection = established(peer, round_trip=100, mss=1000)
    write(peer, connection, STREAM[:3000])
    drain(peer)
    peer.advance(100)
    peer.inject(".", 1, 1001)
    peer.advance(250)
    peer.expect_nothing()
    peer.inject(".", 1, 2001)
    at = peer.now
    peer.advance(1000)
    assert peer.expect(None, 2001).now - at == connection.tcb.rto_ns
    drain(peer)
    peer.inject(".", 1, 3001)
    assert peer.stack.next_deadline() is None or not connection.tcb.retransmit_kind
    peer.advance(100_000)
    peer.expect_nothing()


@requirement("RFC6298", "5.4")
def test_only_the_earliest_segment_is_sent_again_at_first(peer: Peer) -> None:
    connection = established(peer, round_trip=100, mss=1000)
    write(peer, connection, STREAM[:5000])
    drain(peer)
    peer.advance(300)
    peer.expect(".", 1, 1, STREAM[:1000])
    peer.expect_nothing()
    peer.inject(".", 1, 1001)
    peer.expect(".", 1001, 1, STREAM[1000:2000])
    peer.expect(".", 2001, 1, STREAM[2000:3000])
    peer.expect_nothing()


@requirement("RFC9293", "MUST-18")
@requirement("RFC6298", "3")
def test_no_sample_is_taken_of_what_was_sent_twice(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    write(peer, connection, b"data")
    peer.advance(350)
    before = (connection.tcb.srtt_ns, connection.tcb.rttvar_ns)
    peer.inject(".", 1, 5)
    assert (connection.tcb.srtt_ns, connection.tcb.rttvar_ns) == before


@requirement("RFC6298", "3")
def test_no_sample_is_taken_of_an_ack_that_covers_something_sent_twice(peer: Peer) -> None:
    connection = established(peer, round_trip=100, mss=1000)
    write(peer, connection, STREAM[:2000])
    for _ in range(3):
        write(peer, connection, b"")
    before = connection.tcb.srtt_ns
    peer.advance(300)
    write(peer, connection, STREAM[2000:4000])
    peer.inject(".", 1, 2001)
    assert connection.tcb.srtt_ns == before


@requirement("RFC6298", "5.7")
def test_the_back_off_stays_until_a_sample_can_be_taken(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    write(peer, connection, b"lost")
    peer.advance(900)
    assert len(drain(peer)) == 3
    peer.inject(".", 1, 5)
    at = peer.now
    write(peer, connection, b"next")
    peer.advance(1200)
    assert times_since(peer, at) == [0, 1200]
    peer.inject(".", 1, 9)
    at = peer.now
    write(peer, connection, b"fresh")
    peer.advance(100)
    peer.inject(".", 1, 14)
    drain(peer)
    at = peer.now
    write(peer, connection, b"last")
    peer.advance(400)
    assert times_since(peer, at) == [0, connection.tcb.rto_ns // MILLISECOND]


@requirement("RFC7323", "4.1")
def test_an_echoed_timestamp_gives_a_sample_even_of_what_was_sent_twice(peer: Peer) -> None:
    connection = established(peer, round_trip=100, timestamps=(1, 0))
    write(peer, connection, b"data")
    peer.advance(300)
    again = drain(peer)[-1].options.timestamps
    assert again is not None
    peer.advance(100)
    srtt = connection.tcb.srtt_ns
    peer.inject(".", 1, 5, timestamps=(2, again[0]))
    assert connection.tcb.srtt_ns == srtt
    assert connection.tcb.backoff == 0


@requirement("RFC6298", "5.7")
def test_after_a_lost_syn_the_rto_is_three_seconds(peer: Peer) -> None:
    connection = peer.connect()
    peer.advance(1000)
    assert len(drain(peer)) == 2
    peer.inject("S.", 0, 1)
    drain(peer)
    at = peer.now
    write(peer, connection, b"data")
    peer.advance(3000)
    assert times_since(peer, at) == [0, 3000]


@requirement("RFC6298", "2.1")
def test_before_any_sample_the_time_out_is_one_second(peer: Peer) -> None:
    connection = peer.connect()
    assert connection.tcb.rto_ns == SECOND


@requirement("RFC9293", "MUST-20")
@requirement("RFC9293", "SHLD-11")
def test_the_connection_is_given_up_after_the_time_of_15_retransmissions(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    begin = peer.now
    write(peer, connection, b"data")
    peer.advance(900_000)
    assert state_of(connection) == State.ESTABLISHED
    peer.advance(200_000)
    sent = drain(peer)
    assert {each.payload for each in sent} == {b"data"}
    assert sent[-1].now - begin > 100 * SECOND
    assert state_of(connection) == State.CLOSED
    with raises_errno(errno.ETIMEDOUT):
        read(peer, connection)
    assert read(peer, connection) == b""


@requirement("RFC9293", "MUST-20")
def test_any_progress_sets_the_count_back(peer: Peer) -> None:
    connection = established(peer, round_trip=100, mss=1000)
    write(peer, connection, STREAM[:3000])
    peer.advance(200_000)
    peer.inject(".", 1, 1001)
    assert connection.tcb.retransmits == 0
    peer.advance(900_000)
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC9293", "SHLD-9")
@requirement("RFC9293", "SHLD-10")
def test_the_trouble_is_noted_after_three_retransmissions(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    write(peer, connection, b"data")
    peer.advance(300 + 600)
    assert connection.soft_error == 0
    peer.advance(3700)
    assert connection.soft_error == errno.ETIMEDOUT
    assert connection.error == 0


@requirement("RFC9293", "MUST-21")
@pytest.mark.parametrize("limit", [1, 5, 60])
def test_the_user_decides_how_long_data_may_stay_unacknowledged(peer: Peer, limit: int) -> None:
    connection = established(peer, round_trip=100)
    set_option(peer, connection, "user_timeout_ns", limit * SECOND)
    write(peer, connection, b"data")
    peer.advance(300 + limit * 1000 - 1)
    assert state_of(connection) == State.ESTABLISHED
    peer.advance(1)
    assert connection.take_error() == errno.ETIMEDOUT


@requirement("RFC9293", "MUST-21")
def test_a_user_time_out_longer_than_r2_counts_instead_of_it(peer: Peer) -> None:
    connection = established(peer, round_trip=100)
    set_option(peer, connection, "user_timeout_ns", 100_000 * SECOND)
    write(peer, connection, b"data")
    peer.advance(99_999_000)
    assert state_of(connection) == State.ESTABLISHED
    peer.advance(1300)
    assert state_of(connection) == State.CLOSED


@requirement("RFC9293", "MUST-22")
def test_a_user_time_out_applies_to_the_syn(peer: Peer) -> None:
    connection = peer.socket()
    connection.options.user_timeout_ns = 5 * SECOND
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.advance(4999)
    assert state_of(connection) == State.SYN_SENT
    peer.advance(1)
    assert connection.take_error() == errno.ETIMEDOUT


def test_a_time_out_takes_back_what_is_known_to_be_acknowledged_only(peer: Peer) -> None:
    connection = established(peer, round_trip=100, mss=1000)
    write(peer, connection, STREAM[:4000])
    peer.inject(".", 1, 1501)
    drain(peer)
    peer.advance(1000)
    assert drain(peer)[0].seq == 1501
    peer.inject(".", 1, 4001)
    assert connection.tcb.sent.count == 0


def test_what_the_user_wrote_meanwhile_follows_the_retransmission(peer: Peer) -> None:
    connection = established(peer, round_trip=100, mss=1000)
    write(peer, connection, STREAM[:500])
    write(peer, connection, STREAM[500:900])
    drain(peer)
    peer.advance(300)
    peer.expect("P.", 1, 1, STREAM[:500])
    peer.inject(".", 1, 501)
    peer.expect("P.", 501, 1, STREAM[500:900])


def test_retransmissions_acknowledge_the_latest_data(peer: Peer) -> None:
    connection: Connection = established(peer, round_trip=100)
    write(peer, connection, b"data")
    drain(peer)
    peer.inject("P.", 1, 1, b"other way")
    peer.expect(".", 5, 10)
    peer.advance(340)
    peer.expect("P.", 1, 10, b"data")

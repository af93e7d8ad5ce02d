"""When segments leave: the published rate, SO_MAX_PACING_RATE, controllers that pace, the timer."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.stream import drain, established, set_option, write
from ustack.config import StackConfig, TcpConfig
from ustack.native import lib
from ustack.sim.peer import Peer
from ustack.tcp import pacing
from ustack.tcp.connection import Connection

MSS = 1000
STREAM = bytes(1 << 20)


def full_speed(peer: Peer) -> Connection:
    """A round trip of 100 ms, a wide window, a megabyte to send."""
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM)
    return connection


def departures(peer: Peer, milliseconds: int) -> list[tuple[int, int]]:
    """What leaves from now on: (milliseconds from now, bytes)."""
    start = peer.now
    for _ in range(milliseconds):
        peer.advance(1)
    return [((each.now - start) // 1_000_000, len(each.payload)) for each in drain(peer)]


def test_the_published_rate_is_twice_the_window_a_round_trip_in_slow_start(peer: Peer) -> None:
    connection = full_speed(peer)
    drain(peer)
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert connection.tcb.pacing_rate == pytest.approx(2 * 20 * MSS / 0.1, rel=0.01)


def test_near_the_end_of_slow_start_it_is_a_fifth_more(peer: Peer) -> None:
    connection = full_speed(peer)
    assert connection.congestion is not None
    connection.congestion.ssthresh = 30
    drain(peer)
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert connection.tcb.pacing_rate == pytest.approx(1.2 * 20 * MSS / 0.1, rel=0.01)


def test_without_a_reason_nothing_is_paced(peer: Peer) -> None:
    full_speed(peer)
    drain(peer)
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert sum(len(each.payload) for each in drain(peer)) == 20 * MSS


def test_a_limited_rate_spreads_segments_and_is_kept(peer: Peer) -> None:
    connection = full_speed(peer)
    drain(peer)
    set_option(peer, connection, "max_pacing_rate", 100_000)
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert connection.tcb.pacing_rate == 100_000
    sent = departures(peer, 100)
    assert len(sent) >= 4
    assert sum(length for _, length in sent) == pytest.approx(10_000, abs=3000)


def test_the_first_ten_segments_leave_at_once_whatever_the_rate(peer: Peer) -> None:
    listener = peer.listen()
    set_option(peer, listener, "max_pacing_rate", 10_000)
    peer.inject("S", 0, window_scale=10, mss=MSS)
    peer.advance(100)
    peer.inject(".", 1, 1, window=60_000)
    connection = listener.accept()
    assert isinstance(connection, Connection)
    write(peer, connection, STREAM)
    assert sum(len(each.payload) for each in drain(peer)) == 10 * MSS


def test_bbr_paces_what_its_window_would_allow_at_once(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(congestion_control="bbr")))
    connection = full_speed(peer)
    drain(peer)
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert connection.tcb.cwnd_packets == 20
    at_once = sum(len(each.payload) for each in drain(peer))
    assert at_once < 20 * MSS
    sent = departures(peer, 100)
    assert at_once + sum(length for _, length in sent) == 20 * MSS
    assert len({when for when, _ in sent}) >= 4
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(sent)]
    expected = sent[0][1] / int(connection.tcb.pacing_rate) * 1000
    assert all(gap <= 2 * expected + 1 for gap in gaps)


def test_a_stack_may_pace_everything(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(pace_everything=True)))
    full_speed(peer)
    drain(peer)
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert 0 < sum(len(each.payload) for each in drain(peer)) < 20 * MSS
    departures(peer, 60)


def test_the_timer_stops_when_all_is_sent(peer: Peer) -> None:
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    set_option(peer, connection, "max_pacing_rate", 50_000)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[: 14 * MSS])
    drain(peer)
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert connection.tcb.deadline_ns[lib.TIMER_PACING]
    sent = departures(peer, 200)
    assert not connection.tcb.deadline_ns[lib.TIMER_PACING]
    assert connection.tcb.snd_nxt == connection.tcb.snd_una + 4 * MSS
    assert sent


def test_another_controller_ends_the_pacing(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(congestion_control="bbr")))
    connection = full_speed(peer)
    drain(peer)
    peer.advance(100)
    set_option(peer, connection, "congestion_control", "cubic")
    assert not pacing.is_paced(connection)
    peer.inject(".", 1, 10_001, window=60_000)
    assert sum(len(each.payload) for each in drain(peer)) >= 19 * MSS


def test_at_a_very_low_rate_no_timer_breaks_in_on_the_pacing(peer: Peer) -> None:
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[: 10 * MSS])
    drain(peer)
    peer.advance(100)
    set_option(peer, connection, "max_pacing_rate", 1000)
    peer.inject(".", 1, 10_001, window=60_000)
    write(peer, connection, STREAM[: 10 * MSS])
    acked = 10_001
    departed: set[int] = set()
    for _ in range(100):
        sent = drain(peer)
        departed |= {each.now for each in sent}
        acked += sum(len(each.payload) for each in sent)
        peer.advance(100)
        peer.inject(".", 1, acked, window=60_000)
    assert 4 <= len(departed) <= 6
    assert min(later - earlier for earlier, later in pairwise(sorted(departed)[1:])) >= 1_900_000_000
    assert not connection.tcb.backoff

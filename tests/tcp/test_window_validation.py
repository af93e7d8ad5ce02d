"""The window grows only where it was made use of, and shrinks where it is not.  RFC 7661, RFC 2861."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, established, write
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection

MSS = 1000
STREAM = bytes(1 << 20)


def wide(peer: Peer) -> Connection:
    """A round trip of 100 ms and a wide window."""
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    return connection


def acknowledge(peer: Peer, segments: int) -> None:
    drain(peer)
    peer.inject(".", 1, 1 + segments * MSS, window=60_000)


@pytest.mark.parametrize(
    ("written", "windows"),
    [
        (5, [10, 10, 10]),
        (6, [12, 12, 12]),
        (9, [12, 14, 16, 18, 18]),
        (10, [12, 14, 16, 18, 20]),
    ],
)
def test_in_slow_start_the_window_grows_to_twice_what_was_sent(peer: Peer, written: int, windows: list[int]) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[: written * MSS])
    peer.advance(100)
    seen = []
    for segments in [*range(2, written, 2), written]:
        acknowledge(peer, segments)
        seen.append(connection.tcb.cwnd_packets)
    assert seen == windows


def grown(peer: Peer) -> tuple[Connection, int]:
    """A connection with a window of eighty segments and nothing in flight, and what it has sent."""
    connection = wide(peer)
    write(peer, connection, STREAM[: 70 * MSS])
    acked = 0
    while acked < 70:
        acked += sum(len(each.payload) for each in drain(peer)) // MSS
        peer.advance(100)
        peer.inject(".", 1, 1 + acked * MSS, window=60_000)
    assert connection.tcb.cwnd_packets > 60
    return connection, acked


def use_little_for_a_time_out(peer: Peer, connection: Connection) -> None:
    """Two segments and, a little more than a time-out after the last ACK, two more."""
    peer.advance(connection.tcb.rto_ns / 1_000_000 - 120)
    write(peer, connection, STREAM[: 2 * MSS])
    peer.advance(130)
    write(peer, connection, STREAM[: 2 * MSS])
    drain(peer)


def test_a_window_that_is_not_used_for_a_time_out_comes_half_way_down_to_what_is(peer: Peer) -> None:
    connection, _ = grown(peer)
    before = connection.tcb.cwnd_packets
    use_little_for_a_time_out(peer, connection)
    assert connection.tcb.cwnd_packets == (before + 10) // 2
    assert connection.tcb.ssthresh_packets >= before // 2 + before // 4


def test_it_keeps_the_window_where_idleness_is_to_change_nothing(peer: Peer) -> None:
    peer.stack.config.tcp.slow_start_after_idle = False
    connection, _ = grown(peer)
    before = connection.tcb.cwnd_packets
    use_little_for_a_time_out(peer, connection)
    assert connection.tcb.cwnd_packets == before


def test_acknowledgments_that_keep_coming_keep_the_window(peer: Peer) -> None:
    connection, acked = grown(peer)
    before = connection.tcb.cwnd_packets
    for _ in range(20):
        write(peer, connection, STREAM[: 2 * MSS])
        drain(peer)
        acked += 2
        peer.advance(100)
        peer.inject(".", 1, 1 + acked * MSS, window=60_000)
    assert connection.tcb.cwnd_packets == before


@requirement("RFC5681", "4.1")
def test_a_window_that_opens_again_after_a_long_time_restarts_from_the_initial_one(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[: 26 * MSS])
    acknowledge(peer, 10)
    peer.advance(100)
    drain(peer)
    peer.inject(".", 1, 1 + 26 * MSS, window=0)
    assert connection.tcb.cwnd_packets == 36
    write(peer, connection, STREAM[: 20 * MSS])
    peer.advance(3000)
    drain(peer)
    assert connection.tcb.cwnd_packets == 36
    peer.inject(".", 1, 1 + 26 * MSS, window=60_000)
    assert connection.tcb.cwnd_packets == 10


def test_the_delivery_rate_is_what_the_path_took(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM)
    drain(peer)
    peer.advance(100)
    acknowledge(peer, 10)
    peer.advance(100)
    acknowledge(peer, 30)
    tcb = connection.tcb
    assert (tcb.rate_delivered, tcb.rate_interval_ns) == (20, 100_000_000)
    assert not tcb.rate_app_limited


def test_a_rate_for_want_of_data_is_told_as_such_and_does_not_replace_a_larger_one(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[: 10 * MSS])
    peer.advance(100)
    acknowledge(peer, 10)
    tcb = connection.tcb
    assert tcb.rate_app_limited
    assert tcb.rate_delivered == 10
    write(peer, connection, STREAM[: 2 * MSS])
    peer.advance(100)
    acknowledge(peer, 12)
    assert tcb.rate_delivered == 10

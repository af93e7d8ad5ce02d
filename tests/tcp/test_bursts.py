"""How much leaves at once: half of cwnd, what pacing sends in a millisecond, whether to wait for the next ACK.

The numbers are Linux's, most of them from public packetdrill scripts.  Devices here take super-segments whole.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stream import close, drain, established, payload_of, set_option, write
from ustack.config import StackConfig, TcpConfig
from ustack.constants import MSG_OOB
from ustack.native import lib
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection

STREAM = bytes(range(256)) * 800
OFFLOAD = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6
WINDOW = 257 << 7


def opened(
    version: int, round_trip: float = 100, window: int = WINDOW, scale: int = 7, **tunables: Any
) -> tuple[Peer, Connection]:
    """A connection whose peer takes segments of 1000 bytes, after a round trip in milliseconds."""
    peer = Peer(version, StackConfig(tcp=TcpConfig(**tunables)), offload=OFFLOAD)
    connection = established(
        peer, window=window, round_trip=round_trip, mss=1000, sack_permitted=True, window_scale=scale
    )
    return peer, connection


def bursts(peer: Peer) -> list[int]:
    """The super-segments that have left."""
    return [len(each.payload) for each in drain(peer)]


def test_a_super_segment_is_at_most_half_of_the_congestion_window(version: int) -> None:
    peer, connection = opened(version, min_tso_segs=10)
    write(peer, connection, STREAM[:26_000])
    assert bursts(peer) == [5000, 5000]
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=511)
    assert connection.tcb.cwnd_packets == 20
    assert bursts(peer) == [10_000, 6000]


def test_a_slow_path_gets_small_super_segments(version: int) -> None:
    """Ten segments in 100 ms, twice as fast: 195 bytes in a millisecond, but never less than two segments."""
    peer, connection = opened(version)
    write(peer, connection, STREAM[:10_000])
    assert bursts(peer) == [2000] * 5


def test_a_fast_path_gets_large_ones(version: int) -> None:
    """The least round-trip time below 2^9 µs: as large as can be."""
    peer, connection = opened(version, round_trip=0.3)
    write(peer, connection, STREAM[:10_000])
    assert bursts(peer) == [5000, 5000]


def test_the_least_round_trip_time_shrinks_them_by_halves(version: int) -> None:
    """2 ms are 2^9 µs three times: an eighth of the largest beside the 9 segments that are paced in a millisecond."""
    slow = {"round_trip": 2, "initial_window_segments": 100, "window": 60_000, "scale": 0, "pacing_ss_ratio": 20}
    peer, connection = opened(version, **slow)
    write(peer, connection, STREAM[:40_000])
    assert bursts(peer)[0] == 17_000
    peer, connection = opened(version, **slow, tso_rtt_log=0)
    write(peer, connection, STREAM[:40_000])
    assert bursts(peer)[0] == 9000


def test_every_super_segment_ends_with_push_but_a_single_segment_does_not(version: int) -> None:
    peer, connection = opened(version)
    write(peer, connection, STREAM[:20_000])
    assert [each.flags for each in drain(peer)] == ["P."] * 5
    peer.advance(10)
    peer.inject(".", 1, 1001, window=257)
    assert [(each.flags, len(each.payload)) for each in drain(peer)] == [("P.", 2000)]


def test_what_is_less_than_a_third_of_the_window_waits_for_the_next_ack(version: int) -> None:
    """Only within a millisecond of the last departure, and if half a round trip has passed since the oldest left."""
    peer, connection = opened(version, round_trip=1, min_tso_segs=10, pacing_ss_ratio=1, tso_rtt_log=0)
    write(peer, connection, STREAM[:30_000])
    assert bursts(peer) == [5000, 5000]
    peer.advance(0.9)
    peer.inject(".", 1, 1001, window=257)
    assert bursts(peer) == []
    peer.inject(".", 1, 2001, window=257)
    assert bursts(peer) == [4000]


def test_waiting_for_the_next_ack_can_be_turned_off(version: int) -> None:
    peer, connection = opened(
        version, round_trip=1, min_tso_segs=10, pacing_ss_ratio=1, tso_rtt_log=0, tso_win_divisor=100
    )
    write(peer, connection, STREAM[:30_000])
    assert bursts(peer) == [5000, 5000]
    peer.advance(0.9)
    peer.inject(".", 1, 1001, window=257)
    assert bursts(peer) == [2000]


def test_nothing_waits_for_an_ack_long_after_the_last_departure(version: int) -> None:
    peer, connection = opened(version, min_tso_segs=10)
    write(peer, connection, STREAM[:30_000])
    drain(peer)
    peer.advance(105)
    peer.inject(".", 1, 1001, window=257)
    assert bursts(peer) == [2000]


def test_chunks_are_joined_to_fill_a_super_segment(version: int) -> None:
    """Small writes fill chunks of at most half of the window, 4 segments; half of cwnd is 4 segments, then 8."""
    peer, connection = opened(version, window=8000, scale=0, min_tso_segs=10, initial_window_segments=4)
    write(peer, connection, STREAM[:4000])
    assert bursts(peer) == [2000, 2000]
    for start in range(4000, 24_000, 500):
        write(peer, connection, STREAM[start : start + 500])
    assert [chunk.length for chunk in connection.sending.chunks] == [4000] * 5
    peer.advance(100)
    peer.inject(".", 1, 4001, window=60_000)
    assert bursts(peer) == [4000, 4000]
    peer.advance(100)
    peer.inject(".", 1, 12_001, window=60_000)
    assert bursts(peer) == [8000, 4000]


def test_segments_are_at_most_half_of_the_largest_window(version: int) -> None:
    peer, connection = opened(version, window=1200, scale=0)
    write(peer, connection, STREAM[:3000])
    assert payload_of(drain(peer)) == STREAM[:1200]
    assert connection.tcb.snd_mss == 600


def test_the_last_part_of_the_window_is_filled_with_a_small_segment_if_nagle_lets_it(version: int) -> None:
    peer, connection = opened(version, window=4500, scale=0, min_tso_segs=10)
    write(peer, connection, STREAM[:9000])
    assert bursts(peer) == [2000, 2000]
    peer.advance(100)
    peer.inject(".", 1, 2001, window=4500)
    assert bursts(peer) == [2500]
    peer.advance(100)
    peer.inject(".", 1, 4001, window=4500)
    assert bursts(peer) == [2000]


def test_urgent_data_leave_segment_by_segment(version: int) -> None:
    peer, connection = opened(version, min_tso_segs=10)
    write(peer, connection, STREAM[:5500], MSG_OOB)
    assert bursts(peer) == [1000] * 5 + [500]


def test_a_window_that_opens_after_an_idle_time_starts_slowly(version: int) -> None:
    peer, connection = opened(version, min_tso_segs=10, window=60_000, scale=0)
    write(peer, connection, STREAM[:26_000])
    peer.advance(100)
    peer.inject(".", 1, 10_001, window=60_000)
    assert connection.tcb.cwnd_packets == 20
    peer.advance(100)
    peer.inject(".", 1, 26_001, window=0)
    drain(peer)
    write(peer, connection, STREAM[:20_000])
    assert [each.now - peer.now for each in drain(peer)] == []
    peer.advance(3000)
    probes = drain(peer)
    assert [(each.flags, each.seq) for each in probes] == [(".", 26_000)] * 3
    peer.inject(".", 1, 26_001, window=60_000)
    assert connection.tcb.cwnd_packets == 10
    assert bursts(peer) == [5000, 5000]


@pytest.mark.parametrize("room", [1, 99, 100])
def test_a_probe_carries_what_fits_a_window_that_is_too_small(version: int, room: int) -> None:
    """And its FIN only if that fits too."""
    peer, connection = opened(version, window=10_000, scale=0)
    write(peer, connection, b"x")
    peer.inject(".", 1, 2, window=room)
    drain(peer)
    set_option(peer, connection, "cork", True)
    write(peer, connection, STREAM[:100])
    close(peer, connection)
    peer.expect_nothing()
    peer.advance(400)
    sent = peer.expect("P.", 2, 1, STREAM[: min(room, 100)])
    peer.expect_nothing()
    peer.inject(".", 1, sent.seq + len(sent.payload), window=10_000)
    peer.expect("F." if room == 100 else "FP.", 2 + room)


def test_an_answer_to_a_probe_starts_the_time_to_the_next_one_anew(version: int) -> None:
    peer, connection = opened(version, window=10_000, scale=0)
    write(peer, connection, b"x")
    peer.inject(".", 1, 2, window=0)
    drain(peer)
    write(peer, connection, STREAM[:100])
    rto = connection.tcb.rto_ns / 1e6
    peer.advance(rto)
    peer.expect(".", 1, 1, b"")
    peer.advance(100)
    peer.inject(".", 1, 2, window=0)
    peer.advance(2 * rto - 1)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect(".", 1, 1, b"")


def test_a_probe_that_the_device_refuses_is_tried_again_without_back_off(version: int) -> None:
    peer, connection = opened(version, window=10_000, scale=0)
    capacity = peer.interface.outgoing.cdata.capacity
    peer.interface.outgoing.cdata.capacity = 0
    write(peer, connection, STREAM[:100])
    peer.advance(connection.tcb.rto_ns / 1e6)
    assert connection.tcb.probes_sent == 1
    peer.advance(1600)
    assert (connection.tcb.probes_sent, connection.tcb.backoff) == (4, 0)
    peer.expect_nothing()
    peer.interface.outgoing.cdata.capacity = capacity
    peer.collect()
    peer.advance(500)
    peer.expect("P.", 1, 1, STREAM[:100])


def test_bbr_wants_a_larger_buffer_and_single_segments_on_slow_paths(version: int) -> None:
    peer, connection = opened(version, round_trip=900, congestion_control="bbr")
    write(peer, connection, STREAM[:10_000])
    assert bursts(peer)[0] == 1000
    peer = Peer(version, StackConfig(tcp=TcpConfig(congestion_control="bbr")), offload=OFFLOAD)
    connection = established(peer, send_buffer=None, mss=1000)
    assert connection.send_limit == 3 * 10 * 2304


def test_a_loss_probe_may_be_the_fin_that_waits_for_cwnd(version: int) -> None:
    peer, connection = opened(version, initial_window_segments=2)
    write(peer, connection, STREAM[:2000])
    assert bursts(peer) == [1000, 1000]
    close(peer, connection)
    peer.expect_nothing()
    peer.advance(210)
    peer.expect("F.", 2001, 1, b"")

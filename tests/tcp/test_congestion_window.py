"""How much may be in flight: initial window, slow start, congestion avoidance, idleness.  RFC 5681 §3.1, §4.1; 6928."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, established, write
from ustack.config import StackConfig, TcpConfig
from ustack.sim.peer import Peer
from ustack.tcp.congestion import CONTROLLERS, AckSample, CongestionController, LossSample
from ustack.tcp.connection import Connection

MSS = 1000
STREAM = bytes(1 << 20)


@pytest.fixture
def peer(version: int) -> Peer:
    """The peer of a stack with Reno, whose numbers are easily told."""
    return Peer(version, StackConfig(tcp=TcpConfig(congestion_control="reno")))


def full_speed(peer: Peer, **options: object) -> Connection:
    """A connection with a round trip of 100 ms, a wide window and a megabyte to send."""
    mss = options.get("mss", MSS)
    assert isinstance(mss, int)
    connection = established(peer, round_trip=100, window_scale=10, mss=mss)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM)
    return connection


def acknowledge_all(peer: Peer, every: int = 1) -> int:
    """Acknowledge every `every`th of the segments in flight, 100 ms later; how many there were."""
    sent = drain(peer)
    peer.advance(100)
    for index, each in enumerate(sent):
        if (index + 1) % every == 0 or index == len(sent) - 1:
            peer.inject(".", 1, each.seq + len(each.payload), window=60_000)
    return len(sent)


@requirement("RFC6928", "2")
@pytest.mark.parametrize("mss", [536, 1000, 1460, 8960])
def test_the_initial_window_is_ten_segments(version: int, mss: int) -> None:
    connection = full_speed(Peer(version, mtu=9100), mss=mss)
    assert connection.tcb.cwnd_packets == 10


@requirement("RFC5681", "3.1")
def test_a_syn_lost_twice_makes_it_one_segment(peer: Peer) -> None:
    for losses, window in ((1, 10), (2, 1)):
        fresh = Peer(peer.version)
        connection = fresh.connect()
        for _ in range(losses):
            fresh.advance(1000 if losses == 1 else 1500)
        drain(fresh)
        fresh.inject("S.", 0, 1, mss=MSS)
        assert connection.tcb.cwnd_packets == window


@requirement("RFC9293", "MUST-19")
@requirement("RFC5681", "3.1")
def test_slow_start_doubles_what_is_in_flight_every_round_trip(peer: Peer) -> None:
    full_speed(peer)
    assert [acknowledge_all(peer) for _ in range(5)] == [10, 20, 40, 80, 160]


@requirement("RFC5681", "3.1")
def test_slow_start_counts_bytes_not_acks(peer: Peer) -> None:
    full_speed(peer)
    assert [acknowledge_all(peer, every=2) for _ in range(4)] == [10, 20, 40, 80]


@requirement("RFC9293", "MUST-19")
@requirement("RFC5681", "3.1")
def test_congestion_avoidance_adds_a_segment_every_round_trip(peer: Peer) -> None:
    connection = full_speed(peer)
    for _ in range(11):
        if connection.tcb.dup_acks == 3:
            drain(peer)
        peer.inject(".", 1, 1, window=60_000)
    peer.advance(50)
    peer.inject(".", 1, 12_001, window=60_000)
    assert connection.tcb.cwnd_packets == connection.tcb.ssthresh_packets == 5
    flights = [acknowledge_all(peer) for _ in range(6)]
    assert flights == [5, 6, 7, 8, 9, 10]


@requirement("RFC5681", "3.1")
def test_after_a_time_out_slow_start_goes_up_to_half_of_the_flight(peer: Peer) -> None:
    peer.stack.config.tcp.frto = 0
    connection = full_speed(peer)
    acknowledge_all(peer)
    assert len(drain(peer)) == 20
    peer.advance(1000)
    assert connection.tcb.ssthresh_packets == 10
    assert connection.tcb.cwnd_packets == 1
    sizes = []
    for _ in range(8):
        sizes.append(connection.tcb.cwnd_packets)
        acknowledge_all(peer)
    assert sizes[:5] == [1, 2, 4, 8, 10]
    assert sizes[5:] == [11, 12, 13]


@requirement("RFC5681", "3.1")
def test_a_second_time_out_of_the_same_segment_leaves_ssthresh(peer: Peer) -> None:
    connection = full_speed(peer)
    drain(peer)
    peer.advance(10_000)
    assert connection.tcb.retransmits >= 3
    assert connection.tcb.ssthresh_packets == 5
    assert connection.tcb.cwnd_packets == 1


@requirement("RFC5681", "4.1")
@pytest.mark.parametrize("periods", [1, 2, 5])
def test_every_time_out_of_idleness_halves_the_window_down_to_the_initial_one(peer: Peer, periods: int) -> None:
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[: 70 * MSS])
    for _ in range(3):
        acknowledge_all(peer)
    assert connection.tcb.cwnd_packets > 50
    assert not connection.tcb.sent.count
    before = connection.tcb.cwnd_packets
    peer.advance(periods * connection.tcb.rto_ns // 1_000_000 + 1)
    write(peer, connection, STREAM[: 50 * MSS])
    assert len(drain(peer)) == connection.tcb.cwnd_packets == max(before >> periods, 10)
    assert connection.tcb.ssthresh_packets >= before // 2 + before // 4


@requirement("RFC5681", "4.1")
def test_the_window_stays_through_idleness_if_so_configured(peer: Peer) -> None:
    peer.stack.config.tcp.slow_start_after_idle = False
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[: 70 * MSS])
    for _ in range(3):
        acknowledge_all(peer)
    peer.advance(5000)
    write(peer, connection, STREAM[: 50 * MSS])
    assert len(drain(peer)) == 50


@requirement("RFC5681", "4.1")
def test_a_short_pause_changes_nothing(peer: Peer) -> None:
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[: 70 * MSS])
    for _ in range(3):
        acknowledge_all(peer)
    peer.advance(100)
    write(peer, connection, STREAM[: 50 * MSS])
    assert len(drain(peer)) == 50


def test_a_window_that_is_not_used_does_not_grow(peer: Peer) -> None:
    connection = established(peer, round_trip=100, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    acked = 1
    for _ in range(300):
        write(peer, connection, STREAM[:MSS])
        acked += MSS
        peer.inject(".", 1, acked, window=60_000)
    assert connection.tcb.cwnd_packets <= 11


@requirement("RFC5681", "3.1")
def test_the_window_of_the_peer_limits_as_well(peer: Peer) -> None:
    connection = established(peer, round_trip=100, mss=MSS, window=3 * MSS)
    write(peer, connection, STREAM)
    assert len(drain(peer)) == 3


def test_half_of_a_segment_acknowledged_lets_nothing_out(peer: Peer) -> None:
    full_speed(peer)
    assert len(drain(peer)) == 10
    peer.inject(".", 1, 1 + MSS // 2, window=60_000)
    peer.expect_nothing()
    peer.inject(".", 1, 1 + MSS, window=60_000)
    assert [each.seq for each in drain(peer)] == [10 * MSS + 1, 11 * MSS + 1]


@requirement("RFC9293", "MAY-18")
def test_a_user_may_bring_a_controller_of_his_own(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Fixed(CongestionController):
        """Always four segments."""

        name = "fixed"

        def __init__(self, initial_window: int, config: TcpConfig) -> None:
            super().__init__(4, config)

        def on_ack(self, sample: AckSample) -> None:
            seen.append(f"ack {sample.delivered_packets} of {sample.prior_in_flight}")

        def on_loss(self, sample: LossSample) -> None:
            seen.append(f"loss with {sample.in_flight}")

        def on_timeout(self, sample: LossSample) -> None:
            seen.append("time-out")

        def on_recovered(self, sample: LossSample) -> None:
            seen.append("recovered")

    monkeypatch.setitem(CONTROLLERS, "fixed", Fixed)
    peer = Peer(version, StackConfig(tcp=TcpConfig(congestion_control="fixed")))
    connection = established(peer, mss=MSS)
    write(peer, connection, STREAM[: 50 * MSS])
    assert len(drain(peer)) == 4
    peer.advance(2)
    peer.inject(".", 1, 1 + MSS)
    for _ in range(3):
        peer.inject(".", 1, 1 + MSS)
    for _ in range(2):
        peer.inject(".", 1, connection.tcb.snd_nxt - connection.tcb.iss)
    peer.advance(1000)
    assert seen[0] == "ack 1 of 4"
    assert seen[1] == "loss with 2"
    assert seen[2:4] == ["recovered", "ack 4 of 4"]
    assert seen[4] == "time-out"

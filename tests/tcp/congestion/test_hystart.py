"""Leaving slow start by round-trip times: HyStart as Linux has it, HyStart++ of RFC 9406."""

from __future__ import annotations

import pytest

from tests.support.number_path import MSS, SECOND, NumberPath
from tests.support.requirement import requirement
from ustack.config import TcpConfig
from ustack.tcp.congestion import INFINITE_SSTHRESH, AckSample, Cubic
from ustack.tcp.congestion.hystart import HyStartPlusPlus, delay_threshold

MS = 1_000_000


class Rounds:
    """Acknowledges one segment after the other, with a round-trip time of one's choice."""

    def __init__(self, hystart: str, cwnd: int) -> None:
        self.controller = Cubic(10, TcpConfig(hystart=hystart))
        self.controller.cwnd = cwnd
        self.now = SECOND
        self.acked = 0
        self.paced = False
        self.controller.on_start(AckSample(now=self.now, mss=MSS, snd_nxt=cwnd))

    def ack(self, rtt_ms: int, gap_ms: float, packets: int = 1) -> None:
        self.now += int(gap_ms * MS)
        self.acked += packets
        sample = AckSample(
            now=self.now,
            mss=MSS,
            acked_packets=packets,
            delivered_packets=packets,
            rtt_ns=rtt_ms * MS,
            is_cwnd_limited=True,
            snd_una=self.acked,
            snd_nxt=self.acked + self.controller.cwnd,
            is_paced=self.paced,
        )
        self.controller.observe(sample)
        self.controller.on_ack(sample)


@requirement("RFC9438", "4.10")
def test_eight_longer_round_trips_in_a_round_end_slow_start() -> None:
    rounds = Rounds("linux", 20)
    rounds.ack(200, 10)
    for _ in range(19):
        rounds.ack(200, 10)
    rounds.ack(240, 200)
    for _ in range(7):
        rounds.ack(240, 10)
        assert rounds.controller.ssthresh == INFINITE_SSTHRESH
    window = rounds.controller.cwnd
    rounds.ack(240, 10)
    assert rounds.controller.ssthresh == window


def test_one_short_round_trip_of_the_round_keeps_slow_start_going() -> None:
    rounds = Rounds("linux", 20)
    for _ in range(20):
        rounds.ack(200, 10)
    rounds.ack(200, 200)
    for _ in range(15):
        rounds.ack(240, 10)
    assert rounds.controller.ssthresh == INFINITE_SSTHRESH


def test_a_new_least_round_trip_late_in_a_round_is_no_sign_of_delay() -> None:
    rounds = Rounds("linux", 20)
    for rtt in range(200, 209):
        rounds.ack(rtt, 3)
    rounds.ack(29, 3)
    assert rounds.controller.ssthresh == INFINITE_SSTHRESH


@pytest.mark.parametrize(("gap_ms", "ends"), [(1, True), (3, False)])
def test_a_train_of_acks_for_half_a_round_trip_ends_slow_start(gap_ms: int, ends: bool) -> None:
    rounds = Rounds("linux", 100)
    rounds.ack(60, gap_ms)
    for _ in range(40):
        rounds.ack(60, gap_ms)
    assert (rounds.controller.ssthresh < INFINITE_SSTHRESH) is ends


def test_a_small_window_is_left_alone() -> None:
    rounds = Rounds("linux", 2)
    for _ in range(10):
        rounds.ack(10, 1)
    assert rounds.controller.cwnd == 12
    assert rounds.controller.ssthresh == INFINITE_SSTHRESH


@requirement("RFC9406", "4.2")
@pytest.mark.parametrize(("rtt_ms", "threshold_ms"), [(8, 4), (32, 4), (80, 10), (128, 16), (1000, 16)])
def test_the_threshold_is_an_eighth_of_the_round_trip_within_bounds(rtt_ms: int, threshold_ms: int) -> None:
    assert delay_threshold(rtt_ms * MS) == threshold_ms * MS


@requirement("RFC9406", "4.2")
def test_a_delayed_round_begins_conservative_slow_start_which_grows_by_a_quarter() -> None:
    rounds = Rounds("plusplus", 10)
    for rtt in (100, 120):
        for _ in range(rounds.controller.cwnd):
            rounds.ack(rtt, 1)
    window = rounds.controller.cwnd
    for _ in range(window):
        rounds.ack(120, 1)
    assert rounds.controller.ssthresh == INFINITE_SSTHRESH
    assert rounds.controller.cwnd == pytest.approx(window * 1.25, abs=2)


@requirement("RFC9406", "4.2")
def test_after_five_conservative_rounds_congestion_avoidance_begins() -> None:
    rounds = Rounds("plusplus", 10)
    for rtt in (100, *[120] * 8):
        for _ in range(rounds.controller.cwnd):
            rounds.ack(rtt, 1)
    assert rounds.controller.ssthresh < INFINITE_SSTHRESH
    assert rounds.controller.ssthresh <= rounds.controller.cwnd


@requirement("RFC9406", "4.2")
def test_a_delay_that_passes_leads_back_to_slow_start() -> None:
    rounds = Rounds("plusplus", 10)
    for rtt in (100, 120, 120):
        for _ in range(rounds.controller.cwnd):
            rounds.ack(rtt, 1)
    for _ in range(2):
        window = rounds.controller.cwnd
        for _ in range(window):
            rounds.ack(100, 1)
    assert rounds.controller.cwnd == pytest.approx(2 * window, abs=2)
    assert rounds.controller.ssthresh == INFINITE_SSTHRESH


@requirement("RFC9406", "4.2")
def test_unpaced_an_ack_adds_eight_segments_at_most() -> None:
    machine = HyStartPlusPlus()
    assert machine.allowance(20, is_paced=False) == 8
    assert machine.allowance(20, is_paced=True) == 20


@requirement("RFC9438", "4.10")
@pytest.mark.parametrize("hystart", ["linux", "plusplus"])
def test_slow_start_ends_before_a_deep_queue_is_full(hystart: str) -> None:
    """100 Mbit/s, 40 ms, a queue of ten times the path's volume."""
    lossy = {}
    for mode in (hystart, "off"):
        path = NumberPath(Cubic(10, TcpConfig(hystart=mode)), rtt_ns=40 * MS, rate=8600, buffer=4000)
        path.run(3 * SECOND)
        lossy[mode] = path.lost
    assert lossy[hystart] == 0 < lossy["off"]

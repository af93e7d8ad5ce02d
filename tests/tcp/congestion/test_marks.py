"""Controllers that answer to marks in proportion: DCTCP (RFC 8257) and Prague."""

from __future__ import annotations

import pytest

from tests.support.number_path import MSS, SECOND, NumberPath
from tests.support.requirement import requirement
from ustack.config import TcpConfig
from ustack.tcp.congestion import AckSample, CongestionController, Dctcp, LossSample, Prague, Reno, dctcp, prague

MS = 1_000_000
LOSS = LossSample(now=9 * SECOND, mss=MSS)


class Rounds:
    """Rounds of a hundred delivered packets, some of them marked."""

    def __init__(self, controller: CongestionController, *, has_ecn: bool = True) -> None:
        self.controller = controller
        self.has_ecn = has_ecn
        self.delivered = self.marked = 0
        self.now = SECOND
        controller.on_start(self.sample(0, 0))

    def sample(self, packets: int, marked: int) -> AckSample:
        self.delivered += packets
        self.marked += marked
        return AckSample(
            now=self.now,
            mss=MSS,
            acked_packets=packets,
            delivered_packets=packets,
            srtt_ns=50 * MS,
            snd_una=self.delivered,
            snd_nxt=self.delivered + 100,
            delivered=self.delivered,
            delivered_ce=self.marked,
            delivered_ce_packets=marked,
            has_ecn=self.has_ecn,
            has_accurate_ecn=self.has_ecn,
            is_cwnd_limited=False,
        )

    def round(self, marked: int) -> None:
        self.now += 50 * MS
        sample = self.sample(100, marked)
        self.controller.observe(sample)
        self.controller.on_ack(sample)


@requirement("RFC8257", "3.3")
def test_dctcp_averages_the_share_of_marks() -> None:
    controller = Dctcp(10, TcpConfig())
    rounds = Rounds(controller)
    assert controller.alpha == dctcp.ALPHA_MAX
    for _ in range(200):
        rounds.round(25)
    assert controller.alpha == pytest.approx(dctcp.ALPHA_MAX // 4, abs=20)
    for _ in range(400):
        rounds.round(0)
    assert controller.alpha == 0


@requirement("RFC8257", "3.3")
def test_dctcp_reduces_the_window_by_half_of_alpha() -> None:
    controller = Dctcp(10, TcpConfig())
    rounds = Rounds(controller)
    for _ in range(200):
        rounds.round(50)
    controller.cwnd = 100
    controller.on_ecn(LOSS)
    assert controller.ssthresh == pytest.approx(75, abs=2)


@requirement("RFC8257", "3.3")
def test_dctcp_halves_the_window_at_a_loss() -> None:
    controller = Dctcp(10, TcpConfig())
    controller.cwnd = 100
    controller.on_loss(LOSS)
    assert controller.ssthresh == 50


@requirement("RFC8257", "3.2")
def test_dctcp_wants_an_ack_whenever_the_mark_of_what_arrives_changes() -> None:
    controller = Dctcp(10, TcpConfig())
    marks = [False, True, True, False, False, True]
    assert [controller.on_ce(mark) for mark in marks] == [False, True, False, True, False, True]


@pytest.mark.parametrize("kind", [Dctcp, Prague])
def test_without_ecn_they_are_reno(kind: type[Reno]) -> None:
    controller, reno = kind(10, TcpConfig()), Reno(10, TcpConfig())
    Rounds(controller, has_ecn=False)
    assert not controller.controls_recovery
    for each in (controller, reno):
        each.cwnd, each.ssthresh = 40, 40
        each.on_ack(AckSample(now=SECOND, mss=MSS, delivered_packets=40, is_cwnd_limited=True))
        each.on_ecn(LOSS)
    assert (controller.cwnd, controller.ssthresh) == (reno.cwnd, reno.ssthresh)


def test_prague_keeps_alpha_at_zero_until_the_first_mark() -> None:
    controller = Prague(10, TcpConfig())
    rounds = Rounds(controller)
    for _ in range(10):
        rounds.round(0)
    assert controller.alpha == 0
    for _ in range(200):
        rounds.round(10)
    assert controller.alpha == pytest.approx(prague.ALPHA_MAX // 10, rel=0.02)


def test_prague_takes_half_of_alpha_once_a_virtual_round_trip() -> None:
    controller = Prague(10, TcpConfig())
    rounds = Rounds(controller)
    controller.ssthresh = 2
    for _ in range(200):
        rounds.round(50)
    controller.fractional_cwnd = 100 << 20
    controller.on_ecn(LOSS)
    assert controller.fractional_cwnd >> 20 == pytest.approx(75, abs=2)
    reduced = controller.fractional_cwnd
    controller.on_ecn(LOSS)
    assert controller.fractional_cwnd == reduced


def test_prague_halves_at_a_loss_and_does_not_grow_until_the_recovery_ends() -> None:
    controller = Prague(100, TcpConfig())
    rounds = Rounds(controller)
    controller.on_loss(LOSS)
    assert controller.fractional_cwnd >> 20 == 50
    for _ in range(49):
        rounds.round(0)
    assert controller.cwnd == 51
    controller.on_recovered(LOSS)


@pytest.mark.parametrize("kind", [Dctcp, Prague])
@pytest.mark.parametrize("rtt_ms", [5, 20, 50])
def test_a_shallow_threshold_keeps_the_queue_short_and_the_link_full(kind: type[Reno], rtt_ms: int) -> None:
    controller = kind(10, TcpConfig())
    rate = 2000
    path = NumberPath(controller, rtt_ns=rtt_ms * MS, rate=rate, buffer=500, mark_above=6, has_ecn=True)
    path.run(4 * SECOND)
    before, path.queue_max = path.delivered, 0
    path.run(3 * SECOND)
    assert path.delivered - before >= 0.92 * 3 * rate
    assert path.queue_max <= 20
    assert path.lost == 0


def test_below_25_ms_prague_grows_as_if_the_round_trip_were_25_ms() -> None:
    """Additive increase of a segment each 25 ms, whatever the round-trip time."""
    grown = {}
    for rtt_ms in (5, 12):
        controller = Prague(10, TcpConfig())
        path = NumberPath(controller, rtt_ns=rtt_ms * MS, rate=1_000_000, has_ecn=True)
        controller.cwnd = controller.ssthresh = 20
        controller.fractional_cwnd = 20 << 20
        path.run(SECOND)
        before = controller.fractional_cwnd
        path.run(SECOND)
        grown[rtt_ms] = (controller.fractional_cwnd - before) / (1 << 20) / (rtt_ms / 25)
    assert grown[5] == pytest.approx(40, rel=0.2)
    assert grown[12] == pytest.approx(40, rel=0.2)

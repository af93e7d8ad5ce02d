"""Reno by numbers, and what every controller inherits.  RFC 5681 §3.1, RFC 8511, RFC 2861."""

from __future__ import annotations

import math

import pytest

from tests.support.number_path import SECOND, NumberPath
from tests.support.requirement import requirement
from ustack.config import TcpConfig
from ustack.tcp.congestion import INFINITE_SSTHRESH, AckSample, LossSample, Reno

RTT = 100_000_000
LOSS = LossSample(now=SECOND, mss=1000)


def reno(cwnd: int = 10, ssthresh: int = INFINITE_SSTHRESH, **config: bool) -> Reno:
    controller = Reno(10, TcpConfig(**config))  # type: ignore[arg-type]
    controller.cwnd, controller.ssthresh = cwnd, ssthresh
    return controller


def deliver(controller: Reno, packets: int, *, limited: bool = True) -> int:
    controller.on_ack(AckSample(now=SECOND, mss=1000, delivered_packets=packets, is_cwnd_limited=limited))
    return controller.cwnd


@requirement("RFC5681", "3.1")
def test_slow_start_adds_a_segment_for_each_delivered_one() -> None:
    assert deliver(reno(), 7) == 17


@requirement("RFC5681", "3.1")
def test_congestion_avoidance_adds_one_segment_for_each_window() -> None:
    controller = reno(10, 10)
    assert [deliver(controller, 1) for _ in range(21)] == [10] * 9 + [11] * 11 + [12]


def test_what_slow_start_leaves_over_counts_for_congestion_avoidance() -> None:
    controller = reno(10, 12)
    assert deliver(controller, 14) == 13


def test_credit_of_a_larger_window_is_worth_one_segment_only() -> None:
    controller = reno(100, 100)
    deliver(controller, 90)
    controller.cwnd = controller.ssthresh = 10
    assert deliver(controller, 1) == 11


def test_a_window_that_is_not_used_does_not_grow() -> None:
    assert deliver(reno(), 7, limited=False) == 10


@requirement("RFC5681", "3.1")
@pytest.mark.parametrize(("cwnd", "ssthresh"), [(10, 5), (11, 5), (3, 2), (1, 2)])
def test_a_loss_halves_the_window_but_not_below_two_segments(cwnd: int, ssthresh: int) -> None:
    controller = reno(cwnd)
    controller.on_loss(LOSS)
    assert (controller.ssthresh, controller.cwnd) == (ssthresh, cwnd)


def test_a_mark_counts_as_a_loss_unless_abe_is_on() -> None:
    for abe, ssthresh in ((False, 10), (True, 16)):
        controller = reno(20, abe=abe)
        controller.on_ecn(LOSS)
        assert controller.ssthresh == ssthresh


def test_what_was_taken_for_nothing_is_given_back() -> None:
    controller = reno(20, 30)
    controller.on_loss(LOSS)
    controller.cwnd = 12
    controller.on_undo(20, 30)
    assert (controller.cwnd, controller.ssthresh) == (20, 30)


@pytest.mark.parametrize(("idle", "cwnd"), [(1, 80), (2, 80), (3, 40), (5, 20), (100, 10)])
def test_each_time_out_of_idleness_halves_the_window(idle: int, cwnd: int) -> None:
    controller = reno(80, 40)
    controller.on_idle(SECOND, idle * SECOND, 2 * SECOND)
    assert controller.cwnd == cwnd
    assert controller.ssthresh == 60


@requirement("RFC5681", "3.1")
@pytest.mark.parametrize("every", [100, 1000])
def test_under_loss_the_window_follows_the_square_root_law(every: int) -> None:
    """Mathis, Semke, Mahdavi, Ott 1997: sqrt(3/2 / p) segments on average."""
    path = NumberPath(Reno(10, TcpConfig()), rtt_ns=RTT, is_lost=lambda number: number % every == every - 1)
    path.run(20 * SECOND)
    before = path.delivered
    path.run(60 * SECOND)
    window = (path.delivered - before) * RTT / (60 * SECOND)
    assert window == pytest.approx(math.sqrt(1.5 * every), rel=0.15)

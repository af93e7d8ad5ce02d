"""What bulk transfers reach in the simulator: the rate of the link, RFC 9438's response to loss, patience."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from ustack.config import MILLISECOND, SECOND
from ustack.lab.scenario import Scenario, run

MEGABIT = 1_000_000
RATE = 100 * MEGABIT
ROUND_TRIP = 20 * MILLISECOND
SEGMENT = 1448
"""Payload of a full segment with timestamps."""


def cubic_response(loss: float, round_trip_s: float) -> float:
    """The average window in segments: RFC 9438 §5.1, CUBIC's (with C = 0.4, β = 0.7), and Reno's where that is more."""
    cubic = (0.4 * 3.7 / (4 * 0.3)) ** 0.25 * round_trip_s**0.75 / loss**0.75
    reno = (1.5 / loss) ** 0.5
    return max(cubic, reno)


@requirement("RFC9438", "4.10")
def test_one_cubic_flow_fills_the_link() -> None:
    outcome = run(Scenario(("cubic",), RATE, ROUND_TRIP, duration_ns=5 * SECOND, skip_ns=SECOND))
    assert outcome.goodput_bits_per_s >= 0.95 * RATE
    assert outcome.spurious == 0


@requirement("RFC9438", "5.1")
@pytest.mark.parametrize(
    ("loss", "round_trip_ms", "packets"), [(0.001, 20, 120_000), (0.002, 20, 50_000), (0.001, 200, 50_000)]
)
def test_cubic_responds_to_random_loss_as_rfc_9438_says(loss: float, round_trip_ms: int, packets: int) -> None:
    expected = cubic_response(loss, round_trip_ms / 1000)
    duration = int(packets / expected * round_trip_ms * MILLISECOND)
    scenario = Scenario(
        ("cubic",), 10 * RATE, round_trip_ms * MILLISECOND, loss,
        queue_packets=10_000, duration_ns=duration, skip_ns=duration // 3,
    )  # fmt: skip
    outcome = run(scenario)
    window = outcome.goodput_bits_per_s / 8 / SEGMENT * round_trip_ms / 1000
    # Chance has lost a little more or less than was asked for.
    assert window == pytest.approx(cubic_response(outcome.lost / outcome.taken, round_trip_ms / 1000), rel=0.15)


def test_bbr_keeps_its_rate_through_random_loss() -> None:
    outcome = run(Scenario(("bbr",), RATE, ROUND_TRIP, 0.01, duration_ns=5 * SECOND))
    assert outcome.goodput_bits_per_s >= 0.85 * RATE


def test_reordering_costs_no_retransmission_once_rack_has_adapted() -> None:
    scenario = Scenario(
        ("cubic",), RATE, ROUND_TRIP, reordering=0.1, reordering_ns=5 * MILLISECOND,
        duration_ns=8 * SECOND, skip_ns=3 * SECOND,
    )  # fmt: skip
    assert run(scenario).spurious == 0

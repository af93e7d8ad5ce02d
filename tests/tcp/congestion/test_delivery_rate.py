"""Delivery-rate samples.  draft-cheng-iccrg-delivery-rate-estimation §3."""

from __future__ import annotations

import pytest

from ustack.tcp.congestion.delivery_rate import Delivered, RateSample, Transmitted, sample

MS = 1_000_000


def sent(**fields: int) -> Transmitted:
    values: dict[str, int] = {
        "delivered": 100,
        "delivered_ns": 1000 * MS,
        "first_sent_ns": 990 * MS,
        "sent_ns": 1000 * MS,
    }
    return Transmitted(**(values | fields))  # type: ignore[arg-type]


def test_a_sample_is_what_was_delivered_over_the_time_that_took() -> None:
    rate = sample(sent(), Delivered(1100 * MS, 150))
    assert rate == RateSample(delivered_packets=50, interval_ns=100 * MS, prior_delivered=100)
    assert rate.bytes_per_second(1000) == 500_000


def test_acks_that_come_all_at_once_do_not_make_it_faster_than_it_was_sent() -> None:
    rate = sample(sent(first_sent_ns=900 * MS, delivered_ns=1090 * MS), Delivered(1100 * MS, 150))
    assert rate is not None
    assert rate.interval_ns == 100 * MS


def test_an_interval_below_the_least_round_trip_gives_none() -> None:
    assert sample(sent(), Delivered(1010 * MS, 150, min_rtt_ns=20 * MS)) is None


def test_a_segment_that_remembers_nothing_gives_none() -> None:
    assert sample(sent(delivered_ns=0), Delivered(1100 * MS, 150)) is None
    assert sample(sent(sent_ns=990 * MS, delivered_ns=1100 * MS), Delivered(1100 * MS, 150)) is None


def test_losses_and_marks_since_the_transmission_are_told() -> None:
    rate = sample(sent(lost=3, delivered_ce=7, tx_in_flight=40), Delivered(1100 * MS, 150, lost=5, delivered_ce=17))
    assert rate is not None
    assert (rate.lost_packets, rate.delivered_ce_packets, rate.tx_in_flight) == (2, 10, 40)


@pytest.mark.parametrize("packets", [1, 2, 1000])
def test_slow_paths_do_not_round_to_nothing(packets: int) -> None:
    rate = RateSample(delivered_packets=packets, interval_ns=10**15, prior_delivered=0)
    assert rate.bytes_per_second(1) >= 1

"""The retransmission time-out and the least round trip: RFC 6298 §2, and the windowed minimum."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.support.requirement import requirement
from ustack.config import MILLISECOND, SECOND, TcpConfig
from ustack.native import ffi
from ustack.tcp import rtt
from ustack.tcp.min_rtt import WindowedMinimum


def tcb_after(*samples_ms: int, flights: bool = True) -> Any:
    """A TCB that has taken samples, each in a flight of its own."""
    tcb = ffi.new("struct tcb *")
    for index, sample in enumerate(samples_ms):
        if flights:
            tcb.snd_una, tcb.snd_nxt = 10 * index + 1, 10 * index + 5
        rtt.update(tcb, sample * MILLISECOND, TcpConfig().rto_min_ns, TcpConfig().rto_max_ns)
    return tcb


@requirement("RFC6298", "2.2")
def test_the_first_sample_sets_all() -> None:
    tcb = tcb_after(100)
    assert (tcb.srtt_ns, tcb.rttvar_ns) == (100 * MILLISECOND, 50 * MILLISECOND)
    assert tcb.rto_ns == 300 * MILLISECOND


@requirement("RFC6298", "2.3")
def test_steady_samples_come_down_to_the_least_variation() -> None:
    tcb = tcb_after(*[100] * 60)
    assert tcb.rto_ns == pytest.approx(300 * MILLISECOND, rel=0.01)


@requirement("RFC6298", "2.3")
def test_a_longer_round_trip_counts_at_once() -> None:
    tcb = tcb_after(*[100] * 60, 500)
    assert tcb.rto_ns > 500 * MILLISECOND


def test_a_shorter_round_trip_hardly_makes_it_longer() -> None:
    steady, shorter = tcb_after(*[100] * 30), tcb_after(*[100] * 30, 5)
    assert shorter.rto_ns - steady.rto_ns < 5 * MILLISECOND


@requirement("RFC6298", "2.5")
def test_it_is_never_above_the_limit() -> None:
    assert tcb_after(400_000).rto_ns == TcpConfig().rto_max_ns


def test_the_minimum_is_that_of_the_window() -> None:
    rng = random.Random(7)
    window, minimum = 300 * SECOND, WindowedMinimum()
    taken: list[tuple[int, int]] = []
    now = 0
    for _ in range(4000):
        now += rng.randint(1, 2 * SECOND)
        value = rng.randint(1, 10**9)
        taken.append((now, value))
        told = minimum.update(now, value, window)
        recent = [each for when, each in taken if now - when <= window]
        assert told >= min(recent)
        assert told in [each for _, each in taken]
        assert told <= max(recent)


def test_a_path_that_got_longer_is_believed_after_the_window() -> None:
    minimum = WindowedMinimum()
    assert minimum.update(0, 10, 300) == 10
    assert [minimum.update(now, 20, 300) for now in range(10, 330, 10)] == [10] * 30 + [20] * 2

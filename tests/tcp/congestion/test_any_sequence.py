"""Whatever a controller is told, in whatever order: its numbers stay within bounds and nothing breaks."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ustack.config import TcpConfig
from ustack.tcp.congestion import CONTROLLERS, AckSample, CongestionController, LossSample, create
from ustack.tcp.congestion.controller import CWND_MAX
from ustack.tcp.congestion.delivery_rate import RateSample

NAMES = sorted(CONTROLLERS)
COUNTS = st.integers(0, 3) | st.integers(0, 100_000)
TIMES = st.integers(0, 1000) | st.integers(0, 10**12)

RATES = st.none() | st.builds(
    RateSample,
    delivered_packets=COUNTS,
    interval_ns=st.integers(1, 10**12),
    prior_delivered=COUNTS,
    is_app_limited=st.booleans(),
    tx_in_flight=COUNTS,
    lost_packets=COUNTS,
    delivered_ce_packets=COUNTS,
)
ACKS = st.builds(
    AckSample,
    now=TIMES,
    mss=st.integers(1, 65_000),
    acked_packets=COUNTS,
    delivered_packets=COUNTS,
    lost_packets=COUNTS,
    prior_in_flight=COUNTS,
    in_flight=COUNTS,
    rtt_ns=TIMES,
    srtt_ns=TIMES,
    min_rtt_ns=TIMES,
    is_cwnd_limited=st.booleans(),
    is_peer_limited=st.booleans(),
    snd_una=st.integers(0, 2**32 - 1),
    snd_nxt=st.integers(0, 2**32 - 1),
    delivered=COUNTS,
    delivered_ce=COUNTS,
    delivered_ce_packets=COUNTS,
    state=st.integers(0, 4),
    pacing_rate=st.integers(0, 2**64 - 1),
    is_paced=st.booleans(),
    has_ecn=st.booleans(),
    has_accurate_ecn=st.booleans(),
    rate=RATES,
)
LOSSES = st.builds(LossSample, now=TIMES, mss=st.integers(1, 65_000), in_flight=COUNTS, lost_packets=COUNTS)
STEPS = st.lists(
    st.tuples(st.just("ack"), ACKS)
    | st.tuples(st.sampled_from(["loss", "ecn", "timeout", "recovered"]), LOSSES)
    | st.tuples(st.just("undo"), COUNTS)
    | st.tuples(st.just("idle"), TIMES),
    max_size=30,
)


def tell(controller: CongestionController, what: str, value: object, now: int) -> None:
    if isinstance(value, AckSample):
        value.now += now
        controller.observe(value)
        controller.on_ack(value)
    elif isinstance(value, LossSample):
        value.now += now
        {
            "loss": controller.on_loss,
            "ecn": controller.on_ecn,
            "timeout": controller.on_timeout,
            "recovered": controller.on_recovered,
        }[what](value)
        controller.cwnd = max(value.in_flight, 1) if what == "timeout" else controller.cwnd
    elif what == "undo":
        assert isinstance(value, int)
        controller.on_undo(value, value)
    else:
        assert isinstance(value, int)
        controller.on_idle(now + value, value, 10**9)
        controller.on_transmit_start(now + value, value)


@pytest.mark.parametrize("hystart", ["linux", "plusplus", "off"])
@pytest.mark.parametrize("name", NAMES)
@given(start=ACKS, steps=STEPS)
@settings(max_examples=30, deadline=None)
def test_no_sequence_breaks_a_controller(name: str, hystart: str, start: AckSample, steps: list[object]) -> None:
    if hystart != "linux" and name != "cubic":
        return
    controllers = [create(name, 10, TcpConfig(hystart=hystart)) for _ in range(2)]
    for controller in controllers:
        told = copy.deepcopy((start, steps))
        controller.on_start(told[0])
        now = 0
        for what, value in told[1]:  # type: ignore[attr-defined]
            now += 10**7
            tell(controller, what, value, now)
            assert 1 <= controller.cwnd <= CWND_MAX
            assert controller.ssthresh >= 1
            assert controller.pacing_rate >= 0
    assert (controllers[0].cwnd, controllers[0].pacing_rate) == (controllers[1].cwnd, controllers[1].pacing_rate)

"""BBR by numbers: the phases, what each holds in flight, loss, marks, idleness.  draft-ietf-ccwg-bbr."""

from __future__ import annotations

import random
import struct

import pytest

from tests.support.number_path import MSS, SECOND, NumberPath
from ustack.config import TcpConfig
from ustack.tcp.congestion import INFINITE_SSTHRESH, Bbr, LossSample
from ustack.tcp.congestion.bbr import Phase
from ustack.tcp.congestion.bbr_model import INFINITE, MIN_PIPE_CWND

MS = 1_000_000
RATE, RTT = 1000, 40 * MS
BDP = 40


def running(seconds: float, **path: object) -> tuple[Bbr, NumberPath]:
    controller = Bbr(10, TcpConfig())
    options: dict[str, object] = {"rtt_ns": RTT, "rate": RATE, "buffer": 200}
    bottleneck = NumberPath(controller, **(options | path))  # type: ignore[arg-type]
    bottleneck.run(int(seconds * SECOND))
    return controller, bottleneck


def phases(controller: Bbr, path: NumberPath, seconds: float) -> list[Phase]:
    seen = [controller.phase]
    for _ in range(int(seconds * 1000)):
        path.run(MS)
        if controller.phase is not seen[-1]:
            seen.append(controller.phase)
    return seen


def test_startup_doubles_until_the_bandwidth_stays_then_drains_the_queue() -> None:
    controller, path = running(0)
    assert phases(controller, path, 1.5)[:4] == [
        Phase.STARTUP, Phase.DRAIN, Phase.PROBE_BW_DOWN, Phase.PROBE_BW_CRUISE,
    ]  # fmt: skip
    assert controller.full_bw_reached
    assert controller.ssthresh < INFINITE_SSTHRESH


def test_the_model_finds_bandwidth_and_round_trip_time() -> None:
    controller, _ = running(3)
    assert controller.model.bw == pytest.approx(RATE * MSS, rel=0.05)
    assert controller.model.min_rtt_ns == pytest.approx(RTT, rel=0.1)
    assert controller.model.bdp(controller.model.bw, 100) == pytest.approx(BDP, abs=5)


def test_a_window_of_the_peer_that_opens_slowly_does_not_end_startup() -> None:
    controller, path = running(0)
    path.window = 15
    path.run(SECOND)
    assert controller.phase is Phase.STARTUP
    path.window = 1000
    path.run(SECOND)
    assert controller.model.bw == pytest.approx(RATE * MSS, rel=0.05)
    assert controller.full_bw_reached


def test_probing_for_bandwidth_goes_round_its_four_phases() -> None:
    controller, path = running(1.5)
    seen = phases(controller, path, 6)
    start = seen.index(Phase.PROBE_BW_REFILL)
    assert seen[start : start + 4] == [
        Phase.PROBE_BW_REFILL, Phase.PROBE_BW_UP, Phase.PROBE_BW_DOWN, Phase.PROBE_BW_CRUISE,
    ]  # fmt: skip


def test_cruising_leaves_no_standing_queue() -> None:
    controller, path = running(3)
    assert path.delivered >= 0.93 * 3 * RATE
    while controller.phase is not Phase.PROBE_BW_CRUISE:
        path.run(10 * MS)
    path.run(100 * MS)
    assert path.srtt_ns < 1.2 * RTT


def test_more_bandwidth_is_found_within_a_few_cycles() -> None:
    _, path = running(3)
    path.rate = 3 * RATE
    path.run(9 * SECOND)
    before = path.delivered
    path.run(2 * SECOND)
    assert path.delivered - before > 0.85 * 2 * path.rate


def test_less_bandwidth_is_followed() -> None:
    controller, path = running(3)
    path.rate = RATE // 2
    path.run(10 * SECOND)
    assert controller.model.max_bw == pytest.approx(MSS * RATE / 2, rel=0.1)


def test_every_five_seconds_the_round_trip_time_is_probed_for_with_half_the_window() -> None:
    controller, path = running(4)
    least = controller.cwnd
    entered = 0
    for _ in range(4000):
        path.run(2 * MS)
        if controller.phase is Phase.PROBE_RTT:
            entered += 1
            least = min(least, path.in_flight)
    assert entered * 2 >= 200
    assert entered * 2 <= 4 * 260
    assert MIN_PIPE_CWND <= least <= BDP // 2 + 4


@pytest.mark.parametrize("seed", range(2))
def test_random_loss_of_one_per_cent_costs_little(seed: int) -> None:
    rng = random.Random(seed)
    _, path = running(6, rtt_ns=20 * MS, rate=8600, is_lost=lambda number: rng.random() < 0.01)
    assert path.delivered >= 0.85 * 6 * 8600


def test_too_much_loss_while_probing_bounds_what_is_in_flight() -> None:
    controller, path = running(8, buffer=10)
    assert controller.model.inflight_long_term < INFINITE
    assert controller.cwnd <= controller.model.inflight_long_term
    assert path.lost < 0.05 * path.sent
    assert path.delivered >= 0.85 * 8 * RATE


def test_heavy_loss_ends_startup_early() -> None:
    controller, _ = running(0.6, rate=100_000, is_lost=lambda number: number % 10 == 3)
    assert controller.full_bw_reached


def test_marks_of_a_shallow_queue_bound_what_is_in_flight() -> None:
    controller, path = running(4, rtt_ns=4 * MS, rate=10_000, buffer=2000, mark_above=5, has_ecn=True)
    assert controller.model.ecn_eligible
    path.queue_max = 0
    path.run(2 * SECOND)
    assert path.queue_max < 40


def test_a_loss_of_rtts_worth_is_not_answered_by_halving() -> None:
    controller, _ = running(2)
    before = controller.cwnd
    controller.on_loss(LossSample(now=SECOND, mss=MSS))
    assert controller.cwnd == before


def test_a_time_out_is_made_good_when_the_recovery_ends() -> None:
    controller, path = running(2)
    before = controller.cwnd
    controller.on_timeout(path.loss_sample())
    controller.cwnd = 1
    controller.on_recovered(path.loss_sample())
    assert controller.cwnd == before


def test_a_spurious_loss_gives_the_bounds_back() -> None:
    controller, path = running(2)
    controller.model.inflight_short_term = 33
    controller.on_loss(path.loss_sample())
    controller.model.inflight_short_term = 20
    controller.on_undo(50, 50)
    assert controller.model.inflight_short_term == 33


def test_idleness_keeps_the_model() -> None:
    controller, path = running(2)
    before = controller.cwnd
    controller.on_idle(path.now, 10 * SECOND, SECOND)
    controller.on_transmit_start(path.now, 10 * SECOND)
    assert controller.cwnd == before
    assert controller.pacing_rate == pytest.approx(controller.model.bw, rel=0.02)


def test_what_it_tells_is_linux_s_structure() -> None:
    controller, _ = running(2)
    low, high, rtt_us, pacing, cwnd = struct.unpack("=5I", controller.info())
    assert (high << 32) + low == controller.model.bw
    assert rtt_us == controller.model.min_rtt_ns // 1000
    assert (pacing, cwnd) in {(232, 512), (256, 512), (320, 576)}


def test_the_same_input_gives_the_same_state() -> None:
    first, second = running(5), running(5)
    assert first[1].delivered == second[1].delivered
    assert vars(first[0].model) == vars(second[0].model)

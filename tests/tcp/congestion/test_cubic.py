"""CUBIC by numbers: against the formulas of RFC 9438 §4 and §5, and against what Linux shows."""

from __future__ import annotations

import pytest

from tests.support.number_path import MSS, SECOND, NumberPath
from tests.support.requirement import requirement
from ustack.config import TcpConfig
from ustack.tcp.congestion import AckSample, Cubic, LossSample
from ustack.tcp.congestion.cubic import cube_root

MS = 1_000_000


def cubic(**config: object) -> Cubic:
    return Cubic(10, TcpConfig(**config))  # type: ignore[arg-type]


def ack(controller: Cubic, at_ns: int, packets: int, rtt_ns: int = 0) -> int:
    sample = AckSample(
        now=at_ns, mss=MSS, acked_packets=packets, delivered_packets=packets, rtt_ns=rtt_ns, is_cwnd_limited=True
    )
    controller.observe(sample)
    controller.on_ack(sample)
    return controller.cwnd


def lose(controller: Cubic, at_ns: int) -> None:
    controller.on_loss(LossSample(now=at_ns, mss=MSS))
    controller.cwnd = controller.ssthresh


def grow(controller: Cubic, since_ns: int, duration_ns: int, rtt_ns: int) -> list[tuple[float, int]]:
    """A window's worth of ACKs every round trip: (seconds, cwnd)."""
    curve = []
    now = since_ns
    while now < since_ns + duration_ns:
        for index in range(controller.cwnd):
            ack(controller, now + index * rtt_ns // controller.cwnd, 1)
        now += rtt_ns
        curve.append(((now - since_ns) / SECOND, controller.cwnd))
    return curve


@requirement("RFC9438", "4.5")
@requirement("RFC9438", "4.4")
@requirement("RFC9438", "4.2")
@requirement("RFC9438", "4.4")
@requirement("RFC9438", "4.5")
@pytest.mark.parametrize("w_max", [200, 1000])
def test_the_window_follows_the_cubic_curve_up_to_the_plateau_and_beyond(w_max: int) -> None:
    controller = cubic()
    controller.cwnd = w_max
    lose(controller, SECOND)
    after = controller.cwnd
    k = ((w_max - after) / 0.4) ** (1 / 3)
    rtt_ns = 50 * MS
    for seconds, cwnd in grow(controller, SECOND, int(1.5 * k * SECOND), rtt_ns):
        reno = after + 0.53 * seconds * SECOND / rtt_ns
        assert cwnd == pytest.approx(max(0.4 * (seconds - k) ** 3 + w_max, reno), rel=0.04), seconds


@requirement("RFC9438", "4.3")
def test_where_reno_would_be_faster_the_window_grows_like_reno() -> None:
    """A short round trip: α_cubic = 3 (1 − β) / (1 + β), 0.53 segments a round trip."""
    controller = cubic()
    controller.cwnd = 20
    lose(controller, SECOND)
    rounds = 20
    curve = grow(controller, SECOND, rounds * 2 * MS, 2 * MS)
    assert curve[-1][1] - 14 == pytest.approx(0.53 * rounds, abs=2)


@requirement("RFC9438", "4.2")
def test_the_window_grows_by_half_in_a_round_trip_at_most() -> None:
    controller = cubic()
    controller.cwnd = controller.ssthresh = 100
    controller.w_max = 50
    ack(controller, SECOND, 1)
    before = controller.cwnd
    now = SECOND + 3600 * SECOND
    for _ in range(before):
        ack(controller, now, 1)
    assert controller.cwnd <= before * 3 // 2 + 1


@requirement("RFC9438", "4.6")
@pytest.mark.parametrize(("cwnd", "ssthresh"), [(1000, 700), (100, 70), (10, 7), (3, 2), (1, 2)])
def test_a_loss_leaves_seven_tenths(cwnd: int, ssthresh: int) -> None:
    controller = cubic()
    controller.cwnd = cwnd
    controller.on_loss(LossSample(now=SECOND, mss=MSS))
    assert (controller.ssthresh, controller.cwnd) == (ssthresh, cwnd)


@requirement("RFC9438", "4.7")
def test_who_loses_before_the_plateau_aims_lower_next_time() -> None:
    controller = cubic()
    controller.cwnd = 1000
    lose(controller, SECOND)
    assert controller.w_max == 1000
    controller.cwnd = 800
    lose(controller, 2 * SECOND)
    assert controller.w_max == 800 * (1024 + 717) // 2048


def test_abe_leaves_more_after_a_mark() -> None:
    for abe, ssthresh in ((False, 70), (True, 84)):
        controller = cubic(abe=abe)
        controller.cwnd = 100
        controller.on_ecn(LossSample(now=SECOND, mss=MSS))
        assert controller.ssthresh == ssthresh


@requirement("RFC9438", "4.8")
def test_a_time_out_forgets_the_plateau() -> None:
    controller = cubic()
    controller.cwnd = 100
    controller.on_timeout(LossSample(now=SECOND, mss=MSS))
    assert (controller.ssthresh, controller.w_max) == (70, 0)


@requirement("RFC9438", "4.9")
def test_a_spurious_loss_gives_the_window_back() -> None:
    controller = cubic()
    controller.cwnd, controller.ssthresh = 100, 200
    lose(controller, SECOND)
    controller.on_undo(100, 200)
    assert (controller.cwnd, controller.ssthresh) == (100, 200)


@requirement("RFC9438", "5.8")
def test_an_idle_hour_is_no_credit_to_grow_by() -> None:
    idle, busy = cubic(), cubic()
    for controller in (idle, busy):
        controller.cwnd = 1000
        lose(controller, SECOND)
        grow(controller, SECOND, SECOND, 50 * MS)
    hour = 3600 * SECOND
    idle.on_transmit_start(2 * SECOND + hour, hour)
    curves = grow(idle, 2 * SECOND + hour, SECOND, 50 * MS), grow(busy, 2 * SECOND, SECOND, 50 * MS)
    assert curves[0][-1][1] == pytest.approx(curves[1][-1][1], rel=0.01)


@requirement("RFC9438", "5.1")
@pytest.mark.parametrize(("rtt_ms", "every"), [(200, 10_000), (400, 3_000)])
def test_under_loss_the_window_follows_the_response_function(rtt_ms: int, every: int) -> None:
    """AVG_W_cubic = (C (3 + β) / (4 (1 − β)))^¼ · RTT^¾ / p^¾, equation 6."""
    expected = (0.4 * 3.7 / 1.2) ** 0.25 * (rtt_ms / 1000) ** 0.75 * every**0.75
    controller = cubic()
    controller.ssthresh = int(expected)
    path = NumberPath(controller, rtt_ns=rtt_ms * MS, is_lost=lambda number: number % every == every - 1)
    path.run(30 * SECOND)
    before, span = path.delivered, 60 * SECOND
    path.run(span)
    window = (path.delivered - before) * rtt_ms * MS / span
    assert window == pytest.approx(expected, rel=0.15)


def test_after_a_time_out_one_segment_for_twenty_at_least() -> None:
    """The growth that Linux shows after slow start to 7: the 22nd acknowledged segment makes it 8."""
    controller = cubic()
    controller.cwnd = 10
    controller.on_timeout(LossSample(now=SECOND, mss=MSS))
    controller.cwnd = 7
    windows = [ack(controller, (10_000 + 2 * index) * MS, 1) for index in range(22)]
    assert windows.index(8) in range(13, 21)


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 26, 27, 28, 10**6, 10**18 - 1, 10**18, 2**64])
def test_the_cube_root_is_exact(number: int) -> None:
    root = cube_root(number)
    assert root**3 <= number < (root + 1) ** 3

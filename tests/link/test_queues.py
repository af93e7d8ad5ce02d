"""Queue disciplines, and the bottleneck that serves them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from ustack.burst import Burst
from ustack.config import MILLISECOND, SECOND
from ustack.link.frame import Frame
from ustack.link.impairment import ImpairedPath, ImpairmentProfile, QueuedPath, path
from ustack.link.queues import CE, ECT_0, ECT_1, NOT_ECT, CoDelQueue, DualPi2Queue, FifoQueue, codepoint
from ustack.wire import ipv4, ipv6

LENGTH = 1250
RATE = 10_000_000
"""Bits per second: a packet of LENGTH takes a millisecond."""


def packet(ecn: int = NOT_ECT, number: int = 0, version: int = 4) -> Frame:
    if version == 4:
        header = ipv4.build(
            bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), 253, LENGTH - 20, traffic_class=ecn, identification=number
        )
    else:
        header = ipv6.build(bytes(16), bytes(16), 253, LENGTH - 40, traffic_class=ecn, flow_label=number)
    return Frame(header + bytes(LENGTH - len(header)))


def queued_path(discipline: str, **profile: int) -> QueuedPath:
    made = path(ImpairmentProfile(rate_bits_per_s=RATE, discipline=discipline, **profile), random.Random(1))
    assert isinstance(made, QueuedPath)
    return made


def send(into: ImpairedPath, frames: list[Frame], now: int) -> None:
    burst = Burst()
    for frame in frames:
        assert frame.put(burst)
    into.take(burst, now)


def arrivals(of: ImpairedPath) -> list[tuple[int, int]]:
    """When each packet arrives, in nanoseconds, and its ECN field."""
    found = []
    while (deadline := of.next_deadline()) is not None:
        burst = Burst()
        of.release(burst, deadline)
        found += [(deadline, codepoint(Frame(bytes(frame)))) for frame in burst.frames()]
    return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("ecn", [ECT_0, ECT_1, CE])
def test_a_marked_packet_is_congestion_experienced_and_still_valid(version: int, ecn: int) -> None:
    queue = CoDelQueue(1 << 20)
    frame = packet(ecn, 7, version)
    assert queue.mark_or_drop(frame)
    assert codepoint(frame) == CE
    if version == 4:
        assert ipv4.parse(frame.packet).identification == 7
    else:
        assert ipv6.parse(frame.packet).flow_label == 7


def test_a_packet_of_a_transport_without_ecn_is_not_marked() -> None:
    queue = CoDelQueue(1 << 20)
    frame = packet(NOT_ECT)
    assert not queue.mark_or_drop(frame)
    assert (codepoint(frame), queue.dropped, queue.marked) == (NOT_ECT, 1, 0)


def test_fifo_keeps_the_order_and_drops_its_tail() -> None:
    queue = FifoQueue(3 * LENGTH)
    assert [queue.enqueue(packet(number=number), number) for number in range(5)] == [True, True, True, False, False]
    out = [queue.dequeue(10) for _ in range(4)]
    assert [ipv4.parse(frame.packet).identification for frame in out if frame] == [0, 1, 2]
    assert (out[3], queue.dropped, queue.bytes, list(queue.delays_ns)) == (None, 2, 0, [10, 9, 8])


def test_an_empty_queue_takes_a_packet_of_any_length() -> None:
    queue = FifoQueue(1)
    assert queue.enqueue(packet(), 0)
    assert not queue.enqueue(packet(), 0)


def overload(queue: CoDelQueue | DualPi2Queue, ecn: list[int], seconds: int = 4) -> list[tuple[int, int, int]]:
    """Two packets come for each that leaves, every millisecond: (time, dropped so far, marked so far)."""
    history = []
    for now in range(0, seconds * SECOND, MILLISECOND):
        for each in ecn:
            queue.enqueue(packet(each), now)
        queue.dequeue(now)
        history.append((now, queue.dropped, queue.marked))
    return history


def test_codel_leaves_a_short_queue_alone() -> None:
    queue = CoDelQueue(1 << 20)
    for now in range(0, SECOND, MILLISECOND):
        queue.enqueue(packet(), now)
        assert queue.dequeue(now + 4 * MILLISECOND)
    assert (queue.dropped, queue.marked) == (0, 0)


def test_codel_drops_ever_more_often_while_the_delay_stands() -> None:
    history = overload(CoDelQueue(1 << 30), [NOT_ECT, NOT_ECT])
    drops = [now for (_, before, _), (now, after, _) in pairwise(history) if after > before]
    # Above the target after 10 ms, for an interval of 100 ms; then the control law, 100 ms / sqrt(count).
    assert drops[0] // MILLISECOND in range(105, 115)
    gaps = [(later - earlier) / MILLISECOND for earlier, later in pairwise(drops)]
    assert [round(gap) for gap in gaps[:4]] == [100, 71, 58, 50]
    assert gaps[30] < 20


def test_codel_marks_what_is_ecn_capable_at_the_same_times() -> None:
    marks = [marked for _, _, marked in overload(CoDelQueue(1 << 30), [ECT_0, ECT_0])]
    drops = [dropped for _, dropped, _ in overload(CoDelQueue(1 << 30), [NOT_ECT, NOT_ECT])]
    assert marks[-1] > 30
    assert abs(marks[1000] - drops[1000]) <= 1


def test_dualpi2_marks_low_latency_packets_from_one_millisecond_on() -> None:
    queue = DualPi2Queue(1 << 20, random.Random(1))
    for now in (0, MILLISECOND // 2):
        queue.enqueue(packet(ECT_1), now)
        queue.enqueue(packet(ECT_1), now)
    first, second, third = (queue.dequeue(now) for now in (MILLISECOND // 2, MILLISECOND, 2 * MILLISECOND))
    assert [codepoint(frame) for frame in (first, second, third) if frame] == [ECT_1, CE, CE]
    assert queue.dropped == 0


def test_dualpi2_serves_low_latency_first_and_starves_nobody() -> None:
    queue = DualPi2Queue(1 << 20, random.Random(1))
    for number in range(64):
        queue.enqueue(packet(NOT_ECT, number), 0)
        queue.enqueue(packet(ECT_1, number), 0)
    taken = [queue.dequeue(0) for _ in range(64)]
    classic = [frame for frame in taken if frame and codepoint(frame) == NOT_ECT]
    assert len(classic) == 64 // DualPi2Queue.CLASSIC_SHARE


def test_dualpi2_drops_classic_packets_with_a_growing_probability_and_marks_those_with_ecn() -> None:
    plain, marking = DualPi2Queue(1 << 30, random.Random(1)), DualPi2Queue(1 << 30, random.Random(1))
    dropped = [row[1] for row in overload(plain, [NOT_ECT, NOT_ECT])]
    marked = overload(marking, [ECT_0, ECT_0])
    assert dropped[15] == 0
    assert 0 < dropped[100] < 50
    assert dropped[-1] - dropped[-1000] > 900
    assert marked[-1][2] > 100
    assert marked[-1][1] == 0


@pytest.mark.parametrize("discipline", ["fifo", "codel", "dualpi2"])
def test_a_bottleneck_lets_packets_out_at_its_rate(discipline: str) -> None:
    line = queued_path(discipline, delay_ns=20 * MILLISECOND)
    send(line, [packet() for _ in range(5)], 3 * MILLISECOND)
    assert [when // MILLISECOND for when, _ in arrivals(line)] == [24, 25, 26, 27, 28]
    assert [delay // MILLISECOND for delay in line.queue.delays_ns] == [0, 1, 2, 3, 4]
    assert len(line) == 0


def test_a_bottleneck_that_was_idle_begins_anew() -> None:
    line = queued_path("fifo")
    send(line, [packet()], 0)
    assert [when for when, _ in arrivals(line)] == [MILLISECOND]
    send(line, [packet(), packet()], 10 * MILLISECOND)
    assert [when for when, _ in arrivals(line)] == [11 * MILLISECOND, 12 * MILLISECOND]


@pytest.mark.parametrize("discipline", ["fifo", "codel", "dualpi2"])
def test_every_packet_is_accounted_for(discipline: str) -> None:
    line = queued_path(discipline, queue_bytes=40 * LENGTH)
    chance = random.Random(2)
    for now in range(0, SECOND, MILLISECOND):
        send(line, [packet(chance.choice((NOT_ECT, ECT_0, ECT_1))) for _ in range(chance.randrange(4))], now)
        line.release(Burst(), now)
    counters = line.counters
    assert counters.taken == counters.released + counters.queue_full + counters.lost + len(line)
    assert counters.queue_full == line.queue.dropped > 0
    arrivals(line)
    assert counters.taken == counters.released + counters.queue_full


@pytest.mark.parametrize(("burst", "loss"), [(1, 0.05), (4, 0.05), (10, 0.01)])
def test_losses_come_as_often_and_in_runs_as_long_as_asked(burst: float, loss: float) -> None:
    line = path(ImpairmentProfile(loss=loss, loss_burst=burst), random.Random(3))
    total, runs, lost, before = 60_000, 0, 0, 0
    for _ in range(total):
        line._take_packet(packet(), 0)
        if line.counters.lost > lost:
            runs += lost == before
            before, lost = lost, line.counters.lost
        else:
            before = lost
        line._held.clear()
        line._held_bytes = 0
    assert lost / total == pytest.approx(loss, rel=0.15)
    assert lost / runs == pytest.approx(burst, rel=0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss_burst": 0.5}, "loss_burst"),
        ({"discipline": "codel"}, "needs a rate"),
        ({"discipline": "red", "rate_bits_per_s": 1}, "fifo, codel, dualpi2"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImpairmentProfile(**arguments)

"""native/src/sent_queue.c against a model that keeps every sequence number by itself, anywhere on the circle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.walk import walk
from ustack.native import ffi, lib

if TYPE_CHECKING:
    from random import Random

MODULUS = 2**32
LOST, SACKED, RETRANSMITTED, RESENT = lib.SENT_LOST, lib.SENT_SACKED, lib.SENT_RETRANSMITTED, lib.SENT_RESENT
LAST_ONLY = lib.SENT_FIN | lib.SENT_PUSH


@dataclass(slots=True)
class Byte:
    """One sequence number: what the entry that holds it says."""

    first: bool
    last: bool
    flags: int
    xmit_ns: int
    delivered: int
    transmissions: int
    mss: int


def segments(run: list[Byte]) -> int:
    """How many segments an entry is on the wire."""
    if not run:
        return 0
    payload = len(run) - bool(run[0].flags & lib.SENT_SYN) - bool(run[-1].flags & lib.SENT_FIN)
    return max(-(-payload // run[0].mss), 1) if run[0].mss else 1


@dataclass(slots=True)
class Acknowledged:
    """struct sent_acknowledged, counted byte by byte."""

    bytes: int = 0
    segments: int = 0
    retransmitted: int = 0
    acked_segments: int = 0
    sacked_segments: int = 0
    first: int = 0
    """xmit_ns of the first and the last that were sent once."""
    last: int = 0
    newest: tuple[int, int] = (0, 0)
    """xmit_ns and offset of the end: the later, and of equals the higher."""
    newest_byte: Byte | None = None

    def add(self, run: list[Byte], end: int, count: int) -> None:
        """The bytes of one entry, which end at offset `end`, and their segments."""
        self.bytes += len(run)
        if not count:
            return
        self.segments += count
        if not run[0].flags & RETRANSMITTED:
            self.first = self.first or run[0].xmit_ns
            self.last = run[0].xmit_ns
        if (run[0].xmit_ns, end) > self.newest:
            self.newest, self.newest_byte = (run[0].xmit_ns, end), run[0]


@dataclass(slots=True)
class Model:
    """All bytes from `una` on, by their offset from the start of the sequence space."""

    una: int = 0
    bytes: list[Byte] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.una + len(self.bytes)

    def clip(self, offset: int) -> int:
        return min(max(offset, self.una), self.end)

    def runs(self, start: int, end: int) -> list[tuple[int, list[Byte]]]:
        """The entries' parts within [start, end), each with its end."""
        runs: list[tuple[int, list[Byte]]] = []
        run: list[Byte] = []
        for offset in range(start, end):
            run.append(self.bytes[offset - self.una])
            if run[-1].last or offset == end - 1:
                runs.append((offset + 1, run))
                run = []
        return runs

    def cut(self, offset: int) -> None:
        if self.una < offset < self.end:
            self.bytes[offset - self.una - 1].last = True
            self.bytes[offset - self.una].first = True

    def cut_out(self, start: int, end: int) -> list[tuple[int, list[Byte]]]:
        """Cut at both edges, and give the entries between."""
        start, end = self.clip(start), self.clip(end)
        if start >= end:
            return []
        self.cut(start)
        self.cut(end)
        return self.runs(start, end)

    def mark_lost(self, start: int, end: int) -> int:
        """LOST where not SACKed; where LOST already no longer RESENT; returns the segments changed."""
        changed = 0
        for _, run in self.cut_out(start, end):
            flags = run[0].flags
            if flags & SACKED:
                continue
            changed += segments(run) if not flags & LOST or flags & RESENT else 0
            for byte in run:
                byte.flags = byte.flags & ~RESENT if flags & LOST else byte.flags | LOST
        return changed

    def rest(self, run: list[Byte], end: int) -> list[Byte]:
        """The part behind `end` of the entry whose part `run` ends there."""
        return [] if run[-1].last else self.runs(end, self.end)[0][1]

    def segment_edge(self, offset: int, forward: bool) -> int:
        """The nearest place in this direction where the entry around `offset` was cut on the wire."""
        for start, end in self.indexes():
            mss = self.bytes[start - self.una].mss or end - start
            if start <= offset < end:
                cuts = [*range(start, end, mss), end]
                return min(c for c in cuts if c >= offset) if forward else max(c for c in cuts if c <= offset)
        return offset

    def indexes(self) -> list[tuple[int, int]]:
        """(start, end) of every entry."""
        return [(end - len(run), end) for end, run in self.runs(self.una, self.end)]


def context(now: int = 0, una: int = 0) -> Any:
    """What the queue is told of the connection."""
    return ffi.new("struct sent_context *", {"now_ns": now, "una": una})


class SentQueueMachine(RuleBasedStateMachine):
    """Every operation in any order; times go on by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ffi.new("struct sent_queue *")
        self.rack = ffi.new("struct rack *")
        self.model = Model()
        self.now = 0

    def teardown(self) -> None:
        lib.sent_queue_release(self.queue)

    @initialize(base=st.sampled_from([0, 5, 2**31 - 30, 2**31, MODULUS - 1, MODULUS - 40, MODULUS - 300]))
    def start(self, base: int) -> None:
        self.base = base

    def seq(self, offset: int) -> int:
        return (self.base + offset) % MODULUS

    @rule(
        length=st.integers(1, 40),
        flags=st.sampled_from(
            [0, 0, 0, lib.SENT_PUSH, lib.SENT_APP_LIMITED, RETRANSMITTED, lib.SENT_PUSH | lib.SENT_FIN]
        ),
        step=st.integers(0, 2),
        mss=st.sampled_from([0, 1, 7, 50]),
    )
    def push(self, length: int, flags: int, step: int, mss: int) -> None:
        self.now += step
        if not self.model.bytes and self.model.una == 0:
            flags |= lib.SENT_SYN
        segment = {
            "seq": self.seq(self.model.end),
            "end": self.seq(self.model.end + length),
            "xmit_ns": self.now,
            "first_sent_ns": self.now + 7,
            "delivered": self.now + 8,
            "delivered_ns": self.now + 9,
            "flags": flags,
            "transmissions": 1,
            "mss": mss,
        }
        assert lib.sent_queue_push(self.queue, ffi.new("struct sent_segment *", segment)) == 0
        byte = Byte(False, False, flags & ~(lib.SENT_SYN | lib.SENT_FIN), self.now, self.now + 8, 1, mss)
        run = [replace(byte) for _ in range(length)]
        run[0].first = run[-1].last = True
        run[0].flags |= flags & lib.SENT_SYN
        run[-1].flags |= flags & lib.SENT_FIN
        self.model.bytes += run

    @rule(offset=st.integers(-20, 700))
    def acknowledge(self, offset: int) -> None:
        una = min(max(offset, 0), self.model.end)
        result = ffi.new("struct sent_acknowledged *")
        lib.sent_queue_acknowledge(self.queue, self.seq(una), context(self.now), self.rack, result)
        expected = Acknowledged()
        if una > self.model.una:
            for end, run in self.model.runs(self.model.una, una):
                rest = self.model.rest(run, end)
                count = segments(run + rest) - segments(rest)
                expected.acked_segments += count
                if run[0].flags & RETRANSMITTED:
                    expected.retransmitted += len(run)
                if not run[0].flags & SACKED:
                    expected.add(run, end, count)
            del self.model.bytes[: una - self.model.una]
            self.model.una = una
        if self.model.bytes:
            self.model.bytes[0].first = True
        self.check_result(result, expected)
        assert (result.first_xmit_ns, result.last_xmit_ns) == (expected.first, expected.last)

    @rule(start=st.integers(-20, 700), length=st.integers(0, 100))
    def mark_sacked(self, start: int, length: int) -> None:
        result = ffi.new("struct sent_acknowledged *")
        block = (self.seq(start), self.seq(start + length))
        marked = ffi.new("struct sack_block *")
        assert (
            lib.sent_queue_mark_sacked(
                self.queue, block, False, context(self.now, self.seq(self.model.una)), self.rack, result, marked
            )
            == 0
        )
        first = self.model.clip(self.model.segment_edge(start, forward=True))
        end = self.model.clip(self.model.segment_edge(start + length, forward=False))
        expected = Acknowledged()
        for run_end, run in self.model.cut_out(first, end):
            if not run[0].flags & SACKED:
                expected.add(run, run_end, segments(run))
                expected.sacked_segments += segments(run)
                for byte in run:
                    byte.flags = (byte.flags & ~(LOST | RESENT if byte.flags & LOST else 0)) | SACKED
        self.check_result(result, expected)
        assert (result.first_sacked_ns, result.last_sacked_ns) == (expected.first, expected.last)

    @rule(start=st.integers(-20, 700), length=st.integers(0, 100))
    def mark_lost(self, start: int, length: int) -> None:
        result = lib.sent_queue_mark_lost(self.queue, self.seq(start), self.seq(start + length))
        assert result == self.model.mark_lost(start, start + length)

    @rule(forget=st.booleans(), recent=st.integers(0, 9))
    def time_out(self, forget: bool, recent: int) -> None:
        expected = 0
        for index, (start, end) in enumerate(self.model.indexes()):
            entry = self.model.bytes[start - self.model.una : end - self.model.una]
            if forget:
                for byte in entry:
                    byte.flags &= ~SACKED
            if forget or not index or self.now - entry[0].xmit_ns >= recent:
                expected += self.model.mark_lost(start, end)
        assert lib.sent_queue_time_out(self.queue, recent, forget, self.now) == expected

    @rule()
    def unmark_lost(self) -> None:
        lib.sent_queue_unmark_lost(self.queue)
        for byte in self.model.bytes:
            byte.flags &= ~LOST

    @precondition(lambda self: self.model.bytes)
    @rule(choice=st.integers(0, 1000), mss=st.integers(1, 60))
    def recut(self, choice: int, mss: int) -> None:
        entries = self.model.indexes()
        start, end = entries[choice % len(entries)]
        lib.sent_queue_recut(self.queue, choice % len(entries), mss)
        for byte in self.model.bytes[start - self.model.una : end - self.model.una]:
            byte.mss = mss

    @rule(offset=st.integers(0, 700))
    def split(self, offset: int) -> None:
        assert lib.sent_queue_split(self.queue, self.seq(offset)) == 0
        self.model.cut(offset)

    @precondition(lambda self: self.model.bytes)
    @rule(choice=st.integers(0, 1000))
    def retransmit(self, choice: int) -> None:
        entries = self.model.indexes()
        index = choice % len(entries)
        self.now += 1
        probe = choice % 7 == 0
        lib.sent_queue_retransmitted(self.queue, index, probe, self.now)
        start, end = entries[index]
        for byte in self.model.bytes[start - self.model.una : end - self.model.una]:
            byte.flags |= RETRANSMITTED if probe else RETRANSMITTED | RESENT
            byte.xmit_ns = self.now
            byte.transmissions += 1

    @rule(offset=st.integers(-5, 700))
    def find(self, offset: int) -> None:
        holding = [index for index, (start, end) in enumerate(self.model.indexes()) if start <= offset < end]
        assert lib.sent_queue_find(self.queue, self.seq(offset)) == (holding[0] if holding else -1)

    @rule()
    def next_lost(self) -> None:
        entries = self.model.runs(self.model.una, self.model.end)
        lost = [index for index, (_, run) in enumerate(entries) if run[0].flags & (LOST | RESENT) == LOST]
        assert lib.sent_queue_next_lost(self.queue) == (lost[0] if lost else -1)

    def check_result(self, result: Any, expected: Acknowledged) -> None:
        assert result.bytes == expected.bytes
        assert result.segments == expected.segments
        assert result.retransmitted == expected.retransmitted
        assert result.acked_segments == expected.acked_segments
        assert result.sacked_segments == expected.sacked_segments
        newest = expected.newest_byte
        if newest is None:
            assert result.newest_xmit_ns == 0
            return
        assert result.newest_xmit_ns == newest.xmit_ns
        assert result.newest_end == self.seq(expected.newest[1])
        assert bool(result.newest_retransmitted) == bool(newest.flags & RETRANSMITTED)
        assert result.delivered == newest.delivered
        assert result.delivered_ns == newest.delivered + 1
        assert result.first_sent_ns == newest.delivered - 1
        assert bool(result.newest_app_limited) == bool(newest.flags & lib.SENT_APP_LIMITED)

    @invariant()
    def entries_are_those_of_the_model(self) -> None:
        runs = self.model.runs(self.model.una, self.model.end)
        assert self.queue.count == len(runs)
        for index, (end, run) in enumerate(runs):
            entry = lib.sent_queue_at(self.queue, index)
            assert (entry.seq, entry.end) == (self.seq(end - len(run)), self.seq(end))
            assert entry.xmit_ns == run[0].xmit_ns
            assert (entry.transmissions, entry.mss) == (run[0].transmissions, run[0].mss)
            assert entry.flags & ~(LAST_ONLY | lib.SENT_SYN) == run[0].flags & ~(LAST_ONLY | lib.SENT_SYN)
            assert bool(entry.flags & lib.SENT_SYN) == (end == len(run) and bool(run[0].flags & lib.SENT_SYN))
        assert lib.sent_queue_at(self.queue, len(runs)) == ffi.NULL

    @invariant()
    def what_may_be_lost_is_listed_by_time(self) -> None:
        timed = list(listed(self.queue, self.queue.timed))
        assert [entry.xmit_ns for entry in timed] == sorted(entry.xmit_ns for entry in timed) or self.queue.count > 1
        waiting = timed + list(listed(self.queue, self.queue.parked))
        assert not any(entry.flags & SACKED for entry in waiting)
        assert len({(entry.seq, entry.end) for entry in waiting}) == len(waiting) <= self.queue.count

    @invariant()
    def sums_are_those_of_the_entries(self) -> None:
        runs = [run for _, run in self.model.runs(self.model.una, self.model.end)]

        def total(flag: int) -> int:
            return sum(segments(run) for run in runs if run[0].flags & flag)

        assert self.queue.segments == sum(segments(run) for run in runs)
        assert self.queue.sacked_segments == total(SACKED)
        assert self.queue.lost_segments == total(LOST)
        assert self.queue.retransmitted_segments == total(RESENT)
        in_flight = self.queue.segments - total(SACKED) - total(LOST) + total(RESENT)
        assert lib.sent_queue_in_flight(self.queue) == in_flight


def listed(queue: Any, names: Any) -> Iterator[Any]:
    """The entries of a list, the earliest first; both ways agree."""
    before, handle = 0, names.earliest
    while handle:
        entry = queue.items[handle - 1]
        assert entry.earlier == before
        yield entry
        before, handle = handle, entry.later
    assert names.latest == before


TestSentQueue = SentQueueMachine.TestCase


class SentQueueWalker(SentQueueMachine):
    """Moves that keep the queue long and hit its entries."""

    def place(self, random: Random) -> int:
        return self.model.una + random.randint(-5, len(self.model.bytes) + 5)

    def push_some(self, random: Random) -> None:
        if len(self.model.bytes) < 600:
            flags = random.choice((0, 0, lib.SENT_PUSH, lib.SENT_APP_LIMITED, RETRANSMITTED))
            self.push(random.randint(1, 40), flags, random.randint(0, 2), random.choice((0, 1, 7, 50)))

    def acknowledge_some(self, random: Random) -> None:
        self.acknowledge(self.model.una + random.choice((0, 0, 0, 1, 7, 40, 41, 80, 600)))

    def retransmit_one(self, random: Random) -> None:
        if self.model.bytes:
            self.retransmit(random.randrange(1000))

    def mark(self, random: Random) -> None:
        start, length = self.place(random), random.randint(0, 60)
        random.choice((self.mark_sacked, self.mark_lost))(start, length)

    def mark_all(self, random: Random) -> None:
        if random.random() < 0.1:
            self.time_out(random.random() < 0.3, random.randint(0, 9))
        elif random.random() < 0.03:
            self.unmark_lost()

    def look(self, random: Random) -> None:
        self.find(self.place(random))
        self.next_lost()

    def split_one(self, random: Random) -> None:
        self.split(self.place(random))

    def check(self) -> None:
        self.entries_are_those_of_the_model()
        self.sums_are_those_of_the_entries()


@pytest.mark.parametrize("seed", range(8))
def test_a_long_walk_of_sending_loss_and_acknowledgment(seed: int) -> None:
    walker = SentQueueWalker()
    walker.start(MODULUS - seed * 400)
    moves = [
        walker.push_some, walker.push_some, walker.push_some, walker.acknowledge_some, walker.retransmit_one,
        walker.retransmit_one, walker.mark, walker.mark, walker.mark_all, walker.look, walker.split_one,
    ]  # fmt: skip
    walk(walker, moves, walker.check, 600, seed)


def push(queue: Any, seq: int, end: int, flags: int = 0, xmit_ns: int = 1) -> None:
    segment = ffi.new("struct sent_segment *", {"seq": seq, "end": end, "flags": flags, "xmit_ns": xmit_ns})
    assert lib.sent_queue_push(queue, segment) == 0


def entries(queue: Any) -> list[tuple[int, int, int]]:
    found = (lib.sent_queue_at(queue, index) for index in range(queue.count))
    return [(entry.seq, entry.end, entry.flags) for entry in found]


@pytest.fixture
def queue() -> Any:
    made = ffi.new("struct sent_queue *")
    return ffi.gc(made, lib.sent_queue_release)


def test_flags_of_the_last_byte_stay_with_the_last_part_and_syn_with_the_first(queue: Any) -> None:
    push(queue, 100, 200, lib.SENT_SYN | lib.SENT_FIN | lib.SENT_PUSH | lib.SENT_APP_LIMITED)
    lib.sent_queue_split(queue, 150)
    assert entries(queue) == [
        (100, 150, lib.SENT_SYN | lib.SENT_APP_LIMITED),
        (150, 200, lib.SENT_FIN | lib.SENT_PUSH | lib.SENT_APP_LIMITED),
    ]


def acknowledge(queue: Any, una: int, result: Any = None, rack: Any = None) -> Any:
    result = result or ffi.new("struct sent_acknowledged *")
    lib.sent_queue_acknowledge(queue, una, context(), rack or ffi.new("struct rack *"), result)
    return result


def sack(queue: Any, *blocks: tuple[int, int], result: Any = None, duplicate: int = -1, rack: Any = None) -> Any:
    result = result or ffi.new("struct sent_acknowledged *")
    told = ffi.new("struct sack_block[]", list(blocks))
    rack = rack or ffi.new("struct rack *")
    assert lib.sent_queue_take_blocks(queue, told, len(blocks), duplicate, context(), rack, result) == 0
    return result


def test_an_entry_acknowledged_in_part_loses_its_syn_and_keeps_its_rest(queue: Any) -> None:
    push(queue, 100, 200, lib.SENT_SYN | lib.SENT_PUSH, xmit_ns=5)
    result = acknowledge(queue, 101)
    assert entries(queue) == [(101, 200, lib.SENT_PUSH)]
    assert (result.bytes, result.segments, result.first_xmit_ns) == (1, 0, 0)


def test_results_add_up_over_several_calls(queue: Any) -> None:
    for index in range(4):
        push(queue, index * 10, index * 10 + 10, xmit_ns=10 - index)
    result = acknowledge(queue, 10)
    sack(queue, (20, 30), result=result)
    acknowledge(queue, 40, result)
    assert (result.bytes, result.segments, result.acked_segments, result.sacked_segments) == (40, 4, 4, 1)
    assert (result.newest_xmit_ns, result.newest_end) == (10, 10)


def test_a_stale_acknowledgment_changes_nothing(queue: Any) -> None:
    push(queue, 100, 200)
    for una in (100, 99, 0, MODULUS - 1):
        assert acknowledge(queue, una).bytes == 0
    assert entries(queue) == [(100, 200, 0)]


@pytest.mark.parametrize(("start", "end"), [(50, 60), (50, 100), (200, 250), (150, 150), (160, 150), (300, 50)])
def test_blocks_outside_the_queue_or_backwards_mark_nothing(queue: Any, start: int, end: int) -> None:
    push(queue, 100, 200)
    assert sack(queue, (start, end)).bytes == 0
    assert lib.sent_queue_mark_lost(queue, start, end) == 0
    assert entries(queue) == [(100, 200, 0)]


def test_a_peer_that_acknowledges_single_bytes_cannot_split_segments(queue: Any) -> None:
    whole = ffi.new("struct sent_segment *", {"seq": 0, "end": 10_000, "mss": 1000})
    lib.sent_queue_push(queue, whole)
    for seq in range(0, 10_000, 2):
        sack(queue, (seq, seq + 1))
    assert (queue.count, queue.sacked_segments) == (1, 0)
    assert sack(queue, (1500, 4999)).bytes == 2000
    assert [entry[:2] for entry in entries(queue)] == [(0, 2000), (2000, 4000), (4000, 10_000)]


def test_a_very_long_queue_is_not_split_by_blocks(queue: Any) -> None:
    for index in range(1 << 15):
        push(queue, index * 10, index * 10 + 10)
    sack(queue, (15, 45))
    assert (queue.count, queue.sacked_segments) == (1 << 15, 2)
    assert lib.sent_queue_split(queue, 15) == 0
    assert queue.count == (1 << 15) + 1


def test_a_block_that_grows_is_marked_as_one_that_comes_at_once(queue: Any) -> None:
    for index in range(20):
        push(queue, index * 10, index * 10 + 10)
    for end in (40, 70, 75, 100):
        sack(queue, (20, end), (150, 160))
    assert [index for index, entry in enumerate(entries(queue)) if entry[2] & SACKED] == [*range(2, 10), 15]
    sack(queue, (0, 200))
    assert queue.sacked_segments == 20


def test_a_segment_that_was_displaced_is_told_of(queue: Any) -> None:
    for index in range(5):
        push(queue, index * 10, index * 10 + 10)
    assert not sack(queue, (30, 40)).has_hole_sacked
    result = sack(queue, (10, 20), (30, 40))
    assert (result.has_hole_sacked, result.hole_sacked) == (1, 10)
    lib.sent_queue_retransmitted(queue, 2, 0, 9)
    assert not sack(queue, (20, 30)).has_hole_sacked


def test_a_dsack_counts_what_was_sent_more_than_once(queue: Any) -> None:
    for index in range(3):
        push(queue, index * 10, index * 10 + 10)
    lib.sent_queue_retransmitted(queue, 1, 0, 9)
    result = sack(queue, (10, 20), duplicate=0)
    assert (result.duplicate_segments, queue.retransmitted_segments) == (1, 0)
    assert sack(queue, (20, 30), duplicate=0).duplicate_segments == 0


def test_what_was_sent_before_something_delivered_is_lost_after_the_window(queue: Any) -> None:
    for index in range(4):
        push(queue, index * 10, index * 10 + 10, xmit_ns=100 + index)
    rack = ffi.new("struct rack *", {"xmit_ns": 102, "end": 30, "rtt_ns": 50})
    lost = ffi.new("uint32_t *")
    assert lib.sent_queue_detect_loss(queue, rack, 10, 160, lost) == 1
    assert [entry[2] for entry in entries(queue)] == [LOST, 0, 0, 0]
    assert lost[0] == 1


def test_a_copy_sent_again_is_lost_like_an_original(queue: Any) -> None:
    for index in range(2):
        push(queue, index * 10, index * 10 + 10, xmit_ns=100)
    lib.sent_queue_mark_lost(queue, 0, 10)
    lib.sent_queue_retransmitted(queue, 0, 0, 150)
    rack = ffi.new("struct rack *", {"xmit_ns": 160, "end": 20, "rtt_ns": 50})
    lost = ffi.new("uint32_t *")
    assert lib.sent_queue_detect_loss(queue, rack, 0, 210, lost) == 0
    assert (queue.retransmitted_segments, queue.lost_segments, lost[0]) == (0, 2, 2)
    assert lib.sent_queue_next_lost(queue) == 0


def test_a_time_out_can_be_taken_back(queue: Any) -> None:
    for index in range(4):
        push(queue, index * 10, index * 10 + 10, xmit_ns=100 + index)
    assert lib.sent_queue_time_out(queue, 0, 0, 200) == 4
    lib.sent_queue_retransmitted(queue, 0, 0, 200)
    lib.sent_queue_unmark_lost(queue)
    assert queue.lost_segments == 0
    assert [entry.xmit_ns for entry in listed(queue, queue.timed)] == [101, 102, 103, 200]


def test_an_empty_queue_answers_every_call() -> None:
    queue = ffi.new("struct sent_queue *")
    acknowledge(queue, 5)
    sack(queue, (0, 10))
    assert lib.sent_queue_mark_lost(queue, 0, 10) == 0
    assert lib.sent_queue_time_out(queue, 0, 1, 1) == 0
    assert lib.sent_queue_split(queue, 5) == 0
    assert lib.sent_queue_find(queue, 0) == -1
    assert lib.sent_queue_next_lost(queue) == -1
    lib.sent_queue_retransmitted(queue, 0, 0, 1)
    lib.sent_queue_join(queue, 0)
    lib.sent_queue_recut(queue, 0, 1)
    lib.sent_queue_unmark_lost(queue)
    assert queue.items == ffi.NULL


def test_two_entries_are_joined_to_one(queue: Any) -> None:
    for index in range(5):
        push(queue, index * 10, index * 10 + 10, lib.SENT_PUSH if index == 2 else 0)
    lib.sent_queue_mark_lost(queue, 10, 30)
    lib.sent_queue_join(queue, 1)
    assert entries(queue) == [(0, 10, 0), (10, 30, LOST | lib.SENT_PUSH), (30, 40, 0), (40, 50, 0)]
    assert (queue.segments, queue.lost_segments) == (4, 1)


def test_thousands_of_entries_are_pushed_split_found_and_acknowledged(queue: Any) -> None:
    base = MODULUS - 50_000
    for index in range(5000):
        push(queue, (base + index * 20) % MODULUS, (base + index * 20 + 20) % MODULUS)
    for index in range(0, 5000, 7):
        lib.sent_queue_split(queue, (base + index * 20 + 10) % MODULUS)
    starts = [entry[0] for entry in entries(queue)]
    assert all(lib.sent_queue_find(queue, seq) == index for index, seq in enumerate(starts))
    assert [(seq - base) % MODULUS for seq in starts] == sorted((seq - base) % MODULUS for seq in starts)
    result = acknowledge(queue, (base + 100_000) % MODULUS)
    assert (result.bytes, queue.count, queue.items) == (100_000, 0, ffi.NULL)


def test_a_small_queue_keeps_its_memory_while_empty(queue: Any) -> None:
    push(queue, 0, 10)
    acknowledge(queue, 10)
    assert (queue.count, queue.capacity) == (0, 4)
    lib.sent_queue_release(queue)
    assert (queue.items, queue.capacity) == (ffi.NULL, 0)


def test_transmissions_stop_counting_at_the_largest(queue: Any) -> None:
    push(queue, 0, 10)
    lib.sent_queue_at(queue, 0).transmissions = 65534
    for now in range(3):
        lib.sent_queue_retransmitted(queue, 0, 0, now)
    assert lib.sent_queue_at(queue, 0).transmissions == 65535


@pytest.mark.parametrize(
    ("length", "mss", "flags", "count"),
    [
        (1, 0, 0, 1), (5000, 0, 0, 1), (1000, 1000, 0, 1), (1001, 1000, 0, 2), (1001, 1000, lib.SENT_FIN, 1),
        (1, 1000, lib.SENT_FIN, 1), (2002, 1000, lib.SENT_FIN | lib.SENT_SYN, 2),
        (2, 1, lib.SENT_SYN | lib.SENT_FIN, 1),
    ],
)  # fmt: skip
def test_an_entry_counts_its_segments_on_the_wire(length: int, mss: int, flags: int, count: int) -> None:
    segment = ffi.new("struct sent_segment *", {"seq": 7, "end": 7 + length, "mss": mss, "flags": flags})
    assert lib.sent_segment_count(segment) == count

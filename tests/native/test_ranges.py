"""native/src/ranges.c against a set of sequence numbers, anywhere on the circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.walk import walk
from ustack.native import ffi, lib

if TYPE_CHECKING:
    from random import Random

SPAN = 120
LIMIT = 12
MODULUS = 2**32

offsets = st.integers(0, SPAN)


PACKET = 1040
"""The IP packet of every segment: its buffer has memory 2304 and tailroom 624."""


def items(ranges: object) -> list[tuple[int, int]]:
    return [(r.start, r.end) for r in (ranges.items[i] for i in range(ranges.count))]  # type: ignore[attr-defined]


class RangesMachine(RuleBasedStateMachine):
    """Offsets from a base that may lie right before the wrap-around."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = ffi.new("struct ranges *")
        self.held: set[int] = set()

    def teardown(self) -> None:
        lib.ranges_release(self.ranges)

    @initialize(base=st.sampled_from([0, 1000, 2**31 - 60, 2**31, MODULUS - 1, MODULUS - 60, MODULUS - SPAN]))
    def start(self, base: int) -> None:
        self.base = base

    def seq(self, offset: int) -> int:
        return (self.base + offset) % MODULUS

    def runs(self) -> list[tuple[int, int]]:
        """The held numbers as maximal runs."""
        edges = sorted(n for n in self.held if n - 1 not in self.held)
        ends = sorted(n + 1 for n in self.held if n + 1 not in self.held)
        return list(zip(edges, ends, strict=True))

    @rule(start=offsets, length=st.integers(0, 30), limit=st.sampled_from([LIMIT, 2, 1, 0]))
    def add(self, start: int, length: int, limit: int) -> None:
        added = set(range(start, start + length))
        touching = any(begin <= start + length and start <= end for begin, end in self.runs())
        result = lib.ranges_add(self.ranges, self.seq(start), self.seq(start + length), PACKET, limit)
        if not added:
            assert result == 0
        elif not touching and len(self.runs()) >= limit:
            assert result == -1
        else:
            assert result == (0 if added <= self.held else 1)
            self.held |= added

    @rule(to=offsets)
    def advance(self, to: int) -> None:
        end = max([to] + [end for begin, end in self.runs() if begin <= to])
        assert lib.ranges_advance(self.ranges, self.seq(to)) == self.seq(end)
        self.held = {n for n in self.held if n >= end}

    @rule()
    def release(self) -> None:
        lib.ranges_release(self.ranges)
        self.held.clear()

    @rule(start=offsets)
    def span(self, start: int) -> None:
        expected = (max(self.held) + 1 - start) % MODULUS if self.held else 0
        assert lib.ranges_span(self.ranges, self.seq(start)) == expected

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        expected = [(self.seq(start), self.seq(end)) for start, end in self.runs()]
        assert items(self.ranges) == expected
        assert (self.ranges.items == ffi.NULL) == (not self.held)

    @invariant()
    def the_sums_are_those_of_the_ranges(self) -> None:
        each = [self.ranges.items[index] for index in range(self.ranges.count)]
        assert self.ranges.memory == sum(item.memory for item in each)
        assert self.ranges.segments == sum(item.segments for item in each)
        assert all(item.segments for item in each)

    @rule(at=offsets)
    def find(self, at: int) -> None:
        runs = self.runs()
        assert lib.ranges_first_beyond(self.ranges, self.seq(at)) == sum(end <= at for _, end in runs)
        reached = next((end for start, end in runs if start < at < end), at)
        assert lib.ranges_reach(self.ranges, self.seq(at)) == self.seq(reached)

    @rule(memory=st.sampled_from([1, 2304, 5000, 1 << 20]))
    def cut(self, memory: int) -> None:
        if not self.ranges.count:
            return
        before = self.ranges.memory
        last = self.ranges.items[self.ranges.count - 1].memory
        end = lib.ranges_cut(self.ranges, memory)
        assert before - self.ranges.memory >= min(memory, last)
        self.held = {n for n in self.held if (n - end + self.base) % MODULUS >= MODULUS // 2}

    @rule()
    def collapse(self) -> None:
        before = self.ranges.memory
        lib.ranges_collapse(self.ranges)
        assert self.ranges.memory <= before


TestRanges = RangesMachine.TestCase


@pytest.mark.parametrize("seed", range(8))
def test_a_long_walk_through_gaps_and_overlaps(seed: int) -> None:
    machine = RangesMachine()
    machine.start(MODULUS - seed * 15)

    def check() -> None:
        machine.holds_what_the_model_holds()
        machine.the_sums_are_those_of_the_ranges()

    def add(random: Random) -> None:
        machine.add(random.randrange(SPAN), random.choice((1, 2, 3, 5, 30)), random.choice((LIMIT, LIMIT, 3)))

    def advance(random: Random) -> None:
        if random.random() < 0.2:
            machine.advance(random.randrange(SPAN))

    walk(machine, [add, add, advance, lambda random: machine.span(random.randrange(SPAN))], check, 1500, seed)


def test_a_range_far_below_the_limit_of_memory_grows_the_array() -> None:
    ranges = ffi.new("struct ranges *")
    for index in range(256):
        assert lib.ranges_add(ranges, index * 10, index * 10 + 5, PACKET, 256) == 1
    assert lib.ranges_add(ranges, 5000, 5005, PACKET, 256) == -1
    assert lib.ranges_add(ranges, 5, 10, PACKET, 256) == 1
    assert ranges.count == 255
    assert lib.ranges_add(ranges, 0, 2555, PACKET, 256) == 1
    assert items(ranges)[0] == (0, 2555)
    assert ranges.count == 1
    lib.ranges_release(ranges)


def test_what_fits_behind_the_last_segment_of_a_range_costs_nothing() -> None:
    ranges = ffi.new("struct ranges *")
    assert lib.ranges_add(ranges, 10, 20, PACKET, 8) == 1
    assert (ranges.memory, ranges.segments) == (2304, 1)
    assert lib.ranges_add(ranges, 20, 20 + 624, PACKET, 8) == 1
    assert (ranges.memory, ranges.segments) == (2304, 1)
    assert lib.ranges_add(ranges, 644, 645, PACKET, 8) == 1
    assert (ranges.memory, ranges.segments) == (4608, 2)
    assert lib.ranges_add(ranges, 9, 10, PACKET, 8) == 1
    assert (ranges.memory, ranges.segments) == (6912, 3)
    lib.ranges_collapse(ranges)
    assert ranges.memory == lib.collapsed_memory(636)
    lib.ranges_release(ranges)

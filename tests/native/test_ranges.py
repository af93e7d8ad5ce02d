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


def items(ranges: object) -> list[tuple[int, int, int]]:
    return [(r.start, r.end, r.stamp) for r in (ranges.items[i] for i in range(ranges.count))]  # type: ignore[attr-defined]


class RangesMachine(RuleBasedStateMachine):
    """Offsets from a base that may lie right before the wrap-around."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = ffi.new("struct ranges *")
        self.held: set[int] = set()
        self.latest: set[int] = set()

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
        result = lib.ranges_add(self.ranges, self.seq(start), self.seq(start + length), limit)
        if not added:
            assert result == 0
        elif not touching and len(self.runs()) >= limit:
            assert result == -1
        else:
            assert result == (0 if added <= self.held else 1)
            self.held |= added
            self.latest = added

    @rule(to=offsets)
    def advance(self, to: int) -> None:
        end = max([to] + [end for begin, end in self.runs() if begin <= to])
        assert lib.ranges_advance(self.ranges, self.seq(to)) == self.seq(end)
        self.held = {n for n in self.held if n >= end}
        self.latest &= self.held

    @rule()
    def release(self) -> None:
        lib.ranges_release(self.ranges)
        self.held.clear()
        self.latest.clear()

    @rule(start=offsets)
    def span(self, start: int) -> None:
        expected = (max(self.held) + 1 - start) % MODULUS if self.held else 0
        assert lib.ranges_span(self.ranges, self.seq(start)) == expected

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        expected = [(self.seq(start), self.seq(end)) for start, end in self.runs()]
        assert [(start, end) for start, end, _ in items(self.ranges)] == expected
        assert (self.ranges.items == ffi.NULL) == (not self.held)

    @invariant()
    def the_range_added_to_last_has_the_largest_stamp(self) -> None:
        if self.latest:
            newest = max(range(self.ranges.count), key=lambda index: self.ranges.items[index].stamp)
            start, end = self.runs()[newest]
            assert self.latest <= set(range(start, end))


TestRanges = RangesMachine.TestCase


@pytest.mark.parametrize("seed", range(8))
def test_a_long_walk_through_gaps_and_overlaps(seed: int) -> None:
    machine = RangesMachine()
    machine.start(MODULUS - seed * 15)

    def check() -> None:
        machine.holds_what_the_model_holds()
        machine.the_range_added_to_last_has_the_largest_stamp()

    def add(random: Random) -> None:
        machine.add(random.randrange(SPAN), random.choice((1, 2, 3, 5, 30)), random.choice((LIMIT, LIMIT, 3)))

    def advance(random: Random) -> None:
        if random.random() < 0.2:
            machine.advance(random.randrange(SPAN))

    walk(machine, [add, add, advance, lambda random: machine.span(random.randrange(SPAN))], check, 1500, seed)


def test_a_range_far_below_the_limit_of_memory_grows_the_array() -> None:
    ranges = ffi.new("struct ranges *")
    for index in range(256):
        assert lib.ranges_add(ranges, index * 10, index * 10 + 5, 256) == 1
    assert lib.ranges_add(ranges, 5000, 5005, 256) == -1
    assert lib.ranges_add(ranges, 5, 10, 256) == 1
    assert ranges.count == 255
    assert lib.ranges_add(ranges, 0, 2555, 256) == 1
    assert items(ranges)[0][:2] == (0, 2555)
    assert ranges.count == 1
    lib.ranges_release(ranges)


@pytest.mark.parametrize("base", [0, MODULUS - 5])
def test_a_duplicate_makes_its_range_the_latest_again(base: int) -> None:
    ranges = ffi.new("struct ranges *")
    for start in (0, 20, 40):
        lib.ranges_add(ranges, (base + start) % MODULUS, (base + start + 10) % MODULUS, 8)
    assert lib.ranges_add(ranges, (base + 2) % MODULUS, (base + 4) % MODULUS, 8) == 0
    stamps = [stamp for _, _, stamp in items(ranges)]
    assert stamps[0] == max(stamps)
    lib.ranges_release(ranges)


def test_stamps_go_on_growing_after_release() -> None:
    ranges = ffi.new("struct ranges *")
    lib.ranges_add(ranges, 1, 2, 8)
    before = ranges.items[0].stamp
    assert lib.ranges_advance(ranges, 1) == 2
    assert ranges.items == ffi.NULL
    lib.ranges_add(ranges, 5, 6, 8)
    assert ranges.items[0].stamp > before
    lib.ranges_release(ranges)

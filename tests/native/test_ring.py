"""native/src/ring.c against a list of bytes, of which some may not be known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.octets import exact
from tests.support.walk import near, walk
from ustack.native import ffi, lib

if TYPE_CHECKING:
    from random import Random

LEAST_CAPACITY = 512


def fits(known: list[int | None], data: bytes) -> bool:
    """Whether `data` is what is known of it."""
    return len(known) == len(data) and all(k is None or k == byte for k, byte in zip(known, data, strict=True))


class RingMachine(RuleBasedStateMachine):
    """All operations in any order, from any place of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = ffi.new("struct ring *")
        self.ordered: list[int | None] = []
        self.placed: dict[int, int] = {}

    def teardown(self) -> None:
        lib.ring_release(self.ring)

    @initialize(head=st.integers(0, LEAST_CAPACITY - 1), filled=st.integers(0, LEAST_CAPACITY))
    def start(self, head: int, filled: int) -> None:
        assert lib.ring_reserve(self.ring, 1, 0) == 0
        assert self.ring.capacity == LEAST_CAPACITY
        self.ring.head = head
        self.write(bytes(index & 0xFF for index in range(filled)))

    def room(self) -> int:
        capacity: int = self.ring.capacity
        return capacity - len(self.ordered)

    def append(self, values: list[int | None]) -> None:
        self.ordered += values
        moved = {offset - len(values): byte for offset, byte in self.placed.items()}
        self.placed = {offset: byte for offset, byte in moved.items() if offset >= 0}

    @rule(data=st.binary(max_size=1500))
    def write(self, data: bytes) -> None:
        written = lib.ring_write(self.ring, exact(data), len(data))
        assert written == min(len(data), self.room())
        self.append(list(data[:written]))

    @rule(length=st.integers(0, 5000))
    def read(self, length: int) -> None:
        target = ffi.new("uint8_t[]", length)
        count = lib.ring_read(self.ring, target, length)
        assert count == min(length, len(self.ordered))
        assert fits(self.ordered[:count], bytes(ffi.buffer(target, count)))
        del self.ordered[:count]

    @rule(offset=st.integers(0, 5000), length=st.integers(0, 5000))
    def peek(self, offset: int, length: int) -> None:
        target = ffi.new("uint8_t[]", length)
        expected = self.ordered[offset : offset + length]
        assert lib.ring_peek(self.ring, offset, target, length) == len(expected)
        assert fits(expected, bytes(ffi.buffer(target, len(expected))))

    @rule(length=st.integers(0, 5000))
    def drop(self, length: int) -> None:
        assert lib.ring_drop(self.ring, length) == min(length, len(self.ordered))
        del self.ordered[:length]

    @rule(offset=st.integers(0, 5000), data=st.binary(max_size=1500))
    def place(self, offset: int, data: bytes) -> None:
        result = lib.ring_place(self.ring, offset, exact(data), len(data))
        assert result == (0 if offset + len(data) <= self.room() else -1)
        if result == 0:
            self.placed.update({offset + index: byte for index, byte in enumerate(data)})

    @rule(length=st.integers(0, 3000))
    def extend(self, length: int) -> None:
        result = lib.ring_extend(self.ring, length)
        assert result == (0 if length <= self.room() else -1)
        if result == 0:
            self.append([self.placed.get(offset) for offset in range(length)])

    @rule(capacity=st.integers(0, 40000), placed=st.integers(0, 50000))
    def reserve(self, capacity: int, placed: int) -> None:
        before = self.ring.capacity
        assert lib.ring_reserve(self.ring, capacity, placed) == 0
        if self.ring.capacity != before:
            self.placed = {offset: byte for offset, byte in self.placed.items() if offset < placed}
        assert self.ring.capacity >= capacity

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert self.ring.length == len(self.ordered)
        assert self.ring.length <= self.ring.capacity
        assert self.ring.capacity & (self.ring.capacity - 1) == 0
        assert all(offset < self.room() for offset in self.placed)


TestRing = RingMachine.TestCase


@pytest.mark.parametrize("seed", range(8))
def test_a_long_walk_around_the_capacity(seed: int) -> None:
    machine = RingMachine()
    machine.start(seed * 1000 % LEAST_CAPACITY, 0)

    def place(random: Random) -> None:
        offset = near(random, machine.room())
        machine.place(offset, random.randbytes(near(random, max(0, machine.room() - offset))))

    def reserve(random: Random) -> None:
        if machine.ring.capacity < 8000 and random.random() < 0.02:
            machine.reserve(machine.ring.capacity + near(random, 100), near(random, machine.room()))

    moves: list[Callable[[Random], None]] = [
        lambda random: machine.write(random.randbytes(near(random, machine.room()))),
        lambda random: machine.read(near(random, len(machine.ordered))),
        lambda random: machine.peek(near(random, len(machine.ordered)), near(random, len(machine.ordered))),
        lambda random: machine.drop(near(random, len(machine.ordered))),
        lambda random: machine.extend(near(random, machine.room())),
        place,
        place,
        reserve,
    ]
    walk(machine, moves, machine.holds_what_the_model_holds, 1500, seed)


def test_a_ring_without_memory_takes_and_gives_nothing() -> None:
    ring = ffi.new("struct ring *")
    target = ffi.new("uint8_t[]", 4)
    assert lib.ring_write(ring, exact(b"abcd"), 4) == 0
    assert lib.ring_read(ring, target, 4) == 0
    assert lib.ring_peek(ring, 0, target, 4) == 0
    assert lib.ring_drop(ring, 4) == 0
    assert lib.ring_place(ring, 0, exact(b"a"), 1) == -1
    assert lib.ring_place(ring, 0, ffi.NULL, 0) == 0
    assert lib.ring_extend(ring, 1) == -1
    assert lib.ring_extend(ring, 0) == 0


@pytest.mark.parametrize("offset", [2**32 - 1, 2**32 - 4, 4097])
def test_offsets_that_would_wrap_around_are_refused(offset: int) -> None:
    ring = ffi.new("struct ring *")
    lib.ring_reserve(ring, 4096, 0)
    assert lib.ring_place(ring, offset, exact(b"abcdefgh"), 8) == -1
    assert lib.ring_peek(ring, offset, ffi.new("uint8_t[8]"), 8) == 0
    assert lib.ring_extend(ring, offset) == -1
    lib.ring_release(ring)


def test_more_than_a_gibibyte_is_refused_and_changes_nothing() -> None:
    ring = ffi.new("struct ring *")
    lib.ring_reserve(ring, 4096, 0)
    lib.ring_write(ring, exact(b"kept"), 4)
    assert lib.ring_reserve(ring, (1 << 30) + 1, 0) == -1
    assert lib.ring_reserve(ring, 2**32 - 1, 0) == -1
    assert (ring.capacity, ring.length) == (4096, 4)
    lib.ring_release(ring)


def test_release_makes_it_as_new() -> None:
    ring = ffi.new("struct ring *")
    lib.ring_reserve(ring, 10_000, 0)
    lib.ring_write(ring, exact(b"gone"), 4)
    lib.ring_release(ring)
    assert (ring.data, ring.capacity, ring.head, ring.length) == (ffi.NULL, 0, 0, 0)
    lib.ring_release(ring)

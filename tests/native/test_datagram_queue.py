"""native/src/datagram_queue.c against a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.octets import exact
from tests.support.walk import near, walk
from ustack.native import ffi, lib

if TYPE_CHECKING:
    from random import Random

RECORD = ffi.sizeof("struct datagram")


def describe(number: int, length: int) -> Any:
    """Each datagram is told by its number."""
    return ffi.new(
        "struct datagram *",
        {"source": number.to_bytes(16, "big"), "destination_port": number % 65536, "version": 6, "length": length},
    )


def first_of(queue: Any) -> tuple[int, bytes] | None:
    """Number and payload of the first datagram."""
    datagram = ffi.new("struct datagram *")
    if lib.datagram_queue_first(queue, datagram) < 0:
        return None
    payload = ffi.new("uint8_t[]", datagram.length)
    assert lib.datagram_queue_peek(queue, payload, datagram.length) == datagram.length
    number = int.from_bytes(bytes(datagram.source), "big")
    assert datagram.destination_port == number % 65536
    return number, bytes(ffi.buffer(payload))


class DatagramQueueMachine(RuleBasedStateMachine):
    """Pushes, pops and peeks around the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ffi.new("struct datagram_queue *")
        self.model: list[tuple[int, bytes]] = []
        self.pushed = self.dropped = 0

    def teardown(self) -> None:
        lib.datagram_queue_release(self.queue)

    @initialize(limit=st.sampled_from([0, 100, 5000, 20_000, 200_000]))
    def start(self, limit: int) -> None:
        self.queue.limit = limit

    @rule(payload=st.one_of(st.binary(max_size=200), st.integers(0, 65507).map(lambda n: bytes([n & 0xFF]) * n)))
    def push(self, payload: bytes) -> None:
        held = sum(RECORD + len(data) for _, data in self.model)
        result = lib.datagram_queue_push(self.queue, describe(self.pushed, len(payload)), exact(payload))
        if self.model and held + RECORD + len(payload) > self.queue.limit:
            assert result == -1
            self.dropped += 1
            return
        assert result == 0
        self.model.append((self.pushed, payload))
        self.pushed += 1

    @rule()
    def pop(self) -> None:
        assert lib.datagram_queue_pop(self.queue) == (0 if self.model else -1)
        del self.model[:1]

    @rule(length=st.integers(0, 300))
    def peek_a_part(self, length: int) -> None:
        part = ffi.new("uint8_t[]", length)
        expected = self.model[0][1][:length] if self.model else b""
        assert lib.datagram_queue_peek(self.queue, part, length) == len(expected)
        assert bytes(ffi.buffer(part, len(expected))) == expected

    @invariant()
    def first_is_the_oldest(self) -> None:
        assert first_of(self.queue) == (self.model[0] if self.model else None)

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.count == len(self.model)
        assert self.queue.dropped == self.dropped
        assert self.queue.received == self.pushed
        assert self.model or self.queue.ring.capacity <= 64 << 10


TestDatagramQueue = DatagramQueueMachine.TestCase


@pytest.mark.parametrize("seed", range(4))
def test_a_long_walk_around_the_limit(seed: int) -> None:
    machine = DatagramQueueMachine()
    machine.start([3000, 20_000, 100, 70_000][seed])

    def push(random: Random) -> None:
        held = sum(RECORD + len(data) for _, data in machine.model)
        machine.push(random.randbytes(near(random, max(0, machine.queue.limit - held - RECORD))))

    def check() -> None:
        machine.first_is_the_oldest()
        machine.counts_agree()

    moves: list[Callable[[Random], None]] = [push, push, lambda _: machine.pop()]
    moves.append(lambda random: machine.peek_a_part(near(random, 300)))
    walk(machine, moves, check, 1500, seed)


def test_every_field_of_a_datagram_comes_back() -> None:
    queue = ffi.new("struct datagram_queue *", {"limit": 1000})
    datagram = ffi.new("struct datagram *")
    ffi.memmove(datagram, bytes(range(1, RECORD + 1)), RECORD)
    datagram.length = 3
    lib.datagram_queue_push(queue, datagram, exact(b"abc"))
    again = ffi.new("struct datagram *")
    assert lib.datagram_queue_first(queue, again) == 0
    assert bytes(ffi.buffer(again)) == bytes(ffi.buffer(datagram))
    lib.datagram_queue_release(queue)


def test_an_empty_datagram_is_one() -> None:
    queue = ffi.new("struct datagram_queue *", {"limit": 1000})
    assert lib.datagram_queue_push(queue, describe(7, 0), ffi.NULL) == 0
    assert first_of(queue) == (7, b"")
    assert lib.datagram_queue_pop(queue) == 0
    lib.datagram_queue_release(queue)


@pytest.mark.parametrize("length", [1 << 30, 2**32 - 1, 2**32 - RECORD])
def test_a_length_beyond_all_memory_is_refused_before_anything_is_read(length: int) -> None:
    queue = ffi.new("struct datagram_queue *", {"limit": 2**32 - 1})
    assert lib.datagram_queue_push(queue, describe(1, length), exact(b"short")) == -2
    assert (queue.count, queue.ring.length, queue.received) == (0, 0, 0)
    lib.datagram_queue_release(queue)


def test_release_forgets_the_datagrams_and_keeps_the_counters() -> None:
    queue = ffi.new("struct datagram_queue *", {"limit": 60})
    lib.datagram_queue_push(queue, describe(1, 1), exact(b"a"))
    lib.datagram_queue_push(queue, describe(2, 1), exact(b"b"))
    lib.datagram_queue_release(queue)
    assert first_of(queue) is None
    assert (queue.received, queue.dropped, queue.ring.data) == (1, 1, ffi.NULL)

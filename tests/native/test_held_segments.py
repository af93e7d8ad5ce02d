"""native/src/held_segments.c: what received data would cost Linux.

The sizes are those of 64-bit Linux 6.18, told by its windows in the selftests tcp_ooo_rcv_mss, tcp_rcv_big_endseq and
tcp_rcv_toobig.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ustack.native import ffi, lib


@pytest.fixture
def held() -> Iterator[Any]:
    made = ffi.new("struct held_segments *")
    yield made
    lib.held_segments_release(made)
    assert (made.items, made.count, made.memory) == (ffi.NULL, 0, 0)


def lengths(held: Any) -> list[int]:
    return [held.items[(held.head + index) % held.capacity].length for index in range(held.count)]


@pytest.mark.parametrize(
    ("packet", "memory", "tailroom"),
    [
        (41, 832, 151), (192, 832, 0), (193, 1280, 447), (1040, 2304, 624), (1500, 2304, 164), (1664, 2304, 0),
        (1665, 4352, 2047), (4031, 8448, 3777), (4040, 8448, 0), (9040, 12_544, 0), (20_040, 20_736, 0),
        (65_535, 69_888, 0),
    ],
)  # fmt: skip
def test_what_a_packet_costs(packet: int, memory: int, tailroom: int) -> None:
    assert lib.segment_memory(packet) == memory
    assert lib.segment_tailroom(packet) == tailroom


def test_small_segments_share_the_buffer_of_the_first(held: Any) -> None:
    for _ in range(152):
        assert lib.held_segments_add(held, 1, 41) == 0
    assert (lengths(held), held.memory, held.tailroom) == ([152], 832, 0)
    lib.held_segments_add(held, 1, 41)
    assert (lengths(held), held.memory) == ([152, 1], 1664)


def test_a_buffer_is_free_once_all_of_it_was_read(held: Any) -> None:
    for _ in range(3):
        lib.held_segments_add(held, 1000, 1040)
    lib.held_segments_drop(held, 999)
    assert held.memory == 3 * 2304
    lib.held_segments_drop(held, 1)
    assert held.memory == 2 * 2304
    lib.held_segments_drop(held, 1500)
    assert (lengths(held), held.memory) == ([500], 2304)
    lib.held_segments_drop(held, 500)
    assert (held.count, held.memory, held.tailroom) == (0, 0, 0)


def test_the_queue_grows_and_wraps(held: Any) -> None:
    expected: list[int] = []
    for number in range(1, 200):
        lib.held_segments_add(held, 1000 + number, 1040 + number)
        expected.append(1000 + number)
        if number % 3 == 0:
            lib.held_segments_drop(held, expected.pop(0))
    assert lengths(held) == expected
    assert held.memory == len(expected) * 2304
    capacity = held.capacity
    assert lib.held_segments_reserve(held, capacity - held.count) == 0
    assert held.capacity == capacity
    assert lib.held_segments_reserve(held, capacity - held.count + 1) == 0
    assert (held.capacity, lengths(held)) == (2 * capacity, expected)


def test_what_was_out_of_order_comes_in_equal_parts(held: Any) -> None:
    assert lib.held_segments_join(held, 1000, 7001, 3) == 0
    assert (lengths(held), held.memory, held.tailroom) == ([333, 333, 334], 7001, 0)
    assert lib.held_segments_join(held, 2, 100, 5) == 0
    assert lengths(held)[3:] == [1, 1]
    assert lib.held_segments_join(held, 0, 0, 0) == 0
    lib.held_segments_drop(held, 1002)
    assert held.memory == 0


def test_collapsing_copies_together_what_wastes_memory(held: Any) -> None:
    for _ in range(50):
        lib.held_segments_add(held, 300, 340)
    lib.held_segments_collapse(held)
    assert sum(lengths(held)) == 15_000
    assert held.memory == lib.collapsed_memory(15_000) < 50 * 1280
    before = held.memory
    lib.held_segments_collapse(held)
    assert held.memory == before
    assert lib.collapsed_memory(0) == 0

"""native/src/burst.c: an arena of frames."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.octets import exact, naive_sum
from ustack.burst import Burst
from ustack.native import ffi, lib

HEADROOM = lib.FRAME_HEADROOM


def new_burst(capacity: int = 0) -> Any:
    return ffi.gc(lib.burst_new(capacity), lib.burst_free)


def append(burst: Any, data: bytes) -> int:
    result: int = lib.burst_append(burst, exact(data), len(data))
    return result


def frames(burst: Any) -> list[bytes]:
    described = (burst.frames[index] for index in range(burst.count))
    return [bytes(ffi.buffer(burst.data + frame.offset, frame.length)) for frame in described]


@given(st.lists(st.binary(max_size=3000), max_size=60), st.integers(0, 70))
def test_frames_stay_in_order_with_room_in_front_of_each(packets: list[bytes], dropped: int) -> None:
    burst = new_burst()
    taken = [packet for packet in packets if append(burst, packet) == 0]
    assert frames(burst) == taken
    assert burst.refused == len(packets) - len(taken)
    end = 0
    for index in range(burst.count):
        assert burst.frames[index].offset == end + HEADROOM
        end = burst.frames[index].offset + burst.frames[index].length
    assert end == burst.used <= burst.capacity
    lib.burst_drop(burst, dropped)
    assert frames(burst) == taken[dropped:]
    assert (burst.used == 0) == (dropped >= len(taken))


def test_the_smallest_arena_holds_the_largest_frame() -> None:
    burst = new_burst(0)
    assert burst.capacity == lib.FRAME_MAX + HEADROOM
    assert append(burst, bytes(lib.FRAME_MAX)) == 0
    assert append(burst, b"") == -1
    lib.burst_clear(burst)
    assert append(burst, b"") == 0
    assert burst.refused == 1


def test_a_frame_over_64_kib_never_fits() -> None:
    burst = new_burst(1 << 20)
    assert not lib.burst_fits(burst, lib.FRAME_MAX + 1)
    assert not lib.burst_fits(burst, 2**32 - 1)
    assert lib.burst_reserve(burst, lib.FRAME_MAX + 1) == ffi.NULL
    assert lib.burst_fits(burst, lib.FRAME_MAX)


def test_a_burst_holds_256_frames() -> None:
    burst = new_burst()
    assert all(append(burst, b"x") == 0 for _ in range(lib.BURST_FRAMES))
    assert not lib.burst_fits(burst, 0)
    assert append(burst, b"x") == -1
    assert burst.count == lib.BURST_FRAMES == len(burst.frames)


@given(st.integers(0, 300), st.integers(0, 80_000), st.integers(0, 5))
def test_fits_all_says_what_would_fit_together(count: int, total: int, there: int) -> None:
    burst = new_burst()
    for _ in range(there):
        append(burst, bytes(100))
    expected = there + count <= lib.BURST_FRAMES and total + (there + count) * HEADROOM + there * 100 <= burst.capacity
    assert lib.burst_fits_all(burst, count, total) == expected


def test_fits_all_does_not_wrap_around() -> None:
    assert not lib.burst_fits_all(new_burst(), 2**32 - 1, 0)
    assert not lib.burst_fits_all(new_burst(), 1, 2**32)


def test_a_reserved_frame_has_no_offload_fields_left_of_an_earlier_one() -> None:
    burst = new_burst()
    append(burst, b"first")
    burst.frames[0].flags = burst.frames[0].gso_type = burst.frames[0].gso_size = 1
    lib.burst_clear(burst)
    assert lib.burst_reserve(burst, 4) == burst.data + HEADROOM
    frame = burst.frames[0]
    assert (frame.length, frame.flags, frame.gso_type, frame.gso_size) == (4, 0, 0, 0)


def test_a_frame_is_copied_with_its_offload_fields() -> None:
    source, target = new_burst(), new_burst()
    append(target, b"before")
    append(source, b"skipped")
    append(source, b"a super-segment")
    fields = {"flags": 1, "gso_type": 4, "gso_size": 5, "header_length": 6, "checksum_start": 7, "checksum_offset": 2}
    for name, value in fields.items():
        setattr(source.frames[1], name, value)
    assert lib.burst_append_frame(target, source, 1) == 0
    assert frames(target) == [b"before", b"a super-segment"]
    assert {name: getattr(target.frames[1], name) for name in fields} == fields
    assert target.frames[1].offset == 2 * HEADROOM + 6


def test_a_frame_that_is_not_there_or_does_not_fit_is_not_copied() -> None:
    source, target = new_burst(), new_burst()
    append(source, bytes(100))
    append(target, bytes(target.capacity - HEADROOM - 100))
    assert lib.burst_append_frame(target, source, 1) == -1
    assert lib.burst_append_frame(target, source, 2**32 - 1) == -1
    assert lib.burst_append_frame(target, source, 0) == -1
    assert target.count == 1


@given(st.binary(min_size=2, max_size=200), st.data())
def test_checksum_is_completed_from_its_start_on(data: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data) - 2))
    offset = draw.draw(st.integers(0, (len(data) - 2 - start) // 2)) * 2
    burst = new_burst()
    append(burst, data)
    frame = burst.frames[0]
    frame.flags = lib.FRAME_NEEDS_CHECKSUM
    frame.checksum_start, frame.checksum_offset = start, offset
    assert lib.burst_complete_checksum(burst, 0) == 0
    assert frame.flags == 0
    (result,) = frames(burst)
    field = start + offset
    expected = 0xFFFF - naive_sum(data[start:]) or 0xFFFF
    assert result[:field] + result[field + 2 :] == data[:field] + data[field + 2 :]
    assert int.from_bytes(result[field : field + 2], "big") == expected


@pytest.mark.parametrize(("start", "offset"), [(0, 9), (9, 0), (10, 0), (0xFFFF, 0), (0, 0xFFFF), (0xFFFF, 0xFFFF)])
def test_a_checksum_field_outside_the_frame_is_refused(start: int, offset: int) -> None:
    burst = new_burst()
    append(burst, bytes(10))
    frame = burst.frames[0]
    frame.flags, frame.checksum_start, frame.checksum_offset = lib.FRAME_NEEDS_CHECKSUM, start, offset
    assert lib.burst_complete_checksum(burst, 0) == -1
    assert frames(burst) == [bytes(10)]


def test_a_frame_without_the_flag_is_left_as_it_is() -> None:
    burst = new_burst()
    append(burst, bytes(10))
    assert lib.burst_complete_checksum(burst, 0) == 0
    assert lib.burst_complete_checksum(burst, 1) == -1
    assert frames(burst) == [bytes(10)]


def test_freeing_nothing_is_allowed() -> None:
    lib.burst_free(ffi.NULL)


def test_a_frame_outlives_its_burst() -> None:
    burst = Burst()
    burst.append(b"kept")
    frame = burst.frame(0)
    del burst
    gc.collect()
    assert bytes(frame) == b"kept"

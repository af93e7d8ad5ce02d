"""native/src/checksum.c against the sum taken word by word."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.octets import exact, naive_sum, pseudo_header
from ustack.native import ffi, lib

words = st.integers(0, 0xFFFF)


def test_the_example_of_rfc_1071_section_3() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert lib.checksum_add(exact(data), len(data), 0) == 0xDDF2
    assert lib.checksum_compute(exact(data), len(data), 0) == 0x220D


@given(st.binary(max_size=300), words)
def test_sum_is_that_of_the_words(data: bytes, initial: int) -> None:
    assert lib.checksum_add(exact(data), len(data), initial) == naive_sum(data, initial)


@pytest.mark.parametrize("length", [0, 1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 95, 1459, 1460, 65535])
@pytest.mark.parametrize("offset", range(9))
def test_sum_at_every_alignment(length: int, offset: int) -> None:
    data = random.Random(length).randbytes(offset + length)
    copy = exact(data)
    assert lib.checksum_add(copy + offset, length, 0x1234) == naive_sum(data[offset:], 0x1234)


@pytest.mark.parametrize("length", [65535, 1 << 20, (1 << 20) + 1])
def test_largest_words_do_not_overflow_the_accumulators(length: int) -> None:
    data = b"\xff" * length
    assert lib.checksum_add(exact(data), length, 0xFFFF) == naive_sum(data, 0xFFFF)


def test_sum_of_zeros_is_zero_and_its_checksum_all_ones() -> None:
    assert lib.checksum_add(exact(bytes(40)), 40, 0) == 0
    assert lib.checksum_compute(exact(bytes(40)), 40, 0) == 0xFFFF


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_sum_goes_on_from_an_earlier_one_of_even_length(first: bytes, second: bytes) -> None:
    first = first[: len(first) & ~1]
    earlier = lib.checksum_add(exact(first), len(first), 0)
    assert lib.checksum_add(exact(second), len(second), earlier) == naive_sum(first + second)


@given(st.binary(min_size=2, max_size=200))
def test_data_with_its_checksum_sums_to_all_ones(data: bytes) -> None:
    data = bytes(2) + data[2:]
    checksum = lib.checksum_compute(exact(data), len(data), 0)
    whole = checksum.to_bytes(2, "big") + data[2:]
    assert lib.checksum_add(exact(whole), len(whole), 0) == 0xFFFF


@given(st.sampled_from([4, 16]).flatmap(lambda size: st.tuples(*[st.binary(min_size=size, max_size=size)] * 2)),
       st.integers(0, 255), st.integers(0, 0xFFFF))  # fmt: skip
def test_sum_of_the_pseudo_header(addresses: tuple[bytes, bytes], protocol: int, length: int) -> None:
    source, destination = addresses
    expected = naive_sum(pseudo_header(source, destination, protocol, length))
    result = lib.checksum_pseudo(exact(source), exact(destination), len(source), protocol, length)
    assert result == expected


def test_pseudo_header_of_a_jumbo_length() -> None:
    source, destination = bytes(16), bytes(16)
    expected = naive_sum(pseudo_header(source, destination, 6, 0x12345678))
    assert lib.checksum_pseudo(exact(source), exact(destination), 16, 6, 0x12345678) == expected


@given(st.binary(min_size=4, max_size=60), words, st.data())
def test_update_is_as_good_as_a_new_checksum(data: bytes, after: int, draw: st.DataObject) -> None:
    data = data[: len(data) & ~1]
    place = draw.draw(st.integers(0, len(data) // 2 - 1)) * 2
    before = int.from_bytes(data[place : place + 2], "big")
    checksum = 0xFFFF - naive_sum(data)
    changed = data[:place] + after.to_bytes(2, "big") + data[place + 2 :]
    updated = lib.checksum_update(checksum, before, after)
    assert updated % 0xFFFF == (0xFFFF - naive_sum(changed)) % 0xFFFF
    if any(changed):
        assert naive_sum(changed, updated) == 0xFFFF


def test_update_by_the_example_of_rfc_1624_section_4() -> None:
    assert lib.checksum_update(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(st.binary(max_size=300), words)
def test_copy_sums_in_the_same_pass(data: bytes, initial: int) -> None:
    target = ffi.new("uint8_t[]", b"\xaa" * (len(data) + 2))
    assert lib.checksum_copy(target + 1, exact(data), len(data), initial) == naive_sum(data, initial)
    assert bytes(ffi.buffer(target, len(data) + 2)) == b"\xaa" + data + b"\xaa"


@pytest.mark.parametrize("length", [1448, 9000, 65535])
def test_copy_of_long_data_at_odd_addresses(length: int) -> None:
    data = random.Random(length).randbytes(length + 3)
    copy = exact(data)
    target = ffi.new("uint8_t[]", length + 1)
    assert lib.checksum_copy(target + 1, copy + 3, length, 0) == naive_sum(data[3:])
    assert bytes(ffi.buffer(target + 1, length)) == data[3:]

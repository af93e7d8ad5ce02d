"""The thin door to the Internet checksum."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.octets import naive_sum
from tests.support.requirement import requirement
from tests.support.wire_strategies import ADDRESS_PAIR, OCTET, WORD
from ustack.wire.checksum import internet_checksum, pseudo_header_sum, sum_words, update


def test_the_example_of_rfc_1071_sums_as_the_rfc_says() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert sum_words(data) == 0xDDF2
    assert internet_checksum(data) == 0xDDF2 ^ 0xFFFF


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff\xff", b"\x12\x34\x56", bytes(range(256)) * 3])
def test_every_kind_of_buffer_gives_the_same_sum(kind: type, data: bytes) -> None:
    assert sum_words(kind(data)) == naive_sum(data)
    assert internet_checksum(kind(data), 7) == naive_sum(data, 7) ^ 0xFFFF


@given(st.binary(max_size=99), WORD)
def test_sums_agree_with_a_word_by_word_one(data: bytes, initial: int) -> None:
    assert sum_words(memoryview(data), initial) == naive_sum(data, initial)


@given(st.binary(max_size=60).map(lambda data: data + bytes(len(data) % 2)), st.binary(max_size=61))
def test_sums_of_parts_go_on_from_each_other(first: bytes, second: bytes) -> None:
    assert sum_words(second, sum_words(first)) == sum_words(first + second)


@requirement("RFC8200", "8.1")
@given(ADDRESS_PAIR, OCTET, st.integers(0, 2**17))
def test_the_pseudo_header_is_the_one_of_the_rfcs(addresses: tuple[bytes, bytes], protocol: int, length: int) -> None:
    if len(addresses[0]) == 4:
        length &= 0xFFFF
        pseudo = b"".join(addresses) + struct.pack("!BBH", 0, protocol, length)
    else:
        pseudo = b"".join(addresses) + struct.pack("!II", length, protocol)
    assert pseudo_header_sum(*addresses, protocol, length) == naive_sum(pseudo)


@given(st.binary(min_size=2, max_size=40).map(lambda data: b"\x45\x00" + data + bytes(len(data) % 2)), WORD)
def test_an_incremental_update_equals_a_new_computation(data: bytes, word: int) -> None:
    changed = data[:2] + word.to_bytes(2, "big") + data[4:]
    before = int.from_bytes(data[2:4], "big")
    assert update(internet_checksum(data), before, word) == internet_checksum(changed)

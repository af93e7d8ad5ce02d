"""The UDP header and the rules of its checksum."""

import struct

import pytest
from hypothesis import given

from tests.support.octets import naive_sum
from tests.support.wire_strategies import ADDRESS_PAIR, PAYLOAD, WORD
from ustack.drops import Drop, DropReason
from ustack.wire import udp
from ustack.wire.udp import UdpHeader

IPV4 = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
IPV6 = bytes(15) + b"\x01", bytes(15) + b"\x02"
FAMILIES = pytest.mark.parametrize("addresses", [IPV4, IPV6], ids=["ipv4", "ipv6"])


def parse_reason(data: bytes) -> DropReason:
    with pytest.raises(Drop) as caught:
        udp.parse(memoryview(data))
    assert caught.value.detail
    return caught.value.reason


def verify_reason(data: bytes, addresses: tuple[bytes, bytes]) -> DropReason:
    with pytest.raises(Drop) as caught:
        udp.verify(memoryview(data), *addresses)
    return caught.value.reason


def test_every_field_is_read_from_its_place() -> None:
    assert udp.parse(bytes.fromhex("0035c000000cbeef") + b"data") == UdpHeader(53, 0xC000, 12, 0xBEEF)


@pytest.mark.parametrize("length", [0, 1, 7])
def test_less_than_a_header_is_truncated(length: int) -> None:
    assert parse_reason(bytes(length)) is DropReason.TRUNCATED


@pytest.mark.parametrize("length", [0, 7, 13, 65535])
def test_a_length_that_does_not_fit_is_dropped(length: int) -> None:
    assert parse_reason(struct.pack("!HHHH", 1, 2, length, 0) + b"data") is DropReason.UDP_LENGTH


@pytest.mark.parametrize("length", [8, 11])
def test_bytes_beyond_the_length_are_let_be(length: int) -> None:
    assert udp.parse(struct.pack("!HHHH", 1, 2, length, 0) + b"data").length == length


def test_a_quoted_datagram_may_be_cut() -> None:
    assert udp.parse_quoted(struct.pack("!HHHH", 1, 2, 999, 0)).length == 999


@FAMILIES
def test_a_right_checksum_verifies(addresses: tuple[bytes, bytes]) -> None:
    udp.verify(udp.build(*addresses, 1, 2, b"odd") + b"odd", *addresses)


@FAMILIES
@pytest.mark.parametrize("position", range(11))
def test_any_flipped_bit_is_noticed(addresses: tuple[bytes, bytes], position: int) -> None:
    data = bytearray(udp.build(*addresses, 1, 2, b"odd") + b"odd")
    data[position] ^= 1
    assert verify_reason(bytes(data), addresses) is DropReason.UDP_CHECKSUM


@FAMILIES
def test_the_checksum_covers_the_addresses(addresses: tuple[bytes, bytes]) -> None:
    data = udp.build(*addresses, 1, 2, b"x") + b"x"
    other = addresses[0][:-1] + b"\x77"
    assert verify_reason(data, (other, addresses[1])) is DropReason.UDP_CHECKSUM


def test_no_checksum_is_fine_over_ipv4_only() -> None:
    data = udp.build(*IPV4, 1, 2, b"x", checksum=False) + b"x"
    assert udp.parse(data).checksum == 0
    udp.verify(data, *IPV4)
    assert verify_reason(data, IPV6) is DropReason.UDP_NO_CHECKSUM


@FAMILIES
def test_a_computed_checksum_of_zero_is_sent_as_all_ones(addresses: tuple[bytes, bytes]) -> None:
    pseudo = b"".join(addresses) + struct.pack("!HH", 17, 10)
    rest = naive_sum(pseudo + struct.pack("!HHH", 1, 2, 10))
    payload = (0xFFFF - rest).to_bytes(2, "big")
    header = udp.build(*addresses, 1, 2, payload)
    assert udp.parse(header + payload).checksum == 0xFFFF
    udp.verify(header + payload, *addresses)


@given(ADDRESS_PAIR, WORD, WORD, PAYLOAD)
def test_parsing_gives_back_what_was_built(
    addresses: tuple[bytes, bytes], source: int, destination: int, payload: bytes
) -> None:
    data = udp.build(*addresses, source, destination, memoryview(payload)) + payload
    header = udp.parse(memoryview(data))
    assert (header.source_port, header.destination_port, header.length) == (source, destination, len(data))
    assert header.checksum != 0
    udp.verify(memoryview(data), *addresses)

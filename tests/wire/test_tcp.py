"""The TCP header."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wire_strategies import ADDRESS_PAIR, FITTING_TCP_OPTIONS, LONG, OCTET, PAYLOAD, WORD
from ustack.drops import Drop, DropReason
from ustack.wire import tcp, tcp_options
from ustack.wire.tcp import TcpHeader
from ustack.wire.tcp_options import TcpOptions

IPV4 = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
IPV6 = bytes(15) + b"\x01", bytes(15) + b"\x02"
FAMILIES = pytest.mark.parametrize("addresses", [IPV4, IPV6], ids=["ipv4", "ipv6"])


def segment(addresses: tuple[bytes, bytes] = IPV4, payload: bytes = b"odd") -> bytearray:
    header = tcp.build(1, 2, 3, 4, tcp.ACK, 5, options=b"\x01\x01\x01\x00", payload=payload, pseudo=addresses)
    return bytearray(header + payload)


def reason_of(data: bytes | bytearray) -> DropReason:
    with pytest.raises(Drop) as caught:
        tcp.parse(memoryview(data))
    assert caught.value.detail
    return caught.value.reason


def test_every_field_is_read_from_its_place() -> None:
    data = bytes.fromhex("1f90c0001234567889abcdef6ad1ffeebeef00070101010062")
    assert tcp.parse(data) == TcpHeader(
        source_port=8080,
        destination_port=0xC000,
        seq=0x12345678,
        ack=0x89ABCDEF,
        data_offset=24,
        reserved=5,
        flags=tcp.CWR | tcp.ECE | tcp.ACK | tcp.FIN,
        window=0xFFEE,
        checksum=0xBEEF,
        urgent_pointer=7,
        options=b"\x01\x01\x01\x00",
    )


def test_flags_have_the_bits_of_the_rfc() -> None:
    flags = (tcp.FIN, tcp.SYN, tcp.RST, tcp.PSH, tcp.ACK, tcp.URG, tcp.ECE, tcp.CWR, tcp.AE)
    assert flags == tuple(1 << bit for bit in range(9))


@pytest.mark.parametrize("length", [0, 1, 19])
def test_less_than_a_header_is_truncated(length: int) -> None:
    assert reason_of(segment()[:length]) is DropReason.TRUNCATED


@pytest.mark.parametrize("words", [0, 4, 7, 15])
def test_a_data_offset_that_does_not_fit_is_dropped(words: int) -> None:
    data = segment()
    assert len(data) == 27
    data[12] = words << 4
    assert reason_of(data) is DropReason.TCP_HEADER_LENGTH


def test_a_header_may_fill_the_segment() -> None:
    assert tcp.parse(segment(payload=b"")).data_offset == 24


@FAMILIES
@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_a_right_checksum_verifies(addresses: tuple[bytes, bytes], payload: bytes) -> None:
    tcp.verify(memoryview(segment(addresses, payload)), *addresses)


@FAMILIES
@pytest.mark.parametrize("position", range(27))
def test_any_flipped_bit_is_noticed(addresses: tuple[bytes, bytes], position: int) -> None:
    data = segment(addresses)
    data[position] ^= 4
    with pytest.raises(Drop) as caught:
        tcp.verify(data, *addresses)
    assert caught.value.reason is DropReason.TCP_CHECKSUM


@FAMILIES
def test_the_checksum_covers_the_addresses(addresses: tuple[bytes, bytes]) -> None:
    with pytest.raises(Drop):
        tcp.verify(segment(addresses), addresses[0], addresses[1][:-1] + b"\x77")


def test_the_checksum_is_left_zero_without_addresses() -> None:
    assert tcp.parse(tcp.build(1, 2, 3, 4, tcp.SYN, 5)).checksum == 0


@pytest.mark.parametrize(("options", "words"), [(b"\x01", "32 bits"), (bytes(44), "40 bytes")])
def test_building_the_impossible_is_our_bug(options: bytes, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        tcp.build(1, 2, 3, 4, tcp.SYN, 5, options=options)


@given(
    ADDRESS_PAIR, st.tuples(WORD, WORD, LONG, LONG, OCTET, WORD), WORD, st.integers(0, 7), FITTING_TCP_OPTIONS, PAYLOAD
)
def test_parsing_gives_back_what_was_built(
    addresses: tuple[bytes, bytes],
    fields: tuple[int, ...],
    urgent_pointer: int,
    reserved: int,
    options: TcpOptions,
    payload: bytes,
) -> None:
    raw = tcp_options.build(options)
    built = tcp.build(
        *fields, urgent_pointer=urgent_pointer, reserved=reserved, options=raw, payload=payload, pseudo=addresses
    )
    header = tcp.parse(memoryview(built + payload))
    assert (
        header.source_port, header.destination_port, header.seq, header.ack, header.flags, header.window
    ) == fields  # fmt: skip
    assert (header.urgent_pointer, header.reserved, header.options) == (urgent_pointer, reserved, raw)
    assert header.data_offset == len(built)
    tcp.verify(memoryview(built + payload), *addresses)


def test_sequence_numbers_are_not_signed() -> None:
    assert struct.unpack_from("!I", tcp.build(1, 2, 2**32 - 1, 0, 0, 0), 4) == (2**32 - 1,)

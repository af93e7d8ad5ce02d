"""ICMP for IPv6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.requirement import requirement
from tests.support.wire_strategies import IPV6_ADDRESS, OCTET, PAYLOAD
from ustack.drops import Drop, DropReason
from ustack.wire import icmpv6, ipv6
from ustack.wire.icmpv6 import Icmpv6Type

SOURCE, DESTINATION = bytes(15) + b"\x01", bytes(15) + b"\x02"
QUOTED = ipv6.build(SOURCE, DESTINATION, 17, 8) + b"8 bytes."


def reason_of(data: bytes | bytearray, source: bytes = SOURCE, destination: bytes = DESTINATION) -> DropReason:
    with pytest.raises(Drop) as caught:
        icmpv6.parse(memoryview(data), source, destination)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("length", [0, 1, 7])
def test_less_than_a_header_is_truncated(length: int) -> None:
    assert reason_of(icmpv6.build_echo_request(SOURCE, DESTINATION, 1, 2)[:length]) is DropReason.ICMP_TRUNCATED


@pytest.mark.parametrize("position", range(11))
def test_any_flipped_bit_is_noticed(position: int) -> None:
    data = bytearray(icmpv6.build_echo_request(SOURCE, DESTINATION, 1, 2, b"odd"))
    data[position] ^= 1
    assert reason_of(data) is DropReason.ICMP_CHECKSUM


@requirement("RFC4443", "2.3")
def test_the_checksum_covers_the_addresses() -> None:
    data = icmpv6.build_echo_request(SOURCE, DESTINATION, 1, 2)
    assert reason_of(data, SOURCE, DESTINATION[:-1] + b"\x03") is DropReason.ICMP_CHECKSUM


def test_a_quoted_message_may_be_cut() -> None:
    message = icmpv6.parse_quoted(icmpv6.build_echo_request(SOURCE, DESTINATION, 1, 2, bytes(range(100)))[:8])
    assert (message.type, message.identifier, message.sequence_number) == (Icmpv6Type.ECHO_REQUEST, 1, 2)


@pytest.mark.parametrize(
    ("built", "expected_type"),
    [
        (icmpv6.build_echo_request(SOURCE, DESTINATION, 0xABCD, 7, b"data"), Icmpv6Type.ECHO_REQUEST),
        (icmpv6.build_echo_reply(SOURCE, DESTINATION, 0xABCD, 7, b"data"), Icmpv6Type.ECHO_REPLY),
    ],
)
def test_echo_messages_have_an_identifier_a_sequence_number_and_data(built: bytes, expected_type: Icmpv6Type) -> None:
    message = icmpv6.parse(memoryview(built), SOURCE, DESTINATION)
    assert (message.type, message.code, message.identifier, message.sequence_number) == (expected_type, 0, 0xABCD, 7)
    assert message.body == b"data"
    assert not message.is_error


def test_packet_too_big_has_a_32_bit_mtu() -> None:
    data = icmpv6.build_error(SOURCE, DESTINATION, Icmpv6Type.PACKET_TOO_BIG, 0, QUOTED, 0x12345678)
    message = icmpv6.parse(data, SOURCE, DESTINATION)
    assert (message.type, message.mtu, message.quoted_packet) == (2, 0x12345678, QUOTED)


def test_parameter_problem_has_a_32_bit_pointer() -> None:
    data = icmpv6.build_error(SOURCE, DESTINATION, Icmpv6Type.PARAMETER_PROBLEM, 2, QUOTED, 0x10002)
    message = icmpv6.parse(data, SOURCE, DESTINATION)
    assert (message.type, message.code, message.pointer, message.quoted_packet) == (4, 2, 0x10002, QUOTED)


@pytest.mark.parametrize("message_type", [0, 1, 2, 3, 4, 100, 127])
def test_types_below_128_are_errors_known_or_not(message_type: int) -> None:
    message = icmpv6.parse(icmpv6.build(SOURCE, DESTINATION, message_type, 0), SOURCE, DESTINATION)
    assert message.is_error


def test_extensions_after_the_quote_are_not_of_it() -> None:
    body = QUOTED + bytes(128 - len(QUOTED)) + b"\x20\x00extension"
    data = icmpv6.build(SOURCE, DESTINATION, Icmpv6Type.TIME_EXCEEDED, 0, bytes((16, 0, 0, 0)), body)
    assert icmpv6.parse(data, SOURCE, DESTINATION).quoted_packet == body[:128]


def test_a_length_of_the_quote_under_128_bytes_is_not_one() -> None:
    data = icmpv6.build(SOURCE, DESTINATION, Icmpv6Type.TIME_EXCEEDED, 0, bytes((15, 0, 0, 0)), QUOTED + bytes(200))
    assert icmpv6.parse(data, SOURCE, DESTINATION).quoted_packet == QUOTED + bytes(200)


def test_an_mtu_is_no_length_of_the_quote() -> None:
    data = icmpv6.build_error(SOURCE, DESTINATION, Icmpv6Type.PACKET_TOO_BIG, 0, QUOTED, 0x01000500)
    assert icmpv6.parse(data, SOURCE, DESTINATION).quoted_packet == QUOTED


def test_an_error_is_at_most_1280_bytes_with_its_ip_header() -> None:
    packet = ipv6.build(SOURCE, DESTINATION, 17, 9000) + bytes(9000)
    built = icmpv6.build_error(SOURCE, DESTINATION, Icmpv6Type.TIME_EXCEEDED, 1, memoryview(packet))
    assert len(built) + 40 == 1280


@given(IPV6_ADDRESS, IPV6_ADDRESS, OCTET, OCTET, st.binary(min_size=4, max_size=4), PAYLOAD)
def test_parsing_gives_back_what_was_built(
    source: bytes, destination: bytes, message_type: int, code: int, rest: bytes, body: bytes
) -> None:
    data = icmpv6.build(source, destination, message_type, code, rest, memoryview(body))
    message = icmpv6.parse(memoryview(data), source, destination)
    assert (message.type, message.code, message.rest, message.body) == (message_type, code, rest, body)
    assert bytes(message.quoted_packet) == body[: len(message.quoted_packet)]

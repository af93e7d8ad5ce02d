"""ICMP for IPv4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wire_strategies import OCTET, PAYLOAD, WORD
from ustack.drops import Drop, DropReason
from ustack.wire import icmpv4, ipv4
from ustack.wire.icmpv4 import IcmpType

QUOTED = ipv4.build(bytes(4), bytes(4), 17, 8) + b"8 bytes."


def reason_of(data: bytes | bytearray) -> DropReason:
    with pytest.raises(Drop) as caught:
        icmpv4.parse(memoryview(data))
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("length", [0, 1, 7])
def test_less_than_a_header_is_truncated(length: int) -> None:
    assert reason_of(icmpv4.build_echo_request(1, 2)[:length]) is DropReason.ICMP_TRUNCATED


@pytest.mark.parametrize("position", range(11))
def test_any_flipped_bit_is_noticed(position: int) -> None:
    data = bytearray(icmpv4.build_echo_request(1, 2, b"odd"))
    data[position] ^= 1
    assert reason_of(data) is DropReason.ICMP_CHECKSUM


def test_a_quoted_message_may_be_cut() -> None:
    message = icmpv4.parse_quoted(icmpv4.build_echo_request(1, 2, bytes(range(100)))[:8])
    assert (message.type, message.identifier, message.sequence_number) == (IcmpType.ECHO_REQUEST, 1, 2)


@pytest.mark.parametrize(
    ("built", "expected_type"),
    [
        (icmpv4.build_echo_request(0xABCD, 7, b"data"), IcmpType.ECHO_REQUEST),
        (icmpv4.build_echo_reply(0xABCD, 7, b"data"), IcmpType.ECHO_REPLY),
    ],
)
def test_echo_messages_have_an_identifier_a_sequence_number_and_data(built: bytes, expected_type: IcmpType) -> None:
    message = icmpv4.parse(memoryview(built))
    assert (message.type, message.code, message.identifier, message.sequence_number) == (expected_type, 0, 0xABCD, 7)
    assert message.body == b"data"
    assert not message.is_error


def test_fragmentation_needed_has_the_next_hop_mtu() -> None:
    message = icmpv4.parse(icmpv4.build_destination_unreachable(4, QUOTED, 1400))
    assert (message.type, message.code, message.mtu) == (3, 4, 1400)
    assert message.is_error
    assert message.quoted_packet == QUOTED


def test_time_exceeded_and_parameter_problem_quote_the_packet() -> None:
    exceeded = icmpv4.parse(icmpv4.build_time_exceeded(1, QUOTED))
    assert (exceeded.type, exceeded.code, exceeded.quoted_packet) == (11, 1, QUOTED)
    problem = icmpv4.parse(icmpv4.build_parameter_problem(0, 21, QUOTED))
    assert (problem.type, problem.code, problem.pointer, problem.quoted_packet) == (12, 0, 21, QUOTED)


def test_a_redirect_has_a_gateway() -> None:
    message = icmpv4.parse(icmpv4.build(IcmpType.REDIRECT, 1, bytes((10, 0, 0, 9)), QUOTED))
    assert message.gateway == bytes((10, 0, 0, 9))
    assert message.quoted_packet == QUOTED, "the gateway's bytes are no length of the quote"


def test_extensions_after_the_quote_are_not_of_it() -> None:
    body = QUOTED + bytes(128 - len(QUOTED)) + b"\x20\x00extension"
    message = icmpv4.parse(icmpv4.build(IcmpType.TIME_EXCEEDED, 0, bytes((0, 32, 0, 0)), body))
    assert message.quoted_packet == body[:128]


def test_a_length_of_the_quote_beyond_the_message_takes_what_there_is() -> None:
    message = icmpv4.parse(icmpv4.build(IcmpType.TIME_EXCEEDED, 0, bytes((0, 255, 0, 0)), QUOTED))
    assert message.quoted_packet == QUOTED


def test_a_length_of_the_quote_under_128_bytes_is_not_one() -> None:
    message = icmpv4.parse(icmpv4.build(IcmpType.TIME_EXCEEDED, 0, bytes((0, 1, 0, 0)), QUOTED))
    assert message.quoted_packet == QUOTED


def test_an_error_is_at_most_576_bytes_with_its_ip_header() -> None:
    packet = ipv4.build(bytes(4), bytes(4), 17, 9000) + bytes(9000)
    for built in (
        icmpv4.build_destination_unreachable(3, packet),
        icmpv4.build_time_exceeded(0, packet),
        icmpv4.build_parameter_problem(0, 20, memoryview(packet)),
    ):
        assert len(built) + 20 == 576


@given(OCTET, OCTET, st.binary(min_size=4, max_size=4), PAYLOAD)
def test_parsing_gives_back_what_was_built(message_type: int, code: int, rest: bytes, body: bytes) -> None:
    data = icmpv4.build(message_type, code, rest, memoryview(body))
    message = icmpv4.parse(memoryview(data))
    assert (message.type, message.code, message.rest, message.body) == (message_type, code, rest, body)
    assert icmpv4.build(message.type, message.code, message.rest, message.body) == data
    assert bytes(message.quoted_packet) == body[: len(message.quoted_packet)]


@given(WORD, WORD, PAYLOAD)
def test_a_reply_gives_an_echo_back(identifier: int, sequence_number: int, data: bytes) -> None:
    request = icmpv4.parse(icmpv4.build_echo_request(identifier, sequence_number, data))
    reply = icmpv4.parse(icmpv4.build_echo_reply(request.identifier, request.sequence_number, request.body))
    assert (reply.rest, reply.body) == (request.rest, request.body)

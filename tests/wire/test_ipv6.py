"""The IPv6 header."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.requirement import requirement
from tests.support.wire_strategies import IPV6_ADDRESS, OCTET, WORD
from ustack.drops import Drop, DropReason
from ustack.wire import ipv6
from ustack.wire.ipv6 import Ipv6Header

SOURCE, DESTINATION = bytes(range(16)), bytes(range(16, 32))


def packet(payload: bytes = b"payload") -> bytearray:
    return bytearray(ipv6.build(SOURCE, DESTINATION, 17, len(payload)) + payload)


def reason_of(data: bytes | bytearray) -> DropReason:
    with pytest.raises(Drop) as caught:
        ipv6.parse(memoryview(data))
    assert caught.value.detail
    return caught.value.reason


def test_every_field_is_read_from_its_place() -> None:
    data = bytes.fromhex("6ab12345 0004 3a ff".replace(" ", "")) + SOURCE + DESTINATION + b"data"
    assert ipv6.parse(data) == Ipv6Header(
        traffic_class=0xAB,
        flow_label=0x12345,
        payload_length=4,
        next_header=58,
        hop_limit=255,
        source=SOURCE,
        destination=DESTINATION,
    )


@pytest.mark.parametrize("length", [0, 1, 39])
def test_less_than_a_header_is_truncated(length: int) -> None:
    assert reason_of(packet()[:length]) is DropReason.TRUNCATED


@pytest.mark.parametrize("version", [0, 4, 5, 7, 15])
def test_another_version_is_not_ip_here(version: int) -> None:
    data = packet()
    data[0] = version << 4
    assert reason_of(data) is DropReason.NOT_IP


@requirement("RFC8200", "3")
def test_a_payload_length_beyond_the_packet_is_dropped() -> None:
    assert reason_of(packet()[:-1]) is DropReason.IP_TOTAL_LENGTH


def test_bytes_beyond_the_payload_length_are_let_be() -> None:
    assert ipv6.parse(packet(b"abc") + b"padding").payload_length == 3


def test_a_header_alone_is_a_packet() -> None:
    assert ipv6.parse(packet(b"")).payload_length == 0


def test_a_quoted_header_may_be_cut() -> None:
    assert ipv6.parse_quoted(packet(bytes(100))[:48]).payload_length == 100


@given(
    st.tuples(IPV6_ADDRESS, IPV6_ADDRESS, OCTET, WORD),
    st.fixed_dictionaries({"hop_limit": OCTET, "traffic_class": OCTET, "flow_label": st.integers(0, 2**20 - 1)}),
)
def test_parsing_gives_back_what_was_built(required: Any, fields: dict[str, int]) -> None:
    source, destination, next_header, length = required
    header = ipv6.parse(memoryview(ipv6.build(*required, **fields) + bytes(length)))
    assert header == Ipv6Header(
        payload_length=length, next_header=next_header, source=source, destination=destination, **fields
    )

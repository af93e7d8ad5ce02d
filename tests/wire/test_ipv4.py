"""The IPv4 header and its options."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dropping import outcome_of
from tests.support.octets import naive_sum
from tests.support.requirement import requirement
from tests.support.wire_strategies import IPV4_ADDRESS, IPV4_OPTIONS, OCTET, WORD
from ustack.drops import Drop, DropReason, ParameterProblem
from ustack.wire import ipv4
from ustack.wire.ipv4 import Ipv4Header

SOURCE, DESTINATION = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def packet(payload: bytes = b"payload", **fields: Any) -> bytearray:
    return bytearray(ipv4.build(SOURCE, DESTINATION, 17, len(payload), **fields) + payload)


def with_checksum(header: bytearray) -> bytearray:
    header[10:12] = bytes(2)
    length = (header[0] & 0xF) * 4
    header[10:12] = (naive_sum(bytes(header[:length])) ^ 0xFFFF).to_bytes(2, "big")
    return header


def reason_of(data: bytes | bytearray) -> DropReason:
    with pytest.raises(Drop) as caught:
        ipv4.parse(memoryview(data))
    assert caught.value.detail
    return caught.value.reason


def test_every_field_is_read_from_its_place() -> None:
    data = bytes.fromhex("46b8 0020 beef 7fff 40 11 0000 c0000201 c6336402 94040001".replace(" ", "")) + b"datadata"
    header = ipv4.parse(with_checksum(bytearray(data)))
    assert header == Ipv4Header(
        header_length=24,
        traffic_class=0xB8,
        total_length=32,
        identification=0xBEEF,
        dont_fragment=True,
        more_fragments=True,
        fragment_offset=0x1FFF * 8,
        ttl=64,
        protocol=17,
        checksum=header.checksum,
        source=bytes((192, 0, 2, 1)),
        destination=bytes((198, 51, 100, 2)),
        options=bytes.fromhex("94040001"),
    )
    assert header.payload_length == 8


@requirement("RFC791", "3.1/flags")
def test_the_reserved_flag_is_ignored() -> None:
    data = packet()
    data[6] |= 0x80
    header = ipv4.parse(with_checksum(data))
    assert (header.dont_fragment, header.more_fragments, header.fragment_offset) == (False, False, 0)


@requirement("RFC791", "3.1/flags")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, False), ({"more_fragments": True}, True), ({"fragment_offset": 8}, True), ({"dont_fragment": True}, False)],
)
def test_a_packet_is_a_fragment_with_an_offset_or_more_to_come(fields: dict[str, Any], expected: bool) -> None:
    assert ipv4.parse(packet(**fields)).is_fragment is expected


@pytest.mark.parametrize("length", [0, 1, 19])
def test_less_than_a_header_is_truncated(length: int) -> None:
    assert reason_of(packet()[:length]) is DropReason.TRUNCATED


@pytest.mark.parametrize("version", [0, 3, 5, 6, 15])
def test_another_version_is_not_ip_here(version: int) -> None:
    data = packet()
    data[0] = version << 4 | 5
    assert reason_of(with_checksum(data)) is DropReason.NOT_IP


@requirement("RFC791", "3.1/ihl")
@pytest.mark.parametrize("words", [0, 1, 4])
def test_a_header_length_under_20_is_dropped(words: int) -> None:
    data = packet()
    data[0] = 0x40 | words
    assert reason_of(data) is DropReason.IP_HEADER_LENGTH


@requirement("RFC791", "3.1/ihl")
def test_a_header_longer_than_the_packet_is_dropped() -> None:
    data = packet(b"")
    data[0] = 0x46
    assert reason_of(data) is DropReason.IP_HEADER_LENGTH


@requirement("RFC791", "3.1/total-length")
@pytest.mark.parametrize("total", [0, 19, 23, 28, 65535])
def test_a_total_length_that_does_not_fit_is_dropped(total: int) -> None:
    data = packet(b"abc", options=b"\x01")
    assert len(data) == 27
    struct.pack_into("!H", data, 2, total)
    assert reason_of(with_checksum(data)) is DropReason.IP_TOTAL_LENGTH


@requirement("RFC791", "3.1/total-length")
def test_bytes_beyond_the_total_length_are_let_be() -> None:
    assert ipv4.parse(packet(b"abc") + b"padding").payload_length == 3


@requirement("RFC791", "3.1/checksum")
@pytest.mark.parametrize("position", range(24))
def test_any_flipped_bit_of_the_header_is_noticed(position: int) -> None:
    data = packet(options=b"\x94\x04\x00\x00")
    data[position] ^= 0x10
    assert reason_of(data) in {
        DropReason.IP_CHECKSUM,
        DropReason.NOT_IP,
        DropReason.IP_HEADER_LENGTH,
        DropReason.IP_TOTAL_LENGTH,
    }


def test_the_checksum_does_not_cover_the_payload() -> None:
    data = packet()
    data[-1] ^= 0xFF
    assert ipv4.parse(data).protocol == 17


def test_a_quoted_header_may_be_cut_and_altered_by_routers() -> None:
    data = packet(bytes(100))[:28]
    data[8] -= 5
    assert ipv4.parse_quoted(data).total_length == 120
    assert reason_of(data) is DropReason.IP_TOTAL_LENGTH


@requirement("RFC791", "3.1/padding")
def test_options_are_padded_to_32_bits() -> None:
    header = ipv4.parse(packet(options=b"\x01\x01\x01\x01\x01"))
    assert (header.header_length, header.options) == (28, b"\x01\x01\x01\x01\x01\x00\x00\x00")


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"fragment_offset": 4}, "multiple of 8"), ({"options": bytes(41)}, "40 bytes")],
)
def test_building_the_impossible_is_our_bug(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        packet(**fields)


@given(
    st.tuples(IPV4_ADDRESS, IPV4_ADDRESS, OCTET, st.integers(0, 100)),
    st.fixed_dictionaries(
        {
            "ttl": OCTET,
            "traffic_class": OCTET,
            "identification": WORD,
            "dont_fragment": st.booleans(),
            "more_fragments": st.booleans(),
            "fragment_offset": st.integers(0, 0x1FFF).map(lambda units: units * 8),
            "options": IPV4_OPTIONS,
        }
    ),
)
def test_parsing_gives_back_what_was_built(required: Any, fields: dict[str, Any]) -> None:
    source, destination, protocol, length = required
    data = ipv4.build(*required, **fields)
    header = ipv4.parse(memoryview(data + bytes(length)))
    padded = fields.pop("options")
    padded += bytes(-len(padded) % 4)
    expected = {
        "source": source, "destination": destination, "protocol": protocol, "options": padded,
        "header_length": 20 + len(padded), "total_length": 20 + len(padded) + length, **fields,
    }  # fmt: skip
    assert {name: getattr(header, name) for name in expected} == expected
    assert ipv4.build(*required, options=header.options, **fields) == data


class TestOptions:
    @requirement("RFC791", "3.1/options")
    def test_end_of_list_ends_and_no_operation_pads(self) -> None:
        options = ipv4.parse_options(b"\x01\x94\x04\x00\x07\x01\x00\x83\xff\xff")
        assert [(option.kind, option.data, option.offset) for option in options] == [(148, b"\x00\x07", 21)]

    def test_source_routes_are_recognized(self) -> None:
        loose = b"\x83\x07\x04\x0a\x00\x00\x01"
        strict = b"\x89\x07\x08\x0a\x00\x00\x01"
        kinds = [option.kind for option in ipv4.parse_options(loose + strict)]
        assert kinds == [131, 137]
        assert set(kinds) == ipv4.SOURCE_ROUTES

    @requirement("RFC791", "3.1/options")
    def test_an_unknown_option_is_kept_and_not_judged(self) -> None:
        (option,) = ipv4.parse_options(ipv4.build_option(0x9E, b"whatever"))
        assert (option.kind, option.data) == (0x9E, b"whatever")

    def test_no_options_are_no_options(self) -> None:
        assert ipv4.parse_options(b"") == []

    @pytest.mark.parametrize(
        ("options", "pointer"),
        [
            (b"\x94", 20),  # no length
            (b"\x01\x01\x01\x94", 23),
            (b"\x94\x00\x00\x00", 21),  # lengths 0 and 1 would never end
            (b"\x94\x01\x00\x00", 21),
            (b"\x01\x82\x04\x00", 22),  # beyond the end
            (b"\x07\x02\x00\x00", 21),  # record route without a pointer
            (b"\x07\x07\x03\x00\x00\x00\x00\x00", 22),  # record route whose pointer is inside its header
            (b"\x83\x02\x00\x00", 21),
            (b"\x83\x07\x00\x00\x00\x00\x00\x00", 22),
            (b"\x89\x07\x03\x00\x00\x00\x00\x00", 22),
            (b"\x44\x03\x05\x00", 21),  # timestamp without overflow and flags
            (b"\x44\x08\x04\x00\x00\x00\x00\x00", 22),
            (b"\x94\x03\x00\x00", 21),  # router alert is four bytes long
        ],
    )
    def test_a_malformed_option_is_a_parameter_problem_at_its_byte(self, options: bytes, pointer: int) -> None:
        with pytest.raises(ParameterProblem) as caught:
            ipv4.parse_options(options)
        assert (caught.value.reason, caught.value.code) == (DropReason.IP_OPTION, 0)
        assert caught.value.pointer == pointer
        assert caught.value.unless_multicast

    @given(st.binary(max_size=40))
    def test_any_bytes_give_options_that_lie_in_order_or_a_problem_within(self, data: bytes) -> None:
        outcome = outcome_of(ipv4.parse_options, data)
        if isinstance(outcome, Drop):
            assert isinstance(outcome, ParameterProblem)
            assert 20 <= outcome.pointer < 20 + len(data)
            return
        end = 20
        for option in outcome:
            assert option.offset >= end
            end = option.offset + 2 + len(option.data)
            assert data[option.offset - 20 : end - 20] == ipv4.build_option(option.kind, option.data)

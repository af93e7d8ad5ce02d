"""IPv6 extension headers: the walk, every action of unknown options, routing and fragment headers, limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dropping import outcome_of
from tests.support.requirement import requirement
from tests.support.wire_strategies import IPV6_OPTIONS, LONG, OCTET, PAYLOAD, extension_headers
from ustack.drops import Drop, DropReason, ParameterProblem
from ustack.wire import ipv6, ipv6_ext
from ustack.wire.ipv6_ext import ExtensionChain, ExtensionHeader, FragmentHeader

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
UDP = 17
DATA = b"8 bytes."


def walk(next_header: int, chain: bytes, **limits: int) -> ExtensionChain:
    packet = ipv6.build(bytes(16), bytes(16), next_header, len(chain)) + chain
    return ipv6_ext.walk(memoryview(packet), next_header, 40, **limits)


def drop_of(next_header: int, chain: bytes, **limits: int) -> Drop:
    with pytest.raises(Drop) as caught:
        walk(next_header, chain, **limits)
    return caught.value


def problem_of(next_header: int, chain: bytes) -> ParameterProblem:
    drop = drop_of(next_header, chain)
    assert isinstance(drop, ParameterProblem)
    return drop


def hop_by_hop(*options: tuple[int, bytes], next_header: int = UDP) -> bytes:
    return ipv6_ext.build_hop_by_hop(next_header, options)


def destination_options(*options: tuple[int, bytes], next_header: int = UDP) -> bytes:
    return ipv6_ext.build_destination_options(next_header, options)


class TestWalk:
    @pytest.mark.parametrize("protocol", [6, 17, 58, 59, 50, 51, 135, 253])
    def test_without_extension_headers_it_ends_at_once(self, protocol: int) -> None:
        assert walk(protocol, DATA) == ExtensionChain(protocol, 40, ipv6.NEXT_HEADER_OFFSET)

    @requirement("RFC8200", "4/order")
    def test_it_goes_over_every_header_in_the_recommended_order(self) -> None:
        parts = [
            hop_by_hop(next_header=DESTINATION_OPTIONS),
            destination_options(next_header=ROUTING),
            ipv6_ext.build_routing(FRAGMENT, 3, 0, bytes(4 + 16)),
            ipv6_ext.build_fragment(DESTINATION_OPTIONS, 0, False, 7),
            destination_options((0x1E, bytes(12)), next_header=UDP),
        ]
        chain = walk(HOP_BY_HOP, b"".join(parts) + DATA)
        assert chain.headers == [
            ExtensionHeader(HOP_BY_HOP, 40, 8, 6),
            ExtensionHeader(DESTINATION_OPTIONS, 48, 8, 40),
            ExtensionHeader(ROUTING, 56, 24, 48),
            ExtensionHeader(FRAGMENT, 80, 8, 56),
            ExtensionHeader(DESTINATION_OPTIONS, 88, 16, 80),
        ]
        assert (chain.protocol, chain.offset, chain.named_at) == (UDP, 104, 88)
        assert chain.fragment == FragmentHeader(DESTINATION_OPTIONS, 0, False, 7)
        assert not chain.is_fragment

    @pytest.mark.parametrize(("offset", "more"), [(0, True), (8, False), (0xFFF8, True)])
    def test_it_stops_behind_the_header_of_a_fragment(self, offset: int, more: bool) -> None:
        chain = walk(FRAGMENT, ipv6_ext.build_fragment(DESTINATION_OPTIONS, offset, more, 9) + bytes(3))
        assert chain.is_fragment
        assert (chain.protocol, chain.offset, chain.named_at) == (DESTINATION_OPTIONS, 48, 40)

    def test_hop_by_hop_options_behind_another_header_are_an_unrecognized_next_header(self) -> None:
        problem = problem_of(DESTINATION_OPTIONS, destination_options(next_header=HOP_BY_HOP) + hop_by_hop())
        assert (problem.reason, problem.code, problem.pointer) == (DropReason.IPV6_EXTENSION, 1, 40)
        assert problem.unless_multicast

    @requirement("RFC8200", "4/order")
    def test_the_other_headers_may_come_in_any_order_and_often(self) -> None:
        chain = destination_options(next_header=ROUTING)
        chain += ipv6_ext.build_routing(DESTINATION_OPTIONS, 4, 0, bytes(4))
        chain += destination_options(next_header=DESTINATION_OPTIONS) + destination_options()
        assert len(walk(DESTINATION_OPTIONS, chain).headers) == 4

    def test_one_header_more_than_the_limit_is_dropped(self) -> None:
        two = destination_options(next_header=DESTINATION_OPTIONS) + destination_options()
        assert len(walk(DESTINATION_OPTIONS, two, headers_limit=2).headers) == 2
        drop = drop_of(DESTINATION_OPTIONS, two, headers_limit=1)
        assert drop.reason is DropReason.IPV6_TOO_MANY_EXTENSIONS

    @pytest.mark.parametrize("kind", [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS])
    @pytest.mark.parametrize("length", [0, 1, 7])
    def test_less_than_eight_bytes_of_a_header_are_truncated(self, kind: int, length: int) -> None:
        assert drop_of(kind, bytes(length)).reason is DropReason.TRUNCATED

    @pytest.mark.parametrize("kind", [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS])
    def test_a_header_longer_than_the_packet_is_truncated(self, kind: int) -> None:
        drop = drop_of(kind, bytes((UDP, 1)) + bytes(13))
        assert drop.reason is DropReason.TRUNCATED
        assert not isinstance(drop, ParameterProblem)

    @given(st.data(), st.sampled_from((6, 17, 58, 59, 253)), PAYLOAD)
    def test_every_valid_chain_leads_to_the_upper_layer(
        self, data: st.DataObject, protocol: int, payload: bytes
    ) -> None:
        next_header, chain = data.draw(extension_headers(protocol))
        found = walk(next_header, chain + payload, options_limit=1000)
        packet = bytes(40) + chain + payload
        if not found.is_fragment:
            assert (found.protocol, found.offset) == (protocol, 40 + len(chain))
        ends = [header.offset + header.length for header in found.headers]
        assert [header.offset for header in found.headers] == [40, *ends][: len(ends)]
        assert all(packet[header.named_at] == header.kind for header in found.headers[1:])


class TestOptions:
    @requirement("RFC8200", "4.3")
    def test_router_alert_is_understood(self) -> None:
        assert walk(HOP_BY_HOP, hop_by_hop((5, b"\x00\x07"))).router_alert == 7
        assert walk(HOP_BY_HOP, hop_by_hop()).router_alert is None

    @pytest.mark.parametrize("kind", [0x1E, 0x04, 0x3F])
    def test_action_00_skips_the_option(self, kind: int) -> None:
        assert walk(DESTINATION_OPTIONS, destination_options((kind, b"abc"))).protocol == UDP

    @pytest.mark.parametrize("kind", [0x40, 0x7F])
    def test_action_01_discards_silently(self, kind: int) -> None:
        drop = drop_of(DESTINATION_OPTIONS, destination_options((kind, b"abc")))
        assert drop.reason is DropReason.IPV6_OPTION_DISCARD
        assert not isinstance(drop, ParameterProblem)

    @pytest.mark.parametrize(
        ("kind", "unless_multicast"), [(0x80, False), (0xBF, False), (0xC0, True), (0xC2, True), (0xC9, True)]
    )
    def test_actions_10_and_11_report_and_point_at_the_option(self, kind: int, unless_multicast: bool) -> None:
        problem = problem_of(HOP_BY_HOP, hop_by_hop((1, b""), (kind, b"abcd")))
        assert (problem.reason, problem.code, problem.pointer) == (DropReason.IPV6_OPTION_REPORT, 2, 44)
        assert problem.unless_multicast is unless_multicast

    def test_options_before_the_first_bad_one_decide(self) -> None:
        drop = drop_of(HOP_BY_HOP, hop_by_hop((0x1E, b""), (0x40, b""), (0x80, b"")))
        assert drop.reason is DropReason.IPV6_OPTION_DISCARD

    @pytest.mark.parametrize(
        ("block", "pointer"),
        [
            (b"\x01\x05\x00\x00\x00\x00", 43),  # PadN one byte too long
            (b"\x00\x00\x00\x00\x00\x01", 47),  # a type without a length
            (b"\x1e\x00\x00\x00\x05\x02", 47),
            (b"\xc2\xff\x00\x00\x00\x00", 43),
        ],
    )
    def test_an_option_that_overruns_its_header_is_an_erroneous_header(self, block: bytes, pointer: int) -> None:
        problem = problem_of(DESTINATION_OPTIONS, bytes((UDP, 0)) + block + DATA)
        assert (problem.reason, problem.code, problem.pointer) == (DropReason.IPV6_EXTENSION, 0, pointer)

    def test_one_option_more_than_the_limit_is_dropped(self) -> None:
        options = [(0x1E, b"")] * 5
        assert walk(DESTINATION_OPTIONS, destination_options(*options), options_limit=6)
        drop = drop_of(DESTINATION_OPTIONS, destination_options(*options), options_limit=5)
        assert drop.reason is DropReason.IPV6_TOO_MANY_EXTENSIONS, "the padding counts too"

    def test_a_header_of_single_pads_is_cut_short_by_the_limit(self) -> None:
        drop = drop_of(HOP_BY_HOP, bytes((UDP, 255)) + bytes(2046))
        assert drop.reason is DropReason.IPV6_TOO_MANY_EXTENSIONS

    def test_a_router_alert_of_another_length_is_skipped_as_unknown(self) -> None:
        assert walk(HOP_BY_HOP, hop_by_hop((5, b"\x00\x07\x00"))).router_alert is None

    @requirement("RFC8200", "4.6")
    @given(IPV6_OPTIONS)
    def test_built_options_are_found_again_before_the_padding(self, options: list[tuple[int, bytes]]) -> None:
        built = ipv6_ext.build_hop_by_hop(UDP, options)
        assert len(built) % 8 == 0
        found = [(option.kind, option.data) for option in ipv6_ext.parse_options(built, 2, len(built))]
        assert found[: len(options)] == options
        padding = found[len(options) :]
        assert len(padding) <= 1
        assert all(kind in {0, 1} and not any(data) for kind, data in padding)


class TestRouting:
    @pytest.mark.parametrize(
        ("routing_type", "reason"),
        [(0, DropReason.IPV6_ROUTING_TYPE_0), (2, DropReason.IPV6_ROUTING_HEADER), (4, DropReason.IPV6_ROUTING_HEADER)],
    )
    def test_segments_left_are_a_problem_at_the_type(self, routing_type: int, reason: DropReason) -> None:
        chain = destination_options(next_header=ROUTING) + ipv6_ext.build_routing(UDP, routing_type, 1, bytes(20))
        problem = problem_of(DESTINATION_OPTIONS, chain)
        assert (problem.reason, problem.code, problem.pointer) == (reason, 0, 50)

    @pytest.mark.parametrize("routing_type", [0, 2, 3, 4, 253])
    def test_without_segments_left_the_header_is_ignored(self, routing_type: int) -> None:
        assert walk(ROUTING, ipv6_ext.build_routing(UDP, routing_type, 0, bytes(20)) + DATA).offset == 64


class TestFragment:
    def test_every_field_is_read_from_its_place(self) -> None:
        data = bytes.fromhex("1100" + "0599" + "deadbeef")
        assert ipv6_ext.parse_fragment(data, 0) == FragmentHeader(17, 0x598, True, 0xDEADBEEF)

    def test_reserved_bits_are_ignored(self) -> None:
        assert ipv6_ext.parse_fragment(bytes.fromhex("11ff0006deadbeef"), 0).is_atomic

    def test_a_cut_header_is_truncated(self) -> None:
        with pytest.raises(Drop) as caught:
            ipv6_ext.parse_fragment(bytes(10), 3)
        assert caught.value.reason is DropReason.TRUNCATED

    def test_an_offset_between_the_units_is_our_bug(self) -> None:
        with pytest.raises(AssertionError, match="multiple of 8"):
            ipv6_ext.build_fragment(UDP, 12, False, 1)

    @given(st.builds(FragmentHeader, OCTET, st.integers(0, 0x1FFF).map(lambda unit: unit * 8), st.booleans(), LONG))
    def test_parsing_gives_back_what_was_built(self, header: FragmentHeader) -> None:
        fields = header.next_header, header.fragment_offset, header.more_fragments, header.identification
        assert ipv6_ext.parse_fragment(ipv6_ext.build_fragment(*fields), 0) == header


class TestFirstFragment:
    @staticmethod
    def check(rest: bytes, next_header: int, upper_layer_length: int = 8) -> None:
        chain = ipv6_ext.build_fragment(next_header, 0, True, 7) + rest
        packet = ipv6.build(bytes(16), bytes(16), FRAGMENT, len(chain)) + chain
        ipv6_ext.check_first_fragment(packet, ipv6_ext.walk(packet, FRAGMENT), upper_layer_length)

    def test_the_whole_upper_layer_header_must_be_there(self) -> None:
        self.check(DATA, UDP)
        with pytest.raises(ParameterProblem) as caught:
            self.check(DATA[:7], UDP)
        assert (caught.value.reason, caught.value.code) == (DropReason.FRAGMENT_HEADER_CHAIN, 3)

    def test_every_extension_header_must_be_there(self) -> None:
        options = destination_options((0x1E, bytes(12)))
        self.check(options + DATA, DESTINATION_OPTIONS)
        for length in (0, 1, 7, 8, 15, 16, 23):
            with pytest.raises(ParameterProblem):
                self.check((options + DATA)[:length], DESTINATION_OPTIONS)


@given(OCTET, st.binary(max_size=120))
def test_any_bytes_give_a_chain_within_the_packet_or_a_drop(next_header: int, data: bytes) -> None:
    packet = bytes(40) + data
    outcome = outcome_of(ipv6_ext.walk, memoryview(packet), next_header)
    if isinstance(outcome, ParameterProblem):
        assert 0 <= outcome.pointer < len(packet)
    elif not isinstance(outcome, Drop):
        assert 40 <= outcome.offset <= len(packet)
        assert len(outcome.headers) <= 8


@given(st.binary(min_size=8, max_size=64).map(lambda data: data[: len(data) // 8 * 8]))
def test_a_chain_of_random_known_headers_never_escapes(data: bytes) -> None:
    kinds = (0, 43, 44, 60)
    body = bytearray(data)
    for start in range(0, len(body), 8):
        body[start] = kinds[body[start] % 4]
        body[start + 1] %= 3
    try:
        chain = ipv6_ext.walk(bytes(40) + bytes(body), kinds[data[0] % 4])
        ipv6_ext.check_first_fragment(bytes(40) + bytes(body), chain)
    except Drop:
        return
    assert chain.offset <= 40 + len(body)

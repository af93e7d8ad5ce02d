"""Whatever bytes come: a parser returns a value or raises `Drop`, and the printers print."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dropping import outcome_of
from tests.support.wire_strategies import ADDRESS_PAIR, PACKETS, mutated_packets
from ustack.drops import Drop
from ustack.wire import icmpv4, icmpv6, igmp, ipv4, ipv6, ipv6_ext, mld, tcp, tcp_options, udp
from ustack.wire.dissect import dissect
from ustack.wire.pretty import pretty, pretty_tree

ANY_PACKET = st.one_of(
    st.binary(max_size=200),
    st.binary(min_size=1, max_size=200).map(lambda data: b"\x45" + data),
    st.binary(min_size=40, max_size=200).map(lambda data: b"\x60" + data),
    mutated_packets(),
    PACKETS,
)
PARSERS: dict[str, Callable[[memoryview], object]] = {
    "ipv4": ipv4.parse,
    "quoted ipv4": ipv4.parse_quoted,
    "ipv6": ipv6.parse,
    "quoted ipv6": ipv6.parse_quoted,
    "fragment header": lambda data: ipv6_ext.parse_fragment(data, 0),
    "tcp": tcp.parse,
    "udp": udp.parse,
    "quoted udp": udp.parse_quoted,
    "icmp": icmpv4.parse,
    "quoted icmp": icmpv4.parse_quoted,
    "quoted icmpv6": icmpv6.parse_quoted,
    "igmp": igmp.parse,
}


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS.keys())
@given(data=st.binary(max_size=80))
def test_a_parser_returns_or_drops(parse: Callable[[memoryview], object], data: bytes) -> None:
    outcome = outcome_of(parse, memoryview(data))
    assert not isinstance(outcome, Drop) or str(outcome)


@given(ADDRESS_PAIR, st.binary(max_size=80))
def test_a_parser_that_needs_addresses_returns_or_drops(addresses: tuple[bytes, bytes], data: bytes) -> None:
    view = memoryview(data)
    outcome_of(icmpv6.parse, view, *addresses)
    if not isinstance(outcome_of(tcp.parse, view), Drop):
        outcome_of(tcp.verify, view, *addresses)
    if not isinstance(outcome_of(udp.parse, view), Drop):
        outcome_of(udp.verify, view, *addresses)


@given(mutated_packets())
def test_every_layer_of_a_mutated_packet_returns_or_drops(packet: bytes) -> None:
    view = memoryview(packet)
    header = outcome_of(ipv4.parse, view)
    if not isinstance(header, Drop):
        outcome_of(ipv4.parse_options, header.options)
        upper_layer(
            header.protocol, view[header.header_length : header.total_length], header.source, header.destination
        )
    header6 = outcome_of(ipv6.parse, view)
    if not isinstance(header6, Drop):
        chain = outcome_of(ipv6_ext.walk, view[: 40 + header6.payload_length], header6.next_header)
        if not isinstance(chain, Drop):
            outcome_of(ipv6_ext.check_first_fragment, view, chain)
            upper_layer(chain.protocol, view[chain.offset :], header6.source, header6.destination)


def upper_layer(protocol: int, data: memoryview, source: bytes, destination: bytes) -> None:
    if protocol == 6:
        header = outcome_of(tcp.parse, data)
        if not isinstance(header, Drop):
            outcome_of(tcp_options.parse_options, header.options)
    elif protocol == 17:
        outcome_of(udp.parse, data)
    elif protocol == 1:
        outcome_of(icmpv4.parse, data)
    elif protocol == 2:
        outcome_of(igmp.parse, data)
    elif protocol == 58:
        message = outcome_of(icmpv6.parse, data, source, destination)
        if not isinstance(message, Drop):
            outcome_of(mld.parse, message)


@given(ANY_PACKET)
def test_the_printers_print_any_bytes(packet: bytes) -> None:
    line = pretty(packet)
    assert line
    assert "\n" not in line
    assert line.isprintable()
    tree = pretty_tree(memoryview(packet))
    assert all(entry.isprintable() for entry in tree)
    assert tree or not packet


@given(ANY_PACKET)
def test_dissected_layers_lie_in_order_within_the_packet(packet: bytes) -> None:
    layers = dissect(packet)
    assert layers
    assert sum(len(layer.data) for layer in layers) <= len(packet) + sum(layer.name == "MLD" for layer in layers) * 8
    assert packet.startswith(b"".join(bytes(layer.data) for layer in layers))


@given(PACKETS)
def test_valid_packets_have_no_problem_but_the_limits_of_options(packet: bytes) -> None:
    problems = {layer.problem for layer in dissect(packet) if layer.problem}
    assert all("more extension headers or options" in problem for problem in problems)


@given(st.lists(st.sampled_from((0, 43, 44, 60)), min_size=1, max_size=200))
def test_a_long_chain_of_extension_headers_is_printed_in_part(kinds: list[int]) -> None:
    chain = b"".join(bytes((kind, 0)) + bytes(6) for kind in kinds)
    packet = ipv6.build(bytes(16), bytes(16), 60, len(chain)) + chain
    assert len(dissect(packet)) <= 18
    assert len(pretty(packet)) < 1000


def test_a_packet_in_a_packet_in_a_packet_is_not_followed_for_ever() -> None:
    packet = b""
    for _ in range(500):
        packet = ipv4.build(bytes(4), bytes(4), 4, len(packet)) + packet
    assert len(dissect(packet)) == 2


def test_a_quote_in_a_quote_is_data() -> None:
    packet = ipv4.build(bytes(4), bytes(4), 17, 8) + bytes(8)
    for _ in range(3):
        error = icmpv4.build_time_exceeded(0, packet)
        packet = ipv4.build(bytes(4), bytes(4), 1, len(error)) + error
    quoted = dissect(packet)[1].quoted
    assert quoted is not None
    assert [layer.quoted for layer in quoted] == [None] * 3

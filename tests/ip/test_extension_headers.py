"""IPv6 extension headers on their way in: each action for unknown options, routing headers, limits, who is told.

RFC 8200 §4, RFC 5095, RFC 8504 §5.3, RFC 4443 §3.4.
"""

import pytest

from tests.support.ip_host import HOST6, PEER6, Host, SentIcmp, fragment6, icmpv6_packet, ipv6_packet
from tests.support.requirement import requirement
from ustack.address import parse_address
from ustack.drops import DropReason
from ustack.ip.icmp_errors import IcmpErrorKind
from ustack.wire import ipv6, ipv6_ext

HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, NO_NEXT_HEADER = 0, 43, 60, 59
ALL_NODES = parse_address("ff02::1")
OPTION_HEADERS = pytest.mark.parametrize("kind", [HOP_BY_HOP, DESTINATION_OPTIONS])


def options_packet(kind: int, *options: tuple[int, bytes], **fields: bytes) -> bytes:
    build = ipv6_ext.build_hop_by_hop if kind == HOP_BY_HOP else ipv6_ext.build_destination_options
    return ipv6_packet(build(17, options) + b"transport", kind, **fields)


def test_the_transport_is_found_behind_a_chain_of_headers() -> None:
    last = ipv6_ext.build_destination_options(6, [(1, b"\x00\x00")])
    middle = ipv6_ext.build_routing(DESTINATION_OPTIONS, 2, 0, bytes(20))
    first = ipv6_ext.build_hop_by_hop(ROUTING, [(5, b"\x00\x00")])
    chain = first + middle + last
    packet = Host().whole(ipv6_packet(chain + b"transport", HOP_BY_HOP))
    assert (packet.protocol, bytes(packet.payload)) == (6, b"transport")
    assert bytes(packet.header[40:]) == chain
    assert packet.options == b""


@requirement("RFC8200", "4.2")
@OPTION_HEADERS
def test_an_unknown_option_of_action_00_is_skipped(kind: int) -> None:
    assert bytes(Host().whole(options_packet(kind, (0x1E, b"unknown"))).payload) == b"transport"


@requirement("RFC8200", "4.2")
@OPTION_HEADERS
@pytest.mark.parametrize("destination", [HOST6, ALL_NODES])
def test_an_unknown_option_of_action_01_discards_silently(kind: int, destination: bytes) -> None:
    host = Host()
    assert host.drops(options_packet(kind, (0x5E, b""), destination=destination)) is DropReason.IPV6_OPTION_DISCARD
    assert host.sent() == []


@requirement("RFC8200", "4.2")
@OPTION_HEADERS
@pytest.mark.parametrize("option", [0x9E, 0xDE, 0xC2, 0xC9])
def test_an_unknown_option_of_actions_10_and_11_is_reported_with_a_pointer_to_its_type(kind: int, option: int) -> None:
    """Jumbo payload and home address among them."""
    host = Host()
    packet = options_packet(kind, (1, b"\x00"), (option, b"data"))
    assert host.drops(packet) is DropReason.IPV6_OPTION_REPORT
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.pointer) == (4, 2, 45)
    assert (error.source, error.destination, error.protocol) == (HOST6, PEER6, 58)
    assert error.body == packet


@OPTION_HEADERS
def test_of_action_10_in_a_multicast_the_source_is_told_from_a_unicast_address(kind: int) -> None:
    """RFC 4443 §2.4 (e.3), §2.2 (b)."""
    host = Host()
    packet = options_packet(kind, (0x9E, b""), destination=ALL_NODES)
    assert host.drops(packet) is DropReason.IPV6_OPTION_REPORT
    error = SentIcmp(host.only())
    assert (error.source, error.destination, error.code, error.pointer) == (HOST6, PEER6, 2, 42)


@requirement("RFC8200", "4.2")
@OPTION_HEADERS
def test_of_action_11_in_a_multicast_nobody_is_told(kind: int) -> None:
    host = Host()
    assert host.drops(options_packet(kind, (0xDE, b""), destination=ALL_NODES)) is DropReason.IPV6_OPTION_REPORT
    assert host.sent() == []


@requirement("RFC8200", "4.1")
def test_hop_by_hop_options_anywhere_but_first_are_an_unrecognized_next_header() -> None:
    """RFC 8200 §4.1, §4.3: pointer to the field that names them."""
    host = Host()
    chain = ipv6_ext.build_destination_options(HOP_BY_HOP, []) + ipv6_ext.build_hop_by_hop(17, [])
    assert host.drops(ipv6_packet(chain + b"transport", DESTINATION_OPTIONS)) is DropReason.IPV6_EXTENSION
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.pointer) == (4, 1, 40)


@requirement("RFC8200", "4.4")
@pytest.mark.parametrize(
    ("routing_type", "reason"), [(0, DropReason.IPV6_ROUTING_TYPE_0), (4, DropReason.IPV6_ROUTING_HEADER)]
)
def test_a_routing_header_with_segments_left_is_reported_with_a_pointer_to_its_type(
    routing_type: int, reason: DropReason
) -> None:
    """RFC 5095 §3: type 0 as if it were unknown; RFC 8200 §4.4."""
    host = Host()
    chain = ipv6_ext.build_routing(17, routing_type, 1, bytes(4) + HOST6)
    assert host.drops(ipv6_packet(chain + b"transport", ROUTING)) is reason
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.pointer) == (4, 0, 42)


@requirement("RFC8200", "4.4")
def test_a_routing_header_without_segments_left_is_ignored() -> None:
    chain = ipv6_ext.build_routing(17, 0, 0, bytes(4) + HOST6)
    assert bytes(Host().whole(ipv6_packet(chain + b"transport", ROUTING)).payload) == b"transport"


def test_more_headers_than_the_limit_are_dropped_silently() -> None:
    host = Host(extension_headers_limit=3)
    chain = ipv6_ext.build_destination_options(DESTINATION_OPTIONS, [])
    last = ipv6_ext.build_destination_options(17, [])
    assert host.whole(ipv6_packet(chain * 2 + last, DESTINATION_OPTIONS)).protocol == 17
    assert host.drops(ipv6_packet(chain * 3 + last, DESTINATION_OPTIONS)) is DropReason.IPV6_TOO_MANY_EXTENSIONS
    assert host.sent() == []


def test_more_options_than_the_limit_are_dropped_silently() -> None:
    host = Host(options_limit=3)
    assert host.drops(options_packet(HOP_BY_HOP, *[(0x1E, b"")] * 4)) is DropReason.IPV6_TOO_MANY_EXTENSIONS
    assert host.sent() == []


def test_a_header_that_is_longer_than_the_packet_is_dropped() -> None:
    host = Host()
    assert host.drops(ipv6_packet(bytes((17, 9)) + bytes(14), DESTINATION_OPTIONS)) is DropReason.TRUNCATED
    assert host.drops(ipv6_packet(b"", HOP_BY_HOP)) is DropReason.TRUNCATED


def test_what_lies_behind_the_payload_length_is_not_read_as_a_header() -> None:
    packet = bytearray(options_packet(DESTINATION_OPTIONS, (0x9E, b"")))
    packet[4:6] = (0).to_bytes(2, "big")
    assert Host().drops(bytes(packet)) is DropReason.TRUNCATED


@requirement("RFC1122", "3.2.2/no-error")
def test_a_problem_in_a_fragment_but_the_first_is_told_to_nobody() -> None:
    """It could be a fragment of an ICMPv6 error: RFC 4443 §2.4 (e.1)."""
    host = Host()
    header = ipv6_ext.build_hop_by_hop(44, [(0x9E, b"")])
    packet = fragment6(64, bytes(8), True, before=header, first_header=HOP_BY_HOP)
    assert host.drops(packet) is DropReason.IPV6_OPTION_REPORT
    assert host.sent() == []
    packet = fragment6(0, bytes(8), True, before=header, first_header=HOP_BY_HOP)
    assert host.drops(packet) is DropReason.IPV6_OPTION_REPORT
    assert SentIcmp(host.only()).pointer == 42


def test_a_problem_in_a_fragment_of_an_icmpv6_message_but_the_first_is_told_to_nobody() -> None:
    host = Host()
    assert host.drops(fragment6(64, bytes(15), True, next_header=58)) is DropReason.FRAGMENT_LENGTH
    assert host.sent() == []


def test_a_problem_in_front_of_an_icmpv6_error_is_told_to_nobody() -> None:
    host = Host()
    header = ipv6_ext.build_destination_options(58, [(0x9E, b"")])
    error = icmpv6_packet(1, 4, body=ipv6_packet())[40:]
    request = icmpv6_packet(128)[40:]
    assert host.drops(ipv6_packet(header + error, DESTINATION_OPTIONS)) is DropReason.IPV6_OPTION_REPORT
    assert host.sent() == []
    assert host.drops(ipv6_packet(header + request, DESTINATION_OPTIONS)) is DropReason.IPV6_OPTION_REPORT
    assert len(host.sent()) == 1


def test_a_problem_in_a_datagram_that_was_fragmented_points_into_the_whole() -> None:
    host = Host()
    body = ipv6_ext.build_destination_options(17, [(0x9E, b"")]) + bytes(40)
    host.receive(fragment6(0, body[:24], True, next_header=DESTINATION_OPTIONS))
    assert host.drops(fragment6(24, body[24:], False, next_header=DESTINATION_OPTIONS)) is DropReason.IPV6_OPTION_REPORT
    error = SentIcmp(host.only())
    assert (error.code, error.pointer) == (2, 42)
    assert ipv6.parse(error.body).next_header == DESTINATION_OPTIONS
    assert error.body[40:] == body


@requirement("RFC8200", "4/unrecognized")
@requirement("RFC4443", "3.4")
@pytest.mark.parametrize("before", [b"", ipv6_ext.build_destination_options(99, [])])
def test_an_unknown_protocol_is_an_unrecognized_next_header_with_a_pointer_to_the_field_that_names_it(
    before: bytes,
) -> None:
    """RFC 4443 §3.4, code 1."""
    host = Host()
    packet = host.whole(ipv6_packet(before + b"?", DESTINATION_OPTIONS if before else 99))
    assert packet.protocol == 99
    assert host.layer.icmp_error(IcmpErrorKind.PROTOCOL_UNREACHABLE, packet, host.now)
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.pointer) == (4, 1, 40 if before else 6)


def test_an_unknown_protocol_behind_an_atomic_fragment_is_pointed_to_in_the_fragment_header() -> None:
    host = Host()
    packet = host.whole(fragment6(0, b"?", False, next_header=99))
    assert host.layer.icmp_error(IcmpErrorKind.PROTOCOL_UNREACHABLE, packet, host.now)
    assert SentIcmp(host.only()).pointer == 40


@requirement("RFC8200", "4.7")
def test_no_next_header_is_nothing_to_report() -> None:
    """RFC 8200 §4.7."""
    host = Host()
    packet = host.whole(ipv6_packet(b"ignored", NO_NEXT_HEADER))
    assert not host.layer.icmp_error(IcmpErrorKind.PROTOCOL_UNREACHABLE, packet, host.now)
    assert host.sent() == []

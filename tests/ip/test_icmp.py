"""ICMP that comes in: echo, errors with Linux's errno, and what is refused."""

import errno

import pytest

from tests.support.ip_host import (
    HOST,
    HOST4,
    HOST6,
    PEER,
    PEER4,
    PEER6,
    Host,
    SentIcmp,
    fragment,
    icmpv4_packet,
    icmpv6_packet,
    ipv4_packet,
    ipv6_packet,
)
from tests.support.requirement import requirement
from ustack.address import parse_address
from ustack.drops import DropReason
from ustack.ip import icmp
from ustack.ip.icmp import IcmpError
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6, ipv6_ext, udp

VERSIONS = pytest.mark.parametrize("version", [4, 6])
ROUTER4, ROUTER6 = parse_address("10.9.0.254"), parse_address("fd00::fe")


def echo(version: int, data: bytes = b"abcdefgh", destination: bytes | None = None, **fields: int) -> bytes:
    to = destination or HOST[version]
    if version == 4:
        return icmpv4_packet(icmpv4.build_echo_request(0x1234, 5, data), destination=to, **fields)
    return ipv6_packet(icmpv6.build_echo_request(PEER6, to, 0x1234, 5, data), 58, destination=to, **fields)


def own_packet(version: int, protocol: int = 17, length: int = 100) -> bytes:
    """As this host would have sent it, to 4000 from port 3000."""
    if version == 4:
        header = udp.build(HOST4, PEER4, 3000, 4000, bytes(length))
        return ipv4_packet(header + bytes(length), protocol, source=HOST4, destination=PEER4)
    header = udp.build(HOST6, PEER6, 3000, 4000, bytes(length))
    return ipv6_packet(header + bytes(length), protocol, source=HOST6, destination=PEER6)


def error4(kind: int, code: int, quote: bytes | None = None, rest: bytes = bytes(4)) -> bytes:
    message = icmpv4.build(kind, code, rest, own_packet(4) if quote is None else quote)
    return icmpv4_packet(message, source=ROUTER4)


def error6(kind: int, code: int, quote: bytes | None = None, rest: bytes = bytes(4)) -> bytes:
    return icmpv6_packet(kind, code, rest, own_packet(6) if quote is None else quote, source=ROUTER6)


def parsed(packet: bytes) -> IcmpError:
    error = Host().icmp(packet)
    assert error is not None
    return error


@requirement("RFC4443", "4.2")
@requirement("RFC4443", "4.1")
@requirement("RFC1122", "3.2.2.6")
@VERSIONS
def test_an_echo_request_is_answered_with_its_own_bytes(version: int) -> None:
    host = Host()
    assert host.icmp(echo(version, traffic_class=0xB8 | 3)) is None
    reply = SentIcmp(host.only())
    assert (reply.source, reply.destination) == (HOST[version], PEER[version])
    assert (reply.type, reply.code) == (0 if version == 4 else 129, 0)
    assert (reply.rest, reply.body) == (bytes.fromhex("12340005"), b"abcdefgh")
    assert reply.traffic_class == 0xB8, "the same service, but no ECN capability that ICMP has not"
    assert reply.ttl == 64
    assert host.layer.statistics.echo_replies == 1


@requirement("RFC4443", "2.2")
@requirement("RFC1122", "3.2.2.6")
@VERSIONS
def test_the_reply_comes_from_the_address_that_was_asked(version: int) -> None:
    host = Host()
    host.add("other", 1500, "192.168.7.1/24", "fd07::1/64")
    asked = parse_address("192.168.7.1" if version == 4 else "fd07::1")
    host.icmp(echo(version, destination=asked))
    assert SentIcmp(host.only()).source == asked


@VERSIONS
def test_a_long_echo_that_came_in_fragments_is_answered_in_fragments(version: int) -> None:
    """As of `ping -s 60000`."""
    host, data = Host(), bytes(range(256)) * 234
    head = 20 if version == 4 else 40
    message = echo(version, data)[head:]
    protocol = {"protocol": 1} if version == 4 else {"next_header": 58}
    for offset in range(0, len(message), 1400):
        more = offset + 1400 < len(message)
        last = host.receive(fragment(version, offset, message[offset : offset + 1400], more, **protocol))
    assert last is not None
    assert icmp.receive(host.layer, last, host.now) is None
    replies = host.sent()
    assert len(replies) == (41 if version == 4 else 42)
    assert max(map(len, replies)) <= 1500
    assert b"".join(reply[head + (8 if version == 6 else 0) :] for reply in replies)[8:] == data


@requirement("RFC1122", "3.2.2.6")
@pytest.mark.parametrize("destination", ["255.255.255.255", "10.9.0.255", "224.0.0.1"])
def test_an_echo_request_to_an_ipv4_broadcast_is_ignored_unless_configured(destination: str) -> None:
    """RFC 1122 §3.2.2.6."""
    to = parse_address(destination)
    assert Host().drops_icmp(echo(4, destination=to)) is DropReason.ICMP_BROADCAST_ECHO
    host = Host(icmp_echo_ignore_broadcasts=False)
    host.icmp(echo(4, destination=to))
    reply = SentIcmp(host.only())
    assert (reply.source, reply.destination) == (HOST4, PEER4)


@requirement("RFC4443", "2.2")
def test_an_echo_request_to_an_ipv6_multicast_is_answered_from_a_unicast_address() -> None:
    """RFC 4443 §4.2."""
    host = Host()
    host.icmp(echo(6, destination=parse_address("ff02::1")))
    assert SentIcmp(host.only()).source == HOST6


def test_an_answer_to_a_link_local_address_leaves_by_the_link_it_came_from() -> None:
    host = Host()
    one, two = host.add("one", 1500, "fe80::1/64"), host.add("two", 1500, "fe80::2/64")
    for interface, own in ((one, "fe80::1"), (two, "fe80::2")):
        source, to = parse_address("fe80::99"), parse_address("ff02::1")
        request = icmpv6.build_echo_request(source, to, 1, 1)
        host.icmp(ipv6_packet(request, 58, source=source, destination=to), interface)
        assert SentIcmp(host.only(interface)).source == parse_address(own)


@requirement("RFC791", "3.1/record-route")
def test_recorded_route_and_time_go_on_in_the_reply() -> None:
    """RFC 1122 §3.2.2.6: this host is added."""
    host = Host()
    host.now = 3_723_004_000_000
    route = bytes((7, 11, 8)) + PEER4 + bytes(4)
    stamps = bytes((68, 12, 5, 1)) + bytes(8)
    host.icmp(icmpv4_packet(icmpv4.build_echo_request(1, 1), options=route + stamps + b"\x00"))
    options = ipv4.parse(host.only()).options
    time = 3_723_004 | 0x80000000
    expected = bytes((7, 11, 12)) + PEER4 + HOST4 + bytes((68, 12, 13, 1)) + HOST4 + time.to_bytes(4, "big") + b"\x00"
    assert options == expected


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (bytes((7, 7, 8)) + PEER4, bytes((7, 7, 8)) + PEER4),  # full
        (bytes((7, 3, 4)), bytes((7, 3, 4))),  # no place at all
        (bytes((7, 5, 4, 0, 0)), bytes((7, 5, 4, 0, 0))),  # half a place
        (bytes((68, 8, 9, 0)) + bytes(4), bytes((68, 8, 9, 0x10)) + bytes(4)),  # an overflow is counted
        (bytes((68, 8, 9, 0xF0)) + bytes(4), bytes((68, 8, 9, 0xF0)) + bytes(4)),
        (bytes((68, 8, 5, 0)) + bytes(4), bytes((68, 8, 9, 0)) + (5000 | 1 << 31).to_bytes(4, "big")),
        (bytes((68, 12, 5, 3)) + PEER4 + bytes(4), bytes((68, 12, 5, 3)) + PEER4 + bytes(4)),  # for another host
        (
            bytes((68, 12, 5, 3)) + HOST4 + bytes(4),
            bytes((68, 12, 13, 3)) + HOST4 + (5000 | 1 << 31).to_bytes(4, "big"),
        ),
        (bytes((68, 8, 5, 7)) + bytes(4), bytes((68, 8, 5, 7)) + bytes(4)),  # an unknown kind of timestamp
        (bytes((148, 4, 0, 0)), b""),  # the others are not for the reply
    ],
)
def test_options_without_room_or_meaning_are_sent_back_as_they_are(option: bytes, expected: bytes) -> None:
    host = Host()
    host.icmp(icmpv4_packet(icmpv4.build_echo_request(1, 1), options=option))
    assert ipv4.parse(host.only()).options == expected + bytes(-len(expected) % 4)


@VERSIONS
def test_an_echo_that_cannot_be_answered_is_counted(version: int) -> None:
    host = Host()
    stranger = parse_address("8.8.8.8" if version == 4 else "2001:db8::8")
    if version == 4:
        host.icmp(icmpv4_packet(icmpv4.build_echo_request(1, 1), source=stranger))
    else:
        host.icmp(icmpv6_packet(128, source=stranger))
    assert host.sent() == []
    assert host.layer.statistics.echo_replies_failed == 1


@requirement("RFC4443", "4.2")
@VERSIONS
def test_an_echo_reply_is_left_to_whoever_asked(version: int) -> None:
    host = Host()
    assert host.icmp(icmpv4_packet(icmpv4.build_echo_reply(1, 1)) if version == 4 else icmpv6_packet(129)) is None
    assert host.sent() == []


@requirement("RFC4443", "2.3")
@VERSIONS
def test_a_wrong_checksum_or_a_short_message_is_dropped(version: int) -> None:
    host = Host()
    packet = bytearray(echo(version))
    packet[-1] ^= 1
    assert host.drops_icmp(bytes(packet)) is DropReason.ICMP_CHECKSUM
    protocol = 1 if version == 4 else 58
    short = ipv4_packet(bytes(7), protocol) if version == 4 else ipv6_packet(bytes(7), protocol)
    assert host.drops_icmp(short) is DropReason.ICMP_TRUNCATED


@pytest.mark.parametrize("kind", [5, 9, 10, 13, 14, 42])
def test_services_that_this_host_does_not_offer_are_refused_silently(kind: int) -> None:
    host = Host()
    assert host.drops_icmp(icmpv4_packet(icmpv4.build(kind, 0, bytes(4), own_packet(4)))) is DropReason.ICMP_NOT_OFFERED
    assert host.sent() == []


@pytest.mark.parametrize("kind", [130, 131, 132, 133, 134, 135, 136, 137, 143])
def test_icmpv6_services_that_this_host_does_not_offer_are_refused_silently(kind: int) -> None:
    host = Host()
    assert host.drops_icmp(icmpv6_packet(kind)) is DropReason.ICMP_NOT_OFFERED
    assert host.sent() == []


@requirement("RFC1122", "3.2.2/unknown")
@pytest.mark.parametrize("kind", [1, 2, 7, 99, 255])
def test_unknown_icmpv4_types_are_discarded_silently(kind: int) -> None:
    """RFC 1122 §3.2.2."""
    host = Host()
    assert host.drops_icmp(icmpv4_packet(icmpv4.build(kind, 0))) is DropReason.ICMP_UNKNOWN_TYPE
    assert host.sent() == []


@requirement("RFC4443", "2.4.b")
@pytest.mark.parametrize("kind", [144, 200, 255])
def test_unknown_informational_icmpv6_types_are_discarded_silently(kind: int) -> None:
    """RFC 4443 §2.4 (b)."""
    assert Host().drops_icmp(icmpv6_packet(kind)) is DropReason.ICMP_UNKNOWN_TYPE


@requirement("RFC1122", "3.2.2.3")
def test_source_quench_is_ignored() -> None:
    """RFC 6633 §3."""
    assert Host().drops_icmp(error4(4, 0)) is DropReason.ICMP_SOURCE_QUENCH


@pytest.mark.parametrize(
    ("code", "number", "hard"),
    [
        (0, errno.ENETUNREACH, False), (1, errno.EHOSTUNREACH, False), (2, errno.ENOPROTOOPT, True),
        (3, errno.ECONNREFUSED, True), (4, errno.EMSGSIZE, False), (5, errno.EOPNOTSUPP, False),
        (6, errno.ENETUNREACH, True), (7, errno.EHOSTDOWN, True), (8, errno.ENONET, True), (9, errno.ENETUNREACH, True),
        (10, errno.EHOSTUNREACH, True), (11, errno.ENETUNREACH, False), (12, errno.EHOSTUNREACH, False),
        (13, errno.EHOSTUNREACH, True), (14, errno.EHOSTUNREACH, True), (15, errno.EHOSTUNREACH, True),
    ],
)  # fmt: skip
def test_destination_unreachable_has_linux_errno(code: int, number: int, hard: bool) -> None:
    """net/ipv4/icmp.c, icmp_err_convert."""
    error = parsed(error4(3, code))
    assert (error.version, error.type, error.code, error.errno, error.hard) == (4, 3, code, number, hard)
    assert (error.mtu is not None) is (code == 4)


@requirement("RFC4443", "3.1")
@pytest.mark.parametrize(
    ("code", "number", "hard"),
    [
        (0, errno.ENETUNREACH, False), (1, errno.EACCES, True), (2, errno.EHOSTUNREACH, False),
        (3, errno.EHOSTUNREACH, False), (4, errno.ECONNREFUSED, True), (5, errno.EACCES, True), (6, errno.EACCES, True),
        (7, errno.EPROTO, True), (99, errno.EPROTO, True),
    ],
)  # fmt: skip
def test_icmpv6_destination_unreachable_has_linux_errno(code: int, number: int, hard: bool) -> None:
    """net/ipv6/icmp.c, icmpv6_err_convert."""
    error = parsed(error6(1, code))
    assert (error.version, error.type, error.code, error.errno, error.hard) == (6, 1, code, number, hard)
    assert error.mtu is None


@requirement("RFC4443", "3.3")
@requirement("RFC1122", "3.2.2.5")
@requirement("RFC1122", "3.2.2.4")
def test_time_exceeded_and_parameter_problem_have_linux_errno() -> None:
    for packet, number, hard in (
        (error4(11, 0), errno.EHOSTUNREACH, False),
        (error4(11, 1), errno.EHOSTUNREACH, False),
        (error4(12, 0), errno.EPROTO, True),
        (error6(3, 0), errno.EHOSTUNREACH, False),
        (error6(4, 1), errno.EPROTO, True),
    ):
        error = parsed(packet)
        assert (error.errno, error.hard, error.mtu) == (number, hard, None)


@requirement("RFC4443", "2.4.a")
@pytest.mark.parametrize("kind", [5, 100, 127])
def test_an_icmpv6_error_of_unknown_type_is_passed_on(kind: int) -> None:
    """RFC 4443 §2.4 (a)."""
    error = parsed(error6(kind, 0))
    assert (error.type, error.errno, error.hard) == (kind, errno.EPROTO, False)


def test_codes_of_destination_unreachable_that_nobody_defined_are_dropped() -> None:
    assert Host().drops_icmp(error4(3, 16)) is DropReason.ICMP_UNKNOWN_TYPE


@requirement("RFC4443", "2.4.d")
@VERSIONS
def test_the_quoted_flow_is_read(version: int) -> None:
    error = parsed(error4(3, 3) if version == 4 else error6(1, 4))
    quoted = error.quoted
    assert error.source == (ROUTER4 if version == 4 else ROUTER6)
    assert (quoted.source, quoted.destination) == (HOST[version], PEER[version])
    assert (quoted.protocol, quoted.source_port, quoted.destination_port) == (17, 3000, 4000)
    assert bytes(quoted.transport[:4]) == bytes.fromhex("0bb80fa0")
    assert (quoted.version, quoted.first, quoted.length) == (version, True, len(own_packet(version)))


@VERSIONS
def test_eight_bytes_of_the_transport_are_enough(version: int) -> None:
    """RFC 792; the quoted header's lengths are of the packet as it was sent."""
    quote = own_packet(version)[: (20 if version == 4 else 40) + 8]
    quoted = parsed(error4(3, 3, quote) if version == 4 else error6(1, 4, quote)).quoted
    assert (quoted.source_port, quoted.destination_port, len(quoted.transport)) == (3000, 4000, 8)


def test_what_a_router_changed_in_the_quote_does_not_matter() -> None:
    """TTL and type of service, and so the checksum."""
    quote = bytearray(own_packet(4))
    quote[1], quote[8] = 0xFF, 0
    assert parsed(error4(11, 0, bytes(quote))).quoted.source_port == 3000


@requirement("RFC4443", "2.4.d")
def test_options_and_extension_headers_of_the_quote_are_skipped() -> None:
    ports = bytes.fromhex("0bb80fa0 00000000")
    quote = ipv4_packet(ports, source=HOST4, destination=PEER4, options=bytes(8))
    assert parsed(error4(3, 3, quote)).quoted.source_port == 3000
    chain = ipv6_ext.build_hop_by_hop(44, []) + ipv6_ext.build_fragment(60, 0, True, 9)
    chain += ipv6_ext.build_destination_options(17, [])
    quote = ipv6_packet(chain + ports, 0, source=HOST6, destination=PEER6)
    quoted = parsed(error6(1, 4, quote)).quoted
    assert (quoted.protocol, quoted.source_port, quoted.first) == (17, 3000, True)


def test_extensions_of_the_message_are_no_part_of_the_quote() -> None:
    """RFC 4884 §4: the length field, in words of 32 bits for IPv4 and 64 for IPv6."""
    quote = own_packet(4, length=200)[:128]
    message = error4(3, 3, quote + b"extension", bytes((0, 32, 0, 0)))
    assert len(parsed(message).quoted.transport) == 108
    quote = own_packet(6, length=200)[:128]
    assert len(parsed(error6(1, 4, quote + b"extension", bytes((16, 0, 0, 0)))).quoted.transport) == 88


@VERSIONS
def test_a_quote_of_a_packet_that_this_host_cannot_have_sent_is_dropped(version: int) -> None:
    """RFC 5927 §4.1."""
    host = Host()
    foreign = ipv4_packet(bytes(20)) if version == 4 else ipv6_packet(bytes(20))
    packet = error4(3, 3, foreign) if version == 4 else error6(1, 4, foreign)
    assert host.drops_icmp(packet) is DropReason.ICMP_QUOTE
    later = fragment(version, 64, bytes(32), True, source=HOST[version], destination=PEER[version])
    packet = error4(3, 3, later) if version == 4 else error6(1, 4, later)
    assert host.drops_icmp(packet) is DropReason.ICMP_QUOTE
    other = own_packet(10 - version)
    packet = error4(3, 3, other) if version == 4 else error6(1, 4, other)
    assert host.drops_icmp(packet) is DropReason.ICMP_QUOTE


@VERSIONS
def test_a_quote_that_is_cut_in_its_header_is_dropped(version: int) -> None:
    for length in (0, 1, 19, 39)[: 3 if version == 4 else 4]:
        quote = own_packet(version)[:length]
        packet = error4(3, 3, quote) if version == 4 else error6(1, 4, quote)
        assert Host().drops_icmp(packet) is DropReason.ICMP_TRUNCATED


def test_a_quote_without_ports_or_of_a_protocol_without_them_has_none() -> None:
    quote = own_packet(4)[:22]
    assert parsed(error4(3, 3, quote)).quoted.source_port == 0
    assert parsed(error4(3, 2, own_packet(4, 99))).quoted.source_port == 0


def test_fragmentation_needed_has_the_routers_mtu() -> None:
    assert parsed(error4(3, 4, rest=bytes((0, 0)) + (1400).to_bytes(2, "big"))).mtu == 1400


@pytest.mark.parametrize(("length", "plateau"), [(1500, 1492), (1492, 1006), (576, 508), (100, 68), (68, 68)])
def test_an_old_router_that_reports_no_mtu_gives_the_next_plateau(length: int, plateau: int) -> None:
    """RFC 1191 §5, §7.1: under the length of the packet that was too big."""
    quote = own_packet(4, length=length - 28)
    assert parsed(error4(3, 4, quote[:28])).mtu == plateau


@requirement("RFC4443", "3.2")
def test_packet_too_big_has_the_mtu() -> None:
    error = parsed(error6(2, 0, rest=(1400).to_bytes(4, "big")))
    assert (error.mtu, error.errno, error.hard) == (1400, errno.EMSGSIZE, False)


@requirement("RFC8200", "5")
@requirement("RFC4443", "3.2")
@pytest.mark.parametrize("mtu", [0, 68, 1279])
def test_packet_too_big_under_the_minimum_mtu_is_discarded(mtu: int) -> None:
    """RFC 8201 §4."""
    assert Host().drops_icmp(error6(2, 0, rest=mtu.to_bytes(4, "big"))) is DropReason.ICMP_MTU


@VERSIONS
def test_the_path_mtu_is_not_touched_before_the_transport_has_seen_the_quote(version: int) -> None:
    host = Host()
    packet = error4(3, 4, rest=bytes((0, 0, 4, 0))) if version == 4 else error6(2, 0, rest=(1300).to_bytes(4, "big"))
    assert host.icmp(packet) is not None
    assert len(host.layer.path_mtu) == 0


def test_an_ipv6_reply_has_a_flow_label() -> None:
    """RFC 6437 §3."""
    host = Host()
    host.icmp(echo(6))
    sent = host.only()
    assert ipv6.parse(sent).flow_label != 0

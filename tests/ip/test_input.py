"""What comes in by an interface: plain packets, lengths, addresses that must not be, IPv4 options."""

import pytest

from tests.support.ip_host import HOST, HOST4, HOST6, PEER4, PEER6, Host, SentIcmp, any_packet, ipv4_packet, ipv6_packet
from tests.support.requirement import requirement
from ustack.address import parse_address
from ustack.drops import DropReason
from ustack.wire import ipv4

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def test_a_plain_ipv4_packet_comes_up_with_every_field() -> None:
    host = Host()
    frame = ipv4_packet(b"transport", 6, ttl=3, traffic_class=0xB9) + b"padding of the link"
    packet = host.whole(frame)
    assert (packet.interface, packet.version, packet.protocol) == (host.tun, 4, 6)
    assert (packet.source, packet.destination) == (PEER4, HOST4)
    assert (packet.ttl, packet.traffic_class, packet.flow_label) == (3, 0xB9, 0)
    assert (bytes(packet.header), bytes(packet.payload)) == (frame[:20], b"transport")
    assert (packet.unicast, packet.trusted, packet.gso_size, packet.reassembled) == (True, False, 0, False)
    assert packet.options == b""


@requirement("RFC8200", "3")
def test_a_plain_ipv6_packet_comes_up_with_every_field() -> None:
    host = Host()
    frame = ipv6_packet(b"transport", 17, hop_limit=9, traffic_class=0x2E, flow_label=0xABCDE) + b"padding"
    packet = host.whole(frame)
    assert (packet.interface, packet.version, packet.protocol) == (host.tun, 6, 17)
    assert (packet.source, packet.destination) == (PEER6, HOST6)
    assert (packet.ttl, packet.traffic_class, packet.flow_label) == (9, 0x2E, 0xABCDE)
    assert (bytes(packet.header), bytes(packet.payload)) == (frame[:40], b"transport")
    assert packet.unicast


@VERSIONS
def test_what_the_device_vouches_for_is_passed_on(version: int) -> None:
    packet = Host().receive(any_packet(version), trusted=True, gso_size=1448)
    assert packet is not None
    assert (packet.trusted, packet.gso_size) == (True, 1448)


@requirement("RFC1122", "3.2.1.7")
@VERSIONS
def test_time_to_live_zero_is_no_reason_to_drop_at_the_destination(version: int) -> None:
    """RFC 1122 §3.2.1.7, RFC 8200 §3."""
    packet = ipv4_packet(ttl=0) if version == 4 else ipv6_packet(hop_limit=0)
    assert Host().whole(packet).ttl == 0


@requirement("RFC1122", "3.2.1.1")
@requirement("RFC791", "3.1/version")
def test_an_empty_frame_and_other_versions_are_dropped() -> None:
    host = Host()
    assert host.drops(b"") is DropReason.TRUNCATED
    for version in (0, 1, 5, 7, 15):
        assert host.drops(bytes((version << 4 | 5,)) + bytes(60)) is DropReason.NOT_IP


@VERSIONS
def test_a_packet_cut_anywhere_is_dropped(version: int) -> None:
    host, packet = Host(), any_packet(version)
    for length in range(len(packet)):
        assert host.drops(packet[:length]) in (DropReason.TRUNCATED, DropReason.IP_TOTAL_LENGTH)


@requirement("RFC1122", "3.2.1.2")
@requirement("RFC791", "3.1/checksum")
def test_a_wrong_ipv4_header_checksum_is_dropped() -> None:
    packet = bytearray(ipv4_packet())
    packet[8] ^= 1
    assert Host().drops(bytes(packet)) is DropReason.IP_CHECKSUM


@VERSIONS
def test_an_interface_that_is_down_takes_nothing(version: int) -> None:
    host = Host()
    host.tun.up = False
    assert host.drops(any_packet(version)) is DropReason.INTERFACE_DOWN


@requirement("RFC1122", "3.2.1.3/destination")
@VERSIONS
def test_a_packet_for_another_host_is_not_forwarded_and_not_answered(version: int) -> None:
    """RFC 1122 §3.3.1: silently."""
    host = Host()
    for text in ("10.9.0.77", "8.8.8.8") if version == 4 else ("fd00::77", "2001:db8::1", "fe80::1"):
        packet = any_packet(version, destination=parse_address(text))
        assert host.drops(packet) is DropReason.NOT_FOR_US
    assert host.sent() == []


@VERSIONS
def test_an_address_of_another_interface_is_taken_too(version: int) -> None:
    """The weak host model of RFC 1122 §3.3.4.2."""
    host = Host()
    other = host.add("other", 1500, "192.168.7.1/24", "fd07::1/64")
    assert host.whole(any_packet(version), other).unicast


@VERSIONS
def test_an_address_that_was_taken_away_is_nobodys(version: int) -> None:
    host = Host()
    address = next(each for each in host.tun.addresses if each.address == HOST[version])
    host.layer.remove_address(host.tun, address)
    assert host.drops(any_packet(version)) is DropReason.NOT_FOR_US


@requirement("RFC1122", "4.1.3.6")
@requirement("RFC1122", "3.2.1.3/source")
@pytest.mark.parametrize(
    "source",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.1", "0.255.255.255", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.254",
        "255.255.255.255", "10.9.0.255", "10.9.0.2", "192.168.7.1", "192.168.7.255",
    ],
)  # fmt: skip
def test_an_ipv4_source_that_cannot_be_is_a_martian(source: str) -> None:
    """RFC 1122 §3.2.1.3: loopback, this network, multicast, class E, broadcast, an address of this host itself."""
    host = Host()
    host.add("other", 1500, "192.168.7.1/24")
    assert host.drops(ipv4_packet(source=parse_address(source))) is DropReason.MARTIAN_SOURCE
    assert host.sent() == []


def test_the_unspecified_source_is_taken_only_from_hosts_without_an_address() -> None:
    """DHCP and IGMP, as Linux: to 255.255.255.255, to 224.0.0.0/24."""
    host = Host()
    nobody = bytes(4)
    assert host.drops(ipv4_packet(source=nobody)) is DropReason.MARTIAN_SOURCE
    assert host.drops(ipv4_packet(source=nobody, destination=parse_address("10.9.0.255"))) is DropReason.MARTIAN_SOURCE
    assert not host.whole(ipv4_packet(source=nobody, destination=b"\xff" * 4)).unicast
    assert not host.whole(ipv4_packet(source=nobody, destination=parse_address("224.0.0.1"))).unicast
    assert (
        host.drops(ipv4_packet(b"x", 2, source=nobody, destination=parse_address("239.0.0.1"))) is DropReason.NOT_FOR_US
    )


@requirement("RFC1122", "3.2.1.3/loopback")
@pytest.mark.parametrize(
    "destination", ["127.0.0.1", "127.1.2.3", "0.0.0.0", "0.0.0.5", "240.0.0.1", "255.255.255.254"]
)
def test_an_ipv4_destination_that_cannot_come_from_outside_is_a_martian(destination: str) -> None:
    assert Host().drops(ipv4_packet(destination=parse_address(destination))) is DropReason.MARTIAN_DESTINATION


@pytest.mark.parametrize("source", ["::1", "ff02::1", "ff0e::5", "::ffff:10.9.0.1", "fd00::2", "::"])
def test_an_ipv6_source_that_cannot_be_is_a_martian(source: str) -> None:
    """RFC 4291 §2.5.2, §2.5.3, §2.7; a mapped source would pass for an IPv4 peer."""
    assert Host().drops(ipv6_packet(source=parse_address(source))) is DropReason.MARTIAN_SOURCE


@pytest.mark.parametrize("destination", ["::1", "::", "::ffff:10.9.0.2", "ff01::1", "ff00::1"])
def test_an_ipv6_destination_that_cannot_come_from_outside_is_a_martian(destination: str) -> None:
    assert Host().drops(ipv6_packet(destination=parse_address(destination))) is DropReason.MARTIAN_DESTINATION


def test_the_unspecified_ipv6_source_may_write_to_a_group() -> None:
    """RFC 4862 §5.4.2, RFC 3590 §4."""
    assert not Host().whole(ipv6_packet(source=bytes(16), destination=parse_address("ff02::1"))).unicast


@requirement("RFC1122", "3.3.6")
@pytest.mark.parametrize("destination", ["255.255.255.255", "10.9.0.255", "224.0.0.1"])
def test_broadcasts_and_the_group_of_all_hosts_are_taken_but_no_unicast(destination: str) -> None:
    assert not Host().whole(ipv4_packet(destination=parse_address(destination))).unicast


@pytest.mark.parametrize("destination", ["ff02::1", "ff02::1:ff00:2"])
def test_the_groups_that_every_ipv6_node_is_in_are_taken(destination: str) -> None:
    """RFC 4291 §2.8: all nodes, and the solicited-node address of each own address."""
    assert not Host().whole(ipv6_packet(destination=parse_address(destination))).unicast


@pytest.mark.parametrize("destination", ["224.0.0.2", "239.1.1.1", "10.9.1.255"])
def test_groups_that_nobody_joined_are_not_for_us(destination: str) -> None:
    assert Host().drops(ipv4_packet(destination=parse_address(destination))) is DropReason.NOT_FOR_US


@pytest.mark.parametrize("destination", ["ff02::2", "ff02::1:ff00:3", "ff0e::1"])
def test_ipv6_groups_that_nobody_joined_are_not_for_us(destination: str) -> None:
    assert Host().drops(ipv6_packet(destination=parse_address(destination))) is DropReason.NOT_FOR_US


def test_a_group_is_received_where_it_was_joined_only() -> None:
    host = Host()
    other = host.add("other", 1500, "192.168.7.1/24")
    group = parse_address("239.1.1.1")
    other.groups.add(group)
    assert host.layer.accepts(other, group)
    assert not host.whole(ipv4_packet(destination=group), other).unicast
    assert host.drops(ipv4_packet(destination=group)) is DropReason.NOT_FOR_US


@requirement("RFC1122", "3.3.6")
def test_networks_of_31_and_32_bits_have_no_broadcast() -> None:
    """RFC 3021."""
    host = Host()
    point = host.add("point", 1500, "192.168.7.0/31")
    assert host.drops(ipv4_packet(destination=parse_address("192.168.7.1")), point) is DropReason.NOT_FOR_US
    assert host.whole(ipv4_packet(destination=parse_address("192.168.7.0")), point).unicast


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.9", "10.9.0.2"])
def test_the_loopback_interface_takes_what_this_host_sends_itself(address: str) -> None:
    """127.0.0.0/8 as a whole, and own addresses from own addresses."""
    host = Host()
    local = parse_address(address)
    assert host.whole(ipv4_packet(source=local, destination=local), host.layer.loopback).unicast


@pytest.mark.parametrize("address", ["::1", "fd00::2"])
def test_the_loopback_interface_takes_ipv6_too(address: str) -> None:
    host = Host()
    local = parse_address(address)
    assert host.whole(ipv6_packet(source=local, destination=local), host.layer.loopback).unicast


@pytest.mark.parametrize("source", ["224.0.0.1", "255.255.255.255", "250.0.0.1"])
def test_not_even_loopback_takes_a_source_that_is_no_host(source: str) -> None:
    host = Host()
    packet = ipv4_packet(source=parse_address(source), destination=parse_address("127.0.0.1"))
    assert host.drops(packet, host.layer.loopback) is DropReason.MARTIAN_SOURCE


@requirement("RFC1122", "3.2.1.8")
@requirement("RFC791", "3.1/options")
def test_unknown_and_known_options_are_passed_up_raw() -> None:
    options = bytes((7, 7, 4, 0, 0, 0, 0, 1, 94, 4, 1, 2))
    packet = Host().whole(ipv4_packet(options=options))
    assert packet.options == options
    assert len(packet.header) == 32
    assert bytes(packet.payload) == b"payload"


@pytest.mark.parametrize("kind", sorted(ipv4.SOURCE_ROUTES))
@pytest.mark.parametrize("pointer", [4, 8])
def test_source_routes_are_refused_silently_even_at_their_end(kind: int, pointer: int) -> None:
    """RFC 7126 §4.3, §4.4."""
    host = Host()
    options = bytes((kind, 7, pointer)) + PEER4
    assert host.drops(ipv4_packet(options=options)) is DropReason.IP_SOURCE_ROUTE
    assert host.sent() == []


def test_a_source_route_behind_other_options_is_found() -> None:
    options = bytes((1, 1, 1, 148, 4, 0, 0, 1, 137, 7, 4)) + PEER4
    assert Host().drops(ipv4_packet(options=options)) is DropReason.IP_SOURCE_ROUTE


@requirement("RFC1122", "3.2.2.5")
@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        (bytes((7, 40, 4, 0)), 21),  # longer than the header
        (bytes((7, 0, 4, 0)), 21),  # a length that does not even cover itself
        (bytes((1, 1, 1, 7)), 23),  # no length at all
        (bytes((68, 8, 2, 0, 0, 0, 0, 0)), 22),  # its pointer points before its data
    ],
)
def test_a_malformed_option_is_dropped_and_the_source_told_where(options: bytes, pointer: int) -> None:
    """RFC 1122 §3.2.2.5."""
    host = Host()
    packet = ipv4_packet(b"eight bytes at least", options=options)
    assert host.drops(packet) is DropReason.IP_OPTION
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.pointer) == (12, 0, pointer)
    assert (error.source, error.destination) == (HOST4, PEER4)
    assert error.body == packet


def test_nobody_is_told_of_a_malformed_option_in_a_broadcast() -> None:
    host = Host()
    assert host.drops(ipv4_packet(options=bytes((7, 0, 4, 0)), destination=b"\xff" * 4)) is DropReason.IP_OPTION
    assert host.sent() == []

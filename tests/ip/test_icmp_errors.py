"""The ICMP errors that the host sends, what they quote, and when it must send none.  RFC 1122 §3.2.2, RFC 4443 §2.4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ip_host import (
    HOST,
    PEER,
    PEER4,
    SECOND,
    Host,
    SentIcmp,
    any_packet,
    fragment,
    icmpv4_packet,
    icmpv6_packet,
    ipv4_packet,
    ipv6_packet,
)
from tests.support.requirement import requirement
from tests.support.scapy_oracle import inet, inet6
from ustack.address import parse_address
from ustack.config import IpConfig
from ustack.entropy import SeededEntropy
from ustack.ip.error_limiter import ErrorLimiter
from ustack.ip.icmp_errors import IcmpErrorKind
from ustack.wire import icmpv4

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def report(host: Host, packet: bytes, kind: IcmpErrorKind = IcmpErrorKind.PORT_UNREACHABLE) -> bool:
    return host.layer.icmp_error(kind, host.whole(packet), host.now)


@requirement("RFC4443", "3.1")
@pytest.mark.parametrize(
    ("version", "kind", "numbers"),
    [
        (4, IcmpErrorKind.PORT_UNREACHABLE, (3, 3)),
        (4, IcmpErrorKind.PROTOCOL_UNREACHABLE, (3, 2)),
        (4, IcmpErrorKind.PROHIBITED, (3, 13)),
        (6, IcmpErrorKind.PORT_UNREACHABLE, (1, 4)),
        (6, IcmpErrorKind.PROTOCOL_UNREACHABLE, (4, 1)),
        (6, IcmpErrorKind.PROHIBITED, (1, 1)),
    ],
)
def test_each_error_has_its_type_and_code(version: int, kind: IcmpErrorKind, numbers: tuple[int, int]) -> None:
    host = Host()
    packet = any_packet(version, b"datagram")
    assert report(host, packet, kind)
    error = SentIcmp(host.only())
    assert (error.type, error.code) == numbers
    assert (error.source, error.destination) == (HOST[version], PEER[version])
    assert (error.body, error.ttl) == (packet, 64)
    assert host.layer.statistics.errors_sent == 1


@VERSIONS
def test_scapy_reads_the_error_and_finds_its_checksums_right(version: int) -> None:
    host = Host()
    report(host, any_packet(version, b"datagram"))
    sent = host.only()
    parsed = inet.IP(sent) if version == 4 else inet6.IPv6(sent)
    copy = parsed.copy()
    if version == 4:
        del copy[inet.IP].chksum, copy[inet.ICMP].chksum
        assert parsed[inet.ICMP].type == 3
    else:
        del copy[inet6.ICMPv6DestUnreach].cksum
    assert bytes(copy) == sent


@VERSIONS
def test_the_error_comes_from_the_address_that_was_asked(version: int) -> None:
    """RFC 4443 §2.2 (a)."""
    host = Host()
    address = "192.168.7.1" if version == 4 else "fd07::1"
    host.add("other", 1500, "192.168.7.1/24", "fd07::1/64")
    report(host, any_packet(version, destination=parse_address(address)))
    assert SentIcmp(host.only()).source == parse_address(address)


@requirement("RFC1122", "3.2.2/quote")
@given(st.integers(0, 1460))
def test_an_ipv4_quote_is_as_much_as_fits_576_bytes(length: int) -> None:
    """RFC 1812 §4.3.2.3, which RFC 1122's 8 bytes became."""
    host, packet = Host(), ipv4_packet(bytes(length))
    report(host, packet)
    sent = host.only()
    assert len(sent) == min(20 + 8 + len(packet), 576)
    assert SentIcmp(sent).body == packet[:548]


@requirement("RFC4443", "2.4.c")
@given(st.integers(0, 1460))
def test_an_ipv6_quote_is_as_much_as_fits_the_minimum_mtu(length: int) -> None:
    """RFC 4443 §2.4 (c)."""
    host, packet = Host(), ipv6_packet(bytes(length))
    report(host, packet)
    sent = host.only()
    assert len(sent) == min(40 + 8 + len(packet), 1280)
    assert SentIcmp(sent).body == packet[:1232]


def test_an_ipv4_quote_has_the_options_too() -> None:
    host, packet = Host(), ipv4_packet(options=b"\x94\x04\x00\x00")
    report(host, packet)
    assert SentIcmp(host.only()).body == packet


def test_an_ipv4_error_has_the_precedence_of_internetwork_control_and_is_not_ecn_capable() -> None:
    """RFC 1812 §4.3.2.5, RFC 1122 §3.2.2: else the type of service of the datagram."""
    host = Host()
    report(host, ipv4_packet(traffic_class=0x3F))
    assert SentIcmp(host.only()).traffic_class == 0xDC


@VERSIONS
@pytest.mark.parametrize("protocol", [1, 58])
def test_an_icmp_message_of_the_other_version_is_no_error(version: int, protocol: int) -> None:
    host = Host()
    packet = any_packet(version, bytes((3, 3)) + bytes(30), protocol)
    assert report(host, packet) is (protocol != (1 if version == 4 else 58))


@requirement("RFC1122", "3.2.2/no-error")
@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12, 1, 200, 255])
def test_there_is_no_error_about_an_icmpv4_error_or_an_unknown_type(kind: int) -> None:
    host = Host()
    assert not report(host, icmpv4_packet(icmpv4.build(kind, 0, bytes(4), ipv4_packet())))
    assert host.sent() == []


@requirement("RFC4443", "2.4.e")
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 100, 127, 137])
def test_there_is_no_error_about_an_icmpv6_error_known_or_not_or_a_redirect(kind: int) -> None:
    """RFC 4443 §2.4 (e.1), (e.2)."""
    host = Host()
    assert not report(host, icmpv6_packet(kind, body=ipv6_packet()))
    assert host.sent() == []


@pytest.mark.parametrize("kind", [0, 8, 13, 14])
def test_icmpv4_queries_may_be_reported(kind: int) -> None:
    assert report(Host(), icmpv4_packet(icmpv4.build(kind, 0)))


@VERSIONS
def test_there_is_no_error_about_an_icmp_message_without_a_type(version: int) -> None:
    assert not report(Host(), any_packet(version, b"", 1 if version == 4 else 58))


@requirement("RFC1122", "3.2.2/no-error")
@pytest.mark.parametrize("destination", ["255.255.255.255", "10.9.0.255", "224.0.0.1"])
def test_there_is_no_error_about_an_ipv4_broadcast_or_multicast(destination: str) -> None:
    assert not report(Host(), ipv4_packet(destination=parse_address(destination)))


@requirement("RFC4443", "2.4.e")
@pytest.mark.parametrize("destination", ["ff02::1", "ff02::1:ff00:2"])
@pytest.mark.parametrize("kind", list(IcmpErrorKind))
def test_there_is_no_error_about_an_ipv6_multicast(destination: str, kind: IcmpErrorKind) -> None:
    """RFC 4443 §2.4 (e.3): but packet too big and one parameter problem, which these are not."""
    assert not report(Host(), ipv6_packet(destination=parse_address(destination)), kind)


@requirement("RFC4443", "2.4.e")
@requirement("RFC1122", "3.2.2/no-error")
def test_there_is_no_error_to_a_source_that_is_no_single_host() -> None:
    """RFC 1122 §3.2.2; most are martians, but a raw socket can send anything to its own host."""
    host = Host()
    for source, version in ((bytes(4), 4), (bytes(16), 6)):
        destination = parse_address("127.0.0.1" if version == 4 else "ff02::1")
        packet = any_packet(version, source=source, destination=destination)
        whole = host.layer.receive(host.layer.loopback, memoryview(packet), 0)
        assert whole is not None
        assert not host.layer.icmp_error(IcmpErrorKind.PORT_UNREACHABLE, whole, 0)


@VERSIONS
def test_an_error_about_a_reassembled_datagram_quotes_the_whole(version: int) -> None:
    host = Host()
    host.receive(fragment(version, 0, bytes(24), True))
    assert report(host, fragment(version, 24, b"end", False))
    body = SentIcmp(host.only()).body
    assert body[20 if version == 4 else 40 :] == bytes(24) + b"end"


@VERSIONS
def test_without_a_way_back_there_is_no_error_and_no_exception(version: int) -> None:
    host = Host()
    stranger = parse_address("8.8.8.8" if version == 4 else "2001:db8::8")
    assert not report(host, any_packet(version, source=stranger))
    assert host.layer.statistics.errors_sent == 0


@VERSIONS
def test_with_a_full_burst_there_is_no_error_and_no_exception(version: int) -> None:
    host = Host()
    while host.tun.outgoing.append(bytes(20)):
        pass
    assert not report(host, any_packet(version))
    assert host.layer.statistics.datagrams_refused == 1


@requirement("RFC4443", "2.4.f")
@VERSIONS
def test_one_destination_gets_so_many_errors_a_second(version: int) -> None:
    host = Host(icmp_errors_per_destination_per_second=5)
    packet = any_packet(version)
    assert [report(host, packet) for _ in range(7)] == [True] * 5 + [False] * 2
    assert host.layer.statistics.errors_limited == 2
    other = parse_address("10.9.0.3" if version == 4 else "fd00::3")
    assert report(host, any_packet(version, source=other)), "the others are not to blame"
    host.now += SECOND // 5
    assert [report(host, packet) for _ in range(2)] == [True, False]
    host.now += 100 * SECOND
    assert [report(host, packet) for _ in range(7)] == [True] * 5 + [False] * 2


def test_all_destinations_together_get_so_many_errors_at_once() -> None:
    host = Host(icmp_errors_burst=40, icmp_errors_per_second=100)
    sources = [PEER4[:3] + bytes((number,)) for number in range(10, 210)]
    sent = sum(report(host, ipv4_packet(source=source)) for source in sources)
    assert 20 <= sent <= 40
    host.now += SECOND // 10
    more = sum(report(host, ipv4_packet(source=source)) for source in sources)
    assert 5 <= more <= 10


def test_how_many_errors_are_left_cannot_be_counted_from_outside() -> None:
    """CVE-2020-25705 ("SAD DNS"): each error takes one or two tokens at random."""
    counts = set()
    for seed in range(20):
        limiter = ErrorLimiter(IpConfig(), SeededEntropy(seed))
        counts.add(sum(limiter.allow(number.to_bytes(4, "big"), SECOND) for number in range(100)))
    assert len(counts) > 3
    assert max(counts) <= 50


def test_the_loopback_interface_is_not_limited() -> None:
    host = Host(icmp_errors_per_destination_per_second=1)
    packet = ipv4_packet(source=b"\x7f\0\0\1", destination=b"\x7f\0\0\1")
    for _ in range(20):
        whole = host.layer.receive(host.layer.loopback, memoryview(packet), host.now)
        assert whole is not None
        assert host.layer.icmp_error(IcmpErrorKind.PORT_UNREACHABLE, whole, host.now)
        assert SentIcmp(host.only(host.layer.loopback)).destination == b"\x7f\0\0\1"


def test_a_rate_of_zero_is_no_errors_at_all() -> None:
    assert not report(Host(icmp_errors_per_destination_per_second=0), ipv4_packet())
    assert not report(Host(icmp_errors_burst=0), ipv4_packet())


@requirement("RFC4443", "2.4.f")
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, SECOND // 100)), max_size=200))
def test_the_limiter_keeps_its_rates_whatever_comes(arrivals: list[tuple[int, int]]) -> None:
    config = IpConfig(icmp_errors_per_second=50, icmp_errors_burst=5, icmp_errors_per_destination_per_second=3)
    limiter, now = ErrorLimiter(config, SeededEntropy(1)), 0
    allowed: list[tuple[int, bytes]] = []
    for number, wait in arrivals:
        now += wait
        destination = (number % 7).to_bytes(4, "big")
        if limiter.allow(destination, now):
            allowed.append((now, destination))
    assert len(allowed) <= 5 + 50 * now / SECOND
    for destination in {each for _, each in allowed}:
        assert sum(each == destination for _, each in allowed) <= 3 + 3 * now / SECOND


def test_the_limiter_remembers_a_bounded_number_of_destinations() -> None:
    limiter = ErrorLimiter(IpConfig(icmp_errors_burst=10**6), SeededEntropy(1))
    for number in range(5000):
        limiter.allow(number.to_bytes(4, "big"), 0)
    assert len(limiter._destinations) <= 1024

"""Which address the host sends from: RFC 6724's own examples, and IPv4's rules."""

import errno

import pytest

from tests.support.ip_host import HOST4, HOST6, PEER4, PEER6, Host
from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from ustack.address import InterfaceAddress, Prefix, format_address, parse_address
from ustack.ip.routing import DEFAULT_IPV4, DEFAULT_IPV6, Route
from ustack.ip.source_selection import common_prefix_length, label, scope


def chosen(host: Host, destination: str) -> str:
    return format_address(host.layer.select_source(parse_address(destination)))


def ipv6_host(*candidates: str) -> Host:
    """One interface with these addresses and a default route."""
    host = Host()
    host.layer.remove_interface(host.tun)
    interface = host.add("link", 1500, *(f"{text}/64" for text in candidates))
    host.layer.routes.add(Route(DEFAULT_IPV6, interface))
    return host


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    ("destination", "candidates", "best"),
    [
        ("2001:db8:1::1", ("2001:db8:3::1", "fe80::1"), "2001:db8:3::1"),  # prefer appropriate scope
        ("ff05::1", ("2001:db8:3::1", "fe80::1"), "2001:db8:3::1"),  # prefer appropriate scope
        ("fe80::1", ("fe80::2", "2001:db8:1::1"), "fe80::2"),  # prefer appropriate scope
        ("2001:db8:1::1", ("2001:db8:1::2", "2001:db8:3::2"), "2001:db8:1::2"),  # longest matching prefix
        ("2002:c633:6401::1", ("2002:c633:6401::d5e3:7953:13eb:22e8", "2001:db8:1::2"),
         "2002:c633:6401::d5e3:7953:13eb:22e8"),  # prefer matching label
    ],
)  # fmt: skip
def test_the_examples_of_rfc_6724_section_10_1(
    destination: str, candidates: tuple[str, str], best: str, swap: bool
) -> None:
    """Those without deprecated, home and temporary addresses, which this host has not."""
    host = ipv6_host(*(reversed(candidates) if swap else candidates))
    assert host.layer.select_source(parse_address(destination)) == parse_address(best)


def test_rule_1_prefers_the_destination_itself() -> None:
    """The third example of §10.1: packets to an own address come from it."""
    assert chosen(ipv6_host("2001:db8:1::1", "2001:db8:2::1"), "2001:db8:2::1") == "2001:db8:2::1"


def test_rule_2_prefers_the_least_scope_that_is_wide_enough() -> None:
    assert chosen(ipv6_host("2001:db8::1", "fec0::1", "fe80::1"), "fec0::99") == "fec0::1"
    assert chosen(ipv6_host("fec0::1", "fe80::1"), "2001:db8::99") == "fec0::1"


def test_rule_5_prefers_the_outgoing_interface() -> None:
    host = ipv6_host("fd00:1::1")
    other = host.add("other", 1500, "2001:db8:9::1/64")
    assert chosen(host, "2001:db8:1::1") == "fd00:1::1"
    assert chosen(host, "2001:db8:9::5") == "2001:db8:9::1"
    other.up = False
    assert chosen(host, "2001:db8:9::5") == "fd00:1::1"


def test_rule_6_prefers_the_same_label_to_a_longer_prefix() -> None:
    """RFC 6724 §2.1: a unique local address does not go with a global one."""
    assert chosen(ipv6_host("fd00:1::1", "2001:db8::1"), "2620::1") == "2001:db8::1"
    assert chosen(ipv6_host("2001:db8::1", "fd00:1::1"), "fd77::1") == "fd00:1::1"
    assert chosen(ipv6_host("2001:db8::1", "2001::1"), "2001::99") == "2001::1"


def test_rule_8_looks_no_further_than_the_sources_prefix() -> None:
    host = Host()
    host.layer.remove_interface(host.tun)
    link = host.add("link", 1500, "2001:db8:0:1::1/48", "2001:db8:0:2::1/64")
    host.layer.routes.add(Route(DEFAULT_IPV6, link))
    assert chosen(host, "2001:db8:0:1:ffff::1") == "2001:db8:0:2::1", "62 bits of 64 beat 66 of which 48 count"
    assert common_prefix_length(parse_address("2001:db8::1"), parse_address("2001:db8::1")) == 128
    assert common_prefix_length(parse_address("8000::"), bytes(16)) == 0


@pytest.mark.parametrize(
    ("address", "number"),
    [("::1", 2), ("fe80::1", 2), ("fec0::1", 5), ("fd00::1", 14), ("2001:db8::1", 14), ("ff02::1", 2), ("ff0e::1", 14)],
)
def test_scopes_are_those_of_section_3_1(address: str, number: int) -> None:
    assert scope(parse_address(address)) == number


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("::1", 0), ("::", 3), ("2001:db8::1", 1), ("::ffff:1.2.3.4", 4), ("2002::1", 2), ("2001::1", 5),
        ("fd00::1", 13), ("::1.2.3.4", 3), ("fec0::1", 11), ("3ffe::1", 12), ("ff02::1", 1),
    ],
)  # fmt: skip
def test_labels_are_those_of_section_2_1(address: str, number: int) -> None:
    assert label(parse_address(address)) == number


@pytest.mark.parametrize(
    ("destination", "source"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.5.5.5", "127.0.0.1"), ("10.9.0.2", "10.9.0.2"), ("::1", "::1"),
        ("fd00::2", "fd00::2"),
    ],
)  # fmt: skip
def test_to_itself_the_host_sends_from_the_same_address(destination: str, source: str) -> None:
    """127.0.0.1 for the rest of 127.0.0.0/8, as on Linux."""
    assert chosen(Host(), destination) == source


@requirement("RFC1122", "3.3.4.3")
def test_ipv4_takes_the_address_in_the_destinations_network() -> None:
    """RFC 1122 §3.3.4.3 (b)."""
    host = Host()
    host.layer.add_address(host.tun, InterfaceAddress.parse("10.10.0.2/16"))
    host.layer.add_address(host.tun, InterfaceAddress.parse("10.10.7.2/24"))
    assert chosen(host, "10.9.0.77") == "10.9.0.2"
    assert chosen(host, "10.10.9.1") == "10.10.0.2"
    assert chosen(host, "10.10.7.1") == "10.10.7.2"


def test_ipv4_takes_the_address_in_the_gateways_network() -> None:
    host = Host()
    host.layer.add_address(host.tun, InterfaceAddress.parse("10.10.0.2/16"))
    host.layer.routes.add(Route(DEFAULT_IPV4, host.tun, parse_address("10.10.0.1")))
    assert chosen(host, "8.8.8.8") == "10.10.0.2"


def test_ipv4_takes_the_first_address_where_no_rule_decides() -> None:
    host = Host()
    host.layer.add_address(host.tun, InterfaceAddress.parse("10.10.0.2/16"))
    host.layer.routes.add(Route(DEFAULT_IPV4, host.tun))
    assert chosen(host, "8.8.8.8") == "10.9.0.2"


def test_ipv4_prefers_an_address_that_is_not_link_local() -> None:
    """RFC 3927 §2.6.1."""
    host = Host()
    link = host.add("link", 1500, "169.254.1.1/16", "192.168.7.1/24")
    host.layer.routes.add(Route(DEFAULT_IPV4, link))
    assert chosen(host, "8.8.8.8") == "192.168.7.1"
    assert chosen(host, "169.254.9.9") == "169.254.1.1"


def test_a_route_may_say_from_where() -> None:
    host = Host()
    host.add("other", 1500, "192.168.7.1/24")
    host.layer.routes.add(Route(Prefix(PEER4, 32), host.tun, source=parse_address("192.168.7.1")))
    assert chosen(host, "10.9.0.1") == "192.168.7.1"


def test_a_route_from_an_address_that_is_gone_goes_too() -> None:
    host = Host()
    other = host.add("other", 1500, "192.168.7.1/24")
    host.layer.routes.add(Route(Prefix(PEER4, 32), host.tun, source=parse_address("192.168.7.1")))
    host.layer.remove_address(other, InterfaceAddress.parse("192.168.7.1/24"))
    assert chosen(host, "10.9.0.1") == "10.9.0.2"


def test_an_interface_without_addresses_borrows_one_but_not_loopbacks() -> None:
    """RFC 1122 §3.3.4.2."""
    host = Host()
    bare = host.add("bare", 1500)
    host.layer.routes.add(Route(DEFAULT_IPV4, bare))
    assert chosen(host, "8.8.8.8") == "10.9.0.2"
    host.layer.remove_interface(host.tun)
    with raises_errno(errno.EADDRNOTAVAIL):
        host.layer.select_source(parse_address("8.8.8.8"))


def test_a_link_local_destination_gets_no_source_of_another_link() -> None:
    """RFC 6724 §4."""
    host = Host()
    bare = host.add("bare", 1500)
    with raises_errno(errno.EADDRNOTAVAIL):
        host.layer.select_source(parse_address("fe80::9"), bare)
    host.layer.add_address(bare, InterfaceAddress.parse("fe80::5/64"))
    assert host.layer.select_source(parse_address("fe80::9"), bare) == parse_address("fe80::5")


def test_a_global_destination_gets_no_link_local_source_of_another_link() -> None:
    host = Host()
    host.layer.remove_interface(host.tun)
    host.add("one", 1500, "fe80::1/64")
    two = host.add("two", 1500)
    host.layer.routes.add(Route(DEFAULT_IPV6, two))
    with raises_errno(errno.EADDRNOTAVAIL):
        host.layer.select_source(parse_address("2001:db8::1"))


def test_without_a_route_there_is_no_source() -> None:
    for destination in ("8.8.8.8", "2001:db8::1"):
        with raises_errno(errno.ENETUNREACH):
            Host().layer.select_source(parse_address(destination))


def test_a_choice_is_remembered_until_addresses_or_routes_change() -> None:
    host = Host()
    assert [host.layer.select_source(PEER4) for _ in range(2)] == [HOST4, HOST4]
    host.layer.add_address(host.tun, InterfaceAddress.parse("10.9.0.3/28"))
    assert host.layer.select_source(PEER4) == parse_address("10.9.0.3")
    other = host.add("other", 1500, "fd07::1/64")
    assert host.layer.select_source(PEER6) == HOST6
    host.layer.routes.add(Route(Prefix(PEER6, 128), other))
    assert host.layer.select_source(PEER6) == parse_address("fd07::1")


def test_the_memory_of_choices_is_bounded() -> None:
    host = Host()
    host.layer.routes.add(Route(DEFAULT_IPV4, host.tun))
    for number in range(3000):
        host.layer.select_source(bytes((20, 0)) + number.to_bytes(2, "big"))
    assert len(host.layer._sources) <= 1024

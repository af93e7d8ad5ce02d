"""The routing table against a naive model, and the layer's decisions where to send."""

import errno
import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.counting import lines_run
from tests.support.ip_host import HOST, HOST4, HOST6, PEER, PEER4, PEER6, Host
from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from ustack.address import InterfaceAddress, Prefix, parse_address
from ustack.ip.interface import Interface
from ustack.ip.routing import DEFAULT_IPV4, DEFAULT_IPV6, Route, RouteMetrics, RoutingTable

VERSIONS = pytest.mark.parametrize("version", [4, 6])
INTERFACES = [Host().add(name, 1500) for name in ("a", "b", "c")]


@st.composite
def tables(draw: Any) -> tuple[int, list[Route]]:
    """Routes of one version, among few addresses so that they cover each other."""
    version = draw(st.sampled_from((4, 6)))
    size = 4 if version == 4 else 16
    routes = []
    for _ in range(draw(st.integers(0, 25))):
        length = draw(st.one_of(st.integers(0, size * 8), st.sampled_from((0, 8, 16, size * 8))))
        address = bytes(draw(st.lists(st.sampled_from((0, 10, 255)), min_size=size, max_size=size)))
        gateway = draw(st.sampled_from((None, bytes(size - 1) + b"\x01")))
        prefix = InterfaceAddress(address, length).prefix
        routes.append(Route(prefix, draw(st.sampled_from(INTERFACES)), gateway, draw(st.integers(0, 3))))
    return version, routes


def same_way(one: Route, other: Route) -> bool:
    return (one.prefix, one.interface, one.gateway, one.metric) == (
        other.prefix, other.interface, other.gateway, other.metric,
    )  # fmt: skip


def naive_lookup(routes: list[Route], destination: bytes, interface: Interface | None) -> tuple[int, int] | None:
    """The prefix length and metric of the best route."""
    address = ipaddress.ip_address(destination)
    fitting = [
        (-route.prefix.length, route.metric)
        for route in routes
        if address in ipaddress.ip_network((route.prefix.network, route.prefix.length))
        and (interface is None or route.interface is interface)
    ]
    return min(fitting, default=None)


@requirement("RFC1122", "3.3.1")
@given(tables(), st.data())
@settings(max_examples=200)
def test_a_lookup_finds_what_a_search_through_all_routes_finds(drawn: tuple[int, list[Route]], data: Any) -> None:
    version, routes = drawn
    size = 4 if version == 4 else 16
    table, model = RoutingTable(), list[Route]()
    for route in routes:
        table.add(route)
        model = [each for each in model if not same_way(each, route)] + [route]
    for _ in range(4):
        if model and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(model))
            removed = table.remove(gone.prefix, gone.interface, gone.gateway, gone.metric)
            model_before = len(model)
            model = [
                each
                for each in model
                if not (
                    (each.prefix, each.interface, each.metric) == (gone.prefix, gone.interface, gone.metric)
                    and gone.gateway in (None, each.gateway)
                )
            ]
            assert removed == model_before - len(model)
        assert len(table) == len(model)
        destination = bytes(data.draw(st.lists(st.sampled_from((0, 10, 255)), min_size=size, max_size=size)))
        interface = data.draw(st.sampled_from((None, *INTERFACES)))
        found = table.lookup(destination, interface)
        expected = naive_lookup(model, destination, interface)
        assert (None if found is None else (-found.prefix.length, found.metric)) == expected
        assert found is None or (found in model and interface in (None, found.interface))


def test_a_lookup_costs_the_same_with_ten_routes_and_ten_thousand() -> None:
    small, great = RoutingTable(), RoutingTable()
    for number in range(10_000):
        route = Route(Prefix(bytes((20, number >> 8, number & 0xFF, 0)), 24), INTERFACES[0])
        great.add(route)
        if number < 10:
            small.add(route)
    assert costs_of_lookups(small) == costs_of_lookups(great)


def costs_of_lookups(table: RoutingTable) -> list[int]:
    """The first, and the one that remembers."""
    return [lines_run(lambda: table.lookup(bytes((20, 0, 5, 1)))) for _ in range(2)]


def test_the_memory_of_destinations_is_bounded() -> None:
    table = RoutingTable()
    table.add(Route(DEFAULT_IPV4, INTERFACES[0]))
    for number in range(5000):
        table.lookup(number.to_bytes(4, "big"))
    assert len(table._remembered) <= 1024


@VERSIONS
def test_routes_of_an_interface_that_is_down_are_passed_over(version: int) -> None:
    host = Host()
    other = host.add("other", 1500, "192.168.7.1/24", "fd07::1/64")
    default = DEFAULT_IPV4 if version == 4 else DEFAULT_IPV6
    host.layer.routes.add(Route(default, other))
    assert host.layer.output_interface(PEER[version]) is host.tun
    host.tun.up = False
    assert host.layer.output_interface(PEER[version]) is other
    other.up = False
    with raises_errno(errno.ENETUNREACH):
        host.layer.route(PEER[version])
    host.tun.up = True
    assert host.layer.output_interface(PEER[version]) is host.tun


def test_of_equal_routes_the_one_by_the_sources_interface_is_taken() -> None:
    host = Host()
    other = host.add("other", 1500, "10.9.0.3/24")
    source = parse_address("10.9.0.3")
    assert host.layer.route(PEER4).interface is host.tun
    assert host.layer.route(PEER4, source).interface is other
    assert host.layer.route(PEER4, parse_address("1.2.3.4")).interface is host.tun
    host.layer.routes.add(Route(Prefix(PEER4, 32), host.tun))
    assert host.layer.route(PEER4, source).interface is host.tun, "a longer prefix comes first"


@requirement("RFC1122", "3.3.1")
def test_the_least_metric_wins() -> None:
    table = RoutingTable()
    table.add(Route(DEFAULT_IPV4, INTERFACES[0], metric=20))
    table.add(Route(DEFAULT_IPV4, INTERFACES[1], metric=10))
    found = table.lookup(PEER4)
    assert found is not None
    assert found.interface is INTERFACES[1]


@VERSIONS
def test_a_connected_network_has_a_route_as_long_as_it_has_an_address(version: int) -> None:
    host = Host()
    first = next(each for each in host.tun.addresses if each.address == HOST[version])
    second = InterfaceAddress(PEER[version][:-1] + b"\x63", first.prefix_length)
    host.layer.add_address(host.tun, second)
    host.layer.remove_address(host.tun, first)
    assert host.layer.output_interface(PEER[version]) is host.tun
    host.layer.remove_address(host.tun, second)
    with raises_errno(errno.ENETUNREACH):
        host.layer.route(PEER[version])


def test_an_interface_is_removed_with_its_routes_and_addresses() -> None:
    host = Host()
    other = host.add("other", 1500, "192.168.7.1/24")
    host.layer.routes.add(Route(DEFAULT_IPV4, other, parse_address("192.168.7.254")))
    host.layer.remove_interface(other)
    assert other not in host.layer.interfaces
    assert not host.layer.is_local(parse_address("192.168.7.1"))
    assert not host.layer.is_broadcast(parse_address("192.168.7.255"))
    with raises_errno(errno.ENETUNREACH):
        host.layer.route(parse_address("192.168.7.9"))


@VERSIONS
@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL])
def test_a_route_may_reject(version: int, number: int) -> None:
    host = Host()
    host.layer.routes.add(Route(Prefix(PEER[version], len(PEER[version]) * 8), host.layer.loopback, reject=number))
    with raises_errno(number):
        host.layer.send(HOST[version], PEER[version], 17, b"x", host.now)


@VERSIONS
def test_without_a_route_the_network_is_unreachable(version: int) -> None:
    host = Host()
    for address in ("8.8.8.8", "0.0.0.0") if version == 4 else ("2001:db8::1", "::"):
        with raises_errno(errno.ENETUNREACH):
            host.layer.route(parse_address(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.200.0.1", "10.9.0.2", "::1", "fd00::2"])
def test_what_is_local_goes_to_the_loopback_interface(address: str) -> None:
    host = Host()
    destination = parse_address(address)
    assert host.layer.is_local(destination)
    assert host.layer.output_interface(destination) is host.layer.loopback
    assert host.layer.mtu_for(destination, host.now) == 65535


@requirement("RFC1122", "3.2.1.3/loopback")
@pytest.mark.parametrize(("source", "destination"), [("127.0.0.1", PEER4), ("::1", PEER6)])
def test_a_loopback_source_does_not_leave_the_host(source: str, destination: bytes) -> None:
    """RFC 1122 §3.2.1.3 (g), RFC 4291 §2.5.3."""
    with raises_errno(errno.EINVAL):
        Host().layer.send(parse_address(source), destination, 17, b"x", 0)


@pytest.mark.parametrize("group", ["224.0.0.1", "239.1.2.3", "255.255.255.255"])
def test_an_ipv4_group_leaves_by_the_sources_interface(group: str) -> None:
    host = Host()
    other = host.add("other", 1500, "192.168.7.1/24")
    destination = parse_address(group)
    assert host.layer.route(destination).interface is host.tun
    assert host.layer.route(destination, parse_address("192.168.7.1")).interface is other
    assert host.layer.route(destination, HOST4, other).interface is other
    host.layer.routes.add(Route(DEFAULT_IPV4, host.tun))
    assert host.layer.route(destination, parse_address("192.168.7.1")).interface is other
    host.layer.routes.add(Route(Prefix(destination, 32), host.tun))
    assert host.layer.route(destination, parse_address("192.168.7.1")).interface is host.tun, "its own route"


def test_a_group_without_any_interface_is_unreachable() -> None:
    host = Host()
    host.layer.remove_interface(host.tun)
    for group in ("224.0.0.1", "ff02::1"):
        with raises_errno(errno.ENETUNREACH):
            host.layer.route(parse_address(group))


def test_what_is_asked_of_one_interface_is_taken_to_be_on_its_link() -> None:
    """IPv4 as Linux does; link-local IPv6; other IPv6 needs a route."""
    host = Host()
    bare = host.add("bare", 1500)
    assert host.layer.route(parse_address("8.8.8.8"), None, bare).interface is bare
    assert host.layer.route(parse_address("fe80::1"), None, bare).interface is bare
    with raises_errno(errno.ENETUNREACH):
        host.layer.route(parse_address("2001:db8::1"), None, bare)
    bare.up = False
    with raises_errno(errno.ENETUNREACH):
        host.layer.route(parse_address("8.8.8.8"), None, bare)


def test_a_route_may_have_its_own_mtu() -> None:
    host = Host()
    host.layer.routes.add(Route(Prefix(PEER4, 32), host.tun, metrics=RouteMetrics(mtu=1300)))
    assert host.layer.mtu_for(PEER4, 0) == 1300
    host.layer.routes.add(Route(Prefix(PEER4, 32), host.tun, metrics=RouteMetrics(mtu=9000)))
    assert host.layer.mtu_for(PEER4, 0) == 1500


def test_the_unspecified_address_means_this_host() -> None:
    """As on Linux, for connect and sendto."""
    layer = Host().layer
    assert layer.resolve_unspecified(bytes(4)) == parse_address("127.0.0.1")
    assert layer.resolve_unspecified(bytes(16)) == parse_address("::1")
    assert layer.resolve_unspecified(bytes(4), HOST4) == HOST4
    assert layer.resolve_unspecified(bytes(16), bytes(16)) == parse_address("::1")
    assert layer.resolve_unspecified(PEER6, HOST6) == PEER6


@pytest.mark.parametrize(
    ("mtu", "address", "number"),
    [
        (1500, "0.0.0.0/0", errno.EADDRNOTAVAIL),
        (1500, "224.0.0.5/24", errno.EADDRNOTAVAIL),
        (1500, "ff02::5/64", errno.EADDRNOTAVAIL),
        (1500, "::ffff:1.2.3.4/128", errno.EADDRNOTAVAIL),
        (1279, "fd01::1/64", errno.EINVAL),
        (67, "10.1.0.1/24", errno.EINVAL),
        (65536, "10.1.0.1/24", errno.EINVAL),
    ],
)
def test_an_interface_that_cannot_be_is_refused(mtu: int, address: str, number: int) -> None:
    with raises_errno(number):
        Host().add("bad", mtu, address)


def test_names_and_addresses_are_given_once() -> None:
    host = Host()
    with raises_errno(errno.EEXIST):
        host.add("tun", 1500)
    with raises_errno(errno.EEXIST):
        host.layer.add_address(host.tun, InterfaceAddress(HOST4, 16))
    with raises_errno(errno.EADDRNOTAVAIL):
        host.layer.remove_address(host.tun, InterfaceAddress(PEER4, 24))


def test_a_changed_mtu_is_known_to_the_burst_too() -> None:
    host = Host()
    host.tun.set_mtu(1400)
    assert host.layer.mtu_for(PEER4, 0) == 1400
    assert host.tun.outgoing.cdata.mtu == 1400

"""Binding, sharing and finding ports: single behaviours, and what each call costs."""

from __future__ import annotations

import errno
from collections import Counter

import pytest

from tests.support.counting import lines_run
from tests.support.endpoints import bare_endpoint
from tests.support.raising import raises_errno
from ustack.address import ANY_IPV4, ANY_IPV6
from ustack.constants import AF_INET6, IPPROTO_TCP, IPPROTO_UDP
from ustack.drops import Drop, DropReason
from ustack.endpoint import Endpoint
from ustack.entropy import SeededEntropy
from ustack.ports import Binding, PortTable

LOCAL = bytes((10, 0, 0, 1))
OTHER = bytes((10, 0, 0, 9))
REMOTE = bytes((10, 0, 0, 2))
LOCAL6 = bytes(15) + b"\x07"
REMOTE6 = bytes(15) + b"\x08"


@pytest.fixture
def table() -> PortTable:
    return PortTable(SeededEntropy(7), (1024, 65535))


def listener(table: PortTable, address: bytes, port: int = 80, family: int = 2, **options: bool) -> Binding:
    binding = table.bind(bare_endpoint(family, **options), IPPROTO_TCP, address, port)
    table.listen(binding)
    return binding


def udp(table: PortTable, address: bytes, port: int = 53, family: int = 2, **options: bool) -> Binding:
    return table.bind(bare_endpoint(family, **options), IPPROTO_UDP, address, port)


def assert_in_use(table: PortTable, protocol: int, address: bytes, port: int, endpoint: Endpoint) -> None:
    with raises_errno(errno.EADDRINUSE):
        table.bind(endpoint, protocol, address, port)


def test_the_bound_address_goes_before_the_wildcard(table: PortTable) -> None:
    wildcard = udp(table, ANY_IPV4, reuse_address=True)
    bound = udp(table, LOCAL, reuse_address=True)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is bound.endpoint
    assert table.lookup(IPPROTO_UDP, OTHER, 53, REMOTE, 9) is wildcard.endpoint


def test_a_connected_socket_goes_before_one_bound_to_the_address(table: PortTable) -> None:
    connected = udp(table, LOCAL, reuse_address=True)
    table.connect(connected, REMOTE, 9)
    bound = udp(table, LOCAL, reuse_address=True)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is connected.endpoint
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 10) is bound.endpoint


def test_a_connected_socket_takes_nothing_from_others(table: PortTable) -> None:
    connected = udp(table, LOCAL)
    table.connect(connected, REMOTE, 9)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, OTHER, 9) is None
    table.disconnect(connected)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, OTHER, 9) is connected.endpoint


def test_the_last_socket_bound_to_an_address_gets_its_datagrams(table: PortTable) -> None:
    bindings = [udp(table, LOCAL, reuse_address=True) for _ in range(3)]
    for newest in reversed(bindings):
        assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is newest.endpoint
        table.release(newest)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is None


def test_releasing_in_the_middle_keeps_the_order_of_the_others(table: PortTable) -> None:
    oldest, middle, newest = (udp(table, LOCAL, reuse_address=True) for _ in range(3))
    table.release(middle)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is newest.endpoint
    table.release(newest)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is oldest.endpoint


def test_a_dual_mode_socket_takes_both_versions_after_sockets_of_one_version(table: PortTable) -> None:
    dual = listener(table, ANY_IPV6, family=AF_INET6)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is dual.endpoint
    assert table.lookup(IPPROTO_TCP, LOCAL6, 80, REMOTE6, 9) is dual.endpoint
    assert_in_use(table, IPPROTO_TCP, ANY_IPV4, 80, bare_endpoint())
    assert_in_use(table, IPPROTO_TCP, LOCAL, 80, bare_endpoint())


def test_an_ipv4_wildcard_goes_before_a_newer_dual_mode_one(table: PortTable) -> None:
    ipv4 = udp(table, ANY_IPV4, reuse_address=True)
    dual = udp(table, ANY_IPV6, family=AF_INET6, reuse_address=True)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is ipv4.endpoint
    assert table.lookup(IPPROTO_UDP, LOCAL6, 53, REMOTE6, 9) is dual.endpoint


def test_an_ipv6_only_socket_leaves_the_ipv4_port_to_another(table: PortTable) -> None:
    ipv6 = listener(table, ANY_IPV6, family=AF_INET6, ipv6_only=True)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is None
    ipv4 = listener(table, ANY_IPV4)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is ipv4.endpoint
    assert table.lookup(IPPROTO_TCP, LOCAL6, 80, REMOTE6, 9) is ipv6.endpoint


@pytest.mark.parametrize("dual_first", [True, False])
def test_of_two_ipv6_wildcards_the_newer_gets_ipv6(table: PortTable, dual_first: bool) -> None:
    first = udp(table, ANY_IPV6, family=AF_INET6, reuse_address=True, ipv6_only=not dual_first)
    second = udp(table, ANY_IPV6, family=AF_INET6, reuse_address=True, ipv6_only=dual_first)
    assert table.lookup(IPPROTO_UDP, LOCAL6, 53, REMOTE6, 9) is second.endpoint
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is (first if dual_first else second).endpoint


def test_a_tcp_socket_that_is_bound_takes_nothing_until_it_listens(table: PortTable) -> None:
    binding = table.bind(bare_endpoint(), IPPROTO_TCP, LOCAL, 80)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is None
    table.listen(binding)
    table.listen(binding)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is binding.endpoint
    table.stop_listening(binding)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is None
    assert_in_use(table, IPPROTO_TCP, LOCAL, 80, bare_endpoint())


def test_two_sockets_may_share_a_port_by_reuseaddr_but_only_one_may_listen(table: PortTable) -> None:
    first = table.bind(bare_endpoint(reuse_address=True), IPPROTO_TCP, LOCAL, 80)
    second = table.bind(bare_endpoint(reuse_address=True), IPPROTO_TCP, LOCAL, 80)
    table.listen(first)
    with raises_errno(errno.EADDRINUSE):
        table.listen(second)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is first.endpoint
    table.release(first)
    table.listen(second)
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is second.endpoint


def test_a_server_may_bind_again_with_reuseaddr_while_its_old_connections_live(table: PortTable) -> None:
    old = listener(table, ANY_IPV4, reuse_address=True)
    child = table.share(old, bare_endpoint(), LOCAL)
    table.release(old)
    assert_in_use(table, IPPROTO_TCP, LOCAL, 80, bare_endpoint())
    assert_in_use(table, IPPROTO_TCP, ANY_IPV4, 80, bare_endpoint())
    table.bind(bare_endpoint(), IPPROTO_TCP, OTHER, 80)
    table.listen(table.bind(bare_endpoint(reuse_address=True), IPPROTO_TCP, LOCAL, 80))
    table.release(child)


def test_a_child_without_its_own_address_holds_its_listeners(table: PortTable) -> None:
    old = listener(table, ANY_IPV6, family=AF_INET6)
    table.share(old, bare_endpoint(AF_INET6))
    table.release(old)
    assert_in_use(table, IPPROTO_TCP, LOCAL, 80, bare_endpoint())


def test_a_successor_of_the_bound_endpoint_is_found_in_its_place(table: PortTable) -> None:
    binding = listener(table, LOCAL)
    binding.endpoint = bare_endpoint()
    assert table.lookup(IPPROTO_TCP, LOCAL, 80, REMOTE, 9) is binding.endpoint


def test_tcp_and_udp_have_ports_of_their_own(table: PortTable) -> None:
    listener(table, LOCAL, 53)
    udp(table, LOCAL, 53)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is not table.lookup(IPPROTO_TCP, LOCAL, 53, REMOTE, 9)


@pytest.mark.parametrize("ports", [(0, 9), (80, 0), (0, 0)])
def test_tcp_port_zero_is_refused(table: PortTable, ports: tuple[int, int]) -> None:
    listener(table, LOCAL)
    with pytest.raises(Drop) as caught:
        table.lookup(IPPROTO_TCP, LOCAL, ports[0], REMOTE, ports[1])
    assert caught.value.reason is DropReason.TCP_PORT_ZERO


def test_a_udp_datagram_from_port_zero_finds_its_socket(table: PortTable) -> None:
    binding = udp(table, LOCAL)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 0) is binding.endpoint


def test_moving_to_the_address_learned_by_connecting_frees_the_others(table: PortTable) -> None:
    binding = udp(table, ANY_IPV4)
    assert_in_use(table, IPPROTO_UDP, OTHER, 53, bare_endpoint())
    table.move(binding, LOCAL)
    udp(table, OTHER)
    table.move(binding, ANY_IPV4)
    assert table.lookup(IPPROTO_UDP, REMOTE, 53, OTHER, 1) is binding.endpoint


def test_moving_back_makes_a_dual_mode_socket_dual_again(table: PortTable) -> None:
    binding = udp(table, ANY_IPV6, family=AF_INET6)
    table.move(binding, LOCAL)
    assert table.lookup(IPPROTO_UDP, LOCAL6, 53, REMOTE6, 9) is None
    table.move(binding, ANY_IPV6)
    assert table.lookup(IPPROTO_UDP, LOCAL6, 53, REMOTE6, 9) is binding.endpoint
    assert table.lookup(IPPROTO_UDP, OTHER, 53, REMOTE, 9) is binding.endpoint


def test_options_changed_after_binding_count_once_refreshed(table: PortTable) -> None:
    binding = udp(table, LOCAL)
    assert_in_use(table, IPPROTO_UDP, LOCAL, 53, bare_endpoint(reuse_address=True))
    binding.endpoint.options.reuse_address = True
    table.refresh(binding)
    later = udp(table, LOCAL, reuse_address=True)
    binding.endpoint.options.reuse_address = False
    table.refresh(binding)
    assert_in_use(table, IPPROTO_UDP, LOCAL, 53, bare_endpoint(reuse_address=True))
    table.release(later)
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9) is binding.endpoint


def test_a_reuseport_group_spreads_flows_and_keeps_each_on_one_member(table: PortTable) -> None:
    members = [udp(table, ANY_IPV4, reuse_port=True) for _ in range(4)]
    chosen = {port: table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, port) for port in range(1, 4001)}
    shares = Counter(chosen.values())
    assert set(shares) == {member.endpoint for member in members}
    assert all(800 < share < 1200 for share in shares.values())
    assert chosen == {port: table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, port) for port in range(1, 4001)}


def test_the_spread_of_a_group_is_secret(table: PortTable) -> None:
    other = PortTable(SeededEntropy(8), (1024, 65535))
    indexes = []
    for one in (table, other):
        members = [udp(one, ANY_IPV4, reuse_port=True).endpoint for _ in range(4)]
        indexes.append([members.index(one.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, port)) for port in range(64)])
    assert indexes[0] != indexes[1]


def test_members_leave_a_group_in_any_order(table: PortTable) -> None:
    members = [udp(table, ANY_IPV4, reuse_port=True) for _ in range(6)]
    for index in (0, 4, 1, 0, 1, 0):
        gone = members.pop(index)
        table.release(gone)
        chosen = {table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, port) for port in range(200)}
        assert chosen == ({member.endpoint for member in members} or {None})


def test_a_connected_member_leaves_the_group_until_it_disconnects(table: PortTable) -> None:
    members = [udp(table, LOCAL, reuse_port=True) for _ in range(3)]
    table.connect(members[0], REMOTE, 5)
    chosen = {table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, port) for port in range(6, 200)}
    assert chosen == {members[1].endpoint, members[2].endpoint}
    assert table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 5) is members[0].endpoint


def test_a_copy_goes_to_every_socket_that_matches_and_to_no_other(table: PortTable) -> None:
    group = bytes((224, 0, 0, 251))
    matching = [udp(table, place, reuse_address=True) for place in (ANY_IPV4, group, ANY_IPV4)]
    matching.append(udp(table, ANY_IPV6, family=AF_INET6, reuse_address=True))
    udp(table, LOCAL, reuse_address=True)
    udp(table, ANY_IPV6, family=AF_INET6, reuse_address=True, ipv6_only=True)
    connected, elsewhere = (udp(table, group, reuse_address=True) for _ in range(2))
    table.connect(connected, REMOTE, 9)
    table.connect(elsewhere, REMOTE, 10)
    found = table.matching(IPPROTO_UDP, group, 53, REMOTE, 9)
    assert len(found) == 5
    assert set(found) == {binding.endpoint for binding in [*matching, connected]}
    assert table.matching(IPPROTO_UDP, group, 54, REMOTE, 9) == []


# What calls cost: the lines they run, which time follows.

CROWD = 20_000


def crowd_of_addresses(table: PortTable, count: int) -> None:
    for index in range(1, count + 1):
        table.bind(bare_endpoint(), IPPROTO_UDP, index.to_bytes(4, "big"), 53)


def crowd_on_one_address(table: PortTable, count: int) -> None:
    for _ in range(count):
        udp(table, LOCAL, reuse_address=True, reuse_port=True)


def crowd_of_connections(table: PortTable, count: int) -> None:
    parent = udp(table, LOCAL, reuse_address=True)
    for index in range(1, count + 1):
        child = table.share(parent, bare_endpoint(reuse_address=True), LOCAL)
        table.connect(child, index.to_bytes(4, "big"), 9)


@pytest.mark.parametrize("crowd", [crowd_of_addresses, crowd_on_one_address, crowd_of_connections])
def test_a_lookup_costs_the_same_in_any_crowd(table: PortTable, crowd: object) -> None:
    costs = []
    for count in (10, CROWD):
        one = PortTable(SeededEntropy(7), (1024, 65535))
        crowd(one, count)  # type: ignore[operator]
        costs.append([
            lines_run(lambda one=one, port=port, local=local: one.lookup(IPPROTO_UDP, local, 53, REMOTE, port))
            for port in (9, 77) for local in (LOCAL, bytes((0, 0, 0, 5)), OTHER)
        ])  # fmt: skip
    assert costs[0] == costs[1]


@pytest.mark.parametrize("crowd", [crowd_of_addresses, crowd_on_one_address, crowd_of_connections])
def test_binding_and_releasing_cost_the_same_in_any_crowd(table: PortTable, crowd: object) -> None:
    costs = []
    for count in (10, CROWD):
        one = PortTable(SeededEntropy(7), (1024, 65535))
        crowd(one, count)  # type: ignore[operator]
        endpoint = bare_endpoint(reuse_address=True, reuse_port=True)
        binding = one.bind(endpoint, IPPROTO_UDP, OTHER, 53)
        costs.append([
            lines_run(lambda one=one, binding=binding: one.release(binding)),
            lines_run(lambda one=one, endpoint=endpoint: one.bind(endpoint, IPPROTO_UDP, OTHER, 53)),
            lines_run(lambda one=one: one.is_free(IPPROTO_UDP, ANY_IPV4, 53)),
        ])  # fmt: skip
    assert costs[0] == costs[1]


def test_releasing_the_newest_again_and_again_leaves_nothing_to_step_over(table: PortTable) -> None:
    bindings = [udp(table, LOCAL, reuse_address=True) for _ in range(CROWD)]
    before = lines_run(lambda: table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9))
    for binding in reversed(bindings[1:]):
        table.release(binding)
    assert lines_run(lambda: table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, 9)) == before

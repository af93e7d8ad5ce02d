"""Ephemeral ports: RFC 6056."""

from __future__ import annotations

import errno
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.endpoints import bare_endpoint
from ustack.address import ANY_IPV4, ANY_IPV6
from ustack.constants import AF_INET6, IPPROTO_TCP, IPPROTO_UDP
from ustack.entropy import SeededEntropy
from ustack.ports import PortTable
from ustack.ports.ephemeral import EphemeralPorts

LOCAL = bytes((10, 0, 0, 1))
OTHER = bytes((10, 0, 0, 3))
REMOTE = bytes((10, 0, 0, 2))


def table_of(first: int, last: int, seed: int = 1) -> PortTable:
    return PortTable(SeededEntropy(seed), (first, last))


@given(
    st.integers(1, 65535),
    st.integers(0, 300),
    st.one_of(st.none(), st.binary(min_size=4, max_size=4)),
    st.integers(0, 2**32),
)
def test_every_port_of_the_range_is_tried_once(first: int, more: int, remote: bytes | None, seed: int) -> None:
    last = min(first + more, 65535)
    ephemeral = EphemeralPorts(SeededEntropy(seed), first, last)
    for _ in range(3):
        assert sorted(ephemeral.ports(LOCAL, remote, 80)) == list(range(first, last + 1))


def test_ports_come_from_1024_up_and_from_the_whole_range() -> None:
    ephemeral = EphemeralPorts(SeededEntropy(3), 1024, 65535)
    picked = [next(ephemeral.ports(LOCAL, None, 0)) for _ in range(5000)]
    assert min(picked) >= 1024
    assert min(picked) < 2000
    assert max(picked) > 64000
    assert len(set(picked)) > 4500


def test_ports_to_one_remote_endpoint_follow_one_another() -> None:
    ephemeral = EphemeralPorts(SeededEntropy(3), 1024, 65535)
    first, second, third = (next(ephemeral.ports(LOCAL, REMOTE, 80)) for _ in range(3))
    assert (second - first) % 64512 == 1
    assert (third - second) % 64512 == 1


def test_a_remote_endpoint_learns_nothing_of_the_ports_to_others() -> None:
    ephemeral = EphemeralPorts(SeededEntropy(3), 1024, 65535)
    before = next(ephemeral.ports(LOCAL, REMOTE, 80))
    elsewhere = {next(ephemeral.ports(LOCAL, OTHER, port)) for port in range(100)}
    assert (next(ephemeral.ports(LOCAL, REMOTE, 80)) - before) % 64512 <= 2
    assert len(elsewhere) > 90
    assert max(elsewhere) - min(elsewhere) > 30000


def test_the_order_depends_on_the_secret() -> None:
    picked = {next(EphemeralPorts(SeededEntropy(seed), 1024, 65535).ports(LOCAL, REMOTE, 80)) for seed in range(50)}
    assert len(picked) > 45


def test_the_same_seed_gives_the_same_ports() -> None:
    sequences = []
    for _ in range(2):
        ephemeral = EphemeralPorts(SeededEntropy(9), 1024, 65535)
        sequences.append([*islice(ephemeral.ports(LOCAL, REMOTE, 80), 9), *islice(ephemeral.ports(LOCAL, None, 0), 9)])
    assert sequences[0] == sequences[1]


@pytest.mark.parametrize("limits", [(0, 10), (10, 9), (1, 65536), (-1, 5)])
def test_an_impossible_range_is_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="range"):
        EphemeralPorts(SeededEntropy(1), *limits)


@pytest.mark.parametrize("remote", [None, REMOTE])
def test_a_port_that_is_held_is_never_picked(remote: bytes | None) -> None:
    table = table_of(1024, 1123)
    bindings = [
        table.bind(bare_endpoint(reuse_address=True, reuse_port=True), IPPROTO_UDP, LOCAL, 0, remote=remote)
        for _ in range(100)
    ]
    assert {binding.port for binding in bindings} == set(range(1024, 1124))
    with pytest.raises(OSError, match="no ephemeral port") as caught:
        table.bind(bare_endpoint(reuse_address=True), IPPROTO_UDP, LOCAL, 0, remote=remote)
    assert caught.value.errno == (errno.EADDRNOTAVAIL if remote else errno.EADDRINUSE)
    table.release(bindings[37])
    again = table.bind(bare_endpoint(), IPPROTO_UDP, LOCAL, 0, remote=remote)
    assert again.port == bindings[37].port


def test_a_wildcard_avoids_ports_held_on_any_address() -> None:
    table = table_of(1024, 1025)
    table.bind(bare_endpoint(), IPPROTO_TCP, OTHER, 1024)
    assert table.bind(bare_endpoint(AF_INET6), IPPROTO_TCP, ANY_IPV6, 0).port == 1025


def test_an_address_may_take_a_port_that_another_address_holds() -> None:
    table = table_of(1024, 1024)
    table.bind(bare_endpoint(), IPPROTO_TCP, OTHER, 0)
    assert table.bind(bare_endpoint(), IPPROTO_TCP, LOCAL, 0).port == 1024
    with pytest.raises(OSError, match="in use"):
        table.bind(bare_endpoint(), IPPROTO_TCP, ANY_IPV4, 0)


def test_a_port_still_held_by_an_accepted_connection_is_not_picked() -> None:
    table = table_of(1024, 1025)
    listener = table.bind(bare_endpoint(reuse_address=True), IPPROTO_TCP, ANY_IPV4, 1024)
    table.listen(listener)
    child = table.share(listener, bare_endpoint(), LOCAL)
    table.release(listener)
    assert table.bind(bare_endpoint(), IPPROTO_TCP, LOCAL, 0).port == 1025
    table.release(child)
    assert table.bind(bare_endpoint(), IPPROTO_TCP, LOCAL, 0).port == 1024


def test_ports_that_the_caller_knows_to_be_taken_are_avoided() -> None:
    table = table_of(1024, 1030)
    picked = table.bind(bare_endpoint(), IPPROTO_TCP, LOCAL, 0, lambda port: port != 1027, remote=REMOTE, remote_port=1)
    assert picked.port == 1027

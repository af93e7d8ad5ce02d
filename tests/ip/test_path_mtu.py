"""Path MTU discovery: what reports do, how entries age and how many there may be.  RFC 1191, RFC 8201."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ip_host import HOST, PEER, PEER4, PEER6, SECOND, Host
from tests.support.requirement import requirement
from ustack.config import IpConfig
from ustack.ip.path_mtu import PathMtuCache, next_plateau

VERSIONS = pytest.mark.parametrize("version", [4, 6])


@VERSIONS
def test_a_report_lowers_what_is_sent(version: int) -> None:
    host = Host()
    assert host.layer.mtu_for(PEER[version], host.now) == 1500
    assert host.layer.path_mtu.learn(PEER[version], 1400, host.now)
    assert host.layer.mtu_for(PEER[version], host.now) == 1400
    host.layer.send(HOST[version], PEER[version], 99, bytes(2000), host.now)
    assert [len(packet) <= 1400 for packet in host.sent()] == [True, True]


@VERSIONS
def test_a_report_never_raises_it(version: int) -> None:
    """RFC 1191 §3, RFC 8201 §4."""
    cache = PathMtuCache(IpConfig())
    cache.learn(PEER[version], 1400, 0)
    assert not cache.learn(PEER[version], 1450, 0)
    assert not cache.learn(PEER[version], 1400, 0)
    assert cache.get(PEER[version], 0) == 1400


@VERSIONS
def test_a_report_above_the_interfaces_mtu_changes_nothing(version: int) -> None:
    host = Host()
    assert not host.layer.path_mtu.learn(PEER[version], 1500, host.now, current=1500)
    host.layer.path_mtu.learn(PEER[version], 9000, host.now)
    assert host.layer.mtu_for(PEER[version], host.now) == 1500


@VERSIONS
def test_it_is_forgotten_after_its_lifetime(version: int) -> None:
    """RFC 1191 §6.3, RFC 8201 §4: ten minutes."""
    cache = PathMtuCache(IpConfig())
    cache.learn(PEER[version], 1400, SECOND)
    assert cache.get(PEER[version], 601 * SECOND - 1) == 1400
    before = cache.generation
    assert cache.get(PEER[version], 601 * SECOND) is None
    assert len(cache) == 0
    assert cache.generation > before
    assert cache.learn(PEER[version], 1450, 601 * SECOND), "a router may report again"


def test_an_ipv4_report_under_the_floor_is_taken_as_the_floor_and_df_is_given_up() -> None:
    """Linux's min_pmtu: a forged report must not make a host send tiny packets."""
    host = Host()
    assert host.layer.path_mtu.learn(PEER4, 100, host.now)
    assert host.layer.mtu_for(PEER4, host.now) == 552
    assert host.layer.path_mtu.must_allow_fragmentation(PEER4, host.now)
    host.layer.send(HOST[4], PEER4, 99, bytes(100), host.now)
    assert host.only()[6] & 0x40 == 0
    assert not host.layer.path_mtu.must_allow_fragmentation(PEER4, host.now + 600 * SECOND)


def test_a_report_under_the_floor_counts_where_the_floor_was_reached() -> None:
    cache = PathMtuCache(IpConfig())
    cache.learn(PEER4, 552, 0)
    assert not cache.must_allow_fragmentation(PEER4, 0)
    assert not cache.learn(PEER4, 400, 0)
    assert cache.must_allow_fragmentation(PEER4, 0)
    assert cache.get(PEER4, 0) == 552


@requirement("RFC8200", "5")
def test_an_ipv6_path_mtu_is_never_under_1280() -> None:
    cache = PathMtuCache(IpConfig())
    cache.learn(PEER6, 100, 0)
    assert cache.get(PEER6, 0) == 1280
    assert not cache.must_allow_fragmentation(PEER6, 0)


def test_the_number_of_entries_is_bounded_and_the_least_used_goes_first() -> None:
    cache = PathMtuCache(IpConfig(path_mtu_entries=3))
    for number in range(3):
        cache.learn(bytes((10, 0, 0, number)), 1400, 0)
    assert cache.get(bytes((10, 0, 0, 0)), 0) == 1400
    cache.learn(bytes((10, 0, 0, 9)), 1400, 0)
    assert len(cache) == 3
    assert cache.get(bytes((10, 0, 0, 1)), 0) is None
    assert cache.get(bytes((10, 0, 0, 0)), 0) == 1400


def test_what_was_learned_can_be_forgotten() -> None:
    cache = PathMtuCache(IpConfig())
    cache.learn(PEER4, 1400, 0)
    generation = cache.generation
    cache.forget(PEER4)
    cache.forget(PEER4)
    assert cache.get(PEER4, 0) is None
    assert cache.generation == generation + 1


@given(st.integers(0, 70000))
def test_the_next_plateau_is_the_greatest_under_the_length(length: int) -> None:
    plateau = next_plateau(length)
    assert plateau < length or plateau == 68
    between = [each for each in (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68) if each < length]
    assert plateau == max(between, default=68)


REPORTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 70000), st.integers(0, 300)), max_size=40)


@given(st.sampled_from((4, 6)), REPORTS)
def test_between_two_expiries_it_only_falls_and_never_under_the_floor(
    version: int, reports: list[tuple[int, int, int]]
) -> None:
    cache, now = PathMtuCache(IpConfig(path_mtu_entries=4)), 0
    for number, mtu, wait in reports:
        now += wait * SECOND
        destination = PEER[version][:-1] + bytes((number,))
        before = cache.get(destination, now)
        fell = cache.learn(destination, mtu, now)
        after = cache.get(destination, now)
        assert fell is (after is not None and after < (before or 65535))
        if after is not None:
            assert (552 if version == 4 else 1280) <= after <= (before or 65535)
        assert len(cache) <= 4

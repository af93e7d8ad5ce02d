"""What `ip route` can say about the way to a peer, as TCP takes it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.icmp_reports import report_too_big
from tests.support.stream import drain, established, set_option, write
from ustack.address import Prefix
from ustack.config import StackConfig, TcpConfig
from ustack.ip.routing import RouteMetrics
from ustack.sim.peer import Peer

STREAM = bytes(range(256)) * 200


def peer_behind(version: int, config: TcpConfig | None = None, **metrics: Any) -> Peer:
    """A peer whose network has these metrics."""
    peer = Peer(version, StackConfig(tcp=config or TcpConfig()))
    network = Prefix.parse("10.0.0.0/24" if version == 4 else "fd00::/64")
    assert peer.stack.ip.set_route_metrics(network, RouteMetrics(**metrics)) == 1
    return peer


def headers(version: int) -> int:
    """Bytes of IP and TCP header."""
    return 40 if version == 4 else 60


def test_advmss_is_the_mss_that_is_announced(version: int) -> None:
    peer = peer_behind(version, advmss=600)
    peer.listen()
    peer.inject("S", 0)
    assert peer.expect("S.").options.mss == 600
    peer = peer_behind(version, advmss=600)
    peer.connect()
    assert peer.expect("S").options.mss == 600


def test_the_mtu_of_the_route_limits_segments_and_what_is_announced(version: int) -> None:
    peer = peer_behind(version, mtu=1300)
    peer.listen()
    peer.inject("S", 0, mss=1440)
    assert peer.expect("S.").options.mss == 1300 - headers(version)


@pytest.mark.parametrize("locked", [True, False])
def test_a_locked_mtu_is_not_changed_by_reports(version: int, locked: bool) -> None:
    peer = peer_behind(version, mtu=1450, mtu_locked=locked)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:1400])
    report_too_big(peer, drain(peer)[0], 1300)
    assert bool(peer.sent) is not locked
    assert connection.max_segment == (1450 if locked else 1300) - headers(version)


def test_with_a_locked_mtu_packets_may_be_fragmented_on_their_way() -> None:
    peer = peer_behind(4, mtu=1450, mtu_locked=True)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:100])
    assert not drain(peer)[0].frame[6] & 0x40
    set_option(peer, connection, "path_mtu_discovery", 2)
    write(peer, connection, STREAM[:100])
    peer.inject(".", 1, 201)
    assert all(each.frame[6] & 0x40 for each in drain(peer))


@pytest.mark.parametrize("segments", [1, 4, 20])
def test_initcwnd_is_the_first_window(version: int, segments: int) -> None:
    peer = peer_behind(version, initcwnd=segments)
    connection = established(peer, mss=1000)
    write(peer, connection, STREAM[:40_000])
    assert sum(len(each.payload) for each in drain(peer)) == 1000 * segments


def test_a_route_may_ask_for_ecn(version: int) -> None:
    peer = peer_behind(version, TcpConfig(ecn=0), ecn=True)
    peer.connect()
    peer.expect("SEW", 0)
    peer = peer_behind(version, TcpConfig(ecn=0), ecn=True)
    peer.listen()
    peer.inject("SEW", 0)
    peer.expect("SE.", 0, 1)


def test_a_route_may_name_the_congestion_controller(version: int) -> None:
    peer = peer_behind(version, congctl="reno")
    connection = established(peer, mss=1000)
    assert connection.congestion is not None
    assert connection.congestion.name == "reno"


def test_what_was_learned_of_a_path_is_forgotten_with_its_route(version: int) -> None:
    peer = peer_behind(version)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:1400])
    report_too_big(peer, drain(peer)[0], 1300)
    assert peer.stack.ip.mtu_for(peer.remote, peer.now) == 1300
    network = Prefix.parse("10.0.0.0/24" if version == 4 else "fd00::/64")
    peer.stack.ip.set_route_metrics(network, RouteMetrics(mtu=1400))
    assert peer.stack.ip.mtu_for(peer.remote, peer.now) == 1400


def test_a_peer_with_a_small_window_gets_two_segments_into_it(version: int) -> None:
    peer = Peer(version)
    connection = established(peer, window=2000, mss=1440)
    write(peer, connection, STREAM[:5000])
    assert [len(each.payload) for each in drain(peer)] == [1000, 1000]


@pytest.mark.parametrize("least_ms", [30, 700])
def test_rto_min_is_what_the_time_out_adds_to_the_round_trip(version: int, least_ms: int) -> None:
    peer = peer_behind(version, TcpConfig(early_retrans=0), rto_min_ns=least_ms * 1_000_000)
    connection = established(peer, mss=1000)
    write(peer, connection, STREAM[:1000])
    drain(peer)
    peer.advance(10)
    peer.inject(".", 1, 1001)
    assert connection.tcb.rto_ns - connection.tcb.srtt_ns == least_ms * 1_000_000
    write(peer, connection, STREAM[:1000])
    drain(peer)
    peer.advance(connection.tcb.rto_ns // 1_000_000)
    peer.advance(1)
    peer.expect("P.", 1001, 1, STREAM[:1000])


def test_with_rto_min_an_ack_is_delayed_for_less(version: int) -> None:
    """The peer's RTO may be as small."""
    peer = peer_behind(version, rto_min_ns=20_000_000)
    connection = established(peer, mss=1000)
    set_option(peer, connection, "quick_ack", 0)
    peer.inject("P.", 1, 1, payload=b"x" * 100)
    peer.expect_nothing()
    peer.advance(18)
    peer.expect_nothing()
    peer.advance(1)
    peer.expect(".", 1, 101)


@pytest.mark.parametrize("quickack", [False, True])
def test_behind_a_route_with_quickack_no_ack_is_delayed(version: int, quickack: bool) -> None:
    peer = peer_behind(version, quickack=quickack)
    connection = established(peer, mss=1000)
    set_option(peer, connection, "quick_ack", 0)
    peer.inject("P.", 1, 1, payload=b"x" * 100)
    assert len(peer.sent) == quickack


@pytest.mark.parametrize("active", [False, True])
def test_initrwnd_is_the_first_window_in_segments(version: int, active: bool) -> None:
    peer = peer_behind(version, TcpConfig(timestamps=0), advmss=1000, initrwnd=4)
    if active:
        peer.connect()
        assert peer.expect("S").window == 4000
    else:
        peer.listen()
        peer.inject("S", 0)
        assert peer.expect("S.").window == 4000


def test_the_window_of_the_route_is_the_largest_that_is_offered(version: int) -> None:
    peer = peer_behind(version, TcpConfig(timestamps=0), window=3000)
    peer.listen()
    peer.inject("S", 0, mss=1000)
    window = peer.expect("S.").window
    assert 0 < window <= 3000
    peer.inject(".", 1, 1)
    for each in range(6):
        peer.inject(".", 1 + 400 * each, 1, payload=b"x" * 400)
    assert all(each.window <= 3000 for each in drain(peer))

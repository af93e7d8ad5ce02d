"""The search for the path's MTU without reports, and black holes.  RFC 4821, RFC 8899, RFC 2923."""

from __future__ import annotations

from typing import Any

from tests.support.icmp_reports import report_too_big
from tests.support.stream import connected, drain, established, payload_of, write
from ustack.address import Prefix
from ustack.config import StackConfig, TcpConfig
from ustack.ip.routing import RouteMetrics
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection

STREAM = bytes(range(256)) * 200


def probing_peer(version: int, mtu: int = 1500, **tcp: Any) -> Peer:
    """A peer of a stack that searches from an MSS of 512 on, unless told otherwise."""
    return Peer(version, StackConfig(tcp=TcpConfig(**{"mtu_probing": 2, "base_mss": 512, **tcp})), mtu=mtu)


def opened(peer: Peer) -> Connection:
    """An established connection with an initial window that is large enough for probes."""
    peer.stack.config.tcp.initial_window_segments = 20
    return connected(peer, mss=1440)


def sizes(peer: Peer) -> list[int]:
    """The payload lengths of what was sent."""
    return [len(each.payload) for each in drain(peer) if each.payload]


def test_the_search_begins_small_and_a_probe_goes_half_way(version: int) -> None:
    peer = probing_peer(version)
    connection = opened(peer)
    write(peer, connection, STREAM[:4000])
    lengths = sizes(peer)
    assert lengths[0] == (1440 + 512) // 2
    assert set(lengths[1:-1]) == {512}


def test_a_probe_that_arrives_makes_segments_as_large_and_the_search_goes_on(version: int) -> None:
    peer = probing_peer(version)
    connection = opened(peer)
    end, seen = 1, []
    for _ in range(12):
        write(peer, connection, STREAM[:12_000])
        lengths = sizes(peer)
        seen.append(max(lengths))
        end += sum(lengths)
        peer.inject(".", 1, end)
        peer.advance(20)
    assert seen == sorted(seen)
    assert 1440 - 8 <= max(seen) <= 1440


def test_a_probe_that_alone_gets_lost_costs_no_window(version: int) -> None:
    peer = probing_peer(version)
    connection = opened(peer)
    window = connection.tcb.cwnd_packets
    write(peer, connection, STREAM[:6000])
    lengths = sizes(peer)
    assert lengths[0] == 976
    for _ in lengths[1:]:
        peer.inject(".", 1, 1)
    again = drain(peer)
    assert payload_of(again)[:976] == STREAM[:976]
    assert max(len(each.payload) for each in again) <= 512
    assert connection.tcb.cwnd_packets >= window
    peer.inject(".", 1, 6001)
    write(peer, connection, b"beyond")
    drain(peer)
    peer.inject(".", 1, 6007)
    write(peer, connection, STREAM[:6000])
    assert 512 < sizes(peer)[0] < 976


def test_little_data_make_no_probe(version: int) -> None:
    peer = probing_peer(version)
    connection = opened(peer)
    write(peer, connection, STREAM[:2000])
    assert max(sizes(peer)) == 512


def test_the_search_never_exceeds_what_a_router_has_reported(version: int) -> None:
    peer = probing_peer(version, base_mss=1240)
    connection = opened(peer)
    write(peer, connection, STREAM[:2480])
    report_too_big(peer, drain(peer)[0], 1400)
    end = 2481
    peer.inject(".", 1, end)
    drain(peer)
    for _ in range(10):
        write(peer, connection, STREAM[:12_000])
        lengths = [len(each.frame) for each in drain(peer)]
        assert max(lengths) <= 1400
        end += 12_000
        peer.inject(".", 1, end)


def test_the_search_begins_anew_in_time(version: int) -> None:
    peer = probing_peer(version, probe_interval_ns=10_000_000_000)
    connection = opened(peer)
    end = 1
    for _ in range(12):
        write(peer, connection, STREAM[:12_000])
        while peer.sent:
            end += sum(sizes(peer))
            peer.inject(".", 1, end)
    search = connection.path.search
    assert search is not None
    assert search.high - search.low < 8
    began = search.began_ns
    peer.advance(10_000)
    write(peer, connection, STREAM[:12_000])
    assert search.began_ns > began


def test_a_black_hole_is_found_and_smaller_segments_get_through(version: int) -> None:
    """The path swallows packets of more than 800 bytes without a word."""
    peer = probing_peer(version, mtu_probing=1, base_mss=1024)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:3000])
    received, largest = 1, 0
    for _ in range(400):
        for each in drain(peer):
            if len(each.frame) <= 800 and each.seq <= received < each.seq + len(each.payload):
                received = each.seq + len(each.payload)
                largest = max(largest, len(each.frame))
                peer.inject(".", 1, received)
        if received == 3001:
            break
        peer.advance(500)
    assert received == 3001
    assert largest <= 800


def test_without_the_search_time_outs_change_no_size(version: int) -> None:
    peer = probing_peer(version, mtu_probing=0)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:1440])
    peer.advance(20_000)
    assert set(sizes(peer)) == {1440}


def test_a_route_that_changes_is_followed_from_the_first_packet_on_that_takes_it(version: int) -> None:
    peer = probing_peer(version, mtu_probing=0)
    length = 24 if version == 4 else 64
    network = Prefix.parse("10.0.0.0/24" if version == 4 else "fd00::/64")
    assert network.length == length
    overhead = 40 if version == 4 else 60
    peer.stack.ip.set_route_metrics(network, RouteMetrics(mtu=1300, mtu_locked=True))
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:4000])
    assert sizes(peer)[0] == 1300 - overhead
    peer.inject(".", 1, 4001)
    peer.stack.ip.set_route_metrics(network, RouteMetrics(mtu=1400, mtu_locked=True))
    write(peer, connection, STREAM[:1000])
    peer.inject(".", 1, 5001)
    drain(peer)
    write(peer, connection, STREAM[:4000])
    assert sizes(peer)[0] == 1400 - overhead

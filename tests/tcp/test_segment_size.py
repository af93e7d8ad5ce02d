"""How large segments may be: MSS option, path MTU.  RFC 9293 §3.7.1, §3.7.2; RFC 1191, 8201, 6691; RFC 5927 §7."""

from __future__ import annotations

import pytest

from tests.support.icmp_reports import report_too_big
from tests.support.requirement import requirement
from tests.support.stream import connected, drain, dropped, established, payload_of, set_option, state_of, write
from ustack.config import IpConfig, StackConfig
from ustack.drops import DropReason
from ustack.sim.peer import Peer, Sent
from ustack.tcp.state import State

STREAM = bytes(range(256)) * 100


def headers(version: int) -> int:
    """Bytes of IP and TCP header without options."""
    return 40 if version == 4 else 60


def dont_fragment(sent: Sent) -> bool:
    """The DF bit of an IPv4 packet."""
    return bool(sent.frame[6] & 0x40)


def sizes(peer: Peer) -> list[int]:
    """The payload lengths of what was sent."""
    return [len(each.payload) for each in drain(peer)]


@requirement("RFC9293", "MUST-15")
def test_without_an_mss_option_segments_are_of_the_default_size(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, STREAM[:5000])
    assert max(sizes(peer)) == (536 if peer.version == 4 else 1220)


@requirement("RFC9293", "MUST-15")
def test_without_an_mss_option_in_the_syn_ack_too(peer: Peer) -> None:
    connection = connected(peer)
    write(peer, connection, STREAM[:5000])
    assert max(sizes(peer)) == (536 if peer.version == 4 else 1220)


@requirement("RFC9293", "MUST-16")
@pytest.mark.parametrize("mss", [100, 1000, 1400])
def test_the_mss_of_the_peer_limits_segments_with_their_options(peer: Peer, mss: int) -> None:
    connection = established(peer, mss=mss, timestamps=(1, 0))
    write(peer, connection, STREAM[:8000])
    assert max(sizes(peer)) == mss - 12


@requirement("RFC9293", "MUST-16")
def test_the_path_limits_segments_where_the_peer_would_take_more(peer: Peer) -> None:
    connection = established(peer, mss=9000)
    write(peer, connection, STREAM[:8000])
    sent = drain(peer)
    assert max(len(each.frame) for each in sent) == 1500


@pytest.mark.parametrize("mss", [0, 1, 47])
def test_a_tiny_mss_is_taken_as_48(peer: Peer, mss: int) -> None:
    connection = established(peer, mss=mss, timestamps=(1, 0), sack_permitted=True)
    write(peer, connection, STREAM[:300])
    assert max(sizes(peer)) == 36
    for start in (101, 201, 301, 401):
        peer.inject(".", start, 1, b"x", timestamps=(1, 0))
    drain(peer)
    peer.inject(".", 1, 37, timestamps=(1, 0))
    peer.advance(2)
    write(peer, connection, STREAM[:50])
    assert max(sizes(peer)) == 8


@requirement("RFC9293", "SHLD-6")
@requirement("RFC8200", "8.3")
@requirement("RFC9293", "MUST-14")
@requirement("RFC9293", "MUST-67")
@pytest.mark.parametrize("mtu", [1280, 1500, 9000, 65_535])
def test_the_mss_that_we_announce_is_what_the_interface_takes(version: int, mtu: int) -> None:
    peer = Peer(version, mtu=mtu)
    peer.listen()
    peer.inject("S", 0)
    assert peer.expect("S.").options.mss == mtu - headers(version)
    peer = Peer(version, mtu=mtu)
    peer.connect()
    assert peer.expect("S").options.mss == mtu - headers(version)


def test_the_user_can_lower_the_mss_both_ways(peer: Peer) -> None:
    endpoint = peer.socket()
    endpoint.options.max_segment = 700
    endpoint.bind(peer.local, peer.local_port)
    listener = endpoint.listen(1)
    peer.inject("S", 0, mss=1400)
    assert peer.expect("S.").options.mss == 700
    peer.inject(".", 1, 1)
    write(peer, listener.accept(), STREAM[:3000])
    assert max(sizes(peer)) == 700


def test_segments_tell_the_path_not_to_fragment() -> None:
    peer = Peer(4)
    connection = established(peer)
    write(peer, connection, b"data")
    assert dont_fragment(peer.expect("P."))
    set_option(peer, connection, "path_mtu_discovery", False)
    peer.inject(".", 1, 5)
    write(peer, connection, b"data")
    assert not dont_fragment(peer.expect("P."))


def test_a_packet_that_was_too_big_is_cut_anew_and_sent_again_at_once(peer: Peer) -> None:
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:4000])
    sent = drain(peer)
    report_too_big(peer, sent[0], 1300)
    again = drain(peer)
    assert payload_of(again) == STREAM[:4000]
    assert max(len(each.frame) for each in again) == 1300
    peer.inject(".", 1, 4001)
    write(peer, connection, STREAM[:4000])
    assert max(len(each.frame) for each in drain(peer)) == 1300
    assert connection.tcb.cwnd_packets >= 10


def test_super_segments_are_cut_anew_too(version: int) -> None:
    peer = Peer(version, offload=0xF)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:10_000])
    sent = drain(peer)
    assert len(sent) < 3
    report_too_big(peer, sent[0], 1300)
    again = drain(peer)
    assert payload_of(again) == STREAM[:10_000]
    assert {each.gso_size for each in again if each.gso_size} == {1300 - headers(version)}


@pytest.mark.parametrize("mtu", [1500, 1501, 9000, 65_535])
def test_a_report_of_no_less_than_now_changes_nothing(peer: Peer, mtu: int) -> None:
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:4000])
    report_too_big(peer, drain(peer)[0], mtu)
    peer.expect_nothing()
    assert connection.max_segment == 1440


def test_a_report_that_quotes_what_is_not_in_flight_is_dropped(peer: Peer) -> None:
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:2000])
    sent = drain(peer)
    peer.inject(".", 1, 2001)
    with dropped(peer, DropReason.ICMP_QUOTE):
        report_too_big(peer, sent[0], 600 if peer.version == 4 else 1280)
    assert connection.max_segment == 1440


@pytest.mark.parametrize("mtu", [68, 300, 551])
def test_a_path_below_the_least_mtu_of_ipv4_gets_packets_that_may_be_fragmented(mtu: int) -> None:
    peer = Peer(4)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:2000])
    report_too_big(peer, drain(peer)[0], mtu)
    again = drain(peer)
    assert payload_of(again) == STREAM[:2000]
    assert max(len(each.frame) for each in again) == 552
    assert not any(dont_fragment(each) for each in again)
    assert connection.max_segment == 512


def test_a_report_without_an_mtu_means_the_next_plateau() -> None:
    peer = Peer(4)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:2000])
    report_too_big(peer, drain(peer)[0], 0)
    assert max(len(each.frame) for each in drain(peer)) == 1006


@pytest.mark.parametrize("mtu", [0, 68, 1279])
def test_a_path_below_the_least_mtu_of_ipv6_is_not_believed(mtu: int) -> None:
    peer = Peer(6)
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:2000])
    sent = drain(peer)
    with dropped(peer, DropReason.ICMP_MTU):
        report_too_big(peer, sent[0], mtu)
    peer.expect_nothing()
    assert connection.max_segment == 1440


def test_a_syn_that_was_too_big_is_no_trouble(peer: Peer) -> None:
    connection = peer.connect()
    report_too_big(peer, peer.expect("S", 0), 1300)
    peer.inject("S.", 0, 1, mss=1440)
    assert state_of(connection) == State.ESTABLISHED
    drain(peer)
    write(peer, connection, STREAM[:3000])
    assert max(len(each.frame) for each in drain(peer)) == 1300


def test_later_connections_know_the_path(peer: Peer) -> None:
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:2000])
    report_too_big(peer, drain(peer)[0], 1300)
    connection.abort(peer.now)
    peer.collect()
    drain(peer)
    peer.port += 1
    peer.inject("S", 0, mss=1440)
    peer.inject(".", 1, 1)
    drain(peer)
    listener = next(iter(peer.stack.tcp.connections))
    write(peer, listener.accept(), STREAM[:3000])  # type: ignore[arg-type]
    assert max(len(each.frame) for each in drain(peer)) == 1300


def test_what_was_learned_of_the_path_is_forgotten_in_time(version: int) -> None:
    peer = Peer(version, StackConfig(ip=IpConfig(path_mtu_lifetime_ns=5_000_000_000)))
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:2000])
    report_too_big(peer, drain(peer)[0], 1300)
    drain(peer)
    peer.inject(".", 1, 2001)
    peer.advance(5000)
    peer.port += 1
    peer.inject("S", 0, mss=1440)
    peer.inject(".", 1, 1)
    drain(peer)
    listener = next(iter(peer.stack.tcp.connections))
    write(peer, listener.accept(), STREAM[:3000])  # type: ignore[arg-type]
    assert max(len(each.frame) for each in drain(peer)) == 1440 + headers(version)


def test_a_long_connection_tries_larger_segments_again_in_time(version: int) -> None:
    peer = Peer(version, StackConfig(ip=IpConfig(path_mtu_lifetime_ns=5_000_000_000)))
    connection = established(peer, mss=1440)
    write(peer, connection, STREAM[:2000])
    report_too_big(peer, drain(peer)[0], 1300)
    peer.inject(".", 1, 2001)
    drain(peer)
    peer.advance(4999)
    write(peer, connection, STREAM[:2000])
    assert max(len(each.frame) for each in drain(peer)) == 1300
    peer.inject(".", 1, 4001)
    peer.advance(1)
    write(peer, connection, STREAM[:2000])
    assert max(len(each.frame) for each in drain(peer)) == 1440 + headers(version)


def test_an_interface_with_the_least_mtu_still_works(version: int) -> None:
    peer = Peer(version, mtu=88 if version == 4 else 1280)
    connection = established(peer, mss=1440, timestamps=(1, 0), sack_permitted=True)
    peer.inject(".", 101, 1, b"x", timestamps=(1, 0))
    write(peer, connection, STREAM[:500])
    acked = 1
    while peer.sent:
        segments = [each for each in drain(peer) if each.payload]
        assert all(len(each.frame) <= (88 if version == 4 else 1280) for each in segments)
        acked += sum(len(each.payload) for each in segments)
        peer.inject(".", 1, acked, timestamps=(1, 0))
    assert acked == 501


@requirement("RFC9293", "SHLD-6")
def test_where_the_mtu_of_the_interface_varies_the_smallest_is_announced(version: int) -> None:
    peer = Peer(version)
    for mtu in (1400, 1500):
        peer.interface.set_mtu(mtu)
    peer.listen()
    peer.inject("S", 0)
    assert peer.expect("S.").options.mss == 1400 - headers(version)

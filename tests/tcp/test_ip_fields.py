"""The IP header of segments: TTL, DSCP, flow label, identification; IP options.  RFC 9293 §3.9.2, RFC 6437, 6864."""

from __future__ import annotations

import sys

import pytest

from tests.support.requirement import requirement
from tests.support.stream import connected, drain, established, read, set_option, write
from ustack.constants import IPPROTO_TCP
from ustack.sim.peer import Peer, Sent
from ustack.wire import ipv4


def flow_label(sent: Sent) -> int:
    """Of an IPv6 packet."""
    return int.from_bytes(sent.frame[:4], "big") & 0xFFFFF


def with_ip_options(peer: Peer, packet: bytes, options: bytes) -> bytes:
    """The same IPv4 packet with IP options."""
    payload = packet[20:]
    return ipv4.build(peer.remote, peer.local, IPPROTO_TCP, len(payload), options=options) + payload


@requirement("RFC9293", "MUST-49")
def test_ttl_is_64_unless_the_user_wants_another(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    assert peer.expect("P.").ttl == 64
    set_option(peer, connection, "ttl", 3)
    peer.inject("P.", 1, 5, b"x")
    assert peer.expect(".").ttl == 3
    write(peer, connection, b"data")
    assert peer.expect("P.").ttl == 3


@requirement("RFC9293", "MUST-48")
@requirement("RFC9293", "SHLD-22")
@pytest.mark.parametrize("value", [0, 0x10, 0xB8, 0xFC])
def test_the_user_sets_dscp_before_the_open(peer: Peer, value: int) -> None:
    connection = peer.socket()
    connection.options.traffic_class = value
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    assert peer.expect("S").traffic_class == value


@requirement("RFC9293", "MUST-48")
@requirement("RFC9293", "SHLD-21")
@requirement("RFC9293", "SHLD-22")
def test_the_user_changes_dscp_while_connected(peer: Peer) -> None:
    connection = connected(peer)
    set_option(peer, connection, "traffic_class", 0xB8)
    write(peer, connection, b"data")
    assert peer.expect("P.").traffic_class == 0xB8
    connection.abort(peer.now)
    peer.collect()
    assert peer.expect("R.").traffic_class == 0xB8


def test_the_bits_of_ecn_are_not_the_users(peer: Peer) -> None:
    connection = connected(peer)
    set_option(peer, connection, "traffic_class", 0xBB)
    write(peer, connection, b"data")
    assert peer.expect("P.").traffic_class == 0xB8


def test_all_packets_of_a_flow_have_its_flow_label() -> None:
    peer = Peer(6)
    connection = connected(peer)
    write(peer, connection, bytes(5000))
    labels = {flow_label(each) for each in drain(peer)}
    assert len(labels) == 1
    assert labels != {0}
    other = Peer(6, port=99)
    connection = connected(other)
    write(other, connection, b"data")
    assert flow_label(other.expect("P.")) not in labels


@requirement("RFC9293", "MAY-4")
def test_a_retransmission_is_a_packet_of_its_own() -> None:
    """It may have the identification of the first one, as if it were that; ours has another (RFC 6864 §4.3)."""
    peer = Peer(4)
    connection = established(peer, mss=1000)
    set_option(peer, connection, "path_mtu_discovery", False)
    write(peer, connection, b"data")
    first = peer.expect("P.", 1, 1)
    peer.advance(250)
    again = peer.expect("P.", 1, 1)
    assert (again.payload, again.frame[4:6] != first.frame[4:6]) == (first.payload, True)


@requirement("RFC9293", "MAY-9")
def test_the_traffic_class_of_what_arrives_is_told_to_who_wants_it(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "receive_traffic_class", True)
    peer.inject("P.", 1, 1, b"data", traffic_class=0xB8)
    assert read(peer, connection) == b"data"
    ((level, kind, data),) = connection.ancillary()
    if peer.version == 4:
        assert (level, kind, data) == (0, 1, b"\xb8")
    else:
        assert (level, kind, data) == (41, 67, (0xB8).to_bytes(4, sys.byteorder))


def test_packets_with_df_need_no_identification_and_others_get_different_ones() -> None:
    peer = Peer(4)
    connection = established(peer, mss=1000)
    set_option(peer, connection, "path_mtu_discovery", False)
    write(peer, connection, bytes(5000))
    identifications = [each.frame[4:6] for each in drain(peer)]
    assert len(set(identifications)) == len(identifications) == 5


@requirement("RFC1122", "3.2.1.8")
@requirement("RFC9293", "MUST-50")
@pytest.mark.parametrize("options", [b"\x01\x01\x01\x00", b"\x94\x04\x00\x00", b"\x9e\x04ab", b"\x82\x0b" + bytes(9)])
def test_ip_options_that_tcp_does_not_know_are_ignored(options: bytes) -> None:
    peer = Peer(4)
    connection = established(peer)
    peer.arrive([with_ip_options(peer, peer.segment("P.", 1, 1, b"data"), options + bytes(-len(options) % 4))])
    assert read(peer, connection) == b"data"


@requirement("RFC9293", "MAY-10")
@requirement("RFC9293", "MAY-11")
@pytest.mark.parametrize("options", [b"\x44\x0c\x05\x00" + bytes(8), b"\x07\x07\x04" + bytes(4) + b"\x00"])
def test_timestamps_and_recorded_routes_of_ip_do_no_harm(options: bytes) -> None:
    peer = Peer(4)
    connection = established(peer)
    peer.arrive([with_ip_options(peer, peer.segment("P.", 1, 1, b"data"), options)])
    assert read(peer, connection) == b"data"


@requirement("RFC8200", "4.6")
def test_a_segment_behind_ipv6_extension_headers_is_taken() -> None:
    peer = Peer(6)
    connection = established(peer)
    packet = bytearray(peer.segment("P.", 1, 1, b"data"))
    extension = bytes((IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0))
    packet[6] = 60
    packet[4:6] = (len(packet) - 40 + len(extension)).to_bytes(2, "big")
    peer.arrive([bytes(packet[:40]) + extension + bytes(packet[40:])])
    assert read(peer, connection) == b"data"

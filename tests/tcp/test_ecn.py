"""Explicit congestion notification with the classic feedback.  RFC 3168, RFC 8311, RFC 9293 §3.8.4 (SHLD-8)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, read, write
from ustack.config import StackConfig, TcpConfig
from ustack.native import lib
from ustack.sim.peer import Peer, Sent
from ustack.tcp.connection import Connection

NOT_ECT, ECT_1, ECT_0, CE = range(4)
STREAM = bytes(range(256)) * 100


def peer_with(version: int, **tcp: Any) -> Peer:
    """A peer of a stack with these settings of TCP."""
    return Peer(version, StackConfig(tcp=TcpConfig(**tcp)))


def codepoint(sent: Sent) -> int:
    """The ECN codepoint of a packet."""
    return sent.traffic_class & 3


def accepted(peer: Peer, **options: Any) -> Connection:
    """A connection that the peer has opened with the classic feedback."""
    listener = peer.listen()
    peer.inject("SEW", 0, mss=1000, **options)
    assert codepoint(peer.expect("SE.", 0, 1)) == NOT_ECT
    peer.inject(".", 1, 1)
    connection = listener.accept()
    assert isinstance(connection, Connection)
    return connection


def connected(peer: Peer) -> Connection:
    """A connection that the stack has opened with the classic feedback."""
    connection = peer.connect()
    assert codepoint(peer.expect("SEW", 0)) == NOT_ECT
    peer.inject("SE.", 0, 1, mss=1000)
    assert codepoint(peer.expect(".", 1, 1)) == NOT_ECT
    return connection


@requirement("RFC9293", "SHLD-8")
def test_a_passive_open_grants_what_the_peer_asks_for(peer: Peer) -> None:
    connection = accepted(peer)
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("P.", 1, 1)) == ECT_0


@requirement("RFC9293", "SHLD-8")
def test_an_active_open_asks_if_configured_to(version: int) -> None:
    peer = peer_with(version, ecn=1)
    connection = connected(peer)
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("P.", 1, 1)) == ECT_0


@pytest.mark.parametrize(("ecn", "flags"), [(0, "S"), (1, "SEW"), (2, "S"), (4, "SEW"), (5, "S")])
def test_the_configuration_says_what_an_active_open_asks_for(version: int, ecn: int, flags: str) -> None:
    peer = peer_with(version, ecn=ecn)
    peer.connect()
    peer.expect(flags, 0)


def test_a_stack_without_ecn_grants_nothing(version: int) -> None:
    peer = peer_with(version, ecn=0)
    peer.listen()
    peer.inject("SEW", 0)
    peer.expect("S.", 0, 1)


@pytest.mark.parametrize("flags", ["S", "SE", "SW"])
def test_both_flags_ask_for_it(peer: Peer, flags: str) -> None:
    peer.listen()
    peer.inject(flags, 0)
    peer.expect("S.", 0, 1)


@pytest.mark.parametrize("mark", [ECT_0, ECT_1, CE])
def test_an_ecn_capable_syn_shows_a_network_that_meddles(peer: Peer, mark: int) -> None:
    peer.listen()
    peer.inject("SEW", 0, traffic_class=mark)
    peer.expect("S.", 0, 1)


def test_an_ecn_capable_syn_of_a_later_extension_is_granted_the_classic_feedback(peer: Peer) -> None:
    peer.listen()
    peer.inject("SEWA", 0, traffic_class=ECT_0)
    peer.expect("SE.", 0, 1)


@pytest.mark.parametrize("flags", ["S.", "SW.", "SEW."])
def test_an_answer_that_is_not_ece_alone_refuses(version: int, flags: str) -> None:
    peer = peer_with(version, ecn=1)
    connection = peer.connect()
    peer.expect("SEW", 0)
    peer.inject(flags, 0, 1, mss=1000)
    peer.expect(".", 1, 1)
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("P.", 1, 1)) == NOT_ECT
    assert connection.tcb.ecn_mode == lib.ECN_NONE


@pytest.mark.parametrize(("fallback", "flags"), [(True, "S"), (False, "SEW")])
def test_a_syn_that_got_lost_is_sent_again_without_the_flags(version: int, fallback: bool, flags: str) -> None:
    peer = peer_with(version, ecn=1, ecn_fallback=fallback)
    peer.connect()
    peer.expect("SEW", 0)
    peer.advance(1000)
    peer.expect(flags, 0)


def test_a_syn_ack_that_got_lost_twice_is_sent_without_the_flag(peer: Peer) -> None:
    peer.listen()
    peer.inject("SEW", 0)
    peer.expect("SE.", 0, 1)
    peer.advance(1000)
    peer.expect("SE.", 0, 1)
    peer.advance(2000)
    peer.expect("S.", 0, 1)


def test_neither_pure_acks_nor_retransmissions_are_ecn_capable(peer: Peer) -> None:
    connection = accepted(peer)
    peer.inject("P.", 1, 1, b"request", traffic_class=ECT_0)
    peer.advance(50)
    assert codepoint(peer.expect(".", 1, 8)) == NOT_ECT
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("P.", 1)) == ECT_0
    peer.advance(1500)
    again = drain(peer)
    assert again
    assert {codepoint(each) for each in again} == {NOT_ECT}


def test_neither_window_probes_nor_keep_alives_are_ecn_capable(peer: Peer) -> None:
    connection = accepted(peer)
    peer.inject(".", 1, 1, window=0)
    write(peer, connection, STREAM[:1000])
    peer.advance(400)
    assert codepoint(peer.expect(".", 0)) == NOT_ECT


def test_the_dscp_of_the_user_is_kept_beside_the_codepoint(peer: Peer) -> None:
    connection = accepted(peer)
    connection.options.traffic_class = 0x28
    connection.option_changed("traffic_class", peer.now)
    write(peer, connection, STREAM[:1000])
    assert peer.expect("P.", 1).traffic_class == 0x28 | ECT_0


@requirement("RFC9293", "SHLD-8")
def test_a_mark_is_echoed_until_the_peer_says_that_it_has_slowed_down(peer: Peer) -> None:
    connection = accepted(peer)
    peer.inject("P.", 1, 1, b"a" * 1000, traffic_class=ECT_0)
    drain(peer)
    peer.inject("P.", 1001, 1, b"b" * 1000, traffic_class=CE)
    peer.expect("E.", 1, 2001)
    peer.inject("P.", 2001, 1, b"c" * 1000, traffic_class=ECT_0)
    peer.inject("P.", 3001, 1, b"d" * 1000, traffic_class=ECT_0)
    assert {each.flags for each in drain(peer)} == {".E"}
    write(peer, connection, STREAM[:10])
    peer.expect("EP.", 1, 4001)
    peer.inject("W.", 4001, 11, b"e" * 1000, traffic_class=ECT_0)
    peer.expect(".", 11, 5001)
    assert read(peer, connection)[-1:] == b"e"
    assert connection.tcb.received_ce == 1
    assert list(connection.tcb.received_ecn_bytes) == [0, 4000, 1000]


def test_a_mark_that_comes_with_cwr_is_a_new_one(peer: Peer) -> None:
    accepted(peer)
    peer.inject("P.", 1, 1, b"a" * 1000, traffic_class=CE)
    peer.expect("E.", 1, 1001)
    peer.inject("WP.", 1001, 1, b"b" * 1000, traffic_class=CE)
    peer.expect("E.", 1, 2001)


def test_cwr_on_a_pure_ack_counts_too(peer: Peer) -> None:
    accepted(peer)
    peer.inject("P.", 1, 1, b"a" * 1000, traffic_class=CE)
    peer.expect("E.", 1, 1001)
    peer.inject("W.", 1001, 1)
    peer.inject("P.", 1001, 1, b"b" * 1000, traffic_class=ECT_0)
    peer.inject("P.", 2001, 1, b"b" * 1000, traffic_class=ECT_0)
    assert drain(peer)[-1].flags == "."


def test_a_marked_super_segment_counts_as_many_marks_as_it_has_packets(peer: Peer) -> None:
    connection = accepted(peer)
    peer.inject(".", 1, 1, b"a" * 4500, gso_size=1000, traffic_class=CE)
    assert connection.tcb.received_ce == 5


def test_data_that_are_not_ecn_capable_are_acknowledged_at_once_for_being_sent_again(peer: Peer) -> None:
    accepted(peer)
    peer.inject("P.", 1, 1, b"a" * 1000, traffic_class=ECT_0)
    peer.advance(50)
    drain(peer)
    peer.inject("P.", 1001, 1, b"b" * 100)
    peer.expect(".", 1, 1101)


def test_marks_change_nothing_where_nothing_was_negotiated(peer: Peer) -> None:
    connection = peer.accept(mss=1000)
    peer.inject("P.", 1, 1, b"a" * 100, traffic_class=CE)
    peer.advance(50)
    assert drain(peer)[-1].flags == "."
    write(peer, connection, STREAM[:100])
    assert codepoint(peer.expect("P.", 1)) == NOT_ECT
    peer.inject("E.", 101, 101)
    assert connection.tcb.ca_state == lib.CA_OPEN


@requirement("RFC9293", "SHLD-8")
def test_an_echo_halves_the_window_and_the_next_new_data_say_so(peer: Peer) -> None:
    connection = accepted(peer)
    write(peer, connection, STREAM[:10_000])
    assert len(drain(peer)) == 10
    peer.inject("E.", 1, 1001)
    assert connection.tcb.ca_state == lib.CA_CWR
    assert connection.tcb.ssthresh_packets < 10
    assert connection.tcb.delivered_ce == 1
    peer.inject("E.", 1, 10_001)
    write(peer, connection, STREAM[:5000])
    sent = drain(peer)
    assert [("W" in each.flags) for each in sent] == [True] + [False] * (len(sent) - 1)
    assert {codepoint(each) for each in sent} == {ECT_0}


def test_the_window_falls_once_a_window_of_data_however_long_the_echo_lasts(peer: Peer) -> None:
    connection = accepted(peer)
    write(peer, connection, STREAM[:10_000])
    drain(peer)
    peer.inject("E.", 1, 1001)
    lowest = connection.tcb.ssthresh_packets
    for acknowledged in range(2001, 10_001, 1000):
        peer.inject("E.", 1, acknowledged)
        assert connection.tcb.ssthresh_packets == lowest
    assert connection.tcb.ca_state == lib.CA_CWR


def test_an_echo_for_ever_leaves_a_connection_that_still_gets_through(peer: Peer) -> None:
    connection = accepted(peer)
    total, acknowledged = 60_000, 1
    write(peer, connection, (STREAM * 3)[:total])
    for _ in range(300):
        peer.advance(10)
        for each in drain(peer):
            acknowledged = max(acknowledged, each.seq + len(each.payload))
        peer.inject("E.", 1, acknowledged)
        if acknowledged == total + 1:
            break
    assert acknowledged == total + 1
    assert connection.tcb.cwnd_packets >= 1
    assert connection.tcb.retransmissions == 0


def test_cwr_is_on_the_first_piece_of_a_super_segment_only(version: int) -> None:
    peer = Peer(version)
    connection = accepted(peer)
    write(peer, connection, STREAM[:10_000])
    drain(peer)
    peer.inject("E.", 1, 10_001)
    write(peer, connection, STREAM[:4000])
    pieces = drain(peer)
    assert len(pieces) > 1
    assert ["W" in each.flags for each in pieces] == [True] + [False] * (len(pieces) - 1)


def test_a_controller_that_counts_marks_has_them_echoed_one_by_one(version: int) -> None:
    """RFC 8257 §3.2: the ACK tells of the state before the change, then of the one after it."""
    peer = peer_with(version, congestion_control="dctcp")
    peer.listen()
    peer.inject("SEW", 0, mss=1000)
    assert codepoint(peer.expect("SE.", 0, 1)) == ECT_0
    peer.inject(".", 1, 1)
    echoes = []
    for index, mark in enumerate((ECT_0, ECT_0, CE, CE, ECT_0, ECT_0)):
        peer.inject("P.", 1 + 1000 * index, 1, bytes(1000), traffic_class=mark)
        echoes += [(each.ack, "E" in each.flags) for each in drain(peer)]
    peer.advance(50)
    echoes += [(each.ack, "E" in each.flags) for each in drain(peer)]
    assert all(marked == (2001 < ack <= 4001) for ack, marked in echoes)
    assert {ack for ack, marked in echoes if marked} >= {4001}


@pytest.mark.parametrize("name", ["dctcp"])
def test_a_controller_that_needs_ecn_asks_for_it_and_marks_everything(version: int, name: str) -> None:
    peer = peer_with(version, ecn=0, congestion_control=name)
    connection = peer.connect()
    assert codepoint(peer.expect("SEW", 0)) == ECT_0
    peer.inject("SE.", 0, 1, mss=1000)
    assert codepoint(peer.expect(".", 1, 1)) == ECT_0
    write(peer, connection, STREAM[:1000])
    peer.advance(1500)
    assert {codepoint(each) for each in drain(peer)} == {ECT_0}


def test_the_fast_path_counts_codepoints_as_python_does(version: int) -> None:
    counts = []
    for fast_path in (True, False):
        peer = Peer(version, fast_path=fast_path)
        connection = accepted(peer)
        for index, mark in enumerate((ECT_0, ECT_1, ECT_0, CE, ECT_0, NOT_ECT)):
            peer.inject("P.", 1 + 1000 * index, 1, bytes(1000), traffic_class=mark)
        tcb = connection.tcb
        counts.append(
            (list(tcb.received_ecn_bytes), tcb.received_ce, tcb.ecn_flags, tcb.ecn_last_received, len(drain(peer)))
        )
    assert counts[0] == counts[1]
    assert counts[0][0] == [1000, 3000, 1000]

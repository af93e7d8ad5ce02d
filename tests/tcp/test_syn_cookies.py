"""SYN cookies.  RFC 4987 §3.6, appendix A."""

from __future__ import annotations

import pytest

from tests.support.stream import absolute_seq, drain, dropped, read, state_of, write
from ustack.drops import DropReason
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.listener import Listener
from ustack.tcp.state import State
from ustack.tcp.syn_cookies import pack_options, unpack_options
from ustack.wire.tcp_options import TcpOptions

MINUTE = 60_000


def flooded(peer: Peer, backlog: int = 4) -> Listener:
    """A listener whose SYN queue is full."""
    listener = peer.listen(backlog)
    for port in range(1024, 1024 + backlog + 1):
        peer.port = port
        peer.inject("S", 0, mss=1460)
    assert len(listener.syn_queue) == backlog + 1
    drain(peer)
    peer.port = 5000
    return listener


def accepted(peer: Peer, listener: Listener, **options: object) -> Connection:
    """The connection that a SYN with these options opens by a cookie."""
    stamps = options.get("timestamps")
    held = len(peer.stack.tcp.connections)
    peer.inject("S", 0, **options)
    syn_ack = peer.expect("S.", 0, 1)
    assert len(peer.stack.tcp.connections) == held, "nothing is kept"
    echo = {}
    if stamps is not None:
        assert syn_ack.options.timestamps is not None
        echo = {"timestamps": (101, syn_ack.options.timestamps[0])}
    peer.inject(".", 1, 1, window=1000, **echo)
    connection = listener.accept()
    assert state_of(connection) == State.ESTABLISHED
    return connection


def test_a_full_queue_answers_with_a_cookie_that_opens_the_connection(peer: Peer) -> None:
    listener = flooded(peer)
    connection = accepted(peer, listener, mss=1460, window_scale=7, sack_permitted=True)
    assert not connection.tcb.sack_permitted
    assert not connection.tcb.window_scaling
    peer.inject("P.", 1, 1, b"hello")
    drain(peer)
    assert read(peer, connection) == b"hello"
    write(peer, connection, b"world")
    peer.expect("P.", 1, 6, b"world")


def test_the_options_travel_in_the_timestamp(peer: Peer) -> None:
    listener = flooded(peer)
    connection = accepted(peer, listener, mss=1460, window_scale=7, sack_permitted=True, timestamps=(100, 0))
    tcb = connection.tcb
    assert (tcb.sack_permitted, tcb.window_scaling, tcb.snd_wscale, tcb.timestamps) == (1, 1, 7, 1)
    assert tcb.snd_wnd == 1000 << 7
    assert tcb.ts_recent == 101
    write(peer, connection, b"x")
    stamps = peer.expect("P.", 1, 1, b"x").options.timestamps
    assert stamps is not None
    assert stamps[1] == 101


def test_the_echo_is_not_taken_for_a_round_trip(peer: Peer) -> None:
    connection = accepted(peer, flooded(peer), mss=1460, timestamps=(100, 0))
    assert not connection.tcb.srtt_ns


@pytest.mark.parametrize(
    ("offered", "ipv4", "ipv6"), [(100, 536, 1220), (1299, 536, 1220), (1430, 1300, 1420), (9000, 1460, 8940)]
)
def test_the_mss_is_rounded_down_to_one_of_four(peer: Peer, offered: int, ipv4: int, ipv6: int) -> None:
    connection = accepted(peer, flooded(peer), mss=offered)
    assert connection.tcb.peer_mss == (ipv4 if peer.version == 4 else ipv6)


def test_data_may_come_with_the_ack(peer: Peer) -> None:
    listener = flooded(peer)
    peer.inject("S", 0, mss=1460)
    peer.expect("S.", 0, 1)
    peer.inject("P.", 1, 1, b"hello")
    assert read(peer, listener.accept()) == b"hello"


def test_a_cookie_is_good_for_a_minute_or_two(peer: Peer) -> None:
    listener = flooded(peer)
    peer.inject("S", 0, mss=1460)
    late = peer.expect("S.", 0, 1)
    peer.advance(MINUTE)
    drain(peer)
    peer.stack_isn = absolute_seq(late)
    peer.inject(".", 1, 1)
    assert listener.accept().remote_port == 5000


def test_an_old_cookie_is_answered_with_rst(peer: Peer) -> None:
    listener = flooded(peer)
    peer.inject("S", 0, mss=1460)
    late = peer.expect("S.", 0, 1)
    peer.advance(2 * MINUTE)
    peer.port = 6000
    for port in range(6000, 6010):
        peer.port = port
        peer.inject("S", 0, mss=1460)
    drain(peer)
    peer.port, peer.stack_isn = 5000, absolute_seq(late)
    with dropped(peer, DropReason.TCP_LISTEN_ACK):
        peer.inject(".", 1, 1)
    peer.expect("R", 1)
    assert not listener.accept_queue


@pytest.mark.parametrize("change", ["ack", "sequence", "port"])
def test_a_cookie_that_is_none_of_ours_is_answered_with_rst(peer: Peer, change: str) -> None:
    listener = flooded(peer)
    peer.inject("S", 0, mss=1460)
    peer.expect("S.", 0, 1)
    seq, ack = 1, 1
    if change == "ack":
        ack = 77
    elif change == "sequence":
        seq = 1 + (1 << 20)
    else:
        peer.port = 5001
    with dropped(peer, DropReason.TCP_LISTEN_ACK):
        peer.inject(".", seq, ack)
    peer.expect("R", ack)
    assert not listener.accept_queue


def test_without_a_recent_flood_no_ack_is_looked_at_for_a_cookie(peer: Peer) -> None:
    listener = peer.listen()
    seen = flooded(Peer(peer.version), 0)
    assert seen is not listener
    with dropped(peer, DropReason.TCP_LISTEN_ACK):
        peer.inject(".", 1, 1)


def test_cookies_can_be_forbidden(peer: Peer) -> None:
    peer.stack.config.tcp.syncookies = 0
    flooded(peer)
    with dropped(peer, DropReason.TCP_BACKLOG_FULL):
        peer.inject("S", 0, mss=1460)
    peer.expect_nothing()


def test_cookies_can_be_the_rule(peer: Peer) -> None:
    peer.stack.config.tcp.syncookies = 2
    listener = peer.listen()
    assert accepted(peer, listener, mss=1460).remote_port == peer.port


def test_a_full_accept_queue_takes_no_cookie(peer: Peer) -> None:
    peer.stack.config.tcp.syncookies = 2
    peer.listen(backlog=0)
    peer.inject("S", 0, mss=1460)
    first = peer.expect("S.", 0, 1)
    peer.port = 5001
    peer.inject("S", 0, mss=1460)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    peer.port, peer.stack_isn = 54321, absolute_seq(first)
    with dropped(peer, DropReason.TCP_BACKLOG_FULL):
        peer.inject(".", 1, 1)
    peer.expect_nothing()


def test_a_flood_is_answered_and_nothing_is_kept_of_it(peer: Peer) -> None:
    listener = flooded(peer)
    held = len(peer.stack.tcp.connections)
    for number in range(500):
        peer.port = 10_000 + number
        peer.inject("S", number, mss=1460)
    assert len(drain(peer)) == 500
    assert len(peer.stack.tcp.connections) == held
    assert len(peer.stack.flows) == len(listener.syn_queue)


@pytest.mark.parametrize("scale", [None, 0, 7, 14])
@pytest.mark.parametrize("sack", [False, True])
@pytest.mark.parametrize("ecn", [False, True])
def test_what_is_packed_into_a_timestamp_comes_out_again(scale: int | None, sack: bool, ecn: bool) -> None:
    offered = TcpOptions(mss=1460, window_scale=scale, sack_permitted=sack, timestamps=(1, 0))
    for ticks in (0x40, 0x7F, 0x80, 123_456_789):
        packed = pack_options(ticks, offered, ecn=ecn)
        assert ticks - 64 <= packed <= ticks
        assert unpack_options(packed, 1460, (1, 0)) == (offered, ecn)

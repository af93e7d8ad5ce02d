"""Listeners: what they answer, and how many they hold.  RFC 9293 §3.10.7.2, §3.9.1.1; listen(2)."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import absolute_seq, close, drain, dropped, read, state_of
from ustack.address import parse_address
from ustack.constants import IPPROTO_TCP
from ustack.drops import DropReason
from ustack.endpoint import HANGUP, READABLE
from ustack.sim.peer import Peer
from ustack.tcp.listener import Listener
from ustack.tcp.state import State
from ustack.wire import ipv4, ipv6, tcp


def knock(peer: Peer, port: int, isn: int = 0) -> None:
    """A SYN from another port of the peer."""
    peer.port, peer.isn = port, isn
    peer.inject("S", 0)


def complete(peer: Peer, port: int) -> None:
    """The third ACK from that port."""
    knock(peer, port)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)


def syn_from(peer: Peer, source: bytes, destination: bytes) -> bytes:
    """A SYN between addresses of one's choice."""
    header = tcp.build(peer.port, peer.local_port, 0, 0, tcp.SYN, 1000, pseudo=(source, destination))
    build = ipv4.build if peer.version == 4 else ipv6.build
    return build(source, destination, IPPROTO_TCP, len(header)) + header


def test_a_rst_for_a_listener_is_dropped_silently(peer: Peer) -> None:
    peer.listen()
    for flags in ("R", "R.", "RS"):
        with dropped(peer, DropReason.TCP_LISTEN_RST):
            peer.inject(flags, 0)
    peer.expect_nothing()


@pytest.mark.parametrize("flags", [".", "S.", "F.", "P."])
def test_an_ack_for_a_listener_is_answered_with_rst(peer: Peer, flags: str) -> None:
    peer.listen()
    with dropped(peer, DropReason.TCP_LISTEN_ACK):
        peer.inject(flags, 5, 77, b"x")
    peer.expect("R", 77)


@pytest.mark.parametrize("flags", ["", "F", "P", "U"])
def test_a_segment_without_syn_and_ack_for_a_listener_is_dropped_silently(peer: Peer, flags: str) -> None:
    peer.listen()
    with dropped(peer, DropReason.TCP_LISTEN_NO_SYN):
        peer.inject(flags, 0, payload=b"data")
    peer.expect_nothing()


def test_a_syn_with_fin_is_dropped(peer: Peer) -> None:
    peer.listen()
    with dropped(peer, DropReason.TCP_LISTEN_SYN_FIN):
        peer.inject("SF", 0)
    peer.expect_nothing()


@requirement("RFC9293", "MUST-57")
def test_a_syn_to_a_broadcast_or_group_address_is_dropped_silently(peer: Peer) -> None:
    endpoint = peer.socket()
    endpoint.bind(bytes(len(peer.local)), peer.local_port)
    endpoint.listen(1)
    targets = ["255.255.255.255", "10.0.0.255", "224.0.0.1"] if peer.version == 4 else ["ff02::1"]
    for target in targets:
        with dropped(peer, DropReason.TCP_BAD_ADDRESS):
            peer.arrive([syn_from(peer, peer.remote, parse_address(target))])
    peer.expect_nothing()


@requirement("RFC9293", "MUST-63")
def test_a_syn_from_an_address_that_cannot_be_a_source_is_dropped_silently(peer: Peer) -> None:
    listener = peer.listen()
    sources = (
        ["255.255.255.255", "10.0.0.255", "224.0.0.1", "0.0.0.0", "127.0.0.1", "10.0.0.1"]
        if peer.version == 4
        else ["ff02::1", "::", "::1", "fd00::1"]
    )
    for source in sources:
        before = sum(peer.stack.counters.values())
        peer.arrive([syn_from(peer, parse_address(source), peer.local)])
        assert sum(peer.stack.counters.values()) == before + 1, source
    peer.expect_nothing()
    assert not listener.syn_queue


@requirement("RFC9293", "MUST-41")
@requirement("RFC9293", "MUST-42")
def test_listening_is_possible_while_a_connection_of_the_port_is_being_opened(peer: Peer) -> None:
    first = peer.socket()
    first.options.reuse_address = True
    first.bind(peer.local, peer.local_port)
    with pytest.raises(BlockingIOError):
        first.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    peer.expect("S", 0)
    second = peer.socket()
    second.options.reuse_address = True
    second.bind(peer.local, peer.local_port)
    listener = second.listen(1)
    assert state_of(first) == State.SYN_SENT
    peer.inject("S.", 0, 1)
    assert state_of(first) == State.ESTABLISHED
    knock(peer, 999)
    assert listener.syn_queue


def test_connections_are_accepted_in_the_order_of_their_completion(peer: Peer) -> None:
    listener = peer.listen()
    for port in (1000, 1001, 1002):
        knock(peer, port)
    for port, syn_ack in reversed(list(zip((1000, 1001, 1002), drain(peer), strict=True))):
        peer.port, peer.stack_isn = port, absolute_seq(syn_ack)
        peer.inject(".", 1, 1)
    assert [listener.accept().remote_port for _ in range(3)] == [1002, 1001, 1000]


def test_the_accept_queue_holds_one_more_than_the_backlog(peer: Peer) -> None:
    listener = peer.listen(backlog=2)
    for port in (1000, 1001, 1002):
        complete(peer, port)
    assert len(listener.accept_queue) == 3
    with dropped(peer, DropReason.TCP_BACKLOG_FULL):
        knock(peer, 1003)
    peer.expect_nothing()
    listener.accept()
    complete(peer, 1003)
    assert len(listener.accept_queue) == 3


def test_a_third_ack_into_a_full_accept_queue_is_dropped_and_the_next_syn_ack_repairs_it(
    peer: Peer,
) -> None:
    listener = peer.listen(backlog=0)
    knock(peer, 1000)
    late = peer.expect("S.", 0, 1)
    complete(peer, 1001)
    peer.port, peer.stack_isn = 1000, absolute_seq(late)
    with dropped(peer, DropReason.TCP_BACKLOG_FULL):
        peer.inject("P.", 1, 1, b"data")
    peer.expect_nothing()
    assert listener.accept().remote_port == 1001
    peer.advance(1000)
    peer.expect("S.", 0, 1)
    peer.inject("P.", 1, 1, b"data")
    connection = listener.accept()
    assert connection.remote_port == 1000
    assert read(peer, connection) == b"data"


def test_a_flood_of_syns_is_held_in_a_bounded_queue(peer: Peer) -> None:
    peer.stack.config.tcp.syncookies = 0
    listener = peer.listen(backlog=16)
    for port in range(1024, 1224):
        knock(peer, port)
    assert len(listener.syn_queue) == 17
    assert len(peer.sent) == 17
    assert peer.stack.counters[DropReason.TCP_BACKLOG_FULL] == 183
    peer.advance(70_000)
    assert not listener.syn_queue
    assert [each for each in peer.stack.endpoints if each is not listener] == []


def test_the_last_quarter_of_all_handshakes_stays_free_without_cookies(peer: Peer) -> None:
    peer.stack.config.tcp.syncookies = 0
    peer.stack.config.tcp.max_syn_backlog = 16
    listener = peer.listen(backlog=100)
    for port in range(1024, 1064):
        knock(peer, port)
    assert len(listener.syn_queue) == 13


def test_old_handshakes_make_room_for_young_ones(peer: Peer) -> None:
    peer.stack.config.tcp.syncookies = 0
    listener = peer.listen(backlog=20)
    for port in range(1024, 1044):
        knock(peer, port)
    peer.advance(6_900)
    assert len(listener.syn_queue) == 20
    peer.advance(200)
    assert len(listener.syn_queue) == 10
    peer.advance(50_000)
    assert len(listener.syn_queue) == 10


def test_a_listener_without_patience_resets_what_it_has_no_room_for(peer: Peer) -> None:
    peer.stack.config.tcp.abort_on_overflow = True
    listener = peer.listen(backlog=0)
    knock(peer, 1000)
    late = peer.expect("S.", 0, 1)
    complete(peer, 1001)
    peer.port, peer.stack_isn = 1000, absolute_seq(late)
    with dropped(peer, DropReason.TCP_BACKLOG_FULL):
        peer.inject(".", 1, 1)
    peer.expect("R", 1)
    assert not listener.syn_queue


class TestDeferAccept:
    """TCP_DEFER_ACCEPT: the connection is accepted with its first data.  tcp(7)."""

    def listen(self, peer: Peer, timeouts: int) -> Listener:
        """A listener that waits for data for as many SYN,ACKs, and a handshake that has ended without."""
        listener = peer.listen()
        listener.options.defer_accept = timeouts
        knock(peer, 1000)
        peer.expect("S.", 0, 1)
        with dropped(peer, DropReason.TCP_DEFERRED):
            peer.inject(".", 1, 1)
        assert not listener.readiness()
        return listener

    def test_data_end_the_wait(self, peer: Peer) -> None:
        listener = self.listen(peer, 2)
        peer.inject("P.", 1, 1, b"data")
        assert read(peer, listener.accept()) == b"data"

    def test_a_fin_ends_the_wait(self, peer: Peer) -> None:
        listener = self.listen(peer, 2)
        peer.inject("F.", 1, 1)
        assert state_of(listener.accept()) == State.CLOSE_WAIT

    def test_the_syn_ack_is_sent_again_only_at_the_end_of_the_wait(self, peer: Peer) -> None:
        listener = self.listen(peer, 3)
        peer.advance(6_900)
        peer.expect_nothing()
        peer.advance(200)
        peer.expect("S.", 0, 1)
        peer.inject(".", 1, 1)
        assert state_of(listener.accept()) == State.ESTABLISHED

    def test_a_connection_that_brings_nothing_is_given_up(self, peer: Peer) -> None:
        listener = self.listen(peer, 2)
        peer.advance(100_000)
        assert not listener.syn_queue
        assert not listener.readiness()


def test_the_backlog_is_limited_and_can_be_changed(peer: Peer) -> None:
    listener = peer.listen(backlog=1 << 30)
    assert listener.backlog == peer.stack.config.tcp.listen_backlog_max
    assert listener.listen(-5) is listener
    assert listener.backlog == 0
    listener.listen(3)
    assert listener.backlog == 3


@requirement("RFC9293", "MUST-11")
def test_a_rst_in_syn_received_returns_to_listen_without_a_word(peer: Peer) -> None:
    listener = peer.listen()
    knock(peer, 1000)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_RESET):
        peer.inject("R", 1)
    assert not listener.syn_queue
    assert not listener.accept_queue
    knock(peer, 1000, isn=77)
    peer.expect("S.", 0, 1)


def test_a_rst_in_syn_received_that_is_not_exact_is_challenged(peer: Peer) -> None:
    listener = peer.listen()
    knock(peer, 1000)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_RST_NOT_EXACT):
        peer.inject("R", 2)
    peer.expect(".", 1, 1)
    assert len(listener.syn_queue) == 1


def test_another_syn_in_the_window_of_syn_received_returns_to_listen(peer: Peer) -> None:
    listener = peer.listen()
    knock(peer, 1000)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_SYN_IN_WINDOW):
        peer.inject("S", 500)
    peer.expect_nothing()
    assert not listener.syn_queue
    peer.inject("S", 500)
    peer.expect("S.", 0, 501)


def test_a_syn_before_the_window_of_syn_received_is_challenged(peer: Peer) -> None:
    peer.listen()
    knock(peer, 1000)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_OUT_OF_WINDOW):
        peer.inject("S", -5000)
    peer.expect(".", 1, 1)


def test_the_same_syn_again_gets_the_same_syn_ack_again(peer: Peer) -> None:
    listener = peer.listen()
    knock(peer, 1000)
    first = peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_OUT_OF_WINDOW):
        peer.inject("S", 0)
    again = peer.expect("S.", 0, 1)
    assert first.options == again.options
    assert len(listener.syn_queue) == 1


def test_a_syn_that_comes_again_and_again_is_answered_twice_a_second(peer: Peer) -> None:
    peer.listen()
    knock(peer, 1000)
    for _ in range(100):
        peer.inject("S", 0)
        peer.advance(9)
    assert len(drain(peer)) == 1 + 2


@pytest.mark.parametrize("ack", [0, 2, 1000])
def test_a_wrong_ack_in_syn_received_is_answered_with_rst_and_changes_nothing(peer: Peer, ack: int) -> None:
    listener = peer.listen()
    knock(peer, 1000)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_SYN_RECEIVED_BAD_ACK):
        peer.inject(".", 1, ack)
    peer.expect("R", ack)
    peer.inject(".", 1, 1)
    assert state_of(listener.accept()) == State.ESTABLISHED


def test_a_fin_in_syn_received_establishes_and_half_closes(peer: Peer) -> None:
    listener = peer.listen()
    knock(peer, 1000)
    peer.expect("S.", 0, 1)
    peer.inject("F.", 1, 1)
    peer.expect(".", 1, 2)
    assert state_of(listener.accept()) == State.CLOSE_WAIT


def test_a_connection_that_was_reset_before_accept_is_accepted_and_reports_it(peer: Peer) -> None:
    listener = peer.listen()
    complete(peer, 1000)
    peer.inject("R", 1)
    connection = listener.accept()
    with raises_errno(errno.ECONNRESET):
        read(peer, connection)
    assert read(peer, connection) == b""
    close(peer, connection)


def test_closing_a_listener_resets_its_connections_and_frees_the_port(peer: Peer) -> None:
    listener = peer.listen()
    complete(peer, 1000)
    knock(peer, 1001)
    peer.expect("S.", 0, 1)
    listener.close(peer.now)
    peer.collect()
    assert [each.flags for each in drain(peer)] == ["R."]
    assert not list(peer.stack.endpoints)
    assert isinstance(peer.listen(), Listener)
    listener.close(peer.now)
    peer.inject("S", 0)
    peer.expect("S.")


def test_a_listener_that_was_shut_down_takes_no_connection_and_keeps_the_port(peer: Peer) -> None:
    listener = peer.listen()
    complete(peer, 1000)
    listener.shutdown(0, peer.now)
    peer.collect()
    peer.expect("R.")
    assert listener.readiness() & HANGUP
    with raises_errno(errno.EINVAL):
        listener.accept()
    with dropped(peer, DropReason.TCP_NO_CONNECTION):
        knock(peer, 1001)
    peer.expect("R.", None, 1)
    with raises_errno(errno.EADDRINUSE):
        peer.listen()
    listener.close(peer.now)
    peer.listen()


def test_a_listener_neither_connects_nor_sends_nor_receives(peer: Peer) -> None:
    listener = peer.listen()
    with raises_errno(errno.EISCONN):
        listener.connect(peer.remote, 1, peer.now)
    with raises_errno(errno.EPIPE):
        listener.send(b"x", 0, None, peer.now)
    with raises_errno(errno.ENOTCONN):
        listener.receive_into(bytearray(1), 0, peer.now)
    assert listener.readiness() == 0


def test_a_listener_without_bind_gets_an_ephemeral_port(peer: Peer) -> None:
    listener = peer.socket().listen(1)
    assert listener.local_port >= 1024
    peer.local_port = listener.local_port
    complete(peer, 1000)
    assert listener.readiness() == READABLE


def test_two_listeners_cannot_share_a_port(peer: Peer) -> None:
    peer.listen()
    with raises_errno(errno.EADDRINUSE):
        peer.listen()


def test_accepted_connections_inherit_the_options_of_the_listener(peer: Peer) -> None:
    listener = peer.listen()
    listener.options.no_delay = True
    listener.options.ttl = 9
    knock(peer, 1000)
    assert peer.expect("S.").ttl == 9
    peer.inject(".", 1, 1)
    connection = listener.accept()
    assert connection.options.no_delay
    connection.options.no_delay = False
    assert listener.options.no_delay


def test_a_stopped_stack_ends_the_listener(peer: Peer) -> None:
    listener = peer.listen()
    peer.stack.stop(peer.now)
    with raises_errno(errno.ENETDOWN):
        listener.accept()
    with raises_errno(errno.ENETDOWN):
        peer.socket()
    listener.close(peer.now)

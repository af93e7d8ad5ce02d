"""TIME-WAIT: how long, what it answers, and who may take its place.  RFC 9293 §3.4.2, §3.6.1; RFC 6191; RFC 1337."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import absolute_seq, close, drain, dropped, established, state_of, write
from ustack.constants import IPPROTO_TCP
from ustack.drops import DropReason
from ustack.sim.peer import Peer
from ustack.tcp import sequence, timestamps
from ustack.tcp.connection import Connection
from ustack.tcp.isn import InitialSequenceNumbers
from ustack.tcp.listener import Listener
from ustack.tcp.state import State


def in_time_wait(peer: Peer, stamp: int | None = None) -> Connection:
    """A connection in TIME-WAIT whose port still has its listener; the peer's last TSval is `stamp`."""
    stamps = None if stamp is None else (stamp, 0)
    connection = established(peer, timestamps=stamps)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.inject("F.", 1, 2, timestamps=stamps)
    peer.expect(".", 2, 2)
    assert state_of(connection) == State.TIME_WAIT
    return connection


def listener_of(peer: Peer) -> Listener:
    """The listener of the port."""
    return next(each for each in peer.stack.endpoints if isinstance(each, Listener))


@requirement("RFC6191", "2/sequence")
@requirement("RFC9293", "MAY-2")
def test_a_syn_with_a_higher_sequence_number_takes_the_place(peer: Peer) -> None:
    connection = in_time_wait(peer)
    peer.inject("S", 1000)
    peer.expect("S.", None, 1001)
    assert state_of(connection) == State.CLOSED
    peer.inject(".", 1001, 1)
    assert state_of(listener_of(peer).accept()) == State.ESTABLISHED


@requirement("RFC6191", "2/otherwise")
@pytest.mark.parametrize("seq", [2, 1, 0, -1000])
def test_a_syn_that_is_not_higher_is_answered_with_the_last_ack(peer: Peer, seq: int) -> None:
    connection = in_time_wait(peer)
    peer.inject("S", seq)
    peer.expect(".", 2, 2)
    assert state_of(connection) == State.TIME_WAIT


@requirement("RFC9293", "MAY-2")
def test_the_new_connection_begins_above_all_that_the_old_one_has_sent(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InitialSequenceNumbers, "choose", lambda *_: 0xFFFFFFF0)
    connection = established(peer)
    write(peer, connection, bytes(1000))
    peer.inject(".", 1, 1001)
    close(peer, connection)
    peer.inject("F.", 1, 1002)
    assert state_of(connection) == State.TIME_WAIT
    last = sequence.add(0xFFFFFFF0, 1002)
    drain(peer)
    peer.inject("S", 5000)
    assert sequence.gt(absolute_seq(peer.expect("S.", None, 5001)), last)


@requirement("RFC6191", "2/timestamps")
@requirement("RFC9293", "SHLD-4")
@pytest.mark.parametrize(
    ("stamp", "seq", "taken"),
    [(501, -1000, True), (500, 1000, True), (500, 2, False), (499, 1000, False), (None, 1000, True), (None, 2, False)],
)
def test_timestamps_decide_where_both_connections_have_them(
    peer: Peer, stamp: int | None, seq: int, taken: bool
) -> None:
    connection = in_time_wait(peer, 500)
    peer.inject("S", seq, timestamps=None if stamp is None else (stamp, 0))
    assert [each.flags for each in drain(peer)] == (["S."] if taken else ["."])
    assert state_of(connection) == (State.CLOSED if taken else State.TIME_WAIT)


@requirement("RFC6191", "2/timestamps")
@requirement("RFC9293", "SHLD-4")
def test_a_syn_with_timestamps_takes_the_place_of_a_connection_without(peer: Peer) -> None:
    connection = in_time_wait(peer)
    peer.inject("S", -1000, timestamps=(5, 0))
    peer.expect("S.", None, -999)
    assert state_of(connection) == State.CLOSED


def test_nothing_takes_the_place_where_nobody_listens(peer: Peer) -> None:
    connection = in_time_wait(peer)
    listener_of(peer).close(peer.now)
    peer.inject("S", 1000)
    peer.expect(".", 2, 2)
    assert state_of(connection) == State.TIME_WAIT


@pytest.mark.parametrize("flags", ["S.", "R."])
def test_only_a_plain_syn_takes_the_place(peer: Peer, flags: str) -> None:
    connection = in_time_wait(peer)
    peer.inject(flags, 1000, 2)
    peer.expect(".", 2, 2)
    assert state_of(connection) == State.TIME_WAIT


def test_the_fin_that_comes_again_is_acknowledged_and_starts_the_wait_again(peer: Peer) -> None:
    connection = in_time_wait(peer)
    peer.advance(40_000)
    for _ in range(3):
        peer.inject("F.", 1, 2)
        peer.expect(".", 2, 2)
    peer.advance(59_999)
    assert state_of(connection) == State.TIME_WAIT
    peer.advance(1)
    assert state_of(connection) == State.CLOSED


def test_acks_in_time_wait_are_not_answered(peer: Peer) -> None:
    connection = in_time_wait(peer)
    peer.inject(".", 2, 2)
    peer.inject("P.", 2, 2, b"data")
    peer.expect_nothing()
    assert state_of(connection) == State.TIME_WAIT


def test_a_port_in_time_wait_is_held_for_two_msl(peer: Peer) -> None:
    in_time_wait(peer)
    listener_of(peer).close(peer.now)
    with raises_errno(errno.EADDRINUSE):
        peer.listen()
    peer.advance(60_000)
    peer.listen()


def test_a_flow_in_time_wait_cannot_be_opened_again(peer: Peer) -> None:
    connection = peer.connect()
    peer.inject("S.", 0, 1)
    close(peer, connection)
    peer.inject("F.", 1, 2)
    again = peer.socket()
    again.options.reuse_address = True
    with raises_errno(errno.EADDRINUSE):
        again.bind(bytes(len(peer.local)), peer.local_port)
    for _ in range(100):
        other = peer.socket()
        with pytest.raises(BlockingIOError):
            other.connect(peer.remote, peer.port, peer.now)
        assert other.local_port != peer.local_port


def open_again(peer: Peer) -> Connection:
    """The same flow once more."""
    again = peer.socket()
    again.options.reuse_address = True
    again.bind(peer.local, peer.local_port)
    with pytest.raises(BlockingIOError):
        again.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    return again


@requirement("RFC6191", "2/timestamps")
def test_an_active_open_may_take_the_place_where_timestamps_keep_the_two_apart(peer: Peer) -> None:
    peer.stack.config.tcp.tw_reuse = 1
    first = peer.socket()
    first.options.reuse_address = True
    closed_actively_with(peer, first)
    with raises_errno(errno.EADDRNOTAVAIL):
        open_again(peer)
    peer.advance(1000)
    before = peer.stack_isn
    again = open_again(peer)
    assert peer.expect("S", 0).options.timestamps == (timestamps.value(again.tcb, peer.now), 500)
    assert before is not None
    assert sequence.gt(again.tcb.iss, sequence.add(before, 2))


def closed_actively_with(peer: Peer, connection: Connection) -> None:
    """A connection with timestamps that the stack has opened from a shared port and closed first."""
    connection.bind(peer.local, peer.local_port)
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    syn = peer.expect("S", 0).options.timestamps
    assert syn is not None
    peer.inject("S.", 0, 1, timestamps=(500, syn[0]))
    close(peer, connection)
    peer.inject("F.", 1, 2, timestamps=(500, syn[0]))
    assert state_of(connection) == State.TIME_WAIT
    drain(peer)


@pytest.mark.parametrize("setting", [0, 2])
def test_no_active_open_takes_the_place_where_the_configuration_forbids_it(peer: Peer, setting: int) -> None:
    peer.stack.config.tcp.tw_reuse = setting
    first = peer.socket()
    first.options.reuse_address = True
    closed_actively_with(peer, first)
    peer.advance(2000)
    with raises_errno(errno.EADDRNOTAVAIL):
        open_again(peer)


def test_a_rst_does_not_end_time_wait_where_the_configuration_says_so(peer: Peer) -> None:
    peer.stack.config.tcp.rfc1337 = True
    connection = in_time_wait(peer)
    with dropped(peer, DropReason.TCP_TIME_WAIT):
        peer.inject("R", 2)
    assert state_of(connection) == State.TIME_WAIT


def test_a_port_in_time_wait_can_be_listened_on_with_reuse_address(peer: Peer) -> None:
    connection = peer.socket()
    connection.options.reuse_address = True
    connection.bind(peer.local, peer.local_port)
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    peer.inject("S.", 0, 1)
    close(peer, connection)
    peer.inject("F.", 1, 2)
    assert state_of(connection) == State.TIME_WAIT
    endpoint = peer.socket()
    endpoint.options.reuse_address = True
    endpoint.bind(peer.local, peer.local_port)
    endpoint.listen(1)


def test_time_wait_holds_no_buffers(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, bytes(50_000))
    while peer.sent:
        last = drain(peer)[-1]
        peer.inject(".", 1, last.seq + len(last.payload))
    peer.inject("P.", 1, 50_001, b"data")
    assert connection.receive_into(bytearray(10), 0, peer.now)[0] == 4
    close(peer, connection)
    tcb = connection.tcb
    drain(peer)
    peer.inject("F.", 5, 50_002)
    assert state_of(connection) == State.TIME_WAIT
    assert (tcb.snd_ring.capacity, tcb.sent.capacity, tcb.rcv_ring.capacity) == (0, 0, 0)


def test_after_time_wait_nothing_is_left(peer: Peer) -> None:
    connection = in_time_wait(peer)
    listener_of(peer).close(peer.now)
    peer.advance(60_000)
    assert not list(peer.stack.endpoints)
    assert peer.stack.flows.find(IPPROTO_TCP, peer.local, peer.local_port, peer.remote, peer.port) is None
    assert len(peer.stack.flows) == 0
    assert peer.stack.next_deadline() is None
    assert connection.binding is None

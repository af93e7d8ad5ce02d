"""What connections hold, and that they let go of it."""

from __future__ import annotations

import gc
import weakref

import pytest

from tests.support.stream import close, drain, established, read, set_option, state_of, write
from ustack.sim.peer import Peer
from ustack.tcp.state import State

SECOND = 1_000_000_000


def nothing_is_left(peer: Peer) -> None:
    """No endpoint, flow, timer or port is held."""
    assert not list(peer.stack.endpoints)
    assert not peer.stack.tcp.touched
    assert not peer.stack.tcp.blocked
    assert len(peer.stack.flows) == 0
    peer.advance(200_000)
    assert peer.stack.next_deadline() is None


def finish(peer: Peer, way: str) -> weakref.ref[object]:
    """Open a connection, move data both ways, and end it in some way."""
    connection = established(peer, sack_permitted=True, mss=1000)
    listener = next(iter(peer.stack.tcp.connections))
    write(peer, connection, bytes(5000))
    peer.inject(".", 1001, 1, bytes(1000))
    if way == "reset by the peer":
        peer.inject("R", 1)
        close(peer, connection)
    elif way == "aborted":
        connection.abort(peer.now)
        peer.collect()
    elif way == "closed with unread data":
        peer.inject(".", 1, 5001, bytes(100))
        close(peer, connection)
    elif way == "given up":
        peer.advance(3_600_000)
        close(peer, connection)
    elif way == "closed in order":
        peer.inject(".", 1, 5001, bytes(1000))
        read(peer, connection)
        close(peer, connection)
        peer.inject("F.", 2001, 5002)
        peer.advance(60_000)
    listener.close(peer.now)
    peer.collect()
    drain(peer)
    return weakref.ref(connection)


WAYS = ["reset by the peer", "aborted", "closed with unread data", "given up", "closed in order"]


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_has_ended_is_gone(peer: Peer, way: str) -> None:
    gone = finish(peer, way)
    nothing_is_left(peer)
    gc.collect()
    assert gone() is None


def test_a_reset_connection_that_is_held_keeps_only_what_can_be_read(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, bytes(5000))
    peer.inject(".", 1, 1, bytes(1000))
    peer.inject("R", 1001)
    tcb = connection.tcb
    assert (tcb.snd_ring.capacity, tcb.sent.capacity) == (0, 0)
    assert tcb.rcv_ring.length == 1000
    assert connection not in peer.stack.tcp.connections


def test_a_flow_can_be_opened_again_at_once_after_a_reset(peer: Peer) -> None:
    listener = peer.listen()
    for isn in range(0, 50_000, 1000):
        peer.isn = isn
        peer.inject("S", 0)
        peer.expect("S.", 0, 1)
        peer.inject(".", 1, 1)
        connection = listener.accept()
        peer.inject("R", 1)
        assert state_of(connection) == State.CLOSED
        connection.close(peer.now)
    assert list(peer.stack.endpoints) == [listener]


def test_timers_of_many_exchanges_do_not_pile_up(peer: Peer) -> None:
    connection = established(peer)
    connection.options.keepalive_time_ns = 7200 * SECOND
    set_option(peer, connection, "keepalive", True)
    for index in range(2000):
        peer.inject("P.", 1 + index, 1, b"x")
        peer.advance(40)
        peer.sent.clear()
        read(peer, connection)
    assert len(peer.stack.tcp.timers) < 100


def test_timers_of_connections_that_have_ended_do_not_pile_up(peer: Peer) -> None:
    listener = peer.listen()
    listener.options.keepalive = True
    for index in range(1000):
        peer.port = 1024 + index
        peer.inject("S", 0)
        peer.inject(".", 1, 1)
        connection = listener.accept()
        connection.abort(peer.now)
        peer.collect()
    peer.sent.clear()
    assert len(peer.stack.tcp.timers) < 100


def test_an_idle_connection_holds_little(peer: Peer) -> None:
    connection = established(peer)
    tcb = connection.tcb
    assert tcb.snd_ring.capacity == tcb.rcv_ring.capacity == 0
    for index in range(10):
        peer.inject("P.", 1 + 100 * index, 1 + 100 * index, bytes(100))
        read(peer, connection)
        write(peer, connection, bytes(100))
    peer.inject(".", 1001, 1001)
    assert tcb.snd_ring.capacity <= 4096
    assert tcb.rcv_ring.capacity <= 4096
    assert tcb.sent.capacity <= 4


def test_the_receive_ring_never_outgrows_the_window(peer: Peer) -> None:
    connection = established(peer, window_scale=0)
    set_option(peer, connection, "receive_buffer", 65_536)
    for start in range(0, 200_000, 500):
        peer.inject(".", 1 + start, 1, bytes(1000))
    assert connection.tcb.rcv_ring.length <= 65_536
    assert connection.tcb.rcv_ring.capacity <= 1 << 17

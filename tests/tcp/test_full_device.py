"""A device that takes nothing for a while: what could not leave leaves later, or again."""

from __future__ import annotations

import errno

import pytest

from tests.support.stream import drain, established, payload_of, state_of
from ustack.native import lib
from ustack.sim.peer import Peer
from ustack.tcp.state import State

STREAM = bytes(range(256)) * 40
FILLER = bytes(40)


def fill(peer: Peer) -> None:
    """The burst of the device has no room left."""
    while peer.interface.outgoing.append(FILLER):
        pass
    assert len(peer.interface.outgoing) == lib.BURST_FRAMES


def release(peer: Peer) -> None:
    """The device has taken what was there; what waited is sent."""
    peer.interface.outgoing.clear()
    peer.collect()


def arrive_quietly(peer: Peer, packet: bytes) -> None:
    """A packet arrives while the device takes nothing."""
    peer.burst.clear()
    peer.burst.append(packet)
    peer.stack.receive(peer.interface, peer.burst, peer.now)


def test_data_wait_for_room(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    fill(peer)
    connection.send(STREAM[:3000], 0, None, peer.now)
    assert connection.tcb.snd_nxt == connection.tcb.snd_una
    release(peer)
    assert payload_of(drain(peer)) == STREAM[:3000]
    assert not peer.stack.tcp.blocked


def test_an_ack_waits_for_room(peer: Peer) -> None:
    connection = established(peer)
    fill(peer)
    arrive_quietly(peer, peer.segment("F.", 1, 1))
    release(peer)
    peer.expect(".", 1, 2)
    assert state_of(connection) == State.CLOSE_WAIT


def test_a_fin_waits_for_room(peer: Peer) -> None:
    connection = established(peer)
    fill(peer)
    connection.close(peer.now)
    release(peer)
    peer.expect("F.", 1, 1)


def test_a_retransmission_waits_for_room(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    connection.send(STREAM[:4000], 0, None, peer.now)
    peer.collect()
    drain(peer)
    fill(peer)
    for _ in range(3):
        arrive_quietly(peer, peer.segment(".", 1, 1))
    release(peer)
    assert peer.expect(".", 1, 1).payload == STREAM[:1000]


def test_a_syn_that_found_no_room_is_sent_again(peer: Peer) -> None:
    connection = peer.socket()
    connection.bind(bytes(len(peer.local)), peer.local_port)
    fill(peer)
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    release(peer)
    peer.expect_nothing()
    peer.advance(1000)
    peer.expect("S", 0)
    peer.inject("S.", 0, 1)
    assert state_of(connection) == State.ESTABLISHED


def test_a_connection_that_ends_meanwhile_waits_no_more(peer: Peer) -> None:
    connection = established(peer)
    fill(peer)
    connection.send(STREAM, 0, None, peer.now)
    assert connection in peer.stack.tcp.blocked
    arrive_quietly(peer, peer.segment("R", 1))
    assert not peer.stack.tcp.blocked
    release(peer)
    peer.expect_nothing()
    assert connection.take_error() == errno.ECONNRESET

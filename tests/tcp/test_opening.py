"""Opening connections.  RFC 9293 §3.5, §3.10.7.1 to §3.10.7.3."""

from __future__ import annotations

import errno

import pytest

from ustack.endpoint import READABLE, WRITABLE
from ustack.sim.peer import Peer
from ustack.tcp.state import State


@pytest.fixture(params=[4, 6])
def peer(request: pytest.FixtureRequest) -> Peer:
    return Peer(request.param)


def test_passive_open_completes_the_three_way_handshake(peer: Peer) -> None:
    listener = peer.listen()
    peer.inject("S", 0, mss=1000, window_scale=7, sack_permitted=True, timestamps=(100, 0))
    syn_ack = peer.expect("S.", 0, 1)
    assert syn_ack.options.mss == 1500 - (40 if peer.version == 4 else 60)
    assert syn_ack.options.sack_permitted
    assert syn_ack.options.window_scale is not None
    assert syn_ack.options.timestamps is not None
    assert syn_ack.options.timestamps[1] == 100
    with pytest.raises(BlockingIOError):
        listener.accept()
    peer.inject(".", 1, 1, timestamps=(101, syn_ack.options.timestamps[0]))
    assert listener.readiness() & READABLE
    connection = listener.accept()
    assert connection.tcb.state == State.ESTABLISHED
    assert connection.readiness() == WRITABLE
    peer.expect_nothing()


def test_active_open_sends_syn_and_acknowledges_the_answer(peer: Peer) -> None:
    connection = peer.connect()
    syn = peer.expect("S", 0)
    assert syn.options.mss
    assert syn.options.window_scale is not None
    peer.inject("S.", 0, 1, mss=1460)
    peer.expect(".", 1, 1)
    assert connection.tcb.state == State.ESTABLISHED
    assert connection.readiness() == WRITABLE


def test_simultaneous_open_ends_established(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0, mss=1460)
    peer.expect("S.", 0, 1)
    assert connection.tcb.state == State.SYN_RECEIVED
    peer.inject("S.", 0, 1, mss=1460)
    assert connection.tcb.state == State.ESTABLISHED


def test_refused_connection_reports_econnrefused(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("R.", 0, 1)
    assert connection.take_error() == errno.ECONNREFUSED
    peer.expect_nothing()


def test_syn_to_a_closed_port_is_answered_with_rst(peer: Peer) -> None:
    peer.inject("S", 0)
    peer.expect("R.", None, 1)


def test_data_both_ways_and_orderly_close(peer: Peer) -> None:
    connection = peer.accept()
    peer.inject("P.", 1, 1, b"hello")
    buffer = bytearray(100)
    assert connection.receive_into(buffer, 0, peer.now)[0] == 5
    assert bytes(buffer[:5]) == b"hello"
    assert connection.send(b"world!", 0, None, peer.now) == 6
    peer.collect()
    peer.expect("P.", 1, 6, b"world!")
    peer.inject(".", 6, 7)
    connection.close(peer.now)
    peer.collect()
    peer.expect("F.", 7, 6)
    assert connection.tcb.state == State.FIN_WAIT_1
    peer.inject("F.", 6, 8)
    peer.expect(".", 8, 7)
    assert connection.tcb.state == State.TIME_WAIT
    peer.advance(61_000)
    assert connection.tcb.state == State.CLOSED
    assert not list(peer.stack.endpoints) or len(list(peer.stack.endpoints)) == 1

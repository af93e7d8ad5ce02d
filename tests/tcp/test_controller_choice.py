"""Which controller a connection has: TCP_CONGESTION before and while it is open, inherited, for a whole stack."""

from __future__ import annotations

import itertools

import pytest

from tests.support.stream import drain, established, set_option, write
from ustack.config import StackConfig, TcpConfig
from ustack.sim.peer import Peer
from ustack.tcp.congestion import CONTROLLERS
from ustack.tcp.connection import Connection

NAMES = sorted(CONTROLLERS)
MSS = 1000


def controller_of(connection: Connection) -> str:
    assert connection.congestion is not None
    return connection.congestion.name


def test_cubic_is_the_default(peer: Peer) -> None:
    assert controller_of(established(peer)) == "cubic"


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_may_be_configured_for_any(version: int, name: str) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(congestion_control=name)))
    assert controller_of(established(peer)) == name


@pytest.mark.parametrize("name", NAMES)
def test_what_a_listener_accepts_has_its_controller(peer: Peer, name: str) -> None:
    listener = peer.listen()
    set_option(peer, listener, "congestion_control", name)
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    connection = listener.accept()
    assert isinstance(connection, Connection)
    assert controller_of(connection) == name


def test_every_controller_can_follow_every_other_in_the_midst_of_a_transfer(peer: Peer) -> None:
    connection = established(peer, round_trip=20, window_scale=10, mss=MSS)
    peer.inject(".", 1, 1, window=60_000)
    acked = 0
    for first, second in itertools.permutations(NAMES, 2):
        for name in (first, second):
            set_option(peer, connection, "congestion_control", name)
            assert controller_of(connection) == name
            assert connection.tcb.cwnd_packets >= 2
            write(peer, connection, bytes(5 * MSS))
            while connection.tcb.snd_una != connection.tcb.snd_nxt or drain(peer):
                peer.advance(20)
                acked = connection.tcb.snd_nxt - connection.tcb.iss
                peer.inject(".", 1, acked, window=60_000)
    assert acked == 1 + 2 * 20 * 5 * MSS

"""Sequence numbers that wrap around, everywhere.  RFC 9293 §3.4."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import close, connected, drain, established, payload_of, read, sack_blocks, state_of, write
from ustack.constants import MSG_OOB
from ustack.sim.peer import Peer
from ustack.tcp import sequence
from ustack.tcp.isn import InitialSequenceNumbers
from ustack.tcp.state import State

MSS = 1000
STREAM = bytes(range(256)) * 40
EDGES = [0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF - MSS, 0xFFFFFFFF - 2500, 0x7FFFFFFF, 0x7FFFFFFF - 2500]


@pytest.fixture(params=EDGES, ids=[f"{edge:#x}" for edge in EDGES])
def near_the_edge(peer: Peer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A peer and a stack that both begin just before an edge of the sequence space."""
    monkeypatch.setattr(InitialSequenceNumbers, "choose", lambda *_: request.param)
    peer.isn = request.param
    return peer


@requirement("RFC9293", "MUST-1")
def test_opening_sending_receiving_and_closing(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer, mss=MSS, window_scale=2, sack_permitted=True)
    write(peer, connection, STREAM[:5000])
    assert payload_of(drain(peer)) == STREAM[:5000]
    for start in range(0, 5000, 1000):
        peer.inject(".", 1 + start, 1 + start, STREAM[start : start + 1000])
    assert read(peer, connection) == STREAM[:5000]
    peer.inject(".", 5001, 5001)
    drain(peer)
    close(peer, connection)
    peer.expect("F.", 5001, 5001)
    peer.inject("F.", 5001, 5002)
    peer.expect(".", 5002, 5002)
    assert state_of(connection) == State.TIME_WAIT


def test_active_opening(near_the_edge: Peer) -> None:
    connection = connected(near_the_edge)
    assert write(near_the_edge, connection, b"data") == 4
    near_the_edge.expect("P.", 1, 1, b"data")


def test_reordering_and_blocks(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer, sack_permitted=True)
    for start in range(4000, 0, -1000):
        peer.inject(".", 1 + start, 1, STREAM[start : start + 1000])
        peer.advance(1)
        assert sack_blocks(peer, peer.expect(".", 1, 1)) == [(1 + start, 5001)]
    peer.inject(".", 1, 1, STREAM[:1000])
    peer.expect(".", 1, 5001)
    assert read(peer, connection) == STREAM[:5000]


def test_trimming_and_duplicates(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer)
    peer.inject(".", 1, 1, STREAM[:1500])
    peer.inject(".", 501, 1, STREAM[500:3000])
    peer.inject(".", 1, 1, STREAM[:3000])
    peer.inject(".", -4, 1, b"12345" + STREAM[:3500])
    assert read(peer, connection) == STREAM[:3500]


def test_fast_recovery(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer, mss=MSS, round_trip=100)
    write(peer, connection, STREAM[:8000])
    drain(peer)
    for _ in range(7):
        peer.inject(".", 1, 1)
    peer.expect(".", 1, 1, STREAM[:1000])
    peer.inject(".", 1, 3001)
    peer.expect(".", 3001, 1, STREAM[3000:4000])
    peer.inject(".", 1, 8001)
    assert not connection.tcb.sent.count
    write(peer, connection, b"beyond")
    peer.inject(".", 1, 8007)
    assert not connection.tcb.ca_state


def test_a_retransmission_time_out(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer, mss=MSS, round_trip=100)
    write(peer, connection, STREAM[:4000])
    drain(peer)
    peer.advance(300)
    peer.expect(".", 1, 1, STREAM[:1000])
    peer.inject(".", 1, 2001)
    assert payload_of(drain(peer)) == STREAM[2000:4000]
    peer.inject(".", 1, 4001)
    write(peer, connection, b"beyond")
    peer.inject(".", 1, 4007)
    assert not connection.tcb.ca_state


def test_windows_and_probes(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer, mss=MSS)
    write(peer, connection, b"x")
    peer.inject(".", 1, 2, window=0)
    write(peer, connection, STREAM[:1500])
    drain(peer)
    peer.advance(201)
    peer.expect(".", 1, 1)
    peer.inject(".", 1, 2, window=1200)
    peer.expect(".", 2, 1, STREAM[:1000])


def test_resets_and_challenges(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer)
    peer.inject("R", 0)
    peer.expect_nothing()
    peer.inject("R", 2)
    peer.expect(".", 1, 1)
    peer.inject("R", 1)
    assert state_of(connection) == State.CLOSED


def test_urgent_data(near_the_edge: Peer) -> None:
    peer = near_the_edge
    connection = established(peer, mss=MSS)
    write(peer, connection, STREAM[:2500], MSG_OOB)
    assert all(each.seq + each.urgent_pointer == 2501 for each in drain(peer))
    peer.inject("PU.", 1, 1, b"abc!def", urgent_pointer=4)
    assert read(peer, connection, 1, MSG_OOB) == b"!"
    assert read(peer, connection) == b"abc"
    assert read(peer, connection) == b"def"


def test_resets_of_a_host_without_a_connection(near_the_edge: Peer) -> None:
    peer = near_the_edge
    peer.inject("S", 0)
    peer.expect("R.", None, 1)
    peer.inject("P", 0, payload=bytes(3000))
    peer.expect("R.", None, 3000)


class TestNumbersLeftFarBehind:
    """What a connection remembers of more than 2^31 bytes ago.

    The numbers are moved back by hand: to send so much would take too long.
    """

    FAR = (1 << 31) + 12_345

    def far_behind(self, number: int) -> int:
        return sequence.add(number, -self.FAR)

    def test_a_small_segment_of_long_ago_holds_nothing_back(self, peer: Peer) -> None:
        connection = established(peer, mss=MSS)
        connection.tcb.snd_sml = self.far_behind(connection.tcb.snd_una)
        write(peer, connection, b"small")
        peer.expect("P.", 1, 1, b"small")

    def test_a_recovery_of_long_ago_does_not_prevent_another(self, peer: Peer) -> None:
        connection = established(peer, mss=MSS)
        connection.tcb.recovery_point = self.far_behind(connection.tcb.snd_una)
        write(peer, connection, STREAM[:8000])
        drain(peer)
        for _ in range(3):
            peer.inject(".", 1, 1)
        peer.expect(".", 1, 1, STREAM[:1000])

    def test_urgent_data_of_long_ago_do_not_hide_others(self, peer: Peer) -> None:
        connection = established(peer)
        connection.tcb.rcv_up = self.far_behind(connection.tcb.rcv_nxt)
        peer.inject("PU.", 1, 1, b"?", urgent_pointer=1)
        assert read(peer, connection, 1, MSG_OOB) == b"?"

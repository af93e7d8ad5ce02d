"""Loss recovery by the scoreboard of SACK blocks, on the wire.  RFC 2018, RFC 6675."""

from __future__ import annotations

from tests.support.requirement import requirement
from tests.support.stream import drain, established, write
from tests.tcp.test_rack_tlp import MSS, acknowledge
from ustack.native import lib
from ustack.sim.peer import Peer
from ustack.tcp import flight
from ustack.tcp.connection import Connection


def sending(peer: Peer, segments: int = 10) -> Connection:
    """A connection with ten segments on their way over a path of 100 ms."""
    connection = established(peer, mss=MSS, sack_permitted=True, round_trip=100)
    write(peer, connection, bytes(segments * MSS))
    drain(peer)
    peer.advance(100)
    return connection


@requirement("RFC6675", "3")
def test_the_scoreboard_holds_what_the_blocks_have_told(peer: Peer) -> None:
    connection = sending(peer)
    tcb = connection.tcb
    acknowledge(peer, connection, 1, (2 * MSS + 1, 3 * MSS + 1))
    acknowledge(peer, connection, 1, (4 * MSS + 1, 5 * MSS + 1), (2 * MSS + 1, 3 * MSS + 1))
    assert (tcb.sent.sacked_segments, tcb.sent.segments) == (2, 10)
    peer.inject(".", 1, 4 * MSS + 1)
    assert (tcb.sent.sacked_segments, tcb.sent.segments) == (1, 6)


@requirement("RFC6675", "3")
def test_a_receiver_that_takes_its_blocks_back_is_not_believed_after_a_time_out(peer: Peer) -> None:
    """The ACK stands where a block begins: what was told to be there is not.  RFC 2018 §8."""
    connection = sending(peer)
    acknowledge(peer, connection, 1, (MSS + 1, 10 * MSS + 1))
    peer.inject(".", 1, MSS + 1)
    peer.advance(5000)
    assert connection.tcb.sent.sacked_segments == 0


@requirement("RFC6675", "4")
def test_what_is_in_flight_follows_from_the_scoreboard(peer: Peer) -> None:
    """Ten sent, five of them arrived, one lost and sent again."""
    connection = sending(peer)
    tcb = connection.tcb
    acknowledge(peer, connection, 1, (MSS + 1, 6 * MSS + 1))
    assert (tcb.sent.sacked_segments, tcb.sent.lost_segments, tcb.sent.retransmitted_segments) == (5, 1, 1)
    assert flight.packets_in_flight(tcb) == 10 - 5 - 1 + 1


@requirement("RFC6675", "5")
def test_recovery_sends_lost_data_first_then_new_and_ends_at_the_recovery_point(peer: Peer) -> None:
    connection = sending(peer)
    tcb = connection.tcb
    write(peer, connection, bytes(10 * MSS))
    drain(peer)
    acknowledge(peer, connection, 1, (MSS + 1, 2 * MSS + 1), (3 * MSS + 1, 6 * MSS + 1))
    assert tcb.ca_state == lib.CA_RECOVERY
    order = [sent.seq for sent in drain(peer)]
    peer.advance(50)
    for arrived in (7, 8, 9, 10):
        acknowledge(peer, connection, 1, (MSS + 1, 2 * MSS + 1), (3 * MSS + 1, arrived * MSS + 1))
        order += [sent.seq for sent in drain(peer)]
    assert order[:2] == [1, 2 * MSS + 1]
    assert order[2:]
    assert all(seq > 10 * MSS for seq in order[2:])
    peer.inject(".", 1, 10 * MSS + 1)
    assert tcb.ca_state == lib.CA_OPEN


@requirement("RFC6675", "5.1")
def test_a_time_out_ends_the_recovery_and_starts_slow_start(peer: Peer) -> None:
    connection = sending(peer)
    tcb = connection.tcb
    acknowledge(peer, connection, 1, (MSS + 1, 4 * MSS + 1))
    assert tcb.ca_state == lib.CA_RECOVERY
    drain(peer)
    peer.advance(2000)
    assert tcb.ca_state == lib.CA_LOSS
    assert tcb.cwnd_packets == 1
    assert peer.sent[0].seq == 1
    before = tcb.cwnd_packets
    drain(peer)
    peer.inject(".", 1, 4 * MSS + 1)
    assert tcb.cwnd_packets > before

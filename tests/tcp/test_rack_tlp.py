"""RACK and tail loss probes, on the wire.  RFC 8985."""

from __future__ import annotations

from tests.support.requirement import requirement
from tests.support.stream import drain, established, write
from ustack.native import ffi, lib
from ustack.sim.peer import MILLISECOND, Peer
from ustack.tcp.connection import Connection

MSS = 1000


def opened(peer: Peer) -> Connection:
    """A connection with SACK over a path of 100 ms; its window is ten segments."""
    return established(peer, mss=MSS, sack_permitted=True, round_trip=100)


def acknowledge(peer: Peer, connection: Connection, ack: int, *blocks: tuple[int, int]) -> None:
    """An ACK with SACK blocks, all relative."""
    iss = int(connection.tcb.iss)
    edges = [((iss + left) % (1 << 32), (iss + right) % (1 << 32)) for left, right in blocks]
    peer.inject(".", 1, ack, sack_blocks=edges)


@requirement("RFC8985", "6.1")
def test_a_segment_that_is_sent_again_has_a_new_time_of_transmission(peer: Peer) -> None:
    connection = opened(peer)
    write(peer, connection, bytes(10 * MSS))
    first = peer.now
    drain(peer)
    peer.advance(100)
    acknowledge(peer, connection, 1, (MSS + 1, 4 * MSS + 1))
    assert peer.expect(".", 1, 1).now == peer.now
    sent = ffi.addressof(connection.tcb, "sent")
    times = [lib.sent_queue_at(sent, index).xmit_ns for index in range(sent.count)]
    assert times[0] == peer.now
    assert set(times[1:]) <= {first, peer.now}


@requirement("RFC8985", "6.2")
def test_three_segments_delivered_after_one_sent_before_them_tell_that_it_is_lost(peer: Peer) -> None:
    """No reordering was ever seen: the window for it is closed."""
    connection = opened(peer)
    write(peer, connection, bytes(10 * MSS))
    drain(peer)
    peer.advance(100)
    acknowledge(peer, connection, 1, (MSS + 1, 3 * MSS + 1))
    peer.expect_nothing()
    acknowledge(peer, connection, 1, (MSS + 1, 4 * MSS + 1))
    assert connection.tcb.min_rtt_ns == 100 * MILLISECOND
    peer.expect(".", 1, 1, bytes(MSS))


@requirement("RFC8985", "6.3")
def test_one_segment_delivered_early_leaves_a_quarter_of_the_round_trip_to_the_one_before(peer: Peer) -> None:
    connection = opened(peer)
    write(peer, connection, bytes(10 * MSS))
    drain(peer)
    peer.advance(100)
    acknowledge(peer, connection, 1, (MSS + 1, 2 * MSS + 1))
    at = peer.now
    peer.expect_nothing()
    peer.advance(60)
    assert 25 * MILLISECOND <= peer.expect(".", 1, 1, bytes(MSS)).now - at <= 29 * MILLISECOND


@requirement("RFC8985", "6.3")
def test_what_arrives_within_that_time_was_only_reordered(peer: Peer) -> None:
    connection = opened(peer)
    write(peer, connection, bytes(10 * MSS))
    drain(peer)
    peer.advance(100)
    acknowledge(peer, connection, 1, (MSS + 1, 2 * MSS + 1))
    peer.advance(10)
    peer.inject(".", 1, 10 * MSS + 1)
    peer.advance(1000)
    peer.expect_nothing()
    assert connection.tcb.retransmissions == 0


@requirement("RFC8985", "7.2")
@requirement("RFC8985", "7.3")
def test_the_last_segment_is_sent_again_two_round_trips_after_it(peer: Peer) -> None:
    connection = opened(peer)
    write(peer, connection, bytes(3 * MSS))
    at = peer.now
    drain(peer)
    peer.advance(250)
    probe = peer.expect("P.", 2 * MSS + 1, 1, bytes(MSS))
    assert 200 * MILLISECOND <= probe.now - at <= 204 * MILLISECOND
    peer.expect_nothing()


@requirement("RFC8985", "7.3")
def test_the_probe_is_new_data_where_there_are_any(peer: Peer) -> None:
    connection = opened(peer)
    write(peer, connection, bytes(12 * MSS))
    assert sum(len(sent.payload) for sent in drain(peer)) == 10 * MSS
    peer.advance(250)
    peer.expect(".", 10 * MSS + 1, 1, bytes(MSS))
    peer.expect_nothing()


@requirement("RFC8985", "7.4")
def test_a_loss_that_the_probe_has_repaired_counts_as_congestion(peer: Peer) -> None:
    connection = opened(peer)
    write(peer, connection, bytes(3 * MSS))
    peer.advance(250)
    drain(peer)
    before = connection.tcb.cwnd_packets
    peer.inject(".", 1, 3 * MSS + 1)
    assert connection.tcb.ssthresh_packets == 0x7FFFFFFF, "the duplicate may still be told"
    write(peer, connection, bytes(MSS))
    peer.inject(".", 1, 4 * MSS + 1)
    assert connection.tcb.ssthresh_packets < before


@requirement("RFC8985", "7.4")
def test_a_probe_that_has_arrived_twice_was_none(peer: Peer) -> None:
    """The duplicate is told by DSACK: nothing was lost."""
    connection = opened(peer)
    write(peer, connection, bytes(3 * MSS))
    peer.advance(250)
    drain(peer)
    acknowledge(peer, connection, 3 * MSS + 1, (2 * MSS + 1, 3 * MSS + 1))
    peer.advance(100)
    assert connection.tcb.ssthresh_packets == 0x7FFFFFFF

"""Loss recovery with SACK: scoreboard, RACK, the tail loss probe, and the way out.  RFC 6675, RFC 8985, RFC 6937."""

from __future__ import annotations

from tests.support.requirement import requirement
from tests.support.stream import drain, established, write
from ustack.native import ffi, lib
from ustack.sim.peer import Peer
from ustack.tcp import sequence
from ustack.tcp.connection import Connection

MSS = 1000
STREAM = bytes(range(256)) * 400


def sending(peer: Peer, segments: int = 10) -> Connection:
    """A connection whose segments have left 100 ms ago, which is its round trip."""
    peer.stack.config.tcp.congestion_control = "reno"
    connection = established(peer, mss=MSS, round_trip=100, sack_permitted=True)
    write(peer, connection, STREAM[: segments * MSS])
    assert len(drain(peer)) == min(segments, 10)
    peer.advance(100)
    return connection


def at(index: int) -> int:
    """The sequence number of segment `index`."""
    return 1 + MSS * index


def sack(peer: Peer, ack: int, *blocks: tuple[int, int]) -> None:
    """An ACK of segment `ack` with blocks of segments, in relative numbers."""
    assert peer.stack_isn is not None
    isn = peer.stack_isn
    told = tuple((sequence.add(isn, at(start)), sequence.add(isn, at(end))) for start, end in blocks)
    peer.inject(".", 1, at(ack), sack_blocks=told)


def sent_segments(peer: Peer) -> list[int]:
    """The indexes of the segments that were sent."""
    return [(each.seq - 1) // MSS for each in drain(peer) if each.payload]


@requirement("RFC6675", "3")
@requirement("RFC6675", "4")
def test_what_is_sacked_lost_and_in_flight_follows_from_the_scoreboard(peer: Peer) -> None:
    connection = sending(peer)
    sack(peer, 0, (2, 4), (6, 9))
    sent = connection.tcb.sent
    assert (sent.sacked_segments, sent.lost_segments) == (5, 4)
    assert sent_segments(peer)[:2] == [0, 1]
    assert lib.sent_queue_in_flight(ffi.addressof(connection.tcb, "sent")) == 10 - 5 - 4 + sent.retransmitted_segments


@requirement("RFC6675", "5")
def test_the_lost_go_before_the_new_and_the_recovery_ends_at_its_point(peer: Peer) -> None:
    connection = sending(peer, 20)
    sack(peer, 0, (1, 8))
    assert sent_segments(peer)[0] == 0
    assert connection.tcb.ca_state == lib.CA_RECOVERY
    point = connection.tcb.recovery_point
    sack(peer, 0, (1, 10))
    assert all(index >= 10 for index in sent_segments(peer))
    peer.advance(100)
    peer.inject(".", 1, at(10))
    assert connection.tcb.snd_una == point
    assert connection.tcb.ca_state == lib.CA_OPEN
    assert connection.tcb.ssthresh_packets == 5


@requirement("RFC6675", "5.1")
def test_a_time_out_ends_the_recovery_and_begins_slow_start(peer: Peer) -> None:
    connection = sending(peer)
    sack(peer, 0, (1, 5))
    assert sent_segments(peer) == [0]
    peer.advance(1000)
    assert connection.tcb.ca_state == lib.CA_LOSS
    assert connection.tcb.cwnd_packets < connection.tcb.ssthresh_packets == 5


@requirement("RFC8985", "6.1")
def test_a_segment_sent_again_is_as_young_as_its_last_copy(peer: Peer) -> None:
    connection = sending(peer)
    sack(peer, 0, (1, 4))
    assert sent_segments(peer) == [0]
    peer.advance(10)
    sack(peer, 0, (1, 10))
    assert sent_segments(peer) == []
    assert connection.tcb.sent.retransmitted_segments == 1, "what was sent after the originals proves nothing of it"


@requirement("RFC8985", "6.2")
def test_an_ack_advances_what_rack_knows(peer: Peer) -> None:
    connection = sending(peer)
    sack(peer, 2, (5, 6))
    rack = connection.tcb.rack
    assert (rack.rtt_ns, rack.end) == (100_000_000, sequence.add(connection.tcb.snd_una, 4 * MSS))
    assert connection.tcb.min_rtt_ns == 100_000_000
    assert connection.tcb.ca_state == lib.CA_DISORDER


@requirement("RFC8985", "6.3")
def test_the_reordering_timer_declares_lost_what_has_not_come(peer: Peer) -> None:
    connection = sending(peer)
    sack(peer, 0, (9, 10))
    assert connection.tcb.retransmit_kind == lib.RETRANSMIT_REORDERING
    peer.advance(26)
    assert sent_segments(peer) == []
    peer.advance(2)
    assert sent_segments(peer)[0] == 0
    assert connection.tcb.sent.lost_segments == 9


@requirement("RFC8985", "7.2")
@requirement("RFC8985", "7.3")
def test_the_probe_is_the_last_segment_after_two_round_trips(peer: Peer) -> None:
    connection = sending(peer)
    assert connection.tcb.retransmit_kind == lib.RETRANSMIT_TLP
    peer.advance(101)
    assert sent_segments(peer) == []
    peer.advance(2)
    assert sent_segments(peer) == [9]
    assert connection.tcb.retransmit_kind == lib.RETRANSMIT_RTO


@requirement("RFC8985", "7.3")
def test_new_data_are_the_better_probe(peer: Peer) -> None:
    sending(peer, 11)
    peer.advance(103)
    assert sent_segments(peer) == [10]


@requirement("RFC8985", "7.4")
def test_a_probe_that_has_repaired_a_loss_brings_the_window_down(peer: Peer) -> None:
    connection = sending(peer)
    peer.advance(103)
    drain(peer)
    peer.inject(".", 1, at(10))
    write(peer, connection, STREAM[:MSS])
    drain(peer)
    peer.inject(".", 1, at(11))
    assert connection.tcb.ssthresh_packets == 10, "half of the twenty that slow start had reached"


@requirement("RFC8985", "7.4")
def test_a_probe_that_the_peer_had_already_costs_nothing(peer: Peer) -> None:
    connection = sending(peer)
    peer.advance(103)
    drain(peer)
    peer.inject(".", 1, at(10))
    sack(peer, 10, (9, 10))
    write(peer, connection, STREAM[:MSS])
    drain(peer)
    peer.inject(".", 1, at(11))
    assert connection.tcb.ssthresh_packets == 0x7FFFFFFF
    assert not connection.tcb.tlp_outstanding


def test_reordering_widens_the_window_and_dsacks_widen_it_further(peer: Peer) -> None:
    connection = sending(peer)
    sack(peer, 0, (5, 6))
    peer.inject(".", 1, at(10))
    tcb = connection.tcb
    assert tcb.reordering_seen >= 1
    write(peer, connection, STREAM[: 10 * MSS])
    drain(peer)
    peer.advance(100)
    sack(peer, 10, (11, 20))
    peer.advance(30)
    assert sent_segments(peer) == [10]
    peer.inject(".", 1, at(20))
    sack(peer, 20, (10, 11))
    write(peer, connection, STREAM[:MSS])
    peer.inject(".", 1, at(21))
    assert tcb.rack.reo_wnd_steps == 2


def test_a_second_recovery_does_not_begin_before_the_first_is_over(peer: Peer) -> None:
    connection = sending(peer, 30)
    sack(peer, 0, (1, 8))
    ssthresh = connection.tcb.ssthresh_packets
    drain(peer)
    peer.advance(100)
    sack(peer, 8, (9, 11))
    assert connection.tcb.ssthresh_packets == ssthresh
    assert connection.tcb.ca_state == lib.CA_RECOVERY

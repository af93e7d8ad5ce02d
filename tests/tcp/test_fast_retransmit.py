"""Loss told by duplicate ACKs: fast retransmit, NewReno's recovery, limited transmit.  RFC 5681 §3.2, 6582, 3042."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, established, payload_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.sim.peer import Peer
from ustack.tcp import sequence
from ustack.tcp.connection import Connection

MSS = 1000
STREAM = bytes(range(256)) * 400


@pytest.fixture
def peer(version: int) -> Peer:
    """The peer of a stack with Reno, whose numbers are easily told."""
    return Peer(version, StackConfig(tcp=TcpConfig(congestion_control="reno")))


def sending(peer: Peer, segments: int = 10) -> Connection:
    """A connection with `segments` full segments in flight and more to send; its round trip is 100 ms."""
    connection = established(peer, mss=MSS, round_trip=100)
    write(peer, connection, STREAM[: (segments + 40) * MSS])
    sent = drain(peer)
    assert [each.seq for each in sent] == [1 + MSS * index for index in range(10)]
    return connection


def duplicate(peer: Peer, ack: int, count: int = 1) -> None:
    """`count` duplicate ACKs."""
    for _ in range(count):
        peer.inject(".", 1, ack)


def sacked(peer: Peer, start: int, end: int) -> tuple[int, int]:
    """A SACK block of relative sequence numbers."""
    assert peer.stack_isn is not None
    return sequence.add(peer.stack_isn, start), sequence.add(peer.stack_isn, end)


def at(index: int) -> int:
    """The sequence number of segment `index`."""
    return 1 + MSS * index


@requirement("RFC5681", "3.2")
def test_the_third_duplicate_ack_sends_the_first_segment_again(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 2)
    assert [each.seq for each in drain(peer)] == [at(10), at(11)]
    duplicate(peer, at(0))
    peer.expect(".", at(0), 1, STREAM[:MSS])
    peer.expect_nothing()
    assert connection.tcb.retransmissions == 1


@requirement("RFC3042", "2")
def test_the_first_two_duplicate_acks_send_a_new_segment_each(peer: Peer) -> None:
    sending(peer)
    duplicate(peer, at(0))
    peer.expect(".", at(10))
    peer.expect_nothing()
    duplicate(peer, at(0))
    peer.expect(".", at(11))
    peer.expect_nothing()


@requirement("RFC3042", "2")
def test_limited_transmit_respects_the_window_of_the_peer(peer: Peer) -> None:
    connection = established(peer, mss=MSS, window=10 * MSS, round_trip=100)
    write(peer, connection, STREAM[: 20 * MSS])
    drain(peer)
    for _ in range(2):
        peer.inject(".", 1, 1, window=10 * MSS)
    peer.expect_nothing()


@requirement("RFC5681", "3.2")
def test_ssthresh_becomes_half_of_the_window(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 3)
    assert connection.tcb.ssthresh_packets == 5


@requirement("RFC5681", "3.2")
def test_ssthresh_is_at_least_two_segments(peer: Peer) -> None:
    peer.stack.config.tcp.initial_window_segments = 3
    connection = established(peer, mss=MSS, round_trip=100)
    write(peer, connection, STREAM[: 4 * MSS])
    drain(peer)
    duplicate(peer, at(0), 3)
    assert connection.tcb.ssthresh_packets == 2


@requirement("RFC5681", "3.2")
def test_more_duplicate_acks_let_new_data_out_at_half_the_rate(peer: Peer) -> None:
    sending(peer)
    duplicate(peer, at(0), 3)
    drain(peer)
    released = []
    for _ in range(8):
        duplicate(peer, at(0))
        released.append([each.seq for each in drain(peer)])
    assert released == [[], [at(12)], [], [at(13)], [], [], [at(14)], [at(15)]]


@requirement("RFC6582", "3.2")
def test_a_full_acknowledgment_ends_the_recovery(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 11)
    drain(peer)
    peer.inject(".", 1, at(12))
    tcb = connection.tcb
    assert tcb.ca_state == 3, "but not before something beyond it is acknowledged"
    peer.inject(".", 1, at(13))
    assert tcb.ca_state == 0
    assert tcb.dup_acks == 0
    flight = (tcb.snd_nxt - tcb.snd_una) % (1 << 32)
    assert tcb.cwnd_packets == 5
    assert flight <= tcb.cwnd_packets * MSS


@requirement("RFC6937", "3")
def test_after_the_recovery_the_window_is_ssthresh(peer: Peer) -> None:
    connection = established(peer, mss=MSS, round_trip=100)
    write(peer, connection, STREAM[: 10 * MSS])
    drain(peer)
    duplicate(peer, at(0), 9)
    drain(peer)
    peer.inject(".", 1, at(10))
    assert connection.tcb.cwnd_packets == 5
    write(peer, connection, STREAM[10 * MSS : 20 * MSS])
    assert len(drain(peer)) == 5


@requirement("RFC6582", "3.2")
def test_a_partial_acknowledgment_sends_the_next_hole_again(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 9)
    drain(peer)
    peer.inject(".", 1, at(3))
    assert drain(peer)[0].payload == STREAM[3 * MSS : 4 * MSS]
    assert connection.tcb.ca_state
    peer.inject(".", 1, at(6))
    assert drain(peer)[0].payload == STREAM[6 * MSS : 7 * MSS]
    assert connection.tcb.ca_state
    assert connection.tcb.cwnd_packets == 5


@requirement("RFC5681", "4.3")
@requirement("RFC6582", "3.2")
def test_every_hole_is_sent_again_once_in_one_recovery(peer: Peer) -> None:
    """Segments 0, 2 and 4 of ten are lost."""
    connection = sending(peer)
    received = [False, True, False, True, False] + [True] * 5 + [False] * 30
    resent = []
    arriving = 7
    for _ in range(60):
        ack = received.index(False)
        for _ in range(arriving):
            peer.inject(".", 1, at(ack))
        arriving = 0
        for sent in drain(peer):
            index = (sent.seq - 1) // MSS
            if index in (0, 2, 4):
                resent.append(index)
            received[index] = True
            arriving += 1
        if received.index(False) > 12:
            break
        arriving = max(arriving, 1)
    assert resent == [0, 2, 4]
    assert connection.tcb.retransmissions == 3


@requirement("RFC6582", "3.2")
def test_old_duplicate_acks_do_not_begin_a_second_recovery(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 3)
    point = connection.tcb.recovery_point
    drain(peer)
    peer.inject(".", 1, at(12))
    assert connection.tcb.recovery_point == point
    retransmissions = connection.tcb.retransmissions
    drain(peer)
    duplicate(peer, at(12), 10)
    assert connection.tcb.retransmissions == retransmissions
    assert len(drain(peer)) <= 2


@requirement("RFC6582", "3.2")
def test_a_loss_after_the_recovery_begins_another(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 3)
    drain(peer)
    peer.inject(".", 1, at(12))
    drain(peer)
    peer.inject(".", 1, at(13))
    drain(peer)
    duplicate(peer, at(13), 3)
    assert connection.tcb.ca_state
    assert at(13) in [each.seq for each in drain(peer)]


@requirement("RFC6582", "4")
def test_after_a_time_out_duplicate_acks_do_not_begin_a_fast_recovery(peer: Peer) -> None:
    connection = sending(peer)
    peer.advance(300)
    peer.expect(".", at(0))
    duplicate(peer, at(0), 9)
    peer.expect_nothing()
    assert connection.tcb.ssthresh_packets == 5


@requirement("RFC5681", "3.1")
def test_a_time_out_in_a_fast_recovery_starts_over_from_one_segment(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 3)
    drain(peer)
    peer.advance(300)
    assert [each.seq for each in drain(peer)] == [at(0)]
    assert connection.tcb.cwnd_packets == 1


@requirement("RFC5681", "2")
def test_acks_that_are_no_duplicates_are_not_counted(peer: Peer) -> None:
    connection = sending(peer)
    peer.inject("P.", 1, at(0), b"data")
    peer.inject("P.", 5, at(0), b"data")
    peer.inject("P.", 9, at(0), b"data", window=30_000)
    assert connection.tcb.dup_acks == 0
    for window in (40_000, 50_000, 60_000):
        peer.inject(".", 13, at(0), window=window)
    assert connection.tcb.dup_acks == 0
    peer.inject("F.", 13, at(0), window=65_200)
    assert connection.tcb.dup_acks == 0
    assert not [each for each in drain(peer) if each.seq == at(0)]


@requirement("RFC5681", "2")
def test_acks_with_nothing_outstanding_are_not_counted(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    duplicate(peer, 1, 5)
    assert connection.tcb.dup_acks == 0


def test_a_new_ack_forgets_the_duplicates_before(peer: Peer) -> None:
    connection = sending(peer)
    duplicate(peer, at(0), 2)
    peer.inject(".", 1, at(1))
    duplicate(peer, at(1), 2)
    assert not connection.tcb.retransmissions
    duplicate(peer, at(1))
    assert connection.tcb.retransmissions == 1


def test_duplicate_acks_of_one_burst_count_each(peer: Peer) -> None:
    sending(peer)
    peer.arrive([peer.segment(".", 1, at(0)) for _ in range(3)])
    assert at(0) in [each.seq for each in drain(peer)]


@pytest.mark.parametrize("lost", [0, 3, 7, 9])
def test_a_single_loss_costs_a_single_retransmission(peer: Peer, lost: int) -> None:
    connection = established(peer, mss=MSS, round_trip=100)
    write(peer, connection, STREAM[: 13 * MSS])
    arrived: set[int] = set()
    resent = 0
    pending = drain(peer)
    for _ in range(30):
        acks = []
        for sent in pending:
            index = (sent.seq - 1) // MSS
            if index == lost and not resent and index not in arrived and not connection.tcb.retransmissions:
                continue
            resent += index == lost
            arrived.add(index)
            acks.append(next(each for each in range(20) if each not in arrived))
        for ack in acks:
            peer.inject(".", 1, at(ack))
        pending = drain(peer)
        if not pending:
            peer.advance(1000)
            pending = drain(peer)
    assert arrived == set(range(13))
    assert connection.tcb.retransmissions == 1
    assert connection.tcb.sent.count == 0


def test_the_retransmission_is_cut_to_the_segment_size_of_now(peer: Peer) -> None:
    connection = established(peer, mss=MSS, round_trip=100, sack_permitted=True)
    write(peer, connection, STREAM[: 10 * MSS])
    drain(peer)
    peer.inject(".", 101, 1, b"hole before this")
    peer.expect(".", at(10), 1)
    for index in range(3):
        peer.inject(".", 117, 1, sack_blocks=(sacked(peer, at(9 - index), at(10)),))
    sent = peer.expect(".", at(0), 1)
    assert sent.payload == STREAM[: MSS - 12]
    assert payload_of([sent]) == STREAM[: MSS - 12]

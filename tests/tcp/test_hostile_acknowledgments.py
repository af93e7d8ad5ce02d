"""Acknowledgments that lie: what a peer's ACKs and SACK blocks must not do to a sender.  RFC 5961 §5, RFC 2018 §8."""

from __future__ import annotations

import random

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, established, write
from ustack.native import ffi, lib
from ustack.sim.peer import Peer
from ustack.tcp import sequence
from ustack.tcp.connection import Connection

MSS = 1000
STREAM = bytes(400_000)


def sending(peer: Peer, segments: int = 10, *, sack: bool = True) -> Connection:
    """A connection with ten full segments in flight and more to send; its round trip is 100 ms."""
    connection = established(peer, mss=MSS, round_trip=100, window_scale=4, window=60_000, sack_permitted=sack)
    peer.inject(".", 1, 1, window=60_000)
    write(peer, connection, STREAM[: segments * MSS])
    drain(peer)
    peer.advance(100)
    return connection


def block(peer: Peer, start: int, end: int) -> tuple[int, int]:
    """A SACK block of relative sequence numbers."""
    assert peer.stack_isn is not None
    return sequence.add(peer.stack_isn, start), sequence.add(peer.stack_isn, end)


def check_queue(connection: Connection) -> None:
    """Entries follow one another, and the counts are those of their flags."""
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    seq, sums = int(tcb.snd_una), [0, 0, 0, 0]
    for index in range(sent.count):
        entry = lib.sent_queue_at(sent, index)
        count = lib.sent_segment_count(entry)
        assert entry.seq == seq
        seq = entry.end
        for place, flag in enumerate((0, lib.SENT_SACKED, lib.SENT_LOST, lib.SENT_RESENT)):
            sums[place] += count if not flag or entry.flags & flag else 0
    assert seq == tcb.snd_nxt
    assert sums == [sent.segments, sent.sacked_segments, sent.lost_segments, sent.retransmitted_segments]


@requirement("RFC5961", "5.2")
def test_an_optimistic_ack_acknowledges_nothing(peer: Peer) -> None:
    connection = sending(peer)
    una = connection.tcb.snd_una
    for ack in (10_002, 50_000, 1 << 31):
        peer.inject(".", 1, ack, window=60_000)
    assert connection.tcb.snd_una == una
    assert connection.tcb.cwnd_packets == 10


def test_divided_acks_open_the_window_no_further_than_whole_ones(peer: Peer) -> None:
    connection = sending(peer)
    for ack in range(11, 10_002, 10):
        peer.inject(".", 1, ack, window=60_000)
    assert connection.tcb.cwnd_packets <= 20


@pytest.mark.parametrize("seed", range(6))
def test_sack_blocks_at_random_keep_the_scoreboard_whole(peer: Peer, seed: int) -> None:
    rng = random.Random(seed)
    connection = sending(peer, 40)
    entries = 0
    for _ in range(400):
        blocks = []
        for _ in range(rng.randint(1, 3)):
            start = rng.randint(-3000, 45_000)
            blocks.append(block(peer, start, start + rng.choice((-500, 0, 1, 700, 1000, 5000, 30_000))))
        ack = rng.choice((1, 1, 1, 1 + rng.randint(0, 9) * 500))
        peer.inject(".", 1, ack, window=rng.choice((60_000, 60_000, 10, 0)), sack_blocks=tuple(blocks))
        if rng.random() < 0.1:
            peer.advance(rng.choice((1, 30, 400)))
        check_queue(connection)
        entries = max(entries, connection.tcb.sent.count)
    assert entries <= 60, "no more entries than segments"
    assert connection.tcb.cwnd_packets >= 1


def test_thousands_of_different_blocks_cost_no_more_entries_than_segments(peer: Peer) -> None:
    connection = sending(peer, 60)
    for start in range(0, 10_000, 3):
        peer.inject(".", 1, 1, window=60_000, sack_blocks=(block(peer, start + 2, start + 4),))
    assert connection.tcb.sent.sacked_segments == 0
    assert connection.tcb.sent.count <= 60


@requirement("RFC2018", "8")
def test_a_peer_that_reneges_gets_everything_again(peer: Peer) -> None:
    connection = sending(peer)
    peer.inject(".", 1, 1, window=60_000, sack_blocks=(block(peer, 1001, 10_001),))
    drain(peer)
    peer.inject(".", 1, 1001, window=60_000)
    drain(peer)
    peer.advance(60)
    assert connection.tcb.ca_state == lib.CA_LOSS
    assert connection.tcb.sent.sacked_segments == 0
    got, ack = {1}, 1001
    for _ in range(20):
        for sent in drain(peer):
            got.add(sent.seq)
            ack = max(ack, sent.seq + len(sent.payload))
        peer.inject(".", 1, ack, window=60_000)
        peer.advance(100)
    assert got >= {1001 + 1000 * index for index in range(9)}
    assert not connection.tcb.sent.count


def test_an_ack_that_was_only_overtaken_is_no_reneging(peer: Peer) -> None:
    connection = sending(peer)
    peer.inject(".", 1, 1, window=60_000, sack_blocks=(block(peer, 1001, 10_001),))
    drain(peer)
    peer.inject(".", 1, 1001, window=60_000)
    peer.advance(20)
    peer.inject(".", 1, 10_001, window=60_000)
    peer.advance(100)
    assert not connection.tcb.sent.count
    assert connection.tcb.timeouts == 0


def test_duplicated_dsacks_do_not_undo_twice_nor_widen_the_window_without_end(peer: Peer) -> None:
    connection = sending(peer)
    peer.inject(".", 1, 1, window=60_000, sack_blocks=(block(peer, 1001, 5001),))
    drain(peer)
    peer.inject(".", 1, 10_001, window=60_000)
    for _ in range(300):
        peer.inject(".", 1, 10_001, window=60_000, sack_blocks=(block(peer, 1, 1001),))
    tcb = connection.tcb
    assert tcb.rack.reo_wnd_steps <= 2
    assert tcb.undo_retrans >= 0
    assert tcb.cwnd_packets <= 11


def test_acks_of_the_past_with_blocks_of_the_future_are_harmless(peer: Peer) -> None:
    connection = sending(peer)
    peer.inject(".", 1, 5001, window=60_000)
    for _ in range(50):
        peer.inject(".", 1, 1001, window=60_000, sack_blocks=(block(peer, 50_001, 60_001), block(peer, 1, 3001)))
    check_queue(connection)
    assert connection.tcb.sent.sacked_segments == 0


def test_timestamps_that_run_ahead_or_vanish_undo_nothing(peer: Peer) -> None:
    connection = established(peer, mss=MSS + 12, round_trip=100, timestamps=(1, 0), sack_permitted=True)
    write(peer, connection, STREAM[: 10 * MSS])
    echo = drain(peer)[0].options.timestamps
    assert echo is not None
    peer.advance(100)
    peer.inject(".", 1, 1, timestamps=(2, echo[0]), sack_blocks=(block(peer, 1001, 5001),))
    ssthresh = connection.tcb.ssthresh_packets
    peer.inject(".", 1, 5001, timestamps=(3, 0))
    peer.inject(".", 1, 10_001, timestamps=(3, sequence.add(echo[0], 1 << 20)))
    assert connection.tcb.ssthresh_packets == ssthresh < 10

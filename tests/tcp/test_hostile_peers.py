"""Peers that cheat, or attack: each gains nothing, and costs a bounded amount of memory and work.

Work is counted in lines of Python and in segments, never in seconds.
"""

from __future__ import annotations

import errno
import random

import pytest

from tests.support.counting import lines_run
from tests.support.icmp_reports import report
from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import close, connected, drain, established, payload_of, read, set_option, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.native import ffi, lib
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State
from ustack.wire import icmpv4, icmpv6

MSS = 1000
MINUTE = 60_000
"""In milliseconds."""
STREAM = bytes(range(256)) * 400


def held_bytes(connection: Connection) -> int:
    """What the connection's rings and queues occupy."""
    tcb = connection.tcb
    return int(
        tcb.snd_ring.capacity
        + tcb.rcv_ring.capacity
        + tcb.sent.capacity * ffi.sizeof("struct sent_segment")
        + tcb.out_of_order.capacity * ffi.sizeof("struct range")
    )


def work(peer: Peer, flags: str, seq: int, ack: int = 0, payload: bytes = b"", **options: object) -> int:
    """Lines of Python that one segment costs."""
    packet = peer.segment(flags, seq, ack, payload, **options)  # type: ignore[arg-type]
    return lines_run(lambda: peer.arrive([packet]))


def acknowledge_all(peer: Peer, connection: Connection, **options: object) -> bytes:
    """Be honest from now on, until nothing is left; the payload of what arrives, by sequence number."""
    arrived = bytearray(STREAM[:0])
    for _ in range(1000):
        for sent in drain(peer):
            end = sent.seq - 1 + len(sent.payload)
            if end > len(arrived):
                arrived.extend(bytes(end - len(arrived)))
            arrived[sent.seq - 1 : end] = sent.payload
        outstanding = (connection.tcb.snd_nxt - connection.tcb.snd_una) % (1 << 32)
        if not outstanding and not connection.tcb.snd_ring.length:
            break
        peer.inject(".", 1, (connection.tcb.snd_nxt - connection.tcb.iss) % (1 << 32), **options)  # type: ignore[arg-type]
        peer.advance(1)
    return bytes(arrived)


# Acknowledgments.


def test_acks_cut_into_small_pieces_open_the_window_no_faster(version: int) -> None:
    """ACK division: RFC 5681 §3.1 warns of it, RFC 3465 counts bytes against it, Linux whole segments."""
    windows = []
    for step in (MSS, 10):
        peer = Peer(version)
        connection = established(peer, mss=MSS)
        write(peer, connection, STREAM[: 10 * MSS])
        for acked in range(step, 10 * MSS + 1, step):
            peer.inject(".", 1, 1 + acked)
        windows.append(connection.tcb.cwnd_packets)
    assert windows[1] <= windows[0]


def test_pieces_of_an_ack_cost_no_more_work_one_by_one(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, STREAM[: 10 * MSS])
    costs = [work(peer, ".", 1, 1 + acked) for acked in range(1, 2000)]
    assert max(costs[1000:]) <= 2 * max(costs[10:100])


def test_acks_of_what_was_never_sent_open_nothing(peer: Peer) -> None:
    """Optimistic ACKs beyond SND.NXT: RFC 9293 §3.10.7.4, fifth check."""
    connection = established(peer, mss=MSS)
    write(peer, connection, STREAM)
    drain(peer)
    tcb = connection.tcb
    before = tcb.cwnd_packets, tcb.snd_una, tcb.snd_nxt, tcb.snd_ring.length
    sent = (tcb.snd_nxt - tcb.iss) % (1 << 32)
    for ahead in range(1, 500):
        peer.inject(".", 1, sent + ahead * MSS)
    assert (tcb.cwnd_packets, tcb.snd_una, tcb.snd_nxt, tcb.snd_ring.length) == before
    assert len(drain(peer)) <= 1
    assert acknowledge_all(peer, connection)[sent - 1 :] == STREAM[sent - 1 :]


def test_acks_of_what_is_still_on_its_way_go_no_further_than_what_was_sent(peer: Peer) -> None:
    """Optimistic ACKs within SND.NXT cannot be told from true ones: the window and the buffer still bound them."""
    connection = established(peer, mss=MSS, window=20 * MSS)
    sent_bytes = 0
    for _ in range(200):
        write(peer, connection, STREAM[: 50 * MSS])
        tcb = connection.tcb
        in_flight = (tcb.snd_nxt - tcb.snd_una) % (1 << 32)
        assert in_flight <= 20 * MSS
        assert tcb.snd_ring.length <= connection.send_limit
        sent_bytes += len(payload_of(drain(peer)))
        peer.inject(".", 1, (tcb.snd_nxt - tcb.iss) % (1 << 32), window=20 * MSS)
    assert sent_bytes <= 201 * 20 * MSS


@requirement("RFC9293", "SHLD-31")
def test_blocks_that_are_taken_back_lose_no_data(peer: Peer) -> None:
    """Reneging: what was selectively acknowledged stays in the send buffer, and is sent again.  RFC 2018 §8."""
    connection = established(peer, mss=MSS, sack_permitted=True)
    isn = connection.tcb.iss
    write(peer, connection, STREAM[: 10 * MSS])
    drain(peer)
    first, last = (isn + 1 + MSS) % (1 << 32), (isn + 1 + 10 * MSS) % (1 << 32)
    for _ in range(3):
        peer.inject(".", 1, 1, sack_blocks=[(first, last)])
    drain(peer)
    peer.advance(10 * MINUTE)
    resent = drain(peer)
    assert {each.seq for each in resent} == {1}, "until the peer moves only the first segment is tried"
    peer.inject(".", 1, 1 + MSS)
    arrived = bytearray(10 * MSS)
    for _ in range(40):
        peer.advance(1000)
        for sent in drain(peer):
            arrived[sent.seq - 1 : sent.seq - 1 + len(sent.payload)] = sent.payload
            peer.inject(".", 1, sent.seq + len(sent.payload))
    assert bytes(arrived[MSS:]) == STREAM[MSS : 10 * MSS]
    assert connection.tcb.snd_una == connection.tcb.snd_nxt


BLOCKS = {
    "beyond what was sent": (20_000, 30_000),
    "across the end of what was sent": (5_001, 30_000),
    "below what was acknowledged": (-5_000, -4_000),
    "empty": (3_001, 3_001),
    "backwards": (4_001, 3_001),
    "half of the sequence space": (1_001, 1_001 + (1 << 31)),
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
def test_blocks_of_what_cannot_have_arrived_mark_nothing(peer: Peer, block: tuple[int, int]) -> None:
    """RFC 2018 §4, RFC 9293 §3.10.7.4 in the same sense: only what was sent can be acknowledged."""
    connection = established(peer, mss=MSS, sack_permitted=True)
    tcb = connection.tcb
    write(peer, connection, STREAM[: 10 * MSS])
    drain(peer)
    held = held_bytes(connection)
    edges = tuple((int(tcb.iss) + edge) % (1 << 32) for edge in block)
    for _ in range(100):
        peer.inject(".", 1, 1, sack_blocks=[edges])
    assert tcb.sent.sacked_segments == 0
    assert (tcb.snd_una - tcb.iss) % (1 << 32) == 1
    assert held_bytes(connection) <= held
    acknowledge_all(peer, connection)
    assert (tcb.snd_una, tcb.snd_ring.length) == (tcb.snd_nxt, 0)


def test_blocks_of_single_bytes_do_not_chop_the_queue_to_pieces(peer: Peer) -> None:
    connection = established(peer, mss=MSS, sack_permitted=True)
    tcb = connection.tcb
    write(peer, connection, STREAM[: 10 * MSS])
    entries = tcb.sent.count
    draw = random.Random(1)
    for _ in range(1000):
        at = (int(tcb.iss) + 1 + draw.randrange(10 * MSS)) % (1 << 32)
        peer.inject(".", 1, 1, sack_blocks=[(at, (at + 1) % (1 << 32))])
    assert tcb.sent.count <= entries + 10
    assert tcb.sent.sacked_segments == 0


# Windows.


def test_a_window_that_stays_closed_for_ever_costs_a_probe_now_and_then(peer: Peer) -> None:
    """RFC 9293 §3.8.6.1 (MUST-36, MUST-37): the connection stays, but its memory and its probes are bounded."""
    connection = established(peer, mss=MSS, window=0)
    with raises_errno(errno.EAGAIN):
        while True:
            write(peer, connection, STREAM)
    assert connection.tcb.snd_ring.length <= connection.send_limit
    held = held_bytes(connection)
    probes = 0
    for _ in range(60):
        peer.advance(MINUTE)
        for _ in drain(peer):
            probes += 1
            peer.inject(".", 1, 1, window=0)
    assert state_of(connection) == State.ESTABLISHED
    assert 30 <= probes <= 60
    assert held_bytes(connection) == held


def test_a_window_that_stays_closed_does_not_hold_an_orphan_for_ever(peer: Peer) -> None:
    connection = established(peer, mss=MSS, window=0)
    write(peer, connection, STREAM[: 10 * MSS])
    close(peer, connection)
    for _ in range(60):
        peer.advance(MINUTE)
        for _ in drain(peer):
            peer.inject(".", 1, 1, window=0)
    assert state_of(connection) == State.CLOSED
    assert connection not in peer.stack.tcp.connections


def test_a_window_that_jumps_about_is_never_overrun_by_new_data(peer: Peer) -> None:
    """Shrinking windows: RFC 9293 §3.8.6 (SHLD-15) has the sender live with them."""
    connection = established(peer, mss=MSS)
    tcb = connection.tcb
    draw = random.Random(2)
    write(peer, connection, STREAM)
    edge = 1 + 65_535
    costs = []
    for _ in range(300):
        before = (tcb.snd_nxt - tcb.iss) % (1 << 32)
        window = draw.choice((0, 1, 10, 999, 1000, 5000, 65_535))
        ack = draw.randrange((tcb.snd_una - tcb.iss) % (1 << 32), before + 1)
        edge = ack + window
        costs.append(work(peer, ".", 1, ack, window=window))
        after = (tcb.snd_nxt - tcb.iss) % (1 << 32)
        assert after <= max(edge, before)
        if not tcb.snd_ring.length:
            write(peer, connection, STREAM)
        drain(peer)
    assert state_of(connection) == State.ESTABLISHED
    assert max(costs) <= 40 * max(min(costs), 100)


@pytest.mark.parametrize("mss", [0, 1, 47])
def test_a_tiny_mss_does_not_multiply_the_packets(peer: Peer, mss: int) -> None:
    """MSS 1 would be forty bytes of headers for each of payload."""
    connection = established(peer, mss=mss, window=65_535)
    write(peer, connection, STREAM[:10_000])
    arrived = b""
    segments = 0
    while connection.tcb.snd_ring.length:
        sent = drain(peer)
        segments += len(sent)
        arrived += payload_of(sent)
        peer.inject(".", 1, 1 + len(arrived))
    assert arrived == STREAM[:10_000]
    assert segments <= 10_000 // 36 + 1


# Timestamps.


def test_timestamps_that_vanish_leave_the_clock_alone(peer: Peer) -> None:
    """RFC 7323 §3.2 would have such segments dropped; Linux takes them."""
    connection = established(peer, mss=MSS, timestamps=(100, 0))
    write(peer, connection, STREAM[:MSS])
    ecr = peer.sent[-1].options.timestamps
    assert ecr is not None
    drain(peer)
    for index in range(100):
        peer.inject(".", 1 + index, 1001, b"x")
    assert connection.tcb.ts_recent == 100
    peer.inject("P.", 101, 1001, b"honest", timestamps=(101, ecr[0]))
    assert read(peer, connection) == b"x" * 100 + b"honest"


def test_timestamps_that_go_back_are_refused_and_answered_seldom(peer: Peer) -> None:
    """PAWS: RFC 7323 §5.3."""
    connection = established(peer, mss=MSS, timestamps=(1_000_000, 0))
    for index in range(100):
        peer.inject(".", 1, 1, timestamps=(999_000 - index, 0))
    assert len(drain(peer)) <= 1
    assert connection.tcb.ts_recent == 1_000_000
    peer.inject("P.", 1, 1, b"x", timestamps=(1_000_001, 0))
    assert read(peer, connection) == b"x"


# Data.


def test_overlaps_with_other_data_never_change_what_is_in_order(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    peer.inject("P.", 1, 1, b"A" * 100)
    peer.inject("P.", 51, 1, b"B" * 100)
    peer.inject("P.", 1, 1, b"C" * 120)
    assert read(peer, connection) == b"A" * 100 + b"B" * 50


def test_overlaps_with_other_data_out_of_order_give_one_stream_whatever_their_order(peer: Peer) -> None:
    """Every byte is one that was sent for its place, and it is there once."""
    connection = established(peer, mss=MSS)
    draw = random.Random(3)
    letters = b"ABCDEFGHIJ"
    for index in range(200):
        start = draw.randrange(2, 3000)
        letter = letters[index % len(letters)]
        peer.inject(".", start, 1, bytes((letter,)) * draw.randrange(1, 300))
    connection_window = connection.tcb.rcv_buffer
    peer.inject("P.", 1, 1, b"A" * 3500)
    stream = read(peer, connection)
    assert len(stream) == 3500
    assert set(stream) <= set(letters)
    assert connection.tcb.out_of_order.count == 0
    assert connection.tcb.rcv_ring.capacity <= 2 * connection_window


@pytest.mark.parametrize("flags", ["SF", "SF.", "SFPU"])
def test_a_syn_with_fin_opens_nothing(peer: Peer, flags: str) -> None:
    listener = peer.listen()
    for _ in range(100):
        peer.inject(flags, 0)
    assert not listener.syn_queue
    assert not any(isinstance(each, Connection) for each in peer.stack.tcp.connections)
    assert all("S" not in sent.flags for sent in drain(peer))


@pytest.mark.parametrize("flags", ["SF", "SF.", "S", "S."])
def test_a_syn_in_the_window_is_challenged_and_closes_nothing(peer: Peer, flags: str) -> None:
    """RFC 5961 §4."""
    connection = established(peer, mss=MSS)
    for offset in range(1000):
        peer.inject(flags, 1 + offset, 1)
    assert state_of(connection) == State.ESTABLISHED
    assert len(drain(peer)) <= 1
    peer.inject("P.", 1, 1, b"x")
    assert read(peer, connection) == b"x"


def test_guessed_resets_in_the_window_are_challenged_and_close_nothing(peer: Peer) -> None:
    """RFC 5961 §3: only the one at RCV.NXT counts; all others together are answered twice a second at most."""
    connection = established(peer, mss=MSS)
    for offset in range(1, 1001):
        peer.inject("R", 1 + offset * 60)
        peer.advance(1)
    assert state_of(connection) == State.ESTABLISHED
    assert len(drain(peer)) <= 3


def test_data_beyond_the_window_are_not_kept(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    limit = connection.tcb.rcv_buffer
    window = connection.tcb.rcv_wnd
    for _ in range(3):
        seq = 1
        while seq < 2 * limit:
            peer.inject(".", seq, 1, bytes(MSS))
            seq += MSS
        drain(peer)
    assert connection.tcb.rcv_ring.length <= limit
    assert connection.tcb.rcv_ring.capacity <= 2 * max(limit, window)
    before = connection.tcb.rcv_ring.length
    for beyond in (1 << 20, 1 << 28, 1 << 30):
        peer.inject(".", 1 + before + limit + beyond, 1, bytes(MSS))
    assert connection.tcb.rcv_ring.length == before
    assert connection.tcb.out_of_order.count == 0


def test_ten_thousand_single_bytes_out_of_order_cost_bounded_memory_and_work(version: int) -> None:
    """One in two bytes is missing, so that nothing joins."""
    limit = 256
    peer = Peer(version, StackConfig(tcp=TcpConfig(out_of_order_ranges=limit)))
    connection = established(peer, mss=MSS, sack_permitted=True)
    costs = []
    for index in range(10_000):
        if index % 100:
            peer.inject(".", 3 + 2 * index, 1, b"x")
        else:
            costs.append(work(peer, ".", 3 + 2 * index, 1, b"x"))
        assert len(drain(peer)) <= 1
        peer.log.clear()
    tcb = connection.tcb
    assert tcb.out_of_order.count <= limit
    assert tcb.out_of_order.capacity <= 2 * limit
    assert tcb.rcv_ring.capacity <= 2 * tcb.rcv_buffer
    assert max(costs[1:]) <= 2 * min(costs[1:])
    peer.inject(".", 1, 1, bytes(20_100))
    assert len(read(peer, connection)) == 20_100


# The network.


def test_ecn_that_is_bleached_in_the_handshake_is_not_used(version: int) -> None:
    """A SYN,ACK that echoes both flags has been mangled, or is of an ancient host that reflects.  RFC 3168 §6.1.1.1."""
    peer = Peer(version, StackConfig(tcp=TcpConfig(ecn=1)))
    connection = peer.connect()
    peer.expect("SEW", 0)
    peer.inject("SEW.", 0, 1, mss=MSS)
    peer.expect(".", 1, 1)
    write(peer, connection, STREAM[:MSS])
    assert peer.expect("P.", 1, 1).traffic_class & 3 == 0


def test_counters_that_are_bleached_stop_accurate_ecn(version: int) -> None:
    """RFC 9768 §3.2.2.4: an ACE field of zero on the first segment tells of a path that clears it."""
    peer = Peer(version, StackConfig(tcp=TcpConfig(ecn=3)))
    listener = peer.listen()
    peer.inject("SEWA", 0, mss=MSS)
    peer.sent.clear()
    peer.inject(".", 1, 1)
    connection = listener.accept()
    assert connection.tcb.ecn_mode == lib.ECN_ACCURATE
    assert connection.tcb.accecn_fail & lib.ACCECN_ACE_RECEIVE
    write(peer, connection, STREAM[:MSS])
    assert drain(peer)[0].traffic_class & 3 == 0


def test_icmp_errors_with_wrong_quotes_change_nothing(peer: Peer) -> None:
    """RFC 5927 §4: the quoted sequence number must be in flight; a guess is right once in some 100 000 times."""
    connection = connected(peer, mss=MSS)
    write(peer, connection, STREAM[: 5 * MSS])
    frame = bytearray(drain(peer)[0].frame)
    set_option(peer, connection, "receive_errors", True)
    at = (20 if peer.version == 4 else 40) + 4
    seq = int.from_bytes(frame[at : at + 4], "big")
    too_big = (icmpv4.IcmpType.DESTINATION_UNREACHABLE, 4) if peer.version == 4 else (2, 0)
    gone = (3, 3) if peer.version == 4 else (icmpv6.Icmpv6Type.DESTINATION_UNREACHABLE, 4)
    before = connection.max_segment, connection.tcb.cwnd_packets, connection.soft_error
    for offset in range(5 * MSS, 200_000, 500):
        for sign in (1, -1):
            guess = (seq + sign * offset) % (1 << 32)
            frame[at : at + 4] = guess.to_bytes(4, "big")
            for kind, code in (too_big, gone):
                report(peer, bytes(frame[: at + 20]), kind, code, 600 if peer.version == 4 else 1280)
    assert (connection.max_segment, connection.tcb.cwnd_packets, connection.soft_error) == before
    assert state_of(connection) == State.ESTABLISHED
    assert connection.error == 0
    assert drain(peer) == []

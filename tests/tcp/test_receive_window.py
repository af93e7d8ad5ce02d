"""The window that we offer.  RFC 9293 §3.8.6, §3.8.6.2.2; RFC 7323 §2; docs/decisions/0012 for the numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, dropped, established, read, set_option, write
from ustack.config import StackConfig, TcpConfig
from ustack.constants import MSG_PEEK
from ustack.drops import DropReason
from ustack.endpoint import READABLE
from ustack.sim.peer import Peer, Sent
from ustack.tcp import window
from ustack.tcp.connection import Connection

MSS = 1000
MEMORY_OF_1000 = 2304
"""What a segment with 1000 bytes costs."""
LEAST_MEMORY = 832


def with_buffer(version: int, size: int, **options: Any) -> tuple[Peer, Connection]:
    """A connection whose receive buffer the user has set to `size` bytes of memory."""
    peer = Peer(version)
    endpoint = peer.socket()
    endpoint.options.receive_buffer = size
    endpoint.bind(peer.local, peer.local_port)
    listener = endpoint.listen(1)
    peer.inject("S", 0, **options)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    return peer, listener.accept()


def right_edge(sent: Sent, shift: int = 0) -> int:
    """The first sequence number that is not offered."""
    return sent.ack + (sent.window << shift)


def fill(peer: Peer, first: int, segments: int) -> list[Sent]:
    """Full segments in order, and what they are answered with in time."""
    for index in range(segments):
        peer.inject("P.", first + MSS * index, 1, bytes(MSS))
    peer.advance(200)
    return drain(peer)


def close_window(peer: Peer, connection: Connection) -> None:
    """Send until no window is left."""
    tcb = connection.tcb
    for _ in range(100):
        seq = tcb.rcv_nxt
        length = min(window.receive_window(tcb), MSS)
        peer.inject("P.", seq, 1, bytes(length))
        peer.advance(200)
        if not length:
            break
    assert drain(peer)[-1].window == 0


def test_the_window_of_a_syn_is_not_scaled(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(rmem=(4096, 540_000, 15 << 20))))
    peer.listen()
    peer.inject("S", 0, window_scale=0)
    syn_ack = peer.expect("S.", 0, 1)
    assert syn_ack.window == 65_535
    assert syn_ack.options.window_scale == 8


def test_the_first_window_is_half_of_the_buffer_in_whole_segments(version: int) -> None:
    peer = Peer(version)
    peer.listen()
    peer.inject("S", 0)
    mss = 1460 if version == 4 else 1440
    assert peer.expect("S.", 0, 1).window == 65_536 // mss * mss


@requirement("RFC9293", "MUST-1")
@requirement("RFC9293", "REC-1")
def test_with_scaling_the_window_grows_with_what_comes(version: int) -> None:
    """9000 bytes out of order in ten segments: Linux's selftest tcp_ooo_rcv_mss."""
    peer = Peer(version)
    connection = established(peer, mss=MSS, sack_permitted=True, window_scale=7)
    assert connection.tcb.rcv_wscale == 10
    peer.inject(".", 2001, 1, bytes(9000), gso_size=1000)
    assert peer.expect(".", 1, 1).window == 81
    assert connection.tcb.rcv_mss == 1000
    peer.inject(".", 11_001, 1, bytes(10_000), gso_size=1000)
    assert peer.expect(".", 1, 1).window == 81


@requirement("RFC9293", "MUST-1")
def test_without_scaling_the_window_is_65535_at_most(version: int) -> None:
    peer, connection = with_buffer(version, 1 << 20)
    for index in range(60):
        peer.inject("P.", 1 + 1000 * index, 1, bytes(1000))
        read(peer, connection)
    assert max(each.window for each in drain(peer)) <= 65_535


@requirement("RFC7323", "2.4")
@requirement("RFC9293", "SHLD-14")
@pytest.mark.parametrize("scaled", [False, True])
def test_the_right_edge_never_moves_back(version: int, scaled: bool) -> None:
    peer, connection = with_buffer(version, 200_000, mss=MSS, window_scale=2 if scaled else None)
    shift = connection.tcb.rcv_wscale
    edge, seq = connection.tcb.rcv_wnd + 1, 1
    for index in range(300):
        length = min(7 + 97 * index % 1400, max(edge - seq, 0))
        if not length:
            read(peer, connection, 30_000)
        else:
            peer.inject("P.", seq, 1, bytes(length))
            seq += length
        peer.advance(40)
        for sent in drain(peer):
            assert right_edge(sent, shift) > edge - (1 << shift), "but for what the scaled field cannot tell"
            edge = max(edge, right_edge(sent, shift))
        if index % 7 == 0:
            read(peer, connection, 5000)


def test_with_shrinking_allowed_it_does(version: int) -> None:
    config = StackConfig(tcp=TcpConfig(rmem=(4096, 20_000, 20_000), shrink_window=True, rmem_max=1 << 18))
    peer = Peer(version, config)
    established(peer, mss=MSS, window_scale=0)
    edges = [right_edge(each, 3) for index in range(8) for each in fill(peer, 1 + MSS * index, 1)]
    assert any(later < earlier for earlier, later in itertools.pairwise(edges))


@requirement("RFC9293", "SHLD-14")
def test_a_smaller_buffer_takes_nothing_back(peer: Peer) -> None:
    connection = established(peer, window_scale=0)
    edge = right_edge(fill(peer, 1, 2)[-1], 10)
    set_option(peer, connection, "receive_buffer", 5000)
    assert edge <= right_edge(fill(peer, 2001, 2)[-1], 10) < edge + 4 * 1024


def test_segments_that_waste_memory_close_the_window_early(version: int) -> None:
    peer, connection = with_buffer(version, 20_000, mss=MSS)
    seq = 1
    while connection.tcb.rcv_wnd and seq < 20_000:
        assert fill(peer, seq, 1)
        seq += MSS
    held = connection.tcb.held
    assert held.count * MEMORY_OF_1000 == held.memory <= 20_000
    assert drain(peer) == []


def test_one_byte_at_a_time_fills_the_buffer_of_the_first(version: int) -> None:
    peer, connection = with_buffer(version, 20_000, mss=MSS)
    for seq in range(1, 101):
        peer.inject("P.", seq, 1, b"x")
    held = connection.tcb.held
    assert (held.count, held.items[0].length) == (1, 100)
    assert len(read(peer, connection, 40)) == 40
    assert held.memory > 0
    assert len(read(peer, connection)) == 60
    assert held.memory == 0


def test_a_full_buffer_closes_the_window_and_what_comes_then_is_dropped(version: int) -> None:
    peer, connection = with_buffer(version, 10_000, mss=MSS)
    peer.inject("P.", 1, 1, bytes(20_000))
    peer.advance(200)
    assert drain(peer)[-1].window == 0
    with dropped(peer, DropReason.TCP_BEYOND_WINDOW):
        peer.inject("P.", 20_001, 1, b"x")
    assert peer.expect(".", 1, 20_001).window == 0
    assert connection.tcb.rcv_ring.length == 20_000


def test_a_window_probe_is_answered_at_once(version: int) -> None:
    peer, _ = with_buffer(version, 5000, mss=MSS)
    peer.inject("P.", 1, 1, bytes(9000))
    peer.advance(200)
    drain(peer)
    peer.inject(".", 9001, 1, b"x")
    assert peer.expect(".", 1, 9001).window == 0
    peer.inject(".", 9000, 1)
    assert peer.expect(".", 1, 9001).window == 0


@requirement("RFC9293", "MUST-66")
def test_acks_are_taken_with_a_closed_window(version: int) -> None:
    peer, connection = with_buffer(version, 5000, mss=MSS)
    write(peer, connection, b"data")
    peer.inject("P.", 1, 1, bytes(9000))
    peer.advance(200)
    assert connection.tcb.rcv_wnd == 0
    peer.inject(".", 9001, 5)
    assert connection.tcb.sent.count == 0


def test_reading_opens_a_closed_window_and_tells_the_peer_at_once(version: int) -> None:
    peer, connection = with_buffer(version, 10_000, mss=MSS)
    peer.inject("P.", 1, 1, bytes(9000))
    peer.advance(200)
    assert drain(peer)[-1].window == 0
    assert len(read(peer, connection)) == 9000
    assert peer.expect(".", 1, 9001).window > 0


@requirement("RFC9293", "MUST-39")
def test_a_closed_window_opens_by_no_less_than_a_segment(version: int) -> None:
    peer, connection = with_buffer(version, 20_000, mss=MSS)
    close_window(peer, connection)
    opened = 0
    while not opened:
        read(peer, connection, 500)
        opened = next((each.window for each in drain(peer)), 0)
    assert opened >= MSS


@requirement("RFC9293", "MUST-39")
def test_a_silly_window_is_not_offered_when_data_trickle_in(version: int) -> None:
    peer, connection = with_buffer(version, 20_000, mss=MSS)
    close_window(peer, connection)
    edge = connection.tcb.rcv_nxt
    read(peer, connection, 300)
    peer.inject(".", 0, 1)
    assert [each.window for each in drain(peer)] == [0]
    assert connection.tcb.rcv_nxt == edge


def test_a_wide_open_window_is_not_announced_after_every_read(version: int) -> None:
    peer, connection = with_buffer(version, 200_000, mss=MSS)
    fill(peer, 1, 10)
    for _ in range(10):
        read(peer, connection, 1000)
    peer.expect_nothing()


def test_peeking_does_not_open_the_window(version: int) -> None:
    peer, connection = with_buffer(version, 5000, mss=MSS)
    peer.inject("P.", 1, 1, bytes(5000))
    peer.advance(200)
    drain(peer)
    assert len(read(peer, connection, 5000, MSG_PEEK)) == 5000
    peer.expect_nothing()


@requirement("RFC9293", "MAY-8")
def test_a_closed_window_may_stay_closed_for_ever(version: int) -> None:
    peer, connection = with_buffer(version, 2304, mss=MSS)
    peer.inject("P.", 1, 1, bytes(2000))
    peer.advance(200)
    drain(peer)
    for _ in range(50):
        peer.advance(100_000)
        peer.inject(".", 2000, 1)
        assert drain(peer)[-1].window == 0
    assert len(read(peer, connection)) == 2000


def test_the_users_clamp_is_the_most_that_is_offered(version: int) -> None:
    peer = Peer(version)
    connection = established(peer, mss=MSS)
    set_option(peer, connection, "window_clamp", 4000)
    edge = right_edge(fill(peer, 1, 70)[-1])
    assert edge == 74_001 or connection.tcb.rcv_wnd <= 4000


def test_the_buffer_follows_what_the_user_takes_in_a_round_trip(version: int) -> None:
    peer = Peer(version)
    connection = established(peer, mss=MSS, window_scale=0, round_trip=20)
    seq = 1
    for _ in range(12):
        room = connection.tcb.last_ack_sent + connection.tcb.rcv_wnd - connection.tcb.rcv_nxt
        for _ in range(room // 20_000):
            peer.inject(".", seq, 1, bytes(20_000), gso_size=MSS)
            seq += 20_000
            read(peer, connection)
        peer.advance(20)
    assert connection.tcb.rcv_buffer > 400_000
    assert connection.tcb.rcv_wnd > 200_000


def test_a_buffer_that_the_user_has_chosen_stays(version: int) -> None:
    peer, connection = with_buffer(version, 100_000, mss=MSS, window_scale=0)
    for index in range(200):
        peer.inject(".", 1 + 5000 * index, 1, bytes(5000), gso_size=MSS)
        read(peer, connection)
        peer.advance(5)
    assert connection.tcb.rcv_buffer == 100_000


def test_a_stream_is_readable_from_the_low_water_mark_on(version: int) -> None:
    peer = Peer(version)
    connection = established(peer, mss=MSS)
    set_option(peer, connection, "receive_low_water", 5000)
    fill(peer, 1, 4)
    assert not connection.readiness() & READABLE
    fill(peer, 4001, 1)
    assert connection.readiness() & READABLE


def test_ten_thousand_single_bytes_out_of_order_stay_within_the_buffer(version: int) -> None:
    peer, connection = with_buffer(version, 100_000, mss=MSS, sack_permitted=True, window_scale=0)
    for index in range(10_000):
        peer.inject(".", 3 + 2 * index, 1, b"x")
    tcb = connection.tcb
    assert tcb.out_of_order.memory + tcb.held.memory <= 100_000 + LEAST_MEMORY
    assert tcb.out_of_order.count < 200
    drain(peer)
    for index in range(0, 2000, 500):
        peer.inject(".", 1 + index, 1, bytes(500))
    assert len(read(peer, connection)) >= 2000


def test_a_buffer_of_ones_own_grows_for_data_out_of_order(version: int) -> None:
    peer = Peer(version)
    connection = established(peer, mss=MSS, sack_permitted=True, window_scale=0)
    for index in range(1000):
        peer.inject(".", 3 + 2 * index, 1, b"x")
    tcb = connection.tcb
    assert tcb.out_of_order.count == 1000
    assert tcb.out_of_order.memory <= tcb.rcv_buffer + LEAST_MEMORY <= 32 << 20


def test_what_is_larger_than_the_buffer_closes_the_window(version: int) -> None:
    peer, connection = with_buffer(version, 40_000, mss=MSS)
    set_option(peer, connection, "receive_buffer", 24_000)
    peer.inject("P.", 1, 1, bytes(60_000), gso_size=MSS)
    peer.advance(40)
    assert peer.expect(".", 1, 60_001).window == 0

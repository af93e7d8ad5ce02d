"""Urgent data, both ways.  RFC 9293 §3.8.5, §3.10.7.4 (sixth check); RFC 6093; recv(2) and sockatmark(3)."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import close, drain, established, payload_of, read, set_option, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.constants import MSG_OOB, MSG_PEEK, MSG_TRUNC
from ustack.endpoint import PRIORITY, READABLE
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State

MSS = 1000


def inline(peer: Peer) -> Connection:
    """A connection whose urgent data stay in line."""
    connection = established(peer)
    set_option(peer, connection, "out_of_band_inline", True)
    return connection


# Sending.


@requirement("RFC9293", "MUST-30")
@requirement("RFC9293", "MUST-62")
def test_the_pointer_we_send_is_behind_the_last_urgent_byte(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, b"urgent", MSG_OOB)
    assert peer.expect("PU.", 1, 1, b"urgent").urgent_pointer == 6


@requirement("RFC9293", "MUST-31")
@pytest.mark.parametrize("length", [1, 999, 1000, 3500])
def test_urgent_data_may_be_of_any_length(peer: Peer, length: int) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, bytes(length), MSG_OOB)
    sent = drain(peer)
    assert payload_of(sent) == bytes(length)
    assert all("U" in each.flags for each in sent)
    assert all(each.seq + each.urgent_pointer == 1 + length for each in sent)


def test_ordinary_data_before_the_urgent_ones_are_urgent_too_and_those_after_are_not(peer: Peer) -> None:
    connection = established(peer, mss=MSS, window=500)
    write(peer, connection, b"a" * 500)
    drain(peer)
    write(peer, connection, b"b" * 1500)
    write(peer, connection, b"!", MSG_OOB)
    write(peer, connection, b"c" * 1000)
    peer.inject(".", 1, 501, window=10_000)
    sent = drain(peer)
    assert payload_of(sent) == b"b" * 1500 + b"!" + b"c" * 1000
    for each in sent:
        assert ("U" in each.flags) == (each.seq < 2002)
        if "U" in each.flags:
            assert each.seq + each.urgent_pointer == 2002


def test_the_peer_hears_of_urgent_data_even_while_its_window_is_closed(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, b"x")
    peer.inject(".", 1, 2, window=0)
    drain(peer)
    write(peer, connection, b"!", MSG_OOB)
    peer.expect_nothing()
    peer.advance(201)
    told = drain(peer)
    assert [(each.flags, each.seq, each.seq + each.urgent_pointer) for each in told] == [(".U", 2, 3), (".U", 1, 3)]
    peer.inject(".", 1, 2, window=100)
    assert peer.expect("PU.", 2, 1, b"!").urgent_pointer == 1


def test_urgent_data_do_not_wait_for_nagle(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, b"small")
    peer.expect("P.")
    write(peer, connection, b"!", MSG_OOB)
    assert peer.expect("PU.", 6, 1, b"!").urgent_pointer == 1


def test_a_later_urgent_byte_moves_the_pointer(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, b"ab", MSG_OOB)
    assert peer.expect("PU.", 1).urgent_pointer == 2
    write(peer, connection, b"cd", MSG_OOB)
    assert peer.expect("PU.", 3).urgent_pointer == 2


def test_data_sent_again_are_still_urgent(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, b"urgent", MSG_OOB)
    drain(peer)
    peer.advance(201)
    assert peer.expect("PU.", 1, 1, b"urgent").urgent_pointer == 6


def test_acks_tell_of_urgent_data_until_they_are_acknowledged(peer: Peer) -> None:
    connection = established(peer, mss=MSS)
    write(peer, connection, b"!", MSG_OOB)
    drain(peer)
    peer.inject("F.", 1, 1)
    peer.expect(".", 2, 2)
    peer.inject(".", 2, 2)
    write(peer, connection, b"calm")
    assert peer.expect("P.", 2, 2).urgent_pointer == 0


def test_a_probe_of_a_connection_without_urgent_data_is_not_urgent(peer: Peer) -> None:
    connection = established(peer)
    connection.options.keepalive_time_ns = 1_000_000_000
    set_option(peer, connection, "keepalive", True)
    peer.advance(1000)
    peer.expect(".", 0, 1)


def test_a_pointer_too_far_away_is_the_farthest_possible(peer: Peer) -> None:
    connection = established(peer, mss=MSS, window_scale=4, window=1000)
    write(peer, connection, bytes(100_000))
    write(peer, connection, b"!", MSG_OOB)
    drain(peer)
    peer.inject(".", 1, 1001, window=65)
    assert drain(peer)[-1].urgent_pointer == 0xFFFF


def test_data_sent_again_do_not_tell_of_urgent_data_that_are_too_far_away(version: int) -> None:
    """As Linux: the pointer could not tell, and later segments have told already."""
    peer = Peer(version)
    connection = established(peer, mss=MSS, window_scale=4, window=65_535)
    connection.tcp.config.rto_min_ns = 200_000_000
    acked = 1
    while connection.tcb.cwnd_packets < 100:
        write(peer, connection, bytes(MSS * connection.tcb.cwnd_packets))
        acked += len(payload_of(drain(peer)))
        peer.inject(".", 1, acked, window=60_000)
    write(peer, connection, bytes(80_000))
    write(peer, connection, b"!", MSG_OOB)
    assert "U" in drain(peer)[-1].flags
    peer.advance(1000)
    again = peer.expect(None, acked)
    assert "U" not in again.flags


# Receiving out of band.


@requirement("RFC9293", "MUST-30")
@requirement("RFC9293", "MUST-32")
def test_the_user_is_told_when_urgent_data_are_announced(peer: Peer) -> None:
    connection = established(peer)
    connection.observer = connection
    peer.stack.take_events()
    peer.inject("U.", 1, 1, urgent_pointer=100)
    assert any(bits & PRIORITY for _, bits in peer.stack.take_events())
    peer.inject("U.", 1, 1, urgent_pointer=100)
    assert not any(bits & PRIORITY for _, bits in peer.stack.take_events())
    peer.inject("U.", 1, 1, urgent_pointer=200)
    assert any(bits & PRIORITY for _, bits in peer.stack.take_events())


def test_the_urgent_byte_is_read_apart(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"abc!def", urgent_pointer=4)
    assert connection.readiness() & PRIORITY
    assert read(peer, connection, 1, MSG_OOB) == b"!"
    assert not connection.readiness() & PRIORITY
    with raises_errno(errno.EINVAL):
        read(peer, connection, 1, MSG_OOB)
    assert read(peer, connection) == b"abc"
    assert connection.at_mark()
    assert read(peer, connection) == b"def"
    assert not connection.at_mark()


def test_the_urgent_byte_that_nobody_reads_is_lost_when_read_past(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"abc!def", urgent_pointer=4)
    assert read(peer, connection) == b"abc"
    assert read(peer, connection) == b"def"
    with raises_errno(errno.EINVAL):
        read(peer, connection, 1, MSG_OOB)


def test_peeking_at_the_urgent_byte_leaves_it(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"!", urgent_pointer=1)
    assert read(peer, connection, 1, MSG_OOB | MSG_PEEK) == b"!"
    assert read(peer, connection, 1, MSG_OOB) == b"!"


def test_peeking_over_the_mark_leaves_it(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"!def", urgent_pointer=1)
    assert connection.at_mark()
    assert read(peer, connection, 10, MSG_PEEK) == b"def"
    assert connection.at_mark()
    assert read(peer, connection, 1, MSG_OOB) == b"!"
    assert read(peer, connection, 10, MSG_PEEK) == b"def"
    assert read(peer, connection, 2) == b"de"
    assert read(peer, connection, 10) == b"f"


def test_an_urgent_byte_on_its_way_would_block(peer: Peer) -> None:
    connection = established(peer)
    with raises_errno(errno.EINVAL):
        read(peer, connection, 1, MSG_OOB)
    peer.inject("PU.", 1, 1, b"abc", urgent_pointer=6)
    assert not connection.readiness() & PRIORITY
    with raises_errno(errno.EAGAIN):
        read(peer, connection, 1, MSG_OOB)
    peer.inject("P.", 4, 1, b"de!xyz")
    assert connection.readiness() & PRIORITY
    assert read(peer, connection, 1, MSG_OOB) == b"!"
    assert read(peer, connection) == b"abcde"
    assert read(peer, connection) == b"xyz"


def test_an_urgent_byte_in_front_of_the_reader_alone_is_nothing_to_read(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"!", urgent_pointer=1)
    assert connection.readiness() & (READABLE | PRIORITY) == PRIORITY
    with raises_errno(errno.EAGAIN):
        read(peer, connection)
    peer.inject("P.", 2, 1, b"after")
    assert read(peer, connection) == b"after"


def test_an_urgent_byte_that_was_read_past_does_not_reset_the_connection_when_it_closes(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"!", urgent_pointer=1)
    assert read(peer, connection, 1, MSG_OOB) == b"!"
    with raises_errno(errno.EAGAIN):
        read(peer, connection)
    drain(peer)
    close(peer, connection)
    assert drain(peer)[-1].flags == "F."


def test_the_end_of_the_stream_is_seen_behind_an_urgent_byte(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("FPU.", 1, 1, b"abc!", urgent_pointer=4)
    assert state_of(connection) == State.CLOSE_WAIT
    assert read(peer, connection) == b"abc"
    assert read(peer, connection, 1, MSG_OOB) == b"!"
    assert read(peer, connection) == b""


def test_two_urgent_bytes_leave_the_first_in_line(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"ab!", urgent_pointer=3)
    peer.inject("PU.", 4, 1, b"cd?", urgent_pointer=3)
    assert read(peer, connection, 1, MSG_OOB) == b"?"
    assert read(peer, connection) == b"ab!cd"
    with raises_errno(errno.EAGAIN):
        read(peer, connection)


def test_a_pointer_that_moves_back_is_ignored(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"abcdef", urgent_pointer=6)
    peer.inject("PU.", 6, 1, b"fgh", urgent_pointer=1)
    assert read(peer, connection, 1, MSG_OOB) == b"f"


def test_a_pointer_to_what_was_read_is_ignored(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"abcdef")
    assert read(peer, connection) == b"abcdef"
    peer.inject("U.", 1, 1, urgent_pointer=6)
    with raises_errno(errno.EINVAL):
        read(peer, connection, 1, MSG_OOB)
    assert not connection.at_mark()


def test_urgent_data_out_of_order_are_found_when_they_are_in_order(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 4, 1, b"de!", urgent_pointer=3)
    with raises_errno(errno.EAGAIN):
        read(peer, connection, 1, MSG_OOB)
    peer.inject("P.", 1, 1, b"abc")
    assert read(peer, connection, 1, MSG_OOB) == b"!"
    assert read(peer, connection) == b"abcde"


def test_what_has_arrived_already_is_not_announced(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"abc")
    peer.inject("U.", 1, 1, urgent_pointer=3)
    with raises_errno(errno.EINVAL):
        read(peer, connection, 1, MSG_OOB)
    assert read(peer, connection) == b"abc"


def test_a_new_pointer_for_a_reader_at_the_old_mark_takes_the_old_byte_away(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"ab", urgent_pointer=2)
    assert read(peer, connection) == b"a"
    peer.inject("PU.", 3, 1, b"cd", urgent_pointer=2)
    assert read(peer, connection) == b"c"
    assert read(peer, connection, 1, MSG_OOB) == b"d"


def test_a_pointer_of_zero_points_to_the_first_byte(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"abc", urgent_pointer=0)
    assert read(peer, connection, 1, MSG_OOB) == b"a"


def test_the_other_reading_points_to_the_last_urgent_byte_itself(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(stdurg=True)))
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"abcd", urgent_pointer=2)
    assert read(peer, connection) == b"ab"
    assert connection.at_mark()
    assert read(peer, connection, 1, MSG_OOB) == b"c"
    assert read(peer, connection) == b"d"


def test_an_oob_read_without_room_says_that_it_was_cut(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("PU.", 1, 1, b"!", urgent_pointer=1)
    count, _, flags = connection.receive_into(bytearray(0), MSG_OOB, peer.now)
    assert count == 0
    assert flags & MSG_TRUNC


@requirement("RFC9293", "MUST-66")
def test_urgent_data_are_announced_with_a_closed_window(peer: Peer) -> None:
    connection = established(peer)
    set_option(peer, connection, "receive_buffer", 4608)
    peer.inject("P.", 1, 1, bytes(65_000))
    peer.advance(40)
    assert drain(peer)[-1].window == 0
    connection.observer = connection
    peer.stack.take_events()
    peer.inject("U.", 65_001, 1, urgent_pointer=1)
    assert any(bits & PRIORITY for _, bits in peer.stack.take_events())


# Receiving in line.


@requirement("RFC9293", "MUST-33")
def test_in_line_urgent_data_stay_and_reading_stops_before_the_mark(peer: Peer) -> None:
    connection = inline(peer)
    peer.inject("PU.", 1, 1, b"abc!def", urgent_pointer=4)
    assert connection.readiness() & PRIORITY
    with raises_errno(errno.EINVAL):
        read(peer, connection, 1, MSG_OOB)
    assert not connection.at_mark()
    assert read(peer, connection) == b"abc"
    assert connection.at_mark()
    assert read(peer, connection) == b"!def"
    assert not connection.at_mark()
    assert not connection.readiness() & PRIORITY


def test_in_line_peeking_stops_at_the_mark_too(peer: Peer) -> None:
    connection = inline(peer)
    peer.inject("PU.", 1, 1, b"abc!def", urgent_pointer=4)
    assert read(peer, connection, 10, MSG_PEEK) == b"abc"
    read(peer, connection)
    assert read(peer, connection, 10, MSG_PEEK) == b"!def"
    assert connection.at_mark()

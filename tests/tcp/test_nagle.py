"""When small segments leave: Nagle as Minshall has amended it, cork, MSG_MORE, PUSH.  RFC 9293 §3.7.4, §3.9.1.2."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import close, drain, established, payload_of, set_option, write
from ustack.constants import MSG_MORE
from ustack.sim.peer import MILLISECOND, Peer

STREAM = bytes(range(256)) * 40


@requirement("RFC9293", "SHLD-7")
def test_a_small_segment_waits_while_an_earlier_small_one_is_not_acknowledged(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, b"first")
    peer.expect("P.", 1, 1, b"first")
    write(peer, connection, b"second")
    write(peer, connection, b"third")
    peer.expect_nothing()
    peer.inject(".", 1, 6)
    peer.expect("P.", 6, 1, b"secondthird")
    peer.expect_nothing()


@requirement("RFC9293", "SHLD-7")
@requirement("RFC9293", "SHLD-28")
def test_waiting_data_leave_as_soon_as_they_fill_a_segment(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, b"x")
    drain(peer)
    write(peer, connection, STREAM[:999])
    peer.expect_nothing()
    write(peer, connection, STREAM[999:1500])
    peer.expect(".", 2, 1, STREAM[:1000])
    peer.expect_nothing()
    peer.inject(".", 1, 1002)
    peer.expect("P.", 1002, 1, STREAM[1000:1500])


def test_the_rest_of_a_write_follows_its_full_segments_at_once(peer: Peer) -> None:
    """Minshall: only an earlier small segment holds a small one back."""
    connection = established(peer, mss=1000)
    write(peer, connection, STREAM[:2500])
    assert [len(each.payload) for each in drain(peer)] == [1000, 1000, 500]
    write(peer, connection, STREAM[2500:2600])
    peer.expect_nothing()
    peer.inject(".", 1, 2001)
    peer.expect_nothing()
    peer.inject(".", 1, 2501)
    peer.expect("P.", 2501, 1, STREAM[2500:2600])


@requirement("RFC9293", "MUST-17")
def test_nagle_can_be_switched_off(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "no_delay", True)
    for index in range(5):
        write(peer, connection, b"x")
        peer.expect("P.", 1 + index, 1, b"x")


@requirement("RFC9293", "MUST-17")
def test_switching_nagle_off_releases_what_waits(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, b"x")
    write(peer, connection, b"waits")
    drain(peer)
    set_option(peer, connection, "no_delay", True)
    peer.expect("P.", 2, 1, b"waits")
    set_option(peer, connection, "no_delay", False)
    write(peer, connection, b"again")
    peer.expect_nothing()


def test_a_cork_holds_everything_but_full_segments(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "cork", True)
    for start in range(0, 2400, 300):
        write(peer, connection, STREAM[start : start + 300])
    assert [len(each.payload) for each in drain(peer)] == [1000, 1000]
    set_option(peer, connection, "cork", False)
    peer.expect("P.", 2001, 1, STREAM[2000:2400])


def test_a_cork_is_stronger_than_no_delay(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "no_delay", True)
    set_option(peer, connection, "cork", True)
    write(peer, connection, b"small")
    peer.expect_nothing()


@requirement("RFC9293", "MUST-60")
def test_a_cork_holds_data_for_200_ms_at_the_most(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "cork", True)
    at = peer.now
    write(peer, connection, b"small")
    peer.advance(1000)
    assert 200 * MILLISECOND <= peer.expect("P.", 1, 1, b"small").now - at < 201 * MILLISECOND


@requirement("RFC9293", "MAY-15")
def test_more_to_come_holds_a_small_segment_for_one_call(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, b"head", MSG_MORE)
    peer.expect_nothing()
    write(peer, connection, b"er", MSG_MORE)
    peer.expect_nothing()
    write(peer, connection, b", body")
    peer.expect("P.", 1, 1, b"header, body")


@requirement("RFC9293", "MUST-60")
def test_more_that_never_comes_holds_data_for_200_ms_at_the_most(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, b"head", MSG_MORE)
    peer.advance(201)
    peer.expect("P.", 1, 1, b"head")


def test_closing_releases_a_cork(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "cork", True)
    write(peer, connection, b"small")
    close(peer, connection)
    peer.expect("FP.", 1, 1, b"small")


def test_closing_releases_what_nagle_holds(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, b"first")
    write(peer, connection, b"second")
    peer.expect("P.", 1)
    close(peer, connection)
    peer.expect("FP.", 6, 1, b"second")


@requirement("RFC9293", "MUST-61")
@requirement("RFC9293", "SHLD-27")
@requirement("RFC9293", "MAY-16")
def test_push_is_set_where_the_buffer_ends_and_nowhere_else(peer: Peer) -> None:
    connection = established(peer, mss=1000, window=3000)
    write(peer, connection, STREAM[:2000])
    write(peer, connection, STREAM[2000:4500])
    assert [each.flags for each in drain(peer)] == [".", "P.", "."]
    peer.inject(".", 1, 3001)
    sent = drain(peer)
    assert [each.flags for each in sent] == [".", "P."]
    assert payload_of(sent) == STREAM[3000:4500]


def test_push_is_kept_when_data_are_sent_again(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, STREAM[:1500])
    assert [each.flags for each in drain(peer)] == [".", "P."]
    peer.advance(201)
    assert [each.flags for each in drain(peer)] == ["."]
    peer.inject(".", 1, 1001)
    assert [each.flags for each in drain(peer)] == ["P."]


@pytest.mark.parametrize("size", [1, 999, 1000])
def test_an_idle_connection_never_waits(peer: Peer, size: int) -> None:
    connection = established(peer, mss=1000)
    acked = 1
    for _ in range(5):
        write(peer, connection, STREAM[:size])
        peer.expect("P.", acked, 1, STREAM[:size])
        acked += size
        peer.inject(".", 1, acked)

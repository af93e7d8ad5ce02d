"""Where writes end, as the wire shows it: PUSH, records (MSG_EOR), MSG_MORE, corks.  RFC 9293 §3.9.1.2.

The exchanges are those of public packetdrill scripts for Linux.
"""

from __future__ import annotations

from tests.support.stream import close, drain, established, payload_of, set_option, write
from ustack.constants import MSG_EOR, MSG_MORE
from ustack.sim.peer import Peer, Sent
from ustack.tcp.connection import Connection

STREAM = bytes(range(256)) * 100


def wide(peer: Peer) -> Connection:
    """A connection with a large window and a round trip of 10 ms."""
    connection = established(peer, window=32_792, round_trip=10, mss=1000, sack_permitted=True, window_scale=10)
    peer.inject(".", 1, 1, window=514)
    return connection


def runs(sent: list[Sent]) -> list[tuple[str, int]]:
    """Segments joined up to the first one that ends with PUSH or is not full: (flags, length)."""
    found: list[tuple[str, int]] = []
    length = 0
    for each in sent:
        length += len(each.payload)
        if "P" in each.flags or len(each.payload) < 1000:
            found.append((each.flags, length))
            length = 0
    return [*found, (".", length)] if length else found


def test_a_record_is_not_joined_with_the_write_that_follows(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[:10_400])
    write(peer, connection, STREAM[:400], MSG_EOR)
    write(peer, connection, STREAM[:10_000])
    assert sum(length for _, length in runs(drain(peer))) == 10_000
    peer.advance(1)
    peer.inject(".", 1, 10_001, window=514)
    sent = drain(peer)
    assert [(each.seq, len(each.payload)) for each in sent[:2]] == [(10_001, 800), (10_801, 1000)]
    assert sum(len(each.payload) for each in sent[1:]) == 10_000


def test_every_record_leaves_as_a_segment_of_its_own(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[:10_400])
    for _ in range(10):
        write(peer, connection, STREAM[:400], MSG_EOR)
    write(peer, connection, STREAM[:10_000])
    drain(peer)
    peer.advance(1)
    peer.inject(".", 1, 10_001, window=514)
    sent = drain(peer)
    assert [len(each.payload) for each in sent[:10]] == [800] + [400] * 9
    assert all(each.flags == "P." for each in sent[:10])
    assert (sent[10].seq, len(sent[10].payload)) == (14_401, 1000)


def test_a_large_record_fills_up_what_a_write_before_it_left(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[:10_400])
    write(peer, connection, STREAM[:10_400], MSG_EOR)
    write(peer, connection, STREAM[:2000])
    drain(peer)
    peer.advance(1)
    peer.inject(".", 1, 10_001, window=514)
    sent = drain(peer)
    assert [len(each.payload) for each in sent] == [1000] * 10 + [800] + [1000] * 2
    assert sent[10].flags == "P."


def test_push_stands_only_where_no_more_was_written(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[:10_400])
    drain(peer)
    write(peer, connection, STREAM[:100], MSG_MORE)
    peer.advance(2)
    peer.inject(".", 1, 10_001, window=514)
    peer.expect(".", 10_001, 1, STREAM[10_000:10_400] + STREAM[:100])


def test_push_is_forced_once_half_of_the_window_was_written_without(peer: Peer) -> None:
    connection = established(peer, window=4000, round_trip=10, mss=1000)
    for start in range(0, 1800, 600):
        write(peer, connection, STREAM[start : start + 600], MSG_MORE)
    peer.expect(".", 1, 1, STREAM[:1000])
    write(peer, connection, STREAM[1800:2400], MSG_MORE)
    peer.expect(".", 1001, 1, STREAM[1000:2000])
    peer.inject(".", 1, 2001, window=4000)
    peer.expect("P.", 2001, 1, STREAM[2000:2400])


def test_more_to_come_holds_only_the_last_part_back(peer: Peer) -> None:
    connection = established(peer, window=257 << 7, round_trip=10, mss=1000, window_scale=7)
    set_option(peer, connection, "no_delay", True)
    write(peer, connection, STREAM[:3100], MSG_MORE)
    assert [(each.flags, len(each.payload)) for each in drain(peer)] == [(".", 1000), ("P.", 1000), (".", 1000)]
    write(peer, connection, STREAM[3100:3150], MSG_MORE)
    peer.expect_nothing()
    peer.advance(10)
    peer.inject(".", 1, 2001, window=257)
    peer.expect(".", 3001, 1, STREAM[3000:3150])


def test_no_delay_releases_what_a_cork_holds_and_only_that(peer: Peer) -> None:
    connection = wide(peer)
    set_option(peer, connection, "cork", True)
    write(peer, connection, b"a")
    write(peer, connection, b"b")
    peer.expect_nothing()
    set_option(peer, connection, "no_delay", True)
    peer.expect("P.", 1, 1, b"ab")
    peer.inject(".", 1, 3, window=514)
    write(peer, connection, b"c")
    peer.expect_nothing()
    set_option(peer, connection, "cork", False)
    peer.expect("P.", 3, 1, b"c")


def test_what_is_held_by_more_to_come_leaves_without_push_when_released(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, b"a" * 40, MSG_MORE)
    write(peer, connection, b"b" * 40, MSG_MORE)
    set_option(peer, connection, "no_delay", True)
    peer.expect(".", 1, 1, b"a" * 40 + b"b" * 40)


def test_what_is_held_leaves_with_push_after_the_time_out(peer: Peer) -> None:
    """RTO is 210 ms after a round trip of 10."""
    connection = wide(peer)
    write(peer, connection, b"a" * 40, MSG_MORE)
    peer.advance(209)
    peer.expect_nothing()
    peer.advance(2)
    peer.expect("P.", 1, 1, b"a" * 40)


def test_a_small_segment_in_the_middle_does_not_wait_for_nagle(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, b"a", MSG_EOR)
    write(peer, connection, b"b", MSG_EOR)
    peer.expect("P.", 1, 1, b"a")
    peer.expect_nothing()
    write(peer, connection, b"c")
    peer.expect("P.", 2, 1, b"b")
    peer.expect_nothing()
    close(peer, connection)
    peer.expect("FP.", 3, 1, b"c")


def test_the_fin_goes_with_the_last_chunk_or_alone(peer: Peer) -> None:
    connection = wide(peer)
    write(peer, connection, STREAM[:10_500])
    drain(peer)
    close(peer, connection)
    peer.expect_nothing()
    peer.advance(2)
    peer.inject(".", 1, 2001, window=514)
    peer.expect("FP.", 10_001, 1, STREAM[10_000:10_500])


def test_records_stay_apart_when_they_are_sent_again(peer: Peer) -> None:
    connection = wide(peer)
    set_option(peer, connection, "no_delay", True)
    for letter in (b"a", b"b", b"c"):
        write(peer, connection, letter * 100, MSG_EOR)
    assert [each.payload[:1] for each in drain(peer)] == [b"a", b"b", b"c"]
    peer.advance(250)
    sent = drain(peer)
    assert all(len(each.payload) == 100 for each in sent)
    peer.inject(".", 1, 101, window=514)
    sent = drain(peer)
    assert [each.payload[:1] for each in sent] == [b"b", b"c"]
    assert payload_of(sent) == b"b" * 100 + b"c" * 100

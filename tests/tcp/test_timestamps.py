"""The timestamps option and PAWS.  RFC 7323 §3, §4, §5."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import connected, drain, dropped, established, read, set_option, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.drops import DropReason
from ustack.sim.peer import Peer, Sent
from ustack.tcp import sequence
from ustack.tcp.state import State

DAY_MS = 86_400_000


def stamps(sent: Sent) -> tuple[int, int]:
    """TSval and TSecr of a segment that must have them."""
    assert sent.options.timestamps is not None
    return sent.options.timestamps


@requirement("RFC7323", "3.2/negotiation")
def test_every_segment_carries_timestamps_once_they_are_agreed(peer: Peer) -> None:
    connection = established(peer, timestamps=(1000, 0))
    write(peer, connection, b"data")
    value, echo = stamps(peer.expect("P."))
    assert echo == 1000
    peer.inject("F.", 1, 5, timestamps=(1001, value))
    assert stamps(peer.expect("."))[1] == 1001
    connection.abort(peer.now)
    peer.collect()
    stamps(peer.expect("R."))


@requirement("RFC7323", "5.4")
def test_the_clock_ticks_once_a_millisecond(peer: Peer) -> None:
    connection = established(peer, timestamps=(1, 0))
    write(peer, connection, b"a")
    first = stamps(peer.expect("P."))[0]
    peer.inject(".", 1, 2, timestamps=(1, first))
    peer.advance(12_345)
    write(peer, connection, b"b")
    assert sequence.distance(first, stamps(peer.expect("P."))[0]) == 12_345


@requirement("RFC7323", "7.1")
def test_the_clock_begins_elsewhere_for_every_flow_and_tells_no_uptime(version: int) -> None:
    values = set()
    for port in range(1000, 1008):
        peer = Peer(version, port=port)
        peer.listen()
        peer.inject("S", 0, timestamps=(1, 0))
        values.add(stamps(peer.expect("S."))[0])
    assert len(values) == 8


@requirement("RFC7323", "3.2/negotiation")
def test_timestamps_are_not_sent_unless_the_peer_has_offered_them(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    assert peer.expect("P.").options.timestamps is None


def test_timestamps_that_were_not_agreed_are_ignored(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"a", timestamps=(1000, 0))
    peer.inject("P.", 2, 1, b"b", timestamps=(1, 0))
    assert read(peer, connection) == b"ab"


def test_timestamps_can_be_switched_off(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(timestamps=False, sack=False, window_scaling=False)))
    peer.listen()
    peer.inject("S", 0, timestamps=(1, 0), sack_permitted=True, window_scale=7)
    options = peer.expect("S.").options
    assert (options.timestamps, options.sack_permitted, options.window_scale) == (None, False, None)


@requirement("RFC7323", "4.3")
def test_the_echo_is_the_first_of_the_segments_that_a_delayed_ack_acknowledges(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    set_option(peer, connection, "quick_ack", 0)
    peer.inject("P.", 1, 1, b"a", timestamps=(110, 0))
    peer.inject("P.", 2, 1, b"b", timestamps=(120, 0))
    peer.advance(40)
    assert stamps(peer.expect(".", 1, 3))[1] == 110


@requirement("RFC7323", "4.3")
def test_the_echo_is_that_of_the_segment_before_the_hole(peer: Peer) -> None:
    """RFC 7323 §4.3, case B."""
    connection = established(peer, timestamps=(100, 0))
    peer.inject("P.", 1, 1, b"a", timestamps=(101, 0))
    peer.advance(40)
    assert stamps(peer.expect(".", 1, 2))[1] == 101
    peer.inject("P.", 3, 1, b"c", timestamps=(103, 0))
    assert stamps(peer.expect(".", 1, 2))[1] == 101
    peer.inject("P.", 4, 1, b"d", timestamps=(104, 0))
    assert stamps(peer.expect(".", 1, 2))[1] == 101
    peer.inject("P.", 2, 1, b"b", timestamps=(105, 0))
    assert stamps(peer.expect(".", 1, 5))[1] == 105
    assert read(peer, connection) == b"abcd"


@requirement("RFC7323", "3.2/missing")
def test_a_segment_without_timestamps_is_taken_and_leaves_the_clock_alone(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    peer.inject("P.", 1, 1, b"data")
    assert stamps(peer.expect(".", 1, 5))[1] == 100
    assert read(peer, connection) == b"data"


@requirement("RFC7323", "3.2/missing")
def test_a_rst_needs_no_timestamps(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    peer.inject("R", 1)
    assert state_of(connection) == State.CLOSED


def test_a_syn_without_timestamps_is_challenged_all_the_same(peer: Peer) -> None:
    established(peer, timestamps=(100, 0))
    peer.inject("S", 5000)
    peer.expect(".", 1, 1)


@requirement("RFC7323", "5.3")
def test_an_older_timestamp_is_rejected_with_an_ack(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    with dropped(peer, DropReason.TCP_PAWS):
        peer.inject("P.", 1, 1, b"old duplicate", timestamps=(98, 0))
    assert stamps(peer.expect(".", 1, 1))[1] == 100
    assert connection.tcb.rcv_ring.length == 0
    peer.inject("P.", 1, 1, b"equal", timestamps=(100, 0))
    assert read(peer, connection) == b"equal"


@requirement("RFC7323", "5.2")
def test_an_old_rst_is_not_rejected_by_its_timestamp(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    peer.inject("R.", 1, 1, timestamps=(1, 0))
    assert state_of(connection) == State.CLOSED


def test_empty_segments_with_old_timestamps_are_answered_seldom(peer: Peer) -> None:
    established(peer, timestamps=(5000, 0))
    for _ in range(4):
        with dropped(peer, DropReason.TCP_PAWS):
            peer.inject(".", 1, 1, timestamps=(3000, 0))
    assert len(drain(peer)) == 1


def test_a_reordered_ack_is_taken_and_one_from_before_is_dropped_silently(peer: Peer) -> None:
    connection = established(peer, timestamps=(5000, 0))
    with dropped(peer, DropReason.TCP_PAWS, 0):
        peer.inject(".", 1, 1, timestamps=(4900, 0))
    peer.expect_nothing()
    assert connection.tcb.ts_recent == 5000
    peer.inject("P.", 1, 1, b"data", timestamps=(5000, 0))
    drain(peer)
    with dropped(peer, DropReason.TCP_PAWS_OLD_ACK):
        peer.inject(".", 1, 1, timestamps=(3000, 0))
    peer.expect_nothing()


def test_a_tick_back_is_forgiven(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    peer.inject("P.", 1, 1, b"data", timestamps=(99, 0))
    assert read(peer, connection) == b"data"
    assert connection.tcb.ts_recent == 100


def test_the_timestamp_of_an_ack_of_something_not_sent_is_not_taken(peer: Peer) -> None:
    connection = established(peer, timestamps=(200, 0))
    peer.inject("F.", 1, 9999, timestamps=(200_000, 0))
    drain(peer)
    peer.inject(".", 1, 1, bytes(1000), timestamps=(201, 0))
    assert stamps(peer.expect(".", 1, 1001))[1] == 201
    assert connection.tcb.rcv_ring.length == 1000


@requirement("RFC7323", "5.3")
def test_the_comparison_wraps_around(peer: Peer) -> None:
    connection = established(peer, timestamps=(0xFFFFFFFE, 0))
    peer.inject("P.", 1, 1, b"a", timestamps=(0xFFFFFFFF, 0))
    peer.inject("P.", 2, 1, b"b", timestamps=(5, 0))
    peer.advance(40)
    peer.inject("P.", 3, 1, b"c", timestamps=(6, 0))
    with dropped(peer, DropReason.TCP_PAWS):
        peer.inject("P.", 4, 1, b"old", timestamps=(0xFFFFFFFE, 0))
    assert read(peer, connection) == b"abc"


@pytest.mark.parametrize("flags", ["R", "S"])
def test_a_rst_or_syn_does_not_move_the_clock_that_paws_compares_with(peer: Peer, flags: str) -> None:
    connection = established(peer, timestamps=(100, 0))
    peer.inject(flags, 1 if flags == "S" else 2, timestamps=(0x7FFFFFFF, 0))
    drain(peer)
    peer.inject("P.", 1, 1, b"data", timestamps=(101, 0))
    assert read(peer, connection) == b"data"


@requirement("RFC7323", "4.3")
def test_a_segment_outside_the_window_does_not_move_the_clock(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    peer.inject("P.", 1 + (1 << 20), 1, b"x", timestamps=(0x7FFFFFFF, 0))
    drain(peer)
    peer.inject("P.", 1, 1, b"data", timestamps=(101, 0))
    assert read(peer, connection) == b"data"


@requirement("RFC7323", "5.5")
def test_after_24_days_of_silence_any_timestamp_is_accepted_and_becomes_the_newest(peer: Peer) -> None:
    connection = established(peer, timestamps=(100, 0))
    peer.advance(24 * DAY_MS - 1)
    with dropped(peer, DropReason.TCP_PAWS):
        peer.inject("P.", 1, 1, b"x", timestamps=(90, 0))
    peer.advance(1)
    drain(peer)
    peer.inject("P.", 1, 1, b"a", timestamps=(90, 0))
    peer.advance(40)
    assert stamps(peer.expect(".", 1, 2))[1] == 90
    peer.inject("P.", 2, 1, b"b", timestamps=(90, 0))
    assert read(peer, connection) == b"ab"


def test_the_syn_ack_of_an_active_open_gives_the_first_echo(peer: Peer) -> None:
    connection = peer.connect()
    own = stamps(peer.expect("S", 0))[0]
    peer.inject("S.", 0, 1, timestamps=(777, own))
    assert stamps(peer.expect(".", 1, 1))[1] == 777
    assert state_of(connection) == State.ESTABLISHED


def test_an_active_open_without_an_answer_to_the_option_goes_on_without(peer: Peer) -> None:
    connection = connected(peer)
    write(peer, connection, b"data")
    assert peer.expect("P.").options.timestamps is None
    peer.inject("P.", 1, 5, b"data")
    assert read(peer, connection) == b"data"

"""The SACK blocks that we send.  RFC 2018 §3, §4."""

from __future__ import annotations

import pytest

from tests.support.stream import drain, established, read, sack_blocks, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.sim.peer import Peer
from ustack.tcp.state import State


def test_no_blocks_are_sent_unless_both_sides_permit_them(peer: Peer) -> None:
    established(peer)
    peer.inject(".", 101, 1, bytes(100))
    assert peer.expect(".", 1, 1).options.sack_blocks == ()


def test_a_block_tells_what_is_held(peer: Peer) -> None:
    established(peer, sack_permitted=True)
    peer.inject(".", 101, 1, bytes(100))
    assert sack_blocks(peer, peer.expect(".", 1, 1)) == [(101, 201)]
    peer.inject(".", 201, 1, bytes(50))
    assert sack_blocks(peer, peer.expect(".", 1, 1)) == [(101, 251)]
    peer.inject(".", 51, 1, bytes(50))
    assert sack_blocks(peer, peer.expect(".", 1, 1)) == [(51, 251)]


def test_the_first_block_holds_the_segment_that_caused_the_ack(peer: Peer) -> None:
    established(peer, sack_permitted=True)
    for start in (101, 301, 501):
        peer.inject(".", start, 1, bytes(100))
    drain(peer)
    peer.inject(".", 201, 1, bytes(10))
    peer.advance(1)
    assert sack_blocks(peer, peer.expect(".")) == [(101, 211), (501, 601), (301, 401)]
    peer.inject(".", 301, 1, bytes(100))
    peer.advance(1)
    assert sack_blocks(peer, peer.expect(".")) == [(301, 401), (301, 401), (101, 211), (501, 601)]


@pytest.mark.parametrize(("stamped", "most"), [(False, 4), (True, 3)])
def test_as_many_blocks_are_sent_as_fit_the_latest_first(peer: Peer, stamped: bool, most: int) -> None:
    stamps = (5, 0) if stamped else None
    established(peer, sack_permitted=True, timestamps=stamps)
    starts = [101, 301, 501, 701, 901, 1101]
    for start in starts:
        peer.inject(".", start, 1, bytes(100), timestamps=stamps)
        peer.advance(1)
    blocks = sack_blocks(peer, drain(peer)[-1])
    assert blocks == [(start, start + 100) for start in reversed(starts)][:most]


def test_blocks_go_when_the_hole_is_filled(peer: Peer) -> None:
    connection = established(peer, sack_permitted=True)
    peer.inject(".", 101, 1, bytes(100))
    peer.inject(".", 301, 1, bytes(100))
    drain(peer)
    peer.inject(".", 1, 1, bytes(100))
    assert sack_blocks(peer, peer.expect(".", 1, 201)) == [(301, 401)]
    peer.inject(".", 201, 1, bytes(100))
    assert peer.expect(".", 1, 401).options.sack_blocks == ()
    assert len(read(peer, connection)) == 400


def test_data_that_we_send_carry_the_blocks_and_make_room_for_them(peer: Peer) -> None:
    connection = established(peer, sack_permitted=True, mss=1000, timestamps=(5, 0))
    peer.inject(".", 101, 1, bytes(100), timestamps=(5, 0))
    drain(peer)
    write(peer, connection, bytes(3000))
    for segment in drain(peer)[:3]:
        assert sack_blocks(peer, segment) == [(101, 201)]
        assert len(segment.payload) == 1000 - 12 - 12


def test_a_block_reaches_across_the_end_of_the_sequence_space(peer: Peer) -> None:
    peer.isn = 0xFFFFFFFF - 150
    connection = established(peer, sack_permitted=True)
    peer.inject(".", 101, 1, bytes(100))
    assert sack_blocks(peer, peer.expect(".", 1, 1)) == [(101, 201)]
    peer.inject(".", 1, 1, bytes(100))
    peer.expect(".", 1, 201)
    assert len(read(peer, connection)) == 200


def test_data_that_come_again_are_told_first_and_once(peer: Peer) -> None:
    """RFC 2883 §4, in the order of Linux's selftest tcp_dsack_mult."""
    established(peer, sack_permitted=True)
    told = []
    steps = [(1001, 1000), (2001, 1000), (4001, 1000), (7001, 1000), (1, 6000), (6001, 2000), (1, 1000), (8001, 10)]
    for start, length in steps:
        peer.inject("P.", start, 1, bytes(length))
        peer.advance(40)
        told.append(sack_blocks(peer, drain(peer)[-1]))
    assert told == [
        [(1001, 2001)],
        [(1001, 3001)],
        [(4001, 5001), (1001, 3001)],
        [(7001, 8001), (4001, 5001), (1001, 3001)],
        [(1001, 3001), (7001, 8001)],
        [(7001, 8001)],
        [(1, 1001)],
        [],
    ]


def test_only_four_blocks_are_remembered(peer: Peer) -> None:
    """What was pushed out of the list is not told again until data beside it arrive."""
    established(peer, sack_permitted=True)
    for start in (101, 301, 501, 701, 901):
        peer.inject(".", start, 1, bytes(100))
        peer.advance(1)
    drain(peer)
    peer.inject(".", 801, 1, bytes(100))
    peer.advance(1)
    assert sack_blocks(peer, drain(peer)[-1]) == [(701, 1001), (501, 601), (301, 401)]
    peer.inject(".", 201, 1, bytes(50))
    peer.advance(1)
    assert sack_blocks(peer, drain(peer)[-1]) == [(201, 251), (701, 1001), (501, 601), (301, 401)]


def test_a_rst_at_the_end_of_what_was_told_is_taken(peer: Peer) -> None:
    """RFC 5961 §3.2 as Linux extends it: the sender counts from what it has sent last."""
    connection = established(peer, sack_permitted=True)
    peer.inject(".", 101, 1, bytes(100))
    peer.inject("R", 201)
    assert state_of(connection) == State.CLOSED


def test_without_duplicate_sack_nothing_is_told_of_what_comes_again(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(dsack=False)))
    established(peer, sack_permitted=True)
    for _ in range(2):
        peer.inject(".", 1, 1, bytes(100))
        assert sack_blocks(peer, peer.expect(".", 1, 101)) == []

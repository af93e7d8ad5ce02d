"""The SACK blocks that we send.  RFC 2018 §3, §4."""

from __future__ import annotations

import pytest

from tests.support.stream import drain, established, read, sack_blocks, write
from ustack.sim.peer import Peer


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

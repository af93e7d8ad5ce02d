"""What a write takes, when it fails for want of room, and when poll() shows room: SO_SNDBUF, TCP_NOTSENT_LOWAT.

The numbers are Linux's, from public packetdrill scripts and from tcp(7).
"""

from __future__ import annotations

import errno
from typing import Any

import pytest

from tests.support.raising import raises_errno
from tests.support.stream import drain, established, set_option, write
from ustack.config import StackConfig, TcpConfig
from ustack.constants import MSG_EOR
from ustack.endpoint import WRITABLE
from ustack.sim.peer import Peer
from ustack.tcp import send_buffer
from ustack.tcp.connection import Connection

STREAM = bytes(200_000)
SCALED = 257 << 7
"""What a window of 257 means with a scale of 7."""


def opened(version: int, window: int = SCALED, **tunables: Any) -> tuple[Peer, Connection]:
    """A connection with a round trip of 20 ms whose send buffer grows by itself."""
    peer = Peer(version, StackConfig(tcp=TcpConfig(**tunables)))
    scale = 7 if window > 65535 or window == SCALED else 0
    connection = established(
        peer, window=window, round_trip=20, send_buffer=None, mss=1000, sack_permitted=True, window_scale=scale
    )
    connection.observer = connection
    peer.stack.take_events()
    return peer, connection


def writable_events(peer: Peer) -> int:
    """How often the user was told that there is room."""
    return sum(bool(bits & WRITABLE) for _, bits in peer.stack.take_events())


def test_a_write_takes_whole_chunks_until_the_memory_is_used(version: int) -> None:
    peer, connection = opened(version, wmem=(4096, 50_000, 4 << 20), min_tso_segs=10)
    assert write(peer, connection, STREAM[:59_000]) == 58_000
    assert sum(len(each.payload) for each in drain(peer)) == 10_000
    with raises_errno(errno.EAGAIN):
        write(peer, connection, b"x")


def test_a_buffer_begins_with_room_for_two_initial_windows_in_separate_packets(version: int) -> None:
    peer = Peer(version)
    connection = established(peer, send_buffer=None, mss=1460 if version == 4 else 1440)
    assert connection.send_limit == 87_040


def test_a_buffer_grows_with_the_window_while_it_limits_the_user(version: int) -> None:
    peer, connection = opened(version)
    before = connection.send_limit
    acked = 1
    for _ in range(4):
        while connection.readiness() & WRITABLE:
            write(peer, connection, STREAM)
        acked += sum(len(each.payload) for each in drain(peer))
        peer.advance(20)
        peer.inject(".", 1, acked, window=60_000)
    assert connection.tcb.cwnd_packets > 20
    assert connection.send_limit > 2 * before


def test_a_buffer_does_not_grow_for_a_user_who_never_fills_it(version: int) -> None:
    peer, connection = opened(version)
    before = connection.send_limit
    for round_trip in range(5):
        write(peer, connection, STREAM[:10_000])
        drain(peer)
        peer.inject(".", 1, 10_001 + 10_000 * round_trip, window=257)
    assert connection.send_limit == before


def test_a_buffer_grows_no_further_than_configured(version: int) -> None:
    _, connection = opened(version, wmem=(4096, 16_384, 20_000))
    assert connection.send_limit == 20_000


def test_the_size_that_the_user_has_set_stays(version: int) -> None:
    """And room shows when a third of it is free: the acknowledgment of 36000 bytes does that, 35000 do not."""
    peer, connection = opened(version, window=50_000, min_tso_segs=10)
    set_option(peer, connection, "send_buffer", 42_000)
    assert write(peer, connection, STREAM[:61_000]) == 60_000
    drain(peer)
    peer.stack.take_events()
    for acked in (10_001, 30_001):
        peer.advance(20)
        peer.inject(".", 1, acked, window=50_000)
        assert not connection.readiness() & WRITABLE
    assert writable_events(peer) == 0
    assert connection.send_limit == 42_000
    peer.inject(".", 1, 36_001, window=50_000)
    assert connection.readiness() & WRITABLE
    assert writable_events(peer) == 1


def test_the_user_hears_of_room_only_if_he_has_waited_for_it(version: int) -> None:
    peer, connection = opened(version)
    write(peer, connection, STREAM[:10_000])
    peer.inject(".", 1, 10_001, window=257)
    assert writable_events(peer) == 0


def test_every_chunk_costs_memory_beside_its_bytes(version: int) -> None:
    """Six records of one byte fill the smallest buffer."""
    peer, connection = opened(version)
    set_option(peer, connection, "send_buffer", 4608)
    set_option(peer, connection, "no_delay", True)
    for _ in range(6):
        write(peer, connection, b"x", MSG_EOR)
    with raises_errno(errno.EAGAIN):
        write(peer, connection, b"x", MSG_EOR)
    assert send_buffer.charged(connection) == 6 * (send_buffer.CHUNK_OVERHEAD + 1)
    peer.inject(".", 1, 7, window=257)
    assert send_buffer.charged(connection) == 0


@pytest.mark.parametrize("by_option", [True, False])
def test_what_is_unsent_has_a_limit_of_its_own(version: int, by_option: bool) -> None:
    """TCP_NOTSENT_LOWAT: a chunk is begun while less is unsent, room shows when it is half of that."""
    peer, connection = opened(version, wmem=(4096, 262_144, 4 << 20), **({} if by_option else {"notsent_lowat": 4000}))
    if by_option:
        set_option(peer, connection, "notsent_lowat", 4000)
        peer.stack.take_events()
    assert write(peer, connection, STREAM[:59_000]) == 26_000
    assert sum(len(each.payload) for each in drain(peer)) == 10_000
    for acked in (2001, 4001, 6001):
        peer.advance(10)
        peer.inject(".", 1, acked, window=257)
        assert sum(len(each.payload) for each in drain(peer)) == 4000
        assert not connection.readiness() & WRITABLE
    assert writable_events(peer) == 0
    peer.inject(".", 1, 8001, window=257)
    assert connection.readiness() & WRITABLE
    assert writable_events(peer) == 1


@pytest.mark.parametrize(("option", "value"), [("notsent_lowat", 1 << 20), ("send_buffer", 1 << 20)])
def test_a_user_who_raises_a_limit_hears_of_room_at_once(version: int, option: str, value: int) -> None:
    peer, connection = opened(version)
    set_option(peer, connection, "send_buffer", 42_000)
    set_option(peer, connection, "notsent_lowat", 4000)
    if option == "send_buffer":
        set_option(peer, connection, "notsent_lowat", 1 << 20)
    else:
        set_option(peer, connection, "send_buffer", 1 << 20)
    write(peer, connection, STREAM)
    peer.stack.take_events()
    assert not connection.readiness() & WRITABLE
    set_option(peer, connection, option, value)
    assert writable_events(peer) == 1
    assert write(peer, connection, STREAM[:100]) == 100


def test_writes_of_nothing_always_succeed(version: int) -> None:
    peer, connection = opened(version)
    write(peer, connection, STREAM)
    assert write(peer, connection, b"") == 0

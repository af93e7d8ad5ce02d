"""The user time-out option.  RFC 5482."""

from __future__ import annotations

import pytest

from tests.support.stream import connected, established, set_option, state_of, write
from ustack.sim.peer import Peer
from ustack.tcp.state import State
from ustack.tcp.user_timeout_option import decode, encode

SECOND = 1_000_000_000


@pytest.fixture
def talkative(peer: Peer) -> Peer:
    """A stack that uses the option."""
    peer.stack.config.tcp.user_timeout_option = True
    return peer


def test_it_is_off_by_default(peer: Peer) -> None:
    connection = peer.connect()
    assert peer.expect("S").options.user_timeout is None
    peer.inject("S.", 0, 1, user_timeout=200)
    assert connection.options.adopted_user_timeout_ns == 0


def test_a_syn_tells_the_time_out(talkative: Peer) -> None:
    talkative.connect()
    assert talkative.expect("S").options.user_timeout == 300


def test_the_larger_of_both_time_outs_is_adopted(talkative: Peer) -> None:
    connection = connected(talkative, user_timeout=1000)
    assert connection.options.adopted_user_timeout_ns == 1000 * SECOND


@pytest.mark.parametrize(("told", "adopted"), [(1, 300), (0x8000 | 30, 1800), (0x7FFF, 32767), (0xFFFF, 86400)])
def test_what_is_adopted_has_limits(talkative: Peer, told: int, adopted: int) -> None:
    connection = established(talkative, user_timeout=told)
    assert connection.options.adopted_user_timeout_ns == adopted * SECOND


def test_zero_is_ignored(talkative: Peer) -> None:
    assert established(talkative, user_timeout=0).options.adopted_user_timeout_ns == 0


def test_the_users_own_time_out_is_not_changed_by_the_peer(talkative: Peer) -> None:
    connection = established(talkative)
    set_option(talkative, connection, "user_timeout_ns", 5 * SECOND)
    assert talkative.expect(".", 1, 1).options.user_timeout == 5
    talkative.inject(".", 1, 1, user_timeout=1000)
    write(talkative, connection, b"data")
    talkative.advance(20_000)
    assert state_of(connection) == State.CLOSED


def test_a_connection_lasts_as_long_as_was_adopted(talkative: Peer) -> None:
    talkative.stack.config.tcp.retries2 = 3
    connection = established(talkative, round_trip=100, user_timeout=400)
    write(talkative, connection, b"data")
    talkative.advance(390_000)
    assert state_of(connection) == State.ESTABLISHED
    talkative.advance(20_000)
    assert state_of(connection) == State.CLOSED


@pytest.mark.parametrize(
    ("seconds", "value"), [(0, 1), (1, 1), (32767, 32767), (32768, 0x8000 | 546), (10_000_000_000, 0xFFFF)]
)
def test_long_times_are_told_in_minutes(seconds: int, value: int) -> None:
    assert encode(seconds * SECOND) == value
    assert decode(value) <= max(seconds, 1) * SECOND

"""Fast Open, the client's side.  RFC 7413 §4.1.3, §4.2.1."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from tests.support.raising import raises_errno
from tests.support.stream import close, drain, dropped, read, set_option, state_of, write
from ustack.config import StackConfig
from ustack.constants import MSG_FASTOPEN
from ustack.drops import DropReason
from ustack.endpoint import ERROR, HANGUP, WRITABLE
from ustack.sim.peer import Peer, Sent
from ustack.tcp.connection import Connection
from ustack.tcp.fast_open.cache import ENTRIES_MAX, CookieCache
from ustack.tcp.state import State
from ustack.wire import tcp, tcp_options

COOKIE = bytes.fromhex("abcd1234")


def fast_send(peer: Peer, data: bytes) -> tuple[Connection, int]:
    """A new socket and what a non-blocking sendto(MSG_FASTOPEN) takes: the negative errno if it fails."""
    connection = peer.socket()
    peer.local_port += 1
    connection.bind(bytes(len(peer.local)), peer.local_port)
    return connection, attempt(peer, connection, data)


def attempt(peer: Peer, connection: Connection, data: bytes, flags: int = MSG_FASTOPEN) -> int:
    """The result of one such call."""
    try:
        count = connection.send(data, flags, (peer.remote, peer.port), peer.now)
    except OSError as problem:
        count = -(problem.errno or 0)
    peer.collect()
    return count


def learn_cookie(peer: Peer, cookie: bytes = COOKIE, mss: int = 1460, *, experimental: bool = False) -> None:
    """A first connection that brings the cookie, and is closed again."""
    connection, result = fast_send(peer, b"")
    assert result == -errno.EINPROGRESS
    peer.expect("S", 0)
    peer.inject("S.", 0, 1, mss=mss, fast_open_cookie=cookie, fast_open_experimental=experimental)
    peer.expect(".", 1, 1)
    close(peer, connection)
    peer.expect("F.", 1, 1)
    peer.inject("R.", 1, 2)
    peer.expect_nothing()


@pytest.fixture
def taught(peer: Peer) -> Peer:
    """A stack that has the peer's cookie."""
    peer.stack.config.tcp.timestamps = False
    learn_cookie(peer)
    return peer


def test_the_first_syn_asks_for_a_cookie(peer: Peer) -> None:
    connection, result = fast_send(peer, b"hello")
    assert result == -errno.EINPROGRESS
    assert peer.expect("S", 0, payload=b"").options.fast_open_cookie == b""
    with pytest.raises(BlockingIOError):
        write(peer, connection, b"more")


def test_the_option_comes_last_and_is_padded_with_no_operations(peer: Peer) -> None:
    peer.stack.config.tcp.timestamps = False
    fast_send(peer, b"")
    assert options_of(peer, peer.expect("S", 0)).endswith(b"\x01\x03\x03\x0a\x22\x02\x01\x01")


def options_of(peer: Peer, sent: Sent) -> bytes:
    """The bytes of a segment's options."""
    return tcp.parse(sent.frame[20 if peer.version == 4 else 40 :]).options


def test_data_leave_on_the_syn_by_a_cookie(taught: Peer) -> None:
    connection, result = fast_send(taught, b"x" * 1000)
    assert result == 1000
    syn = taught.expect("S", 0, payload=b"x" * 1000)
    assert syn.options.fast_open_cookie == COOKIE
    taught.inject("S.", 0, 1001, mss=1460)
    taught.expect(".", 1001, 1)
    taught.expect_nothing()
    assert state_of(connection) == State.ESTABLISHED
    assert connection.fast_open.syn_data_acknowledged
    assert connection.unacknowledged() == 0


def test_the_syn_takes_what_the_last_mss_allows_less_the_most_options(peer: Peer) -> None:
    learn_cookie(peer, mss=940)
    _, result = fast_send(peer, b"x" * 2000)
    assert result == 900
    assert len(peer.expect("S", 0).payload) == 900


def test_the_syn_takes_no_more_than_the_path(peer: Peer) -> None:
    learn_cookie(peer, mss=10_000)
    _, result = fast_send(peer, b"x" * 9000)
    assert result == (1420 if peer.version == 4 else 1400)


def test_an_empty_send_brings_the_cookie_and_no_data(taught: Peer) -> None:
    _, result = fast_send(taught, b"")
    assert result == -errno.EINPROGRESS
    assert taught.expect("S", 0, payload=b"").options.fast_open_cookie == COOKIE


def test_data_that_the_syn_ack_has_not_acknowledged_are_sent_again_at_once(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"x" * 700)
    taught.expect("S", 0)
    taught.inject("S.", 0, 1, mss=1040)
    taught.expect("P.", 1, 1, b"x" * 700)
    taught.expect_nothing()
    assert not connection.fast_open.syn_data_acknowledged
    taught.inject(".", 1, 701)
    assert write(taught, connection, b"y") == 1
    taught.expect("P.", 701, 1, b"y")


def test_data_acknowledged_in_part_are_sent_again_in_part(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"0123456789")
    taught.expect("S", 0)
    taught.inject("S.", 0, 5, mss=1460)
    taught.expect("P.", 5, 1, b"456789")
    assert not connection.fast_open.syn_data_acknowledged


def test_a_syn_ack_that_acknowledges_too_much_is_answered_with_rst(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"x" * 100)
    taught.expect("S", 0)
    with dropped(taught, DropReason.TCP_SYN_SENT_BAD_ACK):
        taught.inject("S.", 0, 100_101, mss=1040, fast_open_cookie=b"other")
    taught.expect("R", 100_101)
    assert state_of(connection) == State.SYN_SENT
    drain(taught)
    fast_send(taught, b"x")
    assert taught.expect("S", 0).options.fast_open_cookie == COOKIE


def test_only_the_bare_syn_is_sent_again(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"x" * 1000)
    taught.expect("S", 0)
    taught.advance(1000)
    syn = taught.expect("S", 0, payload=b"")
    assert syn.options.fast_open_cookie is None
    taught.inject("S.", 0, 1, mss=1460)
    taught.expect("P.", 1, 1, b"x" * 1000)
    assert state_of(connection) == State.ESTABLISHED


def test_a_cookie_is_learned_even_after_the_syn_was_sent_again(peer: Peer) -> None:
    fast_send(peer, b"")
    peer.advance(1000)
    drain(peer)
    peer.inject("S.", 0, 1, mss=1240, fast_open_cookie=COOKIE)
    drain(peer)
    _, result = fast_send(peer, b"x" * 5000)
    assert result == 1200
    assert peer.expect("S", 0).options.fast_open_cookie == COOKIE


def test_the_experimental_option_is_tried_once_where_the_standard_one_is_not_answered(peer: Peer) -> None:
    asked = []
    for _ in range(4):
        fast_send(peer, b"")
        options = peer.expect("S", 0).options
        assert options.fast_open_cookie == b""
        asked.append(options.fast_open_experimental)
        peer.inject("S.", 0, 1, mss=1460)
        peer.expect(".", 1, 1)
    assert asked == [False, True, False, False]


def test_a_cookie_goes_back_in_the_option_that_it_came_in(peer: Peer) -> None:
    learn_cookie(peer, experimental=True)
    fast_send(peer, b"x")
    options = peer.expect("S", 0).options
    assert options.fast_open_cookie == COOKIE
    assert options.fast_open_experimental
    peer.inject("S.", 0, 2, mss=1460, fast_open_cookie=b"standard")
    drain(peer)
    fast_send(peer, b"x")
    options = peer.expect("S", 0).options
    assert options.fast_open_cookie == b"standard"
    assert not options.fast_open_experimental


@pytest.mark.parametrize("data", ["1122", "112233", "00" * 18, "00" * 5])
def test_a_cookie_of_a_wrong_length_is_not_learned(taught: Peer, data: str) -> None:
    fast_send(taught, b"x")
    taught.expect("S", 0)
    option = bytes((34, 2 + len(data) // 2)) + bytes.fromhex(data)
    taught.inject("S.", 0, 2, raw_options=tcp_options.pad(b"\x02\x04\x05\xb4" + option))
    taught.expect(".", 2, 1)
    fast_send(taught, b"x")
    assert taught.expect("S", 0).options.fast_open_cookie == COOKIE


def test_a_cookie_that_nobody_has_asked_for_is_not_learned(peer: Peer) -> None:
    peer.connect()
    peer.expect("S", 0)
    peer.inject("S.", 0, 1, mss=1460, fast_open_cookie=COOKIE)
    peer.expect(".", 1, 1)
    fast_send(peer, b"x")
    assert peer.expect("S", 0).options.fast_open_cookie == b""


def test_a_cookie_outside_of_a_syn_is_not_learned(taught: Peer) -> None:
    fast_send(taught, b"x")
    taught.expect("S", 0)
    taught.inject("S.", 0, 2, mss=1460)
    taught.expect(".", 2, 1)
    taught.inject("P.", 1, 2, b"data", fast_open_cookie=b"injected")
    drain(taught)
    fast_send(taught, b"x")
    assert taught.expect("S", 0).options.fast_open_cookie == COOKIE


def test_data_leave_without_cookie_where_the_configuration_says_so(peer: Peer) -> None:
    peer.stack.config.tcp.fastopen = 0x5
    connection, result = fast_send(peer, b"hello")
    assert result == 5
    assert peer.expect("S", 0, payload=b"hello").options.fast_open_cookie is None
    peer.inject("S.", 0, 6, mss=1460, fast_open_cookie=COOKIE)
    peer.expect(".", 6, 1)
    assert connection.fast_open.syn_data_acknowledged
    peer.stack.config.tcp.fastopen = 1
    assert fast_send(peer, b"hello")[1] == -errno.EINPROGRESS


def test_a_stack_that_forbids_it_says_so(peer: Peer) -> None:
    peer.stack.config.tcp.fastopen = 0x2
    assert fast_send(peer, b"hello")[1] == -errno.EOPNOTSUPP
    peer.expect_nothing()


def test_a_second_fast_send_during_the_handshake_is_refused(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"x")
    assert attempt(taught, connection, b"y") == -errno.EALREADY
    assert attempt(taught, connection, b"y", 0) == -errno.EAGAIN


def test_the_flag_means_nothing_once_after_the_handshake(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"x")
    taught.expect("S", 0)
    taught.inject("S.", 0, 2, mss=1460)
    taught.expect(".", 2, 1)
    assert attempt(taught, connection, b"hello") == 5
    taught.expect("P.", 2, 1, b"hello")
    assert attempt(taught, connection, b"hello") == -errno.EISCONN


def test_a_refusal_is_told_to_the_next_call(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"x")
    taught.expect("S", 0)
    taught.inject("R.", 0, 1)
    assert connection.readiness() & (ERROR | HANGUP) == ERROR | HANGUP
    with raises_errno(errno.ECONNREFUSED):
        write(taught, connection, b"y")


class TestDeferredConnect:
    """TCP_FASTOPEN_CONNECT."""

    def connect(self, peer: Peer) -> tuple[Connection, int]:
        """A socket with the option, and what connect() says."""
        connection = peer.socket()
        peer.local_port += 1
        connection.bind(bytes(len(peer.local)), peer.local_port)
        set_option(peer, connection, "fast_open_connect", True)
        return connection, self.again(peer, connection)

    def again(self, peer: Peer, connection: Connection) -> int:
        """One connect()."""
        try:
            connection.connect(peer.remote, peer.port, peer.now)
        except OSError as problem:
            peer.collect()
            return problem.errno or 0
        return 0

    def test_without_a_cookie_connect_asks_for_one(self, peer: Peer) -> None:
        _, result = self.connect(peer)
        assert result == errno.EINPROGRESS
        assert peer.expect("S", 0).options.fast_open_cookie == b""

    def test_with_a_cookie_connect_sends_nothing(self, taught: Peer) -> None:
        connection, result = self.connect(taught)
        assert result == 0
        taught.advance(10_000)
        taught.expect_nothing()
        assert connection.readiness() == WRITABLE
        with pytest.raises(BlockingIOError):
            read(taught, connection)
        assert self.again(taught, connection) == errno.EISCONN

    def test_the_first_write_sends_the_syn(self, taught: Peer) -> None:
        connection, _ = self.connect(taught)
        assert write(taught, connection, b"hello") == 5
        assert taught.expect("S", 0, payload=b"hello").options.fast_open_cookie == COOKIE
        assert connection.readiness() == 0
        assert self.again(taught, connection) == errno.EALREADY
        taught.inject("S.", 0, 6, mss=1460)
        taught.expect(".", 6, 1)
        assert connection.readiness() == WRITABLE

    def test_an_empty_write_sends_a_bare_syn_with_the_cookie(self, taught: Peer) -> None:
        connection, _ = self.connect(taught)
        assert attempt(taught, connection, b"", 0) == -errno.EINPROGRESS
        assert taught.expect("S", 0, payload=b"").options.fast_open_cookie == COOKIE

    def test_close_before_the_first_write_sends_nothing(self, taught: Peer) -> None:
        connection, _ = self.connect(taught)
        close(taught, connection)
        taught.expect_nothing()
        assert state_of(connection) == State.CLOSED

    def test_a_segment_before_the_first_write_is_answered_with_rst(self, taught: Peer) -> None:
        connection, _ = self.connect(taught)
        taught.stack_isn = connection.tcb.iss
        with dropped(taught, DropReason.TCP_SYN_SENT_BAD_ACK):
            taught.inject("S.", 0, 1, mss=1460)
        taught.expect("R", 1)

    def test_a_syn_before_the_first_write_opens_simultaneously(self, taught: Peer) -> None:
        connection, _ = self.connect(taught)
        taught.inject("S", 0, mss=1460)
        segments = drain(taught)
        assert segments[-1].flags == "S."
        taught.inject(".", 1, 1)
        assert state_of(connection) == State.ESTABLISHED


def test_a_path_that_swallows_data_is_left_alone_for_a_while(peer: Peer) -> None:
    config = peer.stack.config.tcp
    config.fastopen_blackhole_timeout_ns = 60_000_000_000
    config.syn_retries = 3
    learn_cookie(peer)
    fast_send(peer, b"x")
    assert peer.expect("S", 0, payload=b"x")
    peer.advance(20_000)
    drain(peer)
    _, result = fast_send(peer, b"x")
    assert result == -errno.EINPROGRESS
    assert peer.expect("S", 0, payload=b"").options.fast_open_cookie is None
    peer.advance(60_000)
    drain(peer)
    assert fast_send(peer, b"x")[1] == 1


def test_both_ends_may_open_with_data_at_once(taught: Peer) -> None:
    connection, _ = fast_send(taught, b"x" * 1000)
    taught.expect("S", 0)
    taught.inject("S", 0, payload=b"y" * 500, mss=1040, fast_open_cookie=b"whatever")
    syn_ack = taught.expect("S.", 0, 1, b"")
    assert syn_ack.options.fast_open_cookie is None
    taught.inject("S.", 0, 1001, mss=940)
    taught.expect(".", 1001, 1)
    assert state_of(connection) == State.ESTABLISHED
    taught.inject("P.", 1, 1001, b"y" * 500)
    assert read(taught, connection) == b"y" * 500


def test_a_rejected_request_for_memory_leaves_the_cache_bounded() -> None:
    cache = CookieCache()
    for number in range(ENTRIES_MAX + 10):
        learned: dict[str, Any] = {"experimental": False, "try_experimental": 0}
        cache.learn(b"\x0a\0\0\1", number.to_bytes(4, "big"), 1460, COOKIE, **learned)
    assert len(cache) == ENTRIES_MAX
    assert cache.find(b"\x0a\0\0\1", bytes(4)) is None
    cache.flush()
    assert len(cache) == 0


def test_cookies_are_kept_by_both_addresses(version: int) -> None:
    peer = Peer(version, StackConfig())
    learn_cookie(peer)
    assert peer.stack.tcp.cookie_cache.find(peer.local, peer.remote) is not None
    assert peer.stack.tcp.cookie_cache.find(peer.remote, peer.local) is None

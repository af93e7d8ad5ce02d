"""Fast Open, the server's side.  RFC 7413 §4.1.2, §4.2.2, §5.1."""

from __future__ import annotations

import errno

import pytest

from tests.support.icmp_reports import report_unreachable
from tests.support.raising import raises_errno
from tests.support.stream import close, drain, dropped, read, state_of, write
from ustack.address import parse_address
from ustack.drops import DropReason
from ustack.endpoint import READABLE, WRITABLE
from ustack.sim.peer import Peer
from ustack.tcp.fast_open.cookies import Keys, parse_keys, split_keys
from ustack.tcp.listener import Listener
from ustack.tcp.state import State

HOST_UNREACHABLE = 1
KEY = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"
OTHER_KEY = "00000001-00000002-00000003-00000004"


@pytest.fixture
def server(peer: Peer) -> Peer:
    """A stack that serves Fast Open on every listener."""
    peer.stack.config.tcp.fastopen = 0x403
    peer.stack.config.tcp.fastopen_key = KEY
    return peer


def cookie_of(peer: Peer) -> bytes:
    """The peer's cookie."""
    return parse_keys(KEY).cookie(peer.remote, peer.local)


def fast_open(peer: Peer, data: bytes = b"0123456789", backlog: int = 8) -> Listener:
    """A listener to which the peer has opened a connection with data."""
    listener = peer.listen(backlog)
    peer.inject("S", 0, payload=data, mss=1460, fast_open_cookie=cookie_of(peer))
    syn_ack = peer.expect("S.", 0, 1 + len(data))
    assert syn_ack.options.fast_open_cookie is None
    return listener


@pytest.mark.parametrize(
    ("client", "host", "expected"),
    [
        ("192.0.2.1", "192.168.0.1", "3021b9d889017eeb"),
        ("fd3d:fa7b:d17d::1", "fd3d:0a0b:17d6::1", "c1d1e9742a47a9bc"),
    ],
)
def test_cookies_are_those_that_linux_computes(client: str, host: str, expected: str) -> None:
    assert parse_keys(KEY).cookie(parse_address(client), parse_address(host)).hex() == expected


@pytest.mark.parametrize("text", ["", "1-2-3", "1-2-3-4-5", "1-2-3-x", "1-2-3-100000000", f"{KEY},{KEY},{KEY}"])
def test_keys_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"key|invalid literal"):
        parse_keys(text)


def test_both_ways_of_writing_keys_agree() -> None:
    keys = parse_keys(f"{KEY},{OTHER_KEY}")
    assert keys == split_keys(b"".join(keys))
    assert split_keys(keys.primary) == Keys(keys.primary)


@pytest.mark.parametrize("experimental", [False, True])
def test_a_request_is_answered_with_the_cookie(server: Peer, experimental: bool) -> None:
    server.listen()
    server.inject("S", 0, mss=1460, fast_open_cookie=b"", fast_open_experimental=experimental)
    options = server.expect("S.", 0, 1).options
    assert options.fast_open_cookie == cookie_of(server)
    assert options.fast_open_experimental == experimental


def test_data_on_a_syn_with_a_good_cookie_can_be_read_before_the_handshake_ends(server: Peer) -> None:
    connection = fast_open(server).accept()
    assert state_of(connection) == State.SYN_RECEIVED
    assert connection.fast_open.syn_data_acknowledged
    assert connection.readiness() == READABLE | WRITABLE
    assert read(server, connection) == b"0123456789"
    assert write(server, connection, b"answer") == 6
    server.expect("P.", 1, 11, b"answer")
    server.inject(".", 11, 7)
    assert state_of(connection) == State.ESTABLISHED
    assert connection.unacknowledged() == 0


def test_an_answer_before_the_handshake_ends_is_acknowledged_with_it(server: Peer) -> None:
    connection = fast_open(server).accept()
    write(server, connection, b"x" * 3000)
    sent = drain(server)
    assert sum(len(each.payload) for each in sent) == 3000
    server.inject(".", 11, 1)
    assert state_of(connection) == State.ESTABLISHED
    server.inject(".", 11, 3001)
    assert connection.unacknowledged() == 0


def test_an_empty_syn_with_a_good_cookie_opens_at_once_too(server: Peer) -> None:
    connection = fast_open(server, b"").accept()
    assert not connection.fast_open.syn_data_acknowledged
    assert write(server, connection, b"x") == 1
    server.expect("P.", 1, 1, b"x")
    server.inject("P.", 1, 1, b"data")
    assert read(server, connection) == b"data"


def test_data_after_the_syn_establish_the_connection(server: Peer) -> None:
    connection = fast_open(server).accept()
    server.inject(".", 11, 1, b"more")
    assert state_of(connection) == State.ESTABLISHED
    assert read(server, connection) == b"0123456789more"


@pytest.mark.parametrize("cookie", ["aaaaaaaaaaaaaaaa", "3021b9d8", "00" * 16])
def test_a_bad_cookie_is_answered_with_the_right_one_and_the_data_are_not_taken(server: Peer, cookie: str) -> None:
    listener = server.listen()
    server.inject("S", 0, payload=b"forged", mss=1460, fast_open_cookie=bytes.fromhex(cookie))
    assert server.expect("S.", 0, 1).options.fast_open_cookie == cookie_of(server)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_cookie_of_another_address_is_not_taken(server: Peer) -> None:
    server.listen()
    stolen = parse_keys(KEY).cookie(bytes(len(server.remote)), server.local)
    server.inject("S", 0, payload=b"forged", mss=1460, fast_open_cookie=stolen)
    assert server.expect("S.", 0, 1).options.fast_open_cookie == cookie_of(server)


def test_a_cookie_of_the_backup_key_opens_and_is_replaced(server: Peer) -> None:
    server.stack.config.tcp.fastopen_key = f"{OTHER_KEY},{KEY}"
    listener = server.listen()
    server.inject("S", 0, payload=b"data", mss=1460, fast_open_cookie=cookie_of(server))
    renewed = server.expect("S.", 0, 5).options.fast_open_cookie
    assert renewed == parse_keys(OTHER_KEY).cookie(server.remote, server.local)
    assert read(server, listener.accept()) == b"data"


def test_a_listener_may_have_a_key_of_its_own(server: Peer) -> None:
    listener = server.listen()
    listener.options.fast_open_key = b"".join(parse_keys(OTHER_KEY))
    server.inject("S", 0, mss=1460, fast_open_cookie=b"")
    expected = parse_keys(OTHER_KEY).cookie(server.remote, server.local)
    assert server.expect("S.", 0, 1).options.fast_open_cookie == expected


def test_data_without_cookie_are_not_taken(server: Peer) -> None:
    server.listen()
    server.inject("S", 0, payload=b"data", mss=1460)
    assert server.expect("S.", 0, 1).options.fast_open_cookie is None


@pytest.mark.parametrize("way", ["stack", "listener"])
def test_data_without_cookie_are_taken_where_none_is_required(server: Peer, way: str) -> None:
    listener = server.listen()
    if way == "stack":
        server.stack.config.tcp.fastopen |= 0x200
    else:
        listener.options.fast_open_no_cookie = True
    server.inject("S", 0, payload=b"data", mss=1460)
    server.expect("S.", 0, 5)
    assert read(server, listener.accept()) == b"data"


@pytest.mark.parametrize("bits", [0x0, 0x1, 0x2, 0x401])
def test_a_listener_that_does_not_take_part_ignores_the_option(server: Peer, bits: int) -> None:
    server.stack.config.tcp.fastopen = bits
    server.listen()
    server.inject("S", 0, payload=b"data", mss=1460, fast_open_cookie=cookie_of(server))
    assert server.expect("S.", 0, 1).options.fast_open_cookie is None


def test_a_listener_takes_part_by_its_option(server: Peer) -> None:
    server.stack.config.tcp.fastopen = 0x2
    listener = server.listen()
    listener.options.fast_open_queue = 2
    server.inject("S", 0, payload=b"data", mss=1460, fast_open_cookie=cookie_of(server))
    server.expect("S.", 0, 5)


def test_the_syn_again_is_answered_with_the_same_syn_ack(server: Peer) -> None:
    listener = fast_open(server)
    with dropped(server, DropReason.TCP_OUT_OF_WINDOW):
        server.inject("S", 0, payload=b"0123456789", mss=1460, fast_open_cookie=cookie_of(server))
    server.expect("S.", 0, 11)
    assert read(server, listener.accept()) == b"0123456789"


def test_the_syn_ack_is_sent_again_and_nothing_else_before_the_handshake_ends(server: Peer) -> None:
    connection = fast_open(server).accept()
    write(server, connection, b"answer")
    server.expect("P.", 1, 11, b"answer")
    server.advance(3100)
    assert [each.flags for each in drain(server)] == ["S.", "S."]
    server.inject(".", 11, 1)
    assert state_of(connection) == State.ESTABLISHED
    server.advance(4000)
    again = drain(server)
    assert again
    assert {each.payload for each in again} == {b"answer"}


def test_a_handshake_that_nobody_ends_is_given_up(server: Peer) -> None:
    connection = fast_open(server).accept()
    server.advance(200_000)
    assert len(drain(server)) == 6
    assert state_of(connection) == State.CLOSED
    assert read(server, connection) == b"0123456789"
    with raises_errno(errno.ETIMEDOUT):
        read(server, connection)


def test_a_rst_before_accept_leaves_the_data_and_the_error(server: Peer) -> None:
    listener = fast_open(server)
    with dropped(server, DropReason.TCP_RESET):
        server.inject("R.", 11, 0)
    connection = listener.accept()
    assert read(server, connection) == b"0123456789"
    with raises_errno(errno.ECONNRESET):
        read(server, connection)


def test_an_icmp_error_before_accept_ends_the_connection_and_leaves_the_data(server: Peer) -> None:
    listener = server.listen()
    server.inject("S", 0, payload=b"0123456789", mss=1460, fast_open_cookie=cookie_of(server))
    report_unreachable(server, server.expect("S.", 0, 11), HOST_UNREACHABLE if server.version == 4 else 3)
    connection = listener.accept()
    assert read(server, connection) == b"0123456789"
    with raises_errno(errno.EHOSTUNREACH):
        read(server, connection)
    with raises_errno(errno.EPIPE):
        write(server, connection, b"x")
    with dropped(server, DropReason.TCP_LISTEN_ACK):
        server.inject(".", 11, 1)
    server.expect("R", 1)


def test_unread_data_reset_the_connection_on_close(server: Peer) -> None:
    connection = fast_open(server).accept()
    close(server, connection)
    server.expect("R.", 1, 11)


def test_a_closing_listener_resets_what_nobody_has_accepted(server: Peer) -> None:
    listener = fast_open(server)
    listener.close(server.now)
    server.collect()
    server.expect("R.", 1, 11)


def test_a_fin_before_accept_is_taken(server: Peer) -> None:
    listener = fast_open(server)
    server.inject("F.", 11, 1)
    server.expect(".", 1, 12)
    connection = listener.accept()
    assert state_of(connection) == State.CLOSE_WAIT
    assert read(server, connection) == b"0123456789"
    close(server, connection)
    server.expect("F.", 1, 12)


def test_a_connection_closed_before_the_handshake_ends_finishes_it_first(server: Peer) -> None:
    connection = fast_open(server).accept()
    read(server, connection)
    write(server, connection, b"bye")
    server.expect("P.", 1, 11, b"bye")
    close(server, connection)
    server.expect("F.", 4, 11)
    assert state_of(connection) == State.FIN_WAIT_1
    server.advance(1000)
    server.expect("S.", 0, 11)
    server.expect_nothing()
    server.inject(".", 11, 1)
    assert connection.fast_open.server is None
    server.inject(".", 11, 5)
    assert state_of(connection) == State.FIN_WAIT_2
    server.inject("F.", 11, 5)
    server.expect(".", 5, 12)


def knock(peer: Peer, port: int) -> bool:
    """A SYN with data and cookie from another port; whether its data were taken."""
    peer.port = port
    peer.inject("S", 0, payload=b"data", mss=1460, fast_open_cookie=cookie_of(peer))
    return peer.expect("S.", 0).ack == 5


def test_the_queue_of_unfinished_handshakes_is_bounded(server: Peer) -> None:
    server.stack.config.tcp.fastopen = 0x2
    listener = server.listen(64)
    listener.options.fast_open_queue = 2
    assert [knock(server, 5000 + number) for number in range(4)] == [True, True, False, False]
    server.port, server.stack_isn = 5000, None
    first = listener.accept()
    server.stack_isn = first.tcb.iss
    server.inject(".", 5, 1)
    assert knock(server, 6000)


def test_connections_that_were_reset_count_for_a_minute(server: Peer) -> None:
    server.stack.config.tcp.fastopen = 0x2
    listener = server.listen(64)
    listener.options.fast_open_queue = 1
    assert knock(server, 5000)
    listener.accept()
    server.inject("R.", 5, 0)
    assert not knock(server, 5001)
    server.advance(61_000)
    drain(server)
    assert knock(server, 5002)


def test_a_flood_of_cookies_is_bounded_by_the_accept_queue(server: Peer) -> None:
    listener = server.listen(4)
    for number in range(100):
        server.port = 2000 + number
        server.inject("S", 0, payload=b"data", mss=1460, fast_open_cookie=cookie_of(server))
    assert len(listener.accept_queue) <= 5
    assert len(server.stack.tcp.connections) <= 5 + 8 + 1

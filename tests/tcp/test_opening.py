"""Opening connections.  RFC 9293 §3.5, §3.10.1, §3.10.7.1 to §3.10.7.3."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import close, connected, dropped, established, read, state_of, write
from ustack.address import InterfaceAddress, parse_address
from ustack.drops import DropReason
from ustack.endpoint import ERROR, HANGUP, READABLE, WRITABLE
from ustack.sim.peer import Peer
from ustack.tcp.isn import InitialSequenceNumbers
from ustack.tcp.state import State

SECOND = 1_000_000_000


@requirement("RFC9293", "MUST-14")
@requirement("RFC9293", "SHLD-5")
@requirement("RFC9293", "MAY-3")
def test_passive_open_completes_the_three_way_handshake(peer: Peer) -> None:
    listener = peer.listen()
    peer.inject("S", 0, mss=1000, window_scale=7, sack_permitted=True, timestamps=(100, 0))
    syn_ack = peer.expect("S.", 0, 1)
    assert syn_ack.options.mss == 1500 - (40 if peer.version == 4 else 60)
    assert syn_ack.options.sack_permitted
    assert syn_ack.options.window_scale is not None
    assert syn_ack.options.timestamps is not None
    assert syn_ack.options.timestamps[1] == 100
    with pytest.raises(BlockingIOError):
        listener.accept()
    peer.inject(".", 1, 1, timestamps=(101, syn_ack.options.timestamps[0]))
    assert listener.readiness() & READABLE
    connection = listener.accept()
    assert state_of(connection) == State.ESTABLISHED
    assert connection.readiness() == WRITABLE
    assert (connection.remote_address, connection.remote_port) == (peer.remote, peer.port)
    peer.expect_nothing()


@requirement("RFC7323", "2.2")
def test_an_option_that_the_peer_did_not_offer_is_not_answered(peer: Peer) -> None:
    peer.listen()
    peer.inject("S", 0)
    syn_ack = peer.expect("S.", 0, 1)
    assert syn_ack.options.mss is not None
    assert syn_ack.options.window_scale is None
    assert syn_ack.options.timestamps is None
    assert not syn_ack.options.sack_permitted


def test_active_open_sends_syn_and_acknowledges_the_answer(peer: Peer) -> None:
    connection = peer.connect()
    syn = peer.expect("S", 0)
    assert syn.options.mss
    assert syn.options.window_scale is not None
    assert connection.readiness() == 0
    peer.inject("S.", 0, 1, mss=1460)
    peer.expect(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED
    assert connection.readiness() == WRITABLE


@requirement("RFC9293", "MUST-10")
def test_simultaneous_open_ends_established(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0, mss=1460)
    peer.expect("S.", 0, 1)
    assert state_of(connection) == State.SYN_RECEIVED
    peer.inject("S.", 0, 1, mss=1460)
    peer.expect(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED
    assert write(peer, connection, b"hello") == 5
    peer.expect("P.", 1, 1, b"hello")


@requirement("RFC9293", "MUST-10")
def test_simultaneous_open_also_completes_by_a_plain_ack(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED
    peer.expect_nothing()


@requirement("RFC7323", "2.2")
def test_a_window_in_a_syn_ack_is_never_scaled_not_even_in_a_simultaneous_open(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0, window=5000, window_scale=7)
    peer.expect("S.", 0, 1)
    peer.inject("S.", 0, 1, window=5000, window_scale=7)
    assert state_of(connection) == State.ESTABLISHED
    write(peer, connection, bytes(20_000))
    assert sum(len(each.payload) for each in peer.sent) <= 5000


def test_a_syn_that_comes_again_in_a_simultaneous_open_gets_the_same_answer(peer: Peer) -> None:
    peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_OUT_OF_WINDOW):
        peer.inject("S", 0)
    peer.expect("S.", 0, 1)


def test_a_lost_syn_ack_of_a_simultaneous_open_is_sent_again(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.advance(1000)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED


def test_closing_in_a_simultaneous_open_sends_fin_once_it_is_established(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    close(peer, connection)
    peer.expect_nothing()
    peer.inject(".", 1, 1)
    peer.expect("F.", 1, 1)
    assert state_of(connection) == State.FIN_WAIT_1


@requirement("RFC9293", "MUST-11")
def test_rst_in_a_simultaneous_open_refuses_the_connection(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_RESET):
        peer.inject("R.", 1, 1)
    assert connection.take_error() == errno.ECONNREFUSED
    peer.inject("S", 0)
    peer.expect("R.", None, 1)


def test_refused_connection_reports_econnrefused(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    with dropped(peer, DropReason.TCP_SYN_SENT_RST):
        peer.inject("R.", 0, 1)
    assert connection.readiness() & (ERROR | HANGUP | WRITABLE | READABLE) == ERROR | HANGUP | WRITABLE | READABLE
    assert connection.take_error() == errno.ECONNREFUSED
    peer.expect_nothing()


def test_rst_without_ack_does_not_refuse_a_connection(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    with dropped(peer, DropReason.TCP_SYN_SENT_RST):
        peer.inject("R", 0)
    assert state_of(connection) == State.SYN_SENT
    peer.expect_nothing()


@pytest.mark.parametrize("ack", [0, 2, -1000, 1 << 30])
def test_rst_that_acknowledges_something_else_does_not_refuse_a_connection(peer: Peer, ack: int) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    with dropped(peer, DropReason.TCP_SYN_SENT_BAD_ACK):
        peer.inject("R.", 0, ack)
    assert state_of(connection) == State.SYN_SENT
    peer.expect_nothing()


@pytest.mark.parametrize("flags", [".", "S.", "P.", "F."])
@pytest.mark.parametrize("ack", [0, 2, -1000])
def test_a_wrong_ack_in_syn_sent_is_answered_with_rst(peer: Peer, flags: str, ack: int) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    with dropped(peer, DropReason.TCP_SYN_SENT_BAD_ACK):
        peer.inject(flags, 1000, ack)
    peer.expect("R", ack)
    assert state_of(connection) == State.SYN_SENT
    peer.inject("S.", 0, 1)
    assert state_of(connection) == State.ESTABLISHED


def test_the_right_ack_without_syn_is_dropped_in_syn_sent(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    with dropped(peer, DropReason.TCP_SYN_SENT_NO_SYN):
        peer.inject(".", 1, 1)
    assert state_of(connection) == State.SYN_SENT
    peer.expect_nothing()


def test_a_syn_ack_that_echoes_a_timestamp_we_never_sent_is_refused(peer: Peer) -> None:
    connection = peer.connect()
    stamps = peer.expect("S", 0).options.timestamps
    assert stamps is not None
    with dropped(peer, DropReason.TCP_SYN_SENT_BAD_ACK):
        peer.inject("S.", 0, 1, timestamps=(7, stamps[0] + 10_000))
    peer.expect("R", 1)
    peer.inject("S.", 0, 1, timestamps=(7, stamps[0]))
    assert state_of(connection) == State.ESTABLISHED


def test_data_and_fin_with_the_syn_ack_are_taken(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    peer.inject("FS.", 0, 1, b"greeting")
    peer.expect(".", 1, 10)
    assert state_of(connection) == State.CLOSE_WAIT
    assert read(peer, connection) == b"greeting"
    assert read(peer, connection) == b""


def test_data_beyond_the_window_of_the_syn_are_taken_while_nothing_is_unread(peer: Peer) -> None:
    connection = peer.socket()
    connection.options.receive_buffer = 4608
    connection.bind(peer.local, peer.local_port)
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    assert peer.expect("S", 0).window in (1440, 1460)
    peer.inject("S.", 0, 1, bytes(3000))
    peer.expect(".", 1, 3001)
    assert len(read(peer, connection)) == 3000


def test_data_with_a_passive_syn_come_again_after_the_handshake(peer: Peer) -> None:
    listener = peer.listen()
    peer.inject("S", 0, payload=b"early")
    peer.expect("S.", 0, 1)
    peer.inject("P.", 1, 1, b"early")
    assert read(peer, listener.accept()) == b"early"


def test_the_third_ack_may_carry_data_and_fin(peer: Peer) -> None:
    listener = peer.listen()
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject("FP.", 1, 1, b"all at once")
    peer.advance(40)
    peer.expect(".", 1, 13)
    connection = listener.accept()
    assert state_of(connection) == State.CLOSE_WAIT
    assert read(peer, connection) == b"all at once"


def test_data_without_ack_in_syn_received_are_dropped(peer: Peer) -> None:
    peer.listen()
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    with dropped(peer, DropReason.TCP_NO_ACK_FLAG):
        peer.inject("P", 1, payload=b"data")
    peer.expect_nothing()


def test_an_out_of_order_third_ack_establishes_and_its_data_wait(peer: Peer) -> None:
    listener = peer.listen()
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject("P.", 6, 1, b"world")
    connection = listener.accept()
    assert state_of(connection) == State.ESTABLISHED
    peer.inject("P.", 1, 1, b"hello")
    assert read(peer, connection) == b"helloworld"


def test_the_syn_ack_that_comes_again_is_acknowledged_again(peer: Peer) -> None:
    connection = connected(peer)
    with dropped(peer, DropReason.TCP_SYN_IN_WINDOW):
        peer.inject("S.", 0, 1)
    peer.expect(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC9293", "MUST-22")
@requirement("RFC9293", "MUST-23")
def test_syns_are_sent_again_with_doubled_waits_for_at_least_three_minutes(peer: Peer) -> None:
    peer.stack.config.tcp.syn_linear_timeouts = 0
    connection = peer.connect()
    begin = peer.now
    peer.advance(1_000_000)
    times = [(each.now - begin) // SECOND for each in peer.sent]
    assert times == [0, 1, 3, 7, 15, 31, 63, 127]
    assert all(each.flags == "S" and each.seq == 0 for each in peer.sent)
    assert connection.take_error() == errno.ETIMEDOUT
    assert state_of(connection) == State.CLOSED


def test_after_an_answer_to_an_older_connection_the_syn_follows_the_rst_at_once(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    with dropped(peer, DropReason.TCP_SYN_SENT_BAD_ACK):
        peer.inject(".", 77, 5000)
    peer.expect("R", 5000)
    peer.advance(2)
    peer.expect("S", 0)
    peer.inject("S.", 0, 1)
    assert state_of(connection) == State.ESTABLISHED


def test_the_first_syns_are_sent_again_without_back_off(peer: Peer) -> None:
    peer.connect()
    begin = peer.now
    peer.advance(240_000)
    assert [(each.now - begin) // SECOND for each in peer.sent] == [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 131]


def test_the_open_fails_after_the_last_wait_and_not_before(peer: Peer) -> None:
    connection = peer.connect()
    peer.advance(250_999)
    assert state_of(connection) == State.SYN_SENT
    peer.advance(1)
    assert state_of(connection) == State.CLOSED


def test_the_user_can_ask_for_fewer_syns(peer: Peer) -> None:
    connection = peer.socket()
    connection.options.syn_retries = 1
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    peer.advance(2999)
    assert len(peer.sent) == 3
    assert state_of(connection) == State.SYN_SENT
    peer.advance(1)
    assert connection.take_error() == errno.ETIMEDOUT


@requirement("RFC9293", "MUST-22")
def test_the_syn_ack_is_sent_again_and_given_up_after_63_seconds(peer: Peer) -> None:
    listener = peer.listen()
    begin = peer.now
    peer.inject("S", 0)
    peer.advance(62_999)
    assert [(each.now - begin) // SECOND for each in peer.sent] == [0, 1, 3, 7, 15, 31]
    assert all(each.flags == "S." for each in peer.sent)
    assert len(listener.syn_queue) == 1
    peer.advance(1)
    assert not listener.syn_queue


def test_closing_in_syn_sent_forgets_the_connection_silently(peer: Peer) -> None:
    connection = peer.connect()
    peer.expect("S", 0)
    close(peer, connection)
    peer.expect_nothing()
    assert not list(peer.stack.endpoints)
    peer.inject("S.", 0, 1)
    peer.expect("R", 1)


def test_sending_and_receiving_in_syn_sent_would_block(peer: Peer) -> None:
    connection = peer.connect()
    with raises_errno(errno.EAGAIN):
        write(peer, connection, b"early")
    with raises_errno(errno.EAGAIN):
        read(peer, connection)


def test_a_second_connect_says_what_became_of_the_first(peer: Peer) -> None:
    connection = peer.connect()
    with raises_errno(errno.EALREADY):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.inject("S.", 0, 1)
    with raises_errno(errno.EISCONN):
        connection.connect(peer.remote, peer.port, peer.now)


def test_an_established_connection_cannot_listen(peer: Peer) -> None:
    with raises_errno(errno.EINVAL):
        connected(peer).listen(1)


def test_an_unopened_connection_has_nobody_to_talk_to(peer: Peer) -> None:
    connection = peer.socket()
    assert connection.readiness() == WRITABLE | HANGUP
    with raises_errno(errno.ENOTCONN):
        read(peer, connection)
    with raises_errno(errno.EPIPE):
        write(peer, connection, b"data")
    with raises_errno(errno.ENOTCONN):
        connection.shutdown(1, peer.now)
    close(peer, connection)
    peer.expect_nothing()


@requirement("RFC9293", "MUST-46")
def test_an_open_to_a_group_or_broadcast_address_is_an_error(peer: Peer) -> None:
    addresses = ["224.0.0.1", "255.255.255.255", "10.0.0.255"] if peer.version == 4 else ["ff02::1", "ff0e::1"]
    for address in addresses:
        with raises_errno(errno.ENETUNREACH):
            peer.socket().connect(parse_address(address), 80, peer.now)
    peer.collect()
    peer.expect_nothing()


def test_an_open_to_port_zero_is_an_error(peer: Peer) -> None:
    with raises_errno(errno.EADDRNOTAVAIL):
        peer.socket().connect(peer.remote, 0, peer.now)


def test_an_open_to_where_no_route_leads_is_an_error(peer: Peer) -> None:
    with raises_errno(errno.ENETUNREACH):
        peer.socket().connect(parse_address("192.0.2.1" if peer.version == 4 else "2001:db8::1"), 80, peer.now)


@requirement("RFC9293", "MUST-44")
@requirement("RFC9293", "MUST-45")
def test_the_local_address_comes_from_ip_and_stays(peer: Peer) -> None:
    connection = peer.connect()
    assert peer.expect("S").source == peer.local
    peer.inject("S.", 0, 1)
    assert peer.expect(".").source == peer.local
    write(peer, connection, b"data")
    assert peer.expect("P.").source == peer.local
    assert connection.local_address == peer.local


@requirement("RFC9293", "MUST-43")
def test_the_local_address_may_be_chosen_by_the_user(peer: Peer) -> None:
    second = parse_address("10.0.0.7" if peer.version == 4 else "fd00::7")
    length = 24 if peer.version == 4 else 64
    text = "10.0.0.7" if peer.version == 4 else "fd00::7"
    peer.stack.ip.add_address(peer.interface, InterfaceAddress.parse(f"{text}/{length}"))
    connection = peer.socket()
    connection.bind(second, 7000)
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    assert peer.expect("S").source == second


def test_binding_to_a_foreign_address_is_an_error(peer: Peer) -> None:
    with raises_errno(errno.EADDRNOTAVAIL):
        peer.socket().bind(peer.remote, 80)


@requirement("RFC9293", "MUST-8")
@requirement("RFC9293", "SHLD-1")
def test_the_initial_sequence_number_advances_by_one_every_four_microseconds(version: int) -> None:
    def isn_at(later: int) -> int:
        peer = Peer(version)
        peer.now += later
        peer.connect()
        assert peer.stack_isn is not None
        return peer.stack_isn

    first = isn_at(0)
    assert (isn_at(4_000) - first) % (1 << 32) == 1
    assert (isn_at(SECOND) - first) % (1 << 32) == 250_000


@requirement("RFC9293", "MUST-9")
@requirement("RFC9293", "SHLD-1")
def test_the_initial_sequence_number_depends_on_the_secret_and_on_all_of_the_flow(peer: Peer) -> None:
    numbers = InitialSequenceNumbers(bytes(16))
    flow = (peer.local, 80, peer.remote, 1000)
    variants = [
        numbers.choose(*flow, 0),
        InitialSequenceNumbers(bytes(15) + b"\x01").choose(*flow, 0),
        numbers.choose(peer.remote, 80, peer.remote, 1000, 0),
        numbers.choose(peer.local, 81, peer.remote, 1000, 0),
        numbers.choose(peer.local, 80, peer.local, 1000, 0),
        numbers.choose(peer.local, 80, peer.remote, 1001, 0),
    ]
    assert len(set(variants)) == len(variants)


def test_a_connection_to_oneself_is_a_simultaneous_open(peer: Peer) -> None:
    connection = peer.socket()
    connection.bind(peer.local, 5000)
    with pytest.raises(BlockingIOError):
        connection.connect(peer.local, 5000, peer.now)
    peer.collect()
    assert state_of(connection) == State.ESTABLISHED
    write(peer, connection, b"to myself")
    assert read(peer, connection) == b"to myself"
    peer.expect_nothing()


@requirement("RFC9293", "MUST-2")
def test_data_flow_both_ways(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("P.", 1, 1, b"hello")
    peer.expect(".", 1, 6)
    assert read(peer, connection) == b"hello"
    assert write(peer, connection, b"world!") == 6
    peer.expect("P.", 1, 6, b"world!")
    peer.inject(".", 6, 7)
    peer.advance(1000)
    peer.expect_nothing()

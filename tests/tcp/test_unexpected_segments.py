"""Segments that nobody should have sent: RST generation, and RFC 5961's challenges.

RFC 9293 §3.5.3, §3.10.7.1, §3.10.7.4 (first to fifth check); RFC 5961.
"""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import close, drain, dropped, established, read, set_option, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.drops import DropReason
from ustack.sim.peer import Peer
from ustack.tcp.state import State
from ustack.wire import tcp

WINDOW = 64_240
"""Half of the default receive buffer, in whole segments; over IPv6 it is a bit more."""
BEYOND = 65_000


# A host without a connection (RFC 9293 §3.5.3, group 1).


@pytest.mark.parametrize(("flags", "seq", "length"), [("S", 100, 1), ("F", 100, 1), ("P", 100, 5), ("", 100, 0)])
def test_a_segment_without_ack_for_no_connection_gets_a_rst_that_acknowledges_it(
    peer: Peer, flags: str, seq: int, length: int
) -> None:
    with dropped(peer, DropReason.TCP_NO_CONNECTION):
        peer.inject(flags, seq, payload=b"x" * length if flags == "P" else b"")
    assert peer.expect("R.", None, seq + length).window == 0
    assert peer.stack_isn is None


@pytest.mark.parametrize("flags", [".", "S.", "F.", "P."])
def test_a_segment_with_ack_for_no_connection_gets_a_rst_where_it_acknowledges(peer: Peer, flags: str) -> None:
    with dropped(peer, DropReason.TCP_NO_CONNECTION):
        peer.inject(flags, 100, 7777, b"data" if flags == "P." else b"")
    peer.expect("R", 7777)


@pytest.mark.parametrize("flags", ["R", "R.", "RS"])
def test_a_rst_for_no_connection_is_never_answered(peer: Peer, flags: str) -> None:
    with dropped(peer, DropReason.TCP_RST_WITHOUT_CONNECTION):
        peer.inject(flags, 100, 7)
    peer.expect_nothing()


@requirement("RFC9293", "MUST-3")
def test_a_wrong_checksum_is_dropped_silently(peer: Peer) -> None:
    connection = established(peer)
    packet = bytearray(peer.segment("P.", 1, 1, b"data"))
    packet[-1] ^= 1
    with dropped(peer, DropReason.TCP_CHECKSUM):
        peer.arrive([bytes(packet)])
    peer.expect_nothing()
    assert connection.tcb.rcv_ring.length == 0


@pytest.mark.parametrize("offset", [0, 1, 4, 15])
def test_a_data_offset_that_does_not_fit_is_dropped(peer: Peer, offset: int) -> None:
    peer.listen()
    header = bytearray(tcp.build(peer.port, peer.local_port, 0, 0, tcp.SYN, 1000))
    header[12] = offset << 4
    with dropped(peer, DropReason.TCP_HEADER_LENGTH):
        peer.arrive([peer.packet(bytes(header))])
    peer.expect_nothing()


@pytest.mark.parametrize("length", [0, 1, 8, 19])
def test_a_segment_shorter_than_a_header_is_dropped(peer: Peer, length: int) -> None:
    with dropped(peer, DropReason.TRUNCATED):
        peer.arrive([peer.packet(bytes(length))])
    peer.expect_nothing()


@pytest.mark.parametrize("ports", [(0, 8080), (54321, 0), (0, 0)])
def test_port_zero_is_dropped_silently(peer: Peer, ports: tuple[int, int]) -> None:
    header = tcp.build(*ports, 0, 0, tcp.SYN, 1000, pseudo=(peer.remote, peer.local))
    with dropped(peer, DropReason.TCP_PORT_ZERO):
        peer.arrive([peer.packet(header)])
    peer.expect_nothing()


# The first check: sequence numbers.


@pytest.mark.parametrize("seq", [-WINDOW, -1000, BEYOND, 100_000, 1 << 31])
def test_data_outside_the_window_are_answered_with_an_ack(peer: Peer, seq: int) -> None:
    connection = established(peer)
    for _ in range(3):
        with dropped(peer, DropReason.TCP_OUT_OF_WINDOW):
            peer.inject("P.", seq, 1, b"data")
        peer.expect(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED
    assert connection.tcb.rcv_ring.length == 0


def test_empty_segments_outside_the_window_are_answered_twice_a_second_at_most(peer: Peer) -> None:
    established(peer)
    for _ in range(5):
        with dropped(peer, DropReason.TCP_OUT_OF_WINDOW):
            peer.inject(".", -1, 1)
    peer.expect(".", 1, 1)
    peer.expect_nothing()
    peer.advance(500)
    peer.inject(".", -1, 1)
    peer.expect(".", 1, 1)


def test_an_empty_segment_at_the_right_edge_is_taken(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    drain(peer)
    with dropped(peer, DropReason.TCP_RESET, 0):
        peer.inject(".", 1 + WINDOW, 5)
    assert connection.tcb.sent.count == 0


# The second check: RST (RFC 5961 §3.2).


@requirement("RFC5961", "3.2/in-window")
@pytest.mark.parametrize("seq", [2, 100, WINDOW])
def test_a_rst_in_the_window_is_challenged(peer: Peer, seq: int) -> None:
    connection = established(peer)
    with dropped(peer, DropReason.TCP_RST_NOT_EXACT):
        peer.inject("R", seq)
    peer.expect(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC5961", "3.2/out-of-window")
@pytest.mark.parametrize("seq", [0, -1, -1000, BEYOND, 1 << 31])
def test_a_rst_outside_the_window_is_dropped_silently(peer: Peer, seq: int) -> None:
    connection = established(peer)
    with dropped(peer, DropReason.TCP_RST_OUT_OF_WINDOW):
        peer.inject("R", seq)
    peer.expect_nothing()
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC5961", "3.2/in-window")
def test_a_peer_that_is_challenged_can_still_reset(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("R", 100)
    peer.inject("R", peer.expect(".").ack)
    assert state_of(connection) == State.CLOSED


def test_the_ack_of_a_rst_is_not_looked_at(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    drain(peer)
    peer.inject("R.", 1, 99_999)
    assert state_of(connection) == State.CLOSED
    peer.expect_nothing()


@requirement("RFC9293", "MUST-66")
def test_a_rst_is_taken_with_a_closed_window(peer: Peer) -> None:
    connection = established(peer)
    set_option(peer, connection, "receive_buffer", 4608)
    peer.inject(".", 1, 1, bytes(65_000))
    peer.advance(200)
    assert drain(peer)[-1].window == 0
    peer.inject("R", 65_001)
    assert state_of(connection) == State.CLOSED


# The fourth check: SYN (RFC 5961 §4.2).


@requirement("RFC5961", "4.2")
@pytest.mark.parametrize("flags", ["S", "S.", "SF", "SP."])
@pytest.mark.parametrize("seq", [-100_000, -3, 0, 1, 500, 100_000])
def test_a_syn_is_challenged_wherever_it_is(peer: Peer, flags: str, seq: int) -> None:
    connection = established(peer)
    peer.inject(flags, seq, 1, b"abcdefgh" if seq == -3 else b"")
    peer.expect(".", 1, 1)
    assert state_of(connection) == State.ESTABLISHED
    assert connection.tcb.rcv_ring.length == 0


@requirement("RFC5961", "7")
def test_challenges_are_sent_twice_a_second_at_most(peer: Peer) -> None:
    established(peer)
    for seq in range(10):
        peer.inject("S", seq * 1000)
        peer.inject("R", 10 + seq)
    peer.expect(".", 1, 1)
    peer.expect_nothing()
    peer.advance(500)
    peer.inject("S", 5)
    peer.expect(".", 1, 1)


@requirement("RFC5961", "7")
def test_challenges_of_a_stack_are_limited(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(challenge_ack_per_second=3)))
    peer.listen()
    for port in range(1000, 1006):
        peer.port = port
        peer.inject("S", 0)
        peer.inject(".", 1, 1)
        drain(peer)
        peer.inject("S", 7)
        assert len(drain(peer)) == (1 if port < 1003 else 0)
    peer.advance(1000)
    peer.inject("S", 7)
    peer.expect(".")


@requirement("RFC5961", "4.2")
def test_a_host_that_has_restarted_gets_rid_of_the_old_connection(peer: Peer) -> None:
    """RFC 9293 §3.5.1, Figure 9: half-open connection discovery."""
    established(peer)
    peer.inject("S", 400_000)
    challenge = peer.expect(".", 1, 1)
    peer.inject("R", challenge.ack)
    peer.isn = 400_000
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)


# The fifth check: ACK (RFC 5961 §5.2).


def test_a_segment_without_ack_is_dropped_silently(peer: Peer) -> None:
    connection = established(peer)
    for flags in ("", "P", "F", "U"):
        with dropped(peer, DropReason.TCP_NO_ACK_FLAG):
            peer.inject(flags, 1, payload=b"data")
    peer.expect_nothing()
    assert connection.tcb.rcv_ring.length == 0


@requirement("RFC5961", "5.2")
@pytest.mark.parametrize("ack", [6, 100, 1 << 30])
def test_an_ack_of_something_not_sent_is_challenged_and_its_data_are_not_taken(peer: Peer, ack: int) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    drain(peer)
    with dropped(peer, DropReason.TCP_ACK_UNSENT):
        peer.inject("P.", 1, ack, b"injected")
    peer.expect(".", 5, 1)
    assert connection.tcb.rcv_ring.length == 0
    assert connection.tcb.sent.count == 1


@requirement("RFC5961", "5.2")
@requirement("RFC9293", "MAY-12")
def test_an_ack_older_than_the_largest_window_is_challenged_and_its_data_are_not_taken(peer: Peer) -> None:
    connection = established(peer, window=1000)
    with dropped(peer, DropReason.TCP_ACK_TOO_OLD):
        peer.inject("P.", 1, 1 - 1001, b"injected")
    peer.expect(".", 1, 1)
    peer.inject("P.", 1, 1 - 1000, b"old, but possible")
    assert read(peer, connection) == b"old, but possible"


def test_an_old_ack_takes_nothing_back(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, bytes(1000))
    peer.inject(".", 1, 537)
    una = connection.tcb.snd_una
    peer.inject(".", 1, 1, window=1)
    assert connection.tcb.snd_una == una
    assert connection.tcb.snd_wnd == 65_535


def test_unexpected_segments_in_last_ack_do_not_bring_the_connection_back(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("F.", 1, 1)
    close(peer, connection)
    drain(peer)
    peer.inject("P.", 2, 1, b"data")
    peer.inject("F.", 2, 1)
    assert state_of(connection) == State.LAST_ACK
    peer.inject(".", 2, 2)
    assert state_of(connection) == State.CLOSED

"""What TCP makes of ICMP errors.  RFC 9293 §3.9.2.2; RFC 5927; RFC 5461."""

from __future__ import annotations

import errno

import pytest

from tests.support.icmp_reports import least_quote, report, report_unreachable
from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import drain, dropped, established, set_option, state_of, write
from ustack.drops import DropReason
from ustack.endpoint import ERROR
from ustack.sim.peer import Peer
from ustack.tcp.state import State
from ustack.wire import icmpv4, icmpv6

SOFT = {4: {0: errno.ENETUNREACH, 1: errno.EHOSTUNREACH, 5: errno.EOPNOTSUPP}, 6: {0: errno.ENETUNREACH}}
HARD = {4: {2: errno.ENOPROTOOPT, 3: errno.ECONNREFUSED}, 6: {1: errno.EACCES, 4: errno.ECONNREFUSED}}
SOFT_TYPES = {
    4: (icmpv4.IcmpType.TIME_EXCEEDED, icmpv4.IcmpType.PARAMETER_PROBLEM),
    6: (icmpv6.Icmpv6Type.TIME_EXCEEDED, icmpv6.Icmpv6Type.PARAMETER_PROBLEM),
}


@requirement("RFC9293", "MUST-56")
def test_soft_errors_do_not_end_an_open(peer: Peer) -> None:
    connection = peer.connect()
    syn = peer.expect("S", 0)
    for code in SOFT[peer.version]:
        report_unreachable(peer, syn, code)
    for kind in SOFT_TYPES[peer.version]:
        report(peer, least_quote(syn), kind, 0)
    assert state_of(connection) == State.SYN_SENT
    peer.inject("S.", 0, 1)
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC9293", "MUST-47")
@requirement("RFC9293", "SHLD-25")
def test_a_soft_error_is_the_reason_given_when_the_open_times_out(peer: Peer) -> None:
    connection = peer.connect()
    code, number = next(iter(SOFT[peer.version].items()))
    report_unreachable(peer, peer.expect("S", 0), code)
    assert connection.error == 0
    peer.advance(300_000)
    assert connection.take_error() == number


@requirement("RFC9293", "MUST-54")
@requirement("RFC9293", "SHLD-26")
def test_a_hard_error_ends_an_open(version: int) -> None:
    for code, number in HARD[version].items():
        peer = Peer(version)
        connection = peer.connect()
        report_unreachable(peer, peer.expect("S", 0), code)
        assert state_of(connection) == State.CLOSED
        assert connection.take_error() == number
        peer.expect_nothing()


@requirement("RFC9293", "MUST-54")
def test_a_hard_error_in_syn_received_forgets_the_child(peer: Peer) -> None:
    listener = peer.listen()
    peer.inject("S", 0)
    report_unreachable(peer, peer.expect("S."), next(iter(HARD[peer.version])))
    assert not listener.syn_queue


@requirement("RFC9293", "MUST-56")
def test_no_error_ends_a_synchronized_connection(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    data = peer.expect("P.")
    for code in range(16):
        if peer.version == 6 or code != icmpv4.UnreachableCode.FRAGMENTATION_NEEDED:
            report_unreachable(peer, data, code)
    for kind in SOFT_TYPES[peer.version]:
        report(peer, least_quote(data), kind, 0)
    assert state_of(connection) == State.ESTABLISHED
    assert not connection.readiness() & ERROR
    peer.inject(".", 1, 5)
    assert connection.tcb.sent.count == 0


@requirement("RFC9293", "MUST-47")
@requirement("RFC9293", "SHLD-20")
def test_the_user_hears_of_errors_at_once_only_if_he_wants_to(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    data = peer.expect("P.")
    code, number = next(iter(SOFT[peer.version].items()))
    report_unreachable(peer, data, code)
    assert connection.error == 0
    set_option(peer, connection, "receive_errors", True)
    report_unreachable(peer, data, code)
    with raises_errno(number):
        write(peer, connection, b"more")
    assert state_of(connection) == State.ESTABLISHED


@requirement("RFC9293", "MUST-54")
@pytest.mark.parametrize("offset", [-1000, -1, 4, 1000])
def test_an_error_that_quotes_what_is_not_in_flight_is_dropped(peer: Peer, offset: int) -> None:
    connection = peer.connect()
    frame = bytearray(peer.expect("S", 0).frame)
    at = (20 if peer.version == 4 else 40) + 4
    seq = (int.from_bytes(frame[at : at + 4], "big") + offset) % (1 << 32)
    frame[at : at + 4] = seq.to_bytes(4, "big")
    with dropped(peer, DropReason.ICMP_QUOTE):
        kind = icmpv4.IcmpType.DESTINATION_UNREACHABLE if peer.version == 4 else 1
        report(peer, bytes(frame[: at + 20]), kind, 3 if peer.version == 4 else 4)
    assert state_of(connection) == State.SYN_SENT


def test_an_error_about_what_was_acknowledged_is_dropped(peer: Peer) -> None:
    connection = established(peer)
    write(peer, connection, b"data")
    data = peer.expect("P.")
    peer.inject(".", 1, 5)
    with dropped(peer, DropReason.ICMP_QUOTE):
        report_unreachable(peer, data, 1)


def test_an_error_about_no_connection_is_dropped(peer: Peer) -> None:
    connection = peer.connect()
    syn = peer.expect("S", 0)
    connection.close(peer.now)
    with dropped(peer, DropReason.ICMP_QUOTE):
        report_unreachable(peer, syn, 3)


@pytest.mark.parametrize("length", [0, 4, 7])
def test_an_error_that_quotes_too_little_is_dropped(peer: Peer, length: int) -> None:
    connection = peer.connect()
    syn = peer.expect("S", 0)
    before = sum(peer.stack.counters.values())
    kind = icmpv4.IcmpType.DESTINATION_UNREACHABLE if peer.version == 4 else 1
    report(peer, syn.frame[: (20 if peer.version == 4 else 40) + length], kind, 3 if peer.version == 4 else 4)
    assert sum(peer.stack.counters.values()) == before + 1
    assert state_of(connection) == State.SYN_SENT


@requirement("RFC9293", "MUST-55")
def test_source_quench_is_discarded_silently() -> None:
    peer = Peer(4)
    connection = established(peer)
    write(peer, connection, b"data")
    data = peer.expect("P.")
    cwnd = connection.tcb.cwnd_packets
    with dropped(peer, DropReason.ICMP_SOURCE_QUENCH):
        report(peer, least_quote(data), icmpv4.IcmpType.SOURCE_QUENCH, 0)
    assert connection.tcb.cwnd_packets == cwnd
    peer.expect_nothing()


def test_an_error_about_a_listener_changes_nothing(peer: Peer) -> None:
    listener = peer.listen()
    peer.port = 7
    peer.inject("S", 0)
    answer = peer.expect("S.")
    peer.inject("R", 1)
    report_unreachable(peer, answer, 3)
    assert drain(peer) == []
    assert not listener.closed

"""The error queue: MSG_ZEROCOPY completions and SO_TIMESTAMPING, and what recvmsg() tells beside the data."""

from __future__ import annotations

import errno
import socket as stdlib
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raising import raises_errno
from tests.support.stream import close, connected, established, read, set_option, write
from ustack.constants import MSG_CONTINUED, MSG_ERRQUEUE, MSG_TRUNC, MSG_ZEROCOPY
from ustack.endpoint import ERROR, READABLE
from ustack.sim.peer import MILLISECOND, Peer
from ustack.tcp import notices
from ustack.tcp.connection import Connection
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6

ZEROCOPY, TIMESTAMPING = 5, 4
COPIED = 1
ALL_STAMPS = notices.TX_ANY | notices.SOFTWARE | notices.OPT_ID


def entry(connection: Connection, peer: Peer, size: int = 0) -> tuple[int, list[Any]]:
    """The MSG_ flags and the control messages of the oldest entry."""
    buffer = bytearray(size)
    count, _, message_flags = connection.receive_into(buffer, MSG_ERRQUEUE, peer.now)
    assert count <= size
    return message_flags, connection.ancillary()


def extended(messages: list[Any]) -> tuple[int, ...]:
    """errno, origin, type, code, info and data of the last message."""
    level, kind, data = messages[-1]
    assert (level, kind) in {(stdlib.IPPROTO_IP, 11), (stdlib.IPPROTO_IPV6, 25)}
    return struct.unpack_from("=IBBBxII", data)


def stamps(connection: Connection, peer: Peer) -> Iterator[tuple[int, int, int]]:
    """What each entry stamps, its key, and its time in ms since the exchange began."""
    while connection.readiness() & ERROR:
        _, messages = entry(connection, peer)
        level, kind, data = messages[0]
        assert (level, kind) == (stdlib.SOL_SOCKET, notices.SCM_TIMESTAMPING)
        seconds, rest = struct.unpack_from("@ll", data)
        number, origin, _, _, info, key = extended(messages)
        assert (number, origin) == (errno.ENOMSG, TIMESTAMPING)
        yield info, key, (seconds * 1_000_000_000 + rest - 1_000_000_000) // MILLISECOND


def without_copy(peer: Peer, **options: Any) -> Connection:
    connection = established(peer, **{"mss": 1000, **options})
    set_option(peer, connection, "zerocopy", True)
    return connection


# MSG_ZEROCOPY.


def test_a_send_without_copy_is_over_when_all_of_it_is_acknowledged(peer: Peer) -> None:
    connection = without_copy(peer)
    write(peer, connection, bytes(4000), MSG_ZEROCOPY)
    peer.inject(".", 1, 3001)
    assert not connection.readiness() & ERROR
    peer.inject(".", 1, 4001)
    assert connection.readiness() & ERROR
    flags, messages = entry(connection, peer)
    assert flags == MSG_ERRQUEUE
    assert len(messages) == 1
    assert extended(messages) == (0, ZEROCOPY, 0, COPIED, 0, 0)
    assert not connection.readiness() & ERROR
    with raises_errno(errno.EAGAIN):
        entry(connection, peer)


def test_sends_in_a_row_are_told_as_one_range(peer: Peer) -> None:
    connection = without_copy(peer)
    for index in range(3):
        write(peer, connection, bytes(1000), MSG_ZEROCOPY)
        peer.inject(".", 1, 1001 + 1000 * index)
    assert extended(entry(connection, peer)[1])[4:] == (0, 2)
    write(peer, connection, bytes(1000), MSG_ZEROCOPY)
    peer.inject(".", 1, 4001)
    assert extended(entry(connection, peer)[1])[4:] == (3, 3)


def test_without_the_option_the_flag_means_nothing(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, bytes(1000), MSG_ZEROCOPY)
    peer.inject(".", 1, 1001)
    assert not connection.readiness() & ERROR


def test_a_send_that_fails_or_is_empty_has_no_number(peer: Peer) -> None:
    connection = peer.socket()
    set_option(peer, connection, "zerocopy", True)
    with raises_errno(errno.EPIPE):
        connection.send(b"x", MSG_ZEROCOPY, None, peer.now)
    connection = without_copy(peer)
    assert write(peer, connection, b"", MSG_ZEROCOPY) == 0
    write(peer, connection, b"x", MSG_ZEROCOPY)
    peer.inject(".", 1, 2)
    assert extended(entry(connection, peer)[1])[4:] == (0, 0)


def test_a_blocking_send_that_goes_on_in_parts_has_one_number(peer: Peer) -> None:
    connection = without_copy(peer)
    set_option(peer, connection, "send_buffer", 4608)
    data = bytes(100_000)
    taken = write(peer, connection, data, MSG_ZEROCOPY | MSG_CONTINUED)
    assert 0 < taken < len(data)
    acked = 1 + taken
    while connection.tcb.snd_ring.length:
        peer.inject(".", 1, connection.tcb.snd_nxt - connection.tcb.iss)
    assert not connection.readiness() & ERROR
    write(peer, connection, bytes(10), MSG_ZEROCOPY | MSG_CONTINUED)
    peer.inject(".", 1, acked + 10)
    assert extended(entry(connection, peer)[1])[4:] == (0, 0)


def test_a_connection_that_is_reset_gives_all_sends_back(peer: Peer) -> None:
    connection = without_copy(peer)
    write(peer, connection, bytes(5000), MSG_ZEROCOPY)
    write(peer, connection, bytes(5000), MSG_ZEROCOPY)
    peer.inject("R.", 1, 1)
    assert extended(entry(connection, peer)[1])[4:] == (0, 1)


def test_sends_that_nobody_acknowledges_are_limited(peer: Peer) -> None:
    connection = without_copy(peer)
    set_option(peer, connection, "no_delay", True)
    with raises_errno(errno.ENOBUFS):
        for _ in range(100_000):
            write(peer, connection, b"x", MSG_ZEROCOPY)
            connection.tcb.cwnd_packets = 1_000_000


def test_the_queue_is_limited_when_nobody_reads_it(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "timestamping", ALL_STAMPS)
    for index in range(1000):
        write(peer, connection, b"x")
        peer.inject(".", 1, 2 + index)
    assert connection.notices is not None
    assert len(connection.notices.queue) == 1024


# SO_TIMESTAMPING of what is sent.


def test_the_last_byte_of_each_send_is_stamped_on_its_way(peer: Peer) -> None:
    connection = established(peer, mss=1000, window=65535)
    set_option(peer, connection, "timestamping", ALL_STAMPS)
    peer.advance(10)
    write(peer, connection, bytes(2000))
    write(peer, connection, bytes(2000))
    peer.advance(10)
    peer.inject(".", 1, 2001)
    peer.advance(10)
    peer.inject(".", 1, 4001)
    assert list(stamps(connection, peer)) == [
        (notices.TSTAMP_SCHED, 1999, 10),
        (notices.TSTAMP_SND, 1999, 10),
        (notices.TSTAMP_SCHED, 3999, 10),
        (notices.TSTAMP_SND, 3999, 10),
        (notices.TSTAMP_ACK, 1999, 20),
        (notices.TSTAMP_ACK, 3999, 30),
    ]


def test_a_byte_that_waits_for_the_window_is_stamped_when_it_leaves(peer: Peer) -> None:
    connection = connected(peer, mss=1000, window=1000)
    set_option(peer, connection, "timestamping", ALL_STAMPS)
    write(peer, connection, bytes(2000))
    peer.advance(25)
    peer.inject(".", 1, 1001, window=1000)
    assert list(stamps(connection, peer)) == [(notices.TSTAMP_SCHED, 1999, 25), (notices.TSTAMP_SND, 1999, 25)]


def test_a_byte_that_is_sent_again_is_stamped_again(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "timestamping", notices.TX_SOFTWARE | notices.SOFTWARE)
    write(peer, connection, bytes(100))
    peer.advance(250)
    assert [what for what, _, _ in stamps(connection, peer)] == [notices.TSTAMP_SND] * 2


def test_the_packet_is_given_back_truncated_unless_only_the_stamp_is_wanted(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    for flags, expected in ((0, MSG_ERRQUEUE | MSG_TRUNC), (notices.OPT_TSONLY, MSG_ERRQUEUE)):
        set_option(peer, connection, "timestamping", notices.TX_SOFTWARE | notices.SOFTWARE | flags)
        set_option(peer, connection, "no_delay", True)
        write(peer, connection, b"x")
        assert entry(connection, peer)[0] == expected


def test_keys_count_from_the_first_byte_or_from_the_next_to_be_written(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "no_delay", True)
    write(peer, connection, bytes(100))
    set_option(peer, connection, "timestamping", notices.TX_ACK | notices.SOFTWARE | notices.OPT_ID)
    write(peer, connection, bytes(10))
    peer.inject(".", 1, 111)
    assert [key for _, key, _ in stamps(connection, peer)] == [109]
    set_option(peer, connection, "timestamping", 0)
    more = notices.TX_ACK | notices.SOFTWARE | notices.OPT_ID | notices.OPT_ID_TCP
    set_option(peer, connection, "timestamping", more)
    write(peer, connection, bytes(10))
    peer.inject(".", 1, 121)
    assert [key for _, key, _ in stamps(connection, peer)] == [9]


@pytest.mark.parametrize("flags", [notices.OPT_ID, notices.OPT_ID_TCP, notices.OPT_STATS])
def test_flags_that_make_no_sense_on_an_unopened_socket_are_refused(peer: Peer, flags: int) -> None:
    connection = peer.socket()
    connection.options.timestamping = flags
    with raises_errno(errno.EINVAL):
        connection.option_changed("timestamping", peer.now)


# Beside the data.


@pytest.mark.parametrize("fast_path", [True, False])
def test_data_are_stamped_with_the_arrival_of_their_last_segment(version: int, fast_path: bool) -> None:
    peer = Peer(version, fast_path=fast_path)
    connection = established(peer, mss=1000)
    set_option(peer, connection, "receive_timestamp", "ns")
    peer.advance(10)
    peer.inject("P.", 1, 1, bytes(1000))
    peer.advance(10)
    peer.inject("P.", 1001, 1, bytes(1000))
    read(peer, connection, 500)
    assert connection.ancillary() == []
    read(peer, connection, 1500)
    stamp = struct.pack("@ll", 1, 20 * MILLISECOND)
    assert connection.ancillary() == [(stdlib.SOL_SOCKET, notices.SCM_TIMESTAMPNS, stamp)]


def test_an_accepted_connection_inherits_the_wish_for_stamps(peer: Peer) -> None:
    listener = peer.listen()
    listener.options.receive_timestamp = "us"
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    connection = listener.accept()
    peer.inject("P.", 1, 1, b"x")
    read(peer, connection)
    assert [kind for _, kind, _ in connection.ancillary()] == [notices.SCM_TIMESTAMP]


def test_the_queue_is_told_with_the_end_of_the_stream_as_one_more(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "report_queue", True)
    peer.inject("P.", 1, 1, bytes(1000))
    told = []
    for size in (300, 700):
        read(peer, connection, size)
        told.append(struct.unpack("=i", connection.ancillary()[0][2])[0])
    peer.inject("F.", 1001, 1, bytes(10))
    for size in (5, 5, 5):
        read(peer, connection, size)
        told.append(struct.unpack("=i", connection.ancillary()[0][2])[0])
    assert told == [700, 0, 6, 1, 1]


# ICMP.


def test_an_icmp_error_about_a_syn_is_kept_for_who_wants_it(peer: Peer) -> None:
    connection = peer.socket()
    set_option(peer, connection, "receive_errors", True)
    connection.bind(bytes(len(peer.local)), peer.local_port)
    with raises_errno(errno.EINPROGRESS):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    syn = peer.expect("S", 0)
    if peer.version == 4:
        message = icmpv4.build(3, 3, bytes(4), syn.frame)
    else:
        message = icmpv6.build(peer.remote, peer.local, 1, 4, bytes(4), syn.frame)
    protocol = 1 if peer.version == 4 else 58
    peer.arrive([_packet(peer, protocol, message)])
    buffer = bytearray(100)
    count, destination, flags = connection.receive_into(buffer, MSG_ERRQUEUE, peer.now)
    assert destination == (peer.remote, peer.port)
    assert (count > 8, flags) == (True, MSG_ERRQUEUE)
    assert extended(connection.ancillary())[1] == (2 if peer.version == 4 else 3)


def _packet(peer: Peer, protocol: int, transport: bytes) -> bytes:
    if peer.version == 4:
        return ipv4.build(peer.remote, peer.local, protocol, len(transport)) + transport
    return ipv6.build(peer.remote, peer.local, protocol, len(transport)) + transport


# How much waits where.


def test_what_waits_is_counted_with_the_fin_as_one(peer: Peer) -> None:
    connection = established(peer, mss=1000, window=1000)
    write(peer, connection, bytes(1500))
    assert (connection.unacknowledged(), connection.unsent()) == (1500, 500)
    connection.shutdown(stdlib.SHUT_WR, peer.now)
    assert (connection.unacknowledged(), connection.unsent()) == (1501, 501)
    peer.inject(".", 1, 1001, window=1000)
    assert (connection.unacknowledged(), connection.unsent()) == (501, 0)
    peer.inject(".", 1, 1502)
    assert (connection.unacknowledged(), connection.unsent()) == (0, 0)


def test_what_can_be_read_is_counted_without_the_fin(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    peer.inject("FP.", 1, 1, bytes(1000))
    assert connection.readable() == 1000
    read(peer, connection)
    assert connection.readable() == 0
    close(peer, connection)


def test_what_can_be_read_ends_at_urgent_data(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    peer.inject("P.", 1, 1, bytes(100))
    peer.inject("PU.", 101, 1, bytes(50), urgent_pointer=10)
    assert connection.readable() == 109
    read(peer, connection)
    assert (connection.readable(), connection.at_mark()) == (0, True)


def test_so_many_bytes_make_a_stream_readable_as_the_user_wants(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    set_option(peer, connection, "receive_low_water", 100)
    peer.inject("P.", 1, 1, bytes(99))
    assert not connection.readiness() & READABLE
    assert len(read(peer, connection, 50)) == 50
    peer.inject("P.", 100, 1, bytes(51))
    assert connection.readiness() & READABLE

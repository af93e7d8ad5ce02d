"""IPv4 connections of IPv6 sockets.  RFC 3493 §3.7, §5.3."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.stream import close, drain, read, state_of, write
from ustack.constants import AF_INET6, IPPROTO_TCP, SOCK_STREAM
from ustack.drops import DropReason
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.tcp.state import State

WILDCARD = bytes(16)


@pytest.fixture
def ipv4() -> Peer:
    """A peer with IPv4 only."""
    return Peer(4)


def ipv6_socket(peer: Peer) -> Connection:
    """An unopened IPv6 socket of the stack."""
    endpoint = peer.stack.open(AF_INET6, SOCK_STREAM, IPPROTO_TCP)
    assert isinstance(endpoint, Connection)
    return endpoint


def test_an_ipv6_listener_accepts_ipv4_connections(ipv4: Peer) -> None:
    endpoint = ipv6_socket(ipv4)
    endpoint.bind(WILDCARD, ipv4.local_port)
    listener = endpoint.listen(1)
    ipv4.inject("S", 0)
    assert ipv4.expect("S.", 0, 1).options.mss == 1460
    ipv4.inject("P.", 1, 1, b"data")
    connection = listener.accept()
    assert (connection.local_address, connection.remote_address) == (ipv4.local, ipv4.remote)
    assert read(ipv4, connection) == b"data"
    write(ipv4, connection, bytes(2000))
    assert max(len(each.payload) for each in drain(ipv4)) == 536
    close(ipv4, connection)
    assert drain(ipv4)[-1].flags == "F."


def test_a_listener_for_ipv6_only_does_not(ipv4: Peer) -> None:
    endpoint = ipv6_socket(ipv4)
    endpoint.options.ipv6_only = True
    endpoint.bind(WILDCARD, ipv4.local_port)
    endpoint.listen(1)
    ipv4.inject("S", 0)
    ipv4.expect("R.", None, 1)
    assert ipv4.stack.counters[DropReason.TCP_NO_CONNECTION] == 1


def test_an_ipv6_socket_opens_an_ipv4_connection(ipv4: Peer) -> None:
    connection = ipv6_socket(ipv4)
    connection.bind(WILDCARD, ipv4.local_port)
    with pytest.raises(BlockingIOError):
        connection.connect(ipv4.remote, ipv4.port, ipv4.now)
    ipv4.collect()
    assert ipv4.expect("S", 0).source == ipv4.local
    ipv4.inject("S.", 0, 1)
    assert state_of(connection) == State.ESTABLISHED


def test_a_socket_bound_to_an_ipv6_address_cannot(ipv4: Peer) -> None:
    peer = Peer(6)
    connection = peer.socket()
    connection.bind(peer.local, 7)
    with raises_errno(errno.ENETUNREACH):
        connection.connect(ipv4.remote, ipv4.port, peer.now)


def test_listeners_of_both_families_share_a_port_if_one_is_for_ipv6_only(ipv4: Peer) -> None:
    endpoint = ipv6_socket(ipv4)
    endpoint.options.ipv6_only = True
    endpoint.bind(WILDCARD, ipv4.local_port)
    endpoint.listen(1)
    listener = ipv4.listen()
    ipv4.inject("S", 0)
    ipv4.expect("S.", 0, 1)
    assert len(listener.syn_queue) == 1

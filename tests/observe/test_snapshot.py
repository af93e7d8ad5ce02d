"""The snapshot of a stack: every kind of endpoint, as JSON can hold it."""

import json
from typing import Any

import pytest

from ustack.address import parse_address
from ustack.constants import AF_INET, AF_INET6, IPPROTO_ICMP, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM
from ustack.drops import DropReason
from ustack.observe.snapshot import Snapshot, snapshot
from ustack.sim.peer import Peer


@pytest.fixture
def peer() -> Peer:
    return Peer()


def taken(peer: Peer) -> Snapshot:
    value = snapshot(peer.stack, peer.now)
    assert json.loads(json.dumps(value)) == value
    return value


def row(peer: Peer, **wanted: Any) -> Any:
    (found,) = [
        each for each in taken(peer)["sockets"] if all(dict(each)[name] == value for name, value in wanted.items())
    ]
    return found


def test_an_empty_stack_has_its_interfaces_and_nothing_else(peer: Peer) -> None:
    value = taken(peer)
    assert [(each["name"], each["addresses"]) for each in value["interfaces"]] == [
        ("lo", ["127.0.0.1/8", "::1/128"]),
        ("tun0", ["10.0.0.1/24"]),
    ]
    assert (value["sockets"], value["drops"]) == ([], [])


def test_a_listener_counts_the_connections_that_wait_and_its_backlog(peer: Peer) -> None:
    peer.listen(backlog=7)
    peer.inject("S", 0)
    peer.expect("S.")
    peer.inject(".", 1, 1)
    listener = row(peer, state="LISTEN")
    assert (listener["receive_queue"], listener["send_queue"], listener["tcp"]) == (1, 7, None)


def test_a_connection_shows_its_ends_and_queues(peer: Peer) -> None:
    peer.accept()
    peer.inject("P.", 1, 1, b"unread")
    found = row(peer, state="ESTABLISHED")
    ends = (found["local_address"], found["local_port"], found["remote_address"], found["remote_port"])
    assert ends == ("10.0.0.1", 8080, "10.0.0.2", 54321)
    assert found["receive_queue"] == 6
    assert found["tcp"]["bytes_received"] == 6


def test_what_is_sent_and_not_acknowledged_is_in_flight_with_a_timer(peer: Peer) -> None:
    connection = peer.accept()
    connection.send(b"unacknowledged", 0, None, peer.now)
    peer.collect()
    found = row(peer, state="ESTABLISHED")
    assert (found["send_queue"], found["tcp"]["flight"]) == (14, 14)
    (timer,) = found["timers"]
    assert timer["name"] == "retransmission"
    assert timer["due_in_ns"] == found["tcp"]["rto_ns"]


def test_a_closed_window_shows_as_persist_timer(peer: Peer) -> None:
    connection = peer.accept(window=0)
    connection.send(b"waits", 0, None, peer.now)
    peer.collect()
    assert [timer["name"] for timer in row(peer, state="ESTABLISHED")["timers"]] == ["persist"]


def test_time_wait_shows_how_long_it_lasts(peer: Peer) -> None:
    connection = peer.accept()
    connection.close(peer.now)
    peer.collect()
    peer.inject("F.", 1, 2)
    (timer,) = row(peer, state="TIME_WAIT")["timers"]
    assert timer["name"] == "time-wait"
    assert timer["due_in_ns"] == 2 * peer.stack.config.tcp.msl_ns


def test_datagram_and_raw_sockets_show_whether_they_are_connected(peer: Peer) -> None:
    bound = peer.stack.open(AF_INET6, SOCK_DGRAM, 0)
    bound.bind(bytes(16), 53)
    connected = peer.stack.open(AF_INET, SOCK_DGRAM, 0)
    connected.connect(parse_address("10.0.0.2"), 9, peer.now)
    peer.stack.open(AF_INET, SOCK_RAW, IPPROTO_ICMP)
    assert row(peer, protocol="udp", state="unconnected", family="IPv6", local_address="*")["local_port"] == 53
    assert row(peer, protocol="udp", state="connected")["remote_address"] == "10.0.0.2"
    assert row(peer, protocol="raw 1")["state"] == "unconnected"


def test_a_socket_that_was_not_bound_has_no_ends(peer: Peer) -> None:
    peer.stack.open(AF_INET, SOCK_DGRAM, 0)
    found = row(peer, protocol="udp")
    assert (found["local_address"], found["local_port"], found["remote_address"]) == ("*", 0, "*")


def test_drops_come_with_their_clause_most_frequent_first(peer: Peer) -> None:
    peer.inject("S", 0)
    peer.inject("S", 0)
    peer.inject("R", 0)
    assert [(each["reason"], each["count"]) for each in taken(peer)["drops"]] == [
        ("TCP_NO_CONNECTION", 2),
        ("TCP_RST_WITHOUT_CONNECTION", 1),
    ]
    assert taken(peer)["drops"][0]["clause"] == DropReason.TCP_NO_CONNECTION.clause


def test_taking_a_snapshot_changes_nothing(peer: Peer) -> None:
    connection = peer.accept()
    connection.send(b"data", 0, None, peer.now)
    peer.collect()
    before = taken(peer)
    assert taken(peer) == before
    assert peer.stack.open(AF_INET, SOCK_STREAM, 0) is not None

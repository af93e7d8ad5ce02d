"""Options that the user changes while a socket is in use."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from tests.support.raising import raises_errno
from tests.support.stream import close, drain, established, set_option, state_of, write
from ustack.endpoint import READABLE
from ustack.sim.peer import Peer
from ustack.tcp.congestion import CONTROLLERS, Reno
from ustack.tcp.state import State


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> type[Reno]:
    """A second congestion controller."""

    class Other(Reno):
        """As Reno, under another name."""

        name = "other"

    monkeypatch.setitem(CONTROLLERS, "other", Other)
    return Other


def test_another_controller_goes_on_with_the_window_of_the_present_one(peer: Peer, other: type[Reno]) -> None:
    connection = established(peer, mss=1000)
    write(peer, connection, bytes(10_000))
    for _ in range(3):
        peer.inject(".", 1, 1)
    before = (connection.tcb.cwnd_packets, connection.tcb.ssthresh_packets)
    set_option(peer, connection, "congestion_control", "other")
    assert isinstance(connection.congestion, other)
    assert (connection.tcb.cwnd_packets, connection.tcb.ssthresh_packets) == before
    drain(peer)
    peer.inject(".", 1, 10_001)
    write(peer, connection, b"beyond the recovery")
    peer.inject(".", 1, 10_020)
    assert not connection.tcb.ca_state


def test_the_same_controller_again_changes_nothing(peer: Peer) -> None:
    connection = established(peer)
    present = connection.congestion
    set_option(peer, connection, "congestion_control", "cubic")
    set_option(peer, connection, "congestion_control", None)
    assert connection.congestion is present


def test_a_controller_chosen_before_the_open_is_used(peer: Peer, other: type[Reno]) -> None:
    connection = peer.socket()
    set_option(peer, connection, "congestion_control", "other")
    with pytest.raises(BlockingIOError):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.local_port = connection.local_port
    peer.collect()
    peer.inject("S.", 0, 1)
    assert isinstance(connection.congestion, other)


def test_an_unknown_controller_is_refused(peer: Peer) -> None:
    endpoints: list[Any] = [peer.socket(), established(peer), next(iter(peer.stack.tcp.connections))]
    for endpoint in endpoints:
        with raises_errno(errno.ENOENT):
            set_option(peer, endpoint, "congestion_control", "nonsense")


def test_sharing_can_be_changed_on_bound_sockets_and_listeners(peer: Peer) -> None:
    listener = peer.listen()
    set_option(peer, listener, "reuse_port", True)
    second = peer.socket()
    set_option(peer, second, "reuse_port", True)
    second.bind(peer.local, peer.local_port)
    set_option(peer, second, "reuse_address", True)
    second.listen(1)
    set_option(peer, peer.socket(), "reuse_address", True)


def test_keepalive_of_an_unopened_socket_waits_for_the_open(peer: Peer) -> None:
    connection = peer.socket()
    set_option(peer, connection, "keepalive", True)
    assert peer.stack.next_deadline() is None


def test_options_of_closed_sockets_do_no_harm(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("R", 1)
    for name in ("ttl", "no_delay", "cork", "keepalive", "receive_buffer", "quick_ack", "congestion_control"):
        set_option(peer, connection, name, getattr(connection.options, name))
    peer.expect_nothing()


def test_an_option_that_needs_nothing_is_only_noted(peer: Peer) -> None:
    connection = established(peer)
    set_option(peer, connection, "linger_ns", 5)
    assert connection.options.linger_ns == 5


def test_a_listener_without_an_observer_tells_nobody(peer: Peer) -> None:
    listener = peer.listen()
    listener.observer = listener
    peer.inject("S", 0)
    peer.inject(".", 1, 1)
    assert (listener, READABLE) in peer.stack.take_events()
    connection = listener.accept()
    assert state_of(connection) == State.ESTABLISHED
    listener.shutdown(1, peer.now)
    assert not listener.closed
    listener.shutdown(2, peer.now)
    assert any(endpoint is listener for endpoint, _ in peer.stack.take_events())
    close(peer, connection)

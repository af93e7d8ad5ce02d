"""close(): what lingers, what resets, and who else still has the connection."""

from __future__ import annotations

import struct

import pytest

from tests.support.hosts import SERVER, two_hosts
from ustack import socket
from ustack.runtime.clock import SECOND

MEGABYTE = 1 << 20


def linger(connection: socket.socket, seconds: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


def slow_reader(lab, delay: float) -> int:
    """Accept a connection, and read it to its end after `delay`; how much it was."""
    with socket.create_server((SERVER, 80)) as listener, listener.accept()[0] as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        lab.sleep(delay)
        total = 0
        while data := connection.recv(1 << 16):
            total += len(data)
        return total


def test_close_returns_at_once_and_the_stack_sends_the_rest():
    def send() -> int:
        connection = socket.create_connection((SERVER, 80))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MEGABYTE)
        connection.sendall(bytes(2 * MEGABYTE))
        began = lab.now()
        connection.close()
        return lab.now() - began

    with two_hosts() as (lab, server, client):
        reading = server.run(slow_reader, lab, 3)
        assert client.run(send).result() == 0
        assert reading.result() == 2 * MEGABYTE


def test_a_lingering_close_waits_until_the_peer_has_everything():
    def send() -> int:
        connection = socket.create_connection((SERVER, 80))
        linger(connection, 30)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MEGABYTE)
        connection.sendall(bytes(2 * MEGABYTE))
        began = lab.now()
        connection.close()
        return lab.now() - began

    with two_hosts() as (lab, server, client):
        reading = server.run(slow_reader, lab, 3)
        assert 3 * SECOND <= client.run(send).result() < 5 * SECOND
        assert reading.result() == 2 * MEGABYTE


def test_a_lingering_close_waits_no_longer_than_it_was_told():
    def send() -> int:
        connection = socket.create_connection((SERVER, 80))
        linger(connection, 2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MEGABYTE)
        connection.sendall(bytes(2 * MEGABYTE))
        began = lab.now()
        connection.close()
        return lab.now() - began

    with two_hosts() as (lab, server, client):
        reading = server.run(slow_reader, lab, 20)
        assert client.run(send).result() == 2 * SECOND
        assert reading.result() == 2 * MEGABYTE


@pytest.mark.parametrize("shared", [False, True])
def test_only_the_last_close_lingers(shared):
    def send() -> int:
        connection = socket.create_connection((SERVER, 80))
        linger(connection, 5)
        twin = connection.dup()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MEGABYTE)
        connection.sendall(bytes(2 * MEGABYTE))
        if not shared:
            twin.close()
        began = lab.now()
        connection.close()
        took = lab.now() - began
        twin.close()
        return took

    with two_hosts() as (lab, server, client):
        reading = server.run(slow_reader, lab, 3)
        assert (client.run(send).result() == 0) == shared
        assert reading.result() == 2 * MEGABYTE


def test_unread_data_resets_whatever_the_linger_time():
    def send() -> int:
        connection = socket.create_connection((SERVER, 80))
        linger(connection, 5)
        lab.sleep(1)
        began = lab.now()
        connection.close()
        return lab.now() - began

    def receive() -> None:
        with socket.create_server((SERVER, 80)) as listener, listener.accept()[0] as connection:
            connection.sendall(b"never read")
            with pytest.raises(ConnectionResetError):
                connection.recv(1)

    with two_hosts() as (lab, server, client):
        receiving = server.run(receive)
        assert client.run(send).result() == 0
        receiving.result()


def test_lingering_for_no_time_resets():
    def send() -> None:
        connection = socket.create_connection((SERVER, 80))
        linger(connection, 0)
        connection.close()

    def receive() -> None:
        with (
            socket.create_server((SERVER, 80)) as listener,
            listener.accept()[0] as connection,
            pytest.raises(ConnectionResetError),
        ):
            connection.recv(1)

    with two_hosts() as (_, server, client):
        receiving = server.run(receive)
        client.run(send)
        receiving.result()


def test_lingering_ends_when_the_stack_stops():
    def send() -> None:
        connection = socket.create_connection((SERVER, 80))
        linger(connection, 1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MEGABYTE)
        connection.sendall(bytes(2 * MEGABYTE))
        connection.close()

    with two_hosts() as (lab, server, client):
        server.run(slow_reader, lab, 2000)
        sending = client.run(send)
        lab.sleep(5)
        assert not sending.done
        began = lab.now()
        client.stop()
        sending.result()
        assert lab.now() == began

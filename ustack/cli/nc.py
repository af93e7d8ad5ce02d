"""`ustack nc`: join standard input and output to a TCP or UDP socket of a stack, as client or as server."""

from __future__ import annotations

import argparse
import os
import struct
import sys
from typing import Any

from ustack import socket
from ustack.cli import station
from ustack.cli.output import CommandError, say
from ustack.runtime.driver import Driver

CHUNK = 64 << 10
DATAGRAM = 16 << 10
LINGER_SECONDS = 5
PORT_MAX = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack nc`."""
    parser.add_argument("host", nargs="?", help="address to connect to, or with -l to bind to")
    parser.add_argument("port", type=int)
    parser.add_argument("-l", "--listen", action="store_true", help="wait for a peer")
    parser.add_argument("-u", "--udp", action="store_true", help="UDP instead of TCP")
    parser.add_argument("-w", "--timeout", type=float, help="seconds to wait for connecting and for each answer")
    station.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry bytes both ways until both sides have ended, or the time is up."""
    if not 0 < arguments.port <= PORT_MAX:
        raise ValueError(f"the port must be between 1 and {PORT_MAX}")
    if arguments.host is None and not arguments.listen:
        raise CommandError("nc needs a host to connect to, or -l")
    with station.open_station(arguments) as running, _open(arguments) as connection:
        connection.settimeout(arguments.timeout)
        carry(running.driver, connection)
    return 0


def _open(arguments: argparse.Namespace) -> Any:
    """A connected socket."""
    if not arguments.listen:
        kind = socket.SOCK_DGRAM if arguments.udp else socket.SOCK_STREAM
        connection: Any = socket.socket(_family(arguments.host), kind)
        connection.settimeout(arguments.timeout)
        connection.connect((arguments.host, arguments.port))
        return connection
    return _first_sender(arguments) if arguments.udp else _first_connection(arguments)


def _family(host: str | None) -> int:
    return int(socket.AF_INET6 if host is None or ":" in host else socket.AF_INET)


def _first_connection(arguments: argparse.Namespace) -> Any:
    family = _family(arguments.host)
    address = (arguments.host or "::", arguments.port)
    with socket.create_server(address, family=family, dualstack_ipv6=family == socket.AF_INET6) as listener:
        say(f"listening on port {arguments.port}")
        listener.settimeout(arguments.timeout)
        connection, peer = listener.accept()
    say(f"connection from {peer[0]} port {peer[1]}")
    return connection


def _first_sender(arguments: argparse.Namespace) -> Any:
    receiver: Any = socket.socket(_family(arguments.host), socket.SOCK_DGRAM)
    receiver.bind((arguments.host or "::", arguments.port))
    receiver.settimeout(arguments.timeout)
    say(f"waiting for a datagram on port {arguments.port}")
    _, peer = receiver.recvfrom(1, socket.MSG_PEEK)
    receiver.connect(peer)
    say(f"datagram from {peer[0]} port {peer[1]}")
    return receiver


def carry(driver: Driver, connection: Any) -> None:
    """Standard input to the socket in a thread, the socket to standard output here, until the peer has ended."""
    stream = connection.type == socket.SOCK_STREAM
    if stream:  # closing waits until the peer has everything, as the stack ends with the command
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
    driver.spawn(_send_input, connection, stream)
    while True:
        try:
            data = connection.recv(CHUNK)
        except TimeoutError:
            return
        if not data and stream:
            return
        _write_all(data)


def _send_input(connection: Any, stream: bool) -> None:
    try:
        while data := os.read(sys.stdin.fileno(), CHUNK if stream else DATAGRAM):
            connection.sendall(data)
        if stream:
            connection.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]

"""The small services of `ustack serve`, over TCP and UDP, for IPv4 and IPv6, by blocking sockets and threads.

Echo (RFC 862), discard (RFC 863), character generator (RFC 864), daytime (RFC 867).  Threads end when their stack
stops.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ustack import socket
from ustack.api.servers import on_ustack
from ustack.runtime.driver import Driver

CHUNK = 64 << 10
LINE_WIDTH = 72
PRINTABLE = bytes(range(0x20, 0x7F))
REFLECTING_PORTS = frozenset({7, 13, 17, 19})
"""Services that answer anything: a datagram from one of these could begin a conversation without end."""


def echo(connection: Any) -> None:
    """Send back what comes, until the peer has closed its side."""
    while data := connection.recv(CHUNK):
        connection.sendall(data)


def discard(connection: Any) -> None:
    """Read what comes."""
    buffer = bytearray(CHUNK)
    while connection.recv_into(buffer):
        pass


def character_lines() -> bytes:
    """95 lines of 72 characters, each begun one character later: the pattern that RFC 864 §3 suggests."""
    ring = PRINTABLE * 2
    return b"".join(ring[start : start + LINE_WIDTH] + b"\r\n" for start in range(len(PRINTABLE)))


def generate_characters(connection: Any) -> None:
    """Send lines until the peer has had enough."""
    lines = character_lines()
    while True:
        connection.sendall(lines)


def daytime_line() -> bytes:
    """The local time in words."""
    return time.strftime("%A, %B %d, %Y %H:%M:%S-%Z\r\n").encode("ascii", "replace")


def tell_daytime(connection: Any) -> None:
    """Send one line and close."""
    connection.sendall(daytime_line())


STREAMS: dict[str, Callable[[Any], None]] = {
    "echo": echo,
    "discard": discard,
    "chargen": generate_characters,
    "daytime": tell_daytime,
}
DATAGRAMS: dict[str, Callable[[bytes], bytes]] = {
    "echo": lambda data: data,
    "discard": lambda _: b"",
    "chargen": lambda _: character_lines()[:512],
    "daytime": lambda _: daytime_line(),
}
WELL_KNOWN_PORTS = {"http": 80, "echo": 7, "discard": 9, "chargen": 19, "daytime": 13}


def start(driver: Driver, service: str, port: int) -> None:
    """Serve one of the small services on a TCP and a UDP port.  Raises OSError."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    driver.spawn(accept_forever, driver, listener, STREAMS[service])
    receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    receiver.bind(("::", port))
    driver.spawn(answer_forever, receiver, DATAGRAMS[service])


def accept_forever(driver: Driver, listener: Any, serve: Callable[[Any], None]) -> None:
    """A thread for each connection, until the stack stops."""
    for _ in itertools.count():
        try:
            connection, _ = listener.accept()
        except ConnectionError:
            continue
        except OSError:
            return
        driver.spawn(serve_one, connection, serve)


def serve_one(connection: Any, serve: Callable[[Any], None]) -> None:
    """Serve one connection to its end, whichever that is."""
    with connection:
        try:
            serve(connection)
        except OSError:
            return


def answer_forever(receiver: Any, answer: Callable[[bytes], bytes]) -> None:
    """Answer each datagram, until the stack stops."""
    while True:
        try:
            data, source = receiver.recvfrom(CHUNK)
            response = answer(data)
            if response and source[1] not in REFLECTING_PORTS:
                receiver.sendto(response, source)
        except ConnectionError:
            continue
        except OSError:
            return


class HttpServer(on_ustack(ThreadingHTTPServer)):  # type: ignore[misc]  # a base made by a function
    """Python's own HTTP server on the current stack, for both families."""

    address_family = socket.AF_INET6
    request_queue_size = 128


def start_http(driver: Driver, directory: Path, port: int) -> HttpServer:
    """Serve a directory's files over HTTP.  Raises OSError."""
    server = HttpServer(("::", port), functools.partial(SimpleHTTPRequestHandler, directory=str(directory)))
    driver.spawn(server.serve_forever)
    return server

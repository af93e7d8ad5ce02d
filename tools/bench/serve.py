#!/usr/bin/env python3
"""The benchmark's services on ordinary ustack sockets: TCP and UDP sink, source and echo.

    serve.py            inside a network namespace made for it, with the device's name in $DEV

Creates that TUN device in the present network namespace, gives the kernel's side 10.9.0.1/24 and fd09::1/64, serves on
10.9.0.2 and fd09::2, and prints "ready PID".  TCP and UDP 9001 sink, 9002 source, 9003 echo; a datagram "STAT" to 9001
is answered with the number of datagrams received so far, as 8 bytes in host order.  USTACK_OFFLOAD=0 gives the device
no offload.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable

import ustack
from ustack import socket
from ustack.link.configure import open_tun_here
from ustack.runtime.current import new_driver

CHUNK = 256 << 10
THREAD_STACK = 128 << 10


def serve_stream(port: int, handle: Callable[[socket.socket], None]) -> None:
    """Accept connections for ever, each in a thread of its own."""
    listener = socket.create_server(("", port), backlog=4096)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=run_stream, args=(connection, handle), daemon=True).start()


def run_stream(connection: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    """Handle a connection until its end, whatever it is."""
    with connection:
        try:
            handle(connection)
        except OSError:
            return


def sink(connection: socket.socket) -> None:
    """Read and drop until the end."""
    buffer = bytearray(CHUNK)
    while connection.recv_into(buffer):
        pass


def source(connection: socket.socket) -> None:
    """Send until the peer closes."""
    data = bytes(CHUNK)
    while True:
        connection.sendall(data)


def echo(connection: socket.socket) -> None:
    """Send back what comes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(65536):
        connection.sendall(data)


def udp_sink() -> None:
    """Count datagrams."""
    endpoint = bound(9001)
    buffer = bytearray(2048)
    view = memoryview(buffer)
    count = 0
    receive = endpoint.recvfrom_into
    while True:
        length, sender = receive(buffer)
        if length == 4 and view[:4] == b"STAT":
            endpoint.sendto(struct.pack("=Q", count), sender)
        else:
            count += 1


def udp_source() -> None:
    """On "B" and a number of seconds, 4 bytes in host order, send 64-byte datagrams for so long."""
    endpoint = bound(9002)
    data = bytes(64)
    while True:
        request, sender = endpoint.recvfrom(2048)
        if len(request) != 5 or request[:1] != b"B":
            continue
        until = time.monotonic() + struct.unpack("=I", request[1:])[0]
        while time.monotonic() < until:
            for _ in range(64):
                endpoint.sendto(data, sender)


def udp_echo() -> None:
    """Send back what comes."""
    endpoint = bound(9003)
    while True:
        data, sender = endpoint.recvfrom(65536)
        endpoint.sendto(data, sender)


def bound(port: int) -> socket.socket:
    """A UDP socket at a port of both families."""
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    endpoint.bind(("", port))
    return endpoint


def main() -> int:
    """Serve until a signal comes."""
    threading.stack_size(THREAD_STACK)
    device = open_tun_here(
        os.environ.get("DEV", "tunA"),
        1500,
        ("10.9.0.1/24", "fd09::1/64"),
        offload=os.environ.get("USTACK_OFFLOAD") != "0",
    )
    driver = new_driver()
    driver.attach(device, ("10.9.0.2/24", "fd09::2/64"))
    with driver, ustack.use(driver):
        for port, handle in ((9001, sink), (9002, source), (9003, echo)):
            threading.Thread(target=serve_stream, args=(port, handle), daemon=True).start()
        for service in (udp_sink, udp_source, udp_echo):
            threading.Thread(target=service, daemon=True).start()
        print("ready", os.getpid(), flush=True)
        signal.sigwait((signal.SIGINT, signal.SIGTERM))
    return 0


if __name__ == "__main__":
    sys.exit(main())

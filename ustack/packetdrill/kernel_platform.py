"""The kernel's sockets, in a namespace that ustack has made: a `Platform`."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from ustack import errors
from ustack.packetdrill.platform import Epoll
from ustack.packetdrill.symbols import value_of

if TYPE_CHECKING:
    from ustack.link.namespace import Namespace

_KIND = 0xF
"""Of a type without its flags."""
_INT = struct.Struct("i")
_SOCKADDR = struct.Struct("=H14x")


class KernelPlatform:
    """The kernel of a namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.epoch = time.time_ns()
        self.controller = ""
        """The congestion controller of new sockets, "" for the kernel's default."""

    def open(self, family: int, kind: int, protocol: int) -> socket.socket:
        """As `Platform`."""
        made = self._namespace.open_socket(family, kind, protocol)
        if self.controller and kind & _KIND == socket.SOCK_STREAM:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.controller.encode())
        return made

    def poll(self, entries: list[tuple[socket.socket, int]], timeout_ms: int) -> list[int]:
        """As `Platform`."""
        poll = select.poll()
        for sock, events in entries:
            poll.register(sock, events)
        held = dict(poll.poll(timeout_ms))
        return [held.get(sock.fileno(), 0) for sock, _ in entries]

    def epoll(self) -> Epoll:
        """As `Platform`."""
        return KernelEpoll()

    def control(self, sock: socket.socket, request: int) -> int:
        """As `Platform`."""
        return int(_INT.unpack(fcntl.ioctl(sock, request, _INT.pack(0)))[0])

    def at_urgent_data(self, sock: socket.socket) -> bool:
        """As `Platform`."""
        return bool(self.control(sock, value_of("SIOCATMARK")))

    def disconnect(self, sock: socket.socket) -> None:
        """As `Platform`."""
        library = ctypes.CDLL(None, use_errno=True)
        address = _SOCKADDR.pack(socket.AF_UNSPEC)
        if library.connect(sock.fileno(), address, len(address)) < 0:
            raise errors.error(ctypes.get_errno())


class KernelEpoll(Epoll):
    """An epoll of the kernel."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._known: dict[int, tuple[int, object]] = {}
        """The kernel's descriptors and the data, by the script's numbers."""

    def add(self, descriptor: int, sock: socket.socket, events: int, data: object) -> None:
        """As `Epoll`."""
        self._epoll.register(sock, events)
        self._known[descriptor] = sock.fileno(), data

    def modify(self, descriptor: int, events: int, data: object) -> None:
        """As `Epoll`."""
        number = self._find(descriptor)
        self._epoll.modify(number, events)
        self._known[descriptor] = number, data

    def remove(self, descriptor: int) -> None:
        """As `Epoll`."""
        self._epoll.unregister(self._find(descriptor))
        del self._known[descriptor]

    def forget(self, descriptor: int) -> None:
        """As `Epoll`."""
        self._known.pop(descriptor, None)

    def _find(self, descriptor: int) -> int:
        if descriptor not in self._known:
            raise errors.error(errno.ENOENT)
        return self._known[descriptor][0]

    def wait(self, most: int, timeout_ms: int) -> list[tuple[int, object]]:
        """As `Epoll`."""
        data = dict(self._known.values())
        found = self._epoll.poll(None if timeout_ms < 0 else timeout_ms / 1000, most)
        return [(events, data.get(number, 0)) for number, events in found]

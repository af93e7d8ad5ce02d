"""The descriptors of a script: names for what is open on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ustack.packetdrill.flow import Flow
from ustack.packetdrill.platform import Epoll
from ustack.packetdrill.problems import Failed

if TYPE_CHECKING:
    from socket import socket


@dataclass(slots=True, eq=False)
class OpenSocket:
    """A socket, and how far the script has brought it."""

    sock: socket
    flow: Flow


@dataclass(slots=True, eq=False)
class Pipe:
    """What lies in a pipe; both ends have it."""

    content: bytearray = field(default_factory=bytearray)


@dataclass(slots=True, eq=False)
class OpenFile:
    """A file of the machine's own, which the script's commands have made."""

    content: bytes
    position: int = 0


Open = OpenSocket | Epoll | Pipe | OpenFile


class Descriptors:
    """By the script's numbers.  What accept() gives may take a number that is in use: the older one is hidden."""

    def __init__(self) -> None:
        self._open: dict[int, list[Open]] = {}

    def add(self, number: int, entry: Open, *, hiding: bool = False) -> None:
        """A new descriptor.  Raises Failed for a number in use, unless it is `hiding` the older one."""
        if number < 0:
            raise Failed(f"invalid fd {number} in script")
        if self._open.get(number) and not hiding:
            raise Failed(f"duplicate fd {number} in script")
        self._open.setdefault(number, []).append(entry)

    def find(self, number: int) -> Open:
        """What a number stands for.  Raises Failed."""
        if not self._open.get(number):
            raise Failed(f"unable to find fd with script fd {number}")
        return self._open[number][-1]

    def open_socket(self, number: int) -> OpenSocket:
        """The socket that a number stands for.  Raises Failed."""
        entry = self.find(number)
        if not isinstance(entry, OpenSocket):
            raise Failed(f"fd {number} is no socket")
        return entry

    def epoll(self, number: int) -> Epoll:
        """The epoll that a number stands for.  Raises Failed."""
        entry = self.find(number)
        if not isinstance(entry, Epoll):
            raise Failed(f"fd {number} is no epoll")
        return entry

    def remove(self, number: int) -> None:
        """A descriptor is closed: it leaves every epoll too."""
        self._open[number].pop()
        for entry in self._entries():
            if isinstance(entry, Epoll):
                entry.forget(number)

    def sockets(self) -> list[socket]:
        """Those that are open."""
        return [entry.sock for entry in self._entries() if isinstance(entry, OpenSocket)]

    def _entries(self) -> Iterator[Open]:
        for entries in self._open.values():
            yield from entries

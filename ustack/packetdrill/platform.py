"""`Platform`: the system whose sockets a script uses: ours, or a kernel's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from socket import socket


class Epoll(ABC):
    """An epoll descriptor; sockets are named by the script's numbers."""

    @abstractmethod
    def add(self, descriptor: int, sock: socket, events: int, data: object) -> None:
        """EPOLL_CTL_ADD.  Raises EEXIST."""

    @abstractmethod
    def modify(self, descriptor: int, events: int, data: object) -> None:
        """EPOLL_CTL_MOD: what holds is reported again.  Raises ENOENT."""

    @abstractmethod
    def remove(self, descriptor: int) -> None:
        """EPOLL_CTL_DEL.  Raises ENOENT."""

    @abstractmethod
    def forget(self, descriptor: int) -> None:
        """A socket is closed: it leaves every epoll."""

    @abstractmethod
    def wait(self, most: int, timeout_ms: int) -> list[tuple[int, object]]:
        """Up to `most` of (events, data) that hold; waits for the first."""


class Platform(Protocol):
    """What system calls need beyond the methods of Python's sockets."""

    epoch: int
    """The begin of the script on the clock of SCM_TIMESTAMPING, in nanoseconds."""

    def open(self, family: int, kind: int, protocol: int) -> socket:
        """A new socket."""
        ...

    def poll(self, entries: list[tuple[socket, int]], timeout_ms: int) -> list[int]:
        """The bits that hold for each (socket, events); waits for any of them."""
        ...

    def epoll(self) -> Epoll:
        """A new epoll descriptor."""
        ...

    def control(self, sock: socket, request: int) -> int:
        """ioctl() for what gives one number.  Raises ENOTTY."""
        ...

    def at_urgent_data(self, sock: socket) -> bool:
        """Whether splice() would stop here, before the urgent byte."""
        ...

    def disconnect(self, sock: socket) -> None:
        """connect() to AF_UNSPEC."""
        ...

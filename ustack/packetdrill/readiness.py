"""poll() and epoll over the stack's own sockets: what an endpoint's readiness is to them, and waiting."""

from __future__ import annotations

import errno
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ustack import errors
from ustack.api.socket import socket
from ustack.endpoint import ERROR, HANGUP, PRIORITY, READ_HANGUP, READABLE, WRITABLE, Endpoint
from ustack.packetdrill.platform import Epoll
from ustack.runtime.driver import Driver
from ustack.runtime.waiting import Observer, Waiter, observe
from ustack.tcp.connection import Connection

if TYPE_CHECKING:
    import socket as stdlib

_BITS = (
    (READABLE, select.POLLIN | select.POLLRDNORM),
    (WRITABLE, select.POLLOUT | select.POLLWRNORM),
    (PRIORITY, select.POLLPRI),
    (ERROR, select.POLLERR),
    (READ_HANGUP, select.POLLRDHUP),
    (HANGUP, select.POLLHUP),
)
_ALWAYS = select.POLLERR | select.POLLHUP
_MODES = select.EPOLLET | select.EPOLLONESHOT | select.EPOLLEXCLUSIVE | 1 << 29
"""Bits of an interest that are no events; the last one is EPOLLWAKEUP."""
MILLISECOND = 1_000_000


def poll_bits(sock: socket) -> int:
    """What poll() would show of a socket."""
    return _shown(endpoint_of(sock).readiness())


def _shown(readiness: int) -> int:
    return sum(shown for bit, shown in _BITS if readiness & bit)


def endpoint_of(sock: socket) -> Endpoint:
    """The endpoint behind a socket.  Raises EBADF."""
    endpoint = sock._endpoint  # noqa: SLF001  # what stands behind a descriptor in a kernel
    if endpoint is None:
        raise errors.error(errno.EBADF)
    return endpoint


class Alarm:
    """Wakes a waiter at any event of the endpoints it watches."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter

    def changed(self, observer: Observer) -> None:
        """As `Watcher`."""
        self._waiter.wake()


def wait_for(driver: Driver, endpoints: list[Endpoint], ready: Callable[[], bool], timeout_ms: int) -> None:
    """Block until `ready`, or the time-out (−1: none) has passed."""
    deadline = None if timeout_ms < 0 else driver.now() + timeout_ms * MILLISECOND
    while not ready() and (deadline is None or driver.now() < deadline):
        waiter = driver.new_waiter()
        alarm = Alarm(waiter)
        for endpoint in endpoints:
            observe(endpoint).watchers.append(alarm)
        try:
            driver.suspend(waiter, deadline)
        finally:
            for endpoint in endpoints:
                observe(endpoint).watchers.remove(alarm)


def poll(driver: Driver, entries: list[tuple[socket, int]], timeout_ms: int) -> list[int]:
    """The bits that hold for each (socket, events); waits for any of them."""

    def held() -> list[int]:
        return [poll_bits(sock) & (events | _ALWAYS) for sock, events in entries]

    wait_for(driver, [endpoint_of(sock) for sock, _ in entries], lambda: any(held()), timeout_ms)
    return held()


@dataclass(slots=True, eq=False)
class Interest:
    """One socket in an epoll: what is wanted, and the data that comes with it."""

    sock: socket
    events: int
    data: object
    listed: bool = True
    """It is on the list of those that are looked at: an event that is wanted has come since nothing was found."""

    def changed(self, observer: Observer) -> None:
        """As `Watcher`."""
        if _shown(observer.raised) & (self.events | _ALWAYS):
            self.listed = True

    def held(self) -> int:
        """What is to be reported."""
        wanted = self.events & ~_MODES
        return poll_bits(self.sock) & (wanted | _ALWAYS) if self.listed and wanted else 0

    def report(self) -> int:
        """What is reported now: what has nothing to report, and EPOLLET, leaves the list until the next event."""
        held = self.held()
        if not held or self.events & select.EPOLLET:
            self.listed = False
        if held and self.events & select.EPOLLONESHOT:
            self.events &= _MODES
        return held


class OwnEpoll(Epoll):
    """An epoll of our own."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._interests: dict[int, Interest] = {}

    def add(self, descriptor: int, sock: stdlib.socket, events: int, data: object) -> None:
        """EPOLL_CTL_ADD.  Raises EEXIST."""
        if descriptor in self._interests:
            raise errors.error(errno.EEXIST)
        sock = _ours(sock)
        interest = self._interests[descriptor] = Interest(sock, events, data)
        observe(endpoint_of(sock)).watchers.append(interest)

    def modify(self, descriptor: int, events: int, data: object) -> None:
        """EPOLL_CTL_MOD: what holds is reported again.  Raises ENOENT."""
        interest = self._find(descriptor)
        interest.events, interest.data, interest.listed = events, data, True

    def remove(self, descriptor: int) -> None:
        """EPOLL_CTL_DEL.  Raises ENOENT."""
        interest = self._find(descriptor)
        del self._interests[descriptor]
        watchers = observe(endpoint_of(interest.sock)).watchers
        if interest in watchers:
            watchers.remove(interest)

    def forget(self, descriptor: int) -> None:
        """A socket is closed: it leaves every epoll."""
        self._interests.pop(descriptor, None)

    def _find(self, descriptor: int) -> Interest:
        try:
            return self._interests[descriptor]
        except KeyError:
            raise errors.error(errno.ENOENT) from None

    def wait(self, most: int, timeout_ms: int) -> list[tuple[int, object]]:
        """Up to `most` of (events, data) that hold; waits for the first."""
        endpoints = [endpoint_of(interest.sock) for interest in self._interests.values()]
        interests = self._interests.values()
        wait_for(self._driver, endpoints, lambda: any(interest.held() for interest in interests), timeout_ms)
        found: list[tuple[int, object]] = []
        for interest in interests:
            if len(found) < most and (held := interest.report()):
                found.append((held, interest.data))
        return found


class OwnPlatform:
    """The system that the stack's own sockets are of: a `Platform`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.epoch = driver.now()

    def open(self, family: int, kind: int, protocol: int) -> stdlib.socket:
        """As `Platform`.  Winsock's "wrong protocol for this type" is EPROTONOSUPPORT to Linux, and so to scripts."""
        try:
            made: stdlib.socket = socket(family, kind, protocol)
        except OSError as refusal:
            if refusal.errno == errno.EPROTOTYPE:
                raise errors.error(errno.EPROTONOSUPPORT) from None
            raise
        return made

    def poll(self, entries: list[tuple[stdlib.socket, int]], timeout_ms: int) -> list[int]:
        """As `Platform`."""
        return poll(self._driver, [(_ours(sock), events) for sock, events in entries], timeout_ms)

    def epoll(self) -> Epoll:
        """As `Platform`."""
        return OwnEpoll(self._driver)

    def control(self, sock: stdlib.socket, request: int) -> int:
        """As `Platform`."""
        return int(_ours(sock).ioctl(request))

    def at_urgent_data(self, sock: stdlib.socket) -> bool:
        """As `Platform`."""
        endpoint = endpoint_of(_ours(sock))
        return isinstance(endpoint, Connection) and endpoint.at_mark()

    def disconnect(self, sock: stdlib.socket) -> None:
        """As `Platform`."""
        _ours(sock).disconnect()


def _ours(sock: stdlib.socket) -> socket:
    assert isinstance(sock, socket), "the platform's sockets are ours"
    return sock

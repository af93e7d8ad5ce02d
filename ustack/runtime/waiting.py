"""Who wants to know what an endpoint's events say: blocked callers, a mirrored descriptor, selectors.

Everything here is read and written with the stack's lock held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ustack.endpoint import ERROR, HANGUP, Endpoint

if TYPE_CHECKING:
    import weakref

ALWAYS = ERROR | HANGUP
"""Readiness that ends every wait, as POLLERR and POLLHUP do."""


class Waiter:
    """One blocked caller, woken once."""

    __slots__ = ("rouse", "woken")

    def __init__(self) -> None:
        self.woken = False
        self.rouse: Callable[[], object] | None = None
        """Gets the caller out of wherever he sleeps."""

    def wake(self) -> None:
        """Something that the caller waits for may have come true."""
        if not self.woken:
            self.woken = True
            if self.rouse is not None:
                self.rouse()


class Watcher(Protocol):
    """Something that wants every event of an endpoint."""

    def changed(self, observer: Observer) -> None:
        """The endpoint's readiness may have changed."""
        ...


class Reflection(Watcher, Protocol):
    """A watcher that wants to know too when the user's own calls change the readiness."""

    def happened(self, observer: Observer, bits: int) -> None:
        """`bits` of the endpoint's readiness may have become true, or truer: more data have come."""
        ...

    def set_blocking(self, blocking: bool) -> None:
        """The socket's calls may block, or not."""
        ...

    def close(self) -> None:
        """The socket is closed."""
        ...


class Observer:
    """What stands in `Endpoint.observer`: it passes the endpoint's events on."""

    __slots__ = ("endpoint", "holders", "mirror", "raised", "sharers", "waiters", "watchers")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.waiters: list[tuple[int, Waiter]] = []
        self.watchers: list[Watcher] = []
        self.raised = 0
        """The bits of the event that is being passed on."""
        self.mirror: Reflection | None = None
        self.holders = 1
        """How many sockets have the endpoint."""
        self.sharers: weakref.WeakSet[Any] | None = None
        """Those sockets, if there were ever more than one."""

    def changed(self, bits: int) -> None:
        """`bits` of the endpoint's readiness may have become true."""
        self.raised = bits
        if self.waiters:
            self.waiters = [entry for entry in self.waiters if not _wake(entry, bits)]
        for watcher in self.watchers:
            watcher.changed(self)
        if self.mirror is not None:
            self.mirror.happened(self, bits)

    def wake_all(self) -> None:
        """End every wait: the socket was closed."""
        self.changed(ALWAYS)


def _wake(entry: tuple[int, Waiter], bits: int) -> bool:
    wanted, waiter = entry
    if not bits & (wanted | ALWAYS):
        return False
    waiter.wake()
    return True


def observe(endpoint: Endpoint) -> Observer:
    """The endpoint's observer, made if there is none."""
    observer = endpoint.observer
    if observer is None:
        observer = endpoint.observer = Observer(endpoint)
    assert isinstance(observer, Observer), "endpoints are observed by one Observer each"
    return observer

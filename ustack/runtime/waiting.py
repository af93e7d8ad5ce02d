"""Who wants to know what an endpoint's events say: blocked callers, a mirrored descriptor, selectors.

Everything here is read and written with the stack's lock held; only `Waiter.sleep` runs without it.
"""

from __future__ import annotations

import threading
from typing import Protocol

from ustack.endpoint import ERROR, HANGUP, Endpoint

ALWAYS = ERROR | HANGUP
"""Readiness that ends every wait, as POLLERR and POLLHUP do."""


class Waiter:
    """One blocked caller, woken once."""

    __slots__ = ("_lock", "woken")

    def __init__(self) -> None:
        self.woken = False
        self._lock: threading.Lock | None = None

    def wake(self) -> None:
        """Something that the caller waits for may have come true."""
        if not self.woken:
            self.woken = True
            if self._lock is not None:
                self._lock.release()

    def prepare(self) -> None:
        """Make ready for `sleep`, while the stack's lock is still held."""
        self._lock = threading.Lock()
        self._lock.acquire()

    def sleep(self, seconds: float) -> None:
        """Wait for `wake`, at most so long; −1 is for ever.  The stack's lock is not held."""
        assert self._lock is not None, "a waiter is prepared before it sleeps"
        self._lock.acquire(True, seconds)


class Watcher(Protocol):
    """Something that wants every event of an endpoint."""

    def changed(self, observer: Observer) -> None:
        """The endpoint's readiness may have changed."""
        ...


class Reflection(Watcher, Protocol):
    """A watcher that wants to know too when the user's own calls change the readiness."""

    def close(self) -> None:
        """The socket is closed."""
        ...


class Observer:
    """What stands in `Endpoint.observer`: it passes the endpoint's events on."""

    __slots__ = ("endpoint", "holders", "mirror", "waiters", "watchers")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.waiters: list[tuple[int, Waiter]] = []
        self.watchers: list[Watcher] = []
        self.mirror: Reflection | None = None
        self.holders = 1
        """Sockets that share the endpoint (dup)."""

    def changed(self, bits: int) -> None:
        """`bits` of the endpoint's readiness may have become true."""
        if self.waiters:
            self.waiters = [entry for entry in self.waiters if not _wake(entry, bits)]
        for watcher in self.watchers:
            watcher.changed(self)
        if self.mirror is not None:
            self.mirror.changed(self)

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

"""What is behind a detached descriptor: two threads that carry bytes between it and the connection.

This is the way for code that insists on a kernel socket, as `ssl.SSLContext.wrap_socket` does.  It costs two copies and
two thread switches for each piece of data: what can use the socket object itself should.
"""

from __future__ import annotations

import contextlib
import errno
import socket as stdlib
import threading
from typing import TYPE_CHECKING

from ustack import errors
from ustack.runtime.thread_driver import ThreadDriver

if TYPE_CHECKING:
    from ustack.api.readiness import Mirror
    from ustack.api.socket import socket
    from ustack.runtime.driver import Driver

_PIECE = 256 << 10


class Relay:
    """The connection (`inner`), the far end of the descriptor, and how many directions still run."""

    def __init__(self, inner: socket, far: stdlib.socket) -> None:
        self._inner = inner
        self._far = far
        self._lock = threading.Lock()
        self._running = 2

    def up(self) -> None:
        """From the descriptor to the network."""
        with contextlib.suppress(OSError):
            while data := self._far.recv(_PIECE):
                self._inner.sendall(data)
        with contextlib.suppress(OSError):
            self._inner.shutdown(stdlib.SHUT_WR)
        self._end()

    def down(self) -> None:
        """From the network to the descriptor."""
        with contextlib.suppress(OSError):
            while data := self._inner.recv(_PIECE):
                self._far.sendall(data)
        with contextlib.suppress(OSError):
            self._far.shutdown(stdlib.SHUT_WR)
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._running -= 1
            if self._running:
                return
        self._far.close()
        self._inner.close()


def check(driver: Driver) -> None:
    """Raise EOPNOTSUPP where threads may not wait in the kernel."""
    if not isinstance(driver, ThreadDriver):
        raise errors.error(errno.EOPNOTSUPP, "a kernel descriptor cannot carry data in virtual time")


def start(inner: socket, mirror: Mirror, driver: Driver) -> int:
    """Carry the data of the connection `inner` over the pair of what was its mirror; the near end's descriptor."""
    near, far = mirror.surrender()
    near.setblocking(inner.getblocking())
    far.setblocking(True)
    inner.setblocking(True)
    relay = Relay(inner, far)
    driver.spawn(relay.up)
    driver.spawn(relay.down)
    return near.detach()

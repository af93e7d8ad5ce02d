"""`Mirror`: a kernel descriptor whose readiness is that of an endpoint, for select, poll, epoll and all that use them.

It is one end of a pair of AF_UNIX stream sockets; what happens at the other, far end makes it show

    READABLE      a byte in its receive queue          (taken out again when the endpoint is not readable any more)
    not WRITABLE  its smallest send buffer is full     (the far end reads it empty)
    PRIORITY      an out-of-band byte in its queue     (Linux ≥ 5.15; shows POLLIN too)
    READ_HANGUP   the far end was shut down for sending
    HANGUP        the far end is closed; with unread data in it: ERROR too

HANGUP is for good, as it is for a TCP connection, except before a connection is opened: then the descriptor is an
AF_UNIX socket that is not connected either, which Linux shows exactly as it shows an unconnected TCP socket.
No data of the endpoint ever passes through the pair.
"""

from __future__ import annotations

import contextlib
import os
import socket as stdlib
import warnings

from ustack.endpoint import ERROR, HANGUP, PRIORITY, READ_HANGUP, READABLE, WRITABLE, Endpoint
from ustack.runtime.driver import Driver
from ustack.runtime.waiting import Observer, observe

_BYTE = b"\0"
_FILLER = bytes(256)
"""Over a quarter of the smallest send buffer with its overhead: enough for Linux to call it full."""


_mirrored: dict[int, tuple[Driver, Observer]] = {}
"""What stands behind each descriptor that polls as a socket."""


class Mirror:
    """The pair.  All methods are called with the stack's lock held."""

    __slots__ = ("_far", "_near", "_number", "_shown", "detached")

    def __init__(self, bits: int) -> None:
        self._far: stdlib.socket | None = None
        self.detached = False
        """The descriptor's number is the user's: it is the only hold on the endpoint."""
        if _unopened(bits):
            self._near = _blocking(stdlib.socket(stdlib.AF_UNIX, stdlib.SOCK_STREAM))
            self._shown = bits
        else:
            self._near, self._far = map(_blocking, stdlib.socketpair())
            self._shown = WRITABLE
        self._number = self._near.fileno()
        self._near.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_SNDBUF, 1)
        self.show(bits)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._number

    def set_blocking(self, blocking: bool) -> None:
        """Let the descriptor's own flag say whether the socket blocks."""
        os.set_blocking(self._near.fileno(), blocking)

    def changed(self, observer: Observer) -> None:
        """Show the endpoint's readiness as it is now; in vain if somebody has closed the descriptor behind our back."""
        with contextlib.suppress(OSError):
            self.show(observer.endpoint.readiness())

    def happened(self, observer: Observer, bits: int) -> None:
        """An event: as `changed`; more data are a new edge for who waits for edges (EPOLLET)."""
        before = self._shown
        self.changed(observer)
        if bits & before & self._shown & READABLE and self._far is not None and not before & (READ_HANGUP | HANGUP):
            with contextlib.suppress(OSError):
                self._far.send(_BYTE, stdlib.MSG_DONTWAIT)

    def show(self, bits: int) -> None:
        """Make the descriptor show `bits`."""
        if bits & ERROR and not bits & HANGUP:
            bits = (bits | READABLE) & ~ERROR
        if bits & PRIORITY:
            bits |= READABLE
        if bits == self._shown:
            return
        if self._far is None:
            if _unopened(bits):
                self._shown = bits
                return
            self._far = self._join()
            self._shown = WRITABLE
        if self._shown & HANGUP:
            self._near.getsockopt(stdlib.SOL_SOCKET, stdlib.SO_ERROR)
        elif bits & HANGUP:
            self._hang_up(self._far, bits)
        else:
            self._change(self._far, bits, bits ^ self._shown)
        self._shown = bits

    def renew(self, bits: int) -> None:
        """Show another endpoint under the same descriptor: HANGUP is taken back.  An epoll must register it anew."""
        other = Mirror(bits)
        os.dup2(other.fileno(), self._near.fileno(), inheritable=False)
        if self._number != self._near.fileno():
            os.dup2(other.fileno(), self._number, inheritable=False)
        other._near.close()
        if self._far is not None:
            self._far.close()
        self._far, self._shown = other._far, other._shown

    def surrender(self) -> tuple[stdlib.socket, stdlib.socket]:
        """End the mirroring; under the same number, the near end of a new pair, and its far end."""
        near, far = stdlib.socketpair()
        os.dup2(near.fileno(), self._number, inheritable=False)
        near.close()
        if self._number == self._near.fileno():
            self._near.detach()
        else:
            self.detached = True
        self.close()
        return stdlib.socket(fileno=self._number), far

    def let_go(self) -> int:
        """Leave the descriptor's number to the user, and keep another for ourselves."""
        if self._number == self._near.fileno():
            self._near = _blocking(stdlib.socket(fileno=os.dup(self._near.detach())))
        self.detached = True
        return self._number

    def close(self) -> None:
        """Close both ends."""
        _mirrored.pop(self._number, None)
        if self._number != self._near.fileno() >= 0 and not self.detached:
            os.close(self._number)
        if self._far is not None and self._shown & (WRITABLE | HANGUP) == WRITABLE:
            _complain(self._far)
        self._near.close()
        if self._far is not None:
            self._far.close()

    def _join(self) -> stdlib.socket:
        """Connect the near end, which may be polled already, to a new far end."""
        with stdlib.socket(stdlib.AF_UNIX, stdlib.SOCK_STREAM) as listener:
            listener.bind("")
            listener.listen(1)
            self._near.connect(listener.getsockname())
            return _blocking(listener.accept()[0])

    def _change(self, far: stdlib.socket, bits: int, changes: int) -> None:
        """Show anything but HANGUP."""
        if changes & WRITABLE:
            if bits & WRITABLE:
                _drain(far)
            else:
                self._near.send(_FILLER, stdlib.MSG_DONTWAIT)
        if changes & self._shown & PRIORITY:
            self._empty()
            changes |= bits & READABLE
        if self._shown & READ_HANGUP:
            return
        if changes & READABLE:
            if bits & READABLE:
                far.send(_BYTE, stdlib.MSG_DONTWAIT)
            else:
                _drain(self._near)
        if changes & bits & PRIORITY:
            far.send(_BYTE, stdlib.MSG_OOB | stdlib.MSG_DONTWAIT)
        if changes & bits & READ_HANGUP:
            far.shutdown(stdlib.SHUT_WR)

    def _hang_up(self, far: stdlib.socket, bits: int) -> None:
        """Show HANGUP, with ERROR if unread data is left at the far end."""
        if self._shown & PRIORITY & ~bits:
            self._empty()
        if self._shown & WRITABLE:
            _complain(far)
        _drain(far)
        if bits & ERROR:
            self._near.send(_BYTE, stdlib.MSG_DONTWAIT)
        far.close()

    def _empty(self) -> None:
        """Take everything out of the near end's queue."""
        with contextlib.suppress(OSError):
            self._near.recv(1, stdlib.MSG_OOB | stdlib.MSG_DONTWAIT)
        _drain(self._near)


def _blocking(end: stdlib.socket) -> stdlib.socket:
    """Without the time-out that setdefaulttimeout() may have given it."""
    end.settimeout(None)
    return end


def _unopened(bits: int) -> bool:
    """Whether these are the bits of a TCP connection that was never opened: OUT and HUP, not even IN."""
    return bits & (HANGUP | READABLE | READ_HANGUP) == HANGUP


def _complain(far: stdlib.socket) -> None:
    """Warn if somebody has written to the descriptor, as `os.write` and `os.sendfile` do."""
    with contextlib.suppress(OSError):
        if far.recv(1, stdlib.MSG_DONTWAIT):
            warnings.warn(
                "bytes were written to the descriptor of a socket: they are lost", RuntimeWarning, stacklevel=2
            )


def _drain(end: stdlib.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while end.recv(4096, stdlib.MSG_DONTWAIT):
            pass


def owner_of(descriptor: int) -> tuple[Driver, Observer] | None:
    """What stands behind a descriptor that `Mirror.fileno` gave."""
    return _mirrored.get(descriptor)


def renew(observer: Observer) -> None:
    """The observer has another endpoint now."""
    if isinstance(observer.mirror, Mirror):
        observer.mirror.renew(observer.endpoint.readiness())


def mirror_of(endpoint: Endpoint, driver: Driver) -> Mirror:
    """The endpoint's mirror, made if there is none.  The lock is held."""
    observer = observe(endpoint)
    mirror = observer.mirror
    if mirror is None:
        mirror = observer.mirror = Mirror(endpoint.readiness())
        _mirrored[mirror.fileno()] = driver, observer
        driver.attend(+1)
    assert isinstance(mirror, Mirror), "observers are mirrored by one class"
    return mirror

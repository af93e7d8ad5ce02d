"""The part of a socket that carries data, and how its calls block.

Everything that an application calls often is here, and written for few steps: take the lock, look whether the call
would block, make it, flush.  A call that must wait gives the lock away in `Driver.block` and looks again afterwards.
"""

from __future__ import annotations

import errno
import functools
import operator
import socket as stdlib
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from ustack import errors
from ustack.api import addresses
from ustack.api.addresses import PythonAddress
from ustack.api.options import is_listener
from ustack.constants import (
    MSG_CONTINUED,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_FASTOPEN,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    MSG_ZEROCOPY,
    SOCK_STREAM,
)
from ustack.endpoint import ERROR, HANGUP, PRIORITY, READ_HANGUP, READABLE, WRITABLE, Address, ControlMessage, Endpoint
from ustack.runtime.clock import after
from ustack.runtime.driver import SCRATCH_BYTES, Driver

P = ParamSpec("P")
T = TypeVar("T")

_RECEIVABLE = READABLE | ERROR | HANGUP
UNCOUNTED = -1
"""No deadline was computed yet."""


class TransferSocket(stdlib.socket):
    """A socket that can send and receive.

    The base class's C part never gets a descriptor (it stays −1): a method of it that were not overridden would give
    EBADF, and could not touch anything of the kernel's.
    """

    __slots__ = ("_driver", "_endpoint", "_timeout")

    _driver: Driver
    _endpoint: Endpoint | None
    """None once closed or detached."""
    _timeout: float | None

    def wait(self, bits: int, timeout: float | None) -> bool:
        """Block until the socket has one of the readiness bits of `ustack.endpoint`; False after `timeout` seconds."""
        driver = self._driver
        return driver.wait(self._opened(), bits, after(driver.now(), timeout))

    # Blocking, with the lock held.

    def _opened(self) -> Endpoint:
        """The endpoint.  Raises EBADF if the socket is closed, ENETDOWN if the stack has stopped."""
        endpoint = self._endpoint
        if endpoint is None:
            raise errors.error(errno.EBADF)
        if self._driver.stopped:
            raise errors.error(errno.ENETDOWN)
        return endpoint

    def _block(self, bits: int, flags: int, deadline: int | None) -> int | None:
        """Wait for `bits`; the deadline of the whole call, which is computed at the first wait.

        Raises BlockingIOError if the call must not wait (or SO_RCVTIMEO, SO_SNDTIMEO say so), TimeoutError at the
        deadline of settimeout().
        """
        endpoint = self._opened()
        timeout = self._timeout
        if timeout == 0 or flags & MSG_DONTWAIT:
            raise errors.error(errno.EAGAIN)
        driver = self._driver
        if deadline == UNCOUNTED:
            if timeout is None:
                options = endpoint.options
                limit = options.send_timeout_ns if bits & WRITABLE else options.receive_timeout_ns
                deadline = driver.now() + limit if limit else None
            else:
                deadline = after(driver.now(), timeout)
        if not driver.block(endpoint, bits, deadline):
            if timeout is None:
                raise errors.error(errno.EAGAIN)
            raise TimeoutError("timed out")
        return deadline

    def _finish(self, endpoint: Endpoint, now: int) -> None:
        """After a call into the stack: carry out what follows, and mirror what it changed."""
        self._driver.flush(now)
        observer = endpoint.observer
        if observer is not None and observer.mirror is not None:
            observer.mirror.changed(observer)

    def _call(self, endpoint: Endpoint, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call of the endpoint that never waits."""
        try:
            return function(*args, **kwargs)
        finally:
            self._finish(endpoint, self._driver.now())

    # Receiving, with the lock held.

    def _take(self, buffer: memoryview, flags: int) -> tuple[int, Address | None, int]:
        """Receive into a buffer: (count, source, MSG_ flags).

        With a time-out it waits for readiness first, as CPython does; without, flags may make the call fail at once.
        """
        driver = self._driver
        wanted = _RECEIVABLE if not flags & MSG_OOB else _RECEIVABLE | PRIORITY
        deadline: int | None = UNCOUNTED
        while True:
            endpoint = self._opened()
            if self._is_ready(endpoint, wanted, len(buffer), flags):
                now = driver.now()
                try:
                    return endpoint.receive_into(buffer, flags, now)
                except BlockingIOError:
                    if flags & (MSG_OOB | MSG_ERRQUEUE) and not self._timeout:
                        raise
                finally:
                    self._finish(endpoint, now)
            deadline = self._block(wanted, flags, deadline)

    def _is_ready(self, endpoint: Endpoint, wanted: int, size: int, flags: int) -> bool:
        """Whether the endpoint is asked now.  MSG_PEEK with MSG_WAITALL waits for as much as it wants to see."""
        bits = endpoint.readiness() & (wanted | READ_HANGUP)
        if flags & (MSG_PEEK | MSG_WAITALL) == MSG_PEEK | MSG_WAITALL and bits == READABLE and self._timeout != 0:
            return endpoint.kind != SOCK_STREAM or endpoint.readable() >= size
        return bool(bits & wanted) or (not self._timeout and self._asks_anyhow(endpoint, size, flags))

    def _asks_anyhow(self, endpoint: Endpoint, size: int, flags: int) -> bool:
        """Whether the endpoint is asked though it is not readable; reading passes an urgent mark.

        SO_RCVLOWAT keeps only waiting calls from data.
        """
        if flags or is_listener(endpoint) or endpoint.at_mark():
            return True
        if endpoint.options.receive_low_water == 1:
            return False
        return self._timeout == 0 or 0 < size <= endpoint.readable()

    def _take_all(self, buffer: memoryview, flags: int) -> int:
        """Fill a stream's buffer (MSG_WAITALL); less at an urgent mark, at the end, on an error after some bytes."""
        count = 0
        while count < len(buffer):
            try:
                taken = self._take(buffer[count:], flags & ~MSG_WAITALL)[0]
            except OSError as problem:
                if not count:
                    raise
                _keep_error(self._opened(), problem)
                break
            if not taken:
                break
            count += taken
            if self._opened().at_mark():
                break
        return count

    def _fills(self, flags: int) -> bool:
        """Whether the call wants all it asked for."""
        if not flags & MSG_WAITALL or flags & MSG_PEEK:
            return False
        return self._opened().kind == SOCK_STREAM

    # Receiving.

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """At most `bufsize` bytes; none at the end of a stream."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if not bufsize:
            return b""  # as CPython: the socket is not asked
        driver = self._driver
        with driver.lock:
            if flags and self._fills(flags):
                buffer = memoryview(bytearray(bufsize))
                return bytes(buffer[: self._take_all(buffer, flags)])
            buffer = driver.scratch[:bufsize]
            count = self._take(buffer, flags & ~MSG_TRUNC)[0]
            return bytes(buffer[:count])

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a writable buffer; how many bytes."""
        view = _writable(buffer, nbytes, "recv_into")
        if not len(view):
            return 0
        with self._driver.lock:
            if flags and self._fills(flags):
                return self._take_all(view, flags)
            return self._take(view, flags)[0]

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """At most `bufsize` bytes and where they came from."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        driver = self._driver
        with driver.lock:
            buffer = driver.scratch[:bufsize]
            count, source, _ = self._take(buffer, flags & ~MSG_TRUNC)
            return bytes(buffer[:count]), self._present(source)

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a writable buffer; how many bytes, and where they came from."""
        view = _writable(buffer, nbytes, "recvfrom_into")
        with self._driver.lock:
            count, source, _ = self._take(view, flags)
            return count, self._present(source)

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """A datagram or bytes, the control messages, MSG_ flags, and where they came from."""
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        buffer = memoryview(bytearray(min(bufsize, SCRATCH_BYTES)))
        count, ancillary, message_flags, address = self.recvmsg_into([buffer], ancbufsize, flags)
        return bytes(buffer[:count]), ancillary, message_flags, address

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[Any], int, Any]:
        """The same into several buffers, one after the other."""
        if ancbufsize < 0:
            raise ValueError("invalid ancillary data buffer length")
        views = [_writable(buffer, 0, "recvmsg_into") for buffer in buffers]
        with self._driver.lock:
            joined = views[0] if len(views) == 1 else memoryview(bytearray(sum(map(len, views))))
            if len(joined) and self._fills(flags):
                count, source, message_flags = self._take_all(joined, flags), None, 0
            else:
                count, source, message_flags = self._take(joined, flags)
            ancillary, cut = _fit(self._opened().ancillary(), ancbufsize)
            if len(views) != 1:
                _scatter(joined[:count], views)
            return count, ancillary, message_flags | cut, self._present(source)

    def _present(self, source: Address | None) -> PythonAddress | None:
        return None if source is None else addresses.present(self._opened().family, *source)

    # Sending, with the lock held.

    def _give(
        self,
        data: Any,
        flags: int,
        destination: Address | None,
        deadline: int | None,
        send: Callable[[int, Address | None, int], int] | None = None,
    ) -> tuple[int, int | None]:
        """Send what the endpoint takes at once, waiting until it takes any: (count, the call's deadline).

        `send` is how, if not by `Endpoint.send` of `data`.
        """
        driver = self._driver
        while True:
            endpoint = self._opened()
            now = driver.now()
            continued = MSG_CONTINUED if self._timeout is None and not flags & MSG_DONTWAIT else 0
            try:
                if send is not None:
                    return send(flags | continued, destination, now), deadline
                return endpoint.send(data, flags | continued, destination, now), deadline
            except BlockingIOError as pending:
                if pending.errno != errno.EAGAIN and (self._timeout == 0 or flags & MSG_DONTWAIT):
                    raise
            finally:
                self._finish(endpoint, now)
            deadline = self._block_sender(endpoint, flags, deadline)

    def _block_sender(self, endpoint: Endpoint, flags: int, deadline: int | None) -> int | None:
        """As `_block`, with more to send."""
        endpoint.write_pending += 1
        try:
            return self._block(WRITABLE, flags, deadline)
        finally:
            endpoint.write_pending -= 1

    def _await_open(self, endpoint: Endpoint, flags: int, deadline: int | None, more: bool) -> int | None:
        """The data have left on a SYN: they count as sent only if the connection comes about.  RFC 7413 §4.2.1."""
        while endpoint.is_opening():
            deadline = self._block_sender(endpoint, flags, deadline) if more else self._block(WRITABLE, flags, deadline)
        endpoint.raise_pending_error()
        return deadline

    def _give_all(self, data: Any, flags: int, destination: Address | None = None) -> int:
        """Send all of a stream's data; how many bytes were taken when an error or a time-out came after some."""
        count, deadline = self._give(data, flags, destination, UNCOUNTED)
        size = len(data)
        if self._opened().is_opening():
            deadline = self._await_open(self._opened(), flags, deadline, count < size)
        flags &= ~MSG_FASTOPEN
        if count < size:
            view = memoryview(data)
            while count < size:
                endpoint = self._opened()
                try:
                    taken, deadline = self._give(view[count:], flags, None, deadline)
                except OSError as problem:
                    _keep_error(endpoint, problem)
                    break
                count += taken
        return count

    # Sending.

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send bytes; how many were taken.  A blocking stream socket without time-out takes all, as Linux does."""
        if type(data) is not bytes:
            data = _readable(data)
        with self._driver.lock:
            if self._timeout is None and self._opened().kind == SOCK_STREAM and not flags & MSG_DONTWAIT:
                return self._give_all(data, flags)
            return self._give(data, flags, None, UNCOUNTED)[0]

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all; the time-out is for the whole call."""
        if type(data) is not bytes:
            data = _readable(data)
        size = len(data)
        with self._driver.lock:
            count, deadline = self._give(data, flags, None, UNCOUNTED)
            if count < size:
                view = memoryview(data)
                while count < size:
                    if deadline == UNCOUNTED and self._timeout:
                        deadline = after(self._driver.now(), self._timeout)
                    taken, deadline = self._give(view[count:], flags, None, deadline)
                    count += taken

    def sendto(self, data: Any, *arguments: Any) -> int:
        """`sendto(data, address)` or `sendto(data, flags, address)`."""
        if not 1 <= len(arguments) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(arguments)} given)")
        if type(data) is not bytes:
            data = _readable(data)
        flags = arguments[0] if len(arguments) == 2 else 0
        if not isinstance(flags, int):
            raise TypeError(f"'{type(flags).__name__}' object cannot be interpreted as an integer")
        endpoint = self._opened()
        destination = addresses.parse(endpoint.family, arguments[-1], "sendto")
        with self._driver.lock:
            if self._timeout is None and endpoint.kind == SOCK_STREAM and not flags & MSG_DONTWAIT:
                return self._give_all(data, flags, destination)
            return self._give(data, flags, destination, UNCOUNTED)[0]

    def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None, /
    ) -> int:
        """Send buffers as one datagram, or one after the other.  Raises EINVAL for control messages without meaning."""
        control = [_control_message(item) for item in ancdata]
        views = [_readable(buffer) for buffer in buffers]
        if control or flags & MSG_ZEROCOPY:
            return self._send_message(views, control, flags, address)
        data = views[0] if len(views) == 1 else b"".join(views)
        return self.send(data, flags) if address is None else self.sendto(data, flags, address)

    def _send_message(self, views: list[memoryview], control: list[ControlMessage], flags: int, address: Any) -> int:
        """Send buffers that the endpoint has to see one by one."""
        endpoint = self._opened()
        destination = None if address is None else addresses.parse(endpoint.family, address, "sendmsg")
        waits = self._timeout is None and endpoint.kind == SOCK_STREAM and not flags & MSG_DONTWAIT
        size, count = sum(map(len, views)), 0
        with self._driver.lock:
            while True:
                send = functools.partial(endpoint.send_message, _after(views, count), control)
                try:
                    taken, _ = self._give(None, flags, destination, UNCOUNTED, send)
                except OSError as problem:
                    if not count:
                        raise
                    _keep_error(endpoint, problem)
                    return count
                count += taken
                if count >= size or not waits:
                    return count


def _after(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of buffers after `count` bytes."""
    rest = []
    for view in views:
        rest.append(view[count:])
        count = max(count - len(view), 0)
    return rest


def _keep_error(endpoint: Endpoint, problem: OSError) -> None:
    """Leave an error that came after some bytes had been sent or received for the next call, as Linux does."""
    if problem.errno not in (None, errno.EAGAIN, errno.EPIPE, errno.EBADF, errno.ENETDOWN):
        endpoint.error = problem.errno


def _readable(data: Any) -> memoryview:
    """The bytes of any contiguous object.  Raises TypeError."""
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _control_message(item: Any) -> ControlMessage:
    """Raises TypeError for what is no (level, type, data)."""
    if not isinstance(item, tuple) or len(item) != 3:
        raise TypeError("[sendmsg() ancillary data items] must be (level, type, data)")
    return operator.index(item[0]), operator.index(item[1]), bytes(_readable(item[2]))


def _writable(buffer: Any, size: int, caller: str) -> memoryview:
    """The first `size` bytes (0: all) of a writable object.  Raises TypeError, ValueError."""
    view = _readable(buffer)
    if view.readonly:
        raise TypeError(f"{caller}() argument 1 must be read-write bytes-like object, not {type(buffer).__name__}")
    if size < 0:
        raise ValueError(f"negative buffersize in {caller}")
    if size > len(view):
        raise ValueError("buffer too small for requested bytes")
    return view[:size] if size else view


def _scatter(data: memoryview, views: list[memoryview]) -> None:
    """Lay data into several buffers."""
    offset = 0
    for view in views:
        part = data[offset : offset + len(view)]
        view[: len(part)] = part
        offset += len(part)


def _fit(messages: list[tuple[int, int, bytes]], size: int) -> tuple[list[tuple[int, int, bytes]], int]:
    """The control messages that fit a buffer of `size` bytes, and MSG_CTRUNC if some do not."""
    fitting: list[tuple[int, int, bytes]] = []
    for message in messages:
        size -= stdlib.CMSG_SPACE(len(message[2]))
        if size < 0:
            return fitting, int(stdlib.MSG_CTRUNC)
        fitting.append(message)
    return fitting, 0

"""The class `socket`: Python's own interface, with Python's errors, for the INET families on a ustack driver.

It subclasses Python's `socket.socket`, so `isinstance`, `selectors`, `asyncio` and `socketserver` take it.  No kernel
socket of the INET families is ever made.  `fileno()` gives a descriptor that is good for polling only, made on the
first call (`readiness.Mirror`); `detach()` gives one that carries the data (`relay`).  Other families go to the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import socket as stdlib
import warnings
import weakref
from functools import lru_cache
from typing import Any, overload

from ustack import errors
from ustack.api import addresses, options, relay
from ustack.api.addresses import PythonAddress
from ustack.api.readiness import mirror_of, owner_of, renew
from ustack.api.transfer import UNCOUNTED, TransferSocket
from ustack.endpoint import HANGUP, READ_HANGUP, READABLE, WRITABLE, Address, Endpoint
from ustack.runtime.current import current_driver
from ustack.runtime.driver import Driver
from ustack.runtime.waiting import Observer, observe
from ustack.tcp.connection import Connection

_OURS = frozenset((-1, stdlib.AF_UNSPEC, stdlib.AF_INET, stdlib.AF_INET6))
_TYPE_FLAGS = stdlib.SOCK_NONBLOCK | stdlib.SOCK_CLOEXEC
_BACKLOG = 128
_SECONDS_MAX = 1 << 33
_LINGER_LOOK_NS = 10_000_000
"""How often a lingering close() looks whether all is acknowledged."""
_ENDED = READABLE | HANGUP
FIONREAD, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK = 0x541B, 0x5411, 0x894B, 0x8905
_CONNECTING = (errno.EINPROGRESS, errno.EALREADY)


@lru_cache(maxsize=256)
def _shape(family: int, kind: int, protocol: int) -> tuple[int, int, int]:
    """One tuple for all sockets of a kind: there may be many sockets."""
    return family, kind, protocol


class socket(TransferSocket):
    """A socket of the driver that is current when it is made."""

    __slots__ = ("_bound", "_connecting", "_shape")

    _bound: Address | None
    """What bind() was given."""
    _connecting: bool
    """A connect() has returned before its end."""
    _shape: tuple[int, int, int]
    _io_refs: int
    _closed: bool

    def __new__(cls, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> Any:
        """A socket of ours, or the kernel's for another family or an existing descriptor."""
        if cls is socket and fileno is not None:
            return cls._from_descriptor(fileno) or stdlib.socket(family, type, proto, fileno)
        if cls is socket and family not in _OURS:
            return stdlib.socket(family, type, proto)
        return super().__new__(cls)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if fileno is not None and getattr(self, "_endpoint", None) is not None:
            return  # made by _from_descriptor
        if fileno is not None or family not in _OURS:
            raise errors.error(errno.EAFNOSUPPORT)
        family = int(stdlib.AF_INET) if family == -1 else operator.index(family)
        type = int(stdlib.SOCK_STREAM) if type == -1 else operator.index(type)
        protocol = 0 if proto == -1 else operator.index(proto)
        driver = current_driver()
        if driver.stopped:
            raise errors.error(errno.ENETDOWN)
        with driver.lock:
            endpoint = driver.stack.open(family, type & ~_TYPE_FLAGS if type > 0 else type, protocol)
        self._adopt(driver, endpoint, protocol)
        if type > 0 and type & stdlib.SOCK_NONBLOCK:
            self._timeout = 0.0

    @classmethod
    def _of(cls, driver: Driver, endpoint: Endpoint, protocol: int = 0) -> socket:
        """A socket around an endpoint that is there already."""
        made: socket = stdlib.socket.__new__(cls)
        made._adopt(driver, endpoint, protocol)
        return made

    @classmethod
    def _from_descriptor(cls, descriptor: int) -> socket | None:
        """Another socket of the connection whose `fileno()` this is; None if it is none of ours."""
        owner = owner_of(descriptor)
        if owner is None:
            return None
        driver, observer = owner
        with driver.lock:
            made = cls._of(driver, observer.endpoint, observer.endpoint.protocol)
            mirror = mirror_of(observer.endpoint, driver)
            if mirror.detached:
                mirror.detached = False
            else:
                observer.holders += 1
                _share(observer, made)
        return made

    def _adopt(self, driver: Driver, endpoint: Endpoint, protocol: int) -> None:
        self._io_refs = 0
        self._closed = False
        self._bound = None
        self._connecting = False
        self._driver = driver
        self._endpoint = endpoint
        self._shape = _shape(endpoint.family, endpoint.kind, protocol)
        self._timeout = stdlib.getdefaulttimeout()

    def __del__(self) -> None:
        endpoint = getattr(self, "_endpoint", None)
        if endpoint is not None and not self._driver.stopped:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
            self._driver.abandon(endpoint)

    def __repr__(self) -> str:
        endpoint = self._endpoint
        state = " [closed]" if endpoint is None else ""
        name = f"{self.__class__.__module__}.{self.__class__.__qualname__}"
        mirrored = endpoint is not None and endpoint.observer is not None and endpoint.observer.mirror is not None
        text = f"<{name}{state} fd={self.fileno() if mirrored else -1}"
        text += f", family={self.family}, type={self.type}, proto={self.proto}"
        if endpoint is not None:
            text += f", laddr={addresses.local(endpoint)}"
            if endpoint.remote_port:
                text += f", raddr={addresses.remote(endpoint)}"
        return text + ">"

    # What it is.

    @property
    def family(self) -> stdlib.AddressFamily:
        """AF_INET or AF_INET6."""
        return stdlib.AddressFamily(self._shape[0])

    @property
    def type(self) -> stdlib.SocketKind:
        """SOCK_STREAM, SOCK_DGRAM or SOCK_RAW."""
        return stdlib.SocketKind(self._shape[1])

    @property
    def proto(self) -> int:
        """The protocol number that was asked for: 0 was left to the stack (SO_PROTOCOL has what it chose)."""
        return self._shape[2]

    def getsockname(self) -> PythonAddress:
        """The local address."""
        return addresses.local(self._opened())

    def getpeername(self) -> PythonAddress:
        """The remote address.  Raises ENOTCONN."""
        return addresses.remote(self._opened())

    # Time-outs.

    @property
    def timeout(self) -> float | None:
        """Seconds; None blocks for ever, 0.0 never."""
        return self._timeout

    def gettimeout(self) -> float | None:
        """As `timeout`."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Limit how long a call may block.  Raises ValueError, TypeError."""
        self._timeout = None if value is None else _seconds(value)
        self._mirror_blocking()

    def setblocking(self, flag: bool) -> None:
        """settimeout(None) or settimeout(0.0)."""
        self._timeout = None if flag else 0.0
        self._mirror_blocking()

    def _mirror_blocking(self) -> None:
        endpoint = self._endpoint
        if endpoint is not None and endpoint.observer is not None and endpoint.observer.mirror is not None:
            endpoint.observer.mirror.set_blocking(self._timeout is None)

    def getblocking(self) -> bool:
        """Whether calls may block at all."""
        return self._timeout != 0

    # Connections.

    def bind(self, address: Any, /) -> None:
        """Set the local address; port 0 is any free one."""
        local = addresses.parse(self._opened().family, address, "bind")
        with self._driver.lock:
            endpoint = self._opened()
            addresses.check_mode(endpoint, local[0], errno.EINVAL)
            self._call(endpoint, endpoint.bind, *local)
            self._bound = local

    def listen(self, backlog: int = _BACKLOG, /) -> None:
        """Accept connections; up to `backlog` wait for accept()."""
        with self._driver.lock:
            endpoint = self._opened()
            listener = self._call(endpoint, endpoint.listen, max(0, _c_int(backlog)))
            if listener is not endpoint:
                self._replace(endpoint, listener)

    def _replace(self, endpoint: Endpoint, listener: Endpoint) -> None:
        """A listener has taken the endpoint's place."""
        observer = endpoint.observer
        if observer is not None:
            self._move(observer, endpoint, listener)
            observer.changed(0)
        self._endpoint = listener

    def _move(self, observer: Observer, before: Endpoint, after: Endpoint) -> None:
        """Let an observer, and all sockets that share it, have another endpoint."""
        before.observer, after.observer = None, observer
        observer.endpoint = after
        for sharer in observer.sharers or ():
            sharer._endpoint = after  # noqa: SLF001  # its own class

    def accept(self) -> tuple[socket, PythonAddress]:
        """The next connection as a new socket, and its remote address."""
        with self._driver.lock:
            endpoint = self._accept()
        accepted = socket._of(self._driver, endpoint, self.proto)
        return accepted, addresses.remote(endpoint)

    def _accept(self) -> Endpoint:
        deadline: int | None = UNCOUNTED
        while True:
            endpoint = self._opened()
            try:
                return self._call(endpoint, endpoint.accept)
            except BlockingIOError:
                pass
            deadline = self._block(READABLE, 0, deadline)

    def connect(self, address: Any, /) -> None:
        """Connect to a remote address; waits for the end of a TCP handshake."""
        remote = addresses.parse(self._opened().family, address, "connect")
        with self._driver.lock:
            self._connect(remote)

    def connect_ex(self, address: Any, /) -> int:
        """The same, but errors of the network are returned as their errno; 0 is success."""
        remote = addresses.parse(self._opened().family, address, "connect_ex")
        try:
            with self._driver.lock:
                self._connect(remote)
        except OSError as problem:
            return problem.errno or errno.EAGAIN
        return 0

    def _connect(self, remote: Address) -> None:
        endpoint = self._opened()
        addresses.check_mode(endpoint, remote[0], errno.ENETUNREACH)
        try:
            self._call(endpoint, endpoint.connect, *remote, self._driver.now())
            return
        except BlockingIOError as pending:
            if pending.errno not in _CONNECTING:
                raise
            self._connecting = self._timeout is not None
            if self._timeout == 0:
                raise
        except OSError as problem:
            # Linux: the first connect() after a handshake in the background has succeeded says so.
            if problem.errno != errno.EISCONN or not self._connecting:
                self._renew(endpoint)
                raise
            self._connecting = False
            return
        self._await_connection(endpoint)

    def _await_connection(self, endpoint: Endpoint) -> None:
        deadline: int | None = UNCOUNTED
        while not endpoint.readiness() & (WRITABLE | HANGUP):
            try:
                deadline = self._block(WRITABLE, 0, deadline)
            except BlockingIOError:  # SO_SNDTIMEO
                raise errors.error(errno.EINPROGRESS) from None
            endpoint = self._opened()
        number = endpoint.take_error() or (errno.ECONNABORTED if endpoint.readiness() & HANGUP else 0)
        if number:
            self._renew(endpoint)
            raise errors.error(number)

    def _renew(self, endpoint: Endpoint) -> None:
        """Take a new endpoint after a connect() that failed: Linux's socket is as new then, ours is used up."""
        if endpoint.kind != stdlib.SOCK_STREAM or endpoint.readiness() & _ENDED != _ENDED:
            return
        driver = self._driver
        fresh = driver.stack.open(*self._shape)
        fresh.options = endpoint.options
        observer = endpoint.observer
        if observer is not None:
            self._move(observer, endpoint, fresh)
        self._call(endpoint, endpoint.close, driver.now())
        if self._bound is not None:
            self._call(fresh, fresh.bind, *self._bound)
        self._endpoint = fresh
        self._connecting = False
        if observer is not None:
            renew(observer)

    def disconnect(self) -> None:
        """Give up the connection and be as new: what connect() to AF_UNSPEC does in C.  An open one is reset."""
        with self._driver.lock:
            endpoint = self._opened()
            observer = endpoint.observer
            if isinstance(endpoint, Connection) and endpoint.opened:
                self._call(endpoint, endpoint.abort, self._driver.now())
                endpoint.observer = observer
                self._renew(endpoint)

    def shutdown(self, how: int, /) -> None:
        """Close one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR."""
        how = _c_int(how)
        if how not in (stdlib.SHUT_RD, stdlib.SHUT_WR, stdlib.SHUT_RDWR):
            raise errors.error(errno.EINVAL)
        with self._driver.lock:
            endpoint = self._opened()
            self._call(endpoint, endpoint.shutdown, how, self._driver.now())

    # Options.

    @overload
    def getsockopt(self, level: int, optname: int, /) -> int: ...
    @overload
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...
    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """An option's value: an int, or with `buflen` at most so many bytes."""
        if not 0 <= buflen <= 1024:
            raise OSError("getsockopt buflen out of range")
        with self._driver.lock:
            endpoint = self._opened()
            value = self._call(endpoint, options.get, options.Target(endpoint, self._driver), level, optname)
        return value[:buflen] if buflen else options.decode(value)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None, /) -> None:
        """Set an option from an int or from the bytes of its C type."""
        if (value is None) != (optlen is not None):
            raise TypeError("setsockopt() takes a value, or None and a length")
        if value is None:
            raise errors.error(errno.EFAULT)
        encoded = options.encode(value)
        with self._driver.lock:
            endpoint = self._opened()
            self._call(endpoint, options.put, options.Target(endpoint, self._driver), level, optname, encoded)

    def ioctl(self, request: int, /) -> int:
        """What the request to the kernel of this name tells: FIONREAD (SIOCINQ), SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK.

        Raises EINVAL where the kind of socket has none, ENOTTY for other requests.
        """
        with self._driver.lock:
            endpoint = self._opened()
            if request == FIONREAD:
                return endpoint.readable()
            if request == SIOCATMARK:
                return int(endpoint.at_mark())
            if request not in (SIOCOUTQ, SIOCOUTQNSD):
                raise errors.error(errno.ENOTTY)
            if options.is_listener(endpoint):
                raise errors.error(errno.EINVAL)
            return endpoint.unacknowledged() if request == SIOCOUTQ else endpoint.unsent()

    # The descriptor, and the end.

    def fileno(self) -> int:
        """A descriptor that polls as this socket does, −1 once closed.  Reading or writing it does nothing useful."""
        with self._driver.lock:
            endpoint = self._endpoint
            if endpoint is None:
                return -1
            mirror = mirror_of(endpoint, self._driver)
            mirror.set_blocking(self._timeout is None)
            return mirror.fileno()

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Python's `sendfile` then reads and sends: the kernel cannot do it for us."""
        raise stdlib._GiveupOnSendfile("not a kernel socket")  # type: ignore[attr-defined]  # noqa: SLF001

    def dup(self) -> socket:
        """A second socket of the same connection: the last one to close closes it."""
        with self._driver.lock:
            observer = observe(self._opened())
            observer.holders += 1
            twin = self._of(self._driver, observer.endpoint, self.proto)
            _share(observer, self, twin)
        twin.settimeout(self._timeout)
        return twin

    def detach(self) -> int:
        """Close the socket object and give its descriptor away.

        That of a connected stream carries the connection's data from now on (`relay`).  Any other is good for
        `socket(fileno=…)` and polling; until then it keeps the endpoint open.
        """
        if self._endpoint is None:
            return -1
        with self._driver.lock:
            endpoint = self._opened()
            mirror = mirror_of(endpoint, self._driver)
            if endpoint.kind == stdlib.SOCK_STREAM and endpoint.remote_address is not None:
                relay.check(self._driver)
                inner = self._of(self._driver, endpoint, self.proto)
                inner.settimeout(self._timeout)
                observe(endpoint).mirror = None
                self._driver.attend(-1)
                number = relay.start(inner, mirror, self._driver)
            else:
                number = mirror.let_go()
            self._endpoint = None
        self._closed = True
        return number

    def _real_close(self, *_: Any) -> None:
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is None:
            return
        driver = self._driver
        with driver.lock:
            if endpoint.options.linger_ns and not driver.stopped:
                self._linger(endpoint, driver.now() + endpoint.options.linger_ns)
            now = driver.now()
            driver.release(endpoint, now)
            driver.flush(now)

    def _linger(self, endpoint: Endpoint, deadline: int) -> None:
        """SO_LINGER: let the last close() wait until the peer has everything.  With unread data it resets at once."""
        observer = endpoint.observer
        if (observer is not None and observer.holders > 1) or endpoint.readiness() & (
            READABLE | READ_HANGUP
        ) == READABLE:
            return
        driver = self._driver
        with contextlib.suppress(OSError):
            self._call(endpoint, endpoint.shutdown, stdlib.SHUT_WR, driver.now())
            while endpoint.unacknowledged() and (now := driver.now()) < deadline:
                driver.block(endpoint, HANGUP, min(deadline, now + _LINGER_LOOK_NS))


def _share(observer: Observer, *sockets: socket) -> None:
    """Note that there are several sockets of an endpoint."""
    if observer.sharers is None:
        observer.sharers = weakref.WeakSet()
    observer.sharers.update(sockets)


def _c_int(value: Any) -> int:
    """A C int.  Raises TypeError, OverflowError."""
    number = operator.index(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError("Python int too large to convert to C int")
    return number


def _seconds(value: Any) -> float:
    """A time-out's value.  Raises ValueError, TypeError, OverflowError."""
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")
    seconds = float(value)
    if abs(seconds) >= _SECONDS_MAX:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")
    if not seconds >= 0:
        raise ValueError("Timeout value out of range")
    return seconds

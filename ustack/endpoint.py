"""`Endpoint`: what every kind of socket has inside the core: TCP connection, TCP listener, UDP, raw.

An endpoint's calls never block and never sleep: where a call must wait it raises `BlockingIOError` (EAGAIN), and the
floor above waits for the right bit of `readiness()`.  All calls that can send take `now`, monotonic nanoseconds.
Addresses are packed bytes, IPv4-mapped ones already unmapped; the wildcard is all zeros.
"""

from __future__ import annotations

import errno
from typing import Any

from ustack import errors
from ustack.config import SocketOptions
from ustack.constants import SOCK_STREAM

READABLE = 1
"""A receive or accept would not block (also at the end of the stream and with an error)."""
WRITABLE = 2
"""A send would not block; a connect has ended."""
PRIORITY = 4
"""Urgent data can be read."""
ERROR = 8
"""`error` is set."""
READ_HANGUP = 16
"""The peer has closed its side, or receiving was shut down."""
HANGUP = 32
"""Both sides are closed."""

Address = tuple[bytes, int]
ControlMessage = tuple[int, int, bytes]
"""Level, type and data."""


class Endpoint:
    """A socket of the core.

    `family` is AF_INET or AF_INET6 (a dual-mode INET6 endpoint may have IPv4 addresses), `kind` a SOCK_ type.
    `observer` belongs to the floor above: if not None, the driver passes it the stack's events for this endpoint.
    """

    __slots__ = (
        "__weakref__", "error", "family", "kind", "local_address", "local_port", "observer", "options",
        "protocol", "remote_address", "remote_port", "write_pending",
    )  # fmt: skip

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self.family = family
        self.kind = kind
        self.protocol = protocol
        self.options = SocketOptions()
        self.error = 0
        self.observer: Any = None
        self.local_address: bytes | None = None
        self.local_port = 0
        self.remote_address: bytes | None = None
        self.remote_port = 0
        self.write_pending = 0
        """How many callers wait to send.  Where they wait for a handshake, what they send will carry its last ACK."""

    def readiness(self) -> int:
        """The bits READABLE … HANGUP that hold now."""
        raise NotImplementedError

    def take_error(self) -> int:
        """The pending error's errno, which is cleared (SO_ERROR); 0 for none."""
        number, self.error = self.error, 0
        return number

    def raise_pending_error(self) -> None:
        """Raise the pending error, if there is one, and clear it."""
        if self.error:
            raise errors.error(self.take_error())

    def bind(self, address: bytes, port: int) -> None:
        """Bind to a local address and port; port 0 picks an ephemeral one.  EINVAL, EADDRINUSE, EADDRNOTAVAIL."""
        raise errors.error(errno.EINVAL)

    def connect(self, address: bytes, port: int, now: int) -> None:
        """Set the remote endpoint; for TCP raises EINPROGRESS when the handshake has begun."""
        raise errors.error(errno.EOPNOTSUPP)

    def listen(self, backlog: int) -> Endpoint:
        """The listener that takes this endpoint's place."""
        raise errors.error(errno.EOPNOTSUPP)

    def accept(self) -> Endpoint:
        """The next connection of a listener.  Raises EAGAIN when there is none."""
        raise errors.error(errno.EINVAL if self.kind == SOCK_STREAM else errno.EOPNOTSUPP)

    def send(self, data: Any, flags: int, destination: Address | None, now: int) -> int:
        """Take bytes for sending, any contiguous buffer; returns how many.  Raises EAGAIN when none can be taken."""
        raise errors.error(errno.EOPNOTSUPP)

    def send_message(
        self, buffers: list[Any], control: list[ControlMessage], flags: int, destination: Address | None, now: int
    ) -> int:
        """`send` of several buffers, with control messages (sendmsg).  Raises EINVAL for a message unknown here."""
        if control:
            raise errors.error(errno.EINVAL, "control messages cannot be sent")
        return self.send(buffers[0] if len(buffers) == 1 else b"".join(buffers), flags, destination, now)

    def receive_into(self, buffer: Any, flags: int, now: int) -> tuple[int, Address | None, int]:
        """Put received bytes into a writable buffer: (count, source or None for streams, MSG_ flags such as MSG_TRUNC).

        For datagrams the count is what was copied; with MSG_TRUNC in `flags` it is the datagram's whole length.
        Raises EAGAIN when there is nothing.
        """
        raise errors.error(errno.EOPNOTSUPP)

    def shutdown(self, how: int, now: int) -> None:
        """SHUT_RD, SHUT_WR or SHUT_RDWR.  Raises ENOTCONN."""
        raise errors.error(errno.ENOTCONN)

    def close(self, now: int) -> None:
        """The user lets go of the endpoint; the stack may still finish its work."""
        raise NotImplementedError

    def option_changed(self, name: str, now: int) -> None:
        """`options.<name>` was set by the user: act on it.  An OSError refuses the change, which is then undone."""

    def ancillary(self) -> list[tuple[int, int, bytes]]:
        """The control messages (level, type, data) of the datagram that `receive_into` gave last."""
        return []

    def is_opening(self) -> bool:
        """Whether what was sent waits for the end of a handshake, which may yet fail (TCP Fast Open)."""
        return False

    def readable(self) -> int:
        """How many bytes a receive would give now (SIOCINQ).  Raises EINVAL where none ever can."""
        raise errors.error(errno.EINVAL)

    def unsent(self) -> int:
        """How much of what was written was not sent yet (SIOCOUTQNSD).  Raises EINVAL for what is no stream."""
        raise errors.error(errno.EINVAL)

    def at_mark(self) -> bool:
        """Whether the next byte to read is the one after urgent data (SIOCATMARK)."""
        return False

    def unacknowledged(self) -> int:
        """How much of what was sent, in bytes with a FIN as one, the peer has not acknowledged."""
        return 0

    def fail(self, number: int) -> None:
        """The network has ended this endpoint with errno `number`: record it; nothing is sent."""
        self.error = number

"""Errors that callers see: `OSError` with Linux's errno, and its Winsock name one attribute away.

`error(errno.ECONNREFUSED)` gives the instance of the right subclass (here `ConnectionRefusedError`) with the attribute
`winsock` (here "WSAECONNREFUSED").
"""

from __future__ import annotations

import errno
import os

WINSOCK_NAMES = {
    errno.EINTR: "WSAEINTR",
    errno.EBADF: "WSAEBADF",
    errno.EACCES: "WSAEACCES",
    errno.EPERM: "WSAEACCES",
    errno.EFAULT: "WSAEFAULT",
    errno.EINVAL: "WSAEINVAL",
    errno.EMFILE: "WSAEMFILE",
    errno.EAGAIN: "WSAEWOULDBLOCK",
    errno.EINPROGRESS: "WSAEINPROGRESS",
    errno.EALREADY: "WSAEALREADY",
    errno.ENOTSOCK: "WSAENOTSOCK",
    errno.EDESTADDRREQ: "WSAEDESTADDRREQ",
    errno.EMSGSIZE: "WSAEMSGSIZE",
    errno.EPROTOTYPE: "WSAEPROTOTYPE",
    errno.ENOPROTOOPT: "WSAENOPROTOOPT",
    errno.EPROTONOSUPPORT: "WSAEPROTONOSUPPORT",
    errno.ESOCKTNOSUPPORT: "WSAESOCKTNOSUPPORT",
    errno.EOPNOTSUPP: "WSAEOPNOTSUPP",
    errno.EPFNOSUPPORT: "WSAEPFNOSUPPORT",
    errno.EAFNOSUPPORT: "WSAEAFNOSUPPORT",
    errno.EADDRINUSE: "WSAEADDRINUSE",
    errno.EADDRNOTAVAIL: "WSAEADDRNOTAVAIL",
    errno.ENETDOWN: "WSAENETDOWN",
    errno.ENETUNREACH: "WSAENETUNREACH",
    errno.ENETRESET: "WSAENETRESET",
    errno.ECONNABORTED: "WSAECONNABORTED",
    errno.ECONNRESET: "WSAECONNRESET",
    errno.EPIPE: "WSAESHUTDOWN",
    errno.ENOBUFS: "WSAENOBUFS",
    errno.ENOMEM: "WSA_NOT_ENOUGH_MEMORY",
    errno.EISCONN: "WSAEISCONN",
    errno.ENOTCONN: "WSAENOTCONN",
    errno.ESHUTDOWN: "WSAESHUTDOWN",
    errno.ETIMEDOUT: "WSAETIMEDOUT",
    errno.ECONNREFUSED: "WSAECONNREFUSED",
    errno.EHOSTDOWN: "WSAEHOSTDOWN",
    errno.EHOSTUNREACH: "WSAEHOSTUNREACH",
}


def error(number: int, detail: str = "") -> OSError:
    """The OSError for errno `number`, of Python's own subclass, with its `winsock` name; `detail` ends the message."""
    text = os.strerror(number)
    instance = OSError(number, f"{text}: {detail}" if detail else text)
    instance.winsock = winsock_name(number)  # type: ignore[attr-defined]
    return instance


def winsock_name(number: int) -> str:
    """The Winsock name of an errno, "WSA" and its own name where Winsock lists none."""
    return WINSOCK_NAMES.get(number) or f"WSA{errno.errorcode.get(number, number)}"

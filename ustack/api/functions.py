"""The functions of Python's `socket` module that make sockets, for sockets of ours."""

from __future__ import annotations

import contextlib
import socket as stdlib
from typing import Any

from ustack.api.readiness import owner_of
from ustack.api.socket import socket

_NO_TIMEOUT: Any = stdlib._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # noqa: SLF001  # means "the default's"


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> stdlib.socket:
    """Another socket for a descriptor: of the same connection if it is a `fileno()` of ours, else the kernel's."""
    if owner_of(fd) is not None:
        return socket(family, type, proto, fd)
    return stdlib.fromfd(fd, family, type, proto)


def create_connection(
    address: tuple[str | None, int],
    timeout: float | None = _NO_TIMEOUT,
    source_address: Any = None,
    *,
    all_errors: bool = False,
) -> socket:
    """A TCP socket connected to `address`: each address that its name has is tried in turn.

    Raises the first attempt's error, or with `all_errors` an ExceptionGroup of all.
    """
    problems: list[OSError] = []
    for family, kind, protocol, _, target in stdlib.getaddrinfo(*address, 0, stdlib.SOCK_STREAM):
        try:
            return _connected(socket(family, kind, protocol), target, timeout, source_address)
        except OSError as problem:
            problems.append(problem)
    if not problems:
        raise OSError("getaddrinfo returns an empty list")
    if all_errors:
        raise ExceptionGroup("create_connection failed", problems)
    raise problems[0]


def _connected(made: socket, target: Any, timeout: float | None, source_address: Any) -> socket:
    try:
        if timeout is not _NO_TIMEOUT:
            made.settimeout(timeout)
        if source_address:
            made.bind(source_address)
        made.connect(target)
    except BaseException:
        made.close()
        raise
    return made


def has_dualstack_ipv6() -> bool:
    """True: an IPv6 socket takes IPv4 connections too, if asked to."""
    return True


def create_server(
    address: Any,
    *,
    family: int = stdlib.AF_INET,
    backlog: int | None = None,
    reuse_port: bool = False,
    dualstack_ipv6: bool = False,
) -> socket:
    """A listening TCP socket, with SO_REUSEADDR; IPV6_V6ONLY unless `dualstack_ipv6`."""
    if dualstack_ipv6 and family != stdlib.AF_INET6:
        raise ValueError("dualstack_ipv6 requires AF_INET6 family")
    with contextlib.ExitStack() as undo:
        made = undo.enter_context(contextlib.closing(socket(family, stdlib.SOCK_STREAM)))
        made.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEPORT, 1)
        if family == stdlib.AF_INET6:
            made.setsockopt(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, int(not dualstack_ipv6))
        try:
            made.bind(address)
        except OSError as problem:
            message = f"{problem.strerror} (while attempting to bind on address {address!r})"
            raise OSError(problem.errno, message) from None
        if backlog is None:
            made.listen()
        else:
            made.listen(backlog)
        undo.pop_all()
    return made

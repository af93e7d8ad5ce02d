"""Socket addresses as Python's `socket` module has them, to and from the core's (packed bytes, port).

Errors are those of CPython's getsockaddrarg(): TypeError for the wrong shape, OverflowError for a port out of range,
gaierror for a name that is no address.  An IPv4-mapped address of an IPv6 socket travels as IPv4 inside.
"""

from __future__ import annotations

import errno
import operator
import socket as stdlib
from functools import lru_cache
from typing import Any

from ustack import errors
from ustack.address import ANY_IPV4, ANY_IPV6, BROADCAST_IPV4, unmap
from ustack.endpoint import Address, Endpoint

INET, INET6 = int(stdlib.AF_INET), int(stdlib.AF_INET6)

PythonAddress = tuple[str, int] | tuple[str, int, int, int]


def parse(family: int, address: Any, caller: str) -> Address:
    """What a socket of `family` means by `address`; `caller` names the method in messages."""
    if family == INET:
        host, port = _split_inet(address, caller)
        return _host(family, host), port
    host, port = _split_inet6(address, caller)
    return unmap(_host(family, host)), port


def _split_inet(address: Any, caller: str) -> tuple[str, int]:
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_INET address must be tuple, not {type(address).__name__}")
    if len(address) != 2:
        raise TypeError("AF_INET address must be a pair (host, port)")
    return _name(address[0]), _port(address[1], caller)


def _split_inet6(address: Any, caller: str) -> tuple[str, int]:
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_INET6 address must be tuple, not {type(address).__name__}")
    if not 2 <= len(address) <= 4:
        raise TypeError("AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
    name, port = _name(address[0]), _int(address[1], caller)
    numbers = [operator.index(number) & 0xFFFFFFFF for number in address[2:]]
    if numbers and numbers[0] > 0xFFFFF:
        raise OverflowError(f"{caller}(): flowinfo must be 0-1048575.")
    return name, _port(port, caller)


def _name(host: Any) -> str:
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii")
    if not isinstance(host, str):
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    return host


def _int(value: Any, caller: str) -> int:
    """A number that a C int can hold."""
    number = operator.index(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError(f"{caller}(): number out of range")
    return number


def _port(value: Any, caller: str) -> int:
    port = operator.index(value)
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{caller}(): port must be 0-65535.")
    return port


def _host(family: int, host: str) -> bytes:
    return _packed(family, host) or _resolve(family, host)


@lru_cache(maxsize=4096)
def _packed(family: int, host: str) -> bytes | None:
    """The address that `host` spells, None if it is a name."""
    if not host:
        return ANY_IPV4 if family == INET else ANY_IPV6
    if host in ("<broadcast>", "255.255.255.255"):
        if family != INET:
            raise OSError("address family mismatched")
        return BROADCAST_IPV4
    try:
        return stdlib.inet_pton(family, host)
    except (OSError, ValueError):
        return None


def _resolve(family: int, host: str) -> bytes:
    """Ask the system's resolver, as CPython does.  Raises gaierror."""
    found = stdlib.getaddrinfo(host, None, family=family)
    return stdlib.inet_pton(family, str(found[0][4][0]).partition("%")[0])


@lru_cache(maxsize=4096)
def _text(family: int, address: bytes) -> str:
    if len(address) == 4:
        return stdlib.inet_ntoa(address) if family == INET else f"::ffff:{stdlib.inet_ntoa(address)}"
    return stdlib.inet_ntop(INET6, address)


def present(family: int, address: bytes, port: int) -> PythonAddress:
    """The tuple that a socket of `family` shows."""
    if family == INET:
        return _text(family, address), port
    return _text(family, address), port, 0, 0


def local(endpoint: Endpoint) -> PythonAddress:
    """What getsockname() gives."""
    nowhere = ANY_IPV4 if endpoint.family == INET else ANY_IPV6
    return present(endpoint.family, endpoint.local_address or nowhere, endpoint.local_port)


def remote(endpoint: Endpoint) -> PythonAddress:
    """What getpeername() gives.  Raises ENOTCONN."""
    if endpoint.remote_address is None or not endpoint.remote_port:
        raise errors.error(errno.ENOTCONN)
    return present(endpoint.family, endpoint.remote_address, endpoint.remote_port)


def check_mode(endpoint: Endpoint, address: bytes, number: int) -> None:
    """Raise errno `number` if an IPv6-only socket is to have an IPv4 address."""
    if len(address) == 4 and endpoint.family == INET6 and endpoint.options.ipv6_only:
        raise errors.error(number)

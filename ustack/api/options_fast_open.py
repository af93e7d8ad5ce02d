"""The options of IPPROTO_TCP for Fast Open.  tcp(7), RFC 7413."""

from __future__ import annotations

import errno
import socket as stdlib

from ustack import errors
from ustack.api.option_kinds import Option, Target, number
from ustack.api.options_socket import is_listener
from ustack.endpoint import Endpoint
from ustack.tcp import fast_open
from ustack.tcp.fast_open.cookies import KEY_BYTES

TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY, TCP_FASTOPEN_NO_COOKIE = 30, 33, 34


def _is_unopened(endpoint: Endpoint) -> bool:
    return not is_listener(endpoint) and not getattr(endpoint, "opened", False)


def _write_queue(target: Target, value: int) -> None:
    """How many connections opened by a cookie may wait for the end of their handshake."""
    if value < 0 or not (_is_unopened(target.endpoint) or is_listener(target.endpoint)):
        raise errors.error(errno.EINVAL)
    target.change("fast_open_queue", min(value, target.driver.stack.config.tcp.listen_backlog_max))


def _write_connect(target: Target, value: int) -> None:
    """Whether connect() waits for the first data."""
    if value not in (0, 1):
        raise errors.error(errno.EINVAL)
    if not target.driver.stack.config.tcp.fastopen & fast_open.CLIENT:
        raise errors.error(errno.EOPNOTSUPP)
    if not _is_unopened(target.endpoint):
        raise errors.error(errno.EINVAL)
    target.change("fast_open_connect", bool(value))


def _write_no_cookie(target: Target, value: int) -> None:
    if value not in (0, 1) or not (_is_unopened(target.endpoint) or is_listener(target.endpoint)):
        raise errors.error(errno.EINVAL)
    target.change("fast_open_no_cookie", bool(value))


def _write_key(target: Target, value: bytes) -> None:
    """One key, or the key and the one before it."""
    if len(value) not in (KEY_BYTES, 2 * KEY_BYTES):
        raise errors.error(errno.EINVAL)
    target.change("fast_open_key", value)


def _read_key(target: Target) -> bytes:
    return target.endpoint.options.fast_open_key or b"".join(target.driver.stack.tcp.fast_open_keys())


TABLE = {
    stdlib.TCP_FASTOPEN: number(lambda target: target.endpoint.options.fast_open_queue, _write_queue),
    TCP_FASTOPEN_CONNECT: number(lambda target: int(target.endpoint.options.fast_open_connect), _write_connect),
    TCP_FASTOPEN_KEY: Option(_read_key, _write_key),
    TCP_FASTOPEN_NO_COOKIE: number(lambda target: int(target.endpoint.options.fast_open_no_cookie), _write_no_cookie),
}

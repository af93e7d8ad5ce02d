"""The options of SOL_SOCKET.  socket(7)."""

from __future__ import annotations

import errno
import socket as stdlib
import struct
from collections.abc import Callable

from ustack import errors
from ustack.api.option_kinds import SECOND, Option, Target, constant, flag, integer, number, only_for, switch
from ustack.endpoint import Endpoint

BUFFER_MAX = 64 << 20
"""The largest SO_RCVBUF and SO_SNDBUF that can be asked for (Linux's rmem_max and wmem_max)."""
RECEIVE_BUFFER_MIN = 2304
SEND_BUFFER_MIN = 4608
SO_NO_CHECK = 11
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING = 29, 35, 37
SO_MAX_PACING_RATE, SO_INCOMING_CPU, SO_ZEROCOPY = 47, 49, 60
_TIMESTAMPING_KNOWN = (1 << 19) - 1
_UNLIMITED = (1 << 64) - 1
_INT_MAX = (1 << 31) - 1

_LINGER = struct.Struct("ii")
_TIMEVAL = struct.Struct("ll")
_UNSIGNED, _UNSIGNED_LONG = struct.Struct("I"), struct.Struct("Q")


def is_listener(endpoint: Endpoint) -> bool:
    """Whether it accepts connections."""
    return type(endpoint).accept is not Endpoint.accept


def _buffer(field: str, least: int, default: Callable[[Target], int]) -> Option:
    """SO_RCVBUF and SO_SNDBUF: Linux doubles what is asked for, and shows the double."""

    def write(target: Target, value: int) -> None:
        wanted = BUFFER_MAX if value < 0 else min(value, BUFFER_MAX)
        target.change(field, max(2 * wanted, least))

    return number(lambda target: getattr(target.endpoint.options, field) or default(target), write)


def _receive_buffer(target: Target) -> int:
    """What it is now: it may have grown by itself."""
    config = target.driver.stack.config
    if not is_tcp(target.endpoint):
        return int(config.udp.receive_buffer)
    tcb = getattr(target.endpoint, "tcb", None)
    return int(tcb.rcv_buffer if tcb is not None and tcb.rcv_buffer else config.tcp.rmem[1])


def _receive_buffer_most(target: Target) -> int:
    config = target.driver.stack.config
    return int(config.tcp.rmem[2] if is_tcp(target.endpoint) else config.udp.receive_buffer)


def _send_buffer(target: Target) -> int:
    """A connection's grows by itself."""
    config = target.driver.stack.config
    if not is_tcp(target.endpoint):
        return int(config.udp.send_buffer)
    return int(getattr(target.endpoint, "send_limit", config.tcp.wmem[1]))


def _read_linger(target: Target) -> bytes:
    linger = target.endpoint.options.linger_ns
    return _LINGER.pack(0, 0) if linger is None else _LINGER.pack(1, linger // SECOND)


def _write_linger(target: Target, value: bytes) -> None:
    if len(value) < _LINGER.size:
        raise errors.error(errno.EINVAL)
    on, seconds = _LINGER.unpack_from(value)
    target.change("linger_ns", max(seconds, 0) * SECOND if on else None)


def _time_limit(field: str) -> Option:
    """SO_RCVTIMEO and SO_SNDTIMEO: a struct timeval."""

    def read(target: Target) -> bytes:
        seconds, rest = divmod(getattr(target.endpoint.options, field), SECOND)
        return _TIMEVAL.pack(seconds, rest // 1000)

    def write(target: Target, value: bytes) -> None:
        if len(value) < _TIMEVAL.size:
            raise errors.error(errno.EINVAL)
        seconds, microseconds = _TIMEVAL.unpack_from(value)
        if not 0 <= microseconds < 1_000_000:
            raise errors.error(errno.EDOM)
        target.change(field, max(seconds, 0) * SECOND + microseconds * 1000)

    return Option(read, write)


def is_tcp(endpoint: Endpoint) -> bool:
    """Whether it is a TCP connection or listener."""
    return endpoint.protocol == stdlib.IPPROTO_TCP and endpoint.kind == stdlib.SOCK_STREAM


def _may_send_without_copy(endpoint: Endpoint) -> bool:
    return endpoint.kind != stdlib.SOCK_RAW


def _stored(field: str) -> Option:
    """A number that Linux takes as it is."""
    return number(
        lambda target: int(getattr(target.endpoint.options, field)), lambda target, value: target.change(field, value)
    )


def _read_pacing(target: Target) -> bytes:
    limit = target.endpoint.options.max_pacing_rate
    return _UNSIGNED_LONG.pack(_UNLIMITED if limit is None else limit)


def _write_pacing(target: Target, value: bytes) -> None:
    """Bytes a second; the value of all ones is no limit, in either width."""
    form = _UNSIGNED_LONG if len(value) >= _UNSIGNED_LONG.size else _UNSIGNED
    integer(value)
    limit = form.unpack_from(value)[0]
    target.change("max_pacing_rate", None if limit == (1 << 8 * form.size) - 1 else limit)


def _write_low_water(target: Target, value: int) -> None:
    """SO_RCVLOWAT: never more than half of what the buffer may hold, as on Linux."""
    options = target.endpoint.options
    wanted = _INT_MAX if value < 0 else value
    limit = (options.receive_buffer or _receive_buffer_most(target)) // 2
    target.change("receive_low_water", min(wanted, limit) or 1)


def _write_timestamping(target: Target, value: bytes) -> None:
    """SO_TIMESTAMPING: the flags, of which the endpoint knows the meaning."""
    flags = integer(value)
    if flags & ~_TIMESTAMPING_KNOWN:
        raise errors.error(errno.EINVAL)
    target.change("timestamping", flags)


def _receive_stamp(unit: str) -> Option:
    """SO_TIMESTAMP and SO_TIMESTAMPNS: one replaces the other."""

    def write(target: Target, value: int) -> None:
        target.change("receive_timestamp", unit if value else "")

    return number(lambda target: int(target.endpoint.options.receive_timestamp == unit), write)


TABLE = {
    stdlib.SO_REUSEADDR: flag("reuse_address"),
    stdlib.SO_REUSEPORT: flag("reuse_port"),
    stdlib.SO_BROADCAST: flag("broadcast"),
    stdlib.SO_KEEPALIVE: flag("keepalive"),
    stdlib.SO_OOBINLINE: flag("out_of_band_inline"),
    SO_NO_CHECK: flag("no_checksum"),
    stdlib.SO_TYPE: number(lambda target: target.endpoint.kind),
    stdlib.SO_DOMAIN: number(lambda target: target.endpoint.family),
    stdlib.SO_PROTOCOL: number(lambda target: target.endpoint.protocol),
    stdlib.SO_ERROR: number(lambda target: target.endpoint.take_error()),
    stdlib.SO_ACCEPTCONN: number(lambda target: int(is_listener(target.endpoint))),
    stdlib.SO_RCVLOWAT: number(lambda target: target.endpoint.options.receive_low_water, _write_low_water),
    stdlib.SO_SNDLOWAT: number(constant(1)),
    stdlib.SO_LINGER: Option(_read_linger, _write_linger),
    stdlib.SO_RCVBUF: _buffer("receive_buffer", RECEIVE_BUFFER_MIN, _receive_buffer),
    stdlib.SO_SNDBUF: _buffer("send_buffer", SEND_BUFFER_MIN, _send_buffer),
    stdlib.SO_RCVTIMEO: _time_limit("receive_timeout_ns"),
    stdlib.SO_SNDTIMEO: _time_limit("send_timeout_ns"),
    stdlib.SO_MARK: _stored("mark"),
    stdlib.SO_PRIORITY: _stored("priority"),
    stdlib.SO_DONTROUTE: flag("dont_route"),
    SO_INCOMING_CPU: _stored("incoming_cpu"),
    SO_MAX_PACING_RATE: Option(_read_pacing, _write_pacing),
    SO_ZEROCOPY: only_for(_may_send_without_copy, switch("zerocopy")),
    SO_TIMESTAMP: _receive_stamp("us"),
    SO_TIMESTAMPNS: _receive_stamp("ns"),
    SO_TIMESTAMPING: Option(lambda target: _LINGER.pack(target.endpoint.options.timestamping, 0), _write_timestamping),
}

"""Socket options: what getsockopt() and setsockopt() read and write, with Linux's encodings, ranges and errors.

`OPTIONS` is the table.  An option is unknown (ENOPROTOOPT) where its level is not of the socket's family or protocol.
"""

from __future__ import annotations

import errno
import operator
import socket as stdlib
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ustack import errors
from ustack.endpoint import Endpoint
from ustack.runtime.driver import Driver

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
BUFFER_MAX = 64 << 20
"""The largest SO_RCVBUF and SO_SNDBUF that can be asked for (Linux's rmem_max and wmem_max)."""
RECEIVE_BUFFER_MIN = 2304
SEND_BUFFER_MIN = 4608
SO_NO_CHECK = 11
IPV6_HDRINCL = 36
IP_MTU_DISCOVER, IP_MTU = 10, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24
IP_RECVTTL, IP_PKTINFO, IP_RECVERR, IPV6_RECVERR = 12, 8, 11, 25
ICMP_FILTER = ICMPV6_FILTER = 1
TCP_MSS_DEFAULT = 536
TCP_CC_INFO = 26

_INT = struct.Struct("i")
_LINGER = struct.Struct("ii")
_TIMEVAL = struct.Struct("ll")


class Target(NamedTuple):
    """The socket that an option is read from or written to."""

    endpoint: Endpoint
    driver: Driver

    def change(self, field: str, value: object) -> None:
        """Set a field of the endpoint's options and let the endpoint act on it; what it refuses is undone."""
        options = self.endpoint.options
        before = getattr(options, field)
        setattr(options, field, value)
        try:
            self.endpoint.option_changed(field, self.driver.now())
        except OSError:
            setattr(options, field, before)
            raise


@dataclass(frozen=True, slots=True)
class Option:
    """One option: how its value is read, and written (None: it cannot be), both as the bytes that Linux has."""

    read: Callable[[Target], bytes]
    write: Callable[[Target, bytes], None] | None
    applies: Callable[[Endpoint], bool] = lambda endpoint: True


# Values.


def _integer(value: bytes) -> int:
    if len(value) < _INT.size:
        raise errors.error(errno.EINVAL)
    return int(_INT.unpack_from(value)[0])


def _number(read: Callable[[Target], int], write: Callable[[Target, int], None] | None = None) -> Option:
    """An option whose value is an int."""
    if write is None:
        return Option(lambda target: _INT.pack(read(target)), None)
    return Option(lambda target: _INT.pack(read(target)), lambda target, value: write(target, _integer(value)))


def _flag(field: str) -> Option:
    return _number(
        lambda target: int(getattr(target.endpoint.options, field)),
        lambda target, value: target.change(field, bool(value)),
    )


def _ranged(
    field: str, least: int, most: int, default: Callable[[Target], int], *, unit: int = 1, reset: int | None = None
) -> Option:
    """A number kept in units of `unit`; the value `reset` brings the default back."""

    def read(target: Target) -> int:
        value = getattr(target.endpoint.options, field)
        return default(target) if value is None else value // unit

    def write(target: Target, value: int) -> None:
        if value == reset:
            target.change(field, None)
        elif least <= value <= most:
            target.change(field, value * unit)
        else:
            raise errors.error(errno.EINVAL)

    return _number(read, write)


def _constant(value: int) -> Callable[[Target], int]:
    return lambda target: value


# SOL_SOCKET.


def is_listener(endpoint: Endpoint) -> bool:
    """Whether it accepts connections."""
    return type(endpoint).accept is not Endpoint.accept


def _buffer(field: str, least: int, default: Callable[[Target], int]) -> Option:
    """SO_RCVBUF and SO_SNDBUF: Linux doubles what is asked for, and shows the double."""

    def write(target: Target, value: int) -> None:
        wanted = BUFFER_MAX if value < 0 else min(value, BUFFER_MAX)
        target.change(field, max(2 * wanted, least))

    return _number(lambda target: getattr(target.endpoint.options, field) or default(target), write)


def _transport_config(target: Target) -> Any:
    config = target.driver.stack.config
    return config.tcp if is_tcp(target.endpoint) else config.udp


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


_SOCKET = {
    stdlib.SO_REUSEADDR: _flag("reuse_address"),
    stdlib.SO_REUSEPORT: _flag("reuse_port"),
    stdlib.SO_BROADCAST: _flag("broadcast"),
    stdlib.SO_KEEPALIVE: _flag("keepalive"),
    stdlib.SO_OOBINLINE: _flag("out_of_band_inline"),
    SO_NO_CHECK: _flag("no_checksum"),
    stdlib.SO_TYPE: _number(lambda target: target.endpoint.kind),
    stdlib.SO_DOMAIN: _number(lambda target: target.endpoint.family),
    stdlib.SO_PROTOCOL: _number(lambda target: target.endpoint.protocol),
    stdlib.SO_ERROR: _number(lambda target: target.endpoint.take_error()),
    stdlib.SO_ACCEPTCONN: _number(lambda target: int(is_listener(target.endpoint))),
    stdlib.SO_RCVLOWAT: _number(_constant(1)),
    stdlib.SO_SNDLOWAT: _number(_constant(1)),
    stdlib.SO_LINGER: Option(_read_linger, _write_linger),
    stdlib.SO_RCVBUF: _buffer(
        "receive_buffer", RECEIVE_BUFFER_MIN, lambda target: int(_transport_config(target).receive_buffer)
    ),
    stdlib.SO_SNDBUF: _buffer(
        "send_buffer", SEND_BUFFER_MIN, lambda target: int(_transport_config(target).send_buffer)
    ),
    stdlib.SO_RCVTIMEO: _time_limit("receive_timeout_ns"),
    stdlib.SO_SNDTIMEO: _time_limit("send_timeout_ns"),
}


# IPPROTO_IP and IPPROTO_IPV6.


def is_raw(endpoint: Endpoint) -> bool:
    """Whether it is a raw socket's endpoint."""
    return endpoint.kind == stdlib.SOCK_RAW


def _is_no_stream(endpoint: Endpoint) -> bool:
    return endpoint.kind != stdlib.SOCK_STREAM


def _only_for(applies: Callable[[Endpoint], bool], option: Option) -> Option:
    return Option(option.read, option.write, applies)


def _write_ipv6_multicast_loop(target: Target, value: int) -> None:
    if value not in (0, 1):
        raise errors.error(errno.EINVAL)
    target.change("multicast_loop", bool(value))


_ECN = 3


def _write_traffic_class(target: Target, value: int) -> None:
    """The ECN bits of a stream are TCP's own."""
    target.change("traffic_class", value & 0xFF & ~(_ECN if target.endpoint.kind == stdlib.SOCK_STREAM else 0))


def _write_ipv6_traffic_class(target: Target, value: int) -> None:
    if not -1 <= value <= 255:
        raise errors.error(errno.EINVAL)
    _write_traffic_class(target, max(value, 0))


def _read_traffic_class(target: Target) -> int:
    return target.endpoint.options.traffic_class


def _ttl(target: Target) -> int:
    return target.driver.stack.config.ip.ttl


_WANT, _DO, _PROBE = 1, 2, 3


def _write_discovery(target: Target, value: int) -> None:
    if not 0 <= value <= _PROBE:
        raise errors.error(errno.EINVAL)
    target.change("path_mtu_discovery", value != 0)


def _mtu(target: Target) -> int:
    address = target.endpoint.remote_address
    if address is None:
        raise errors.error(errno.ENOTCONN)
    return int(target.driver.stack.ip.mtu_for(address, target.driver.now()))


def _write_v6_only(target: Target, value: int) -> None:
    if target.endpoint.local_port or target.endpoint.local_address:
        raise errors.error(errno.EINVAL)
    target.change("ipv6_only", bool(value))


def _write_multicast_hops(target: Target, value: int) -> None:
    if not -1 <= value <= 255 or not _is_no_stream(target.endpoint):
        raise errors.error(errno.EINVAL)
    target.change("multicast_ttl", 1 if value == -1 else value)


_multicast_hops = _number(lambda target: target.endpoint.options.multicast_ttl, _write_multicast_hops)
_discovery = _number(lambda target: _WANT * target.endpoint.options.path_mtu_discovery, _write_discovery)
_IP = {
    stdlib.IP_TOS: _number(_read_traffic_class, _write_traffic_class),
    stdlib.IP_TTL: _ranged("ttl", 1, 255, _ttl, reset=-1),
    stdlib.IP_MULTICAST_TTL: _multicast_hops,
    stdlib.IP_MULTICAST_LOOP: _flag("multicast_loop"),
    stdlib.IP_RECVTOS: _flag("receive_traffic_class"),
    IP_RECVTTL: _flag("receive_ttl"),
    IP_PKTINFO: _flag("receive_packet_info"),
    IP_RECVERR: _flag("receive_errors"),
    IP_MTU_DISCOVER: _discovery,
    IP_MTU: _number(_mtu),
    stdlib.IP_HDRINCL: _only_for(is_raw, _flag("header_included")),
}
_IPV6 = {
    stdlib.IPV6_V6ONLY: _number(lambda target: int(target.endpoint.options.ipv6_only), _write_v6_only),
    stdlib.IPV6_UNICAST_HOPS: _ranged("ttl", 0, 255, _ttl, reset=-1),
    stdlib.IPV6_MULTICAST_HOPS: _only_for(_is_no_stream, _multicast_hops),
    stdlib.IPV6_MULTICAST_LOOP: _number(
        lambda target: int(target.endpoint.options.multicast_loop), _write_ipv6_multicast_loop
    ),
    stdlib.IPV6_TCLASS: _number(_read_traffic_class, _write_ipv6_traffic_class),
    stdlib.IPV6_RECVTCLASS: _flag("receive_traffic_class"),
    stdlib.IPV6_RECVHOPLIMIT: _flag("receive_ttl"),
    stdlib.IPV6_RECVPKTINFO: _flag("receive_packet_info"),
    IPV6_RECVERR: _flag("receive_errors"),
    IPV6_MTU_DISCOVER: _discovery,
    IPV6_MTU: _number(_mtu),
    IPV6_HDRINCL: _only_for(is_raw, _flag("header_included")),
}


# Raw sockets: SOL_RAW and IPPROTO_ICMPV6.

_ICMPV6_FILTER_BYTES = 32


def _filter(field: str, size: int) -> Option:
    """ICMP_FILTER and ICMPV6_FILTER: a set of message types, one bit for each that is refused."""

    def read(target: Target) -> bytes:
        value: int = getattr(target.endpoint.options, field)
        return value.to_bytes(size, "little")

    def write(target: Target, value: bytes) -> None:
        if len(value) < size:
            raise errors.error(errno.EINVAL)
        target.change(field, int.from_bytes(value[:size], "little"))

    return Option(read, write, is_raw)


def _read_checksum_offset(target: Target) -> int:
    options = target.endpoint.options
    if options.checksum_offset is None:
        return 2 if target.endpoint.protocol == stdlib.IPPROTO_ICMPV6 else -1
    return options.checksum_offset


def _write_checksum_offset(target: Target, value: int) -> None:
    target.change("checksum_offset", None if value < 0 else value)


_checksum = _only_for(is_raw, _number(_read_checksum_offset, _write_checksum_offset))
_IPV6[stdlib.IPV6_CHECKSUM] = _checksum
_RAW = {ICMP_FILTER: _filter("icmp_filter", _INT.size), stdlib.IPV6_CHECKSUM: _checksum}
_ICMPV6 = {ICMPV6_FILTER: _filter("icmpv6_filter", _ICMPV6_FILTER_BYTES)}


# IPPROTO_TCP.


def is_tcp(endpoint: Endpoint) -> bool:
    """Whether it is a TCP connection or listener."""
    return endpoint.protocol == stdlib.IPPROTO_TCP and endpoint.kind == stdlib.SOCK_STREAM


def _tcp_default(name: str, unit: int = 1) -> Callable[[Target], int]:
    return lambda target: getattr(target.driver.stack.config.tcp, name) // unit


def _read_max_segment(target: Target) -> int:
    """The effective send MSS of a connection, else what the user has asked for."""
    return getattr(target.endpoint, "max_segment", 0) or target.endpoint.options.max_segment or TCP_MSS_DEFAULT


def _write_max_segment(target: Target, value: int) -> None:
    if value and not 88 <= value <= 32767:
        raise errors.error(errno.EINVAL)
    target.change("max_segment", value)


def _read_congestion(target: Target) -> bytes:
    name = target.endpoint.options.congestion_control or target.driver.stack.config.tcp.congestion_control
    return name.encode().ljust(16, b"\0")


def _write_congestion(target: Target, value: bytes) -> None:
    name = value[:15].partition(b"\0")[0]
    if not name:
        raise errors.error(errno.EINVAL)
    target.change("congestion_control", name.decode("ascii", "replace"))


def _read_info(target: Target) -> bytes:
    return bytes(getattr(target.endpoint, "tcp_info")(target.driver.now()))  # noqa: B009  # TCP endpoints have it


def _read_congestion_info(target: Target) -> bytes:
    controller = getattr(target.endpoint, "congestion", None)
    return b"" if controller is None else bytes(controller.info())


_TCP = {
    stdlib.TCP_NODELAY: _flag("no_delay"),
    stdlib.TCP_CORK: _flag("cork"),
    stdlib.TCP_QUICKACK: _flag("quick_ack"),
    stdlib.TCP_MAXSEG: _number(_read_max_segment, _write_max_segment),
    stdlib.TCP_KEEPIDLE: _ranged("keepalive_time_ns", 1, 32767, _tcp_default("keepalive_time_ns", SECOND), unit=SECOND),
    stdlib.TCP_KEEPINTVL: _ranged(
        "keepalive_interval_ns", 1, 32767, _tcp_default("keepalive_interval_ns", SECOND), unit=SECOND
    ),
    stdlib.TCP_KEEPCNT: _ranged("keepalive_probes", 1, 127, _tcp_default("keepalive_probes")),
    stdlib.TCP_SYNCNT: _ranged("syn_retries", 1, 127, _tcp_default("syn_retries")),
    stdlib.TCP_USER_TIMEOUT: _ranged("user_timeout_ns", 0, (1 << 31) - 1, _constant(0), unit=MILLISECOND),
    stdlib.TCP_INFO: Option(_read_info, None),
    TCP_CC_INFO: Option(_read_congestion_info, None),
    stdlib.TCP_CONGESTION: Option(_read_congestion, _write_congestion),
}

OPTIONS: dict[int, dict[int, Option]] = {
    stdlib.SOL_SOCKET: _SOCKET,
    stdlib.IPPROTO_IP: _IP,
    stdlib.IPPROTO_IPV6: _IPV6,
    stdlib.IPPROTO_TCP: _TCP,
    stdlib.IPPROTO_ICMPV6: _ICMPV6,
    stdlib.IPPROTO_RAW: _RAW,
}


def _find(endpoint: Endpoint, level: int, name: int) -> Option:
    option = OPTIONS.get(level, {}).get(name)
    known = option is not None and option.applies(endpoint)
    if level == stdlib.IPPROTO_IPV6 and endpoint.family != stdlib.AF_INET6:
        known = False
    if level == stdlib.IPPROTO_TCP and not is_tcp(endpoint):
        known = False
    if option is None or not known:
        raise errors.error(errno.ENOPROTOOPT)
    return option


# What sockets call, the lock held.


def get(target: Target, level: int, name: int) -> bytes:
    """The option's whole value.  Raises ENOPROTOOPT."""
    return _find(target.endpoint, level, name).read(target)


def put(target: Target, level: int, name: int, value: bytes) -> None:
    """Set an option; at the IP level Linux takes one byte for an int.

    Raises ENOPROTOOPT, EINVAL for a value out of range, and what the endpoint says.
    """
    option = _find(target.endpoint, level, name)
    if option.write is None:
        raise errors.error(errno.ENOPROTOOPT)
    if level == stdlib.IPPROTO_IP and 0 < len(value) < _INT.size:
        value = value[:1].ljust(_INT.size, b"\0")
    option.write(target, value)


def encode(value: Any) -> bytes:
    """The bytes of what setsockopt() was given: an int, or a bytes-like object.  Raises TypeError."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    number = operator.index(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise TypeError(f"a bytes-like object is required, not '{type(value).__name__}'")
    return _INT.pack(number)


def decode(value: bytes) -> int:
    """What getsockopt() without a length makes of an option's bytes, of which there may be none."""
    return int.from_bytes(value[: _INT.size], sys.byteorder, signed=len(value) >= _INT.size)

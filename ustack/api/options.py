"""Socket options: what getsockopt() and setsockopt() read and write, with Linux's encodings, ranges and errors.

`OPTIONS` is the table.  An option is unknown (ENOPROTOOPT) where its level is not of the socket's family or protocol.
"""

from __future__ import annotations

import errno
import operator
import socket as stdlib
import sys
from typing import Any

from ustack import errors
from ustack.api import options_socket, options_tcp
from ustack.api.option_kinds import INT, Option, Target, flag, number, only_for, ranged
from ustack.api.options_socket import BUFFER_MAX, is_listener, is_tcp
from ustack.constants import IP_PMTUDISC_DONT, IP_PMTUDISC_OMIT
from ustack.endpoint import Endpoint

__all__ = ["BUFFER_MAX", "OPTIONS", "Target", "decode", "encode", "get", "is_listener", "put"]

IPV6_HDRINCL = 36
IP_MTU_DISCOVER, IP_MTU, IP_FREEBIND = 10, 14, 15
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_FREEBIND = 23, 24, 78
IP_RECVTTL, IP_PKTINFO, IP_RECVERR, IPV6_RECVERR = 12, 8, 11, 25
ICMP_FILTER = ICMPV6_FILTER = 1


# IPPROTO_IP and IPPROTO_IPV6.


def is_raw(endpoint: Endpoint) -> bool:
    """Whether it is a raw socket's endpoint."""
    return endpoint.kind == stdlib.SOCK_RAW


def _is_no_stream(endpoint: Endpoint) -> bool:
    return endpoint.kind != stdlib.SOCK_STREAM


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


def _write_discovery(target: Target, value: int) -> None:
    if not IP_PMTUDISC_DONT <= value <= IP_PMTUDISC_OMIT:
        raise errors.error(errno.EINVAL)
    target.change("path_mtu_discovery", value)


def _mtu(target: Target) -> int:
    address = target.endpoint.remote_address
    if address is None:
        raise errors.error(errno.ENOTCONN)
    return int(target.driver.stack.ip.mtu_for(address, target.driver.now()))


def _write_ip_options(target: Target, value: bytes) -> None:
    """A source route, for connections that are opened later."""
    target.change("ip_options", value)


def _write_v6_only(target: Target, value: int) -> None:
    if target.endpoint.local_port or target.endpoint.local_address:
        raise errors.error(errno.EINVAL)
    target.change("ipv6_only", bool(value))


def _write_multicast_hops(target: Target, value: int) -> None:
    if not -1 <= value <= 255 or not _is_no_stream(target.endpoint):
        raise errors.error(errno.EINVAL)
    target.change("multicast_ttl", 1 if value == -1 else value)


_multicast_hops = number(lambda target: target.endpoint.options.multicast_ttl, _write_multicast_hops)
_discovery = number(lambda target: int(target.endpoint.options.path_mtu_discovery), _write_discovery)
_IP = {
    stdlib.IP_OPTIONS: only_for(is_tcp, Option(lambda target: target.endpoint.options.ip_options, _write_ip_options)),
    stdlib.IP_TOS: number(_read_traffic_class, _write_traffic_class),
    stdlib.IP_TTL: ranged("ttl", 1, 255, _ttl, reset=-1),
    stdlib.IP_MULTICAST_TTL: _multicast_hops,
    stdlib.IP_MULTICAST_LOOP: flag("multicast_loop"),
    stdlib.IP_RECVTOS: flag("receive_traffic_class"),
    IP_RECVTTL: flag("receive_ttl"),
    IP_PKTINFO: flag("receive_packet_info"),
    IP_RECVERR: flag("receive_errors"),
    IP_MTU_DISCOVER: _discovery,
    IP_MTU: number(_mtu),
    IP_FREEBIND: flag("free_bind"),
    stdlib.IP_HDRINCL: only_for(is_raw, flag("header_included")),
}
_IPV6 = {
    stdlib.IPV6_V6ONLY: number(lambda target: int(target.endpoint.options.ipv6_only), _write_v6_only),
    stdlib.IPV6_UNICAST_HOPS: ranged("ttl", 0, 255, _ttl, reset=-1),
    stdlib.IPV6_MULTICAST_HOPS: only_for(_is_no_stream, _multicast_hops),
    stdlib.IPV6_MULTICAST_LOOP: number(
        lambda target: int(target.endpoint.options.multicast_loop), _write_ipv6_multicast_loop
    ),
    stdlib.IPV6_TCLASS: number(_read_traffic_class, _write_ipv6_traffic_class),
    stdlib.IPV6_RECVTCLASS: flag("receive_traffic_class"),
    stdlib.IPV6_RECVHOPLIMIT: flag("receive_ttl"),
    stdlib.IPV6_RECVPKTINFO: flag("receive_packet_info"),
    IPV6_RECVERR: flag("receive_errors"),
    IPV6_MTU_DISCOVER: _discovery,
    IPV6_MTU: number(_mtu),
    IPV6_FREEBIND: flag("free_bind"),
    IPV6_HDRINCL: only_for(is_raw, flag("header_included")),
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


_checksum = only_for(is_raw, number(_read_checksum_offset, _write_checksum_offset))
_IPV6[stdlib.IPV6_CHECKSUM] = _checksum
_RAW = {ICMP_FILTER: _filter("icmp_filter", INT.size), stdlib.IPV6_CHECKSUM: _checksum}
_ICMPV6 = {ICMPV6_FILTER: _filter("icmpv6_filter", _ICMPV6_FILTER_BYTES)}


OPTIONS: dict[int, dict[int, Option]] = {
    stdlib.SOL_SOCKET: options_socket.TABLE,
    stdlib.IPPROTO_IP: _IP,
    stdlib.IPPROTO_IPV6: _IPV6,
    stdlib.IPPROTO_TCP: options_tcp.TABLE,
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
    if level == stdlib.IPPROTO_IP and name != stdlib.IP_OPTIONS and 0 < len(value) < INT.size:
        value = value[:1].ljust(INT.size, b"\0")
    option.write(target, value)


def encode(value: Any) -> bytes:
    """The bytes of what setsockopt() was given: an int, or a bytes-like object.  Raises TypeError."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    number = operator.index(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise TypeError(f"a bytes-like object is required, not '{type(value).__name__}'")
    return INT.pack(number)


def decode(value: bytes) -> int:
    """What getsockopt() without a length makes of an option's bytes, of which there may be none."""
    return int.from_bytes(value[: INT.size], sys.byteorder, signed=len(value) >= INT.size)

"""IPv4 source routes of connections.  RFC 9293 §3.9.2.1 (MUST-51 to MUST-53, SHLD-24), RFC 791 §3.1, RFC 1122 §3.2.1.8.

The user gives one with IP_OPTIONS, as Linux takes it: the routers in the order in which they are passed, without the
peer.  One that comes with a segment is taken only where the stack's switch `accept_source_route` is on: by default
packets with a source route are dropped (RFC 7126 §4.3).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ustack import errors
from ustack.drops import Drop
from ustack.native import ffi
from ustack.wire import ipv4

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

_FIRST_POINTER = 4
_ADDRESS = 4


def check(options: bytes) -> None:
    """Raises EINVAL for IP options that no segment can carry: only whole source routes may be asked for."""
    try:
        parsed = ipv4.parse_options(options)
    except Drop:
        raise errors.error(errno.EINVAL) from None
    too_long = len(options) > ipv4.MAXIMUM_OPTIONS_LENGTH
    if too_long or len(parsed) > 1 or any(not _is_fresh_route(option) for option in parsed):
        raise errors.error(errno.EINVAL)


def _is_fresh_route(option: ipv4.Ipv4Option) -> bool:
    """Whether it is a source route on which no router was passed yet, with at least one."""
    if option.kind not in ipv4.SOURCE_ROUTES:
        return False
    return option.data[0] == _FIRST_POINTER and len(option.data) > _ADDRESS and (len(option.data) - 1) % _ADDRESS == 0


def first_hop(connection: Connection) -> bytes | None:
    """Where the user's route begins; None without one."""
    for option in ipv4.parse_options(connection.options.ip_options):
        return _hops(option.data[1:])[0]
    return None


def open_by(connection: Connection) -> None:
    """The user's route, if there is one, is that of the connection (MUST-51)."""
    if connection.tcb.version == 4:
        for option in ipv4.parse_options(connection.options.ip_options):
            _follow(connection, option.kind, _hops(option.data[1:]))


def segment_arrives(connection: Connection, segment: Segment) -> None:
    """A segment has come by a source route: answer by the way back, from now on (MUST-53, SHLD-24).

    A route that the user has given goes before it (MUST-52).
    """
    if not segment.ip_options or connection.options.ip_options or connection.tcb.version != 4:
        return
    for option in ipv4.parse_options(segment.ip_options):
        if option.kind in ipv4.SOURCE_ROUTES:
            _follow(connection, option.kind, _hops(option.data[1:])[::-1])


def _hops(data: bytes) -> list[bytes]:
    return [data[start : start + _ADDRESS] for start in range(0, len(data) - _ADDRESS + 1, _ADDRESS)]


def _follow(connection: Connection, kind: int, hops: list[bytes]) -> None:
    """Send to the first of `hops`; the option names the others, and the peer as the last."""
    tcb = connection.tcb
    if not hops:
        return
    peer = bytes(tcb.remote_address[0:_ADDRESS])
    route = bytes((_FIRST_POINTER,)) + b"".join([*hops[1:], peer])
    option = ipv4.build_option(kind, route)
    padded = option + bytes(-len(option) % 4)
    ffi.memmove(tcb.ip_options, padded, len(padded))
    ffi.memmove(tcb.first_hop, hops[0], _ADDRESS)
    tcb.ip_options_length = len(padded)

"""`struct sock_extended_err`, with which MSG_ERRQUEUE tells what has happened to a packet.  ip(7)."""

from __future__ import annotations

import struct

from ustack.address import map_ipv4
from ustack.constants import AF_INET, AF_INET6, IP_RECVERR, IPPROTO_IP, IPPROTO_IPV6, IPV6_RECVERR
from ustack.endpoint import ControlMessage

ORIGIN_ICMP, ORIGIN_ICMP6, ORIGIN_TIMESTAMPING, ORIGIN_ZEROCOPY = 2, 3, 4, 5

_EXTENDED_ERROR = struct.Struct("=IBBBxII")
"""errno, origin, type, code, info, data."""
_SOCKADDR_IN = struct.Struct("=HH4s8x")
_SOCKADDR_IN6 = struct.Struct("=HHI16sI")


def control_message(
    family: int,
    number: int,
    origin: int,
    *,
    kind: int = 0,
    code: int = 0,
    info: int = 0,
    data: int = 0,
    offender: bytes | None = None,
) -> ControlMessage:
    """IP_RECVERR or IPV6_RECVERR for a socket of `family`: errno `number`, where it comes from, and who reported it."""
    extended = _EXTENDED_ERROR.pack(number, origin, kind, code, info, data)
    if family == AF_INET6:
        address = bytes(_SOCKADDR_IN6.size)
        if offender is not None:
            address = _SOCKADDR_IN6.pack(AF_INET6, 0, 0, map_ipv4(offender), 0)
        return IPPROTO_IPV6, IPV6_RECVERR, extended + address
    address = bytes(_SOCKADDR_IN.size) if offender is None else _SOCKADDR_IN.pack(AF_INET, 0, offender)
    return IPPROTO_IP, IP_RECVERR, extended + address

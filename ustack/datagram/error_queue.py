"""`ErrorQueue`: ICMP errors kept for MSG_ERRQUEUE, for sockets with IP_RECVERR or IPV6_RECVERR.  ip(7)."""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

from ustack.address import map_ipv4
from ustack.constants import AF_INET, AF_INET6, IP_RECVERR, IPPROTO_IP, IPPROTO_IPV6, IPV6_RECVERR
from ustack.datagram.control import ControlMessage
from ustack.ip.icmp import IcmpError

ERRORS_KEPT = 64
"""The most errors of one socket; more are dropped."""

_EXTENDED_ERROR = struct.Struct("=IBBBxII")
"""`struct sock_extended_err`: errno, origin, type, code, info, data."""
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_SOCKADDR_IN = struct.Struct("=HH4s8x")
_SOCKADDR_IN6 = struct.Struct("=HHI16sI")


class KeptError(NamedTuple):
    """An ICMP error, where the packet that it quotes was going, and what that carried."""

    error: IcmpError
    destination_port: int
    payload: bytes

    def control_message(self, family: int) -> ControlMessage:
        """IP_RECVERR or IPV6_RECVERR for a socket of `family`: the error, and who reported it."""
        error = self.error
        origin = _ORIGIN_ICMP if error.version == 4 else _ORIGIN_ICMP6
        extended = _EXTENDED_ERROR.pack(error.errno, origin, error.type, error.code, error.mtu or 0, 0)
        if family == AF_INET6:
            offender = _SOCKADDR_IN6.pack(AF_INET6, 0, 0, map_ipv4(error.source), 0)
            return IPPROTO_IPV6, IPV6_RECVERR, extended + offender
        return IPPROTO_IP, IP_RECVERR, extended + _SOCKADDR_IN.pack(AF_INET, 0, error.source)


class ErrorQueue:
    """The errors of one socket, oldest first."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: deque[KeptError] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, error: IcmpError, destination_port: int, payload: bytes) -> None:
        """Keep an error, if there is room."""
        if len(self._kept) < ERRORS_KEPT:
            self._kept.append(KeptError(error, destination_port, payload))

    def first(self) -> KeptError | None:
        """The oldest error."""
        return self._kept[0] if self._kept else None

    def pop(self) -> int:
        """Remove the oldest error; returns the errno of the next, which is pending now, or 0."""
        self._kept.popleft()
        return self._kept[0].error.errno if self._kept else 0

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

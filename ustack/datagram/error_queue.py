"""`ErrorQueue`: ICMP errors kept for MSG_ERRQUEUE, for sockets with IP_RECVERR or IPV6_RECVERR.  ip(7)."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ustack.datagram.extended_error import ORIGIN_ICMP, ORIGIN_ICMP6, control_message
from ustack.endpoint import ControlMessage
from ustack.ip.icmp import IcmpError

ERRORS_KEPT = 64
"""The most errors of one socket; more are dropped."""


class KeptError(NamedTuple):
    """An ICMP error, where the packet that it quotes was going, and what that carried."""

    error: IcmpError
    destination_port: int
    payload: bytes

    def control_message(self, family: int) -> ControlMessage:
        """IP_RECVERR or IPV6_RECVERR for a socket of `family`: the error, and who reported it."""
        error = self.error
        origin = ORIGIN_ICMP if error.version == 4 else ORIGIN_ICMP6
        return control_message(
            family,
            error.errno,
            origin,
            kind=error.type,
            code=error.code,
            info=error.mtu or 0,
            offender=error.source,
        )


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

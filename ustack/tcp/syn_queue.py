"""The connections of a listener in SYN-RECEIVED, and how patient it is with them.  RFC 4987 §3, listen(2).

The queue is full beyond the backlog, as in Linux: further SYNs get a cookie, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ustack.tcp.connection import Connection

_CROWDED_MIN = 8
_RETRIES_MIN = 2


@dataclass(slots=True)
class Embryo:
    """What is known of one handshake."""

    young: bool = True
    """Its SYN,ACK was sent once only."""
    acknowledged: bool = False
    """The ACK has come, but there is no room, or nothing to read (TCP_DEFER_ACCEPT)."""


class SynQueue:
    """Connections in SYN-RECEIVED in the order of their SYNs."""

    def __init__(self) -> None:
        self._embryos: dict[Connection, Embryo] = {}
        self._young = 0

    def __len__(self) -> int:
        return len(self._embryos)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._embryos)

    def add(self, child: Connection) -> None:
        """A SYN has begun a handshake."""
        self._embryos[child] = Embryo()
        self._young += 1

    def remove(self, child: Connection) -> None:
        """It is over."""
        embryo = self._embryos.pop(child, None)
        if embryo is not None and embryo.young:
            self._young -= 1

    def acknowledged(self, child: Connection) -> None:
        """The ACK has come, and could not be used yet."""
        self._embryos[child].acknowledged = True

    def timed_out(self, child: Connection) -> None:
        """The ACK has not come in time."""
        embryo = self._embryos[child]
        if embryo.young:
            embryo.young = False
            self._young -= 1

    def retries(self, most: int, backlog: int) -> int:
        """How often a SYN,ACK is sent again: seldom while old handshakes crowd the queue that young ones need."""
        count, young = len(self), 2 * self._young
        if 2 * count <= max(_CROWDED_MIN, backlog):
            return most
        while most > _RETRIES_MIN and count >= young:
            most -= 1
            young *= 2
        return most

    def verdict(self, child: Connection, timeouts: int, retries: int, defer: int) -> tuple[bool, bool]:
        """Whether to give the handshake up, and whether to send its SYN,ACK again.

        With `defer` (TCP_DEFER_ACCEPT) one that was acknowledged is silent until `defer` time-outs are nearly over, and
        then has a last chance.
        """
        if not defer:
            return timeouts >= retries, True
        waits = self._embryos[child].acknowledged and timeouts < defer
        return timeouts >= retries and not waits, not self._embryos[child].acknowledged or timeouts >= defer - 1

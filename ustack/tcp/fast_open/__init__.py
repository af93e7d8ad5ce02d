"""TCP Fast Open: data on the SYN.  RFC 7413.

`cookies` makes and checks what a server gives a client, `server` opens connections by it, `cache` is what a client
keeps of it, `client` sends by it, `black_hole` notices paths that swallow it.  The bits here are those of Linux's
sysctl net.ipv4.tcp_fastopen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ustack.tcp.fast_open.client import ClientOpen
    from ustack.tcp.fast_open.server import ServerOpen

CLIENT = 0x1
SERVER = 0x2
CLIENT_WITHOUT_COOKIE = 0x4
SERVER_WITHOUT_COOKIE = 0x200
EVERY_LISTENER = 0x400

FAILURE_NONE = 0
FAILURE_NO_COOKIE = 1
FAILURE_DATA_NOT_ACKNOWLEDGED = 2
FAILURE_SYN_RETRANSMITTED = 3
"""Why data on a SYN were not taken: `tcpi_fastopen_client_fail` of TCP_INFO."""


@dataclass(slots=True)
class FastOpenState:
    """Fast Open's part of a connection."""

    client: ClientOpen | None = None
    """What this end's open does about it, if it was asked to."""
    server: ServerOpen | None = None
    """Set while a connection that a cookie has opened waits for the end of its handshake."""
    syn_data_acknowledged: bool = False
    """The data of the SYN, of either end, were taken."""
    failure: int = FAILURE_NONE
    """Why data on our SYN were not taken."""
    result_pending: bool = False
    """The user has not been told yet how the open has ended."""

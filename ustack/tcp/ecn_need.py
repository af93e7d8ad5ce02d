"""What a connection's congestion controller demands of ECN: its class attribute `ecn`.

"" is nothing, "classic" any feedback (RFC 8257), "accurate" that of RFC 9768, "accurate-ect1" besides that segments
leave as ECT(1) (RFC 9331).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import congestion

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def need(connection: Connection) -> str:
    """The demand of the controller, or of the one that the connection will have."""
    if connection.congestion is not None:
        return connection.congestion.ecn
    return congestion.kind(connection.controller_name).ecn


def capable_codepoint(connection: Connection) -> int:
    """The codepoint of ECN-capable packets: ECT(0) unless the controller is of the L4S kind.  RFC 9331 §4.1."""
    return int(lib.ECT_1 if need(connection) == "accurate-ect1" else lib.ECT_0)

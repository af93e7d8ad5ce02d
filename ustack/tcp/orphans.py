"""Connections that no user holds any more: how long they stay in FIN-WAIT-2, and how many there may be.

RFC 1122 §4.2.2.13, RFC 9293 §3.6; tcp(7): TCP_LINGER2, tcp_fin_timeout, tcp_max_orphans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.tcp import output, reset, timeouts

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment


def fin_wait_2_ns(connection: Connection) -> int:
    """How long an orphan stays in FIN-WAIT-2; less than 0 for not at all.  Never less than a FIN may need."""
    wait = connection.options.linger2_ns
    if wait is None:
        wait = connection.tcp.config.fin_wait_2_timeout_ns
    if wait < 0:
        return wait
    return max(wait, 4 * int(connection.tcb.rto_ns) - int(connection.tcb.rto_ns) // 2)


def enter_fin_wait_2(connection: Connection, now: int, segment: Segment | None = None) -> None:
    """An orphan is in FIN-WAIT-2, or a connection there has become one: limit its stay, or end it with a RST.

    `segment` is the one that has brought it there.
    """
    wait = fin_wait_2_ns(connection)
    if wait >= 0:
        timeouts.start_state_timer(connection, wait, now)
        return
    if segment is None:
        output.send_reset(connection, now)
    else:
        reset.send_reset(connection.tcp, segment, now)
    connection.fail(0)


def are_too_many(connection: Connection) -> bool:
    """Whether the stack has more orphans than it may: this one is reset."""
    return len(connection.tcp.orphans) > connection.tcp.config.max_orphans

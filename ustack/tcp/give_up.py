"""How long a connection is tried for: R1 and R2, the user's time-out, and the shorter patience with orphans.

RFC 9293 §3.8.3 (MUST-20 to MUST-22, SHLD-11), RFC 1122 §4.2.3.5; TCP_USER_TIMEOUT of tcp(7).

R2 is a number of retransmissions, but what is measured is time, as in Linux: that which so many retransmissions would
take if the first came after the least RTO.  A path with a long round trip is not given up later than one with a short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.config import MILLISECOND
from ustack.tcp import retransmission, user_timeout_option
from ustack.tcp.state import SYN_SENT

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_LEAST_NS = 200 * MILLISECOND
_ORPHAN_RETRIES = 8
"""The R2 of a connection that no user holds, where the configuration does not say otherwise."""


def duration_of(retries: int, first_ns: int, most_ns: int) -> int:
    """How long the waits before and after `retries` retransmissions are together, with back-off from `first_ns` on."""
    doublings = (most_ns // first_ns).bit_length() - 1
    if retries <= doublings:
        return ((2 << retries) - 1) * first_ns
    return ((2 << doublings) - 1) * first_ns + (retries - doublings) * most_ns


def has_lasted(
    connection: Connection, retries: int, now: int, user_timeout_ns: int = 0, first_ns: int = _LEAST_NS
) -> bool:
    """Whether retransmission has gone on for the user's time-out, or without one for as long as `retries` take."""
    tcb = connection.tcb
    if not tcb.retransmits:
        return False
    limit = user_timeout_ns or duration_of(retries, first_ns, connection.tcp.config.rto_max_ns)
    return bool(now - tcb.first_retransmit_ns >= limit)


def handshake_is_hopeless(connection: Connection, retries: int, now: int) -> bool:
    """Whether a SYN, or a SYN,ACK without listener, was sent often or long enough (MUST-22)."""
    config = connection.tcp.config
    most = retries + (config.syn_linear_timeouts if connection.tcb.state == SYN_SENT else 0)
    if connection.tcb.retransmits >= most:
        return True
    return has_lasted(connection, retries, now, user_timeout_option.in_force(connection), config.rto_initial_ns)


def passes_r1(connection: Connection, now: int) -> bool:
    """Whether the trouble should be reported (MUST-20, SHLD-9)."""
    return has_lasted(connection, connection.tcp.config.retries1, now)


def is_hopeless(connection: Connection, now: int) -> bool:
    """Whether data that nobody acknowledges are not sent again."""
    if not connection.tcb.snd_wnd and not connection.orphaned:
        return _closed_window_is_silent(connection, now)
    retries = connection.tcp.config.retries2
    if connection.orphaned:
        retries = orphan_retries(connection)
    return has_lasted(connection, retries, now, user_timeout_option.in_force(connection))


def _closed_window_is_silent(connection: Connection, now: int) -> bool:
    """Retransmissions into a window that was shrunk to nothing are probes: the peer need only answer.  SHLD-17."""
    tcb, user_timeout_ns = connection.tcb, user_timeout_option.in_force(connection)
    if not tcb.retransmits:
        return False
    limit = 2 * connection.tcp.config.rto_max_ns
    tried = now - tcb.first_retransmit_ns
    if user_timeout_ns:
        limit = min(limit, user_timeout_ns)
        if tried >= user_timeout_ns:
            return True
    return bool(now - tcb.last_received_ns > limit and tried > limit)


def orphan_retries(connection: Connection) -> int:
    """R2 for a connection that no user holds: none once the back-off has reached its limit after an ICMP error."""
    tcb, config = connection.tcb, connection.tcp.config
    alive = retransmission.backed_off_rto(tcb, config.rto_max_ns) < config.rto_max_ns
    if connection.soft_error and not alive:
        return 0
    return config.orphan_retries or (_ORPHAN_RETRIES if alive else 0)


def probing_is_hopeless(connection: Connection, now: int) -> bool:
    """Whether a window that stays closed is not probed again.

    A peer that answers keeps the connection open for ever (MUST-37), unless the user has set a time-out or let go.
    """
    tcb, limit = connection.tcb, user_timeout_option.in_force(connection)
    if limit and tcb.first_retransmit_ns and now - tcb.first_retransmit_ns >= limit:
        return True
    if not connection.orphaned:
        return bool(tcb.probes_sent >= connection.tcp.config.retries2)
    retries = orphan_retries(connection)
    return bool(tcb.probes_sent >= retries or tcb.backoff >= max(retries, _ORPHAN_RETRIES))


def note_start(tcb: Any, now: int) -> None:
    """What goes unanswered is sent again, or the closed window probed, for the first time now."""
    if not tcb.first_retransmit_ns:
        tcb.first_retransmit_ns = now

"""Where a connection's time goes: what it waits for, and how long its retransmission timer has kept expiring.

Only counts; nothing is decided here.  RFC 4898 §3.1 (tcpEStatsPerf) has the same times by other names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import flight
from ustack.tcp.state import CLOSE_WAIT, CLOSED, ESTABLISHED

if TYPE_CHECKING:
    from typing import Any

    from ustack.tcp.connection import Connection

_COUNT_MAX = 0xFFFF
"""Where the counters of time-outs stand still."""


def note_wait(connection: Connection, now: int, waits_for_peer: bool = False) -> None:
    """Output has done what it could: charge the time from now on to what keeps it from going on."""
    tcb = connection.tcb
    waits_for = lib.WAITS_NOTHING
    if tcb.sent.count or tcb.snd_ring.length:
        waits_for = lib.WAITS_PEER if waits_for_peer else _waits_for(connection)
    if waits_for != tcb.waits_for:
        tcb.waited_ns[tcb.waits_for] += now - tcb.waits_since_ns
        tcb.waits_for = waits_for
        tcb.waits_since_ns = now


def _waits_for(connection: Connection) -> int:
    """The network; or the user, if all is sent, cwnd is open and he found no room in the send buffer."""
    tcb = connection.tcb
    if not connection.sending.wants_room or connection.sending.chunks or tcb.state not in (ESTABLISHED, CLOSE_WAIT):
        return int(lib.WAITS_NETWORK)
    limited = flight.packets_in_flight(tcb) >= tcb.cwnd_packets
    return int(lib.WAITS_NETWORK if limited else lib.WAITS_APPLICATION)


def waited_ns(tcb: Any, waits_for: int, now: int) -> int:
    """How long the connection has waited for one thing in all; once it is deleted it waits for nothing."""
    present = now - tcb.waits_since_ns if tcb.waits_for == waits_for and tcb.state != CLOSED else 0
    return int(tcb.waited_ns[waits_for]) + present


def note_timeout(tcb: Any, now: int) -> None:
    """The retransmission timer has expired; called before `tcb.retransmits` counts it."""
    tcb.timeouts = min(tcb.timeouts + 1, _COUNT_MAX)
    if not tcb.retransmits:
        tcb.timeout_episodes = min(tcb.timeout_episodes + 1, _COUNT_MAX)
        tcb.episode_ns = now


def end_timeouts(tcb: Any, now: int) -> None:
    """New data were acknowledged: the row of time-outs, if there was one, is over."""
    if tcb.episode_ns:
        tcb.time_in_timeouts_ns += now - tcb.episode_ns
        tcb.episode_ns = 0


def time_in_timeouts_ns(tcb: Any, now: int) -> int:
    """How long the retransmission timer has kept expiring, in all."""
    return int(tcb.time_in_timeouts_ns) + (now - tcb.episode_ns if tcb.episode_ns else 0)

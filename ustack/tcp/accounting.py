"""Where a connection's time goes: what it waits for, and how long its retransmission timer has kept expiring.

Only counts; nothing is decided here.  RFC 4898 §3.1 (tcpEStatsPerf) has the same times by other names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import output, window
from ustack.tcp.state import CLOSED

if TYPE_CHECKING:
    from typing import Any

    from ustack.tcp.connection import Connection

_COUNT_MAX = 0xFFFF
"""Where the counters of time-outs stand still."""


def note_wait(connection: Connection, now: int) -> None:
    """Output has done what it could: charge the time from now on to what keeps it from going on."""
    tcb = connection.tcb
    waits_for = _waits_for(connection) if tcb.sent.count or tcb.snd_ring.length else lib.WAITS_NOTHING
    if waits_for != tcb.waits_for:
        tcb.waited_ns[tcb.waits_for] += now - tcb.waits_since_ns
        tcb.waits_for = waits_for
        tcb.waits_since_ns = now


def _waits_for(connection: Connection) -> int:
    if _waits_for_peer(connection):
        return int(lib.WAITS_PEER)
    return int(lib.WAITS_NETWORK)


def _waits_for_peer(connection: Connection) -> bool:
    """Whether the next new segment would be allowed by the congestion window, but not by the peer's."""
    tcb = connection.tcb
    unsent = output.unsent_bytes(tcb)
    if unsent <= 0 or output.packets_in_flight(tcb) >= tcb.cwnd_packets:
        return False
    return window.usable_window(tcb) < min(unsent, int(tcb.snd_mss))


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

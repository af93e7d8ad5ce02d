"""Pacing: at what rate segments leave, and when the next one may.

The rate is always worked out, for super-segments are sized by it.  It holds segments back only where a controller needs
that (BBR, Prague), the user has set SO_MAX_PACING_RATE, or the stack is configured to pace everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.config import SECOND
from ustack.native import lib

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

UNLIMITED = (1 << 64) - 1
_UNPACED_SEGMENTS = 10
"""The first segments of a connection leave at once: as long as an initial window is, there is no rate to speak of."""
_SRTT_UNIT_NS = 125
"""An eighth of a microsecond, in which Linux keeps SRTT: without any it divides by one of these."""


def update(connection: Connection) -> None:
    """Publish the rate: the controller's own, or a share of cwnd a round trip.

    Twice of that while slow start doubles the window, 120 % as it comes near its end: so there is room to grow.
    """
    tcb, config = connection.tcb, connection.tcp.config
    assert connection.congestion is not None, "a synchronized connection has a controller"
    rate = connection.congestion.pacing_rate
    if not rate:
        starts = tcb.cwnd_packets < tcb.ssthresh_packets // 2
        ratio = config.pacing_ss_ratio if starts else config.pacing_ca_ratio
        window = max(int(tcb.cwnd_packets), int(tcb.sent.segments))
        rate = tcb.snd_mss * window * ratio * SECOND // (100 * (int(tcb.srtt_ns) or _SRTT_UNIT_NS))
    tcb.pacing_rate = min(rate, _limit(connection))


def limit_changed(connection: Connection, now: int) -> None:
    """SO_MAX_PACING_RATE counts at once."""
    if connection.congestion is not None:
        connection.tcb.paced_until_ns = min(int(connection.tcb.paced_until_ns), now)
        update(connection)


def is_paced(connection: Connection) -> bool:
    """Whether segments are held back."""
    controller = connection.congestion
    return (
        (controller is not None and controller.needs_pacing)
        or _limit(connection) != UNLIMITED
        or connection.tcp.config.pace_everything
    )


def must_wait(connection: Connection, now: int) -> bool:
    """Whether the next segment must not leave yet; then the timer runs."""
    tcb = connection.tcb
    if tcb.paced_until_ns <= now:
        return False
    if not tcb.deadline_ns[lib.TIMER_PACING]:
        tcb.deadline_ns[lib.TIMER_PACING] = tcb.paced_until_ns
        connection.tcp.timers.update(connection)
    return True


def note_sent(connection: Connection, length: int, now: int) -> None:
    """So many bytes leave: the next ones may follow when these are through, at the rate.

    A sender that is late may make up for it, by half at most.
    """
    tcb = connection.tcb
    rate: int = tcb.pacing_rate
    if tcb.data_segments_sent < _UNPACED_SEGMENTS or rate in (0, UNLIMITED) or not is_paced(connection):
        return
    duration = length * SECOND // rate
    late = now - int(tcb.paced_until_ns)
    if late > 0:
        duration -= min(duration // 2, late)
    tcb.paced_until_ns = max(now, int(tcb.paced_until_ns)) + duration


def _limit(connection: Connection) -> int:
    limit: Any = connection.options.max_pacing_rate
    return UNLIMITED if limit is None else int(limit)

"""The timestamps option: its clock, and PAWS.  RFC 7323 §4 and §5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.tcp import sequence

if TYPE_CHECKING:
    from ustack.tcp.segment import Segment

_TICK_NS = 1_000_000
"""One millisecond (RFC 7323 §5.4 allows 1 ms to 1 s)."""
_LONGEST_TICKS = 1 << 20
"""A round trip is not longer than this: some 17 minutes."""
OPTION_LENGTH = 12
"""With its padding."""
_FORGIVEN_TICKS = 1
_HALF = 1 << 31
_OUTDATED_NS = 24 * 86_400 * 1_000_000_000
"""After 24 days of idleness TS.Recent says nothing.  RFC 7323 §5.5."""


def ticks(now: int) -> int:
    """The clock of all connections, from which each has its offset."""
    return now // _TICK_NS


def value(tcb: Any, now: int) -> int:
    """TSval: our clock at `now`."""
    return int(ticks(now) + tcb.ts_offset) & sequence.MASK


def round_trip(tcb: Any, ts_echo: int, now: int) -> int:
    """The nanoseconds since we sent TSecr, at least a tick; 0 if we cannot have sent it.  RFC 7323 §4.1."""
    ticks = sequence.distance(ts_echo, value(tcb, now))
    return max(ticks, 1) * _TICK_NS if tcb.timestamps and ticks < _LONGEST_TICKS else 0


def is_old(tcb: Any, ts_value: int, now: int) -> bool:
    """Whether PAWS rejects a segment with this TSval.  RFC 7323 §5.3, R1.

    # DEVIATION RFC 7323 §5.3: as in Linux a tick back is forgiven, and a TS.Recent of 0 compares with nothing.
    """
    return _is_behind(tcb, ts_value, now, _FORGIVEN_TICKS)


def _is_behind(tcb: Any, ts_value: int, now: int, forgiven: int) -> bool:
    behind = sequence.distance(ts_value, tcb.ts_recent)
    return forgiven < behind < _HALF and now - tcb.ts_recent_ns < _OUTDATED_NS and bool(tcb.ts_recent)


def is_replayed(tcb: Any, ts_value: int) -> bool:
    """Whether an old TSval is so near that reordering explains it: by some retransmission time-out."""
    return bool(sequence.distance(ts_value, tcb.ts_recent) * _TICK_NS <= tcb.rto_ns * 6 // 5)


def update_recent(tcb: Any, segment: Segment, now: int) -> None:
    """Take TSval as TS.Recent if the segment covers Last.ACK.sent; PAWS has let it pass.  RFC 7323 §4.3 and §5.5."""
    assert segment.options.timestamps is not None, "the caller has seen the option"
    ts_value = segment.options.timestamps[0]
    if sequence.le(segment.seq, tcb.last_ack_sent) and not _is_behind(tcb, ts_value, now, 0):
        segment.timestamp_advanced = sequence.gt(ts_value, tcb.ts_recent)
        tcb.ts_recent = ts_value
        tcb.ts_recent_ns = now

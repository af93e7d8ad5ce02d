"""The rhythm of the data that arrive, and what it asks of the ACKs: quick mode, ping-pong mode, the time-out.

RFC 9293 §3.8.6.3, RFC 1122 §4.2.3.2, as Linux does it: at the beginning and after trouble ACKs leave at once, so that
the sender's window opens; where data answer data they wait to ride along.  `delayed_ack` decides by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp import receive_buffer
from ustack.wire.tcp import FIN, PSH, URG

if TYPE_CHECKING:
    from ustack.tcp.segment import Segment

TIMEOUT_LEAST_NS = 40_000_000
QUICK_ACKS_MOST = 16
_HEADER = 20
_MSS_DEFAULT = 536
_MSS_LEAST = 88
_COUNT_MAX = 255


def note_data(tcb: Any, segment: Segment, memory: int, now: int) -> None:
    """Data have arrived in order: an ACK is owed."""
    tcb.ack_scheduled = 1
    measure_segment_size(tcb, segment, memory)
    receive_buffer.measure_window(tcb, now)
    _follow_rhythm(tcb, now)
    receive_buffer.grow_window(tcb, len(segment.payload), memory)


def measure_segment_size(tcb: Any, segment: Segment, memory: int) -> None:
    """The peer's segment size, by which full segments are told from small ones; an end that was pushed is noted."""
    length = len(segment.payload)
    size = segment.gso_size or length
    before, tcb.last_segment_size = tcb.last_segment_size, 0
    if size >= tcb.rcv_mss:
        if size != tcb.rcv_mss:
            receive_buffer.scale(tcb, length, memory)
        tcb.rcv_mss = min(size, tcb.advmss)
        if segment.flags & PSH:
            tcb.ack_pushed = max(tcb.ack_pushed, 1)
    elif _note_small(tcb, segment, size, before):
        tcb.rcv_mss = before
    else:
        tcb.ack_pushed = 2 if tcb.ack_pushed else 1


def _note_small(tcb: Any, segment: Segment, size: int, before: int) -> bool:
    """Whether a segment is as large as the small one before it: then that is the peer's size.

    Sizes are compared without SACK blocks; what was not pushed is as full as the peer can fill it.
    """
    size += segment.header_length
    if size < _MSS_DEFAULT + _HEADER and (size < _MSS_LEAST + _HEADER or segment.flags & (FIN | URG | PSH)):
        return False
    tcb.last_segment_size = size - _HEADER - (12 if tcb.timestamps else 0)
    return bool(tcb.last_segment_size == before)


def _follow_rhythm(tcb: Any, now: int) -> None:
    """The time-out follows the time between segments; after a long silence the sender starts slowly again."""
    gap = now - tcb.last_data_received_ns
    timeout: int = tcb.ack_timeout_ns
    if not timeout:
        _raise_quick(tcb, QUICK_ACKS_MOST)
        tcb.ack_timeout_ns = TIMEOUT_LEAST_NS
    elif gap <= TIMEOUT_LEAST_NS // 2:
        tcb.ack_timeout_ns = timeout // 2 + TIMEOUT_LEAST_NS // 2
    elif gap < timeout:
        tcb.ack_timeout_ns = min(timeout // 2 + gap, tcb.rto_ns)
    elif gap > tcb.rto_ns:
        _raise_quick(tcb, QUICK_ACKS_MOST)
    tcb.last_data_received_ns = now


def _raise_quick(tcb: Any, most: int) -> None:
    quick = tcb.rcv_wnd // (2 * (int(tcb.rcv_mss) or 1)) or 2
    tcb.ack_quick = max(tcb.ack_quick, min(quick, most))


def enter(tcb: Any, most: int = QUICK_ACKS_MOST) -> None:
    """Trouble: up to `most` ACKs leave at once, so that the sender learns of it soon."""
    _raise_quick(tcb, most)
    tcb.ack_pingpong = 0
    tcb.ack_timeout_ns = TIMEOUT_LEAST_NS


def is_quick(tcb: Any) -> bool:
    """In quick mode."""
    return bool(tcb.ack_quick and not tcb.ack_pingpong)


def ack_sent(tcb: Any) -> None:
    """A segment with an ACK has left."""
    tcb.ack_compressed = 0
    tcb.deadline_ns[lib.TIMER_COMPRESSED_ACK] = 0
    if tcb.ack_quick and tcb.ack_scheduled:
        tcb.ack_quick -= 1
        if not tcb.ack_quick:
            tcb.ack_timeout_ns = TIMEOUT_LEAST_NS
    tcb.ack_now = tcb.ack_scheduled = tcb.ack_pushed = tcb.ack_no_memory = 0
    tcb.deadline_ns[lib.TIMER_DELAYED_ACK] = 0


def data_sent(tcb: Any, now: int) -> None:
    """Data have left: if soon after data came, this is an answer, and the next ACK may wait for one too."""
    if now - tcb.last_data_received_ns < tcb.ack_timeout_ns and tcb.ack_pingpong < _COUNT_MAX:
        tcb.ack_pingpong += 1

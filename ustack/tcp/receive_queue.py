"""Received data on its way to the user: in order in the ring, out of order placed beyond it.

RFC 9293 §3.10.7.4, seventh check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.drops import Drop, DropReason
from ustack.endpoint import PRIORITY, READABLE
from ustack.native import ffi, lib
from ustack.tcp import ecn, output, sequence

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

URGENT_READ = -2
"""The value of `urgent_byte` after the user has read it, while it still stands in the ring."""


def take(connection: Connection, segment: Segment, now: int) -> None:
    """Take the payload, which was trimmed to the window."""
    tcb = connection.tcb
    ecn.data_arrives(connection, segment, now)
    size = segment.gso_size or len(segment.payload)
    if size > tcb.rcv_mss:
        tcb.rcv_mss = min(size, tcb.rcv_mss_limit)
    if segment.seq == tcb.rcv_nxt:
        _take_in_order(connection, segment.payload)
        tcb.last_data_received_ns = now
    else:
        _take_out_of_order(connection, segment, now)


def _take_in_order(connection: Connection, payload: memoryview) -> None:
    tcb = connection.tcb
    count = len(payload)
    span = lib.ranges_span(ffi.addressof(tcb, "out_of_order"), tcb.rcv_nxt)
    _reserve(tcb, max(count, span), span)
    written = lib.ring_write(ffi.addressof(tcb, "rcv_ring"), ffi.from_buffer(payload), count)
    assert written == count, "the receive ring has room for the whole window"
    _advance(tcb, count)
    tcb.ack_pending_bytes += count
    if span:
        _join_out_of_order(connection)
    tcb.events |= READABLE


def _join_out_of_order(connection: Connection) -> None:
    """What was placed and is in order now.  The sender should hear at once that a hole is filled: RFC 5681 §4.2."""
    tcb = connection.tcb
    until = lib.ranges_advance(ffi.addressof(tcb, "out_of_order"), tcb.rcv_nxt)
    count = sequence.distance(tcb.rcv_nxt, until)
    if count:
        result = lib.ring_extend(ffi.addressof(tcb, "rcv_ring"), count)
        assert result == 0, "placed bytes are within the ring"
        _advance(tcb, count)
    tcb.ack_now = 1
    connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, bool(tcb.out_of_order.count) or connection.fin_seq >= 0)


def _advance(tcb: Any, count: int) -> None:
    tcb.rcv_nxt = sequence.add(tcb.rcv_nxt, count)
    tcb.rcv_wnd = max(tcb.rcv_wnd - count, 0)
    tcb.bytes_received += count


def _take_out_of_order(connection: Connection, segment: Segment, now: int) -> None:
    """Queue it (SHLD-31) and tell the sender at once with a duplicate ACK.  RFC 5681 §4.2."""
    tcb = connection.tcb
    tcb.out_of_order_segments += segment.count
    held = ffi.addressof(tcb, "out_of_order")
    offset = sequence.distance(tcb.rcv_nxt, segment.seq)
    count = len(segment.payload)
    span = lib.ranges_span(held, tcb.rcv_nxt)
    end = sequence.add(segment.seq, count)
    result = lib.ranges_add(held, segment.seq, end, connection.tcp.config.out_of_order_ranges)
    if result < 0:
        output.send_ack(connection, now)
        raise Drop(DropReason.TCP_OUT_OF_ORDER_LIMIT)
    _reserve(tcb, max(offset + count, span), span)
    placed = lib.ring_place(ffi.addressof(tcb, "rcv_ring"), offset, ffi.from_buffer(segment.payload), count)
    assert placed == 0, "the receive ring has room for the whole window"
    connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, True)
    output.send_ack(connection, now)


def _reserve(tcb: Any, beyond: int, placed: int) -> None:
    """Make room for `beyond` bytes after the ordered ones, of which the first `placed` may be in use."""
    needed = tcb.rcv_ring.length + beyond
    if needed > tcb.rcv_ring.capacity:
        result = lib.ring_reserve(ffi.addressof(tcb, "rcv_ring"), needed, placed)
        assert result == 0, "memory for the receive ring"


def first_unread(tcb: Any) -> int:
    """The sequence number of the first byte that the user has not read."""
    return sequence.add(tcb.rcv_nxt, -tcb.rcv_ring.length - tcb.fin_received)


def take_urgent(connection: Connection, segment: Segment) -> None:
    """Note where the urgent data end.  RFC 9293 §3.8.5 (MUST-30 to MUST-32), RFC 6093.

    SEG.UP points to the byte after the last urgent one (MUST-62); that last byte is the socket interface's out-of-band
    byte.
    """
    tcb = connection.tcb
    up = sequence.add(segment.seq, segment.urgent_pointer)
    pending = connection.urgent_seq >= 0
    if (pending and not sequence.gt(up, tcb.rcv_up)) or not sequence.gt(up, first_unread(tcb)):
        return
    tcb.rcv_up = up
    connection.urgent_seq = sequence.add(up, -1)
    connection.urgent_byte = -1
    connection.wants_slow_path(lib.SLOW_URGENT, True)
    connection.raise_event(PRIORITY)


def extract_urgent(connection: Connection) -> None:
    """Once the urgent byte has arrived in order, keep a copy apart unless it stays in line.

    It leaves the stream when read over.
    """
    if connection.urgent_byte != -1 or connection.options.out_of_band_inline:
        return
    tcb = connection.tcb
    offset = sequence.distance(first_unread(tcb), connection.urgent_seq)
    if offset >= tcb.rcv_ring.length:
        return
    byte = ffi.new("uint8_t[1]")
    lib.ring_peek(ffi.addressof(tcb, "rcv_ring"), offset, byte, 1)
    connection.urgent_byte = byte[0]
    connection.raise_event(PRIORITY)

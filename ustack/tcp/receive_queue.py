"""Received data on its way to the user: in order in the ring, out of order placed beyond it.

RFC 9293 §3.10.7.4, seventh check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.drops import Drop, DropReason
from ustack.endpoint import PRIORITY, READABLE
from ustack.native import ffi, lib
from ustack.tcp import delayed_ack, ecn, quick_ack, receive_buffer, selective_acks, sequence, window

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

_BLOCKS_EXPECTED = 2
"""SACK blocks that fit most segments: of more some would be lost with a lost ACK."""
URGENT_READ = -2
"""The value of `urgent_byte` after the user has read it, while it still stands in the ring."""


def take(connection: Connection, segment: Segment, now: int) -> None:
    """Take the payload and FIN of a segment, of which at least the beginning is in the window or old.

    What was had before is dropped, and told the sender with a duplicate SACK (RFC 2883 §4); of bytes that differ from
    those that came first the first ones count.
    """
    tcb = connection.tcb
    tcb.has_duplicate_sack = 0
    nxt: int = tcb.rcv_nxt
    room = window.receive_window(tcb)
    cost = receive_buffer.packet_length(tcb, segment)
    if sequence.le(segment.end, nxt):
        selective_acks.duplicate(connection, segment.seq, segment.end)
        _refuse(tcb, DropReason.TCP_OUT_OF_WINDOW)
    if sequence.ge(segment.seq, sequence.add(nxt, room)) and not (segment.seq == nxt and not segment.payload):
        _refuse(tcb, DropReason.TCP_OUT_OF_WINDOW)
    if sequence.gt(segment.seq, nxt):
        _take_out_of_order(connection, segment, cost, now)
        return
    if segment.seq != nxt:
        selective_acks.duplicate(connection, segment.seq, nxt)
        if not room:
            _refuse(tcb, DropReason.TCP_OUT_OF_WINDOW)
        _cut_front(segment, nxt)
    _take_in_order(connection, segment, cost, now)


def _refuse(tcb: Any, reason: DropReason) -> None:
    """Drop the segment; its sender must not wait long for the answer."""
    quick_ack.enter(tcb)
    tcb.ack_scheduled = 1
    raise Drop(reason)


def _cut_front(segment: Segment, nxt: int) -> None:
    early = sequence.distance(segment.seq, nxt)
    segment.payload = segment.payload[early:]
    segment.seq = nxt


def holds_out_of_order(connection: Connection) -> bool:
    """Whether data or a FIN beyond a hole are held."""
    return bool(connection.tcb.out_of_order.count) or connection.fin_seq >= 0


def _take_in_order(connection: Connection, segment: Segment, cost: int, now: int) -> None:
    tcb = connection.tcb
    payload = segment.payload
    count = len(payload)
    if not receive_buffer.admits(tcb, segment.seq):
        tcb.ack_no_memory = tcb.ack_now = tcb.ack_scheduled = 1
        connection.raise_event(READABLE)
        if tcb.rcv_ring.length and count:
            raise Drop(DropReason.TCP_NO_MEMORY)
    tcb.ack_scheduled = 1
    if not count:
        return
    ecn.data_arrives(connection, segment, now)
    span = lib.ranges_span(ffi.addressof(tcb, "out_of_order"), tcb.rcv_nxt)
    _reserve(tcb, max(count, span), span)
    lib.held_segments_add(ffi.addressof(tcb, "held"), count, cost)
    written = lib.ring_write(ffi.addressof(tcb, "rcv_ring"), ffi.from_buffer(payload), count)
    assert written == count, "the receive ring has room for the payload"
    _advance(tcb, count)
    quick_ack.note_data(tcb, segment, lib.segment_memory(cost), now)
    if span:
        _join_out_of_order(connection, segment.seq)
    selective_acks.advance(tcb)
    tcb.events |= READABLE


def _join_out_of_order(connection: Connection, first: int) -> None:
    """What was placed and is in order now, since the data from `first` on have come.

    The sender should hear at once that the last hole is filled: RFC 5681 §4.2.
    """
    tcb = connection.tcb
    held = ffi.addressof(tcb, "out_of_order")
    _tell_duplicates(connection, first, tcb.rcv_nxt)
    memory, segments = held.memory, held.segments
    until = lib.ranges_advance(held, tcb.rcv_nxt)
    count = sequence.distance(tcb.rcv_nxt, until)
    if count:
        result = lib.ring_extend(ffi.addressof(tcb, "rcv_ring"), count)
        assert result == 0, "placed bytes are within the ring"
        lib.held_segments_join(ffi.addressof(tcb, "held"), count, memory - held.memory, segments - held.segments)
        _advance(tcb, count)
    if not holds_out_of_order(connection):
        tcb.ack_now = 1
    connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, holds_out_of_order(connection))


def _tell_duplicates(connection: Connection, start: int, end: int) -> None:
    """Of the data held out of order, what [start, end) has brought again, or what lies before its end in order."""
    held = connection.tcb.out_of_order
    for index in range(lib.ranges_first_beyond(ffi.addressof(connection.tcb, "out_of_order"), start), held.count):
        item = held.items[index]
        if sequence.ge(item.start, end):
            return
        first = item.start if sequence.gt(item.start, start) else start
        last = item.end if sequence.lt(item.end, end) else end
        selective_acks.duplicate(connection, first, last, more=True)


def _advance(tcb: Any, count: int) -> None:
    tcb.rcv_nxt = sequence.add(tcb.rcv_nxt, count)
    tcb.bytes_received += count


def _take_out_of_order(connection: Connection, segment: Segment, cost: int, now: int) -> None:
    """Queue it (SHLD-31).  RFC 5681 §4.2: the sender hears of it with a duplicate ACK."""
    tcb = connection.tcb
    count = len(segment.payload)
    ecn.data_arrives(connection, segment, now)
    if not receive_buffer.admits(tcb, segment.seq):
        connection.raise_event(READABLE)
        raise Drop(DropReason.TCP_OUT_OF_ORDER_LIMIT)
    tcb.ack_scheduled = 1
    if count:
        quick_ack.measure_segment_size(tcb, segment, lib.segment_memory(cost))
        _tell_duplicates(connection, segment.seq, sequence.add(segment.seq, count))
        _place(connection, segment, cost)
    tcb.out_of_order_segments += segment.count
    _tell_selectively(connection, segment, now)
    connection.wants_slow_path(lib.SLOW_OUT_OF_ORDER, True)
    if tcb.sack_permitted:
        receive_buffer.grow_window(tcb, count, lib.segment_memory(cost))
    if connection.accepted and not connection.orphaned:
        receive_buffer.grow_buffer(connection, tcb.rcv_space)


def _place(connection: Connection, segment: Segment, cost: int) -> None:
    """Put the payload where it belongs, beyond the ordered bytes.

    Where it overlaps with data that differ, those of the segment that begins earlier count, as in Linux.
    """
    tcb = connection.tcb
    held = ffi.addressof(tcb, "out_of_order")
    end = sequence.add(segment.seq, len(segment.payload))
    span = lib.ranges_span(held, tcb.rcv_nxt)
    start = lib.ranges_reach(held, segment.seq)
    if lib.ranges_add(held, segment.seq, end, cost, connection.tcp.config.out_of_order_ranges) < 0:
        raise Drop(DropReason.TCP_OUT_OF_ORDER_LIMIT)
    if not sequence.lt(start, end):
        return
    piece = segment.payload[sequence.distance(segment.seq, start) :]
    offset = sequence.distance(tcb.rcv_nxt, start)
    _reserve(tcb, max(offset + len(piece), span), span)
    placed = lib.ring_place(ffi.addressof(tcb, "rcv_ring"), offset, ffi.from_buffer(piece), len(piece))
    assert placed == 0, "the receive ring has room for the payload"


def _tell_selectively(connection: Connection, segment: Segment, now: int) -> None:
    """Note the segment for the SACK option; before the list of blocks grows long, what was held back is told."""
    tcb = connection.tcb
    if not tcb.sack_permitted:
        return
    if selective_acks.place_of(tcb, segment.seq, segment.end) >= _BLOCKS_EXPECTED:
        delayed_ack.release_compressed(connection, now)
    selective_acks.add(tcb, segment.seq, segment.end)


def _reserve(tcb: Any, beyond: int, placed: int) -> None:
    """Make room for `beyond` bytes after the ordered ones, of which the first `placed` may be in use."""
    needed = tcb.rcv_ring.length + beyond
    if needed > tcb.rcv_ring.capacity:
        result = lib.ring_reserve(ffi.addressof(tcb, "rcv_ring"), needed, placed)
        assert result == 0, "memory for the receive ring"


def forget(tcb: Any, count: int) -> None:
    """The user has taken `count` bytes."""
    lib.held_segments_drop(ffi.addressof(tcb, "held"), count)


def first_unread(tcb: Any) -> int:
    """The sequence number of the first byte that the user has not read."""
    return sequence.add(tcb.rcv_nxt, -tcb.rcv_ring.length - tcb.fin_received)


def take_urgent(connection: Connection, segment: Segment) -> None:
    """Note where the urgent data end.  RFC 9293 §3.8.5 (MUST-30 to MUST-32), RFC 6093.

    SEG.UP points to the byte after the last urgent one, or with `stdurg` to that one (MUST-62); that last byte is the
    socket interface's out-of-band byte.  A pointer to what was received already tells nothing.
    """
    tcb = connection.tcb
    pointer = segment.urgent_pointer
    if pointer and not connection.tcp.config.stdurg:
        pointer -= 1
    last = sequence.add(segment.seq, pointer)
    pending = connection.urgent_seq >= 0
    if sequence.lt(last, tcb.rcv_nxt) or (pending and not sequence.gt(last, connection.urgent_seq)):
        return
    if pending and not connection.options.out_of_band_inline:
        _skip_read_urgent(connection)
    tcb.rcv_up = sequence.add(last, 1)
    connection.urgent_seq = last
    connection.urgent_byte = -1
    connection.wants_slow_path(lib.SLOW_URGENT, True)
    connection.raise_event(PRIORITY)


def _skip_read_urgent(connection: Connection) -> None:
    """A reader that stands at the old mark passes over the old urgent byte, as in Linux."""
    tcb = connection.tcb
    if tcb.rcv_ring.length and first_unread(tcb) == connection.urgent_seq:
        lib.ring_drop(ffi.addressof(tcb, "rcv_ring"), 1)
        forget(tcb, 1)


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

"""What an acknowledgment does.  RFC 9293 §3.10.7.4, fifth check; RFC 5681 §2 (duplicate acknowledgment).

The ACKs of one burst are summed in `tcb.acked`, by C or here alike; `ack_sample.flush` passes the sum on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.endpoint import WRITABLE
from ustack.native import ffi, lib
from ustack.tcp import ecn, output, recovery, sequence, timestamps, window
from ustack.tcp.segment import Segment
from ustack.wire.tcp import FIN, SYN

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def process(connection: Connection, segment: Segment, now: int) -> None:
    """Take SEG.ACK, which is not beyond SND.NXT, and SEG.WND."""
    tcb = connection.tcb
    una: int = tcb.snd_una
    newly = sequence.gt(segment.ack, una)
    before: int = tcb.sent.segments
    delivered: int = tcb.delivered
    if newly:
        if tcb.ca_state and segment.options.timestamps is not None:
            connection.echoed_rtt_ns = timestamps.round_trip(tcb, segment.options.timestamps[1], now)
        _advance(connection, segment.ack, now)
    changed = False
    if sequence.ge(segment.ack, una):
        tcb.last_ack_received_ns = now
        was_closed = not tcb.snd_wnd
        changed = window.take_window(tcb, segment.seq, segment.ack, segment.window)
        if changed:
            connection.wants_slow_path(lib.SLOW_WINDOW, not tcb.snd_wnd)
            if was_closed:
                recovery.on_window_opened(connection, now)
    if ecn.ack_arrives(connection, segment, tcb.delivered - delivered, sequence.distance(una, tcb.snd_una)):
        recovery.on_congestion_echo(connection, now)
    if newly:
        recovery.on_acknowledged(connection, before - tcb.sent.segments, now)
    elif (
        segment.ack == una
        and tcb.sent.count
        and not changed
        and not segment.payload
        and not segment.flags & (SYN | FIN)
    ):
        recovery.on_duplicate_ack(connection, now)


def _advance(connection: Connection, ack: int, now: int) -> None:
    """SND.UNA = `ack`; what is acknowledged leaves the queue and the ring."""
    tcb = connection.tcb
    if not tcb.acked_at_ns:
        tcb.prior_in_flight = output.packets_in_flight(tcb)
    before = tcb.acked.segments
    lib.sent_queue_acknowledge(ffi.addressof(tcb, "sent"), ack, ffi.addressof(tcb, "acked"))
    tcb.acked_at_ns = now
    tcb.delivered += tcb.acked.segments - before
    tcb.delivered_ns = now
    dropped = lib.ring_drop(ffi.addressof(tcb, "snd_ring"), sequence.distance(tcb.snd_ring_seq, ack))
    tcb.snd_ring_seq = sequence.add(tcb.snd_ring_seq, dropped)
    tcb.bytes_acked += sequence.distance(tcb.snd_una, ack)
    tcb.snd_una = ack
    if dropped:
        tcb.events |= WRITABLE
    if sequence.le(tcb.snd_up, ack):
        tcb.snd_up = ack
        connection.wants_slow_path(lib.SLOW_URGENT, connection.urgent_seq >= 0)

"""Probing a window that is closed or too small, and what was held back for too long.  RFC 9293 §3.8.6.1, §3.8.6.2.1.

One timer serves both: when it expires and the peer's window is open, Nagle, a cork or silly-window avoidance have held
data back, and a segment of them leaves (the override time-out, MUST-60); else a probe asks for the window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import cwnd_validation, output, retransmission, sequence, super_segment, write_queue

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def send(connection: Connection, now: int) -> bool:
    """One segment of what is unsent, as far as the window is open, with PUSH; else a probe without data.

    False if the device had no room for it.
    """
    tcb = connection.tcb
    room = super_segment.window_room(tcb)
    if room <= 0:
        return output.send_probe(connection, now)
    options = output.segment_options(connection, now)
    chunk = connection.sending.chunks[0]
    length = min(chunk.length, room, int(tcb.snd_mss))
    chunk.flags |= lib.SENT_PUSH
    if chunk.length == length == room and chunk.flags & lib.SENT_FIN:
        write_queue.part_fin(connection)
    end = sequence.add(tcb.snd_nxt, chunk.length)
    if sequence.lt(connection.sending.pushed_seq, end):
        connection.sending.pushed_seq = end
    left = output.send_chunk(connection, length, options, now, push=True)
    retransmission.watch(connection, now)
    return left


def window_taken(connection: Connection, changed: bool, answers: bool, now: int) -> None:
    """A segment's window was taken while something is unsent; it may answer a probe.

    `answers` tells that nothing was outstanding, and that it is no segment of a peer who merely sends data.
    """
    if changed:
        cwnd_validation.restart_after_idle(connection, now)
    if answers:
        _answered(connection, now)


def _answered(connection: Connection, now: int) -> None:
    """The timer stops if the first chunk may leave now, else it starts anew."""
    tcb = connection.tcb
    chunk = connection.sending.chunks[0]
    if chunk.length + (chunk.flags & lib.SENT_FIN != 0) <= super_segment.window_room(tcb):
        tcb.backoff = 0
        retransmission.disarm(tcb)
    else:
        retransmission.probe_later(connection, now)

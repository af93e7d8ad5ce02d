"""How much of what the user writes is held: SO_SNDBUF with Linux's accounting.  RFC 9293 §3.10.2, RFC 7323 §2.1.

Linux charges a socket for memory, not for bytes: every buffer descriptor of its write queue and of its retransmission
queue costs `CHUNK_OVERHEAD` beside the bytes that it holds in page fragments.  What a write takes, when it blocks and
when poll() shows room again follow from that sum, so programs and scripts depend on it.  Here a descriptor is a `Chunk`
of unsent data or an entry of the queue of sent segments, which are cut alike; the sum is computed from the two counts
when it is asked for, so nothing has to be kept in step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ustack.endpoint import WRITABLE

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.write_queue import Chunk

_HEADROOM = 320
"""For the headers of one packet, with those of tunnels."""
_DESCRIPTOR = 256
_FRAGMENT_TABLE = 320
CHUNK_OVERHEAD = _HEADROOM + _FRAGMENT_TABLE + _DESCRIPTOR
"""Memory that a chunk costs beside its bytes, on a 64-bit Linux with 64-byte cache lines."""
_SEGMENTS_LEAST = 10


@dataclass(slots=True)
class SendState:
    """What a connection knows of the user's writing, beside the chunks themselves."""

    chunks: list[Chunk] = field(default_factory=list)
    """What was written, or the FIN, and was never sent: see `write_queue`."""
    pushed_seq: int = 0
    """The sequence number up to which PUSH was set last."""
    released: bool = False
    """The user has set TCP_NODELAY, or uncorked: what is unsent now leaves whatever Nagle says."""
    grown_buffer: int = 0
    """What the send buffer has grown to by itself; 0 before."""
    wants_room: bool = False
    """Somebody has found the send buffer full: he is told when it is not any more (Linux's SOCK_NOSPACE)."""


def charged(connection: Connection) -> int:
    """The memory that is charged for what was written and is not acknowledged."""
    tcb = connection.tcb
    return int(tcb.snd_ring.length) + CHUNK_OVERHEAD * (int(tcb.sent.count) + len(connection.sending.chunks))


def has_room(connection: Connection) -> bool:
    """Whether one more chunk may be begun, whose bytes may then exceed the limit."""
    return charged(connection) < connection.send_limit and unsent_bytes(connection.tcb) < unsent_limit(connection)


def is_writable(connection: Connection) -> bool:
    """Whether poll() shows room: a third of the buffer is free, and what is unsent is half of its own limit."""
    held = charged(connection)
    room = connection.send_limit - held
    return room > 0 and room >= held >> 1 and 2 * unsent_bytes(connection.tcb) < unsent_limit(connection)


def unsent_bytes(tcb: Any) -> int:
    """Bytes in the send ring that were never sent."""
    if tcb.fin_sent:
        return 0
    return int(tcb.snd_ring.length) - ((int(tcb.snd_nxt) - int(tcb.snd_ring_seq)) & 0xFFFF_FFFF)


def unsent_limit(connection: Connection) -> int:
    """TCP_NOTSENT_LOWAT: with this much unsent, nothing more is taken."""
    return connection.options.notsent_lowat or connection.tcp.config.notsent_lowat


def grow(connection: Connection) -> None:
    """Let the buffer hold as many windows as the controller wants, as if each segment were a packet of its own.

    The user's own size stays.  Called when the connection is established, and while the buffer and not the window
    limits the sender.
    """
    if connection.options.send_buffer:
        return
    tcb, config = connection.tcb, connection.tcp.config
    packet = max(int(tcb.peer_mss), int(tcb.snd_mss)) + _HEADROOM + _FRAGMENT_TABLE
    memory = (1 << (packet - 1).bit_length()) + _DESCRIPTOR
    windows = 2 if connection.congestion is None else connection.congestion.send_buffer_windows
    wanted = windows * max(_SEGMENTS_LEAST, int(tcb.cwnd_packets)) * memory
    if wanted > connection.send_limit:
        connection.sending.grown_buffer = min(wanted, config.wmem[2])


def note_full(connection: Connection) -> None:
    """Somebody wants to write and cannot: he is told once `is_writable`."""
    connection.sending.wants_room = True


def acknowledged(connection: Connection, in_flight: int) -> None:
    """What the peer has acknowledged has left the buffer: tell who waits for that."""
    if not connection.sending.wants_room:
        return
    if in_flight < connection.tcb.cwnd_packets:
        grow(connection)
    if is_writable(connection):
        connection.sending.wants_room = False
        connection.raise_event(WRITABLE)

"""The user's and the peer's side of a TCP connection, as tests of TCP need them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ustack.drops import DropReason
from ustack.sim.peer import Peer, Sent
from ustack.tcp import sequence
from ustack.tcp.connection import Connection
from ustack.tcp.state import State
from ustack.wire import tcp


def established(
    peer: Peer, window: int = 65535, round_trip: float = 0, send_buffer: int | None = 8 << 20, **options: Any
) -> Connection:
    """A connection that the peer has opened to a new listener: `round_trip` in milliseconds, options of the SYN.

    Its send buffer takes all that a test writes, unless the test is about that: None lets it grow by itself.
    """
    listener = peer.listen()
    listener.options.send_buffer = send_buffer
    peer.inject("S", 0, window=window, **options)
    syn_ack = peer.expect("S.", 0, 1)
    peer.advance(round_trip)
    scale = options.get("window_scale") or 0
    stamps: dict[str, Any] = {}
    if options.get("timestamps") is not None:
        assert syn_ack.options.timestamps is not None
        stamps["timestamps"] = (options["timestamps"][0], syn_ack.options.timestamps[0])
    peer.inject(".", 1, 1, window=window >> scale, **stamps)
    connection = listener.accept()
    assert isinstance(connection, Connection)
    peer.expect_nothing()
    return connection


def connected(peer: Peer, window: int = 65535, **options: Any) -> Connection:
    """A connection that the stack has opened to the peer."""
    connection = peer.connect()
    connection.options.send_buffer = 8 << 20
    peer.expect("S", 0)
    peer.inject("S.", 0, 1, window=window, **options)
    peer.expect(".", 1, 1)
    return connection


def write(peer: Peer, connection: Connection, data: bytes, flags: int = 0) -> int:
    """SEND by the user, and what the stack then transmits."""
    count = connection.send(data, flags, None, peer.now)
    peer.collect()
    return count


def read(peer: Peer, connection: Connection, size: int = 1 << 20, flags: int = 0) -> bytes:
    """RECEIVE by the user, and what the stack then transmits."""
    buffer = bytearray(size)
    count = connection.receive_into(buffer, flags, peer.now)[0]
    peer.collect()
    return bytes(buffer[:count])


def close(peer: Peer, connection: Connection) -> None:
    """CLOSE by the user, and what the stack then transmits."""
    connection.close(peer.now)
    peer.collect()


def shut(peer: Peer, connection: Connection, how: int) -> None:
    """Shutdown by the user, and what the stack then transmits."""
    connection.shutdown(how, peer.now)
    peer.collect()


def set_option(peer: Peer, connection: Any, name: str, value: object) -> None:
    """Set an option as setsockopt does, and what the stack then transmits."""
    setattr(connection.options, name, value)
    connection.option_changed(name, peer.now)
    peer.collect()


def state_of(connection: Connection) -> State:
    """The state of the connection."""
    return State(connection.tcb.state)


def drain(peer: Peer) -> list[Sent]:
    """All that the stack has sent and nobody has looked at."""
    segments = list(peer.sent)
    peer.sent.clear()
    return segments


def payload_of(segments: list[Sent]) -> bytes:
    """The payload of segments in a row."""
    return b"".join(each.payload for each in segments)


def absolute_seq(sent: Sent) -> int:
    """The sequence number of a segment as it is in its header."""
    transport = sent.frame[20:] if len(sent.source) == 4 else sent.frame[40:]
    return tcp.parse(transport).seq


def sack_blocks(peer: Peer, sent: Sent) -> list[tuple[int, int]]:
    """The SACK blocks of a segment, relative to the peer's ISN."""
    return [
        (sequence.distance(peer.isn, left), sequence.distance(peer.isn, right))
        for left, right in sent.options.sack_blocks
    ]


@contextlib.contextmanager
def dropped(peer: Peer, reason: DropReason, count: int = 1) -> Iterator[None]:
    """Fail unless the body's packets end in `count` drops for `reason`, and in no other drop."""
    before = dict(peer.stack.counters)
    yield
    after = peer.stack.counters
    changed = {each: after[each] - before.get(each, 0) for each in after if after[each] != before.get(each, 0)}
    assert changed == ({reason: count} if count else {}), "\n".join([str(changed), *peer.log])

"""`DatagramQueue`: received datagrams that wait for a receive call; the memory is C's, for the fast path fills it too.

`native/include/ustack/datagram_queue.h` has the rules of the limit.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ustack.ip.packet import Packet
from ustack.native import ffi, lib
from ustack.wire import Buffer

_RECORD = struct.Struct("=16s16sHHBBBBIHH")
"""`struct datagram`."""

_REFUSED = -1
"""The limit is reached; C has counted the drop."""


class Datagram(NamedTuple):
    """What is known of a received datagram beside its payload."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    version: int
    ttl: int
    traffic_class: int
    interface: int
    """Index of the interface that it came by."""
    length: int
    """Bytes of the payload."""


class Record:
    """Room for one `struct datagram` on its way to or from C; all queues of a protocol share one."""

    __slots__ = ("cdata", "view")

    def __init__(self) -> None:
        assert _RECORD.size == ffi.sizeof("struct datagram"), "the record is laid out as in C"
        self.cdata: Any = ffi.new("struct datagram *")
        self.view = memoryview(ffi.buffer(self.cdata))


class DatagramQueue:
    """The queue of one endpoint: at most `limit` bytes of records, oldest first."""

    __slots__ = ("_arrivals_seen", "_drops_seen", "_record", "cdata")

    def __init__(self, record: Record, limit: int) -> None:
        self.cdata: Any = ffi.gc(ffi.new("struct datagram_queue *"), lib.datagram_queue_release)
        self.cdata.limit = limit
        self._record = record
        self._arrivals_seen = 0
        self._drops_seen = 0

    def __len__(self) -> int:
        count: int = self.cdata.count
        return count

    def push(self, packet: Packet, source_port: int, destination_port: int, payload: Buffer) -> bool:
        """Append a datagram that came in `packet`; False if there is no room for it, which counts as a drop."""
        record = self._record
        _RECORD.pack_into(
            record.view, 0,
            packet.source, packet.destination, source_port, destination_port, packet.version, packet.ttl,
            packet.traffic_class, packet.interface.index & 0xFF, len(payload), 0, 0,
        )  # fmt: skip
        refusal: int = lib.datagram_queue_push(self.cdata, record.cdata, ffi.from_buffer(payload))
        self._arrivals_seen += not refusal
        self._drops_seen += refusal == _REFUSED
        return not refusal

    def first(self) -> Datagram | None:
        """Describe the oldest datagram; None if there is none."""
        record = self._record
        if lib.datagram_queue_first(self.cdata, record.cdata):
            return None
        source, destination, source_port, destination_port, version, ttl, traffic_class, interface, length, _, _ = (
            _RECORD.unpack(record.view)
        )
        if version == 4:
            source, destination = source[:4], destination[:4]
        return Datagram(
            source, destination, source_port, destination_port, version, ttl, traffic_class, interface, length
        )

    def copy(self, buffer: Any) -> int:
        """Copy the oldest datagram's payload into a writable buffer, as far as it fits; returns how many bytes."""
        memory = ffi.from_buffer(buffer, require_writable=True)
        count: int = lib.datagram_queue_peek(self.cdata, memory, len(memory))
        return count

    def pop(self) -> None:
        """Remove the oldest datagram."""
        lib.datagram_queue_pop(self.cdata)

    def take_changes(self) -> tuple[int, int]:
        """How many datagrams C has queued, and how many it has refused, since the last call; `push` does not count."""
        arrivals: int = self.cdata.received - self._arrivals_seen
        drops: int = self.cdata.dropped - self._drops_seen
        self._arrivals_seen += arrivals
        self._drops_seen += drops
        return arrivals, drops

"""`Frame`: a packet outside of any burst with its offload metadata, and the software for offloads that a device lacks.

A frame that needs an offload is a super-segment (GSO), which must be cut to segments, or has a partial transport
checksum, which must be completed (virtio 1.2 §5.1.6.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ustack.burst import Burst, complete_checksum
from ustack.native import ffi, lib

GSO_OFFLOADS = {
    lib.GSO_TCPV4: lib.OFFLOAD_TSO4,
    lib.GSO_TCPV6: lib.OFFLOAD_TSO6,
    lib.GSO_UDP_L4: lib.OFFLOAD_USO,
}
"""Which OFFLOAD_ bit each kind of super-segment needs."""

_NO_ROOM = -1


@dataclass(slots=True)
class Frame:
    """A copy of a burst's frame.  `packet` starts at the IP header."""

    packet: bytes
    flags: int = 0
    gso_type: int = 0
    gso_size: int = 0
    header_length: int = 0
    checksum_start: int = 0
    checksum_offset: int = 0

    @classmethod
    def copy(cls, burst: Burst, index: int) -> Frame:
        """Frame `index` of a burst."""
        source = burst.cdata.frames[index]
        packet = bytes(burst.frame(index))
        if not source.flags and not source.gso_type:
            return cls(packet)
        return cls(
            packet, source.flags, source.gso_type, source.gso_size,
            source.header_length, source.checksum_start, source.checksum_offset,
        )  # fmt: skip

    def completed(self) -> bytes:
        """The packet with its transport checksum complete."""
        if not self.flags & lib.FRAME_NEEDS_CHECKSUM:
            return self.packet
        return complete_checksum(self.packet, self.checksum_start, self.checksum_offset)

    def put(self, burst: Burst) -> bool:
        """Append it to a burst; False if there is no room."""
        if not burst.append(self.packet):
            return False
        if self.flags or self.gso_type:
            self._describe(burst.cdata.frames[len(burst) - 1])
        return True

    def _describe(self, target: Any) -> None:
        target.flags = self.flags
        target.gso_type = self.gso_type
        target.gso_size = self.gso_size
        target.header_length = self.header_length
        target.checksum_start = self.checksum_start
        target.checksum_offset = self.checksum_offset


def offload_needed(burst: Burst, index: int) -> int:
    """The OFFLOAD_ bits that a device must grant to take frame `index` as it is."""
    frame = burst.cdata.frames[index]
    needed: int = GSO_OFFLOADS.get(frame.gso_type, 0)
    if frame.flags & lib.FRAME_NEEDS_CHECKSUM:
        needed |= lib.OFFLOAD_CHECKSUM
    return needed


def adapt(burst: Burst, index: int, offload: int) -> Iterator[Frame]:
    """Frame `index` as one frame, or several, for a device that grants `offload`; nothing if its metadata is wrong."""
    missing = offload_needed(burst, index) & ~offload
    if missing & ~lib.OFFLOAD_CHECKSUM:
        for segments in cut(burst, index):
            for segment in segments.frames():
                yield Frame(bytes(segment))
    elif not missing or lib.burst_complete_checksum(burst.cdata, index) == 0:
        yield Frame.copy(burst, index)


def cut(burst: Burst, index: int) -> Iterator[Burst]:
    """Cut super-segment `index` to segments of its `gso_size` with complete checksums.

    Yields bursts of them, one in all but strange cases; nothing if the super-segment is malformed.
    """
    frame = burst.cdata.frames[index]
    data = burst.cdata.data + frame.offset
    segments = Burst()
    result = lib.segment_cut(segments.cdata, data, frame.length, frame.gso_size)
    if result == 0:
        yield segments
    elif result == _NO_ROOM:
        yield from _cut_in_two_steps(data, frame.length, frame.gso_size)


def _cut_in_two_steps(data: Any, length: int, size: int) -> Iterator[Burst]:
    """Cut to super-segments that make a whole burst each, then those."""
    parts = Burst()
    if lib.segment_cut(parts.cdata, data, length, size * lib.BURST_FRAMES) < 0:
        return
    for part in parts.frames():
        segments = Burst()
        if lib.segment_cut(segments.cdata, ffi.from_buffer(part), len(part), size) == 0:
            yield segments

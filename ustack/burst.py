"""`Burst`: an arena of frames between a device and the stack; the memory is C's (`native/include/ustack/burst.h`).

A frame starts at the IP header.  Frames may be super-segments with offload metadata, as a TUN device with IFF_VNET_HDR
has them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from ustack import errors
from ustack.native import ffi, lib


class Burst:
    """Frames in order; `cdata` is the `struct burst *` that C functions take."""

    __slots__ = ("_buffer", "cdata")

    def __init__(self, capacity: int = lib.BURST_BYTES) -> None:
        cdata = lib.burst_new(capacity)
        if cdata == ffi.NULL:
            raise errors.error(errno.ENOMEM)
        self.cdata: Any = ffi.gc(cdata, lib.burst_free)
        self._buffer = _arena(self.cdata)

    def __len__(self) -> int:
        count: int = self.cdata.count
        return count

    def frame(self, index: int) -> memoryview:
        """The bytes of frame `index`: they change when the burst is cleared and filled again."""
        frame = self.cdata.frames[index]
        return self._buffer[frame.offset : frame.offset + frame.length]

    def frames(self) -> Iterator[memoryview]:
        """The bytes of every frame."""
        for index in range(self.cdata.count):
            yield self.frame(index)

    def completed(self, index: int) -> bytes:
        """A copy of frame `index` whose transport checksum is complete, as a capture should show it."""
        frame = self.cdata.frames[index]
        if not frame.flags & lib.FRAME_NEEDS_CHECKSUM:
            return bytes(self.frame(index))
        return complete_checksum(self.frame(index), frame.checksum_start, frame.checksum_offset)

    def append(self, packet: bytes | bytearray | memoryview) -> bool:
        """Append a copy of a packet; False if there is no room."""
        result: int = lib.burst_append(self.cdata, ffi.from_buffer(packet), len(packet))
        return result == 0

    def append_frame(self, source: Burst, index: int) -> bool:
        """Append a copy of another burst's frame with its offload metadata; False if there is no room."""
        result: int = lib.burst_append_frame(self.cdata, source.cdata, index)
        return result == 0

    def clear(self) -> None:
        """Forget all frames."""
        lib.burst_clear(self.cdata)

    def drop(self, count: int) -> None:
        """Forget the first `count` frames."""
        lib.burst_drop(self.cdata, count)


def complete_checksum(packet: bytes | memoryview, start: int, offset: int) -> bytes:
    """A copy of a packet whose transport checksum, `offset` after `start`, held the pseudo-header's sum only.

    Offsets that do not fit the packet change nothing.  virtio 1.2 §5.1.6.2.
    """
    copy = bytearray(packet)
    field = start + offset
    if field + 2 <= len(copy):
        checksum = lib.checksum_compute(ffi.from_buffer(copy) + start, len(copy) - start, 0) or 0xFFFF
        copy[field : field + 2] = checksum.to_bytes(2, "big")
    return bytes(copy)


def _arena(burst: Any) -> memoryview:
    """All bytes of the arena; a view of them keeps the memory of the burst, even where nothing else does."""
    data = ffi.gc(burst.data, lambda _: burst)
    return memoryview(ffi.buffer(data, burst.capacity))

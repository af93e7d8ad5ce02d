"""The in-memory pipe: two devices that are each other's wire, to join two stacks in one process.

It works in virtual and in real time: whoever drives the stacks either looks with `read`, sets `on_readable`, or asks
for descriptors to poll.  Frames never age, and are lost only for want of room or because their metadata is wrong.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ustack import errors
from ustack.burst import Burst
from ustack.link.frame import Frame, adapt


@dataclass(slots=True)
class PipeCounters:
    """What one end has seen, in frames as its reader gets them."""

    read: int = 0
    arrived: int = 0
    """Frames that the other end has written and that were taken into the queue."""
    queue_full: int = 0
    """Frames for this end that found its queue full: tail drops."""
    malformed: int = 0
    """Frames for this end whose offload metadata did not fit them."""


class PipeEnd:
    """One end of a pipe: a `Device`.

    `on_readable`, if set, is called in the writer's thread when `read` would give something and would not before.
    """

    def __init__(self, name: str, mtu: int, offload: int, capacity_frames: int, *, descriptor: bool = False) -> None:
        self.name = name
        self.mtu = mtu
        self.offload = offload
        self.counters = PipeCounters()
        self.on_readable: Callable[[], None] | None = None
        self._peer: PipeEnd | None = None
        self._capacity_frames = capacity_frames
        self._queue: deque[Frame] = deque()
        self._readable_since = 0
        self._hung_up = False
        self._lock = threading.Lock()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if descriptor else -1
        self._closed = False

    def join(self, peer: PipeEnd) -> None:
        """Make `peer` the other end."""
        self._peer = peer

    def __len__(self) -> int:
        """Frames that wait to be read."""
        return len(self._queue)

    def read(self, burst: Burst, now: int) -> int:
        """As `Device.read`.  Raises EBADF after `close`, ENODEV when the other end is closed and nothing is left."""
        with self._lock:
            self._check_open()
            before = self.counters.read
            while self._queue and self._queue[0].put(burst):
                self._queue.popleft()
                self.counters.read += 1
            if not self._queue:
                self._signal(readable=False)
            count = self.counters.read - before
        if not count and not self._queue and self._peer is None:
            raise errors.error(errno.ENODEV, f"the other end of {self.name} is closed")
        return count

    def write(self, burst: Burst, now: int) -> int:
        """As `Device.write`: all are taken.  Raises EBADF after `close`, ENODEV when the other end is closed."""
        self._check_open()
        peer = self._peer
        if peer is None:
            raise errors.error(errno.ENODEV, f"the other end of {self.name} is closed")
        peer.take(burst, now)
        return len(burst)

    def take(self, burst: Burst, now: int) -> None:
        """Queue what the other end has written."""
        with self._lock:
            was_empty = not self._queue
            if was_empty:
                self._readable_since = now
            for index in range(len(burst)):
                self._take_frame(burst, index)
            became_readable = was_empty and bool(self._queue)
            if became_readable:
                self._signal(readable=True)
        if became_readable and self.on_readable is not None:
            self.on_readable()

    def _take_frame(self, burst: Burst, index: int) -> None:
        """Queue one frame, as what this end's reader can take, or drop it."""
        frames = list(adapt(burst, index, self.offload))
        if not frames:
            self.counters.malformed += 1
        for frame in frames:
            if len(self._queue) < self._capacity_frames:
                self._queue.append(frame)
                self.counters.arrived += 1
            else:
                self.counters.queue_full += 1

    def next_deadline(self) -> int | None:
        """Since when a frame waits, or the other end is closed; None while `read` would give nothing."""
        return self._readable_since if self._queue or self._hung_up else None

    def fileno(self) -> int:
        """An eventfd that is readable while frames wait, or -1 for a pipe without descriptors."""
        return self._eventfd

    def close(self) -> None:
        """Close both directions: the other end reads what is left for it and then finds its device gone."""
        peer, self._peer = self._peer, None
        with self._lock:
            self._closed = True
            self._hung_up = False
            self._queue.clear()
            if self._eventfd >= 0:
                os.close(self._eventfd)
                self._eventfd = -1
        if peer is not None:
            peer.hang_up()

    def hang_up(self) -> None:
        """The other end has closed."""
        self._peer = None
        with self._lock:
            self._hung_up = True
            self._signal(readable=True)
        if self.on_readable is not None:
            self.on_readable()

    def _check_open(self) -> None:
        if self._closed:
            raise errors.error(errno.EBADF, self.name)

    def _signal(self, *, readable: bool) -> None:
        """Make the descriptor readable or not; a closed pipe stays readable so that its end is noticed."""
        if self._eventfd < 0:
            return
        if readable:
            os.eventfd_write(self._eventfd, 1)
        elif self._peer is not None:
            try:
                os.eventfd_read(self._eventfd)
            except BlockingIOError:
                return


def pipe(
    mtu: int = 1500,
    offload: int | tuple[int, int] = 0,
    capacity_frames: int = 1000,
    names: tuple[str, str] = ("a", "b"),
    *,
    descriptors: bool = False,
) -> tuple[PipeEnd, PipeEnd]:
    """The two ends of a new pipe.

    `offload` is what the ends grant, both or each its own: a frame that needs more is cut or completed on its way.
    Beyond `capacity_frames` waiting frames in a direction the newest are dropped.  With `descriptors` each end has a
    pollable `fileno()`.
    """
    first_offload, second_offload = offload if isinstance(offload, tuple) else (offload, offload)
    first = PipeEnd(names[0], mtu, first_offload, capacity_frames, descriptor=descriptors)
    second = PipeEnd(names[1], mtu, second_offload, capacity_frames, descriptor=descriptors)
    first.join(second)
    second.join(first)
    return first, second

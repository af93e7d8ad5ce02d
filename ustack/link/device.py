"""The interface of every device, real or not, and of the middlewares that wrap one."""

from __future__ import annotations

from typing import Protocol

from ustack.burst import Burst


class Device(Protocol):
    """A source and sink of IP packets that never blocks.

    `offload` holds the OFFLOAD_ bits that the device grants: super-segments and partial checksums may be written if set, and may be
    read.  All methods may raise OSError; ENODEV, EBADF or EBADFD mean that the device is gone for good.
    """

    name: str
    mtu: int
    offload: int

    def read(self, burst: Burst, now: int) -> int:
        """Append what has arrived by `now` to `burst`; returns how many frames (0: nothing there now)."""
        ...

    def write(self, burst: Burst, now: int) -> int:
        """Send the burst's frames in order; returns how many were taken (the caller keeps the rest and tries again)."""
        ...

    def next_deadline(self) -> int | None:
        """When `read` will next give something by itself (delayed packets), or None.  Nanoseconds, as `now`."""
        ...

    def fileno(self) -> int:
        """A descriptor whose readability says that `read` would give something, or -1 if there is none."""
        ...

    def close(self) -> None:
        """Let go of the device; it may be called twice."""
        ...

"""The interface of every device, real or not, and of the middlewares that wrap one."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

from ustack.burst import Burst
from ustack.native import lib

GONE = frozenset({errno.ENODEV, errno.EBADF, errno.EBADFD})
"""The errors of a device that will never work again."""

OFFLOAD_NAMES = {
    lib.OFFLOAD_CHECKSUM: "checksum",
    lib.OFFLOAD_TSO4: "TSO4",
    lib.OFFLOAD_TSO6: "TSO6",
    lib.OFFLOAD_USO: "USO",
}
"""What people call the OFFLOAD_ bits."""

ALL_OFFLOADS = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6 | lib.OFFLOAD_USO


class Device(Protocol):
    """A source and sink of IP packets that never blocks.

    `offload` holds the OFFLOAD_ bits that the device grants: super-segments and partial checksums may be written if
    set, and may be read.  All methods may raise OSError; ENODEV, EBADF or EBADFD mean that it is gone for good.
    """

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def mtu(self) -> int:
        """The largest packet on its wire, in bytes."""
        ...

    @property
    def offload(self) -> int:
        """The OFFLOAD_ bits that it grants now."""
        ...

    def read(self, burst: Burst, now: int) -> int:
        """Append what has arrived by `now` to `burst`; returns how many frames (0: nothing there now)."""
        ...

    def write(self, burst: Burst, now: int) -> int:
        """Send the burst's frames in order; returns how many were taken (the caller keeps the rest and tries again)."""
        ...

    def next_deadline(self) -> int | None:
        """When `read` is next wanted though no descriptor says so, in the past if it is now; None if not.

        Nanoseconds, as `now`.  Delayed packets are due then, and what they do need not be seen in what `read` gives.
        """
        ...

    def fileno(self) -> int:
        """A descriptor whose readability says that `read` would give something, or -1 if there is none."""
        ...

    def close(self) -> None:
        """Let go of the device; it may be called twice."""
        ...


class Middleware:
    """A device around another one that passes everything on; a subclass changes what it means to change."""

    def __init__(self, device: Device) -> None:
        self.device = device

    @property
    def name(self) -> str:
        """The wrapped device's."""
        return self.device.name

    @property
    def mtu(self) -> int:
        """The wrapped device's."""
        return self.device.mtu

    @property
    def offload(self) -> int:
        """The wrapped device's."""
        return self.device.offload

    @property
    def on_readable(self) -> Callable[[], None] | None:
        """The hook of an in-memory device that is called when `read` would give something; None elsewhere."""
        return getattr(self.device, "on_readable", None)

    @on_readable.setter
    def on_readable(self, hook: Callable[[], None] | None) -> None:
        self.device.on_readable = hook  # type: ignore[attr-defined]

    def read(self, burst: Burst, now: int) -> int:
        """As `Device.read`."""
        return self.device.read(burst, now)

    def write(self, burst: Burst, now: int) -> int:
        """As `Device.write`."""
        return self.device.write(burst, now)

    def next_deadline(self) -> int | None:
        """As `Device.next_deadline`."""
        return self.device.next_deadline()

    def fileno(self) -> int:
        """As `Device.fileno`."""
        return self.device.fileno()

    def close(self) -> None:
        """As `Device.close`."""
        self.device.close()

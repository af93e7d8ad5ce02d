"""`PcapTap`: a middleware that shows every packet of a device to a capture, such as `observe.pcapng.PcapngWriter`."""

from __future__ import annotations

from typing import Protocol

from ustack.burst import Burst
from ustack.link.device import Device, Middleware


class Capture(Protocol):
    """Takes packets in the order in which they pass."""

    def packet(self, now: int, interface: str, outbound: bool, packet: bytes) -> None:
        """One packet, whole, from its IP header on; `outbound` is as the stack sees it."""
        ...


class PcapTap(Middleware):
    """A device whose packets a capture sees: super-segments as they are, checksums complete."""

    def __init__(self, device: Device, capture: Capture) -> None:
        super().__init__(device)
        self._capture = capture

    def read(self, burst: Burst, now: int) -> int:
        """As `Device.read`."""
        first = len(burst)
        count = self.device.read(burst, now)
        self._show(burst, range(first, first + count), now, outbound=False)
        return count

    def write(self, burst: Burst, now: int) -> int:
        """As `Device.write`; what the device does not take is not shown."""
        count = self.device.write(burst, now)
        self._show(burst, range(count), now, outbound=True)
        return count

    def _show(self, burst: Burst, indices: range, now: int, *, outbound: bool) -> None:
        for index in indices:
            self._capture.packet(now, self.name, outbound, burst.completed(index))

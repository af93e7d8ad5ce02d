"""`Wire`: carries packets between two devices, so that two hosts behind TUN devices meet through an impairment."""

from __future__ import annotations

import select
import time

from ustack.burst import Burst
from ustack.link.device import GONE, Device

_LONGEST_WAIT_NS = 100_000_000


class Wire:
    """What is read from one device is written to the other, both ways, until `stop` or until a device is gone."""

    def __init__(self, first: Device, second: Device) -> None:
        self._devices = (first, second)
        self._bursts = (Burst(), Burst())
        self._stopped = False

    def stop(self) -> None:
        """Let `run` return soon; called from another thread."""
        self._stopped = True

    def run(self) -> None:
        """Carry packets on the real clock."""
        poller = select.poll()
        for device in self._devices:
            poller.register(device.fileno(), select.POLLIN)
        try:
            while not self._stopped:
                if not self.carry(time.monotonic_ns()):
                    poller.poll(self._wait_ms(time.monotonic_ns()))
        except OSError as failure:
            if failure.errno not in GONE:
                raise

    def carry(self, now: int) -> int:
        """Carry what is there at `now`; returns how many frames."""
        first, second = self._devices
        return self._pass(first, second, self._bursts[0], now) + self._pass(second, first, self._bursts[1], now)

    @staticmethod
    def _pass(source: Device, target: Device, burst: Burst, now: int) -> int:
        """Read and write on; what the target does not take now is offered first the next time."""
        count = source.read(burst, now)
        if len(burst):
            burst.drop(target.write(burst, now))
        return count

    def _wait_ms(self, now: int) -> float:
        deadlines = [deadline for device in self._devices if (deadline := device.next_deadline()) is not None]
        if any(len(burst) for burst in self._bursts):
            return 1.0
        return min(max(min(deadlines, default=now + _LONGEST_WAIT_NS) - now, 0), _LONGEST_WAIT_NS) / 1_000_000

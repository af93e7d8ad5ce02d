"""The least round-trip time of some minutes: Kathleen Nichols' windowed minimum of three samples.

RFC 8985 §6.2 step 1 needs it, and BBR.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class WindowedMinimum:
    """The best, the second and the third best, each later than the one before."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    """(when, value), at most three."""

    def update(self, now: int, value: int, window_ns: int) -> int:
        """Take one sample; the minimum over the last `window_ns`."""
        samples = self.samples
        if not samples or value <= samples[0][1] or now - samples[2][0] > window_ns:
            self.samples = [(now, value)] * 3
            return value
        if value <= samples[1][1]:
            samples[1] = samples[2] = (now, value)
        elif value <= samples[2][1]:
            samples[2] = (now, value)
        self._age(now, value, window_ns)
        return self.samples[0][1]

    def _age(self, now: int, value: int, window_ns: int) -> None:
        """Samples fall out of the window at the front, and the window's parts are filled in time."""
        samples = self.samples
        elapsed = now - samples[0][0]
        if elapsed > window_ns:
            samples[:] = [samples[1], samples[2], (now, value)]
            if now - samples[0][0] > window_ns:
                samples[:] = [samples[1], samples[2], (now, value)]
        elif samples[1][0] == samples[0][0] and elapsed > window_ns // 4:
            samples[1] = samples[2] = (now, value)
        elif samples[2][0] == samples[1][0] and elapsed > window_ns // 2:
            samples[2] = (now, value)

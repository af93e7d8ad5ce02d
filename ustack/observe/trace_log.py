"""`TraceLog`: the last verdicts of a stack in memory, for the ladder and for those who want to look at them."""

from __future__ import annotations

import threading
from collections import deque

from ustack.trace import Verdict

ENTRIES = 10_000


class TraceLog:
    """Keeps the newest verdicts; a `Tracer`, and a `Capture` of what a stack sends.

    A stack tells what becomes of the packets that it receives, its devices see the packets that it sends: as the
    `tracer` of the stack and the capture of a `PcapTap` around its device, one log has both.
    """

    def __init__(self, entries: int = ENTRIES) -> None:
        self._verdicts: deque[Verdict] = deque(maxlen=entries)
        self._lock = threading.Lock()

    def record(self, verdict: Verdict) -> None:
        """Keep a verdict."""
        with self._lock:
            self._verdicts.append(verdict)

    def packet(self, now: int, interface: str, outbound: bool, packet: bytes) -> None:
        """Keep a packet that leaves; what arrives comes by `record`."""
        if outbound:
            self.record(Verdict(now, interface, outbound, packet, None, ""))

    def verdicts(self) -> list[Verdict]:
        """All that are kept, oldest first."""
        with self._lock:
            return list(self._verdicts)

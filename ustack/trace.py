"""What a stack tells of each packet: `Verdict`s, for a capture's comments, the ladder and the `drops` table.

A stack whose `tracer` is None spends nothing on this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ustack.drops import DropReason


@dataclass(slots=True)
class Verdict:
    """What became of one packet.  `packet` starts at the IP header."""

    now: int
    interface: str
    outbound: bool
    packet: bytes
    drop: DropReason | None
    comment: str
    """Why it went where it went, in words: the socket and the rule that chose it, or the reason of the drop."""


class Tracer(Protocol):
    """Takes verdicts in the order of the packets."""

    def record(self, verdict: Verdict) -> None:
        """One packet has found its end."""
        ...

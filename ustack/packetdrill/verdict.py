"""`Verdict`: how a run has ended, for people and for programs."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Result(enum.Enum):
    """What is said of a script."""

    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A script's result over one IP version, the line that decided it (0: none), and the exchange up to there."""

    path: str
    version: int
    result: Result
    reason: str = ""
    line: int = 0
    expected: str = ""
    actual: tuple[str, ...] = ()
    exchange: tuple[str, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, object]:
        """What `--json` prints."""
        return {
            "path": self.path,
            "ip_version": self.version,
            "verdict": self.result.value,
            "reason": self.reason,
            "line": self.line,
        }

    def explain(self, *, with_exchange: bool = True) -> str:
        """All that is known: the expected and the actual packet one above the other, and the exchange so far."""
        place = f"{self.path}:{self.line}" if self.line else self.path
        lines = [f"{place}: {self.result.value} (IPv{self.version})" + (f": {self.reason}" if self.reason else "")]
        if self.expected:
            lines.append(f"  expected  {self.expected}")
        lines += [f"  actual    {packet}" for packet in self.actual]
        if self.exchange and with_exchange:
            lines += ["  the exchange so far:", *(f"    {line}" for line in self.exchange)]
        return "\n".join(lines)

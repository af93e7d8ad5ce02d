"""What loss recovery keeps of a connection that C never needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from ustack.tcp.min_rtt import WindowedMinimum


@dataclass(slots=True)
class RecoveryState:
    """Beside the TCB."""

    min_rtt: WindowedMinimum = field(default_factory=WindowedMinimum)
    resend_due: bool = False
    """What is lost may be sent again as far as cwnd allows: the last ACK or time-out said so."""
    timed_nxt: int = -1
    """SND.NXT when a loss probe was last considered."""

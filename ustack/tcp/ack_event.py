"""What one acknowledgment, or the sum of a burst's ordinary ones, means to loss recovery.

The counts of segments are in `tcb.acked`; here is what the checks along the way have found out (the flags of RFC 6675
and RFC 8985 have no common name; they are those that every SACK sender keeps).
"""

from __future__ import annotations

from dataclasses import dataclass

SEND_NOTHING = 0
SEND_LOST = 1
SEND_NEW = 2


@dataclass(slots=True)
class AckEvent:
    """One acknowledgment on its way through `ack_sample.conclude`."""

    prior_una: int
    """SND.UNA before it."""
    prior_delivered: int
    """`tcb.delivered` before it."""
    prior_lost: int
    """`tcb.lost` before it."""
    prior_sacked: int = 0
    """Segments SACKed before it."""
    prior_highest_sacked: int = 0
    """The end of the highest of them."""
    ts_echo: int | None = None
    """TSecr, None without timestamps."""
    advanced: bool = False
    """SND.UNA has moved."""
    acked: bool = False
    """Whole segments were acknowledged cumulatively."""
    carries_data: bool = False
    updates_window: bool = False
    sacked: bool = False
    """Something is newly SACKed."""
    dsack: bool = False
    dsack_of_probe: bool = False
    """The DSACK is of a loss probe."""
    original: bool = False
    """Something sent only once, before the loss episode began, has arrived."""
    retransmitted: bool = False
    """Something sent more than once was acknowledged cumulatively."""
    ece: bool = False
    duplicates: int = 0
    """Duplicate ACKs that this one stands for."""
    sets_timer: bool = False
    """The retransmission timer starts again."""
    lost_retransmission: bool = False
    send: int = SEND_NOTHING
    """What may leave now beside new data in due order."""

    @property
    def not_duplicate(self) -> bool:
        """It carries data, a window or acknowledges something: RFC 5681 §2 says no to it as a duplicate."""
        return self.carries_data or self.updates_window or self.acked

    @property
    def alarming(self) -> bool:
        """It tells of something out of order."""
        return self.sacked or self.ece or self.dsack

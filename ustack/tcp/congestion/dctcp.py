"""Data Center TCP: the window comes down by as much as the share of marked packets says.  RFC 8257.

For networks under one administration only: its marks must come from queues with a low threshold (§5).  Without ECN on
the connection it is Reno.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ustack.tcp.congestion.controller import MIN_SSTHRESH, AckSample, LossSample
from ustack.tcp.congestion.reno import Reno
from ustack.tcp.congestion.rounds import Round

if TYPE_CHECKING:
    from ustack.config import TcpConfig

ALPHA_MAX = 1024
"""DCTCP.Alpha counts in 1/1024."""
_G_SHIFT = 4
"""The gain g of the average, 1/16.  §4.2."""


class Dctcp(Reno):
    """Reno but for marks: `on_ecn` takes α/2 of the window."""

    name = "dctcp"
    ecn = "classic"

    def __init__(self, initial_window: int, config: TcpConfig) -> None:
        super().__init__(initial_window, config)
        self.alpha = ALPHA_MAX
        """The average share of marked packets; at first all, so that a young connection is careful.  §4.2."""
        self._round = Round()
        self._delivered = 0
        self._delivered_ce = 0
        self._has_ecn = True
        self._ce_state = False

    def on_start(self, sample: AckSample) -> None:
        """The first observation window."""
        self._has_ecn = sample.has_ecn
        self._begin_round(sample)

    def observe(self, sample: AckSample) -> None:
        """At the end of each observation window: α = (1 − g) α + g M.  §3.3, steps 5 to 8."""
        if self._round.is_over(sample.snd_una):
            marked = sample.delivered_ce - self._delivered_ce
            self.alpha -= min(self.alpha, max(self.alpha >> _G_SHIFT, 1))
            if marked > 0:
                delivered = max(sample.delivered - self._delivered, 1)
                self.alpha = min(self.alpha + (marked << (10 - _G_SHIFT)) // delivered, ALPHA_MAX)
            self._begin_round(sample)

    def on_ce(self, is_ce: bool) -> bool:
        """The receiver's half: each ACK is of segments that were all marked, or all not.  §3.2."""
        changed = is_ce != self._ce_state
        self._ce_state = is_ce
        return changed

    def info(self) -> bytes:
        """As struct tcp_dctcp_info."""
        return struct.pack("=HHIII", self._has_ecn, self._ce_state, self.alpha, 0, 0)

    def _begin_round(self, sample: AckSample) -> None:
        self._round.begin(sample.snd_nxt)
        self._delivered = sample.delivered
        self._delivered_ce = sample.delivered_ce

    def on_ecn(self, sample: LossSample) -> None:
        """A window of (1 − α / 2) of itself.  §3.3, equation 9."""
        if self._has_ecn:
            self.ssthresh = max(self.cwnd - ((self.cwnd * self.alpha) >> 11), MIN_SSTHRESH)
        else:
            super().on_ecn(sample)

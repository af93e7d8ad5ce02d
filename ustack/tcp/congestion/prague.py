"""Prague: many small reductions in proportion to the marks, for the low-latency service of L4S.

draft-briscoe-iccrg-prague-congestion-control, RFC 9330, RFC 9331 §4.3.  It differs from DCTCP in a window with a
fraction, so that a few marks do not round away; in growing for unmarked packets also while marks come; and in behaving
below 25 ms as a flow of 25 ms would, so that short round trips do not starve long ones.  It needs accurate ECN and is
Reno without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.config import MILLISECOND, SECOND
from ustack.tcp.congestion.controller import CWND_MAX, MIN_SSTHRESH, AckSample, LossSample
from ustack.tcp.congestion.reno import Reno
from ustack.tcp.congestion.rounds import Round

if TYPE_CHECKING:
    from ustack.config import TcpConfig

_FRACTION = 20
"""Bits of the window's fraction."""
_ONE = 1 << _FRACTION
_ALPHA_BITS = 24
ALPHA_MAX = 1 << _ALPHA_BITS
_G_SHIFT = 4
"""The gain of the average, 1/16.  §2.3.2."""
REFERENCE_RTT_NS = 25 * MILLISECOND
"""RTT_virt: the round trip that shorter ones are taken for.  §2.3.4."""
_INDEPENDENT_AFTER = 4
"""Rounds after slow start before that."""
_MIN_RATE = 12_500
"""100 kbit/s."""


class Prague(Reno):
    """Owns the window in recovery too: it moves by one segment an ACK towards the fractional one."""

    name = "prague"
    controls_recovery = True
    needs_pacing = True
    ecn = "accurate-ect1"

    def __init__(self, initial_window: int, config: TcpConfig) -> None:
        super().__init__(initial_window, config)
        self.fractional_cwnd = initial_window << _FRACTION
        self._alpha_sum = 0
        """α times 1/g: what the average must not lose to rounding."""
        self._alpha_ns = 0
        self._reduced_ns = 0
        self._rounds = 0
        self._round = Round()
        self._delivered = 0
        self._delivered_ce = 0
        self._saw_ce = False
        self._in_loss = False
        self._srtt_ns = 0

    @property
    def alpha(self) -> int:
        """The average share of marked packets, of ALPHA_MAX."""
        return self._alpha_sum >> _G_SHIFT

    def on_start(self, sample: AckSample) -> None:
        """Without accurate ECN there is nothing to be proportional to: Reno from here.  §2.4.2."""
        if not sample.has_accurate_ecn:
            self.controls_recovery = self.needs_pacing = False
        self.fractional_cwnd = self.cwnd << _FRACTION
        self._alpha_ns = sample.now
        self._begin_round(sample)
        self._set_pacing_rate(sample)

    def on_ack(self, sample: AckSample) -> None:
        """Grow by what came unmarked, average the marks, and follow the fractional window."""
        if not self.controls_recovery:
            super().on_ack(sample)
            return
        self._srtt_ns = sample.srtt_ns
        self._grow(sample)
        self._follow_fraction()
        if self._round.is_over(sample.snd_una) and self._virtual_round_is_over(sample.now):
            self._average(sample)
        self._set_pacing_rate(sample)

    def on_loss(self, sample: LossSample) -> None:
        """Half, as any TCP that shares a queue with Reno.  §2.3.3."""
        super().on_loss(sample)
        self.fractional_cwnd -= self.fractional_cwnd >> 1
        self._in_loss = self.controls_recovery

    def on_ecn(self, sample: LossSample) -> None:
        """α/2 of the window, once a (virtual) round trip.  §2.3.2."""
        if not self.controls_recovery:
            super().on_ecn(sample)
            return
        if self._is_independent() and sample.now - self._reduced_ns < REFERENCE_RTT_NS:
            return
        self._reduced_ns = sample.now
        self.fractional_cwnd -= (self.alpha * self.fractional_cwnd + ALPHA_MAX) >> (_ALPHA_BITS + 1)

    def on_recovered(self, sample: LossSample) -> None:
        """Grow again."""
        self._in_loss = False
        if not self.controls_recovery:
            super().on_recovered(sample)

    def on_undo(self, prior_cwnd: int, prior_ssthresh: int) -> None:
        """As Reno; the fraction follows."""
        super().on_undo(prior_cwnd, prior_ssthresh)
        self._in_loss = False
        self.fractional_cwnd = max(self.fractional_cwnd, self.cwnd << _FRACTION)

    def on_idle(self, now: int, idle_ns: int, rto_ns: int) -> None:
        """Paced as it is, it sends no burst after an idle time."""
        if not self.controls_recovery:
            super().on_idle(now, idle_ns, rto_ns)

    def _grow(self, sample: AckSample) -> None:
        acked = sample.delivered_packets
        if sample.delivered_ce_packets:
            if not self._saw_ce:
                self.fractional_cwnd = (self.fractional_cwnd + 1) >> 1
            self._saw_ce = True
            acked -= sample.delivered_ce_packets
        if acked <= 0 or self._in_loss or not sample.is_cwnd_limited:
            return
        if self.in_slow_start and not sample.delivered_ce_packets:
            acked = self.slow_start(acked)
            self.fractional_cwnd = self.cwnd << _FRACTION
        if acked:
            self.fractional_cwnd += (acked * self._increase() << _FRACTION) // max(self.fractional_cwnd, _ONE)
        self.fractional_cwnd = min(self.fractional_cwnd, CWND_MAX << _FRACTION)

    def _increase(self) -> int:
        """The window's growth for each window acknowledged: (RTT / RTT_virt)² segments for short round trips."""
        rtt_ns = self._srtt_ns
        if self._rounds < _INDEPENDENT_AFTER or not rtt_ns or rtt_ns >= REFERENCE_RTT_NS:
            return _ONE
        return max((rtt_ns * rtt_ns << _FRACTION) // (REFERENCE_RTT_NS * REFERENCE_RTT_NS), 1)

    def _follow_fraction(self) -> None:
        wanted = max(-(-self.fractional_cwnd >> _FRACTION), MIN_SSTHRESH)
        if self.cwnd > wanted:
            self.cwnd -= 1
            self.ssthresh = self.cwnd
        elif self.cwnd < wanted:
            self.cwnd += 1

    def _average(self, sample: AckSample) -> None:
        """The end of a round: α = (1 − g) α + g F."""
        if self._saw_ce:
            marked = max(sample.delivered_ce - self._delivered_ce, 0)
            share = (marked << _ALPHA_BITS) // max(sample.delivered - self._delivered, 1)
            self._alpha_sum = min(self._alpha_sum - (self._alpha_sum >> _G_SHIFT) + share, ALPHA_MAX << _G_SHIFT)
            self._alpha_ns = sample.now
        self._begin_round(sample)
        if not self.in_slow_start:
            self._rounds += 1

    def _begin_round(self, sample: AckSample) -> None:
        self._round.begin(sample.snd_nxt)
        self._delivered = sample.delivered
        self._delivered_ce = sample.delivered_ce

    def _is_independent(self) -> bool:
        return not self.in_slow_start and self._rounds >= _INDEPENDENT_AFTER

    def _virtual_round_is_over(self, now: int) -> bool:
        return not self._is_independent() or now - self._alpha_ns >= REFERENCE_RTT_NS

    def _set_pacing_rate(self, sample: AckSample) -> None:
        """The window over a round trip; twice that in slow start.  §2.5.1."""
        if not sample.srtt_ns:
            return
        window = max(self.fractional_cwnd, sample.in_flight << _FRACTION)
        rate = max((window * sample.mss * SECOND // sample.srtt_ns) >> _FRACTION, _MIN_RATE)
        self.pacing_rate = 2 * rate if self.cwnd < self.ssthresh // 2 else rate

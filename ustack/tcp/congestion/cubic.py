"""CUBIC, the default: a window that grows by the time since the last congestion, not by round trips.  RFC 9438.

All arithmetic is in integers and scaled as Linux's is, so that the same ACKs give the same window: time in units of
1/1024 s, C = 41/1024, β = 717/1024.  Only the cube root is exact here, where Linux's is within 0.2 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.config import MILLISECOND, SECOND
from ustack.tcp.congestion.controller import (
    INFINITE_SSTHRESH,
    MIN_SSTHRESH,
    AckSample,
    CongestionController,
    LossSample,
)
from ustack.tcp.congestion.hystart import LOW_WINDOW, HyStart, HyStartPlusPlus

if TYPE_CHECKING:
    from ustack.config import TcpConfig

_SCALE = 1024
BETA = 717
"""β_cubic, 0.7.  RFC 9438 §4.6."""
BETA_ABE = 870
"""β_ecn of RFC 8511 §3 for CUBIC: 0.85."""
_C = 41
"""C, 0.04 segments a cubic tenth of a second, which is 0.4 a cubic second.  RFC 9438 §4.1.2."""
_CURVE_SHIFT = 40
"""What `_C * 10 * t³` must be shifted by: 10 for the scale of C, 3 · 10 for that of time."""
_FRIENDLY_NUMERATOR = 8 * (_SCALE + BETA) // 3 // (_SCALE - BETA)
"""Eight times the acknowledged windows of the Reno-friendly region for one segment, 1/α_cubic.  RFC 9438 §4.3."""
_UNKNOWN_PATH = 20
"""Before any congestion was met: a segment for every 20 acknowledged, 5 % a round trip, at least."""
_FASTEST = 2
"""At most half the window more in a round trip: the limit of `target`.  RFC 9438 §4.2."""
_RECALCULATE_MS = 31
"""How long the pace of growth may stay as it is while the window does."""


class Cubic(CongestionController):
    """RFC 9438 §4: concave up to W_max, convex beyond it, and never slower than Reno would be."""

    name = "cubic"

    def __init__(self, initial_window: int, config: TcpConfig) -> None:
        super().__init__(initial_window, config)
        self._hystart = HyStart(config.cubic_hystart_detect) if config.hystart == "linux" else None
        self._plusplus = HyStartPlusPlus() if config.hystart == "plusplus" else None
        self._reset()

    def _reset(self) -> None:
        self.w_max = 0
        """The window before the last reduction; 0 for none yet."""
        self._pace = 0
        """Segments to be acknowledged for one more in the window."""
        self._last_cwnd = 0
        self._last_ms = 0
        self._epoch_ms = 0
        """When this congestion avoidance began, 0 if it has not."""
        self._origin = 0
        self._k = 0
        """The time from the epoch to the plateau at `_origin`."""
        self._acked = 0
        self._w_est = 0
        """What Reno's window would be now.  RFC 9438 §4.3."""
        self._delay_min_ns = 0

    def on_start(self, sample: AckSample) -> None:
        """The first round begins."""
        if self._hystart:
            self._hystart.begin_round(sample.now, sample.snd_nxt)
        if self._plusplus:
            self._plusplus.begin(sample.snd_nxt)

    def observe(self, sample: AckSample) -> None:
        """Round-trip times: the least of them, and HyStart."""
        if not sample.rtt_ns or not sample.acked_packets:
            return
        if self._epoch_ms and sample.now // MILLISECOND - self._epoch_ms < SECOND // MILLISECOND:
            return
        rtt_ns = sample.rtt_ns
        if not self._delay_min_ns or rtt_ns < self._delay_min_ns:
            self._delay_min_ns = rtt_ns
        hystart = self._hystart
        if hystart and not hystart.found and self.in_slow_start and self.cwnd >= LOW_WINDOW:
            hystart.delay_min_ns = self._delay_min_ns
            if hystart.should_leave(sample):
                self.ssthresh = self.cwnd

    def on_ack(self, sample: AckSample) -> None:
        """Grow, but only while the window was the limit (RFC 9438 §4.2, RFC 7661 §4.1)."""
        acked = sample.delivered_packets
        if not sample.is_cwnd_limited:
            return
        if self.in_slow_start:
            acked = self._grow_in_slow_start(sample)
        if acked:
            self._follow_curve(acked, sample.now // MILLISECOND)
            self.avoid_congestion(self._pace, acked)

    def _grow_in_slow_start(self, sample: AckSample) -> int:
        plusplus = self._plusplus
        if not plusplus or self.ssthresh < INFINITE_SSTHRESH:
            return self.slow_start(sample.delivered_packets)
        if plusplus.should_leave(sample):
            self.ssthresh = self.cwnd
            return sample.delivered_packets
        return self.slow_start(plusplus.allowance(sample.delivered_packets, sample.is_paced))

    def on_loss(self, sample: LossSample) -> None:
        """Multiplicative decrease, and fast convergence: who loses early leaves room.  RFC 9438 §4.6, §4.7."""
        self._end_epoch()
        self.ssthresh = max(self.cwnd * BETA // _SCALE, MIN_SSTHRESH)

    def on_ecn(self, sample: LossSample) -> None:
        """As for a loss; with ABE the window keeps 0.85 of itself.  RFC 8511 §3."""
        self._end_epoch()
        beta = BETA_ABE if self.config.abe else BETA
        self.ssthresh = max(self.cwnd * beta // _SCALE, MIN_SSTHRESH)

    def on_timeout(self, sample: LossSample) -> None:
        """What was learned of the path is forgotten.  RFC 9438 §4.8."""
        self.on_loss(sample)
        self._reset()
        if self._hystart:
            self._hystart.found = False
            self._hystart.begin_round(sample.now, sample.snd_nxt)

    def on_transmit_start(self, now: int, idle_ns: int) -> None:
        """The time without anything to send does not count for growth.  RFC 9438 §5.8."""
        idle_ms = idle_ns // MILLISECOND
        if self._epoch_ms and idle_ms > 0:
            self._epoch_ms = min(self._epoch_ms + idle_ms, now // MILLISECOND)

    def _end_epoch(self) -> None:
        self._epoch_ms = 0
        self.w_max = self.cwnd * (_SCALE + BETA) // (2 * _SCALE) if self.cwnd < self.w_max else self.cwnd

    def _follow_curve(self, acked: int, now_ms: int) -> None:
        """Work out `_pace`: how many acknowledged segments are worth one, at most once a millisecond."""
        self._acked += acked
        if self._last_cwnd == self.cwnd and now_ms - self._last_ms <= _RECALCULATE_MS:
            return
        if not self._epoch_ms or now_ms != self._last_ms:
            self._last_cwnd, self._last_ms = self.cwnd, now_ms
            if not self._epoch_ms:
                self._begin_epoch(acked, now_ms)
            self._pace = self._pace_to(self._target(now_ms))
        self._be_friendly()
        self._pace = max(self._pace, _FASTEST)

    def _begin_epoch(self, acked: int, now_ms: int) -> None:
        """K and the plateau.  RFC 9438 §4.2, equation 2."""
        self._epoch_ms = now_ms or 1
        self._acked = acked
        self._w_est = self.cwnd
        self._origin = max(self.w_max, self.cwnd)
        self._k = cube_root(((self._origin - self.cwnd) << _CURVE_SHIFT) // (_C * 10))

    def _target(self, now_ms: int) -> int:
        """W_cubic(t + RTT).  RFC 9438 §4.2, equation 1."""
        elapsed_ms = now_ms - self._epoch_ms + -(-self._delay_min_ns // MILLISECOND)
        t = (elapsed_ms << 10) // 1000
        delta = (_C * 10 * abs(t - self._k) ** 3) >> _CURVE_SHIFT
        return self._origin - delta if t < self._k else self._origin + delta

    def _pace_to(self, target: int) -> int:
        pace = self.cwnd // (target - self.cwnd) if target > self.cwnd else 100 * self.cwnd
        return min(pace, _UNKNOWN_PATH) if not self.w_max else pace

    def _be_friendly(self) -> None:
        """Where Reno would have a larger window, so have we.  RFC 9438 §4.3."""
        step = (self.cwnd * _FRIENDLY_NUMERATOR) >> 3
        if self._acked > step:
            grown = (self._acked - 1) // step
            self._acked -= grown * step
            self._w_est += grown
        if self._w_est > self.cwnd:
            self._pace = min(self._pace, self.cwnd // (self._w_est - self.cwnd))


def cube_root(number: int) -> int:
    """The integer cube root, rounded down."""
    if number <= 0:
        return 0
    root = 1 << -(-number.bit_length() // 3)
    while True:
        better = (2 * root + number // (root * root)) // 3
        if better >= root:
            return root
        root = better

"""BBR's model of the path: its bandwidth, its round-trip time, and how much may be in flight.

draft-ietf-ccwg-bbr §4.5 (here §n is of it).  Bandwidths are bytes a second, volumes segments, times nanoseconds; gains
are per cent.  What a phase of the state machine does with the model is in `bbr`.
"""

from __future__ import annotations

from math import isqrt

from ustack.config import MILLISECOND, SECOND
from ustack.tcp.congestion.controller import AckSample
from ustack.tcp.congestion.delivery_rate import RateSample

INFINITE = 1 << 62
"""No bound."""
BETA = 70
"""BBR.Beta: what a loss leaves of the short-term bounds.  §2.7."""
HEADROOM = 15
"""BBR.Headroom: what is left to others."""
LOSS_THRESHOLD = 2
"""BBR.LossThresh: more loss than this while probing is too much."""
MIN_PIPE_CWND = 4
EXTRA_ACKED_ROUNDS = 5
"""Half of BBR.ExtraAckedFilterLen: two halves are kept."""
_EXTRA_ACKED_MAX_NS = 100 * MILLISECOND
_EPOCH_ACKED_MAX = 1 << 20
MIN_RTT_FILTER_NS = 10 * SECOND
"""BBR.MinRTTFilterLen."""
PROBE_RTT_INTERVAL_NS = 5 * SECOND

ECN_MAX_RTT_NS = 5 * MILLISECOND
"""Marks are answered in proportion only where the path is short enough for shallow queues."""
ECN_UNIT = 256
_ECN_GAIN = 16
_ECN_FACTOR = 85
"""A third: how much of the share of marks is taken off the bound of what may be in flight."""
ECN_THRESHOLD = 128
"""Half: more marks than this while probing are too much."""


class PathModel:
    """What the samples tell of the path.  §2.9, §2.10."""

    def __init__(self, initial_window: int) -> None:
        self.initial_window = initial_window
        self.mss = 0
        # Rounds, timed by packets.  §4.5.1
        self.round_count = 0
        self.round_start = False
        self._next_round_delivered = 0
        self.delivered = 0
        # Bandwidth.  §4.5.2
        self._max_bw = [0, 0]
        self.sample_bw = 0
        self.bw_latest = 0
        self.bw_short_term = INFINITE
        # Round-trip time.  §4.5.3
        self.min_rtt_ns = 0
        self.min_rtt_at_ns = 0
        self.probe_rtt_min_ns = 0
        self.probe_rtt_min_at_ns = 0
        self.probe_rtt_expired = False
        # Volume in flight.  §4.5.6
        self.inflight_latest = 0
        self.inflight_short_term = INFINITE
        self.inflight_long_term = INFINITE
        self.send_quantum = 2
        # Aggregation of ACKs.  §4.5.5
        self._extra_acked = [0, 0]
        self._extra_acked_rounds = 0
        self._epoch_ns = 0
        self._epoch_acked = 0
        # Signals of congestion
        self.loss_round_start = False
        self._loss_round_delivered = 0
        self.loss_in_round = False
        self.loss_in_cycle = False
        self.ecn_eligible = False
        self.ecn_in_round = False
        self.ecn_in_cycle = False
        self.ecn_alpha = ECN_UNIT
        self.ecn_share = 0
        """Of the last round, of ECN_UNIT."""
        self._alpha_delivered = 0
        self._alpha_delivered_ce = 0

    # What the model says.

    @property
    def max_bw(self) -> int:
        """The most that was delivered in the last two cycles."""
        return max(self._max_bw)

    @property
    def bw(self) -> int:
        """What may be sent: the most, unless recent losses say less."""
        return min(self.max_bw, self.bw_short_term)

    @property
    def extra_acked(self) -> int:
        """How many more segments than expected come acknowledged at once."""
        return max(self._extra_acked)

    def bdp(self, bandwidth: int, gain: int) -> int:
        """`gain` per cent of the bandwidth-delay product, in segments, rounded up.  §4.6.4.2."""
        if not self.min_rtt_ns or not self.mss:
            return self.initial_window
        return -(-bandwidth * self.min_rtt_ns * gain // (SECOND * 100 * self.mss))

    def quantized(self, segments: int) -> int:
        """Enough for super-segments on their way through both hosts.  §4.6.4.2, BBRQuantizationBudget()."""
        return max(segments, 3 * self.send_quantum, MIN_PIPE_CWND)

    def inflight(self, bandwidth: int, gain: int) -> int:
        """BBRInflight()."""
        return self.quantized(self.bdp(bandwidth, gain))

    def inflight_with_headroom(self) -> int:
        """BBRInflightWithHeadroom(): leave something to flows that come later."""
        if self.inflight_long_term == INFINITE:
            return INFINITE
        headroom = max(self.inflight_long_term * HEADROOM // 100, 1)
        return max(self.inflight_long_term - headroom, MIN_PIPE_CWND)

    def aggregation_budget(self) -> int:
        """Segments beyond the BDP that keep the sender going while ACKs are held up."""
        most = self.bw * _EXTRA_ACKED_MAX_NS // (SECOND * self.mss) if self.mss else 0
        return min(self.extra_acked, most)

    def is_inflight_too_high(self, rate: RateSample) -> bool:
        """IsInflightTooHigh(): the flight of the newest delivered segment has lost, or had marked, too much.

        # DEVIATION draft-ietf-ccwg-bbr §4.5.6.2: more than LossThresh by one standard deviation of such a count.  In a
        flight of some dozens of segments a single loss would be too much, and tells nothing.
        """
        threshold = rate.tx_in_flight * LOSS_THRESHOLD
        if rate.lost_packets * 100 > threshold + 10 * isqrt(threshold):
            return True
        return self.ecn_eligible and rate.delivered_ce_packets * ECN_UNIT > rate.delivered_packets * ECN_THRESHOLD

    # What changes it.

    def start(self, sample: AckSample) -> None:
        """BBROnInit(), of the model."""
        self.mss = sample.mss
        self.min_rtt_ns = self.probe_rtt_min_ns = sample.min_rtt_ns
        self.min_rtt_at_ns = self.probe_rtt_min_at_ns = self._epoch_ns = sample.now
        self.delivered = self._next_round_delivered = sample.delivered
        self._loss_round_delivered = sample.delivered + 1
        self._alpha_delivered, self._alpha_delivered_ce = sample.delivered, sample.delivered_ce

    def begin_round(self) -> None:
        """BBRStartRound()."""
        self._next_round_delivered = self.delivered

    def update_round(self, sample: AckSample) -> None:
        """BBRUpdateRound(): a round ends when a segment is acknowledged that was sent after it began."""
        self.mss = sample.mss
        self.delivered = sample.delivered
        rate = sample.rate
        self.round_start = rate is not None and rate.prior_delivered >= self._next_round_delivered
        if self.round_start:
            self.round_count += 1
            self.begin_round()
            self._average_marks(sample)

    def update_latest(self, sample: AckSample) -> None:
        """BBRUpdateLatestDeliverySignals(): the most of this round so far."""
        self.loss_round_start = False
        rate = sample.rate
        self.sample_bw = rate.bytes_per_second(sample.mss) if rate else 0
        if rate is None or not sample.delivered_packets:
            return
        self.bw_latest = max(self.bw_latest, self.sample_bw)
        self.inflight_latest = max(self.inflight_latest, rate.delivered_packets)
        if rate.prior_delivered >= self._loss_round_delivered:
            self._loss_round_delivered = sample.delivered
            self.loss_round_start = True

    def note_loss(self) -> None:
        """BBRNoteLoss(): the round of the loss begins with the first of them."""
        if not self.loss_in_round:
            self._loss_round_delivered = self.delivered
        self.loss_in_round = self.loss_in_cycle = True

    def take_bandwidth(self, is_app_limited: bool) -> None:
        """BBRUpdateMaxBw(): a sample for want of data counts only if it is the largest."""
        if not is_app_limited or self.sample_bw >= self.max_bw:
            self._max_bw[1] = max(self._max_bw[1], self.sample_bw)

    def advance_max_bw(self) -> None:
        """BBRAdvanceMaxBwFilter(): a cycle of probing is over."""
        if self._max_bw[1]:
            self._max_bw = [self._max_bw[1], 0]

    def advance_latest(self, sample: AckSample) -> None:
        """BBRAdvanceLatestDeliverySignals(): the next round starts with this sample."""
        if self.loss_round_start and sample.rate:
            self.bw_latest = self.sample_bw
            self.inflight_latest = sample.rate.delivered_packets

    def forget_congestion(self) -> None:
        """BBRResetCongestionSignals()."""
        self.loss_in_round = self.ecn_in_round = self.loss_in_cycle = self.ecn_in_cycle = False
        self.bw_latest = self.inflight_latest = 0

    def reset_short_term(self) -> None:
        """BBRResetShortTermModel()."""
        self.bw_short_term = self.inflight_short_term = INFINITE

    def adapt_short_term(self, cwnd: int) -> None:
        """BBRAdaptLowerBoundsFromCongestion(): loss or marks in a round in which nothing was probed."""
        by_marks = INFINITE
        if self.inflight_short_term == INFINITE and (self.ecn_in_round or self.loss_in_round):
            self.inflight_short_term = cwnd
        if self.ecn_in_round:
            cut = ECN_UNIT - self.ecn_alpha * _ECN_FACTOR // ECN_UNIT
            by_marks = self.inflight_short_term * cut // ECN_UNIT
        if self.loss_in_round:
            bound = self.max_bw if self.bw_short_term == INFINITE else self.bw_short_term
            self.bw_short_term = max(self.bw_latest, bound * BETA // 100, 1)
            self.inflight_short_term = max(self.inflight_latest, self.inflight_short_term * BETA // 100)
        self.inflight_short_term = min(self.inflight_short_term, by_marks)

    def update_aggregation(self, sample: AckSample, cwnd: int, pipe_is_full: bool) -> None:
        """BBRUpdateACKAggregation(): what came beyond the bandwidth since the epoch began."""
        if sample.rate is None or not sample.delivered_packets:
            return
        if self.round_start:
            self._extra_acked_rounds += 1
            if self._extra_acked_rounds >= (EXTRA_ACKED_ROUNDS if pipe_is_full else 1):
                self._extra_acked_rounds = 0
                self._extra_acked = [self._extra_acked[1], 0]
        expected = self.bw * (sample.now - self._epoch_ns) // (SECOND * sample.mss)
        if self._epoch_acked <= expected or self._epoch_acked >= _EPOCH_ACKED_MAX:
            self.begin_epoch(sample.now)
            expected = 0
        self._epoch_acked += sample.delivered_packets
        extra = min(self._epoch_acked - expected, cwnd)
        self._extra_acked[1] = max(self._extra_acked[1], extra)

    def begin_epoch(self, now: int) -> None:
        """Count what is acknowledged anew."""
        self._epoch_ns = now
        self._epoch_acked = 0

    def update_min_rtt(self, sample: AckSample) -> None:
        """BBRUpdateMinRTT(): the least of 10 s; one not seen again for 5 s must be probed for."""
        now, rtt_ns = sample.now, sample.rtt_ns
        self.probe_rtt_expired = now > self.probe_rtt_min_at_ns + PROBE_RTT_INTERVAL_NS
        if rtt_ns and (not self.probe_rtt_min_ns or rtt_ns < self.probe_rtt_min_ns or self.probe_rtt_expired):
            self.probe_rtt_min_ns = rtt_ns
            self.probe_rtt_min_at_ns = now
        expired = now > self.min_rtt_at_ns + MIN_RTT_FILTER_NS
        if self.probe_rtt_min_ns and (not self.min_rtt_ns or self.probe_rtt_min_ns <= self.min_rtt_ns or expired):
            self.min_rtt_ns = self.probe_rtt_min_ns
            self.min_rtt_at_ns = self.probe_rtt_min_at_ns

    def take_marks(self, sample: AckSample) -> None:
        """Whether this burst of ACKs told of marks that count."""
        if not self.ecn_eligible and sample.has_ecn and 0 < self.min_rtt_ns <= ECN_MAX_RTT_NS:
            self.ecn_eligible = True
        if self.ecn_eligible and sample.delivered_ce_packets:
            self.ecn_in_round = self.ecn_in_cycle = True

    def _average_marks(self, sample: AckSample) -> None:
        delivered = sample.delivered - self._alpha_delivered
        if self.ecn_eligible and delivered > 0:
            marked = max(sample.delivered_ce - self._alpha_delivered_ce, 0)
            self.ecn_share = min(marked * ECN_UNIT // delivered, ECN_UNIT)
            alpha = (ECN_UNIT - _ECN_GAIN) * self.ecn_alpha + _ECN_GAIN * self.ecn_share
            self.ecn_alpha = min(alpha // ECN_UNIT, ECN_UNIT)
        self._alpha_delivered, self._alpha_delivered_ce = sample.delivered, sample.delivered_ce

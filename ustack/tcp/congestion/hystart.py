"""When to leave slow start before it hurts: HyStart as Linux has it, and HyStart++ (RFC 9406).

Both watch the round-trip time of each round.  HyStart ends slow start at once; HyStart++ first grows more slowly for
some rounds (conservative slow start), and goes back if the delay was passing.  HyStart also takes a train of ACKs that
lasts for half a round trip as a sign that the pipe is full.
"""

from __future__ import annotations

from ustack.config import MILLISECOND
from ustack.tcp.congestion.controller import AckSample
from ustack.tcp.congestion.rounds import Round

DELAY_MIN_NS = 4 * MILLISECOND
DELAY_MAX_NS = 16 * MILLISECOND
"""MIN_RTT_THRESH and MAX_RTT_THRESH of RFC 9406 §4.3; HyStart's are the same."""
SAMPLES = 8
"""N_RTT_SAMPLE."""
LOW_WINDOW = 16
"""HyStart does not act below so many segments."""
_TRAIN_GAP_NS = 2 * MILLISECOND
"""ACKs closer than this are of one train."""
_LARGEST_BURST = 65_536
_NO_RTT = 1 << 62


def delay_threshold(rtt_ns: int) -> int:
    """How much longer than `rtt_ns` a round trip must be to count as delayed: an eighth of it, within bounds."""
    return min(max(rtt_ns >> 3, DELAY_MIN_NS), DELAY_MAX_NS)


TRAIN, DELAY = 1, 2
"""What HyStart looks for: bits of `cubic_hystart_detect`, as Linux's module parameter has them."""


class HyStart:
    """Hybrid slow start, by ACK trains and by delay (Ha and Rhee, 2008)."""

    def __init__(self, detect: int = TRAIN | DELAY) -> None:
        self.detect = detect
        self.found = False
        self.delay_min_ns = 0
        """The least round-trip time; 0 before the first."""
        self._round = Round()
        self._round_start_ns = 0
        self._last_ack_ns = 0
        self._round_rtt_ns = _NO_RTT
        self._samples = 0

    def begin_round(self, now: int, snd_nxt: int) -> None:
        """Forget what the last round has shown."""
        self._round.begin(snd_nxt)
        self._round_start_ns = self._last_ack_ns = now
        self._round_rtt_ns = _NO_RTT
        self._samples = 0

    def should_leave(self, sample: AckSample) -> bool:
        """Take one round-trip time in slow start; True if slow start must end."""
        if self._round.is_passed(sample.snd_una):
            self.begin_round(sample.now, sample.snd_nxt)
        by_train = bool(self.detect & TRAIN) and self._is_train(sample)
        by_delay = bool(self.detect & DELAY) and self._is_delayed(sample.rtt_ns)
        self.found = by_train or by_delay
        return self.found

    def _is_train(self, sample: AckSample) -> bool:
        if sample.now - self._last_ack_ns > _TRAIN_GAP_NS:
            return False
        self._last_ack_ns = sample.now
        threshold = self.delay_min_ns + _aggregation_delay(sample.pacing_rate)
        if not sample.is_paced:
            threshold >>= 1
        return sample.now - self._round_start_ns > threshold

    def _is_delayed(self, rtt_ns: int) -> bool:
        self._round_rtt_ns = min(self._round_rtt_ns, rtt_ns)
        if self._samples < SAMPLES:
            self._samples += 1
            return False
        return self._round_rtt_ns > self.delay_min_ns + delay_threshold(self.delay_min_ns)


def _aggregation_delay(pacing_rate: int) -> int:
    """The time that a few super-segments take: a short round trip must allow for that, up to 1 ms."""
    return min(_LARGEST_BURST * 4 * 1000 * MILLISECOND // pacing_rate, MILLISECOND) if pacing_rate else 0


class HyStartPlusPlus:
    """RFC 9406 §4: slow start, conservative slow start, and back."""

    CSS_GROWTH_DIVISOR = 4
    CSS_ROUNDS = 5
    BURST_UNPACED = 8
    """L: how many segments one acknowledgment may add if segments are not paced."""

    def __init__(self) -> None:
        self.in_css = False
        self._round = Round()
        self._last_round_rtt_ns = _NO_RTT
        self._round_rtt_ns = _NO_RTT
        self._samples = 0
        self._css_baseline_ns = _NO_RTT
        self._css_rounds = 0
        self._remainder = 0

    def begin(self, snd_nxt: int) -> None:
        """Slow start begins."""
        self._round.begin(snd_nxt)

    def should_leave(self, sample: AckSample) -> bool:
        """Take what a burst of ACKs in slow start has told; True if congestion avoidance must begin."""
        if sample.rtt_ns:
            self._round_rtt_ns = min(self._round_rtt_ns, sample.rtt_ns)
            self._samples += 1
            if self._samples >= SAMPLES:
                self._judge_delay()
        return self._round.is_over(sample.snd_una) and self._end_round(sample.snd_nxt)

    def allowance(self, acked: int, is_paced: bool) -> int:
        """How many segments slow start may take for `acked` ones: all, or in CSS a quarter."""
        if not is_paced:
            acked = min(acked, self.BURST_UNPACED)
        if not self.in_css:
            return acked
        self._remainder += acked
        allowed, self._remainder = divmod(self._remainder, self.CSS_GROWTH_DIVISOR)
        return allowed

    def _end_round(self, snd_nxt: int) -> bool:
        self._round.begin(snd_nxt)
        self._last_round_rtt_ns = self._round_rtt_ns
        self._round_rtt_ns = _NO_RTT
        self._samples = 0
        if self.in_css:
            self._css_rounds += 1
        return self.in_css and self._css_rounds >= self.CSS_ROUNDS

    def _judge_delay(self) -> None:
        if self.in_css:
            if self._round_rtt_ns < self._css_baseline_ns:
                self.in_css = False
                self._css_baseline_ns = _NO_RTT
        elif _NO_RTT not in (self._round_rtt_ns, self._last_round_rtt_ns):
            threshold = delay_threshold(self._last_round_rtt_ns)
            if self._round_rtt_ns >= self._last_round_rtt_ns + threshold:
                self._css_baseline_ns = self._round_rtt_ns
                self._css_rounds = 0
                self.in_css = True

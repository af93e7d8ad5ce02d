"""BBR, version 3: send at the rate that the path was seen to deliver, and probe now and then for more.

draft-ietf-ccwg-bbr (§n is of it) and Google's tcp_bbr v3.  The model of the path is in `bbr_model`; here are the states
and what follows from them: the pacing rate and cwnd.  Loss and marks set bounds, they do not rule.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import TYPE_CHECKING

from ustack.config import MILLISECOND, SECOND
from ustack.tcp.congestion.bbr_model import BETA, ECN_THRESHOLD, INFINITE, MIN_PIPE_CWND, PathModel
from ustack.tcp.congestion.controller import CWND_MAX, LOSS, OPEN, RECOVERY, AckSample, CongestionController, LossSample

if TYPE_CHECKING:
    from ustack.config import TcpConfig
    from ustack.tcp.congestion.delivery_rate import RateSample


class Phase(Enum):
    """§4.1.1."""

    STARTUP = auto()
    DRAIN = auto()
    PROBE_BW_DOWN = auto()
    PROBE_BW_CRUISE = auto()
    PROBE_BW_REFILL = auto()
    PROBE_BW_UP = auto()
    PROBE_RTT = auto()


class Acks(Enum):
    """What the samples that come now tell of our probing.  §4.3.3.6."""

    INIT = auto()
    REFILLING = auto()
    PROBE_STARTING = auto()
    PROBE_FEEDBACK = auto()
    PROBE_STOPPING = auto()


_GAINS = {
    Phase.STARTUP: (277, 200),
    Phase.DRAIN: (35, 200),
    Phase.PROBE_BW_DOWN: (91, 200),
    Phase.PROBE_BW_CRUISE: (100, 200),
    Phase.PROBE_BW_REFILL: (100, 200),
    Phase.PROBE_BW_UP: (125, 225),
    Phase.PROBE_RTT: (100, 100),
}
"""Per cent of the bandwidth to pace at, and of the BDP for cwnd.  §4.6.1, table of states."""
_PROBE_BW = frozenset((Phase.PROBE_BW_DOWN, Phase.PROBE_BW_CRUISE, Phase.PROBE_BW_REFILL, Phase.PROBE_BW_UP))
_PROBING = frozenset((Phase.STARTUP, Phase.PROBE_BW_REFILL, Phase.PROBE_BW_UP))
_PACING_MARGIN = 99
"""Per cent: a little less than the bandwidth, so that queues drain."""
_FULL_BW_GROWTH = 125
_FULL_BW_ROUNDS = 3
_FULL_LOSS_EVENTS = 6
_FULL_ECN_ROUNDS = 2
PROBE_RTT_DURATION_NS = 200 * MILLISECOND
_PROBE_RTT_GAIN = 50
_PROBE_WAIT_NS = 2 * SECOND
_PROBE_WAIT_SPREAD_NS = SECOND
_PROBE_ROUNDS_MAX = 63
_QUANTUM_MAX = 65_536
_NOMINAL_RTT_NS = MILLISECOND


class Bbr(CongestionController):
    """§4: model, state machine, control parameters."""

    name = "bbr"
    controls_recovery = True
    needs_pacing = True
    send_buffer_windows = 3
    single_segments_below = 150_000

    def __init__(self, initial_window: int, config: TcpConfig) -> None:
        super().__init__(initial_window, config)
        self.phase = Phase.STARTUP
        self.model = PathModel(initial_window)
        self._acks = Acks.INIT
        self._prior_cwnd = 0
        self._prior_state = OPEN
        self._has_seen_rtt = False
        self._idle_restart = False
        # Whether the pipe is full.  §4.3.1.2
        self.full_bw_reached = False
        self._full_bw_now = False
        self._full_bw = 0
        self._full_bw_count = 0
        self._loss_events = 0
        self._ecn_rounds = 0
        # Probing for bandwidth.  §4.3.3
        self._phase_ns = 0
        self._wait_ns = 0
        self._rounds_since_probe = 0
        self._up_rounds = 0
        self._up_count = INFINITE
        self._up_acks = 0
        self._samples_probe = False
        self._probe_was_too_high = False
        self._stopped_risky_probe = False
        # Probing for the round-trip time.  §4.3.4
        self._probe_rtt_done_ns = 0
        self._probe_rtt_round_done = False
        # What a spurious loss gives back
        self._undo = (INFINITE, INFINITE, INFINITE)
        self._seed = 1

    # What the controller is told.

    def on_start(self, sample: AckSample) -> None:
        """BBROnInit().  §4.2.1."""
        self.model.start(sample)
        self.ssthresh = max(self.ssthresh, self.cwnd + 1)
        self._phase_ns = sample.now
        self._seed = (sample.snd_nxt * 2_654_435_761 + sample.now) & 0xFFFF_FFFF
        self._pace_by_window(sample)

    def on_ack(self, sample: AckSample) -> None:
        """BBRUpdateModelAndState(), BBRUpdateControlParameters().  §4.2.3."""
        model = self.model
        model.update_round(sample)
        if model.round_start:
            self._rounds_since_probe = min(self._rounds_since_probe + 1, 255)
            self._check_marks_in_startup()
        model.take_marks(sample)
        if sample.lost_packets:
            model.note_loss()
        model.update_latest(sample)
        self._update_congestion(sample)
        model.update_aggregation(sample, self.cwnd, self.full_bw_reached)
        self._check_loss_in_startup(sample)
        self._check_full_bandwidth(sample)
        self._check_drained(sample)
        self._update_cycle(sample)
        model.update_min_rtt(sample)
        self._check_probe_rtt(sample)
        self._set_control(sample)
        model.advance_latest(sample)
        self._prior_state = sample.state

    def on_loss(self, sample: LossSample) -> None:
        """Recovery begins: nothing is cut, but remembered what may have to be given back.  §4.6.4.4."""
        self._save_cwnd()
        model = self.model
        self._undo = (model.bw_short_term, model.inflight_short_term, model.inflight_long_term)

    def on_timeout(self, sample: LossSample) -> None:
        """The time-out itself cuts cwnd; the bound must know the one before."""
        self.on_loss(sample)
        self._prior_state = LOSS
        self._reset_full_bw()
        if self.phase not in _PROBING and self.model.inflight_short_term == INFINITE:
            self.model.inflight_short_term = max(self.cwnd, self._prior_cwnd)

    def on_ecn(self, sample: LossSample) -> None:
        """Marks are answered in `on_ack`, in proportion."""

    def on_recovered(self, sample: LossSample) -> None:
        """A time-out's cut is over.  §4.6.4.4, BBRRestoreCwnd()."""
        if self._prior_state == LOSS:
            self.cwnd = max(self.cwnd, self._prior_cwnd)
            self._prior_state = OPEN

    def on_undo(self, prior_cwnd: int, prior_ssthresh: int) -> None:
        """BBRHandleSpuriousLossDetection().  §4.2.6."""
        model = self.model
        self._reset_full_bw()
        model.loss_in_round = False
        model.bw_short_term = max(model.bw_short_term, self._undo[0])
        model.inflight_short_term = max(model.inflight_short_term, self._undo[1])
        model.inflight_long_term = max(model.inflight_long_term, self._undo[2])
        self.cwnd = max(self.cwnd, self._prior_cwnd)

    def on_idle(self, now: int, idle_ns: int, rto_ns: int) -> None:
        """The model keeps: it is the pacing that sees to a gentle restart."""

    def on_transmit_start(self, now: int, idle_ns: int) -> None:
        """BBRHandleRestartFromIdle().  §4.4.3."""
        self._idle_restart = True
        self.model.begin_epoch(now)
        if self.phase in _PROBE_BW:
            self._set_pacing_rate(100)
        elif self.phase is Phase.PROBE_RTT:
            self._check_probe_rtt_done(now)

    def info(self) -> bytes:
        """As struct tcp_bbr_info."""
        bandwidth = self.model.bw
        pacing, cwnd = _GAINS[self.phase]
        rtt_us = min(self.model.min_rtt_ns // 1000, 0xFFFF_FFFF)
        low, high = bandwidth & 0xFFFF_FFFF, (bandwidth >> 32) & 0xFFFF_FFFF
        return struct.pack("=5I", low, high, rtt_us, (pacing << 8) // 100, (cwnd << 8) // 100)

    # Congestion: short-term bounds, and the end of startup.

    def _update_congestion(self, sample: AckSample) -> None:
        """BBRUpdateCongestionSignals().  §4.5.6.3.

        # DEVIATION draft-ietf-ccwg-bbr §4.5.6.3: less loss in a round than LossThresh lowers no bound.  It would take a
        little of the rate every round, and random loss of one per cent a fifth of the path.
        """
        model = self.model
        if sample.rate is None or not sample.delivered_packets:
            return
        model.take_bandwidth(sample.rate.is_app_limited)
        if not model.loss_round_start:
            return
        if self.phase not in _PROBING:
            model.loss_in_round = model.loss_in_round and model.is_inflight_too_high(sample.rate)
            model.adapt_short_term(self.cwnd)
        model.loss_in_round = model.ecn_in_round = False

    def _check_full_bandwidth(self, sample: AckSample) -> None:
        """BBRCheckFullBWReached(): three rounds without a quarter more.  §4.3.1.2.

        # DEVIATION draft-ietf-ccwg-bbr §4.3.1.2: rounds in which the peer's window was full tell nothing of the path.
        """
        if self._full_bw_now or sample.rate is None or sample.rate.is_app_limited:
            return
        if self.model.sample_bw * 100 >= self._full_bw * _FULL_BW_GROWTH:
            self._reset_full_bw(self.model.sample_bw)
        elif self.model.round_start and not sample.is_peer_limited:
            self._full_bw_count += 1
            self._full_bw_now = self._full_bw_count >= _FULL_BW_ROUNDS
            self.full_bw_reached |= self._full_bw_now

    def _reset_full_bw(self, bandwidth: int = 0) -> None:
        self._full_bw = bandwidth
        self._full_bw_count = 0
        self._full_bw_now = False

    def _check_loss_in_startup(self, sample: AckSample) -> None:
        """BBRCheckStartupHighLoss(): a whole round with too much of it.  §4.3.1.3."""
        if self.full_bw_reached:
            return
        self._loss_events += bool(sample.lost_packets)
        if not self.model.loss_round_start:
            return
        many = self._loss_events >= _FULL_LOSS_EVENTS and sample.state == RECOVERY
        self._loss_events = 0
        if many and sample.rate and self.model.is_inflight_too_high(sample.rate):
            self._fill_pipe()

    def _check_marks_in_startup(self) -> None:
        if self.full_bw_reached or not self.model.ecn_eligible:
            return
        self._ecn_rounds = self._ecn_rounds + 1 if self.model.ecn_share >= ECN_THRESHOLD else 0
        if self._ecn_rounds >= _FULL_ECN_ROUNDS:
            self._fill_pipe()

    def _fill_pipe(self) -> None:
        """The queue is too long: startup has found the limit."""
        model = self.model
        self.full_bw_reached = True
        model.inflight_long_term = max(model.inflight(model.max_bw, 100), model.inflight_latest)

    def _check_drained(self, sample: AckSample) -> None:
        """Leave STARTUP when the pipe is full, DRAIN when its queue is gone.  §4.3.1, §4.3.2."""
        model = self.model
        if self.phase is Phase.STARTUP and self.full_bw_reached:
            self.phase = Phase.DRAIN
            self.ssthresh = max(model.inflight(model.max_bw, 100), 1)
            model.forget_congestion()
        if self.phase is Phase.DRAIN and sample.in_flight <= model.inflight(model.max_bw, 100):
            self._start_down(sample.now)

    # PROBE_BW.  §4.3.3.

    def _update_cycle(self, sample: AckSample) -> None:
        """BBRUpdateProbeBWCyclePhase()."""
        if not self.full_bw_reached or (sample.rate and self._adapt_long_term(sample, sample.rate)):
            return
        model = self.model
        if self.phase is Phase.PROBE_BW_CRUISE:
            self._probe_if_time(sample)
        elif self.phase is Phase.PROBE_BW_DOWN:
            if not self._probe_if_time(sample) and self._is_time_to_cruise(sample.prior_in_flight):
                self._start_cruise()
        elif self.phase is Phase.PROBE_BW_REFILL:
            if model.round_start:
                self._samples_probe = True
                self._start_up(sample.now)
        elif self.phase is Phase.PROBE_BW_UP and self._is_probe_done(sample):
            self._probe_was_too_high = False
            self._start_down(sample.now)

    def _is_time_to_cruise(self, in_flight: int) -> bool:
        model = self.model
        return in_flight <= min(model.inflight_with_headroom(), model.inflight(model.max_bw, 100))

    def _is_probe_done(self, sample: AckSample) -> bool:
        """BBRIsTimeToGoDown(): the last safe volume is reached again, or more brings no more bandwidth."""
        bound = self.model.inflight_long_term
        if self._probe_was_too_high and sample.prior_in_flight >= bound:
            self._stopped_risky_probe = True
            return True
        if sample.is_cwnd_limited and self.cwnd >= bound:
            self._reset_full_bw(self.model.sample_bw)
            return False
        return self._full_bw_now

    def _probe_if_time(self, sample: AckSample) -> bool:
        """BBRIsTimeToProbeBW(): 2 to 3 s have passed, or as many rounds as Reno needs to come back."""
        model = self.model
        if model.ecn_in_cycle and not model.loss_in_cycle and sample.state == OPEN and not model.ecn_in_round:
            bound = self.cwnd if model.inflight_long_term == INFINITE else model.inflight_long_term
            self._start_refill(max(bound // 2, 1).bit_length() - 1)
            return True
        target = min(model.inflight(model.bw, 100), self.cwnd)
        if sample.now - self._phase_ns > self._wait_ns or self._rounds_since_probe >= min(_PROBE_ROUNDS_MAX, target):
            self._start_refill(0)
            return True
        return False

    def _start_down(self, now: int) -> None:
        """BBRStartProbeBW_DOWN()."""
        self.model.forget_congestion()
        self._up_count = INFINITE
        self._rounds_since_probe = self._random(2)
        self._wait_ns = _PROBE_WAIT_NS + self._random(_PROBE_WAIT_SPREAD_NS)
        self._phase_ns = now
        self._acks = Acks.PROBE_STOPPING
        self.model.begin_round()
        self.phase = Phase.PROBE_BW_DOWN

    def _start_cruise(self) -> None:
        """BBRStartProbeBW_CRUISE()."""
        model = self.model
        if model.inflight_short_term != INFINITE:
            model.inflight_short_term = min(model.inflight_short_term, model.inflight_long_term)
        self.phase = Phase.PROBE_BW_CRUISE

    def _start_refill(self, up_rounds: int) -> None:
        """BBRStartProbeBW_REFILL()."""
        self.model.reset_short_term()
        self._up_rounds = up_rounds
        self._up_acks = 0
        self._stopped_risky_probe = False
        self._acks = Acks.REFILLING
        self.model.begin_round()
        self.phase = Phase.PROBE_BW_REFILL

    def _start_up(self, now: int) -> None:
        """BBRStartProbeBW_UP()."""
        self._acks = Acks.PROBE_STARTING
        self.model.begin_round()
        self._phase_ns = now
        self._reset_full_bw(self.model.sample_bw)
        self.phase = Phase.PROBE_BW_UP
        self._raise_slope()

    def _raise_slope(self) -> None:
        """BBRRaiseInflightLongtermSlope(): twice as much in each round of probing."""
        self._up_count = max(self.cwnd >> self._up_rounds, 1)
        self._up_rounds = min(self._up_rounds + 1, 30)

    def _adapt_long_term(self, sample: AckSample, rate: RateSample) -> bool:
        """BBRAdaptLongTermModel(): too much loss lowers the bound, else it may rise; True if the phase changed."""
        model = self.model
        if model.round_start and self._end_probe_samples(rate):
            return True
        if model.is_inflight_too_high(rate):
            if self._samples_probe:
                self._lower_long_term(sample.now, rate)
            return False
        if model.inflight_long_term != INFINITE:
            model.inflight_long_term = max(model.inflight_long_term, rate.tx_in_flight)
            if self.phase is Phase.PROBE_BW_UP:
                self._raise_long_term(sample)
        return False

    def _end_probe_samples(self, rate: RateSample) -> bool:
        if self._acks is Acks.PROBE_STARTING:
            self._acks = Acks.PROBE_FEEDBACK
        elif self._acks is Acks.PROBE_STOPPING:
            self._samples_probe = False
            self._acks = Acks.INIT
            if self.phase in _PROBE_BW and not rate.is_app_limited:
                self.model.advance_max_bw()
            if self.phase in _PROBE_BW and self._stopped_risky_probe and not self._probe_was_too_high:
                self._start_refill(0)
                return True
        return False

    def _raise_long_term(self, sample: AckSample) -> None:
        """BBRProbeInflightLongtermUpward(): only if the bound is what limits."""
        model = self.model
        if not sample.is_cwnd_limited or self.cwnd < model.inflight_long_term:
            return
        self._up_acks += sample.delivered_packets
        if self._up_acks >= self._up_count:
            model.inflight_long_term += self._up_acks // self._up_count
            self._up_acks %= self._up_count
        if model.round_start:
            self._raise_slope()

    def _lower_long_term(self, now: int, rate: RateSample) -> None:
        """BBRHandleInflightTooHigh(): once a probe."""
        model = self.model
        self._probe_was_too_high = True
        self._samples_probe = False
        if not rate.is_app_limited:
            target = min(model.inflight(model.bw, 100), self.cwnd)
            model.inflight_long_term = max(rate.tx_in_flight, target * BETA // 100)
        if self.phase is Phase.PROBE_BW_UP:
            self._start_down(now)

    # PROBE_RTT.  §4.3.4.

    def _check_probe_rtt(self, sample: AckSample) -> None:
        """BBRCheckProbeRTT()."""
        model = self.model
        if model.probe_rtt_expired and not self._idle_restart and self.phase is not Phase.PROBE_RTT:
            self._save_cwnd()
            self.phase = Phase.PROBE_RTT
            self._probe_rtt_done_ns = 0
            self._acks = Acks.PROBE_STOPPING
            model.begin_round()
        if self.phase is Phase.PROBE_RTT:
            self._handle_probe_rtt(sample)
        if sample.rate and sample.rate.delivered_packets > 0:
            self._idle_restart = False

    def _handle_probe_rtt(self, sample: AckSample) -> None:
        if not self._probe_rtt_done_ns:
            if sample.in_flight <= self._probe_rtt_cwnd():
                self._probe_rtt_done_ns = sample.now + PROBE_RTT_DURATION_NS
                self._probe_rtt_round_done = False
                self.model.begin_round()
        else:
            self._probe_rtt_round_done |= self.model.round_start
            if self._probe_rtt_round_done:
                self._check_probe_rtt_done(sample.now)

    def _check_probe_rtt_done(self, now: int) -> None:
        if self._probe_rtt_done_ns and now > self._probe_rtt_done_ns:
            self.model.probe_rtt_min_at_ns = now
            self.cwnd = max(self.cwnd, self._prior_cwnd)
            self.model.reset_short_term()
            if self.full_bw_reached:
                self._start_down(now)
                self._start_cruise()
            else:
                self.phase = Phase.STARTUP

    def _probe_rtt_cwnd(self) -> int:
        return max(self.model.bdp(self.model.bw, _PROBE_RTT_GAIN), MIN_PIPE_CWND)

    # Pacing rate and cwnd.  §4.6.

    def _set_control(self, sample: AckSample) -> None:
        pacing, cwnd_gain = _GAINS[self.phase]
        if not self._has_seen_rtt and sample.srtt_ns:
            self._pace_by_window(sample)
        self._set_pacing_rate(pacing)
        quantum = min(self.pacing_rate * MILLISECOND // SECOND, _QUANTUM_MAX) // sample.mss
        self.model.send_quantum = max(quantum, 2)
        self._set_cwnd(sample.delivered_packets, cwnd_gain)
        self._bound_cwnd()

    def _pace_by_window(self, sample: AckSample) -> None:
        """BBRInitPacingRate()."""
        self._has_seen_rtt = bool(sample.srtt_ns)
        bandwidth = self.cwnd * sample.mss * SECOND // (sample.srtt_ns or _NOMINAL_RTT_NS)
        self.pacing_rate = bandwidth * _GAINS[Phase.STARTUP][0] * _PACING_MARGIN // 10_000

    def _set_pacing_rate(self, gain: int) -> None:
        """BBRSetPacingRateWithGain(): before the pipe is full the rate only rises."""
        rate = max(self.model.bw * gain * _PACING_MARGIN // 10_000, 1)
        if self.full_bw_reached or rate > self.pacing_rate:
            self.pacing_rate = rate

    def _set_cwnd(self, acked: int, gain: int) -> None:
        """BBRSetCwnd(): towards the target, never by more than was delivered."""
        model = self.model
        if acked:
            target = model.quantized(model.bdp(model.bw, gain) + model.aggregation_budget())
            target += 2 * (self.phase is Phase.PROBE_BW_UP)
            if self.full_bw_reached:
                self.cwnd = min(self.cwnd + acked, target)
            elif self.cwnd < target or self.cwnd < 2 * self.initial_window:
                self.cwnd += acked
            self.cwnd = min(max(self.cwnd, MIN_PIPE_CWND), CWND_MAX)
        if self.phase is Phase.PROBE_RTT:
            self.cwnd = min(self.cwnd, self._probe_rtt_cwnd())

    def _bound_cwnd(self) -> None:
        """BBRBoundCwndForModel()."""
        model = self.model
        bound = INFINITE
        if self.phase in (Phase.PROBE_RTT, Phase.PROBE_BW_CRUISE):
            bound = model.inflight_with_headroom()
        elif self.phase in _PROBE_BW:
            bound = model.inflight_long_term
        bound = max(min(bound, model.inflight_short_term), MIN_PIPE_CWND)
        self.cwnd = min(self.cwnd, bound)

    def _save_cwnd(self) -> None:
        """BBRSaveCwnd()."""
        if self._prior_state < RECOVERY and self.phase is not Phase.PROBE_RTT:
            self._prior_cwnd = self.cwnd
        else:
            self._prior_cwnd = max(self._prior_cwnd, self.cwnd)

    def _random(self, below: int) -> int:
        """A number that differs between connections and is the same for the same input."""
        self._seed = (self._seed * 1_664_525 + 1_013_904_223) & 0xFFFF_FFFF
        return self._seed * below >> 32

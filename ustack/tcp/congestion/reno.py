"""Reno: slow start, and one segment a round trip beyond it.  RFC 5681 §3.1."""

from __future__ import annotations

from ustack.tcp.congestion.controller import MIN_SSTHRESH, AckSample, CongestionController, LossSample


class Reno(CongestionController):
    """Exponential growth below `ssthresh`, one segment a round trip above it; half at a loss."""

    name = "reno"

    def on_ack(self, sample: AckSample) -> None:
        """Grow, but only while the window was the limit (RFC 7661 §4.1's validated phase)."""
        if not sample.is_cwnd_limited:
            return
        acked = sample.delivered_packets
        if self.in_slow_start:
            acked = self.slow_start(acked)
        if acked:
            self.avoid_congestion(self.cwnd, acked)

    def on_ecn(self, sample: LossSample) -> None:
        """A mark comes before the queue is full: with ABE the window keeps 0.8 of itself.  RFC 8511 §3."""
        if self.config.abe:
            self.ssthresh = max(self.cwnd * 4 // 5, MIN_SSTHRESH)
        else:
            self.on_loss(sample)

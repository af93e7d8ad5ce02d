"""Reno: slow start and congestion avoidance by bytes acknowledged.  RFC 5681 §3.1, RFC 3465."""

from __future__ import annotations

from ustack.tcp.congestion.controller import AckSample, CongestionController


class Reno(CongestionController):
    """Exponential growth below `ssthresh`, one MSS a round trip above it."""

    name = "reno"
    __slots__ = ("_acked",)

    def __init__(self, mss: int, initial_window: int) -> None:
        super().__init__(mss, initial_window)
        self._acked = 0

    def on_ack(self, sample: AckSample) -> None:
        """Grow, but only while the window was the limit (RFC 7661 §4.1's validated phase)."""
        if sample.flight * 2 < self.cwnd and self.cwnd > self.initial_window:
            return
        acked = sample.acked
        if self.cwnd < self.ssthresh:
            step = min(acked, self.ssthresh - self.cwnd)
            self.cwnd += step
            acked -= step
        if acked:
            self._avoid_congestion(acked, sample.mss)

    def _avoid_congestion(self, acked: int, mss: int) -> None:
        self._acked += acked
        if self._acked >= self.cwnd:
            self._acked -= self.cwnd
            self.cwnd += mss

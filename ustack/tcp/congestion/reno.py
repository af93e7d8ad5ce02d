"""Reno: slow start and congestion avoidance by segments acknowledged.  RFC 5681 §3.1, RFC 3465."""

from __future__ import annotations

from ustack.tcp.congestion.controller import AckSample, CongestionController


class Reno(CongestionController):
    """Exponential growth below `ssthresh`, one segment a round trip above it."""

    name = "reno"
    __slots__ = ("_acked",)

    def __init__(self, initial_window: int) -> None:
        super().__init__(initial_window)
        self._acked = 0

    def on_ack(self, sample: AckSample) -> None:
        """Grow, but only while the window was the limit (RFC 7661 §4.1's validated phase)."""
        if not sample.is_cwnd_limited:
            return
        acked = sample.delivered_packets
        if self.cwnd < self.ssthresh:
            step = min(acked, self.ssthresh - self.cwnd)
            self.cwnd += step
            acked -= step
        if acked:
            self._avoid_congestion(acked)

    def _avoid_congestion(self, acked: int) -> None:
        self._acked += acked
        if self._acked >= self.cwnd:
            grown = self._acked // self.cwnd
            self._acked -= grown * self.cwnd
            self.cwnd += grown

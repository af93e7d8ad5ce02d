"""The interface of a congestion controller, and the numbers that it is told.  RFC 5681 §3."""

from __future__ import annotations

from dataclasses import dataclass

INFINITE_SSTHRESH = 0x7FFFFFFF


@dataclass(slots=True)
class AckSample:
    """What the acknowledgments of one burst have told.  Bytes and nanoseconds."""

    now: int
    acked: int
    """Bytes newly acknowledged."""
    flight: int
    """Bytes in flight before the first of these acknowledgments."""
    rtt_ns: int
    """The latest round-trip time, 0 if none could be taken (Karn)."""
    mss: int


@dataclass(slots=True)
class LossSample:
    """What is known when a loss is detected, or a retransmission times out.  Bytes and nanoseconds."""

    now: int
    flight: int
    mss: int


class CongestionController:
    """Owns `cwnd` and `ssthresh`, in bytes.

    A subclass overrides `on_ack`, and `on_loss` if its answer to loss is not to halve.
    """

    name = ""
    __slots__ = ("cwnd", "initial_window", "ssthresh")

    def __init__(self, mss: int, initial_window: int) -> None:
        self.initial_window = initial_window
        self.cwnd = initial_window
        self.ssthresh = INFINITE_SSTHRESH

    def info(self) -> bytes:
        """TCP_CC_INFO, in Linux's layout of the controller of that name (vegas, dctcp, bbr); others tell nothing."""
        return b""

    def on_ack(self, sample: AckSample) -> None:
        """New data was acknowledged outside fast recovery."""
        raise NotImplementedError

    def on_loss(self, sample: LossSample) -> None:
        """A segment was lost: called once when fast recovery begins.  RFC 5681 §3.2, equation 4."""
        self.ssthresh = max(sample.flight // 2, 2 * sample.mss)
        self.cwnd = self.ssthresh

    def on_timeout(self, sample: LossSample) -> None:
        """The retransmission timer has expired for the first time.  RFC 5681 §3.1."""
        self.ssthresh = max(sample.flight // 2, 2 * sample.mss)
        self.cwnd = sample.mss

    def on_recovered(self, sample: LossSample) -> None:
        """Fast recovery has ended.  RFC 6582 §3.2, step 3, full acknowledgment, option 1."""
        self.cwnd = min(self.ssthresh, max(sample.flight, sample.mss) + sample.mss)

    def on_idle(self, mss: int) -> None:
        """Nothing was sent for a retransmission time-out.  RFC 5681 §4.1."""
        self.cwnd = min(self.cwnd, self.initial_window)

"""The interface of a congestion controller, and the numbers that it is told.  RFC 5681 §3.

Windows count segments (docs/decisions/0010), times are nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

INFINITE_SSTHRESH = 0x7FFFFFFF


@dataclass(slots=True)
class RateSample:
    """How fast data were delivered while what is acknowledged now was in flight.

    draft-cheng-iccrg-delivery-rate-estimation.
    """

    delivered_packets: int = 0
    """Segments delivered over `interval_ns`."""
    prior_delivered: int = 0
    """Segments that had been delivered when the newest of the acknowledged was sent."""
    interval_ns: int = 0
    """0: no sample could be taken."""
    rate: int = 0
    """Bytes a second."""
    is_app_limited: bool = False


@dataclass(slots=True)
class AckSample:
    """What the acknowledgments of one burst have told."""

    now: int
    mss: int
    acked_packets: int = 0
    """Segments newly acknowledged cumulatively."""
    sacked_packets: int = 0
    """Segments newly SACKed."""
    delivered_packets: int = 0
    """Segments that are now known to have arrived."""
    lost_packets: int = 0
    """Segments newly deemed lost."""
    prior_in_flight: int = 0
    """Segments in flight before the first of these acknowledgments."""
    in_flight: int = 0
    rtt_ns: int = 0
    """The latest round-trip time, 0 if none could be taken (Karn)."""
    srtt_ns: int = 0
    min_rtt_ns: int = 0
    is_cwnd_limited: bool = True
    """The window was what limited the sender (RFC 7661)."""
    snd_una: int = 0
    """As a marker of rounds only, like `snd_nxt`: absolute sequence numbers."""
    snd_nxt: int = 0
    rate: RateSample = field(default_factory=RateSample)
    delivered_ce_packets: int = 0
    """Segments that the peer reports to have arrived with CE."""
    ece: bool = False
    state: int = 0
    """The state of congestion avoidance: CA_OPEN, CA_DISORDER, CA_CWR, CA_RECOVERY or CA_LOSS."""
    delivered: int = 0
    """Segments delivered on the connection in all, these included."""


@dataclass(slots=True)
class LossSample:
    """What is known when a loss is detected, a retransmission times out, or a recovery ends."""

    now: int
    mss: int
    in_flight: int = 0
    """Segments in flight."""
    lost_packets: int = 0
    """Segments deemed lost and not acknowledged yet."""
    srtt_ns: int = 0
    min_rtt_ns: int = 0


class CongestionController:
    """Owns `cwnd` and `ssthresh`, in segments, and `pacing_rate`, in bytes a second.

    A subclass overrides `on_ack`, and `ssthresh_after_loss` if its answer to loss is not to halve.
    """

    name = ""
    ecn = ""
    """What it needs of ECN: "" nothing, "classic" any feedback, "accurate" that of RFC 9768, "accurate-ect1" that and
    segments that leave as ECT(1)."""
    controls_recovery = False
    """It is told of every ACK and sets cwnd in recovery too: no PRR (BBR)."""
    __slots__ = ("cwnd", "initial_window", "pacing_rate", "ssthresh")

    def __init__(self, initial_window: int) -> None:
        self.initial_window = initial_window
        self.cwnd = initial_window
        self.ssthresh = INFINITE_SSTHRESH
        self.pacing_rate = 0
        """0 leaves it to the rule of the core: a share of cwnd a round trip."""

    def info(self) -> bytes:
        """TCP_CC_INFO, in Linux's layout of the controller of that name (vegas, dctcp, bbr); others tell nothing."""
        return b""

    def observe(self, sample: AckSample) -> None:
        """Data was acknowledged or SACKed, in whatever state; comes before `on_ack`."""

    def on_ack(self, sample: AckSample) -> None:
        """Data was delivered and the window may grow."""
        raise NotImplementedError

    def ssthresh_after_loss(self, sample: LossSample) -> int:
        """RFC 5681 §3.1, equation 4, of cwnd as in Linux: what was sent is no more than that."""
        return max(self.cwnd // 2, 2)

    def on_loss(self, sample: LossSample) -> None:
        """Called once when fast recovery begins: sets ssthresh.  cwnd is then PRR's until the recovery ends."""
        self.ssthresh = self.ssthresh_after_loss(sample)

    def on_timeout(self, sample: LossSample) -> None:
        """The first retransmission time-out of a loss episode: sets ssthresh; cwnd is set by the caller."""
        self.ssthresh = self.ssthresh_after_loss(sample)

    def on_ecn(self, sample: LossSample) -> None:
        """The peer reports congestion (RFC 3168 §6.1.2), at most once a window."""
        self.on_loss(sample)

    def on_ce(self, marked: bool) -> None:
        """Data have arrived, with CE or not: for controllers that echo in a way of their own (RFC 8257 §3.2)."""

    def on_undo(self, prior_cwnd: int, prior_ssthresh: int) -> None:
        """The last reduction was spurious: back to what was before.  RFC 4015 §3.2."""
        self.cwnd = max(self.cwnd, prior_cwnd)
        self.ssthresh = max(self.ssthresh, prior_ssthresh)

    def on_recovered(self, sample: LossSample) -> None:
        """Recovery, or the reduction after ECN, has ended.  RFC 6937 §3: cwnd = ssthresh."""
        self.cwnd = min(self.cwnd, self.ssthresh)

    def on_idle(self, now: int, idle_ns: int, rto_ns: int) -> None:
        """Nothing was in flight for `idle_ns`, longer than a retransmission time-out.  RFC 5681 §4.1, RFC 7661."""
        self.cwnd = min(self.cwnd, self.initial_window)

    def on_transmit_start(self, now: int) -> None:
        """The first data leave after nothing was in flight."""

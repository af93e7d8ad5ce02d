"""The interface of a congestion controller, and the numbers that it is told.  RFC 5681 §3, RFC 5033.

A controller is a machine of numbers: it owns `cwnd` and `ssthresh` in segments and `pacing_rate` in bytes a second, and
knows neither sockets nor sequence numbers of the connection, but for two that mark rounds.  How fast cwnd comes down
within a recovery is not its business (RFC 6937), unless it asks for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ustack.config import TcpConfig
    from ustack.tcp.congestion.delivery_rate import RateSample

INFINITE_SSTHRESH = 0x7FFFFFFF
"""No loss was ever seen: slow start until then."""
MIN_SSTHRESH = 2
"""RFC 5681 §3.1, equation 4: two segments."""
CWND_MAX = 1 << 22
"""Segments: no peer can offer a window that needs more (2^30 bytes, of 256)."""

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)
"""The congestion states of a connection, `tcb.ca_state`, with Linux's numbers."""


@dataclass(slots=True)
class AckSample:
    """What the acknowledgments of one burst have told.  Packets are segments, times nanoseconds."""

    now: int
    mss: int
    """Payload bytes of a full segment."""
    acked_packets: int = 0
    """Newly acknowledged cumulatively."""
    sacked_packets: int = 0
    """Newly SACKed."""
    delivered_packets: int = 0
    """Newly acknowledged, cumulatively or by SACK."""
    lost_packets: int = 0
    """Newly deemed lost."""
    prior_in_flight: int = 0
    """In flight before the first of these acknowledgments."""
    in_flight: int = 0
    """In flight now."""
    rtt_ns: int = 0
    """The round-trip time of the newest segment that was acknowledged, 0 if it was sent twice (Karn) or none was."""
    srtt_ns: int = 0
    min_rtt_ns: int = 0
    """The least round-trip time of the last five minutes, 0 if none is known."""
    is_cwnd_limited: bool = False
    """The window was made use of: only then may it grow (RFC 7661 §4.1)."""
    is_peer_limited: bool = False
    """It was the peer's window that kept the sender from sending more."""
    snd_una: int = 0
    snd_nxt: int = 0
    """Where this round ends, if one begins now: the first acknowledgment beyond it begins the next."""
    delivered: int = 0
    """Packets delivered on the connection so far, these included."""
    delivered_ce: int = 0
    """Of these, packets that arrived with CE."""
    delivered_ce_packets: int = 0
    """Newly delivered with CE."""
    ece: bool = False
    """The peer reports congestion (RFC 3168 §6.1.2)."""
    state: int = OPEN
    """The congestion state, one of OPEN, DISORDER, CWR, RECOVERY and LOSS."""
    pacing_rate: int = 0
    """Bytes a second, as published now."""
    is_paced: bool = False
    """Segments leave evenly spaced."""
    has_ecn: bool = False
    """Marks of congestion reach us: ECN is in use on this connection."""
    has_accurate_ecn: bool = False
    """They reach us one by one (RFC 9768)."""
    rate: RateSample | None = None
    """None if these acknowledgments give no sample."""


@dataclass(slots=True)
class LossSample:
    """What is known when congestion is noticed: by loss, by mark, or by a retransmission time-out."""

    now: int
    mss: int
    in_flight: int = 0
    lost_packets: int = 0
    """Deemed lost and not sent again."""
    snd_nxt: int = 0
    srtt_ns: int = 0
    min_rtt_ns: int = 0
    state: int = OPEN
    """The congestion state before."""


class CongestionController:
    """Owns `cwnd` and `ssthresh`, in segments: a subclass overrides `on_ack`.

    The other calls have answers of their own: Reno's.
    """

    name = ""
    """What TCP_CONGESTION calls it."""
    controls_recovery: bool = False
    """`on_ack` is called for every burst of ACKs, and sets cwnd in recovery too: PRR is not applied."""
    needs_pacing: bool = False
    """Segments must leave evenly spaced, at `pacing_rate`."""
    send_buffer_windows: int = 2
    """Windows of data that an autotuned send buffer has room for."""
    single_segments_below: int = 0
    """Bytes a second: with a lower pacing rate segments leave one by one, else two at least; 0: as the stack says."""
    ecn = ""
    """What it needs of ECN: "" nothing, "classic" any feedback, "accurate" that of RFC 9768, "accurate-ect1" that and
    segments that leave as ECT(1) (RFC 9331 §4.3)."""

    def __init__(self, initial_window: int, config: TcpConfig) -> None:
        self.initial_window = initial_window
        self.config = config
        self.cwnd = initial_window
        self.ssthresh = INFINITE_SSTHRESH
        self.pacing_rate = 0
        """Bytes a second; 0: the rule of `pacing` serves."""
        self._credit = 0

    # What a controller is told.

    def on_start(self, sample: AckSample) -> None:
        """The connection is established, or this controller takes it over from another."""

    def observe(self, sample: AckSample) -> None:
        """Whatever a burst of ACKs has told, in recovery or not; before `on_ack`."""

    def on_ack(self, sample: AckSample) -> None:
        """Packets were delivered and the window may grow."""
        raise NotImplementedError

    def ssthresh_after_loss(self, sample: LossSample) -> int:
        """Half of what was sent: of cwnd, as in Linux, for no more than that was used.  RFC 5681 §3.1, equation 4."""
        return max(self.cwnd // 2, MIN_SSTHRESH)

    def on_loss(self, sample: LossSample) -> None:
        """A loss was found: called once when recovery begins, sets `ssthresh`.  cwnd is then PRR's until the end."""
        self.ssthresh = self.ssthresh_after_loss(sample)

    def on_ecn(self, sample: LossSample) -> None:
        """The network has marked packets: called once a round trip, sets `ssthresh`.  RFC 3168 §6.1.2."""
        self.on_loss(sample)

    def on_timeout(self, sample: LossSample) -> None:
        """The first retransmission time-out of an episode.  RFC 5681 §3.1."""
        self.on_loss(sample)

    def on_undo(self, prior_cwnd: int, prior_ssthresh: int) -> None:
        """The reduction was for nothing: nothing was lost.  RFC 4015 §3.2."""
        self.cwnd = max(self.cwnd, prior_cwnd)
        self.ssthresh = max(self.ssthresh, prior_ssthresh)

    def on_recovered(self, sample: LossSample) -> None:
        """Recovery, or the reduction after a mark, is over.  RFC 6937 §3."""
        self.cwnd = min(self.cwnd, self.ssthresh)

    def on_idle(self, now: int, idle_ns: int, rto_ns: int) -> None:
        """Nothing was sent for so long: half the window for every time-out.  RFC 5681 §4.1, RFC 2861 §3."""
        self.ssthresh = self.remembered_ssthresh()
        floor = min(self.cwnd, self.initial_window)
        idle_ns -= rto_ns
        while idle_ns > 0 and self.cwnd > floor:
            self.cwnd >>= 1
            idle_ns -= rto_ns
        self.cwnd = max(self.cwnd, floor)

    def on_transmit_start(self, now: int, idle_ns: int) -> None:
        """Something is sent again after nothing was in flight; the last was sent `idle_ns` ago."""

    def on_ce(self, is_ce: bool) -> bool:
        """A segment with data came in, marked CE or not; True if what is owed must be acknowledged before it."""
        return False

    def info(self) -> bytes:
        """What TCP_CC_INFO tells, in Linux's layout; empty for nothing."""
        return b""

    # What a controller is made of.

    @property
    def in_slow_start(self) -> bool:
        """RFC 5681 §3.1."""
        return self.cwnd < self.ssthresh

    def slow_start(self, acked: int) -> int:
        """One segment more for each that was delivered, up to `ssthresh`; returns what is left of `acked`."""
        grown = min(acked, max(self.ssthresh - self.cwnd, 0))
        self.cwnd = min(self.cwnd + grown, CWND_MAX)
        return acked - grown

    def avoid_congestion(self, window: int, acked: int) -> None:
        """One segment more for every `window` delivered.  RFC 5681 §3.1, RFC 3465.

        Credit that was earned while more was asked for counts for one segment only.
        """
        if self._credit >= window:
            self._credit = 0
            self.cwnd += 1
        self._credit += acked
        if self._credit >= window:
            self.cwnd += self._credit // window
            self._credit %= window
        self.cwnd = min(self.cwnd, CWND_MAX)

    def remembered_ssthresh(self) -> int:
        """What slow start may go back to after the window was not used: 3/4 of it.  RFC 2861 §3.2."""
        return max(self.ssthresh, (self.cwnd >> 1) + (self.cwnd >> 2))

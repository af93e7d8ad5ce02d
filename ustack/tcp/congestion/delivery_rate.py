"""Delivery-rate samples: how fast the network has taken what was sent.  draft-cheng-iccrg-delivery-rate-estimation.

Each segment remembers, in the queue of sent segments, what had been delivered when it left.  As it is acknowledged, the
packets delivered since then, over the longer of the time they took to send and the time their ACKs took to come, are
one sample: ACKs that were held up and come all at once cannot make it too large.
"""

from __future__ import annotations

from dataclasses import dataclass

from ustack.config import SECOND


@dataclass(slots=True)
class RateSample:
    """One sample.  §3.3: `rs`."""

    delivered_packets: int
    """Delivered over the interval."""
    interval_ns: int
    """Over 0."""
    prior_delivered: int
    """Delivered on the connection when the newest acknowledged segment was sent: the mark of packet-timed rounds."""
    is_app_limited: bool = False
    """For some of the time there was nothing to send: the network may be faster than this."""
    tx_in_flight: int = 0
    """In flight just after that segment was sent, itself included."""
    lost_packets: int = 0
    """Deemed lost since it was sent."""
    delivered_ce_packets: int = 0
    """Of the delivered ones, marked with CE."""

    def bytes_per_second(self, mss: int) -> int:
        """The rate, rounded up so that slow paths do not stay at 0."""
        return -(-self.delivered_packets * mss * SECOND // self.interval_ns)


@dataclass(slots=True)
class Transmitted:
    """What the newest segment that a burst of ACKs has delivered remembers of its transmission."""

    delivered: int
    delivered_ns: int
    first_sent_ns: int
    sent_ns: int
    is_app_limited: bool = False
    is_retransmission: bool = False
    tx_in_flight: int = 0
    lost: int = 0
    delivered_ce: int = 0


@dataclass(slots=True)
class Delivered:
    """Where the connection stands now: packets delivered, lost and marked in total, and when."""

    now: int
    delivered: int
    lost: int = 0
    delivered_ce: int = 0
    min_rtt_ns: int = 0


def sample(newest: Transmitted, total: Delivered) -> RateSample | None:
    """The sample that the delivery of `newest` gives, None for none.  §3.3, GenerateRateSample().

    Raises nothing.  An interval below the least round-trip time cannot be true: it is of a segment that was sent again
    though its first transmission had arrived.
    """
    if not newest.delivered_ns:
        return None
    send_ns = newest.sent_ns - newest.first_sent_ns
    ack_ns = total.now - newest.delivered_ns
    interval_ns = max(send_ns, ack_ns)
    if interval_ns <= 0 or interval_ns < total.min_rtt_ns:
        return None
    return RateSample(
        delivered_packets=total.delivered - newest.delivered,
        interval_ns=interval_ns,
        prior_delivered=newest.delivered,
        is_app_limited=newest.is_app_limited,
        tx_in_flight=newest.tx_in_flight,
        lost_packets=max(total.lost - newest.lost, 0),
        delivered_ce_packets=max(total.delivered_ce - newest.delivered_ce, 0),
    )

"""What the rate sampler needs of a connection: what a segment remembers as it leaves, and what its delivery tells.

The arithmetic is in `congestion.delivery_rate`.  draft-cheng-iccrg-delivery-rate-estimation §3.2, §3.3, §3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp.congestion.delivery_rate import Delivered, RateSample, Transmitted, sample

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def stamp(tcb: Any, segment: Any, now: int) -> None:
    """`segment` leaves now, for the first time or again: SendPacket().  §3.2.

    If nothing was outstanding, the sample's interval begins here and not with the last ACK.
    """
    if not tcb.sent.segments:
        tcb.first_sent_ns = tcb.delivered_ns = now
    segment.first_sent_ns = tcb.first_sent_ns
    segment.delivered = tcb.delivered
    segment.delivered_ns = tcb.delivered_ns
    segment.lost = tcb.lost
    segment.delivered_ce = tcb.delivered_ce
    segment.tx_in_flight = int(lib.sent_queue_in_flight(ffi.addressof(tcb, "sent"))) + lib.sent_segment_count(segment)
    if tcb.app_limited:
        segment.flags |= lib.SENT_APP_LIMITED
    else:
        segment.flags &= ~lib.SENT_APP_LIMITED


def note_app_limited(tcb: Any, unsent: int) -> None:
    """The application is about to write: was there nothing to send, while the window had room?  §3.4."""
    sent = tcb.sent
    in_flight: int = lib.sent_queue_in_flight(ffi.addressof(tcb, "sent"))
    has_resent_all = sent.lost_segments <= sent.retransmitted_segments
    if unsent < tcb.snd_mss and in_flight < tcb.cwnd_packets and has_resent_all:
        tcb.app_limited = max(tcb.delivered + in_flight, 1)


def take(connection: Connection, acked: Any, now: int) -> RateSample | None:
    """The sample that a burst of ACKs gives: GenerateRateSample().  §3.3."""
    tcb = connection.tcb
    if tcb.app_limited and tcb.delivered > tcb.app_limited:
        tcb.app_limited = 0
    if not acked.newest_xmit_ns:
        return None
    tcb.first_sent_ns = acked.newest_xmit_ns
    newest = Transmitted(
        delivered=acked.delivered,
        delivered_ns=acked.delivered_ns,
        first_sent_ns=acked.first_sent_ns,
        sent_ns=acked.newest_xmit_ns,
        is_app_limited=bool(acked.newest_app_limited),
        is_retransmission=bool(acked.newest_retransmitted),
        tx_in_flight=acked.tx_in_flight,
        lost=acked.lost,
        delivered_ce=acked.delivered_ce,
    )
    rate = sample(newest, Delivered(now, tcb.delivered, tcb.lost, tcb.delivered_ce))
    if rate is not None:
        _remember(tcb, rate)
    return rate


def _remember(tcb: Any, rate: RateSample) -> None:
    """What TCP_INFO shows: the latest sample, but one for want of data only if it is not smaller."""
    larger = rate.delivered_packets * int(tcb.rate_interval_ns) >= int(tcb.rate_delivered) * rate.interval_ns
    if not rate.is_app_limited or larger:
        tcb.rate_delivered = rate.delivered_packets
        tcb.rate_interval_ns = rate.interval_ns
        tcb.rate_app_limited = rate.is_app_limited

"""Round-trip time and the retransmission time-out.  RFC 6298 §2, with Linux's way of following the deviation."""

from __future__ import annotations

from typing import Any

from ustack.tcp import sequence


def update(tcb: Any, sample_ns: int, least_ns: int, most_ns: int) -> None:
    """Take one sample into SRTT, RTTVAR and RTO.  The caller has applied Karn's rule (MUST-18).

    The RTO is SRTT and `least_ns` at least, and not more than `most_ns`.

    # DEVIATION RFC 6298 §2.3, §2.4: as in Linux the least RTO is 200 ms, and it is added to SRTT, so that a path with a
    steady RTT above 200 ms is not timed out by a delayed ACK; the deviation falls slowly (by a quarter of the
    difference a flight) and is taken in full only while it grows.
    """
    sample_ns = max(sample_ns, 1)
    if not tcb.srtt_ns:
        _begin(tcb, sample_ns, least_ns)
    else:
        error = sample_ns - tcb.srtt_ns
        tcb.srtt_ns = max(tcb.srtt_ns + error // 8, 1)
        tcb.rttvar_ns = _deviation(int(tcb.rttvar_ns), error)
        _follow_deviation(tcb, least_ns)
    tcb.rto_ns = min(int(tcb.srtt_ns) + int(tcb.rto_variation_ns), most_ns)


def _begin(tcb: Any, sample_ns: int, least_ns: int) -> None:
    """The first sample.  RFC 6298 §2.2."""
    tcb.srtt_ns = sample_ns
    tcb.rttvar_ns = sample_ns // 2
    tcb.rto_variation_ns = tcb.rto_variation_max_ns = max(2 * sample_ns, least_ns)
    tcb.rtt_seq = tcb.snd_nxt


def _deviation(deviation: int, error: int) -> int:
    """RTTVAR after one sample; a round trip shorter than that expected counts an eighth if it makes it larger."""
    if error >= 0:
        return deviation + (error - deviation) // 4
    difference = -error - deviation
    return deviation + (difference // 32 if difference > 0 else difference // 4)


def _follow_deviation(tcb: Any, least_ns: int) -> None:
    """The largest deviation of a flight counts at once, a smaller one by and by."""
    tcb.rto_variation_max_ns = max(int(tcb.rto_variation_max_ns), 4 * int(tcb.rttvar_ns))
    tcb.rto_variation_ns = max(int(tcb.rto_variation_ns), int(tcb.rto_variation_max_ns))
    if sequence.gt(tcb.snd_una, tcb.rtt_seq):
        tcb.rto_variation_ns -= (tcb.rto_variation_ns - tcb.rto_variation_max_ns) // 4
        tcb.rtt_seq = tcb.snd_nxt
        tcb.rto_variation_max_ns = least_ns

"""Round-trip time and the retransmission time-out.  RFC 6298 §2."""

from __future__ import annotations

from typing import Any

from ustack.config import TcpConfig

_GRANULARITY_NS = 1_000
"""The clock's granularity G."""


def update(tcb: Any, sample_ns: int, config: TcpConfig) -> None:
    """Take one sample into SRTT, RTTVAR and RTO.  The caller has applied Karn's rule (MUST-18)."""
    sample_ns = max(sample_ns, 1)
    srtt: int = tcb.srtt_ns
    if not srtt:
        srtt, rttvar = sample_ns, sample_ns // 2
    else:
        rttvar = (3 * tcb.rttvar_ns + abs(srtt - sample_ns)) // 4
        srtt = (7 * srtt + sample_ns) // 8
    tcb.srtt_ns = srtt
    tcb.rttvar_ns = rttvar
    # DEVIATION RFC 6298 §2.4: the least RTO is 200 ms as in Linux, not 1 s; and it is added to SRTT as Linux does, so
    # that a path with a steady RTT above 200 ms is not timed out by a delayed ACK.
    variation = max(4 * rttvar, _GRANULARITY_NS, config.rto_min_ns)
    tcb.rto_ns = min(srtt + variation, config.rto_max_ns)

"""SACK reneging: the receiver has dropped what it had SACKed.  RFC 2018 §8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import reordering, retransmission

if TYPE_CHECKING:
    from ustack.tcp.ack_event import AckEvent
    from ustack.tcp.connection import Connection

_LEAST_DELAY_NS = 10_000_000


def is_suspected(connection: Connection, event: AckEvent, now: int) -> bool:
    """SND.UNA has come to rest before a SACKed segment.

    Time-out processing comes soon, and forgets the SACKs, unless an ACK in the meantime shows that this one was only
    overtaken.
    """
    tcb = connection.tcb
    head = reordering.in_flight_head(tcb)
    if not event.advanced or head is None or not head.flags & lib.SENT_SACKED:
        return False
    delay = max(int(tcb.srtt_ns) // 2, _LEAST_DELAY_NS)
    retransmission.arm(connection, lib.RETRANSMIT_RTO, now + delay)
    event.sets_timer = False
    return True

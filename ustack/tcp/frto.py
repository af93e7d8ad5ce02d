"""F-RTO: whether a time-out was spurious, by what the next acknowledgments are of.  RFC 5682 §2 and §3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.tcp import newreno, send_buffer, sequence, undo, window
from ustack.tcp.ack_event import SEND_LOST, SEND_NEW

if TYPE_CHECKING:
    from ustack.tcp.ack_event import AckEvent
    from ustack.tcp.connection import Connection


def process_ack(connection: Connection, event: AckEvent) -> None:
    """An acknowledgment after a time-out: undo it, go on with F-RTO, leave the state, or send the lost again."""
    tcb = connection.tcb
    recovered = sequence.ge(tcb.snd_una, tcb.recovery_point)
    if event.advanced and undo.of_timeout(connection, event, proven=False):
        return
    if tcb.frto and _is_decided(connection, event, recovered=recovered):
        return
    if recovered:
        undo.at_end_of_recovery(connection, event)
        return
    _count_without_sack(connection, event)
    event.send = SEND_LOST


def _is_decided(connection: Connection, event: AckEvent, *, recovered: bool) -> bool:
    """RFC 5682 §2.1, steps 2 and 3, §3.1 with SACK: True if nothing lost is to be sent again now."""
    tcb = connection.tcb
    if event.original and undo.of_timeout(connection, event, proven=True):
        return True
    if sequence.gt(tcb.snd_nxt, tcb.recovery_point):
        if event.sacked or event.duplicates:
            tcb.frto = 0
    elif event.advanced and not recovered:
        tcb.recovery_point = tcb.snd_nxt
        if send_buffer.unsent_bytes(tcb) > 0 and window.usable_window(tcb) > 0:
            event.send = SEND_NEW
            return True
        tcb.frto = 0
    return False


def _count_without_sack(connection: Connection, event: AckEvent) -> None:
    """Without SACK a duplicate ACK tells that new data of step 2 b have arrived."""
    tcb = connection.tcb
    if tcb.sack_permitted:
        return
    if sequence.gt(tcb.snd_nxt, tcb.recovery_point) and event.duplicates:
        newreno.add_duplicates(connection, event.duplicates)
    elif event.advanced:
        tcb.dup_acks = 0

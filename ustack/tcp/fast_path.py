"""Python's side of the contract with C (`fast_path.h`): what is done once a burst for each connection.

C, or `arrival_synchronized` in its place, takes the segments of a burst one by one: data into the ring, acknowledged
bytes out of it, sums into `tcb.acked`, `ack_pending_bytes` and `events`.  `settle` then decides: controller, output,
ACK, timers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import ack_sample, notices, output
from ustack.tcp.state import CLOSED, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_NOT_SYNCHRONIZED = (CLOSED, SYN_SENT, SYN_RECEIVED)


def settle(connection: Connection, now: int) -> None:
    """The burst is over for this connection: send what may leave now, and the ACK that is owed (MUST-58, MUST-59)."""
    tcb = connection.tcb
    tcb.touched = 0
    if tcb.state in _NOT_SYNCHRONIZED:
        return
    ack_sample.flush(connection, now)
    if connection.notices is not None:
        notices.acknowledged(connection, now)
        notices.arrived(connection, now)
    output.output(connection, now)
    _settle_ack(connection, now)
    events = tcb.events
    if events:
        tcb.events = 0
        connection.raise_event(events)


def _settle_ack(connection: Connection, now: int) -> None:
    """ACK at once every second full segment (SHLD-19) and where asked to; else delayed (SHLD-18, MUST-40)."""
    tcb = connection.tcb
    pending = tcb.ack_pending_bytes
    if tcb.ack_now or pending >= 2 * tcb.rcv_mss or (pending and connection.options.quick_ack):
        output.send_ack(connection, now)
    elif pending and not tcb.deadline_ns[lib.TIMER_DELAYED_ACK]:
        tcb.deadline_ns[lib.TIMER_DELAYED_ACK] = now + connection.tcp.config.delayed_ack_ns
        connection.tcp.timers.update(connection)

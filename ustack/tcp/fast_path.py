"""Python's side of the contract with C (`fast_path.h`): what is done once a burst for each connection.

C, or `arrival_synchronized` in its place, takes the segments of a burst one by one: data into the ring, acknowledged
bytes out of it, sums into `tcb.acked`, `ack_scheduled` and `events`.  `settle` then decides: controller, output,
ACK, timers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.tcp import ack_sample, delayed_ack, flight, notices, output, send_buffer
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
    delayed_ack.settle(connection, now)
    send_buffer.acknowledged(connection, flight.packets_in_flight(tcb))
    events = tcb.events
    if events:
        tcb.events = 0
        connection.raise_event(events)

"""The state of congestion avoidance: Open, Disorder, CWR, Recovery or Loss, with Linux's names and values.

Open: all is in order.  Disorder: duplicates or SACKs have come.  CWR: the window comes down, nothing was lost.
Recovery: fast recovery (RFC 6675).  Loss: after a time-out (RFC 6298 §5).
"""

from __future__ import annotations

from typing import Any

from ustack.native import lib
from ustack.tcp import flight, undo


def change(tcb: Any, state: int) -> None:
    """The only writer of `tcb.ca_state`."""
    tcb.ca_state = state


def keep_open(tcb: Any) -> None:
    """Open if nothing is out of order, else Disorder."""
    state = lib.CA_DISORDER if flight.left_network(tcb) or undo.any_retransmission(tcb) else lib.CA_OPEN
    if tcb.ca_state != state:
        change(tcb, state)
        tcb.recovery_point = tcb.snd_nxt

"""The states of a connection and the legal edges between them.  RFC 9293 §3.3.2, Figure 5."""

from __future__ import annotations

import enum
from typing import Any, Final

from ustack.native import lib


class State(enum.IntEnum):
    """The state names of RFC 9293 §3.3.2."""

    CLOSED = lib.TCP_CLOSED
    LISTEN = lib.TCP_LISTEN
    SYN_SENT = lib.TCP_SYN_SENT
    SYN_RECEIVED = lib.TCP_SYN_RECEIVED
    ESTABLISHED = lib.TCP_ESTABLISHED
    FIN_WAIT_1 = lib.TCP_FIN_WAIT_1
    FIN_WAIT_2 = lib.TCP_FIN_WAIT_2
    CLOSE_WAIT = lib.TCP_CLOSE_WAIT
    CLOSING = lib.TCP_CLOSING
    LAST_ACK = lib.TCP_LAST_ACK
    TIME_WAIT = lib.TCP_TIME_WAIT


# As plain integers: the TCB's field is compared with these on every packet.
CLOSED: Final = int(State.CLOSED)
LISTEN: Final = int(State.LISTEN)
SYN_SENT: Final = int(State.SYN_SENT)
SYN_RECEIVED: Final = int(State.SYN_RECEIVED)
ESTABLISHED: Final = int(State.ESTABLISHED)
FIN_WAIT_1: Final = int(State.FIN_WAIT_1)
FIN_WAIT_2: Final = int(State.FIN_WAIT_2)
CLOSE_WAIT: Final = int(State.CLOSE_WAIT)
CLOSING: Final = int(State.CLOSING)
LAST_ACK: Final = int(State.LAST_ACK)
TIME_WAIT: Final = int(State.TIME_WAIT)

TRANSITIONS: Final[dict[State, dict[State, str]]] = {
    State.CLOSED: {
        State.SYN_SENT: "active OPEN, send SYN",
        State.SYN_RECEIVED: "a listener receives SYN: its child sends SYN,ACK",
    },
    State.SYN_SENT: {
        State.ESTABLISHED: "receive SYN,ACK, send ACK",
        State.SYN_RECEIVED: "receive SYN, send SYN,ACK (simultaneous open)",
        State.CLOSED: "CLOSE, RST, or time-out",
    },
    State.SYN_RECEIVED: {
        State.ESTABLISHED: "receive ACK of SYN",
        State.FIN_WAIT_1: "CLOSE, send FIN",
        State.CLOSE_WAIT: "receive ACK of SYN with FIN",
        State.CLOSED: "RST, or time-out",
    },
    State.ESTABLISHED: {
        State.FIN_WAIT_1: "CLOSE, send FIN",
        State.CLOSE_WAIT: "receive FIN, send ACK",
        State.CLOSED: "RST, ABORT, or time-out",
    },
    State.FIN_WAIT_1: {
        State.FIN_WAIT_2: "receive ACK of FIN",
        State.CLOSING: "receive FIN, send ACK",
        State.TIME_WAIT: "receive FIN and ACK of FIN, send ACK",
        State.CLOSED: "RST, ABORT, or time-out",
    },
    State.FIN_WAIT_2: {
        State.TIME_WAIT: "receive FIN, send ACK",
        State.CLOSED: "RST, ABORT, or time-out",
    },
    State.CLOSE_WAIT: {
        State.LAST_ACK: "CLOSE, send FIN",
        State.CLOSED: "RST, ABORT, or time-out",
    },
    State.CLOSING: {
        State.TIME_WAIT: "receive ACK of FIN",
        State.CLOSED: "RST, ABORT, or time-out",
    },
    State.LAST_ACK: {
        State.CLOSED: "receive ACK of FIN, or RST, or time-out",
    },
    State.TIME_WAIT: {
        State.CLOSED: "2 MSL have passed, or a new SYN takes the place",
    },
}
"""The legal edges with what takes them; the documentation draws its diagram from this table."""


_FLOWING: Final = frozenset((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK))
"""States in which data or their acknowledgments flow, so that the fast path may help."""


def change_state(tcb: Any, new: int) -> None:
    """Take the edge from the TCB's state to `new`: the only writer of `tcb.state` and of SLOW_STATE."""
    old = State(tcb.state)
    assert State(new) in TRANSITIONS[old], f"illegal edge {old.name} -> {State(new).name}"
    tcb.state = new
    if new in _FLOWING:
        tcb.slow_path_reasons &= ~lib.SLOW_STATE
    else:
        tcb.slow_path_reasons |= lib.SLOW_STATE


def can_send(state: int) -> bool:
    """Whether the user may still send in this state."""
    return state in (ESTABLISHED, CLOSE_WAIT)


def is_synchronized(state: int) -> bool:
    """Whether both sides have agreed on the sequence numbers.  RFC 9293 §3.5.2."""
    return state >= ESTABLISHED

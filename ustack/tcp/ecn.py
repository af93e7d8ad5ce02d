"""Explicit congestion notification: what all connections share, and the classic feedback.  RFC 3168, RFC 8311.

Here: which feedback is negotiated, the marks of outgoing segments, the marks and flags of those that arrive.  What is
particular to Accurate ECN stands in `accecn`, which these functions call.  The fields of the TCB from `ecn_mode` on are
written by these two modules and, for ordinary segments, by C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp import accecn, output, quick_ack, sequence
from ustack.tcp.ecn_need import capable_codepoint, need
from ustack.tcp.state import SYN_RECEIVED, TIME_WAIT
from ustack.wire.tcp import AE, CWR, ECE, SYN

if TYPE_CHECKING:
    from ustack.tcp.congestion import CongestionController
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

_ASKS_ON_OPEN = frozenset((1, 3, 4))
"""Values of `TcpConfig.ecn` with which an active open asks for ECN."""
_ASKS_ACCURATE = 3
_QUICK_ACKS = 2
_ACCEPTS_ACCURATE = frozenset((3, 4, 5))
_SYN_ACKS_WITH_FLAGS = 2
"""After as many time-outs a <SYN,ACK> is sent without ECN flags: they may be why it gets lost."""


# Negotiation: RFC 3168 §6.1.1, RFC 9768 §3.1.


def syn_flags(connection: Connection) -> int:
    """The ECN flags of the SYN or <SYN,ACK> that is sent now; sets its codepoint too."""
    tcb = connection.tcb
    if tcb.state == SYN_RECEIVED:
        return _syn_ack_flags(connection)
    if not tcb.retransmits:
        _ask(connection)
    patience = 1 if tcb.ecn_mode == lib.ECN_PENDING else 0
    if tcb.ecn_mode and tcb.retransmits > patience and connection.tcp.config.ecn_fallback:
        tcb.ecn_flags |= lib.ECN_SYN_PLAIN
    if not tcb.ecn_mode or tcb.ecn_flags & lib.ECN_SYN_PLAIN:
        tcb.ecn_codepoint = lib.NOT_ECT
        return 0
    return ECE | CWR | (AE if tcb.ecn_mode == lib.ECN_PENDING else 0)


def _ask(connection: Connection) -> None:
    """Decide what an active open asks for.  SYNs are not ECN-capable, but for controllers that need it."""
    tcb, mode = connection.tcb, connection.tcp.config.ecn
    needed = need(connection)
    if mode == _ASKS_ACCURATE or needed.startswith("accurate"):
        tcb.ecn_mode = lib.ECN_PENDING
    elif mode in _ASKS_ON_OPEN or needed or connection.route_metrics.ecn:
        tcb.ecn_mode = lib.ECN_CLASSIC
    tcb.ecn_codepoint = capable_codepoint(connection) if needed else lib.NOT_ECT
    tcb.syn_ecn_sent = tcb.ecn_codepoint


def _syn_ack_flags(connection: Connection) -> int:
    tcb = connection.tcb
    tcb.ecn_codepoint = capable_codepoint(connection) if tcb.ecn_mode and need(connection) else lib.NOT_ECT
    tcb.syn_ecn_sent = tcb.ecn_codepoint
    if tcb.retransmits >= _SYN_ACKS_WITH_FLAGS:
        accecn.syn_ack_lost(tcb)
        return 0
    if tcb.ecn_mode == lib.ECN_ACCURATE:
        return accecn.reflection(tcb.syn_ecn_received)
    return ECE if tcb.ecn_mode == lib.ECN_CLASSIC else 0


def syn_arrives(connection: Connection, segment: Segment) -> None:
    """A SYN has opened this connection passively: agree to what it asks for, as far as we want.

    A SYN that asks for the classic feedback must not be ECN-capable: if it is, the network meddles with the bits (RFC
    3168 §6.1.1); but a SYN of some later extension may be (RFC 8311 §4.3).
    """
    tcb, mode = connection.tcb, connection.tcp.config.ecn
    needed = need(connection)
    asked = accecn.ace(segment.flags)
    if asked not in (0b000, 0b011) and (mode in _ACCEPTS_ACCURATE or needed.startswith("accurate")):
        accecn.accept(connection, segment)
        return
    if segment.flags & (ECE | CWR) != ECE | CWR:
        return
    wanted = mode or connection.route_metrics.ecn
    plausible = not segment.codepoint or segment.flags & AE
    if (wanted and plausible) or needed == "classic":
        tcb.ecn_mode = lib.ECN_CLASSIC


def crossed_syn_arrives(connection: Connection, segment: Segment) -> None:
    """In SYN-SENT a SYN has arrived: each side now knows what the other one has asked for."""
    tcb = connection.tcb
    asked = accecn.ace(segment.flags)
    if tcb.ecn_mode == lib.ECN_PENDING:
        if asked in (0b000, 0b011):
            tcb.ecn_mode = lib.ECN_CLASSIC
        else:
            accecn.accept(connection, segment)
    if tcb.ecn_mode == lib.ECN_CLASSIC and segment.flags & (ECE | CWR) != ECE | CWR:
        tcb.ecn_mode = lib.ECN_NONE


def syn_ack_arrives(connection: Connection, segment: Segment) -> None:
    """The answer to our SYN tells what was agreed.  RFC 9768 §3.1.1, Table 2."""
    tcb = connection.tcb
    if tcb.ecn_mode == lib.ECN_PENDING:
        accecn.syn_ack_arrives(connection, segment)
    elif tcb.ecn_mode == lib.ECN_CLASSIC and segment.flags & (ECE | CWR) != ECE:
        tcb.ecn_mode = lib.ECN_NONE


def established(connection: Connection, segment: Segment) -> None:
    """The ACK of our <SYN,ACK> has arrived: its field ACE is no counter yet."""
    if connection.tcb.ecn_mode == lib.ECN_ACCURATE:
        segment.timestamp_advanced = False
        accecn.third_ack_arrives(connection, segment)
        count_arrival(connection, segment)


# Outgoing segments: RFC 3168 §6.1.2 to §6.1.5.


def mark(connection: Connection, seq: int, flags: int, length: int) -> int:
    """The flags of a segment of a synchronized connection with its ECN flags; sets its codepoint.

    Only new data is ECN-capable with the classic feedback: not pure ACKs, not retransmissions, not window probes (RFC
    3168 §6.1.4 to §6.1.6), unless the controller needs it.
    """
    tcb = connection.tcb
    mode = tcb.ecn_mode
    if not mode or tcb.state == TIME_WAIT:
        return flags
    if mode == lib.ECN_ACCURATE:
        return accecn.mark(connection, flags, length)
    if mode != lib.ECN_CLASSIC:
        return flags
    if length and sequence.ge(seq, tcb.snd_nxt):
        tcb.ecn_codepoint = capable_codepoint(connection)
        if tcb.ecn_flags & lib.ECN_QUEUE_CWR:
            tcb.ecn_flags &= ~lib.ECN_QUEUE_CWR
            flags |= CWR
    elif not need(connection):
        tcb.ecn_codepoint = lib.NOT_ECT
    return flags | ECE if tcb.ecn_flags & lib.ECN_DEMAND_CWR else flags


def not_sent(tcb: Any, flags: int) -> None:
    """The device did not take the segment that was marked so."""
    if flags & CWR and tcb.ecn_mode == lib.ECN_CLASSIC:
        tcb.ecn_flags |= lib.ECN_QUEUE_CWR


def queue_cwr(tcb: Any) -> None:
    """The congestion window was reduced: the peer learns so with the next new data.  RFC 3168 §6.1.2."""
    if tcb.ecn_mode == lib.ECN_CLASSIC:
        tcb.ecn_flags |= lib.ECN_QUEUE_CWR


def withdraw_cwr(tcb: Any) -> None:
    """The reduction was undone before the peer has heard of it."""
    tcb.ecn_flags &= ~lib.ECN_QUEUE_CWR


# Segments that arrive: RFC 3168 §6.1.3.


def count_arrival(connection: Connection, segment: Segment) -> None:
    """Count an acceptable segment by its codepoint.  C does the same for those that change nothing else."""
    tcb = connection.tcb
    codepoint = segment.codepoint
    carried = segment.carried
    if codepoint:
        if tcb.ecn_mode != lib.ECN_CLASSIC or carried:
            tcb.ecn_flags |= lib.ECN_SEEN
        if carried:
            tcb.received_ecn_bytes[codepoint - 1] += carried
        if codepoint == lib.ECN_CE:
            packets = segment.packets
            tcb.received_ce += packets
            tcb.received_ce_pending = min(tcb.received_ce_pending + packets, 15)
    if tcb.ecn_mode == lib.ECN_ACCURATE:
        accecn.codepoint_arrives(connection, codepoint, carried)
    tcb.ecn_last_received = codepoint


def data_arrives(connection: Connection, segment: Segment, now: int) -> None:
    """The text of a segment is taken: CE is echoed from now on until the peer says CWR.

    As in Linux the ACKs then leave at once, for the sender may have a very small window; and so they do for data that
    are not ECN-capable where others were: they are probably retransmissions.
    """
    tcb = connection.tcb
    codepoint = segment.codepoint
    if not tcb.ecn_mode:
        return
    if not codepoint:
        if tcb.ecn_flags & lib.ECN_SEEN:
            quick_ack.enter(tcb, _QUICK_ACKS)
        return
    if connection.congestion is not None and need(connection):
        _tell_controller(connection, connection.congestion, codepoint == lib.ECN_CE, now)
    elif tcb.ecn_mode == lib.ECN_CLASSIC and codepoint == lib.ECN_CE and not tcb.ecn_flags & lib.ECN_DEMAND_CWR:
        quick_ack.enter(tcb, _QUICK_ACKS)
        tcb.ecn_flags |= lib.ECN_DEMAND_CWR


def _tell_controller(connection: Connection, controller: CongestionController, marked: bool, now: int) -> None:
    """A controller that counts marks has them echoed one by one, not until CWR: with the classic flags too.

    What was received before a change is acknowledged before it.  RFC 8257 §3.2.
    """
    tcb = connection.tcb
    if controller.on_ce(marked) and tcb.deadline_ns[lib.TIMER_DELAYED_ACK]:
        output.send_ack(connection, now)
    if tcb.ecn_mode == lib.ECN_CLASSIC:
        tcb.ecn_flags = tcb.ecn_flags & ~lib.ECN_DEMAND_CWR | (lib.ECN_DEMAND_CWR if marked else 0)


def ack_arrives(connection: Connection, segment: Segment, delivered: int, delivered_bytes: int) -> bool:
    """Whether this acknowledgment of `delivered` segments tells of congestion; counts DELIVERED_CE.

    With the classic feedback ECE tells it of all that are acknowledged.  CWR on a pure ACK counts too, as in Linux:
    there are hosts that send it so (RFC 3168 §6.1.2 wants it on data).
    """
    tcb = connection.tcb
    if tcb.ecn_mode == lib.ECN_ACCURATE:
        return accecn.ack_arrives(connection, segment, delivered, delivered_bytes)
    if tcb.ecn_mode != lib.ECN_CLASSIC:
        return False
    if segment.flags & CWR and not need(connection):
        tcb.ecn_flags &= ~lib.ECN_DEMAND_CWR
        if segment.length:
            tcb.ack_now = 1
    if not segment.flags & ECE or segment.flags & SYN:
        return False
    tcb.delivered_ce += delivered
    return True

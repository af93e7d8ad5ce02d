"""Taking a reduction back that turns out to have been spurious.

The Eifel detection algorithm by timestamps (RFC 3522), DSACK (RFC 3708), and the response of RFC 4015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import ack_sample, ca_state, ecn, reordering, sequence, timestamps

if TYPE_CHECKING:
    from ustack.tcp.ack_event import AckEvent
    from ustack.tcp.connection import Connection

_PERSIST_MOST = 16


def begin(tcb: Any) -> None:
    """A loss episode begins that may yet be taken back."""
    tcb.undo_marked = 1
    tcb.undo_marker = tcb.snd_una
    probes = 1 if tcb.tlp_outstanding and tcb.tlp_retransmission else 0
    tcb.undo_retrans = tcb.sent.retransmitted_segments + probes or -1


def forget(tcb: Any) -> None:
    """The episode cannot be taken back any more."""
    tcb.undo_marked = 0


def any_retransmission(tcb: Any) -> bool:
    """Whether something that was sent more than once may be in flight."""
    head = reordering.in_flight_head(tcb)
    return bool(tcb.sent.retransmitted_segments or (head is not None and head.flags & lib.SENT_RETRANSMITTED))


def forget_first_retransmission(tcb: Any) -> None:
    """If nothing of it is in flight any more, the time of the first retransmission says nothing about what comes."""
    if not any_retransmission(tcb):
        tcb.retrans_stamp_ns = 0


def was_delayed(tcb: Any, event: AckEvent) -> bool:
    """Whether the ACK is of an original, not of the retransmission.  RFC 3522 §3.2, step 3.

    It is too if nothing was sent again yet; but without SACK that time may have been forgotten at the end.
    """
    if not tcb.retrans_stamp_ns:
        return bool(tcb.sack_permitted or sequence.lt(tcb.snd_una, tcb.recovery_point))
    if not event.ts_echo:
        return False
    return sequence.lt(event.ts_echo, timestamps.value(tcb, tcb.retrans_stamp_ns))


def may_undo(tcb: Any, event: AckEvent) -> bool:
    """Whether all that was sent again was sent again in vain."""
    return bool(tcb.undo_marked and (not tcb.undo_retrans or was_delayed(tcb, event)))


def _take_back(connection: Connection, *, unmark: bool) -> None:
    """Restore cwnd and ssthresh; with `unmark` nothing is deemed lost any more.  RFC 4015 §3.2."""
    tcb, controller = connection.tcb, connection.congestion
    assert controller is not None, "a synchronized connection has a controller"
    if unmark:
        lib.sent_queue_unmark_lost(ffi.addressof(tcb, "sent"))
    if tcb.prior_ssthresh_packets:
        controller.on_undo(tcb.prior_cwnd_packets, tcb.prior_ssthresh_packets)
        ecn.withdraw_cwr(tcb)
        ack_sample.publish(connection)
    tcb.undo_marked = 0
    tcb.rack.advanced = 1


def _keeps_state(tcb: Any) -> bool:
    """Without SACK the state stays until something beyond `recovery_point` is acknowledged.  RFC 6582 §3.2, step 1."""
    if tcb.snd_una != tcb.recovery_point or tcb.sack_permitted:
        return False
    forget_first_retransmission(tcb)
    return True


def at_end_of_recovery(connection: Connection, event: AckEvent) -> bool:
    """All of the episode is acknowledged: undo it if it was spurious, and leave it; True if the state is kept."""
    tcb = connection.tcb
    if may_undo(tcb, event):
        _take_back(connection, unmark=False)
    elif tcb.rack.reo_wnd_persist:
        tcb.rack.reo_wnd_persist -= 1
    if _keeps_state(tcb):
        return True
    ca_state.change(tcb, lib.CA_OPEN)
    tcb.sack_reneging = 0
    return False


def by_dsack(connection: Connection) -> bool:
    """DSACKs have told that every retransmission was in vain.  RFC 3708 §3."""
    tcb = connection.tcb
    if not tcb.undo_marked or tcb.undo_retrans:
        return False
    tcb.rack.reo_wnd_persist = min(tcb.rack.reo_wnd_persist + 1, _PERSIST_MOST)
    _take_back(connection, unmark=False)
    return True


def at_partial_ack(connection: Connection, event: AckEvent) -> bool:
    """In recovery a hole was filled by its delayed original.  True: send nothing again for now."""
    tcb = connection.tcb
    if not tcb.undo_marked or not was_delayed(tcb, event):
        return False
    reordering.note_hole_filled(connection, event.prior_una)
    if tcb.sent.retransmitted_segments:
        return True
    forget_first_retransmission(tcb)
    _take_back(connection, unmark=True)
    ca_state.keep_open(tcb)
    return False


def of_timeout(connection: Connection, event: AckEvent, *, proven: bool) -> bool:
    """After a time-out: undo it if an original has arrived, which F-RTO has `proven` or timestamps tell."""
    tcb = connection.tcb
    if not proven and not may_undo(tcb, event):
        return False
    _take_back(connection, unmark=True)
    tcb.retransmits = 0
    if _keeps_state(tcb):
        return True
    if proven or tcb.sack_permitted:
        ca_state.change(tcb, lib.CA_OPEN)
        tcb.sack_reneging = 0
    return True

"""Fast retransmit and NewReno's fast recovery, without SACK.  RFC 5681 §3.2, RFC 6582 §3.2.

What was lost is marked in the queue of sent segments, and `output` sends it again; here is only the decision what is
lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import ack_sample, ecn, output, path_mtu, path_search, resend, retransmission, sequence
from ustack.tcp.congestion import LossSample

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_DUPLICATE_THRESHOLD = 3


def on_duplicate_ack(connection: Connection, now: int) -> None:
    """One more duplicate ACK.  Two allow limited transmit (RFC 3042), the third begins fast recovery.

    Unless it tells of the last recovery still: then it counts no more than the second.  RFC 6582 §3.2, step 1.
    """
    tcb = connection.tcb
    outside = tcb.ca_state == lib.CA_OPEN
    third = outside and tcb.dup_acks + 1 == _DUPLICATE_THRESHOLD
    if tcb.ca_state == lib.CA_LOSS or (third and _last_recovery_is_unacknowledged(tcb)):
        return
    tcb.dup_acks += 1
    connection.wants_slow_path(lib.SLOW_RECOVERY, True)
    if third:
        _enter_fast_recovery(connection, now)


def _last_recovery_is_unacknowledged(tcb: Any) -> bool:
    """Whether SND.UNA has not gone beyond `recovery_point`, which may also lie far behind."""
    una: int = tcb.snd_una
    return bool(una == tcb.recovery_point) or sequence.is_within(una, tcb.recovery_point, tcb.snd_nxt)


def on_acknowledged(connection: Connection, acked: int, now: int) -> None:
    """New data was acknowledged: leave recovery, or take a partial acknowledgment as the next loss."""
    tcb = connection.tcb
    if tcb.ca_state == lib.CA_RECOVERY and sequence.lt(tcb.snd_una, tcb.recovery_point):
        _on_partial_ack(connection, acked, now)
        return
    tcb.dup_acks = 0
    if tcb.ca_state == lib.CA_RECOVERY:
        _leave_fast_recovery(connection, now)
    elif tcb.ca_state and sequence.ge(tcb.snd_una, tcb.recovery_point):
        tcb.ca_state = lib.CA_OPEN
    connection.wants_slow_path(lib.SLOW_RECOVERY, bool(tcb.ca_state))


def on_timeout(connection: Connection, now: int) -> None:
    """All that is outstanding counts as lost; slow start from one segment.  RFC 5681 §3.1, RFC 6582 §4."""
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    if tcb.ca_state != lib.CA_LOSS:
        connection.congestion.on_timeout(_loss_sample(connection, now))
    ecn.queue_cwr(tcb)
    lib.sent_queue_mark_all_lost(ffi.addressof(tcb, "sent"), 1)
    tcb.ca_state = lib.CA_LOSS
    tcb.recovery_point = tcb.snd_nxt
    tcb.dup_acks = 0
    connection.congestion.cwnd = output.packets_in_flight(tcb) + 1
    ack_sample.publish(connection)
    connection.wants_slow_path(lib.SLOW_RECOVERY, True)


def on_window_opened(connection: Connection, now: int) -> None:
    """What was sent again into a closed window was lost there: it need not wait for a backed-off timer."""
    tcb = connection.tcb
    if tcb.ca_state == lib.CA_LOSS:
        lib.sent_queue_mark_all_lost(ffi.addressof(tcb, "sent"), 0)
        tcb.backoff = tcb.retransmits = 0
        retransmission.restart(connection, now)


def on_congestion_echo(connection: Connection, now: int) -> None:
    """The peer tells of congestion marks: reduce the window once a window of data.  RFC 3168 §6.1.2."""
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    if tcb.ca_state not in (lib.CA_OPEN, lib.CA_DISORDER):
        return
    ack_sample.flush(connection, now)
    connection.congestion.on_ecn(_loss_sample(connection, now))
    if not connection.congestion.controls_recovery:
        connection.congestion.cwnd = min(connection.congestion.cwnd, connection.congestion.ssthresh)
    ack_sample.publish(connection)
    tcb.ca_state = lib.CA_CWR
    tcb.recovery_point = tcb.snd_nxt
    ecn.queue_cwr(tcb)
    connection.wants_slow_path(lib.SLOW_RECOVERY, True)


def _enter_fast_recovery(connection: Connection, now: int) -> None:
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    ack_sample.flush(connection, now)
    if path_search.has_failed(connection):
        path_mtu.resend_too_large(connection, now)
        return
    connection.congestion.on_loss(_loss_sample(connection, now))
    ecn.queue_cwr(tcb)
    if not connection.congestion.controls_recovery:
        connection.congestion.cwnd = min(connection.congestion.cwnd, connection.congestion.ssthresh)
    ack_sample.publish(connection)
    tcb.ca_state = lib.CA_RECOVERY
    tcb.recovery_point = tcb.snd_nxt
    retransmit_first(connection, now)


def _leave_fast_recovery(connection: Connection, now: int) -> None:
    """A full acknowledgment.  It is told to nobody else: it must not open the window a second time."""
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    ack_sample.flush(connection, now)
    tcb.ca_state = lib.CA_OPEN
    connection.congestion.on_recovered(_loss_sample(connection, now))
    ack_sample.publish(connection)


def _on_partial_ack(connection: Connection, acked: int, now: int) -> None:
    """The segment after the acknowledged ones is lost too.  One ACK filled the hole, the others eat duplicate ACKs."""
    tcb = connection.tcb
    arrived = max(acked - 1, 0)
    tcb.dup_acks = max(tcb.dup_acks - arrived, 0)
    retransmit_first(connection, now)


def retransmit_first(connection: Connection, now: int) -> None:
    """Send the first segment that is not acknowledged again, whatever cwnd says."""
    tcb = connection.tcb
    options = output.segment_options(connection, now)
    sent = ffi.addressof(tcb, "sent")
    end = sequence.add(tcb.snd_una, tcb.snd_mss)
    lib.sent_queue_mark_lost(sent, tcb.snd_una, end if sequence.lt(end, tcb.snd_nxt) else tcb.snd_nxt)
    index = lib.sent_queue_next_lost(sent, 0)
    if index >= 0:
        resend.resend(connection, index, options, now)


def _loss_sample(connection: Connection, now: int) -> LossSample:
    tcb = connection.tcb
    return LossSample(
        now=now,
        mss=tcb.snd_mss,
        in_flight=output.packets_in_flight(tcb),
        lost_packets=tcb.sent.lost_segments,
        srtt_ns=tcb.srtt_ns,
    )

"""Fast retransmit and NewReno's fast recovery, without SACK.  RFC 5681 §3.2, RFC 6582 §3.2.

What was lost is marked in the queue of sent segments, and `output` sends it again; here is only the decision what is
lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import ffi, lib
from ustack.tcp import ack_sample, output, sequence
from ustack.tcp import options as tcp_options
from ustack.tcp.congestion import LossSample

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_DUPLICATE_THRESHOLD = 3


def on_duplicate_ack(connection: Connection, now: int) -> None:
    """One more duplicate ACK; the third begins fast recovery, unless it tells of the last one still.

    RFC 6582 §3.2, step 1.
    """
    tcb = connection.tcb
    if tcb.in_recovery == lib.RECOVERY_TIMEOUT:
        return
    tcb.dup_acks += 1
    connection.wants_slow_path(lib.SLOW_RECOVERY, True)
    if (
        tcb.in_recovery == lib.RECOVERY_NONE
        and tcb.dup_acks == _DUPLICATE_THRESHOLD
        and sequence.gt(tcb.snd_una, tcb.recovery_point)
    ):
        _enter_fast_recovery(connection, now)


def on_acknowledged(connection: Connection, acked: int, now: int) -> None:
    """New data was acknowledged: leave recovery, or take a partial acknowledgment as the next loss."""
    tcb = connection.tcb
    if tcb.in_recovery == lib.RECOVERY_FAST and sequence.lt(tcb.snd_una, tcb.recovery_point):
        _on_partial_ack(connection, acked, now)
        return
    was = tcb.in_recovery
    tcb.dup_acks = 0
    if was and sequence.ge(tcb.snd_una, tcb.recovery_point):
        tcb.in_recovery = lib.RECOVERY_NONE
        if was == lib.RECOVERY_FAST:
            assert connection.congestion is not None, "a synchronized connection has a controller"
            connection.congestion.on_recovered(_loss_sample(connection, now))
            ack_sample.publish(connection)
    connection.wants_slow_path(lib.SLOW_RECOVERY, bool(tcb.in_recovery))


def on_timeout(connection: Connection, now: int) -> None:
    """All that is outstanding counts as lost; slow start from one segment.  RFC 5681 §3.1, RFC 6582 §4."""
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    if tcb.in_recovery != lib.RECOVERY_TIMEOUT:
        connection.congestion.on_timeout(_loss_sample(connection, now))
    else:
        connection.congestion.cwnd = tcb.snd_mss
    ack_sample.publish(connection)
    lib.sent_queue_mark_all_lost(ffi.addressof(tcb, "sent"), 1)
    tcb.in_recovery = lib.RECOVERY_TIMEOUT
    tcb.recovery_point = tcb.snd_nxt
    tcb.dup_acks = 0
    connection.wants_slow_path(lib.SLOW_RECOVERY, True)


def _enter_fast_recovery(connection: Connection, now: int) -> None:
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    ack_sample.flush(connection, now)
    connection.congestion.on_loss(_loss_sample(connection, now))
    ack_sample.publish(connection)
    tcb.in_recovery = lib.RECOVERY_FAST
    tcb.recovery_point = tcb.snd_nxt
    _retransmit_first(connection, now)


def _on_partial_ack(connection: Connection, acked: int, now: int) -> None:
    """The segment after the acknowledged ones is lost too.  One ACK filled the hole, the others eat duplicate ACKs."""
    tcb = connection.tcb
    arrived = max(acked // tcb.snd_mss - 1, 0)
    tcb.dup_acks = max(tcb.dup_acks - arrived, 0)
    _retransmit_first(connection, now)


def _retransmit_first(connection: Connection, now: int) -> None:
    """Send the first segment that is not acknowledged again, whatever cwnd says."""
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    end = sequence.add(tcb.snd_una, tcb.snd_mss)
    lib.sent_queue_mark_lost(sent, tcb.snd_una, end if sequence.lt(end, tcb.snd_nxt) else tcb.snd_nxt)
    index = lib.sent_queue_next_lost(sent, 0)
    if index >= 0:
        output.resend(connection, index, tcp_options.data_options(tcb, now), now)


def _loss_sample(connection: Connection, now: int) -> LossSample:
    tcb = connection.tcb
    flight = sequence.distance(tcb.snd_una, tcb.snd_nxt)
    return LossSample(now=now, flight=flight, mss=tcb.snd_mss)

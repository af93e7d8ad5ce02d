"""The tail loss probe: something is sent before the time-out to provoke an acknowledgment.  RFC 8985 §7."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.native import lib
from ustack.tcp import ca_state, output, prr, resend, retransmission, sequence, super_segment

if TYPE_CHECKING:
    from ustack.tcp.ack_event import AckEvent
    from ustack.tcp.connection import Connection

_DELAYED = (3, 4)
"""Values of `TcpConfig.early_retrans` with which there are probes."""
_SLACK_NS = 2_000_000


def schedule(connection: Connection, now: int, *, advancing: bool) -> bool:
    """Arm the probe time-out if one may be sent; `advancing`: the RTO would begin anew now.  RFC 8985 §7.2."""
    tcb, config = connection.tcb, connection.tcp.config
    if (
        config.early_retrans not in _DELAYED
        or not tcb.sent.count
        or not tcb.sack_permitted
        or tcb.ca_state not in (lib.CA_OPEN, lib.CA_CWR)
        or tcb.state < lib.TCP_ESTABLISHED
        or connection.fast_open.server is not None
    ):
        return False
    deadline = now + _timeout_ns(connection)
    rto = now + retransmission.current_rto(connection) if advancing else retransmission.rto_deadline(connection)
    if rto > now:
        deadline = min(deadline, rto)
    retransmission.arm(connection, lib.RETRANSMIT_TLP, deadline)
    return True


def _timeout_ns(connection: Connection) -> int:
    """Twice SRTT, and time for a delayed ACK where a single segment is out."""
    tcb, config = connection.tcb, connection.tcp.config
    if not tcb.srtt_ns:
        return config.rto_initial_ns
    return 2 * int(tcb.srtt_ns) + (connection.rto_min_ns if tcb.sent.segments == 1 else _SLACK_NS)


def send(connection: Connection, now: int) -> None:
    """The probe time-out is over: send new data, or the last segment again.  RFC 8985 §7.3."""
    tcb = connection.tcb
    if not tcb.tlp_outstanding and tcb.sent.count and _send_probe(connection, now):
        tcb.tlp_outstanding = 1
        tcb.tlp_high_seq = tcb.snd_nxt
        connection.wants_slow_path(lib.SLOW_RECOVERY, True)
        retransmission.arm_rto(connection, now)
        return
    retransmission.rearm_rto(connection, now)


def _send_probe(connection: Connection, now: int) -> bool:
    """New data, or a FIN, if the peer's window has room for it; else the last segment."""
    tcb = connection.tcb
    before: int = tcb.snd_nxt
    tcb.tlp_retransmission = 0
    chunks = connection.sending.chunks
    if chunks and super_segment.may_begin(tcb, chunks[0]):
        output.send_probe_of_new_data(connection, now)
        return bool(tcb.snd_nxt != before)
    if not resend.probe_last(connection, now):
        return False
    tcb.tlp_retransmission = 1
    return True


def process_ack(connection: Connection, event: AckEvent, now: int) -> None:
    """The end of the probe's episode, and whether it has repaired a loss.  RFC 8985 §7.4."""
    tcb = connection.tcb
    una: int = tcb.snd_una
    if sequence.lt(una, tcb.tlp_high_seq):
        return
    if not tcb.tlp_retransmission or event.dsack_of_probe:
        tcb.tlp_outstanding = 0
    elif sequence.gt(una, tcb.tlp_high_seq):
        _reduce_once(connection, now)
    elif not event.advanced and not event.not_duplicate and not event.sacked:
        tcb.tlp_outstanding = 0


def _reduce_once(connection: Connection, now: int) -> None:
    """The probe was needed: something was lost, and the window comes down at once."""
    tcb = connection.tcb
    prr.begin(connection, now)
    ca_state.change(tcb, lib.CA_CWR)
    prr.end(connection, now)
    ca_state.keep_open(tcb)

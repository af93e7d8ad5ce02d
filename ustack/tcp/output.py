"""What to send now: lost data first (`resend`), then new data, then the FIN; and the ACK that is owed.

The sender works in super-segments of up to 64 KiB; C cuts them to the MSS where the device cannot.  RFC 9293 §3.7.4,
§3.8.6.2.1 (MUST-38: silly-window avoidance, SHLD-7: Nagle), RFC 5681 §3.1 (never beyond cwnd).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import (
    accounting,
    cwnd_validation,
    ecn,
    flight,
    notices,
    pacing,
    path_search,
    prr,
    quick_ack,
    rate_sampling,
    resend,
    retransmission,
    segment_size,
    sequence,
    window,
)
from ustack.tcp import options as tcp_options
from ustack.tcp.state import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, LAST_ACK, SYN_SENT
from ustack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

SUPER_SEGMENT_MAX = 65_535 - 60 - 60
"""Payload bytes of one super-segment: with the longest headers it is still one IP packet."""
SUPER_SEGMENT_SEGMENTS: int = lib.BURST_FRAMES // 4
"""Segments of one super-segment, at most: cut, they must fit the burst of a device."""
_SENDING_STATES = frozenset((ESTABLISHED, CLOSE_WAIT, FIN_WAIT_1, CLOSING, LAST_ACK))


def packets_in_flight(tcb: Any) -> int:
    """As `flight`."""
    return flight.packets_in_flight(tcb)


def cwnd_room(tcb: Any) -> int:
    """Segments that cwnd lets out now; one at least may be in flight."""
    in_flight = packets_in_flight(tcb)
    return max(int(tcb.cwnd_packets) - in_flight, 0 if in_flight else 1)


def super_segment_limit(mss: int) -> int:
    """The payload bytes of the largest super-segment, whole segments."""
    return min(SUPER_SEGMENT_MAX // mss, SUPER_SEGMENT_SEGMENTS) * mss


def unsent_bytes(tcb: Any) -> int:
    """Bytes in the send ring that were never sent."""
    if tcb.fin_sent:
        return 0
    return int(tcb.snd_ring.length) - sequence.distance(tcb.snd_ring_seq, tcb.snd_nxt)


def output(connection: Connection, now: int) -> None:
    """Send all that the windows allow, and see that a timer watches over the rest."""
    tcb = connection.tcb
    if tcb.state not in _SENDING_STATES and connection.fast_open.server is None:
        accounting.note_wait(connection, now)
        return
    if resend.send_due(connection, now) and not tcb.fin_sent and (connection.fin_queued or unsent_bytes(tcb) > 0):
        _send_new(connection, segment_options(connection, now), now)
    accounting.note_wait(connection, now)
    retransmission.watch(connection, now)


def segment_options(connection: Connection, now: int) -> bytes:
    """The options of a segment with data sent now, for which SND.MSS makes room.  RFC 9293 §3.7.1 (MUST-16)."""
    tcb = connection.tcb
    if segment_size.path_has_changed(connection, now):
        segment_size.follow_path(connection, now)
    options = tcp_options.data_options(connection, now)
    tcb.snd_mss = min(connection.max_segment - len(options), SUPER_SEGMENT_MAX)
    return options


def _send_new(connection: Connection, options: bytes, now: int) -> None:
    """Send new data and, after the last of it, the FIN."""
    tcb = connection.tcb
    first: int = tcb.snd_nxt
    cwnd_validation.restart_after_idle(connection, now)
    may_send = path_search.send_probe(connection, options, now) is not None
    while may_send and not tcb.fin_sent and not pacing.must_wait(connection, now):
        pending = unsent_bytes(tcb)
        length = _sendable(connection, pending)
        fin = connection.fin_queued and length == pending and window.usable_window(tcb) > length
        if not (length or fin) or not _send_segment(connection, length, pending, fin, options, now):
            break
    limited = cwnd_room(tcb) <= 0
    if limited or tcb.snd_nxt != first:
        cwnd_validation.after_output(connection, limited, now)


def override(connection: Connection, now: int) -> None:
    """Send one segment of what was held back until the override time-out.  RFC 9293 §3.8.6.2.1 (MUST-60)."""
    tcb = connection.tcb
    options = segment_options(connection, now)
    pending = unsent_bytes(tcb)
    usable = window.usable_window(tcb)
    length = min(pending, usable, tcb.snd_mss)
    fin = connection.fin_queued and length == pending and usable > length
    _send_segment(connection, length, pending, fin, options, now)
    retransmission.watch(connection, now)


def send_probe_of_new_data(connection: Connection, now: int) -> None:
    """Send one segment of new data beyond cwnd: a loss probe.  RFC 8985 §7.3."""
    tcb = connection.tcb
    options = segment_options(connection, now)
    pending = unsent_bytes(tcb)
    length = min(pending, window.usable_window(tcb), tcb.snd_mss)
    _send_segment(connection, length, pending, connection.fin_queued and length == pending, options, now)


def _sendable(connection: Connection, pending: int) -> int:
    """How many of `pending` unsent bytes to send as one super-segment now; 0 to wait."""
    tcb = connection.tcb
    mss: int = tcb.snd_mss
    allowed = min(pending, window.usable_window(tcb))
    if allowed <= 0:
        return 0
    room = cwnd_room(tcb)
    if room <= 0:
        return 0
    if sequence.gt(tcb.snd_up, tcb.snd_nxt):
        return min(allowed, mss)
    allowed = min(allowed, room * mss)
    limit = super_segment_limit(mss)
    full = min(allowed, limit)
    full -= full % mss
    if allowed == pending and allowed <= limit and (full == allowed or _may_send_small(connection)):
        return allowed
    if full:
        return full
    return allowed if allowed < pending and 2 * allowed >= tcb.snd_max_wnd else 0


def _may_send_small(connection: Connection) -> bool:
    """Whether the last, partial segment may leave: Nagle, as Minshall has amended it.  RFC 9293 §3.7.4 (MUST-17).

    A small segment waits only while an earlier small one is not acknowledged.
    """
    tcb = connection.tcb
    if connection.fin_queued:
        return True
    if connection.options.cork:
        return False
    return connection.options.no_delay or not sequence.is_within(tcb.snd_una, tcb.snd_sml, tcb.snd_nxt)


def _send_segment(connection: Connection, length: int, pending: int, fin: bool, options: bytes, now: int) -> bool:
    """Send `length` new bytes, and a FIN; False if the device has no room."""
    tcb = connection.tcb
    seq: int = tcb.snd_nxt
    flags = ACK
    mark = 0
    if length == pending and length:
        flags |= PSH
        mark |= lib.SENT_PUSH
    if fin:
        flags |= FIN
        mark |= lib.SENT_FIN
    cwnd_validation.before_transmit(connection, now)
    if not transmit(connection, seq, flags, length, options):
        return False
    pacing.note_sent(connection, length, now)
    if length:
        quick_ack.data_sent(tcb, now)
    end = sequence.add(seq, length + fin)
    record_sent(tcb, seq, end, mark, now)
    notices.transmitted(connection, seq, length, now)
    if length % tcb.snd_mss:
        tcb.snd_sml = end
    tcb.fin_sent = fin
    tcb.last_sent_ns = now
    return True


def record_sent(tcb: Any, seq: int, end: int, mark: int, now: int) -> None:
    """Take [seq, end), sent now, into the queue of sent segments and advance SND.NXT."""
    entry = ffi.new(
        "struct sent_segment *",
        {
            "seq": seq,
            "end": end,
            "xmit_ns": now,
            "flags": mark,
            "transmissions": 1,
            "mss": tcb.snd_mss,
        },
    )
    rate_sampling.stamp(tcb, entry, now)
    result = lib.sent_queue_push(ffi.addressof(tcb, "sent"), entry)
    assert result == 0, "memory for the queue of sent segments"
    tcb.snd_nxt = end
    prr.note_sent(tcb, lib.sent_segment_count(entry))


def transmit(connection: Connection, seq: int, flags: int, length: int, options: bytes) -> bool:
    """Build a segment of a synchronized connection and give it to the device; False if that has no room now."""
    tcb = connection.tcb
    assert connection.interface is not None, "an open connection has a route"
    urgent = 0
    if tcb.snd_up != tcb.snd_una and sequence.gt(tcb.snd_up, seq):
        flags |= URG
        urgent = min(sequence.distance(seq, tcb.snd_up), 0xFFFF)
    if connection.path.route_generation != connection.tcp.ip.routes.generation:
        connection.tcp.follow_route(connection)
        connection.max_segment_until_ns = 0
    flags = ecn.mark(connection, seq, flags, length)
    config = connection.tcp.config
    offered = window.choose_window(tcb, config.shrink_window)
    result = lib.segment_build(
        connection.interface.outgoing.cdata, tcb, seq, tcb.rcv_nxt, flags,
        window.field(tcb, offered, config.workaround_signed_windows), urgent, options, len(options), length,
    )  # fmt: skip
    if result == -1:
        ecn.not_sent(tcb, flags)
        connection.tcp.wait_for_device(connection)
        return False
    assert result == 0, "the payload is in the send ring"
    tcb.rcv_wnd = offered
    quick_ack.ack_sent(tcb)
    return True


def send_ack(connection: Connection, now: int) -> None:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    tcb = connection.tcb
    transmit(connection, tcb.snd_nxt, ACK, 0, tcp_options.data_options(connection, now))


def send_probe(connection: Connection, now: int) -> None:
    """An empty segment just before SND.UNA: it is not acceptable, so the peer must answer with its state.

    Used for keep-alives (SHLD-12) and for zero windows.  Urgent data are told of by an acceptable one before it.
    # DEVIATION RFC 9293 §3.8.6.1: the window probe carries no byte of new data, as in Linux: nothing has to be taken
    back.
    """
    tcb = connection.tcb
    options = tcp_options.data_options(connection, now)
    if tcb.snd_up != tcb.snd_una:
        transmit(connection, tcb.snd_una, ACK, 0, options)
    transmit(connection, sequence.add(tcb.snd_una, -1), ACK, 0, options)


def send_syn(
    connection: Connection, now: int, cookie: bytes | None = None, *, experimental: bool = False, payload: int = 0
) -> bool:
    """<SEQ=ISS><CTL=SYN>, with ACK unless in SYN-SENT.  Its window is never scaled (RFC 7323 §2.2).

    `cookie` is Fast Open's, and `payload` how many bytes of the send ring go along.
    """
    tcb = connection.tcb
    assert connection.interface is not None, "an open connection has a route"
    flags, ack = SYN, 0
    if tcb.state != SYN_SENT:
        flags, ack = SYN | ACK, tcb.rcv_nxt
    flags |= ecn.syn_flags(connection)
    options = tcp_options.syn_options(connection, now, cookie, experimental=experimental)
    field = min(tcb.rcv_wnd, window.WINDOW_FIELD_MAX)
    result = lib.segment_build(
        connection.interface.outgoing.cdata, tcb, tcb.iss, ack, flags, field, 0, options, len(options), payload
    )
    return bool(result == 0)


def send_reset(connection: Connection, now: int) -> None:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>, for an abort.  RFC 9293 §3.10.5."""
    transmit(connection, connection.tcb.snd_nxt, RST | ACK, 0, tcp_options.data_options(connection, now))

"""What to send now: lost data first (`resend`), then new data, then the FIN; and the ACK that is owed.

The sender works in super-segments of up to 64 KiB (`super_segment` says how large); C cuts them to the MSS where the
device cannot.  RFC 9293 §3.7.4, §3.8.6.2.1 (MUST-38: silly-window avoidance), RFC 5681 §3.1 (never beyond cwnd).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import ffi, lib
from ustack.tcp import (
    accounting,
    cwnd_validation,
    ecn,
    flight,
    nagle,
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
    super_segment,
    window,
    write_queue,
)
from ustack.tcp import options as tcp_options
from ustack.tcp.authentication import guard
from ustack.tcp.state import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, LAST_ACK, SYN_SENT
from ustack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_POINTER_MAX = 0xFFFF
"""What the urgent pointer can tell; data sent again that far before the urgent ones need not tell of them."""
_SENDING_STATES = frozenset((ESTABLISHED, CLOSE_WAIT, FIN_WAIT_1, CLOSING, LAST_ACK))


def output(connection: Connection, now: int, rule: int | None = None, *, only_first: bool = False) -> None:
    """Send all that the windows allow, and see that a timer watches over the rest.

    `rule` is Nagle's for this time, `only_first` sends one super-segment and does not let it wait for a larger one.
    """
    tcb = connection.tcb
    if tcb.state not in _SENDING_STATES and connection.fast_open.server is None:
        accounting.note_wait(connection, now)
        return
    waits_for_peer = False
    if resend.send_due(connection, now) and connection.sending.chunks:
        waits_for_peer = _send_new(connection, segment_options(connection, now), rule, only_first, now)
    accounting.note_wait(connection, now, waits_for_peer)
    retransmission.watch(connection, now)


def segment_options(connection: Connection, now: int) -> bytes:
    """The options of a segment with data sent now, for which SND.MSS makes room.  RFC 9293 §3.7.1 (MUST-16)."""
    tcb = connection.tcb
    if segment_size.path_has_changed(connection, now):
        segment_size.follow_path(connection, now)
    options = tcp_options.data_options(connection, now)
    tcb.snd_mss = min(connection.max_segment - len(options), super_segment.BYTES_MAX)
    return options


def _send_new(
    connection: Connection, options: bytes, rule: int | None, only_first: bool, now: int, *, probe: bool = False
) -> bool:
    """Send chunk after chunk, super-segment after super-segment; whether the peer's window ended it."""
    tcb, unsent = connection.tcb, connection.sending.chunks
    first: int = tcb.snd_nxt
    most = super_segment.most_segments(connection)
    rule = nagle.rule_of(connection) if rule is None else rule
    waits_for = lib.WAITS_NOTHING
    may_send = only_first or path_search.send_probe(connection, options, now) is not None
    while may_send and unsent and not pacing.must_wait(connection, now):
        in_flight = flight.packets_in_flight(tcb)
        segments = min(super_segment.quota(tcb, in_flight) or probe, most)
        if not segments:
            break
        write_queue.join(connection, segments * tcb.snd_mss)
        waits_for, length = _choose(connection, segments, most, in_flight, rule, only_first, now)
        if waits_for or not send_chunk(connection, length, options, now) or only_first:
            break
    limited = waits_for == lib.WAITS_NETWORK or flight.packets_in_flight(tcb) >= tcb.cwnd_packets
    if limited or tcb.snd_nxt != first:
        cwnd_validation.after_output(connection, limited, now)
    return bool(waits_for == lib.WAITS_PEER)


def send_probe_of_new_data(connection: Connection, now: int) -> None:
    """Send new data, one segment of them even beyond cwnd: a loss probe.  RFC 8985 §7.3."""
    _send_new(connection, segment_options(connection, now), nagle.OFF, True, now, probe=True)


def _choose(
    connection: Connection, segments: int, most: int, in_flight: int, rule: int, only_first: bool, now: int
) -> tuple[int, int]:
    """What the first chunk must wait for (WAITS_), or how many of its bytes leave now."""
    tcb, chunk = connection.tcb, connection.sending.chunks[0]
    mss: int = tcb.snd_mss
    is_last = len(connection.sending.chunks) == 1
    fin = chunk.flags & lib.SENT_FIN
    if not super_segment.may_begin(tcb, chunk):
        return lib.WAITS_PEER, 0
    if chunk.length <= mss:
        may_wait = is_last and chunk.length < mss and not fin and not _is_urgent(tcb)
        held = may_wait and not rule & nagle.PUSH and nagle.holds(tcb, rule)
        return (lib.WAITS_APPLICATION if held else lib.WAITS_NOTHING), chunk.length
    waits_for = 0 if only_first else super_segment.waits(connection, chunk, is_last, most, in_flight, now)
    if waits_for:
        return waits_for, 0
    if _is_urgent(tcb):
        return lib.WAITS_NOTHING, mss
    return lib.WAITS_NOTHING, min(super_segment.split_point(tcb, chunk, is_last, segments, rule), chunk.length)


def _is_urgent(tcb: Any) -> bool:
    """Urgent data are not acknowledged yet."""
    return bool(tcb.snd_up != tcb.snd_una)


def send_chunk(connection: Connection, length: int, options: bytes, now: int, *, push: bool = False) -> bool:
    """Send the first `length` bytes of the first chunk, with the last of them its FIN; False if the device is full.

    With `push` they end with PUSH, even if they are not the chunk's last.
    """
    tcb, unsent = connection.tcb, connection.sending.chunks
    seq: int = tcb.snd_nxt
    cwnd_validation.before_transmit(connection, now)
    chunk = unsent[0]
    whole = length == chunk.length
    mark = chunk.flags if whole else lib.SENT_PUSH * push
    fin = 1 if mark & lib.SENT_FIN else 0
    flags = ACK | (PSH if mark & lib.SENT_PUSH and length else 0) | (FIN if fin else 0)
    if not transmit(connection, seq, flags, length, options):
        return False
    pacing.note_sent(connection, length, now)
    if length:
        quick_ack.data_sent(tcb, now)
    if whole:
        del unsent[0]
    else:
        chunk.length -= length
    end = sequence.add(seq, length + fin)
    record_sent(tcb, seq, end, mark, now)
    notices.transmitted(connection, seq, length, now)
    if length % tcb.snd_mss or not length:
        tcb.snd_sml = end
    tcb.fin_sent = fin
    tcb.last_sent_ns = tcb.last_departure_ns = now
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
        urgent = sequence.distance(seq, tcb.snd_up)
        if urgent <= _POINTER_MAX or sequence.gt(sequence.add(seq, _POINTER_MAX), tcb.snd_nxt):
            flags |= URG
            urgent = min(urgent, _POINTER_MAX)
        else:
            urgent = 0
    if connection.path.route_generation != connection.tcp.ip.routes.generation:
        connection.tcp.follow_route(connection)
        connection.max_segment_until_ns = 0
    if length > tcb.snd_mss:
        flags |= PSH  # as Linux, so that whoever joins segments on the way does not keep them
    flags = ecn.mark(connection, seq, flags, length)
    config = connection.tcp.config
    offered = window.choose_window(tcb, config.shrink_window)
    outgoing = connection.interface.outgoing
    first = len(outgoing) if connection.guard is not None else 0
    result = lib.segment_build(
        outgoing.cdata, tcb, seq, tcb.rcv_nxt, flags,
        window.field(tcb, offered, config.workaround_signed_windows), urgent, options, len(options), length,
    )  # fmt: skip
    if result == -1:
        ecn.not_sent(tcb, flags)
        connection.tcp.wait_for_device(connection)
        return False
    assert result == 0, "the payload is in the send ring"
    if connection.guard is not None:
        guard.sign_frames(connection.guard, tcb, outgoing, first)
    tcb.rcv_wnd = offered
    quick_ack.ack_sent(tcb)
    return True


def send_ack(connection: Connection, now: int) -> None:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    tcb = connection.tcb
    tcb.last_departure_ns = now
    transmit(connection, window.acceptable_seq(tcb), ACK, 0, tcp_options.data_options(connection, now))


def send_probe(connection: Connection, now: int) -> bool:
    """An empty segment just before SND.UNA: it is not acceptable, so the peer must answer with its state.

    False if the device had no room.

    Used for keep-alives (SHLD-12) and for zero windows.  Urgent data are told of by an acceptable one before it.
    # DEVIATION RFC 9293 §3.8.6.1: the window probe carries no byte of new data, as in Linux: nothing has to be taken
    back.
    """
    tcb = connection.tcb
    tcb.last_departure_ns = now
    options = tcp_options.data_options(connection, now)
    if tcb.snd_up != tcb.snd_una:
        transmit(connection, tcb.snd_una, ACK, 0, options)
    return transmit(connection, sequence.add(tcb.snd_una, -1), ACK, 0, options)


def send_garbage_probe(connection: Connection, now: int) -> None:
    """As `send_probe`, with one octet of garbage, for peers that answer nothing less.  RFC 9293 §3.8.4 (MAY-6).

    Only while nothing is in the send ring: the octet goes through it.
    """
    tcb = connection.tcb
    ring = ffi.addressof(tcb, "snd_ring")
    before = sequence.add(tcb.snd_una, -1)
    if ring.length or lib.ring_reserve(ring, 1, 0):
        return
    begin = tcb.snd_ring_seq
    tcb.snd_ring_seq = before
    lib.ring_write(ring, b"\0", 1)
    transmit(connection, before, ACK, 1, tcp_options.data_options(connection, now))
    lib.ring_drop(ring, 1)
    tcb.snd_ring_seq = begin


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
    outgoing = connection.interface.outgoing
    first = len(outgoing)
    result = lib.segment_build(outgoing.cdata, tcb, tcb.iss, ack, flags, field, 0, options, len(options), payload)
    if result == 0 and connection.guard is not None:
        guard.sign_frames(connection.guard, tcb, outgoing, first)
    return bool(result == 0)


def send_reset(connection: Connection, now: int) -> None:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>, for an abort.  RFC 9293 §3.10.5."""
    transmit(connection, window.acceptable_seq(connection.tcb), RST | ACK, 0, tcp_options.data_options(connection, now))

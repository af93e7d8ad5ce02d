"""The search for the MTU of a path without the help of its routers: packetization-layer discovery.  RFC 4821, RFC 8899.

A probe is a segment larger than the others, of data that have to be sent anyway.  If it arrives, segments become as
large; if it alone gets lost, the search goes on below it.  The same search finds a way through a black hole, where
large packets vanish without a word: see `on_black_hole`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp import ack_sample, flight, output, segment_size, send_buffer, sequence, write_queue
from ustack.tcp.path import PathSearch
from ustack.wire.tcp import ACK

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_ALWAYS = 2
_LEAST_WINDOW_PACKETS = 11
"""With less in flight the loss of a probe would cost too much, or not be noticed by duplicate ACKs."""
_REORDERING_PACKETS = 3


def begin(connection: Connection, now: int) -> None:
    """A connection is established: what the peer takes bounds the search.

    As in Linux a passively opened one sends segments by what the interface takes until something of the path changes.
    """
    tcb, config = connection.tcb, connection.tcp.config
    if not config.mtu_probing:
        return
    overhead = segment_size.headers(tcb)
    low = _packet_size(tcb, config.base_mss)
    connection.path.search = PathSearch(low, tcb.peer_mss + overhead, config.mtu_probing >= _ALWAYS, now)
    if connection.listener is None:
        segment_size.size_segments(connection, now)


def _packet_size(tcb: Any, mss: int) -> int:
    """The IP packet of a segment with `mss` bytes of payload and the options that all segments carry."""
    return mss + segment_size.headers(tcb) + _option_length(tcb)


def _payload_size(connection: Connection, packet: int) -> int:
    return segment_size.fitting(connection, packet) - _option_length(connection.tcb)


def _option_length(tcb: Any) -> int:
    return 12 if tcb.timestamps else 0


# Probing: RFC 4821 §7.


def send_probe(connection: Connection, options: bytes, now: int) -> bool | None:
    """Send a probe before other new data, if it is time; None: the next ACK should be awaited for it."""
    search, tcb = connection.path.search, connection.tcb
    if search is None or not _may_probe(search, tcb):
        return False
    config = connection.tcp.config
    size = _payload_size(connection, (search.high + search.low) // 2)
    if search.high - search.low < max(1, config.probe_threshold) or size > _payload_size(connection, search.high):
        _begin_anew(connection, search, now)
        return False
    needed = size + (_REORDERING_PACKETS + 1) * int(tcb.snd_mss)
    if send_buffer.unsent_bytes(tcb) < needed or tcb.snd_wnd < needed or write_queue.record_ends(connection, size):
        return False
    if sequence.distance(tcb.snd_una, tcb.snd_nxt) + needed > tcb.snd_wnd:
        return None
    if flight.packets_in_flight(tcb) + 2 > tcb.cwnd_packets:
        return None if flight.packets_in_flight(tcb) else False
    return _send(connection, search, size, options, now)


def _may_probe(search: PathSearch, tcb: Any) -> bool:
    quiet = tcb.ca_state == lib.CA_OPEN and not tcb.out_of_order.count
    return search.enabled and not search.probe_size and quiet and tcb.cwnd_packets >= _LEAST_WINDOW_PACKETS


def _begin_anew(connection: Connection, search: PathSearch, now: int) -> None:
    """The search has ended; after some time the path may be another one.  RFC 4821 §7.2."""
    tcb = connection.tcb
    if now - search.began_ns >= connection.tcp.config.probe_interval_ns:
        search.began_ns = now
        search.probe_size = 0
        search.high = tcb.peer_mss + segment_size.headers(tcb)
        search.low = _packet_size(tcb, tcb.snd_mss)


def _send(connection: Connection, search: PathSearch, size: int, options: bytes, now: int) -> bool:
    """Send `size` new bytes as one segment, at the cost of one segment of the window."""
    tcb = connection.tcb
    assert connection.congestion is not None, "a synchronized connection has a controller"
    seq, mss = tcb.snd_nxt, tcb.snd_mss
    end = sequence.add(seq, size)
    tcb.snd_mss = size
    sent = output.transmit(connection, seq, ACK, size, options)
    if sent:
        output.record_sent(tcb, seq, end, write_queue.drop(connection, size), now)
        tcb.last_sent_ns = now
        connection.congestion.cwnd -= 1
        ack_sample.publish(connection)
        search.probe_size, search.probe_seq, search.probe_end = _packet_size(tcb, size), seq, end
    tcb.snd_mss = mss
    return sent


def on_acknowledged(connection: Connection, now: int) -> None:
    """Data were acknowledged: the probe too?  Then segments become as large.  RFC 4821 §7.6.1."""
    search, tcb = connection.path.search, connection.tcb
    if search is None or not search.probe_size or sequence.gt(search.probe_end, tcb.snd_una):
        return
    assert connection.congestion is not None, "a synchronized connection has a controller"
    before = _packet_size(tcb, connection.max_segment - _option_length(tcb))
    connection.congestion.cwnd = max(1, connection.congestion.cwnd * before // search.probe_size)
    ack_sample.publish(connection)
    search.low, search.probe_size = search.probe_size, 0
    segment_size.size_segments(connection, now)


def has_failed(connection: Connection) -> bool:
    """Whether what is about to be taken for a loss is that of the probe alone: no sign of congestion.  RFC 4821 §7.6.2.

    Called when recovery would begin; the probe then counts as too large, and is to be sent again in smaller segments.
    """
    search, tcb = connection.path.search, connection.tcb
    if search is None or not search.probe_size or tcb.snd_una != search.probe_seq:
        return False
    assert connection.congestion is not None, "a synchronized connection has a controller"
    search.high, search.probe_size = search.probe_size - 1, 0
    connection.congestion.cwnd += 1
    ack_sample.publish(connection)
    return True


def on_retransmission(connection: Connection) -> None:
    """Something is sent again: what becomes of the probe tells nothing any more.  RFC 4821 §7.6.3."""
    if connection.path.search is not None:
        connection.path.search.probe_size = 0


# Black holes: RFC 4821 §7.7, RFC 2923 §2.1.


def on_black_hole(connection: Connection, now: int) -> None:
    """Segments get lost again and again, perhaps for their size: search from below, each time from further down."""
    config, tcb, search = connection.tcp.config, connection.tcb, connection.path.search
    if search is None or not config.mtu_probing:
        return
    if not search.enabled:
        search.enabled, search.began_ns = True, now
    else:
        mss = min(config.base_mss, _payload_size(connection, search.low) // 2)
        search.low = _packet_size(tcb, max(mss, config.mtu_probe_floor, config.mss_min))
    segment_size.size_segments(connection, now)

"""What a connection tells of itself: TCP_INFO in the layout of Linux's `struct tcp_info`, and the counts of its queues.

Nothing here changes a TCB.  RFC 4898 explains most of the counters, tcp(7) the option.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp import accounting, retransmission, send_buffer
from ustack.tcp.congestion.controller import INFINITE_SSTHRESH
from ustack.tcp.state import CLOSED, SYN_RECEIVED, SYN_SENT, State

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.listener import Listener

_MICROSECOND = 1_000
_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_UNLIMITED = (1 << 64) - 1
_NEVER = (1 << 32) - 1
_MSS_UNKNOWN = 536
_UNTOLD_VARIATION_NS = 250 * _MILLISECOND
_UNOPENED_WINDOW = 10
_REORDERING = 3
_UNSYNCHRONIZED = (CLOSED, SYN_SENT, SYN_RECEIVED)

OPT_TIMESTAMPS, OPT_SACK, OPT_WSCALE, OPT_ECN, OPT_ECN_SEEN, OPT_SYN_DATA = 1, 2, 4, 8, 16, 32
"""The bits of `tcpi_options`."""

LINUX_STATES = {
    State.ESTABLISHED: 1,
    State.SYN_SENT: 2,
    State.SYN_RECEIVED: 3,
    State.FIN_WAIT_1: 4,
    State.FIN_WAIT_2: 5,
    State.TIME_WAIT: 7,
    State.CLOSED: 7,
    State.CLOSE_WAIT: 8,
    State.LAST_ACK: 9,
    State.LISTEN: 10,
    State.CLOSING: 11,
}
"""`tcpi_state`.  A socket whose connection is in TIME-WAIT is closed already in Linux's eyes."""

_BYTES = "state ca_state retransmits probes backoff options wscales flags"
_WORDS = """
    rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_data_sent last_ack_sent last_data_recv
    last_ack_recv pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans
"""
_LAYOUT = (
    ("B", _BYTES),
    ("I", _WORDS),
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retrans"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
    ("H", "total_rto total_rto_recoveries"),
    ("I", "total_rto_time received_ce delivered_e1_bytes delivered_e0_bytes delivered_ce_bytes"),
    ("I", "received_e1_bytes received_e0_bytes received_ce_bytes"),
    ("H", "accecn_fail_mode accecn_opt_seen"),
)
"""The fields in order, as Linux 6.18 has them: the code of `struct`, and the names without `tcpi_`."""
FIELDS = tuple(name for _, names in _LAYOUT for name in names.split())
_STRUCT = struct.Struct("=" + "".join(code * len(names.split()) for code, names in _LAYOUT))
SIZE = _STRUCT.size
_MOST = {name: (1 << 8 * struct.calcsize(code)) - 1 for code, names in _LAYOUT for name in names.split()}


def tcp_info(connection: Connection, now: int) -> bytes:
    """TCP_INFO of a connection in any state."""
    tcb = connection.tcb
    fields = _unopened(connection)
    if tcb.local_port:
        fields |= _sending(connection, now) | _receiving(connection, now) | _flags(connection)
        fields |= _rates(connection) | _marks(tcb)
        fields |= _times(tcb, now) | _round_trips(tcb) | _counts(tcb, now)
    fields["flags"] |= connection.fast_open.failure << 1
    fields["state"] = LINUX_STATES[State(tcb.state)]
    return _pack(fields)


def listener_info(listener: Listener) -> bytes:
    """TCP_INFO of a listener: `unacked` are the connections to accept, `sacked` is the backlog."""
    fields = {"unacked": len(listener.accept_queue), "sacked": listener.backlog}
    fields |= {"state": LINUX_STATES[State.LISTEN], "reordering": _REORDERING, "snd_cwnd": _UNOPENED_WINDOW}
    return _pack(fields | {"pacing_rate": _UNLIMITED, "max_pacing_rate": _UNLIMITED})


def decode(value: bytes) -> dict[str, int]:
    """The fields of what `tcp_info` gave, by their names without `tcpi_`; the bit-fields taken apart."""
    fields = dict(zip(FIELDS, _STRUCT.unpack(value), strict=True))
    wscales, flags = fields.pop("wscales"), fields.pop("flags")
    fields |= {"snd_wscale": wscales & 15, "rcv_wscale": wscales >> 4}
    return fields | {"delivery_rate_app_limited": flags & 1, "fastopen_client_fail": flags >> 1 & 3}


def _pack(fields: dict[str, int]) -> bytes:
    """Counters wrap around, as Linux's do."""
    return _STRUCT.pack(*(fields.get(name, 0) & _MOST[name] for name in FIELDS))


def _unopened(connection: Connection) -> dict[str, int]:
    """What is told before there is anything to tell."""
    config = connection.tcp.config
    return {
        "flags": 1,
        "rto": config.rto_initial_ns // _MICROSECOND,
        "snd_mss": _MSS_UNKNOWN,
        "rttvar": _UNTOLD_VARIATION_NS // _MICROSECOND,
        "snd_ssthresh": INFINITE_SSTHRESH,
        "snd_cwnd": config.initial_window_segments,
        "reordering": _REORDERING,
        "pacing_rate": _UNLIMITED,
        "max_pacing_rate": _UNLIMITED,
        "min_rtt": _NEVER,
    }


def _flags(connection: Connection) -> dict[str, int]:
    tcb = connection.tcb
    options = OPT_TIMESTAMPS if tcb.timestamps else 0
    if tcb.sack_permitted:
        options |= OPT_SACK
    if tcb.window_scaling:
        options |= OPT_WSCALE
    if connection.fast_open.syn_data_acknowledged:
        options |= OPT_SYN_DATA
    if tcb.ecn_mode in (lib.ECN_CLASSIC, lib.ECN_ACCURATE):
        options |= OPT_ECN
    if tcb.ecn_flags & lib.ECN_SEEN:
        options |= OPT_ECN_SEEN
    return {
        "options": options,
        "wscales": tcb.snd_wscale | tcb.rcv_wscale << 4,
        "flags": (1 if tcb.rate_app_limited else 0) | connection.fast_open.failure << 1,
    }


def _sending(connection: Connection, now: int) -> dict[str, int]:
    tcb, sent = connection.tcb, connection.tcb.sent
    return {
        "ca_state": tcb.ca_state,
        "retransmits": tcb.retransmits,
        "probes": tcb.probes_sent,
        "backoff": tcb.backoff,
        "rto": retransmission.backed_off_rto(tcb, connection.tcp.config.rto_max_ns) // _MICROSECOND,
        "snd_mss": tcb.snd_mss or _MSS_UNKNOWN,
        "unacked": sent.segments,
        "sacked": sent.sacked_segments + tcb.dup_acks,
        "lost": sent.lost_segments,
        "retrans": sent.retransmitted_segments,
        "pmtu": connection.tcp.ip.mtu_for(connection.remote_address or b"", now),
        "snd_ssthresh": tcb.ssthresh_packets or INFINITE_SSTHRESH,
        "snd_cwnd": tcb.cwnd_packets or _UNOPENED_WINDOW,
        "total_retrans": tcb.retransmissions,
        "reordering": tcb.reordering or _REORDERING,
        "notsent_bytes": max(send_buffer.unsent_bytes(tcb), 0) if tcb.state not in _UNSYNCHRONIZED else 0,
        "snd_wnd": tcb.snd_wnd,
    }


def _rates(connection: Connection) -> dict[str, int]:
    """Bytes a second."""
    tcb, limit = connection.tcb, connection.options.max_pacing_rate
    interval: int = tcb.rate_interval_ns
    return {
        "pacing_rate": tcb.pacing_rate or _UNLIMITED,
        "max_pacing_rate": _UNLIMITED if limit is None else limit,
        "delivery_rate": tcb.rate_delivered * tcb.snd_mss * _SECOND // interval if interval else 0,
    }


def _marks(tcb: Any) -> dict[str, int]:
    """Explicit congestion notification."""
    told: dict[str, int] = {
        "delivered_ce": tcb.delivered_ce,
        "received_ce": tcb.received_ce,
        "accecn_fail_mode": tcb.accecn_fail,
        "accecn_opt_seen": tcb.accecn_seen,
    }
    for codepoint, name in ((lib.ECT_1, "e1"), (lib.ECT_0, "e0"), (lib.ECN_CE, "ce")):
        told[f"delivered_{name}_bytes"] = tcb.delivered_ecn_bytes[codepoint - 1]
        told[f"received_{name}_bytes"] = tcb.received_ecn_bytes[codepoint - 1]
    return told


def _receiving(connection: Connection, now: int) -> dict[str, int]:
    tcb = connection.tcb
    return {
        "ato": tcb.ack_timeout_ns // _MICROSECOND,
        "rcv_mss": tcb.rcv_mss,
        "advmss": tcb.advmss,
        "rcv_rtt": tcb.rcv_rtt_ns // 8 // _MICROSECOND,
        "rcv_ssthresh": tcb.rcv_ssthresh,
        "rcv_space": tcb.rcv_space,
        "rcv_wnd": tcb.rcv_wnd,
    }


def _times(tcb: Any, now: int) -> dict[str, int]:
    return {
        "last_data_sent": (now - tcb.last_sent_ns) // _MILLISECOND,
        "last_data_recv": (now - tcb.last_data_received_ns) // _MILLISECOND,
        "last_ack_recv": (now - tcb.last_ack_received_ns) // _MILLISECOND,
        "busy_time": _busy_time(tcb, now),
        "rwnd_limited": accounting.waited_ns(tcb, lib.WAITS_PEER, now) // _MICROSECOND,
        "sndbuf_limited": accounting.waited_ns(tcb, lib.WAITS_APPLICATION, now) // _MICROSECOND,
    }


def _busy_time(tcb: Any, now: int) -> int:
    kinds = (lib.WAITS_NETWORK, lib.WAITS_PEER, lib.WAITS_APPLICATION)
    return sum(accounting.waited_ns(tcb, kind, now) for kind in kinds) // _MICROSECOND


def _round_trips(tcb: Any) -> dict[str, int]:
    if not tcb.srtt_ns:
        return {}
    return {
        "rtt": tcb.srtt_ns // _MICROSECOND,
        "rttvar": tcb.rttvar_ns // _MICROSECOND,
        "min_rtt": tcb.min_rtt_ns // _MICROSECOND,
    }


def _counts(tcb: Any, now: int) -> dict[str, int]:
    return {
        "bytes_acked": tcb.bytes_acked,
        "bytes_received": tcb.bytes_received,
        "bytes_sent": tcb.bytes_sent,
        "delivered": tcb.delivered,
        "bytes_retrans": tcb.bytes_retransmitted,
        "segs_out": tcb.segments_sent,
        "segs_in": tcb.segments_received,
        "data_segs_out": tcb.data_segments_sent,
        "data_segs_in": tcb.data_segments_received,
        "rcv_ooopack": tcb.out_of_order_segments,
        "dsack_dups": tcb.dsack_dups,
        "reord_seen": tcb.reordering_seen,
        "total_rto": tcb.timeouts,
        "total_rto_recoveries": tcb.timeout_episodes,
        "total_rto_time": accounting.time_in_timeouts_ns(tcb, now) // _MILLISECOND,
    }

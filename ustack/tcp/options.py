"""The TCP options that this host sends, and what is agreed from those it receives.  RFC 9293 §3.2, 7323, 2018."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp import accecn_option, selective_acks, timestamps, user_timeout_option, window
from ustack.wire import tcp_options
from ustack.wire.tcp_options import TcpOptions

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_TIMESTAMPS = struct.Struct(">BBBBII")
_MAX_LENGTH = 40
_USER_TIMEOUT_LENGTH = 4


def syn_options(connection: Connection, now: int, cookie: bytes | None = None, *, experimental: bool = False) -> bytes:
    """The options of a SYN or SYN,ACK: what we offer, or what was agreed.  MSS is always sent (MAY-3).

    `cookie` is Fast Open's, empty the request for one; it is left out where it finds no room.
    """
    tcb = connection.tcb
    signature = b"" if connection.guard is None else connection.guard.option()
    room = _MAX_LENGTH - len(signature)
    options = TcpOptions(
        mss=connection.tcp.receive_mss(connection),
        window_scale=tcb.rcv_wscale if tcb.window_scaling else None,
        sack_permitted=bool(tcb.sack_permitted),
        timestamps=(timestamps.value(tcb, now), tcb.ts_recent) if tcb.timestamps else None,
    )
    if cookie is not None:
        option = tcp_options.build_fast_open(cookie, experimental=experimental)
        if len(tcp_options.build(options)) + len(option) <= room:
            options.fast_open_cookie, options.fast_open_experimental = cookie, experimental
    if tcb.ecn_mode == lib.ECN_ACCURATE and connection.tcp.config.ecn_option and not tcb.accecn_sent_ns:
        options.accurate_ecn = accecn_option.of_syn_ack(room - len(tcp_options.build(options)))
        tcb.accecn_sent_ns = now
    if len(tcp_options.build(options)) + _USER_TIMEOUT_LENGTH <= room:
        options.user_timeout = user_timeout_option.advertised(connection)
    return signature + tcp_options.build(options)


def offer(connection: Connection) -> None:
    """Set what an active open offers, and its window."""
    config, tcb = connection.tcp.config, connection.tcb
    tcb.window_scaling = config.window_scaling
    tcb.timestamps = config.timestamps and (connection.guard is None or connection.guard.allows_timestamps())
    tcb.sack_permitted = config.sack
    window.offer_first(connection, tcb.advmss)


def agree(connection: Connection, options: TcpOptions, offered: bool) -> None:
    """Take the options of the peer's SYN.

    An option is used if both sides have sent it, which for a passive open we decide now.

    `offered` tells that our SYN has been sent already, with the options that the TCB has.
    """
    tcb, config = connection.tcb, connection.tcp.config
    if not offered:
        offer(connection)
    tcb.window_scaling = tcb.window_scaling and options.window_scale is not None
    tcb.sack_permitted = tcb.sack_permitted and options.sack_permitted
    tcb.timestamps = tcb.timestamps and options.timestamps is not None
    if tcb.window_scaling and options.window_scale is not None:
        tcb.snd_wscale = min(options.window_scale, window.SHIFT_MAX)
    else:
        tcb.snd_wscale = tcb.rcv_wscale = 0
        tcb.rcv_window_clamp = min(tcb.rcv_window_clamp, window.WINDOW_FIELD_MAX)
    if not offered:
        window.offer_first(connection, tcb.advmss - (timestamps.OPTION_LENGTH if tcb.timestamps else 0))
    if tcb.timestamps and options.timestamps is not None:
        tcb.ts_recent = options.timestamps[0]
    default = config.mss_default_ipv4 if tcb.version == 4 else config.mss_default_ipv6
    tcb.peer_mss = max(options.mss if options.mss is not None else default, config.mss_min)
    user_timeout_option.take(connection, options)


def data_options(connection: Connection, now: int) -> bytes:
    """The options of a segment of a synchronized connection: timestamps, Accurate ECN, SACK blocks."""
    tcb = connection.tcb
    packed = b"" if connection.guard is None else connection.guard.option()
    if tcb.timestamps:
        packed += _TIMESTAMPS.pack(1, 1, 8, 10, timestamps.value(tcb, now), tcb.ts_recent)
    with_duplicate = bool(tcb.has_duplicate_sack)
    blocks = selective_acks.take_blocks(tcb, (_MAX_LENGTH - len(packed) - 4) // 8)
    if accecn_option.is_due(connection, now):
        tcb.accecn_sent_dsack = with_duplicate
        return packed + _with_accurate_ecn(tcb, blocks, _MAX_LENGTH - len(packed), now)
    return packed + tcp_options.build_sack(blocks) if blocks else packed


def _with_accurate_ecn(tcb: Any, blocks: list[tuple[int, int]], room: int, now: int) -> bytes:
    """The option, which takes the place of the no-operations before the SACK blocks, and these."""
    taken = 4 + 8 * len(blocks) if blocks else 0
    fields, kept = accecn_option.fit(room - taken, len(blocks), tcb.accecn_least_fields)
    if fields < 0:
        return tcp_options.build_sack(blocks) if blocks else b""
    option = accecn_option.build(tcb, fields)
    accecn_option.note_sent(tcb, now)
    if not kept:
        return tcp_options.pad_with_no_operations(option)
    sack = tcp_options.build_sack(blocks[:kept])
    return option + b"\x01" * ((2 - len(option)) % 4) + sack[2:]

"""The size of segments: what the peer and the path take.  RFC 9293 §3.7.1, RFC 6691."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.tcp import options as tcp_options

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def size_segments(connection: Connection, now: int) -> None:
    """The effective send MSS: the peer's MSS or what the path takes, the smaller.  RFC 9293 §3.7.1 (MUST-16)."""
    tcb, tcp = connection.tcb, connection.tcp
    size = min(tcb.peer_mss, tcp.path_segment_size(connection, now))
    if connection.options.max_segment:
        size = min(size, connection.options.max_segment)
    size = max(size, tcp.config.mss_min)
    connection.max_segment = size
    connection.max_segment_until_ns = now + tcp.ip.config.path_mtu_lifetime_ns
    tcb.snd_mss = size - (tcp_options.TIMESTAMPS_LENGTH if tcb.timestamps else 0)


def follow_path(connection: Connection, now: int) -> None:
    """What is known of the path has changed, or may be too old: larger segments are tried again in time.

    RFC 1191 §6.3, RFC 8201 §4.
    """
    connection.tcp.apply_ip_options(connection, now)
    size_segments(connection, now)

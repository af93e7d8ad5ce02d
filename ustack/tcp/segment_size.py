"""The size of segments: what the peer, its window and the path take.  RFC 9293 §3.7.1, RFC 6691."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.constants import IP_PMTUDISC_PROBE
from ustack.tcp import super_segment, timestamps

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_TCP_HEADER = 20


def headers(tcb: Any) -> int:
    """Bytes of the IP header, with the options that all packets carry, and of the TCP header without any."""
    return (20 if tcb.version == 4 else 40) + int(tcb.ip_options_length) + _TCP_HEADER


def size_segments(connection: Connection, now: int) -> None:
    """The effective send MSS: the peer's MSS or what the path takes, the smaller.  RFC 9293 §3.7.1 (MUST-16)."""
    tcb, tcp = connection.tcb, connection.tcp
    connection.path.mtu = _path_mtu(connection, now)
    connection.path.mtu_generation = tcp.ip.path_mtu.generation
    connection.path.largest_window = tcb.snd_max_wnd
    connection.max_segment_until_ns = now + tcp.ip.config.path_mtu_lifetime_ns
    size = fitting(connection, connection.path.mtu)
    search = connection.path.search
    if search is not None:
        search.high = min(search.high, connection.path.mtu)
        if search.enabled:
            size = min(size, fitting(connection, search.low))
    connection.max_segment = _within_half_window(tcb, size)
    tcb.snd_mss = connection.max_segment - (timestamps.OPTION_LENGTH if tcb.timestamps else 0)


def fitting(connection: Connection, mtu: int) -> int:
    """Options and payload of the largest segment that goes into packets of `mtu` bytes, and that the peer takes."""
    size = min(int(connection.tcb.peer_mss), mtu - headers(connection.tcb))
    if connection.options.max_segment:
        size = min(size, connection.options.max_segment)
    return max(size, connection.tcp.config.mss_min)


def _within_half_window(tcb: Any, size: int) -> int:
    """A peer with a small window gets at least two segments into it: it would delay its ACK of one.  RFC 1122 §4.2.3.4.

    So does Linux; RFC 9293 §3.8.6.2.1 sends at once what is half of the largest window.
    """
    usual = timestamps.OPTION_LENGTH if tcb.timestamps else 0
    return usual + super_segment.bounded_by_half(tcb, size - usual, _TCP_HEADER + usual)


def _path_mtu(connection: Connection, now: int) -> int:
    """What the path takes as far as is known, by the route as it was when a segment was last sent."""
    tcp = connection.tcp
    assert connection.remote_address is not None, "an open connection has a remote address"
    assert connection.interface is not None, "an open connection has a route"
    if connection.path.route is None or connection.options.path_mtu_discovery > IP_PMTUDISC_PROBE:
        return connection.interface.mtu
    return int(tcp.ip.mtu_by(connection.path.route, connection.remote_address, now))


def follow_path(connection: Connection, now: int) -> None:
    """What is known of the path has changed, or may be too old: larger segments are tried again in time.

    RFC 1191 §6.3, RFC 8201 §4.
    """
    connection.tcp.apply_ip_options(connection, now)
    size_segments(connection, now)


def path_has_changed(connection: Connection, now: int) -> bool:
    """Whether segments have to be sized anew."""
    if now >= connection.max_segment_until_ns or connection.path.largest_window != connection.tcb.snd_max_wnd:
        return True
    if connection.path.mtu_generation == connection.tcp.ip.path_mtu.generation:
        return False
    connection.path.mtu_generation = connection.tcp.ip.path_mtu.generation
    return _path_mtu(connection, now) != connection.path.mtu

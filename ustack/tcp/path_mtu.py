"""Path MTU discovery by what routers report.  RFC 1191, RFC 8201, RFC 5927 §7; the search without them: `path_search`.

The report was checked to quote a segment in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.constants import IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE
from ustack.native import ffi, lib
from ustack.tcp import output, recovery, segment_size, sequence
from ustack.tcp.state import SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def packet_too_big(connection: Connection, mtu: int, now: int) -> None:
    """A router has dropped a segment: smaller ones from now on, and what was too large is sent again at once.

    RFC 1191 §6.4.
    """
    tcp, tcb = connection.tcp, connection.tcb
    assert connection.remote_address is not None, "an open connection has a remote address"
    assert connection.interface is not None, "an open connection has a route"
    discovery = connection.options.path_mtu_discovery
    if connection.route_metrics.mtu_locked or discovery > IP_PMTUDISC_PROBE:
        return
    tcp.ip.path_mtu.learn(connection.remote_address, mtu, now, current=connection.interface.mtu)
    if discovery == IP_PMTUDISC_DONT:
        return
    before = connection.max_segment
    segment_size.follow_path(connection, now)
    if tcb.state == SYN_SENT:
        connection.path.reported_mtu = connection.path.mtu
    if connection.max_segment < before and tcb.state not in (SYN_SENT, SYN_RECEIVED):
        resend_too_large(connection, now)


def resend_too_large(connection: Connection, now: int) -> None:
    """Take the segments in flight that would be too large now for lost, whatever the window: this is no congestion."""
    tcb = connection.tcb
    sent = ffi.addressof(tcb, "sent")
    too_large = []
    for index in range(sent.count):
        entry = lib.sent_queue_at(sent, index)
        length = sequence.distance(entry.seq, entry.end)
        if min(length, entry.mss or length) > tcb.snd_mss:
            too_large.append((int(entry.seq), int(entry.end)))
    for seq, end in too_large:
        tcb.lost += max(lib.sent_queue_mark_lost(sent, seq, end), 0)
    if too_large:
        recovery.resend_without_reduction(connection)
    output.output(connection, now)

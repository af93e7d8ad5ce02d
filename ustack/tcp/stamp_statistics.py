"""SCM_TIMESTAMPING_OPT_STATS: what is told beside a timestamp, as netlink attributes in Linux's order.

Of the attributes of Linux 6.18 the TTL of the acknowledgment is missing: nothing keeps it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ustack.tcp import info

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

_ATTRIBUTES = (
    (1, "Q", "busy_time"),
    (2, "Q", "rwnd_limited"),
    (3, "Q", "sndbuf_limited"),
    (4, "Q", "data_segs_out"),
    (5, "Q", "total_retrans"),
    (6, "Q", "pacing_rate"),
    (7, "Q", "delivery_rate"),
    (8, "I", "snd_cwnd"),
    (9, "I", "reordering"),
    (10, "I", "min_rtt"),
    (11, "B", "retransmits"),
    (12, "B", "delivery_rate_app_limited"),
    (15, "I", "snd_ssthresh"),
    (16, "I", "delivered"),
    (17, "I", "delivered_ce"),
    (13, "I", "queue"),
    (14, "B", "ca_state"),
    (18, "Q", "bytes_sent"),
    (19, "Q", "bytes_retrans"),
    (20, "I", "dsack_dups"),
    (21, "I", "reord_seen"),
    (22, "I", "rtt"),
    (23, "H", "rehash"),
    (24, "I", "notsent_bytes"),
    (25, "Q", "departure"),
    (27, "I", "rehash"),
)
"""Number (TCP_NLA_), code of `struct`, and the field of TCP_INFO."""
_HEADER = struct.Struct("=HH")
_ALIGNMENT = 4


def statistics(connection: Connection, now: int) -> bytes:
    """The attributes now."""
    fields = info.decode(info.tcp_info(connection, now))
    fields["queue"] = connection.unacknowledged()
    fields["departure"] = now
    return b"".join(_attribute(number, code, fields[name]) for number, code, name in _ATTRIBUTES)


def _attribute(number: int, code: str, value: int) -> bytes:
    size = struct.calcsize(code)
    content = struct.pack(f"={code}", value & ((1 << 8 * size) - 1))
    return _HEADER.pack(_HEADER.size + size, number) + content + bytes(-size % _ALIGNMENT)

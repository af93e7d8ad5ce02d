"""SYN cookies: <SYN,ACK>s for which nothing is kept, while a listener's SYN queue is full.  RFC 4987 §3.6, appendix A.

The initial sequence number is the state.  Its upper 8 bits hold the minute, its lower 24 bits one of four MSS values,
and a keyed hash of the flow hides both.  The other options of the SYN travel in the lower 6 bits of our timestamp,
which comes back with the ACK; without timestamps they are given up.  Bits and tables are Linux's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ustack.config import SECOND
from ustack.native import lib
from ustack.tcp import sequence
from ustack.wire.tcp_options import TcpOptions

if TYPE_CHECKING:
    from ustack.tcp.segment import Segment

ALWAYS = 2
"""The value of `TcpConfig.syncookies` with which every SYN is answered so."""
VALID_NS = 120 * SECOND
"""How long after the last cookie was sent ACKs are still looked at for one."""
_COUNT_NS = 60 * SECOND
_COUNTS_MAX = 2
"""A cookie of the present or the last minute is good."""
_DATA_BITS = 24
_DATA_MASK = (1 << _DATA_BITS) - 1
_MSS_IPV4 = (536, 1300, 1440, 1460)
_MSS_IPV6 = (1220, 1420, 1440, 8940)

_SCALE_MASK = 0xF
_NO_SCALE = 0xF
_SACK = 1 << 4
_ECN = 1 << 5
_OPTION_BITS = 6
_IDENTITY = struct.Struct(">HHQ")


class SynCookies:
    """The cookies of one stack; `secret` is 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == 32, "two SipHash keys"
        self._keys = secret[:16], secret[16:]

    def make(self, segment: Segment, mss: int, now: int) -> tuple[int, int]:
        """The ISN that answers a SYN, and the MSS that will be remembered: the largest of the table up to `mss`."""
        table = _table(segment)
        index = max((place for place, value in enumerate(table) if value <= mss), default=0)
        count = now // _COUNT_NS
        hidden = self._hash(1, segment, count) + index & _DATA_MASK
        cookie = self._hash(0, segment, 0) + segment.seq + (count << _DATA_BITS) + hidden
        return cookie & sequence.MASK, table[index]

    def check(self, segment: Segment, now: int) -> int:
        """The MSS in the cookie that an ACK acknowledges; 0 if it is none of ours, or too old."""
        peer_isn = sequence.add(segment.seq, -1)
        cookie = segment.ack - 1 - self._hash(0, segment, 0) - peer_isn & sequence.MASK
        count = now // _COUNT_NS
        age = count - (cookie >> _DATA_BITS) & 0xFF
        if age >= _COUNTS_MAX:
            return 0
        index = cookie - self._hash(1, segment, count - age) & _DATA_MASK
        table = _table(segment)
        return table[index] if index < len(table) else 0

    def _hash(self, which: int, segment: Segment, count: int) -> int:
        flow = segment.remote + segment.local + _IDENTITY.pack(segment.remote_port, segment.local_port, count)
        digest: int = lib.siphash(self._keys[which], flow, len(flow))
        return digest & sequence.MASK


def _table(segment: Segment) -> tuple[int, ...]:
    return _MSS_IPV4 if len(segment.local) == 4 else _MSS_IPV6


def pack_options(ticks: int, options: TcpOptions, *, ecn: bool) -> int:
    """The latest timestamp up to `ticks` whose lower bits hold the options of a SYN."""
    bits = _NO_SCALE if options.window_scale is None else min(options.window_scale, 14)
    bits |= (_SACK if options.sack_permitted else 0) | (_ECN if ecn else 0)
    packed = ticks >> _OPTION_BITS << _OPTION_BITS | bits
    return packed if packed <= ticks else packed - (1 << _OPTION_BITS)


def unpack_options(echoed: int, mss: int, timestamps: tuple[int, int]) -> tuple[TcpOptions, bool]:
    """The options of the SYN that `pack_options` has put into a timestamp, and whether ECN was agreed."""
    scale = echoed & _SCALE_MASK
    options = TcpOptions(
        mss=mss,
        window_scale=None if scale == _NO_SCALE else scale,
        sack_permitted=bool(echoed & _SACK),
        timestamps=timestamps,
    )
    return options, bool(echoed & _ECN)

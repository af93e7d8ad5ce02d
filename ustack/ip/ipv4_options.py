"""The IPv4 options of an echo reply: where a route or timestamps are recorded, the host adds itself.

RFC 1122 §3.2.2.6, RFC 791 §3.1.
"""

from __future__ import annotations

from ustack.config import MILLISECOND
from ustack.wire import ipv4

_TIMESTAMPS_ONLY = 0
_WITH_ADDRESSES = 1
_PRESPECIFIED = 3
_DAY_MILLISECONDS = 86_400_000
_NOT_UNIVERSAL_TIME = 0x80000000


def reply_options(options: bytes, address: bytes, now: int) -> bytes:
    """The options of the reply that `address` sends to a packet with these, which were parsed before."""
    parts = []
    for option in ipv4.parse_options(options):
        if option.kind == ipv4.OPTION_RECORD_ROUTE:
            parts.append(ipv4.build_option(option.kind, _record_route(option.data, address)))
        elif option.kind == ipv4.OPTION_TIMESTAMP:
            parts.append(ipv4.build_option(option.kind, _record_time(option.data, address, now)))
    return b"".join(parts)


def _record_route(data: bytes, address: bytes) -> bytes:
    """Put `address` into the next free place, if there is one."""
    return _fill(data, 0, address) or data


def _record_time(data: bytes, address: bytes, now: int) -> bytes:
    """Put the time, milliseconds that no midnight began, into the next free place; else count an overflow."""
    flag = data[1] & 0xF
    stamp = (now // MILLISECOND % _DAY_MILLISECONDS | _NOT_UNIVERSAL_TIME).to_bytes(4, "big")
    if flag == _PRESPECIFIED:
        place = data[0] - 3
        return (_fill(data, 1, address + stamp) or data) if data[place : place + 4] == address else data
    if flag not in (_TIMESTAMPS_ONLY, _WITH_ADDRESSES):
        return data
    filled = _fill(data, 1, address + stamp if flag == _WITH_ADDRESSES else stamp)
    overflow = min((data[1] >> 4) + 1, 15)
    return filled or bytes((data[0], overflow << 4 | flag)) + data[2:]


def _fill(data: bytes, first: int, entry: bytes) -> bytes | None:
    """An option's data with `entry` where its pointer says, and the pointer moved on; None if there is no room.

    The pointer counts from 1 at the option's type; `first` is where it may point at least, in `data` behind the
    pointer.
    """
    place = data[0] - 3
    if place <= first or place + len(entry) > len(data):
        return None
    return bytes((data[0] + len(entry),)) + data[1:place] + entry + data[place + len(entry) :]

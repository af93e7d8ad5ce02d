"""TCP options.  RFC 9293 §3.2.

`build` lays options out as Linux does, so that captures look familiar and public packetdrill scripts match byte for
byte.  The options are of RFC 7323 (window scale, timestamps), 2018 (SACK), 7413 (Fast Open), 5482 (user time-out) and
2385 (MD5) and 9768 (Accurate ECN).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ustack.drops import Drop, DropReason

END = 0
NO_OPERATION = 1
MAXIMUM_SEGMENT_SIZE = 2
WINDOW_SCALE = 3
SACK_PERMITTED = 4
SACK = 5
TIMESTAMPS = 8
MD5_SIGNATURE = 19
USER_TIMEOUT = 28
AUTHENTICATION = 29
FAST_OPEN = 34
ACCURATE_ECN_0 = 172
ACCURATE_ECN_1 = 174
EXPERIMENTAL = 254
FAST_OPEN_MAGIC = b"\xf9\x89"
"""What an experimental option for Fast Open begins with.  RFC 6994, RFC 7413 §4.1.1."""

MAXIMUM_SACK_BLOCKS = 4
MAXIMUM_OPTIONS_LENGTH = 40
TIMESTAMPS_LENGTH = 12
"""Of the timestamps option with the two no-operations before it."""

_BLOCK = struct.Struct("!II")
_TIMESTAMPS = struct.Struct("!III")
_WORD = struct.Struct("!H")
_ALIGNED_TIMESTAMPS = NO_OPERATION << 24 | NO_OPERATION << 16 | TIMESTAMPS << 8 | 10
_ALIGNED_TIMESTAMPS_START = _ALIGNED_TIMESTAMPS.to_bytes(4, "big")
_PERMITTED_TIMESTAMPS = SACK_PERMITTED << 24 | 2 << 16 | TIMESTAMPS << 8 | 10


class AccurateEcn(NamedTuple):
    """The Accurate ECN option.  RFC 9768 §3.2.3."""

    kind: int
    """ACCURATE_ECN_0 or ACCURATE_ECN_1: the order of the fields."""
    counters: tuple[int, ...]
    """Up to three counts of 24 bits: of order 0 of ECT(0), CE, ECT(1), of order 1 of ECT(1), CE, ECT(0)."""


@dataclass(slots=True)
class TcpOptions:
    """All options of one segment; of one that occurs more than once, the last.  None is absent."""

    mss: int | None = None
    window_scale: int | None = None
    """The shift as on the wire, 0 to 255; RFC 7323 §2.3 takes more than 14 as 14."""
    sack_permitted: bool = False
    sack_blocks: tuple[tuple[int, int], ...] = ()
    """Left and right edges: sequence numbers."""
    timestamps: tuple[int, int] | None = None
    """TSval and TSecr."""
    fast_open_cookie: bytes | None = None
    """b"" asks for a cookie."""
    fast_open_experimental: bool = False
    """The cookie stands, or shall stand, in the experimental option that older hosts use."""
    user_timeout: int | None = None
    """The 16 bits as on the wire: the granularity bit (minutes, not seconds) and 15 bits of time."""
    md5: bytes | None = None
    authentication: bytes | None = None
    """KeyID, RNextKeyID and MAC of TCP-AO."""
    accurate_ecn: AccurateEcn | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()
    """Kind and data of every other option."""


def parse_options(options: bytes) -> TcpOptions:
    """All options, unknown ones too.  Raises `Drop` for an illegal length.

    RFC 9293 §3.2 (MUST-5, MUST-6, MUST-7, MUST-68).
    """
    found = TcpOptions()
    if len(options) == TIMESTAMPS_LENGTH and options.startswith(_ALIGNED_TIMESTAMPS_START):
        found.timestamps = _BLOCK.unpack_from(options, 4)
        return found
    position = 0
    while position < len(options):
        kind = options[position]
        if kind == END:
            break
        position += 1 if kind == NO_OPERATION else _take(found, options, position)
    return found


def _take(found: TcpOptions, options: bytes, position: int) -> int:
    """Note the option at `position`, and return its length."""
    kind = options[position]
    left = len(options) - position
    length = options[position + 1] if left > 1 else 0
    data = options[position + 2 : position + length]
    legal = 2 <= length <= left
    known = _KNOWN.get(kind)
    if legal and known and length in known.lengths:
        setattr(found, known.attribute, known.decode(data))
        found.fast_open_experimental &= kind != FAST_OPEN
    elif legal and kind == EXPERIMENTAL and data[:2] == FAST_OPEN_MAGIC and length - 2 in _KNOWN[FAST_OPEN].lengths:
        found.fast_open_cookie, found.fast_open_experimental = bytes(data[2:]), True
    elif legal and (known is None or kind == FAST_OPEN):
        found.unknown += ((kind, data),)  # RFC 7413 §4.1.1: a cookie of a wrong length is ignored
    else:
        raise Drop(DropReason.TCP_OPTION_LENGTH, f"option {kind} of length {length}, {left} bytes left")
    return length


def _unsigned(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _blocks(data: bytes) -> tuple[tuple[int, int], ...]:
    return tuple(_BLOCK.iter_unpack(data))


def _counters(data: bytes) -> tuple[int, ...]:
    """The whole fields of 24 bits, three at most; what is left over is ignored.  RFC 9768 §3.2.3."""
    return tuple(_unsigned(data[start : start + 3]) for start in range(0, min(len(data) // 3, 3) * 3, 3))


class _Known(NamedTuple):
    """Where an option goes, which lengths it may have, and how its data is read."""

    attribute: str
    lengths: Sequence[int]
    decode: Callable[[bytes], object]


_KNOWN = {
    MAXIMUM_SEGMENT_SIZE: _Known("mss", (4,), _unsigned),
    WINDOW_SCALE: _Known("window_scale", (3,), _unsigned),
    SACK_PERMITTED: _Known("sack_permitted", (2,), lambda _: True),
    SACK: _Known("sack_blocks", (10, 18, 26, 34), _blocks),
    TIMESTAMPS: _Known("timestamps", (10,), _BLOCK.unpack),
    MD5_SIGNATURE: _Known("md5", (18,), bytes),
    AUTHENTICATION: _Known("authentication", range(4, 41), bytes),
    USER_TIMEOUT: _Known("user_timeout", (4,), _unsigned),
    FAST_OPEN: _Known("fast_open_cookie", (2, 6, 8, 10, 12, 14, 16, 18), bytes),
    ACCURATE_ECN_0: _Known("accurate_ecn", range(2, 41), lambda data: AccurateEcn(ACCURATE_ECN_0, _counters(data))),
    ACCURATE_ECN_1: _Known("accurate_ecn", range(2, 41), lambda data: AccurateEcn(ACCURATE_ECN_1, _counters(data))),
}


def build(options: TcpOptions) -> bytes:
    """All options, padded to 32 bits, in the order and alignment that Linux uses."""
    parts = [_build_signature(options)]
    if options.mss is not None:
        parts.append(build_mss(options.mss))
    if options.timestamps is not None:
        parts.append(build_timestamps(*options.timestamps, sack_permitted=options.sack_permitted))
    if options.accurate_ecn is not None:
        parts.append(pad_with_no_operations(build_accurate_ecn(options.accurate_ecn)))
    if options.sack_permitted and options.timestamps is None:
        parts.append(build_sack_permitted())
    if options.window_scale is not None:
        parts.append(build_window_scale(options.window_scale))
    if options.sack_blocks:
        parts.append(build_sack(options.sack_blocks))
    if options.fast_open_cookie is not None:
        parts.append(build_fast_open(options.fast_open_cookie, experimental=options.fast_open_experimental))
    if options.user_timeout is not None:
        parts.append(build_user_timeout(options.user_timeout))
    parts.extend(build_option(kind, data) for kind, data in options.unknown)
    return pad(b"".join(parts))


def _build_signature(options: TcpOptions) -> bytes:
    """MD5's or TCP-AO's, which come before all others."""
    packed = b"" if options.md5 is None else build_md5(options.md5)
    if options.authentication is not None:
        packed += pad_with_no_operations(build_option(AUTHENTICATION, options.authentication))
    return packed


def pad(options: bytes) -> bytes:
    """Options padded with end-of-list to 32 bits (MUST-69)."""
    return options + bytes(-len(options) % 4)


def pad_with_no_operations(options: bytes) -> bytes:
    """Options padded to 32 bits so that others can follow."""
    return options + b"\x01" * (-len(options) % 4)


def build_option(kind: int, data: bytes) -> bytes:
    """Any option, not aligned."""
    return bytes((kind, 2 + len(data))) + data


def build_mss(mss: int) -> bytes:
    """Maximum segment size, 4 bytes.  RFC 9293 §3.7.1."""
    return b"\x02\x04" + _WORD.pack(mss)


def build_window_scale(shift: int) -> bytes:
    """No-operation and window scale, 4 bytes.  RFC 7323 §2.2."""
    return bytes((NO_OPERATION, WINDOW_SCALE, 3, shift))


def build_sack_permitted() -> bytes:
    """Two no-operations and SACK permitted, 4 bytes.  RFC 2018 §2."""
    return b"\x01\x01\x04\x02"


def build_timestamps(value: int, echo: int, *, sack_permitted: bool = False) -> bytes:
    """Two no-operations, or SACK permitted, and timestamps: 12 bytes.  RFC 7323 §3.2, appendix A."""
    return _TIMESTAMPS.pack(_PERMITTED_TIMESTAMPS if sack_permitted else _ALIGNED_TIMESTAMPS, value, echo)


def build_sack(blocks: Iterable[tuple[int, int]]) -> bytes:
    """Two no-operations and up to four SACK blocks, 4 + 8 a block bytes.  RFC 2018 §3."""
    data = b"".join(_BLOCK.pack(left, right) for left, right in blocks)
    return bytes((NO_OPERATION, NO_OPERATION, SACK, 2 + len(data))) + data


def build_fast_open(cookie: bytes, *, experimental: bool = False) -> bytes:
    """A Fast Open cookie or, empty, the request for one; no-operations after it.  RFC 7413 §4.1.1."""
    option = build_option(EXPERIMENTAL, FAST_OPEN_MAGIC + cookie) if experimental else build_option(FAST_OPEN, cookie)
    return pad_with_no_operations(option)


def build_user_timeout(value: int) -> bytes:
    """User time-out, 4 bytes: `value` is granularity bit and time.  RFC 5482 §3."""
    return b"\x1c\x04" + _WORD.pack(value)


def build_md5(digest: bytes) -> bytes:
    """Two no-operations and the MD5 signature, 20 bytes.  RFC 2385 §3."""
    return b"\x01\x01\x13\x12" + digest


def build_accurate_ecn(option: AccurateEcn) -> bytes:
    """Accurate ECN, 2 + 3 a counter bytes, not aligned.  RFC 9768 §3.2.3."""
    return build_option(option.kind, b"".join((count & 0xFFFFFF).to_bytes(3, "big") for count in option.counters))

"""The grammar of TCP options: `<mss 1460,nop,nop,sackOK,nop,wscale 8>` as the bytes of a header."""

from __future__ import annotations

import struct

from ustack.packetdrill.cursor import Cursor
from ustack.packetdrill.lexer import INTEGER, WORD
from ustack.wire import tcp_options

EXPERIMENT = 254
"""The kind of options that share a number.  RFC 6994."""
FAST_OPEN_MAGIC = b"\xf9\x89"
ACCURATE_ECN_0, ACCURATE_ECN_1 = 172, 174
"""The two orders of the AccECN option's counters.  RFC 9768 §3.2.3."""
_FIELDS = {"e0b": ("e0b", "ceb", "e1b"), "e1b": ("e1b", "ceb", "e0b")}
_MD5_BYTES = 16
_U16, _U24, _U32 = 0xFFFF, 0xFFFFFF, 0xFFFFFFFF


def parse_options(cursor: Cursor) -> bytes | None:
    """Options between `<` and `>`; None for `<...>`, whatever they are.  Raises Malformed unless they are padded."""
    start = cursor.expect("<").offset
    if cursor.skip("..."):
        cursor.expect(">")
        return None
    options = _option(cursor)
    while cursor.skip(","):
        options += _option(cursor)
    if not cursor.at(">"):
        cursor.fail("',' or '>'")
    cursor.take()
    if len(options) % 4:
        raise cursor.source.malformed(f"expected options of whole 32-bit words, found {len(options)} bytes", start)
    if len(options) > tcp_options.MAXIMUM_OPTIONS_LENGTH:
        raise cursor.source.malformed(f"expected at most 40 bytes of options, found {len(options)}", start)
    return options


def _option(cursor: Cursor) -> bytes:
    if cursor.token.kind != WORD or cursor.token.text not in _OPTIONS:
        cursor.fail("a TCP option")
    return _OPTIONS[cursor.take().text](cursor)


def _mss(cursor: Cursor) -> bytes:
    return tcp_options.build_mss(cursor.integer("an MSS", 0, _U16))


def _window_scale(cursor: Cursor) -> bytes:
    return bytes((tcp_options.WINDOW_SCALE, 3, cursor.integer("a window scale", 0, 0xFF)))


def _sack(cursor: Cursor) -> bytes:
    blocks = b""
    while cursor.token.kind == INTEGER:
        left = cursor.integer("a sequence number", 0, _U32)
        cursor.expect(":")
        blocks += struct.pack("!II", left, cursor.integer("a sequence number", 0, _U32))
    if not blocks:
        cursor.fail("a SACK block")
    return tcp_options.build_option(tcp_options.SACK, blocks)


def _timestamps(cursor: Cursor) -> bytes:
    if not cursor.skip_word("val"):
        cursor.fail("'val'")
    value = cursor.integer("a timestamp", 0, _U32)
    if not cursor.skip_word("ecr"):
        cursor.fail("'ecr'")
    return tcp_options.build_option(
        tcp_options.TIMESTAMPS, struct.pack("!II", value, cursor.integer("a timestamp", 0, _U32))
    )


def _hexadecimal(cursor: Cursor, what: str, most: int) -> bytes:
    """Bytes as hexadecimal digits, none at all if no word comes."""
    token = cursor.token
    if token.kind not in (WORD, INTEGER):
        return b""
    try:
        value = bytes.fromhex(cursor.take().text)
    except ValueError:
        raise cursor.source.malformed(
            f"expected {what} of hexadecimal digits, found {token.describe()}", token.offset
        ) from None
    if len(value) > most:
        raise cursor.source.malformed(f"expected {what} of at most {most} bytes, found {len(value)}", token.offset)
    return value


def _fast_open(cursor: Cursor) -> bytes:
    return tcp_options.build_option(tcp_options.FAST_OPEN, _hexadecimal(cursor, "a cookie", 38))


def _fast_open_experiment(cursor: Cursor) -> bytes:
    return tcp_options.build_option(EXPERIMENT, FAST_OPEN_MAGIC + _hexadecimal(cursor, "a cookie", 36))


def _md5(cursor: Cursor) -> bytes:
    return tcp_options.build_option(tcp_options.MD5_SIGNATURE, _hexadecimal(cursor, "a digest", _MD5_BYTES))


def _user_timeout(cursor: Cursor) -> bytes:
    return tcp_options.build_user_timeout(cursor.integer("a user time-out", 0, _U16))


def _accurate_ecn(cursor: Cursor) -> bytes:
    """`ECN e0b 1 ceb 0 e1b 1`: three counters, of which the last ones, or all, may be missing."""
    order = _FIELDS["e0b"] if cursor.at(",", ">") else _FIELDS.get(cursor.token.text)
    if order is None:
        cursor.fail("'e0b' or 'e1b'")
    data = b""
    for name in order:
        if not cursor.skip_word(name):
            break
        data += cursor.integer("a counter of bytes", 0, _U24).to_bytes(3, "big")
    return tcp_options.build_option(ACCURATE_ECN_0 if order[0] == "e0b" else ACCURATE_ECN_1, data)


_OPTIONS = {
    "nop": lambda _: b"\x01",
    "eol": lambda _: b"\x00",
    "mss": _mss,
    "wscale": _window_scale,
    "sackOK": lambda _: b"\x04\x02",
    "sack": _sack,
    "TS": _timestamps,
    "FO": _fast_open,
    "FOEXP": _fast_open_experiment,
    "md5": _md5,
    "uto": _user_timeout,
    "ECN": _accurate_ecn,
}

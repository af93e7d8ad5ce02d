"""Control messages of recvmsg(): what a script expects, as bytes, and the comparison with what came."""

from __future__ import annotations

import socket as stdlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ustack.packetdrill.evaluation import integer, structure
from ustack.packetdrill.problems import Failed
from ustack.packetdrill.script import Expression, Field, Structure
from ustack.packetdrill.symbols import SYMBOLS, value_of

_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ERROR_FIELDS = ("ee_errno", "ee_origin", "ee_type", "ee_code", "ee_info", "ee_data")
_SOCKADDR_IN, _SOCKADDR_IN6 = 16, 28
_TIMESTAMPING_BYTES = 48
_ATTRIBUTE = struct.Struct("=HH")
_WIDE = frozenset(
    value_of(f"TCP_NLA_{name}")
    for name in (
        "BUSY", "RWND_LIMITED", "SNDBUF_LIMITED", "DATA_SEGS_OUT", "TOTAL_RETRANS", "PACING_RATE", "DELIVERY_RATE",
        "BYTES_SENT", "BYTES_RETRANS", "EDT",
    )
)  # fmt: skip
_NARROW = frozenset(
    value_of(f"TCP_NLA_{name}") for name in ("RECUR_RETRANS", "DELIVERY_RATE_APP_LMT", "CA_STATE", "TTL")
)
_TIMES = frozenset(value_of(f"TCP_NLA_{name}") for name in ("BUSY", "RWND_LIMITED", "SNDBUF_LIMITED"))
_NAMES = {number: name for name, number in SYMBOLS.items() if name.startswith("TCP_NLA_")}


@dataclass(frozen=True, slots=True)
class Expected:
    """One message: its bytes' length, and the comparison of its data."""

    level: int
    kind: int
    size: int
    check: Callable[[bytes, int, int], None]
    """With the data, the time of the script's begin, and the tolerance in nanoseconds."""


def expected(items: Sequence[Expression]) -> list[Expected]:
    """The messages of a `msg_control=[…]`."""
    return [_expected(structure(item)) for item in items]


def space(messages: Sequence[Expected]) -> int:
    """How many bytes of control messages the script makes room for."""
    return sum(stdlib.CMSG_SPACE(message.size) for message in messages)


def to_send(items: Sequence[Expression]) -> list[tuple[int, int, bytes]]:
    """Control messages for sendmsg(), each an int."""
    found = []
    for item in items:
        fields = structure(item)
        data = struct.pack("i", integer(fields["cmsg_data"]))
        found.append((integer(fields["cmsg_level"]), integer(fields["cmsg_type"]), data))
    return found


def compare(messages: Sequence[Expected], found: Sequence[tuple[int, int, bytes]], start: int, tolerance: int) -> None:
    """Raise Failed unless the messages that came are those that are expected."""
    for index, (wanted, (level, kind, data)) in enumerate(zip(messages, found, strict=False)):
        for what, expect, actual in (
            ("level", wanted.level, level), ("type", wanted.kind, kind), ("len", wanted.size, len(data)),
        ):  # fmt: skip
            if expect != actual:
                raise Failed(f"Bad {what} in cmsg {index}: expected={expect} actual={actual}")
        wanted.check(data, start, tolerance)
    if len(found) != len(messages):
        raise Failed(f"received {len(found)} cmsgs, expected {len(messages)}")


def _expected(fields: dict[str, Expression]) -> Expected:
    level, kind, data = integer(fields["cmsg_level"]), integer(fields["cmsg_type"]), fields["cmsg_data"]
    if not isinstance(data, Structure):
        value = struct.pack("i", integer(data))
        return Expected(level, kind, len(value), lambda actual, *_: _same(value, actual))
    members = data.fields()
    if "scm_sec" in members:
        nanoseconds = integer(members["scm_sec"]) * 1_000_000_000 + integer(members["scm_nsec"])
        return Expected(level, kind, _TIMESTAMPING_BYTES, lambda *rest: _check_timestamp(nanoseconds, *rest))
    if "ee_errno" in members:
        values = [integer(members.get(name, 0)) for name in _ERROR_FIELDS]
        size = _EXTENDED_ERROR.size + (_SOCKADDR_IN if level == stdlib.IPPROTO_IP else _SOCKADDR_IN6)
        return Expected(level, kind, size, lambda actual, *_: _check_error(values, actual))
    attributes = [(value_of(item.name), item.value) for item in data.items if isinstance(item, Field)]
    size = sum(4 + _padded(_width(number)) for number, _ in attributes)
    return Expected(level, kind, size, lambda actual, _, tolerance: _check_attributes(attributes, actual, tolerance))


def _same(expect: bytes, actual: bytes) -> None:
    if expect != actual:
        raise Failed(f"Bad data in cmsg: expected={_text(expect)} actual={_text(actual)}")


def _text(data: bytes) -> str:
    return str(struct.unpack("i", data)[0]) if len(data) == 4 else data.hex()


def _check_timestamp(nanoseconds: int, actual: bytes, start: int, tolerance: int) -> None:
    """The first of three times; 0 is any."""
    seconds, rest = struct.unpack_from("=qq", actual)
    difference = seconds * 1_000_000_000 + rest - start - nanoseconds
    if nanoseconds and abs(difference) > tolerance:
        raise Failed(f"Bad timestamp: expected={nanoseconds // 1000} actual={(nanoseconds + difference) // 1000}")


def _check_error(values: list[int], actual: bytes) -> None:
    found = _EXTENDED_ERROR.unpack_from(actual)
    found = (found[0], found[1], found[2], found[3], found[5], found[6])
    for name, expect, value in zip(_ERROR_FIELDS, values, found, strict=True):
        if expect & 0xFFFFFFFF != value:
            raise Failed(f"Bad {name} in extended err: expected={expect} actual={value}")


def _width(number: int) -> int:
    return 8 if number in _WIDE else 1 if number in _NARROW else 4


def _padded(size: int) -> int:
    return size + -size % 4


def _check_attributes(expect: list[tuple[int, Any]], actual: bytes, tolerance: int) -> None:
    """The attributes of SCM_TIMESTAMPING_OPT_STATS, in order; `...` is any value."""
    offset = 0
    for number, value in expect:
        _, kind = _ATTRIBUTE.unpack_from(actual, offset)
        if kind != number:
            raise Failed(f"Bad nla_type: expected={_NAMES[number]} actual={_NAMES.get(kind, kind)}")
        width = _width(number)
        found = int.from_bytes(actual[offset + 4 : offset + 4 + width], "little")
        offset += 4 + _padded(width)
        if value is ...:
            continue
        wanted = integer(value) & (1 << 8 * width) - 1
        slack = tolerance // 1000 if number in _TIMES and wanted else 0
        if abs(wanted - found) > slack:
            raise Failed(f"Bad {_NAMES[number]}: expected={wanted} actual={found}")

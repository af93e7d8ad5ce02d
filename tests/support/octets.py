"""Buffers for C and slow, obvious oracles over bytes."""

from __future__ import annotations

import struct
from typing import Any

from ustack.native import ffi


def exact(data: bytes) -> Any:
    """A copy for C in memory that ends with the last byte, so that the sanitizer sees any access beyond it.

    A pointer into it (`exact(data) + 1`) does not keep it alive: hold on to what this returns.
    """
    copy = ffi.new("uint8_t[]", len(data))
    ffi.memmove(copy, data, len(data))
    return copy


def naive_sum(data: bytes, initial: int = 0) -> int:
    """The one's complement sum word by word.  RFC 1071 §1."""
    if len(data) % 2:
        data += b"\0"
    total: int = initial + sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """RFC 9293 §3.1 for addresses of 4 bytes, RFC 8200 §8.1 for 16."""
    if len(source) == 4:
        return source + destination + struct.pack(">BBH", 0, protocol, length)
    return source + destination + struct.pack(">I3xB", length, protocol)

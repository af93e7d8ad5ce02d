"""The Internet checksum: the thin door to C's `checksum_*`.  RFC 1071, RFC 1624.

Sums are 16-bit one's complement sums in host order, not complemented; `internet_checksum` complements.  Data whose
checksum field is right sum up to `SUM_OF_VALID_DATA`.
"""

from __future__ import annotations

from ustack.native import ffi, lib
from ustack.wire import Buffer

SUM_OF_VALID_DATA = 0xFFFF

_from_buffer = ffi.from_buffer
_add = lib.checksum_add
_compute = lib.checksum_compute
_pseudo = lib.checksum_pseudo
_update = lib.checksum_update


def sum_words(data: Buffer, initial: int = 0) -> int:
    """The one's complement sum of big-endian 16-bit words, going on from `initial`; an odd byte is padded with zero."""
    pointer = data if type(data) is bytes else _from_buffer(data)
    result: int = _add(pointer, len(data), initial)
    return result


def internet_checksum(data: Buffer, initial: int = 0) -> int:
    """The checksum for a header whose checksum field is zero.  RFC 1071 §1."""
    pointer = data if type(data) is bytes else _from_buffer(data)
    result: int = _compute(pointer, len(data), initial)
    return result


def pseudo_header_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo-header; addresses of 4 or 16 bytes.  RFC 9293 §3.1, RFC 8200 §8.1."""
    result: int = _pseudo(source, destination, len(source), protocol, length)
    return result


def update(checksum: int, before: int, after: int) -> int:
    """The checksum after one 16-bit word of the data changed from `before` to `after`.  RFC 1624 §3, eqn. 3."""
    result: int = _update(checksum, before, after)
    return result

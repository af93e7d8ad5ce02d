"""Arithmetic on sequence numbers, modulo 2^32.  RFC 9293 §3.4.

A comparison is right while the two numbers are less than 2^31 apart.
"""

MODULUS = 1 << 32
MASK = MODULUS - 1
_HALF = 1 << 31


def lt(a: int, b: int) -> bool:
    """A < b."""
    return (a - b) & MASK >= _HALF


def le(a: int, b: int) -> bool:
    """A <= b."""
    return (b - a) & MASK < _HALF


def gt(a: int, b: int) -> bool:
    """A > b."""
    return (b - a) & MASK >= _HALF


def ge(a: int, b: int) -> bool:
    """A >= b."""
    return (a - b) & MASK < _HALF


def add(a: int, count: int) -> int:
    """The sequence number `count` after `a`."""
    return (a + count) & MASK


def distance(start: int, end: int) -> int:
    """How many sequence numbers from `start` on to `end`, which is not before it."""
    return (end - start) & MASK


def latest(a: int, b: int) -> int:
    """The later of two."""
    return b if lt(a, b) else a


def is_within(start: int, number: int, end: int) -> bool:
    """Start < number <= end, for an end that is not before the start; also right for numbers left far behind."""
    return 0 < distance(start, number) <= distance(start, end)

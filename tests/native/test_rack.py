"""native/src/rack.c: what was sent last of all that was delivered."""

from __future__ import annotations

import pytest

from ustack.native import ffi, lib


@pytest.mark.parametrize(
    ("a", "b", "after"), [((2, 10), (1, 20), 1), ((1, 20), (2, 10), 0), ((1, 20), (1, 10), 1), ((1, 10), (1, 10), 0)]
)
def test_of_what_was_sent_at_once_the_higher_was_sent_later(a: tuple[int, int], b: tuple[int, int], after: int) -> None:
    assert lib.rack_sent_after(*a, *b) == after


def test_the_round_trip_is_that_of_the_last_delivered_one() -> None:
    rack = ffi.new("struct rack *")
    lib.rack_advance(rack, 100, 10, 0, 0, 150)
    lib.rack_advance(rack, 90, 20, 0, 0, 170)
    assert (rack.xmit_ns, rack.end, rack.rtt_ns, rack.advanced) == (100, 10, 80, 1)


def test_a_retransmission_that_comes_too_soon_is_not_counted() -> None:
    rack = ffi.new("struct rack *")
    lib.rack_advance(rack, 100, 10, 1, 60, 150)
    assert not rack.advanced
    lib.rack_advance(rack, 100, 10, 1, 50, 150)
    assert rack.advanced

"""native/src/tcb.c: the life of a TCB and its buffers."""

from __future__ import annotations

from typing import Any

from tests.support.octets import exact
from ustack.native import ffi, lib


def filled() -> Any:
    """A TCB all of whose buffers hold something."""
    tcb = lib.tcb_new()
    for ring in (tcb.snd_ring, tcb.rcv_ring):
        lib.ring_reserve(ffi.addressof(ring), 5000, 0)
        lib.ring_write(ffi.addressof(ring), exact(b"data"), 4)
    lib.ranges_add(ffi.addressof(tcb, "out_of_order"), 10, 20, 60, 8)
    lib.sent_queue_push(ffi.addressof(tcb, "sent"), ffi.new("struct sent_segment *", {"seq": 1, "end": 2}))
    return tcb


def test_a_new_tcb_is_all_zeros() -> None:
    tcb = ffi.gc(lib.tcb_new(), lib.tcb_free)
    assert not any(bytes(ffi.buffer(tcb)))
    assert tcb.state == lib.TCP_CLOSED


def test_releasing_the_buffers_keeps_the_rest() -> None:
    tcb = ffi.gc(filled(), lib.tcb_free)
    tcb.snd_nxt = 77
    lib.tcb_release_buffers(tcb)
    assert (tcb.snd_ring.data, tcb.rcv_ring.data) == (ffi.NULL, ffi.NULL)
    assert (tcb.out_of_order.items, tcb.sent.items) == (ffi.NULL, ffi.NULL)
    assert (tcb.snd_ring.length, tcb.sent.count, tcb.out_of_order.count) == (0, 0, 0)
    assert tcb.snd_nxt == 77
    lib.tcb_release_buffers(tcb)


def test_freeing_frees_the_buffers_too() -> None:
    lib.tcb_free(filled())
    lib.tcb_free(ffi.NULL)


def test_an_acknowledgment_takes_from_queue_and_ring_and_is_summed() -> None:
    tcb = ffi.gc(filled(), lib.tcb_free)
    tcb.snd_una, tcb.snd_nxt, tcb.snd_ring_seq = 1, 2, 1
    lib.tcb_acknowledge(tcb, 2, False, 0, 50)
    assert (tcb.snd_una, tcb.sent.count, tcb.snd_ring.length) == (2, 0, 3)
    assert (tcb.delivered, tcb.bytes_acked, tcb.acked.segments, tcb.acked_at_ns, tcb.prior_in_flight) == (
        1,
        1,
        1,
        50,
        1,
    )


def test_sack_blocks_are_marked_and_summed() -> None:
    tcb = ffi.gc(filled(), lib.tcb_free)
    lib.sent_queue_push(ffi.addressof(tcb, "sent"), ffi.new("struct sent_segment *", {"seq": 2, "end": 5}))
    assert lib.tcb_take_sack(tcb, 1, ffi.new("struct sack_block[]", [(2, 5)]), 1, -1, False, 0, 50) == 0
    assert (tcb.sent.sacked_segments, tcb.delivered, tcb.delivered_ns, tcb.acked.sacked_segments) == (1, 1, 50, 1)

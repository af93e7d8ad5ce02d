#!/usr/bin/env python3
"""What a call of each native function costs, as Python calls it.

    micro.py [--json] [--seconds S] [WORD...]      only the rows whose name has a WORD in it

Every row is the least of several runs.  The first row is the cheapest call there is: what cffi and the loop cost, which
is part of every other row's time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console
from rich.table import Table

from ustack.native import ffi, lib
from ustack.wire import ipv4, ipv6, tcp, tcp_options, udp

RUNS = 5
LOCAL = {4: bytes([10, 9, 0, 2]), 6: b"\xfd" + bytes(14) + b"\x02"}
REMOTE = {4: bytes([10, 9, 0, 1]), 6: b"\xfd" + bytes(14) + b"\x01"}
TIMESTAMPS = tcp_options.build_timestamps(1, 2)
EVERY_OFFLOAD = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6 | lib.OFFLOAD_USO


@dataclass(slots=True)
class Case:
    """One row: `run` makes `calls` calls, over `size` bytes in all."""

    name: str
    run: Callable[[], object]
    calls: int = 1
    size: int = 0


@dataclass(slots=True)
class Result:
    """Nanoseconds of one call, and how many bytes that is a second."""

    name: str
    ns: float
    gigabytes_per_second: float | None


def measure(case: Case, seconds: float) -> Result:
    """The fastest of several runs that take `seconds` together."""
    count = 1
    while (elapsed := elapsed_ns(case.run, count)) < 1e9 * seconds / RUNS / 10:
        count *= 2
    count = max(1, int(count * (1e9 * seconds / RUNS) / max(elapsed, 1)))
    best = min(elapsed_ns(case.run, count) for _ in range(RUNS)) / count
    return Result(case.name, best / case.calls, case.size / best if case.size else None)


def elapsed_ns(run: Callable[[], object], count: int) -> int:
    """How long `count` runs take."""
    begin = time.perf_counter_ns()
    for _ in itertools.repeat(None, count):
        run()
    return time.perf_counter_ns() - begin


def octets(data: bytes) -> Any:
    """A buffer for C."""
    return ffi.new("uint8_t[]", data)


def new_burst(*packets: bytes, offload: int = 0) -> Any:
    """A burst of packets for a device with these offloads."""
    burst = ffi.gc(lib.burst_new(lib.BURST_BYTES), lib.burst_free)
    burst.offload = offload
    for packet in packets:
        lib.burst_append(burst, packet, len(packet))
    return burst


def new_tcb(version: int, held: int) -> Any:
    """An established connection with `held` bytes to send."""
    tcb = ffi.gc(lib.tcb_new(), lib.tcb_free)
    tcb.version, tcb.ttl, tcb.snd_mss, tcb.local_port, tcb.remote_port = version, 64, 1448, 80, 1234
    ffi.memmove(tcb.local_address, LOCAL[version], len(LOCAL[version]))
    ffi.memmove(tcb.remote_address, REMOTE[version], len(REMOTE[version]))
    tcb.state, tcb.rcv_wnd, tcb.snd_wnd = lib.TCP_ESTABLISHED, 1 << 30, 1 << 20
    tcb.rcv_buffer, tcb.rcv_scaling_ratio = 1 << 30, 128
    for ring in (tcb.snd_ring, tcb.rcv_ring):
        lib.ring_reserve(ffi.addressof(ring), 1 << 20, 0)
    lib.ring_write(ffi.addressof(tcb, "snd_ring"), bytes(held), held)
    return tcb


def segment(version: int, length: int, seq: int = 0) -> bytes:
    """A segment from the peer, with timestamps."""
    payload = bytes(length)
    pseudo = (REMOTE[version], LOCAL[version])
    header = tcp.build(1234, 80, seq, 0, tcp.ACK, 1000, options=TIMESTAMPS, payload=payload, pseudo=pseudo)
    return ip_header(version, 6, len(header) + length) + header + payload


def datagram(version: int, length: int) -> bytes:
    """A UDP datagram from the peer."""
    header = udp.build(REMOTE[version], LOCAL[version], 1234, 80, bytes(length))
    return ip_header(version, 17, len(header) + length) + header + bytes(length)


def ip_header(version: int, protocol: int, length: int) -> bytes:
    """The header of a packet from the peer."""
    build = ipv4.build if version == 4 else ipv6.build
    return build(REMOTE[version], LOCAL[version], protocol, length)


def flow_key(version: int, protocol: int, remote_port: int) -> Any:
    """A flow from a port of the peer to our port 80."""
    key = ffi.new("struct flow_key *")
    lib.flow_key_fill(key, protocol, version, LOCAL[version], 80, REMOTE[version], remote_port)
    return key


def checksum_cases() -> Iterator[Case]:
    """checksum.h."""
    data, target = octets(bytes(65536)), ffi.new("uint8_t[]", 65536)
    addresses = {version: (octets(LOCAL[version]), octets(REMOTE[version])) for version in (4, 6)}
    for length in (20, 1460, 65535):
        yield Case(f"checksum_add {length} B", partial(lib.checksum_add, data, length, 0), size=length)
        yield Case(f"checksum_copy {length} B", partial(lib.checksum_copy, target, data, length, 0), size=length)
    yield Case("checksum_compute 20 B", partial(lib.checksum_compute, data, 20, 0), size=20)
    yield Case("checksum_update", partial(lib.checksum_update, 1, 2, 3))
    for version, size in ((4, 4), (6, 16)):
        yield Case(f"checksum_pseudo IPv{version}", partial(lib.checksum_pseudo, *addresses[version], size, 6, 100))


def ring_cases() -> Iterator[Case]:
    """ring.h."""
    ring, data = ffi.new("struct ring *"), ffi.new("uint8_t[]", 65536)
    ring = ffi.gc(ring, lib.ring_release)
    lib.ring_reserve(ring, 1 << 20, 0)

    def write_and_read(length: int) -> None:
        lib.ring_write(ring, data, length)
        lib.ring_read(ring, data, length)

    def write_and_drop(length: int) -> None:
        lib.ring_write(ring, data, length)
        lib.ring_drop(ring, length)

    def place_and_extend(length: int) -> None:
        lib.ring_place(ring, 0, data, length)
        lib.ring_extend(ring, length)
        lib.ring_drop(ring, length)

    def reserve_and_release() -> None:
        small = ffi.new("struct ring *")
        lib.ring_reserve(small, 4096, 0)
        lib.ring_release(small)

    for length in (100, 1448, 65536):
        yield Case(f"ring_write, ring_read {length} B", partial(write_and_read, length), 2, length)
    yield Case("ring_write, ring_drop 1448 B", partial(write_and_drop, 1448), 2, 1448)
    yield Case("ring_place, ring_extend, ring_drop 1448 B", partial(place_and_extend, 1448), 3, 1448)
    yield Case("ring_reserve, ring_release 4096 B", reserve_and_release, 2)
    lib.ring_write(ring, data, 65536)
    yield Case("ring_peek 1448 B", partial(lib.ring_peek, ring, 1000, data, 1448), size=1448)


def burst_cases() -> Iterator[Case]:
    """burst.h."""
    burst, source, packet = new_burst(), new_burst(bytes(1500)), octets(bytes(1500))
    partly = new_burst(segment(4, 1448))
    partly.frames[0].checksum_start, partly.frames[0].checksum_offset = 20, 16

    def append() -> None:
        lib.burst_clear(burst)
        lib.burst_append(burst, packet, 1500)

    def append_frame() -> None:
        lib.burst_clear(burst)
        lib.burst_append_frame(burst, source, 0)

    def reserve_and_drop() -> None:
        lib.burst_reserve(burst, 100)
        lib.burst_drop(burst, 1)

    def complete() -> None:
        partly.frames[0].flags = lib.FRAME_NEEDS_CHECKSUM
        lib.burst_complete_checksum(partly, 0)

    yield Case("burst_fits", partial(lib.burst_fits, burst, 1500))
    yield Case("burst_fits_all", partial(lib.burst_fits_all, burst, 40, 60_000))
    yield Case("burst_clear, burst_append 1500 B", append, 2, 1500)
    yield Case("burst_clear, burst_append_frame 1500 B", append_frame, 2, 1500)
    lib.burst_clear(burst)
    yield Case("burst_reserve, burst_drop", reserve_and_drop, 2)
    yield Case("burst_complete_checksum 1500 B", complete, size=1500)
    yield Case("burst_new, burst_free", lambda: lib.burst_free(lib.burst_new(lib.BURST_BYTES)), 2)


def siphash_cases() -> Iterator[Case]:
    """siphash.h."""
    key, data = octets(bytes(16)), octets(bytes(40))
    yield Case("siphash 40 B", partial(lib.siphash, key, data, 40), size=40)
    yield Case("siphash13 40 B", partial(lib.siphash13, key, data, 40), size=40)


def flow_table_cases() -> Iterator[Case]:
    """flow_table.h: with few flows and with many."""
    for count in (10, 100_000):
        table = ffi.gc(lib.flow_table_new(bytes(16)), lib.flow_table_free)
        for number in range(count):
            lib.flow_table_insert(table, flow_key(4 if number < 60_000 else 6, 6, number % 60_000), 3, 0, ffi.NULL)
        there, absent = flow_key(4, 6, 7), flow_key(4, 17, 7)
        yield Case(f"flow_table_find of {count:,}", partial(lib.flow_table_find, table, there))
        yield Case(f"flow_table_find, none of {count:,}", partial(lib.flow_table_find, table, absent))
        yield Case(f"flow_table_insert, flow_table_remove of {count:,}", partial(insert_and_remove, table, absent), 2)
    address = octets(LOCAL[4])
    yield Case("flow_key_fill", partial(lib.flow_key_fill, there, 6, 4, address, 1, address, 2))
    yield Case(
        "flow_table_new, flow_table_free", lambda: lib.flow_table_free(lib.flow_table_new(bytes(16))), 2
    )  # fmt: skip


def insert_and_remove(table: Any, key: Any) -> None:
    """Leaves the table as it was."""
    lib.flow_table_insert(table, key, 3, 0, ffi.NULL)
    lib.flow_table_remove(table, key)


def datagram_queue_cases() -> Iterator[Case]:
    """datagram_queue.h."""
    queue = ffi.new("struct datagram_queue *", {"limit": 1 << 20})
    queue = ffi.gc(queue, lib.datagram_queue_release)
    data = ffi.new("uint8_t[]", 65536)

    def push_and_take(described: Any, length: int) -> None:
        lib.datagram_queue_push(queue, described, data)
        lib.datagram_queue_first(queue, described)
        lib.datagram_queue_peek(queue, data, length)
        lib.datagram_queue_pop(queue)

    for length in (0, 1000, 65000):
        described = ffi.new("struct datagram *", {"length": length})
        name = f"datagram_queue_push, first, peek, pop {length} B"
        yield Case(name, partial(push_and_take, described, length), 4, length)


def ranges_cases() -> Iterator[Case]:
    """ranges.h: every second range, then those between."""
    ranges = ffi.gc(ffi.new("struct ranges *"), lib.ranges_release)

    def fill_and_join() -> None:
        for start in range(0, 1000, 10):
            lib.ranges_add(ranges, start, start + 5, 45, 256)
        for start in range(5, 1000, 10):
            lib.ranges_add(ranges, start, start + 5, 45, 256)
        lib.ranges_advance(ranges, 0)

    yield Case("ranges_add, up to 100 ranges", fill_and_join, 201)
    yield Case("ranges_span", partial(lib.ranges_span, ranges, 0))


def sent_queue_cases() -> Iterator[Case]:
    """sent_queue.h."""
    queue = ffi.gc(ffi.new("struct sent_queue *"), lib.sent_queue_release)
    entry, result = ffi.new("struct sent_segment *"), ffi.new("struct sent_acknowledged *")

    def push(count: int) -> None:
        for number in range(count):
            entry.seq, entry.end = number * 1000, number * 1000 + 1000
            lib.sent_queue_push(queue, entry)

    def push_and_acknowledge(count: int) -> None:
        push(count)
        lib.sent_queue_acknowledge(queue, count * 1000, result)

    def sack_and_lose() -> None:
        lib.sent_queue_mark_sacked(queue, 500_000, 600_000, result)
        lib.sent_queue_mark_lost(queue, 0, 1_000_000)
        lib.sent_queue_mark_all_lost(queue, 1)

    def split_and_release() -> None:
        push(1000)
        for seq in range(500, 1_000_000, 1000):
            lib.sent_queue_split(queue, seq)
        lib.sent_queue_release(queue)

    yield Case("sent_queue_push, acknowledge 1 at a time", partial(push_and_acknowledge, 1), 2)
    yield Case("sent_queue_push, acknowledge 1000 at a time (each entry)", partial(push_and_acknowledge, 1000), 1000)
    yield Case("sent_queue_push, split 1000 (each entry)", split_and_release, 1000)
    push(1000)
    yield Case("sent_queue_at", partial(lib.sent_queue_at, queue, 500))
    yield Case("sent_queue_find of 1000", partial(lib.sent_queue_find, queue, 123_456))
    yield Case("sent_queue_mark_sacked 100, mark_lost 900, mark_all_lost (all three)", sack_and_lose)
    yield Case("sent_queue_next_lost", partial(lib.sent_queue_next_lost, queue, 0))
    yield Case("sent_queue_retransmitted", partial(lib.sent_queue_retransmitted, queue, 0, 1))


def packet_cases() -> Iterator[Case]:
    """packet.h."""
    packet = ffi.new("struct packet *")
    for version in (4, 6):
        for length in (0, 1448):
            frame = segment(version, length)
            for name, flags in (("", 0), (", vouched for", lib.FRAME_DATA_VALID)):
                run = partial(lib.packet_describe, octets(frame), len(frame), flags, 0, packet)
                yield Case(f"packet_describe TCP over IPv{version}, {length} B{name}", run, size=len(frame))
        frame = datagram(version, 100)
        run = partial(lib.packet_describe, octets(frame), len(frame), 0, 0, packet)
        yield Case(f"packet_describe UDP over IPv{version}, 100 B", run, size=len(frame))


def segment_cases() -> Iterator[Case]:
    """segment.h and tcb.h."""
    options = octets(TIMESTAMPS)

    def build(burst: Any, tcb: Any, length: int) -> None:
        burst.count = burst.used = 0
        lib.segment_build(burst, tcb, 0, 0, tcp.ACK, 1000, 0, options, 12, length)

    def cut(burst: Any, frame: Any, length: int) -> None:
        burst.count = burst.used = 0
        lib.segment_cut(burst, frame, length, 1448)

    for version in (4, 6):
        tcb = new_tcb(version, 60_000)
        for name, offload, length in (
            ("ACK", 0, 0), ("1448 B", 0, 1448), ("60,000 B cut to the MSS", 0, 60_000),
            ("60,000 B with TSO", EVERY_OFFLOAD, 60_000),
        ):  # fmt: skip
            run = partial(build, new_burst(offload=offload), tcb, length)
            yield Case(f"segment_build IPv{version}, {name}", run, size=length)
        frame = segment(version, 60_000)
        run = partial(cut, new_burst(), octets(frame), len(frame))
        yield Case(f"segment_cut IPv{version}, 60,000 B", run, size=60_000)
    yield Case("tcb_new, tcb_free", lambda: lib.tcb_free(lib.tcb_new()), 2)


def device_cases() -> Iterator[Case]:
    """Over a pair of sockets, whose system calls cost about as much as those of a TUN device."""
    for length in (100, 1500, 60_000):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (ours, theirs):
            end.setblocking(False)
        source, target = new_burst(bytes(length), offload=EVERY_OFFLOAD), new_burst()
        yield Case(
            f"device_write, device_read {length} B", partial(write_and_read_device, ours, theirs, source, target),
            2, length,
        )  # fmt: skip


def write_and_read_device(ours: socket.socket, theirs: socket.socket, source: Any, target: Any) -> None:
    """One frame through the kernel."""
    lib.device_write(ours.fileno(), source, 1, 0)
    lib.burst_clear(target)
    lib.device_read(theirs.fileno(), target, 1, 1)


def fast_path_cases() -> Iterator[Case]:
    """64 frames in order, as a busy connection's burst has them."""
    flows = ffi.gc(lib.flow_table_new(bytes(16)), lib.flow_table_free)
    path = ffi.new("struct fast_path *", {"flows": flows})
    tcb = new_tcb(4, 0)
    tcb.timestamps, tcb.advmss, tcb.rcv_mss, tcb.interface = 1, 1448, 1448, 1
    queue = ffi.gc(ffi.new("struct datagram_queue *", {"limit": 1 << 20}), lib.datagram_queue_release)
    lib.flow_table_insert(flows, flow_key(4, 6, 1234), lib.FLOW_TCP, 1, tcb)
    lib.flow_table_insert(flows, flow_key(4, 17, 1234), lib.FLOW_UDP, 2, queue)
    segments = new_burst(*[segment(4, 1448, number * 1448) for number in range(64)])
    datagrams = new_burst(*[datagram(4, 100)] * 64)

    def take_segments() -> None:
        lib.held_segments_release(ffi.addressof(tcb, "held"))
        tcb.rcv_nxt = tcb.rcv_ring.length = tcb.rcv_ring.head = path.touched_count = tcb.touched = 0
        taken = lib.fast_path_receive(path, segments, 0, 1, 1)
        assert taken == 64, "the fast path takes segments in order"

    def take_datagrams() -> None:
        queue.ring.length = queue.count = path.touched_count = queue.touched = 0
        taken = lib.fast_path_receive(path, datagrams, 0, 1, 1)
        assert taken == 64, "the fast path takes datagrams of a flow"

    yield Case("fast_path_receive, each of 64 segments of 1448 B", take_segments, 64, 64 * 1448)
    yield Case("fast_path_receive, each of 64 datagrams of 100 B", take_datagrams, 64, 64 * 100)


def cases() -> Iterator[Case]:
    """Every row, made when it is due."""
    yield Case("(a call and the loop around it)", partial(lib.burst_fits, new_burst(), 0))
    for group in (
        checksum_cases, ring_cases, burst_cases, siphash_cases, flow_table_cases, datagram_queue_cases, ranges_cases,
        sent_queue_cases, packet_cases, segment_cases, device_cases, fast_path_cases,
    ):  # fmt: skip
        yield from group()


def table_of(results: list[Result]) -> Table:
    """The results for a person."""
    table = Table(title="Native functions, called from Python", title_justify="left")
    table.add_column("function")
    table.add_column("ns a call", justify="right")
    table.add_column("GB/s", justify="right")
    for result in results:
        speed = "" if result.gigabytes_per_second is None else f"{result.gigabytes_per_second:.2f}"
        table.add_row(result.name, f"{result.ns:,.0f}", speed)
    return table


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="What a call of each native function costs, as Python calls it.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="measure only rows with one of these in their names")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--seconds", type=float, default=0.1, help="time for each row (0.1)")
    arguments = parser.parse_args()
    wanted = (case for case in cases() if not arguments.words or any(word in case.name for word in arguments.words))
    results = [measure(case, arguments.seconds) for case in wanted]
    if arguments.json:
        rows = [{"name": r.name, "ns": r.ns, "gigabytes_per_second": r.gigabytes_per_second} for r in results]
        print(json.dumps(rows, indent=2))
    else:
        Console().print(table_of(results))


if __name__ == "__main__":
    main()

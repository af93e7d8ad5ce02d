"""native/src/fast_path.c: what it takes, and that it writes nothing for what it hands back.

That it does what Python does is proved by verify mode in the simulator's tests.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.octets import exact
from ustack.native import ffi, lib
from ustack.wire import ipv4, tcp, udp

LOCAL, REMOTE = bytes([10, 9, 0, 2]), bytes([10, 9, 0, 1])
NOW = 5_000_000_000


class Path:
    """A fast path with its flow table, and a burst to receive."""

    def __init__(self) -> None:
        self.flows = ffi.gc(lib.flow_table_new(exact(bytes(16))), lib.flow_table_free)
        self.cdata = ffi.new("struct fast_path *", {"flows": self.flows})
        self.burst = ffi.gc(lib.burst_new(1 << 20), lib.burst_free)

    def add_flow(self, protocol: int, kind: int, handle: int, target: Any) -> None:
        key = ffi.new("struct flow_key *")
        lib.flow_key_fill(key, protocol, 4, exact(LOCAL), 80, exact(REMOTE), 1234)
        assert lib.flow_table_insert(self.flows, key, kind, handle, target) == 0

    def receive(self, *packets: bytes) -> int:
        lib.burst_clear(self.burst)
        for packet in packets:
            assert lib.burst_append(self.burst, packet, len(packet)) == 0
        taken: int = lib.fast_path_receive(self.cdata, self.burst, 0, 2, NOW)
        return taken

    def touched(self) -> list[int]:
        return list(self.cdata.touched[0 : self.cdata.touched_count])


def datagram(payload: bytes, source_port: int = 1234) -> bytes:
    header = udp.build(REMOTE, LOCAL, source_port, 80, payload)
    return ipv4.build(REMOTE, LOCAL, 17, len(header) + len(payload)) + header + payload


def segment(seq: int, payload: bytes, flags: int = tcp.ACK, options: bytes = b"") -> bytes:
    header = tcp.build(1234, 80, seq, 700, flags, 1000, payload=payload, options=options, pseudo=(REMOTE, LOCAL))
    return ipv4.build(REMOTE, LOCAL, 6, len(header) + len(payload)) + header + payload


@pytest.fixture
def path() -> Path:
    return Path()


@pytest.fixture
def tcb(path: Path) -> Any:
    """An established connection that expects sequence number 100."""
    made = ffi.gc(lib.tcb_new(), lib.tcb_free)
    made.state, made.handle, made.version = lib.TCP_ESTABLISHED, 9, 4
    made.rcv_nxt, made.rcv_wnd, made.snd_una, made.snd_nxt, made.snd_wnd = 100, 5000, 700, 700, 1000
    made.advmss, made.rcv_mss, made.rcv_buffer, made.interface = 1460, 1460, 1 << 17, 2
    made.rcv_scaling_ratio, made.rto_ns, made.last_ack_sent = 128, 10**9, 100
    lib.ring_reserve(ffi.addressof(made, "rcv_ring"), 8192, 0)
    path.add_flow(6, lib.FLOW_TCP, 9, made)
    return made


def test_packets_of_no_flow_and_of_python_flows_are_handed_back(path: Path) -> None:
    assert path.receive(datagram(b"unknown")) == 0
    path.add_flow(17, lib.FLOW_OTHER, 1, ffi.NULL)
    assert path.receive(datagram(b"Python's"), datagram(b"another")) == 0
    assert path.receive(b"no packet") == 0
    assert path.receive() == 0
    assert path.cdata.handed_back == 3
    assert path.touched() == []


def test_datagrams_of_a_flow_are_queued_up_to_the_first_of_another(path: Path) -> None:
    queue = ffi.new("struct datagram_queue *", {"limit": 10_000, "handle": 7})
    path.add_flow(17, lib.FLOW_UDP, 7, queue)
    assert path.receive(datagram(b"one"), datagram(b"two"), datagram(b"other", 999), datagram(b"three")) == 2
    assert (queue.count, path.cdata.udp_packets, path.touched()) == (2, 2, [7])
    first = ffi.new("struct datagram *")
    assert lib.datagram_queue_first(queue, first) == 0
    assert (bytes(first.source)[:4], first.source_port, first.interface, first.length) == (REMOTE, 1234, 2, 3)
    lib.datagram_queue_release(queue)


def test_data_in_order_is_taken(path: Path, tcb: Any) -> None:
    assert path.receive(segment(100, b"hello "), segment(106, b"world")) == 2
    received = ffi.new("uint8_t[11]")
    assert lib.ring_read(ffi.addressof(tcb, "rcv_ring"), received, 11) == 11
    assert bytes(received) == b"hello world"
    assert (tcb.rcv_nxt, tcb.rcv_wnd, tcb.ack_scheduled, path.touched()) == (111, 5000, 1, [9])


@pytest.mark.parametrize(
    "packet",
    [
        segment(101, b"out of order"),
        segment(99, b"old"),
        segment(100, b"x", tcp.ACK | tcp.FIN),
        segment(100, b"x", tcp.ACK | tcp.URG),
        segment(100, b"x", 0),
        segment(100, b"x", tcp.RST),
        segment(100, b""),
        segment(100, bytes(5001)),
        segment(100, b"x", options=b"\x02\x04\x05\xb4"),
        segment(100, b"x")[:-1] + b"y",
    ],
)
def test_nothing_is_written_for_a_segment_that_is_handed_back(path: Path, tcb: Any, packet: bytes) -> None:
    before = bytes(ffi.buffer(tcb))
    assert path.receive(packet) == 0
    assert bytes(ffi.buffer(tcb)) == before
    assert (path.touched(), path.cdata.tcp_packets) == ([], 0)


def test_a_segment_that_came_by_another_interface_is_handed_back(path: Path, tcb: Any) -> None:
    tcb.interface = 3
    assert path.receive(segment(100, b"x")) == 0


def test_one_reason_is_enough_to_hand_back(path: Path, tcb: Any) -> None:
    for bit in range(8):
        tcb.slow_path_reasons = 1 << bit
        assert path.receive(segment(100, b"x")) == 0
    tcb.slow_path_reasons = 0
    assert path.receive(segment(100, b"x")) == 1

"""native/src/device.c over a pair of sockets that keep message boundaries, as a TUN device does."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.native import ffi, lib

VNET_HEADER = struct.Struct("=BBHHHH")
EVERY_OFFLOAD = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6 | lib.OFFLOAD_USO
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[socket.SOCK_SEQPACKET, socket.SOCK_DGRAM], ids=["seqpacket", "dgram"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The device's end and ours, not blocking, with room for several frames of 64 KiB."""
    device, peer = socket.socketpair(socket.AF_UNIX, request.param)
    with device, peer:
        for end in (device, peer):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield device, peer


def new_burst(*packets: bytes, offload: int = EVERY_OFFLOAD, capacity: int = 1 << 20) -> Any:
    burst = ffi.gc(lib.burst_new(capacity), lib.burst_free)
    burst.offload = offload
    for packet in packets:
        assert lib.burst_append(burst, packet, len(packet)) == 0
    return burst


def frames(burst: Any) -> list[bytes]:
    described = (burst.frames[index] for index in range(burst.count))
    return [bytes(ffi.buffer(burst.data + frame.offset, frame.length)) for frame in described]


def offload_fields(frame: Any) -> tuple[int, ...]:
    return (
        frame.flags, frame.gso_type, frame.header_length, frame.gso_size, frame.checksum_start, frame.checksum_offset
    )  # fmt: skip


def test_frames_are_read_until_nothing_is_there(pair: Pair) -> None:
    device, peer = pair
    packets = [b"first", bytes(1500), b"third"]
    for packet in packets:
        peer.send(packet)
    burst = new_burst()
    assert lib.device_read(device.fileno(), burst, 0, 256) == 3
    assert frames(burst) == packets
    assert lib.device_read(device.fileno(), burst, 0, 256) == -errno.EAGAIN
    assert burst.count == 3


def test_no_more_frames_are_read_than_asked_for(pair: Pair) -> None:
    device, peer = pair
    for number in range(5):
        peer.send(bytes([number]))
    burst = new_burst(b"there before")
    assert lib.device_read(device.fileno(), burst, 0, 0) == 0
    assert lib.device_read(device.fileno(), burst, 0, 2) == 2
    assert lib.device_read(device.fileno(), burst, 0, 2) == 2
    assert frames(burst) == [b"there before", b"\0", b"\1", b"\2", b"\3"]
    assert lib.device_read(device.fileno(), burst, 0, 2) == 1


def test_reading_stops_while_the_largest_frame_still_fits(pair: Pair) -> None:
    device, peer = pair
    largest = bytes(range(256)) * 255 + bytes(255)
    burst = new_burst(capacity=2 * (lib.FRAME_MAX + lib.FRAME_HEADROOM))
    for packet in (largest, largest, b"third"):
        peer.send(packet)
    assert lib.device_read(device.fileno(), burst, 0, 256) == 2
    assert frames(burst) == [largest, largest]
    lib.burst_clear(burst)
    assert lib.device_read(device.fileno(), burst, 0, 256) == 1


def test_a_full_burst_takes_no_frame_but_leaves_it_to_be_read(pair: Pair) -> None:
    device, peer = pair
    peer.send(b"waits")
    burst = new_burst(*[b"x"] * lib.BURST_FRAMES)
    assert lib.device_read(device.fileno(), burst, 0, 256) == 0
    lib.burst_clear(burst)
    assert lib.device_read(device.fileno(), burst, 0, 256) == 1


def test_a_frame_longer_than_64_kib_is_cut_and_stays_in_its_place(pair: Pair) -> None:
    device, peer = pair
    peer.send(b"\xaa" * 70_000)
    peer.send(b"next")
    burst = new_burst()
    assert lib.device_read(device.fileno(), burst, 0, 256) == 2
    assert frames(burst) == [b"\xaa" * lib.FRAME_MAX, b"next"]


def test_a_closed_peer_is_a_device_that_is_gone() -> None:
    device, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with device:
        peer.send(b"last words")
        peer.close()
        burst = new_burst()
        assert lib.device_read(device.fileno(), burst, 0, 256) == 1
        assert lib.device_read(device.fileno(), burst, 0, 256) == -errno.ENODEV


def test_a_closed_descriptor_is_an_error_of_both() -> None:
    descriptor = os.open("/dev/null", os.O_RDWR)
    os.close(descriptor)
    assert lib.device_read(descriptor, new_burst(), 0, 256) == -errno.EBADF
    assert lib.device_write(descriptor, new_burst(b"x"), 0, 0) == -errno.EBADF


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ((0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0)),
        ((1, 0, 0, 0, 20, 16), (lib.FRAME_NEEDS_CHECKSUM, 0, 0, 0, 20, 16)),
        ((2, 0, 0, 0, 20, 16), (lib.FRAME_DATA_VALID, 0, 0, 0, 0, 0)),
        ((3, 0, 0, 0, 20, 16), (lib.FRAME_NEEDS_CHECKSUM, 0, 0, 0, 20, 16)),
        ((1, 1, 40, 1448, 20, 16), (lib.FRAME_NEEDS_CHECKSUM, lib.GSO_TCPV4, 40, 1448, 20, 16)),
        ((1, 0x81, 40, 1448, 20, 16), (lib.FRAME_NEEDS_CHECKSUM, lib.GSO_TCPV4, 40, 1448, 20, 16)),
        ((1, 4, 60, 1428, 40, 16), (lib.FRAME_NEEDS_CHECKSUM, lib.GSO_TCPV6, 60, 1428, 40, 16)),
        ((1, 5, 28, 1000, 20, 6), (lib.FRAME_NEEDS_CHECKSUM, lib.GSO_UDP_L4, 28, 1000, 20, 6)),
        ((0, 3, 28, 1000, 0, 0), (0, 0, 0, 0, 0, 0)),
        ((0, 0x7F, 28, 1000, 0, 0), (0, 0, 0, 0, 0, 0)),
        ((0, 1, 40, 0, 0, 0), (0, 0, 0, 0, 0, 0)),
        ((0, 1, 100, 10, 0, 0), (0, lib.GSO_TCPV4, 100, 10, 0, 0)),
        ((0, 1, 101, 10, 0, 0), (0, lib.GSO_TCPV4, 0, 10, 0, 0)),
        ((1, 0, 0, 0, 83, 16), (0, 0, 0, 0, 0, 0)),
        ((1, 0, 0, 0, 82, 16), (lib.FRAME_NEEDS_CHECKSUM, 0, 0, 0, 82, 16)),
        ((1, 0, 0, 0, 65535, 65535), (0, 0, 0, 0, 0, 0)),
        ((1, 0, 0, 0, 0, 99), (0, 0, 0, 0, 0, 0)),
        ((0xFC, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0)),
    ],
)
def test_what_a_vnet_header_says_is_taken_where_it_fits_the_frame(
    pair: Pair, header: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    device, peer = pair
    peer.send(VNET_HEADER.pack(*header) + b"\x45" * 100)
    burst = new_burst()
    assert lib.device_read(device.fileno(), burst, 1, 256) == 1
    assert frames(burst) == [b"\x45" * 100]
    assert offload_fields(burst.frames[0]) == expected


@given(st.binary(min_size=10, max_size=10), st.binary(max_size=60))
def test_no_vnet_header_points_outside_its_frame(header: bytes, packet: bytes) -> None:
    device, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with device, peer:
        peer.send(header + packet)
        burst = new_burst()
        assert lib.device_read(device.fileno(), burst, 1, 1) == 1
    assert frames(burst) == [packet]
    assert lib.burst_complete_checksum(burst, 0) == 0


def test_a_read_too_short_for_its_vnet_header_is_no_frame(pair: Pair) -> None:
    device, peer = pair
    peer.send(bytes(9))
    peer.send(bytes(10))
    peer.send(bytes(11))
    burst = new_burst()
    assert lib.device_read(device.fileno(), burst, 1, 256) == 2
    assert frames(burst) == [b"", b"\0"]


def test_frames_are_written_from_the_first_one_on(pair: Pair) -> None:
    device, peer = pair
    burst = new_burst(b"zero", b"one", bytes(lib.FRAME_MAX))
    assert lib.device_write(device.fileno(), burst, 0, 1) == 2
    assert [peer.recv(70_000) for _ in range(2)] == [b"one", bytes(lib.FRAME_MAX)]
    assert lib.device_write(device.fileno(), burst, 0, 3) == 0
    assert lib.device_write(device.fileno(), burst, 0, 2**32 - 1) == 0
    with pytest.raises(BlockingIOError):
        peer.recv(1)


def test_a_written_vnet_header_says_what_the_frame_says(pair: Pair) -> None:
    device, peer = pair
    burst = new_burst(b"plain", b"checksum" * 5, b"super-segment" * 5, b"vouched for")
    partial, super_segment, vouched = burst.frames[1], burst.frames[2], burst.frames[3]
    partial.flags, partial.checksum_start, partial.checksum_offset = lib.FRAME_NEEDS_CHECKSUM, 20, 16
    super_segment.flags, super_segment.checksum_start, super_segment.checksum_offset = 1, 40, 16
    super_segment.gso_type, super_segment.gso_size, super_segment.header_length = lib.GSO_TCPV6, 8, 60
    vouched.flags = lib.FRAME_DATA_VALID
    assert lib.device_write(device.fileno(), burst, 1, 0) == 4
    messages = [peer.recv(1000) for _ in range(4)]
    assert [VNET_HEADER.unpack(message[:10]) for message in messages] == [
        (0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 20, 16), (1, 4, 60, 8, 40, 16), (0, 0, 0, 0, 0, 0)
    ]  # fmt: skip
    assert [message[10:] for message in messages] == frames(burst)


def test_what_was_read_with_a_vnet_header_is_written_alike(pair: Pair) -> None:
    device, peer = pair
    message = VNET_HEADER.pack(1, 1, 40, 30, 20, 16) + bytes(range(200))
    peer.send(message)
    burst = new_burst()
    assert lib.device_read(device.fileno(), burst, 1, 256) == 1
    assert lib.device_write(device.fileno(), burst, 1, 0) == 1
    assert peer.recv(1000) == message


def needs(flags: int, gso_type: int) -> Callable[[Any], None]:
    def fill(frame: Any) -> None:
        frame.flags, frame.gso_type, frame.gso_size = flags, gso_type, 10

    return fill


@pytest.mark.parametrize(
    ("fill", "offload"),
    [
        (needs(lib.FRAME_NEEDS_CHECKSUM, 0), EVERY_OFFLOAD & ~lib.OFFLOAD_CHECKSUM),
        (needs(0, lib.GSO_TCPV4), EVERY_OFFLOAD & ~lib.OFFLOAD_TSO4),
        (needs(1, lib.GSO_TCPV6), EVERY_OFFLOAD & ~lib.OFFLOAD_TSO6),
        (needs(1, lib.GSO_UDP_L4), EVERY_OFFLOAD & ~lib.OFFLOAD_USO),
    ],
)
def test_a_frame_whose_offload_is_not_granted_is_refused_before_the_write(
    pair: Pair, fill: Callable[[Any], None], offload: int
) -> None:
    device, peer = pair
    burst = new_burst(b"plain", b"x" * 50, offload=offload)
    fill(burst.frames[1])
    assert lib.device_write(device.fileno(), burst, 1, 0) == 1
    assert lib.device_write(device.fileno(), burst, 1, 1) == -errno.EINVAL
    burst.offload = EVERY_OFFLOAD
    assert lib.device_write(device.fileno(), burst, 0, 1) == -errno.EINVAL
    assert lib.device_write(device.fileno(), burst, 1, 1) == 1
    assert [message[10:] for message in (peer.recv(100), peer.recv(100))] == [b"plain", b"x" * 50]


def test_a_full_device_takes_a_part_of_the_burst(pair: Pair) -> None:
    device, peer = pair
    device.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    packets = [bytes([number]) * 4000 for number in range(100)]
    burst = new_burst(*packets)
    written = lib.device_write(device.fileno(), burst, 0, 0)
    assert 0 < written < 100
    assert lib.device_write(device.fileno(), burst, 0, written) == -errno.EAGAIN
    assert [peer.recv(5000) for _ in range(written)] == packets[:written]
    assert lib.device_write(device.fileno(), burst, 0, written) > 0


def test_a_frame_that_the_device_refuses_ends_the_call_before_it(pair: Pair) -> None:
    device, _ = pair
    device.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    burst = new_burst(b"fits", bytes(65_000), b"behind")
    assert lib.device_write(device.fileno(), burst, 0, 0) == 1
    assert lib.device_write(device.fileno(), burst, 0, 1) == -errno.EMSGSIZE


INTERRUPTER = """
import os, signal, socket, sys

process, peer = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))

def wait_until_it_sleeps():
    while open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[0] != "S":
        pass

for _ in range(3):
    wait_until_it_sleeps()
    os.kill(process, signal.SIGUSR1)
wait_until_it_sleeps()
peer.send(b"in the end")
"""


def test_an_interrupted_read_is_taken_up_again() -> None:
    device, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    burst = new_burst()
    with device, peer:
        command = [sys.executable, "-c", INTERRUPTER, str(os.getpid()), str(peer.fileno())]
        with subprocess.Popen(command, pass_fds=[peer.fileno()]) as interrupter:
            taken = lib.device_read(device.fileno(), burst, 0, 1)
        assert interrupter.returncode == 0
    signal.signal(signal.SIGUSR1, before)
    assert taken == 1
    assert frames(burst) == [b"in the end"]

"""native/src/segment*.c against Linux, which cuts the same super-segments when it forwards them to a plain device."""

from __future__ import annotations

import select
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from tests.support.octets import exact, naive_sum, pseudo_header
from ustack.burst import Burst
from ustack.link.namespace import Namespace
from ustack.link.tun import TunDevice
from ustack.native import ffi, lib

LOCAL = {4: ip_address("10.9.1.2").packed, 6: ip_address("fd09:1::2").packed}
REMOTE = {4: ip_address("10.9.2.2").packed, 6: ip_address("fd09:2::2").packed}
FORWARDING = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
TTL_OFFSET = {4: 8, 6: 7}
ARRIVAL_SECONDS = 10.0

pytestmark = pytest.mark.interop


@dataclass(slots=True)
class Router:
    """A kernel between a device that cuts and one that does not."""

    entry: TunDevice
    exit: TunDevice

    def forward(self, burst: Burst, count: int) -> list[bytes]:
        """Send the burst in; the first `count` packets between the test's addresses that come out."""
        assert self.entry.write(burst, 0) == 1
        found: list[bytes] = []
        while len(found) < count:
            ready, _, _ = select.select([self.exit.fileno()], [], [], ARRIVAL_SECONDS)
            assert ready, f"{len(found)} of {count} packets came out"
            arrived = Burst()
            self.exit.read(arrived, 0)
            found += [bytes(frame) for frame in arrived.frames() if REMOTE[frame[0] >> 4] in bytes(frame[:40])]
        return found


@pytest.fixture(scope="module")
def router() -> Iterator[Router]:
    try:
        namespace = Namespace()
    except OSError as failure:
        pytest.skip(f"this machine grants no network namespace: {failure}")
    with namespace:
        try:
            entry = namespace.open_tun("entry", 1500, ("10.9.1.1/24", "fd09:1::1/64"))
        except OSError as failure:
            pytest.skip(f"this machine grants no TUN device: {failure}")
        exit_device = namespace.open_tun("exit", 1500, ("10.9.2.1/24", "fd09:2::1/64"), offload=False)
        assert namespace.run(["sh", "-c", FORWARDING]).wait() == 0
        yield Router(entry, exit_device)


def cut(frame: bytes, gso_size: int) -> list[bytes]:
    """What segment_cut makes of it one hop later."""
    version = frame[0] >> 4
    forwarded = bytearray(frame)
    forwarded[TTL_OFFSET[version]] -= 1
    burst = Burst()
    assert lib.segment_cut(burst.cdata, exact(bytes(forwarded)), len(forwarded), gso_size) == 0
    return [bytes(segment) for segment in burst.frames()]


def tcp_super_segment(version: int, flags: int, length: int, mss: int) -> Burst:
    tcb = ffi.gc(lib.tcb_new(), lib.tcb_free)
    tcb.version, tcb.ttl, tcb.ip_id, tcb.dont_fragment, tcb.flow_label = version, 64, 0xFFFE, 1, 0xABCDE
    tcb.traffic_class, tcb.local_port, tcb.remote_port, tcb.snd_mss = 2, 80, 1234, mss
    tcb.snd_ring_seq = 0xFFFFF000
    ffi.memmove(tcb.local_address, LOCAL[version], len(LOCAL[version]))
    ffi.memmove(tcb.remote_address, REMOTE[version], len(REMOTE[version]))
    data = bytes(index % 251 for index in range(length))
    lib.ring_reserve(ffi.addressof(tcb, "snd_ring"), length, 0)
    lib.ring_write(ffi.addressof(tcb, "snd_ring"), exact(data), length)
    burst = Burst()
    burst.cdata.offload = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6
    options = exact(b"\x01\x01\x08\x0a" + bytes(range(8)))
    assert lib.segment_build(burst.cdata, tcb, 0xFFFFF000, 77, flags, 500, 0, options, 12, length) == 0
    return burst


def udp_super_segment(version: int, length: int, size: int) -> Burst:
    total = 8 + length
    pseudo = naive_sum(pseudo_header(LOCAL[version], REMOTE[version], 17, total))
    udp = b"".join(field.to_bytes(2, "big") for field in (53, 5353, total, pseudo))
    if version == 4:
        header = bytes.fromhex("4500") + (20 + total).to_bytes(2, "big") + bytes.fromhex("fffe4000ff110000")
        header += LOCAL[4] + REMOTE[4]
        header = header[:10] + (0xFFFF - naive_sum(header)).to_bytes(2, "big") + header[12:]
    else:
        header = bytes.fromhex("60000000") + total.to_bytes(2, "big") + bytes.fromhex("11ff") + LOCAL[6] + REMOTE[6]
    burst = Burst()
    burst.cdata.offload = lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_USO
    assert burst.append(header + udp + bytes(index % 251 for index in range(length)))
    frame: Any = burst.cdata.frames[0]
    frame.flags, frame.checksum_start, frame.checksum_offset = lib.FRAME_NEEDS_CHECKSUM, len(header), 6
    frame.gso_type, frame.gso_size, frame.header_length = lib.GSO_UDP_L4, size, len(header) + 8
    return burst


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", [0x10, 0x18, 0x19, 0xD8])
@pytest.mark.parametrize(("length", "mss"), [(5500, 1000), (2897, 1448 - 20), (60_000, 1400)])
def test_linux_cuts_a_tcp_super_segment_to_the_same_bytes(
    router: Router, version: int, flags: int, length: int, mss: int
) -> None:
    burst = tcp_super_segment(version, flags, length, mss)
    expected = cut(bytes(burst.frame(0)), mss)
    assert router.forward(burst, len(expected)) == expected


@pytest.mark.parametrize("version", [4, 6])
def test_linux_completes_a_checksum_to_the_same_bytes(router: Router, version: int) -> None:
    burst = tcp_super_segment(version, 0x18, 1001, 1400)
    expected = cut(bytes(burst.frame(0)), 1400)
    assert router.forward(burst, 1) == expected


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("length", [2000, 10_001, 60_000])
def test_linux_cuts_a_udp_super_segment_to_the_same_bytes(router: Router, version: int, length: int) -> None:
    if not router.entry.offload & lib.OFFLOAD_USO:
        pytest.skip("this kernel has no UDP segmentation offload for TUN (Linux 6.2)")
    burst = udp_super_segment(version, length, 1000)
    expected = cut(bytes(burst.frame(0)), 1000)
    assert router.forward(burst, len(expected)) == expected

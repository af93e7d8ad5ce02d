"""The tap shows a capture exactly the packets that pass, whole and with complete checksums."""

import io

from tests.support.frames import FakeDevice, append_partial, append_super, burst_of, contents, tcp_packet, udp_packet
from ustack.burst import Burst
from ustack.link.device import ALL_OFFLOADS
from ustack.link.impairment import Impairment, ImpairmentProfile
from ustack.link.pcap_tap import PcapTap
from ustack.link.pipe import pipe
from ustack.observe.pcapng import CapturedPacket, PcapngWriter, read_capture


def tapped(device: FakeDevice) -> tuple[PcapTap, io.BytesIO]:
    stream = io.BytesIO()
    return PcapTap(device, PcapngWriter(stream)), stream


def captured(stream: io.BytesIO) -> list[CapturedPacket]:
    return list(read_capture(io.BytesIO(stream.getvalue())))


def test_it_shows_both_directions_with_time_and_interface() -> None:
    inner = FakeDevice()
    tap, stream = tapped(inner)
    inner.arriving = [b"in"]
    tap.write(burst_of(b"out"), 5)
    tap.read(Burst(), 7)
    assert captured(stream) == [
        CapturedPacket(5, "fake", True, b"out", ""),
        CapturedPacket(7, "fake", False, b"in", ""),
    ]


def test_frames_that_were_in_the_burst_before_are_not_shown() -> None:
    inner = FakeDevice()
    tap, stream = tapped(inner)
    inner.arriving = [b"new"]
    burst = burst_of(b"old")
    assert tap.read(burst, 0) == 1
    assert contents(burst) == [b"old", b"new"]
    assert [packet.packet for packet in captured(stream)] == [b"new"]


def test_frames_that_the_device_does_not_take_are_shown_when_it_does() -> None:
    inner = FakeDevice(room=1)
    tap, stream = tapped(inner)
    burst = burst_of(b"1", b"2")
    assert tap.write(burst, 0) == 1
    burst.drop(1)
    assert tap.write(burst, 0) == 1
    assert [packet.packet for packet in captured(stream)] == [b"1", b"2"]


def test_a_partial_checksum_is_complete_in_the_capture_and_partial_on_the_wire() -> None:
    a, b = pipe(offload=ALL_OFFLOADS)
    stream = io.BytesIO()
    tap = PcapTap(a, PcapngWriter(stream))
    burst, received = Burst(), Burst()
    append_partial(burst, udp_packet(4, b"x"))
    append_super(burst, tcp_packet(6, bytes(5000)), 1000)
    tap.write(burst, 0)
    assert b.read(received, 0) == 2
    assert [received.cdata.frames[i].flags for i in range(2)] == [1, 1]
    assert [packet.packet for packet in captured(stream)] == [udp_packet(4, b"x"), tcp_packet(6, bytes(5000))]


def test_the_same_seed_gives_a_byte_identical_capture() -> None:
    def run(seed: int) -> bytes:
        a, b = pipe()
        stream = io.BytesIO()
        profile = ImpairmentProfile(
            loss=0.1, corruption=0.1, duplication=0.1, reordering=0.1, delay_ns=50, jitter_ns=30
        )
        tap = PcapTap(Impairment(a, seed, profile, profile), PcapngWriter(stream))
        for now in range(0, 3000, 10):
            b.write(burst_of(udp_packet(4, now.to_bytes(4, "big"))), now)
            tap.read(Burst(), now)
        return stream.getvalue()

    assert run(1) == run(1)
    assert run(1) != run(2)

"""Captures: read back by our reader, by scapy, and by tshark where it is installed."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from tests.support.frames import tcp_packet, udp_packet
from ustack.drops import DropReason
from ustack.observe.pcapng import CapturedPacket, PcapngWriter, read_capture
from ustack.trace import Verdict

captured_packets = st.builds(
    CapturedPacket,
    time_ns=st.integers(0, 2**62),
    interface=st.sampled_from(["tun0", "lo", "ä-ö", "x" * 70_000]),
    outbound=st.booleans(),
    packet=st.binary(max_size=100) | st.just(bytes(range(255)) * 257),
    comment=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
)


def capture(packets: list[CapturedPacket], epoch_ns: int = 0) -> bytes:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, epoch_ns)
    for packet in packets:
        writer.packet(packet.time_ns, packet.interface, packet.outbound, packet.packet, packet.comment)
    return stream.getvalue()


@given(st.lists(captured_packets, max_size=8))
def test_what_is_written_is_read_back(packets: list[CapturedPacket]) -> None:
    read = list(read_capture(io.BytesIO(capture(packets))))
    for packet in packets:
        packet.interface = packet.interface[:65_535]
    assert read == packets


@given(st.lists(captured_packets, max_size=5))
def test_the_same_packets_give_the_same_bytes(packets: list[CapturedPacket]) -> None:
    assert capture(packets) == capture(packets)


@given(st.lists(captured_packets, min_size=1, max_size=5))
def test_scapy_reads_the_same(packets: list[CapturedPacket]) -> None:
    reader = RawPcapNgReader(io.BytesIO(capture(packets)))
    for packet in packets:
        data, metadata = reader._read_packet()
        assert data == packet.packet
        assert (metadata.tshigh << 32 | metadata.tslow, metadata.tsresol) == (packet.time_ns, 10**9)
        assert metadata.linktype == 101
        assert metadata.direction == (2 if packet.outbound else 1)
        assert metadata.comments == ([packet.comment.encode()] if packet.comment else None)
    with pytest.raises(EOFError):
        reader._read_packet()


def test_a_verdict_becomes_the_comment() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    packet = udp_packet(4, b"x")
    writer.record(Verdict(1, "tun0", False, packet, None, "UDP socket 10.9.0.2:9, bound address"))
    writer.record(Verdict(2, "tun0", False, packet, DropReason.UDP_NO_PORT, "port 9"))
    writer.record(Verdict(3, "tun0", True, packet, DropReason.UDP_NO_PORT, ""))
    stream.seek(0)
    assert [read.comment for read in read_capture(stream)] == [
        "UDP socket 10.9.0.2:9, bound address",
        "dropped, UDP_NO_PORT: no socket is bound to the destination port (RFC 1122 §4.1.3.1): port 9",
        "dropped, UDP_NO_PORT: no socket is bound to the destination port (RFC 1122 §4.1.3.1)",
    ]


def test_the_epoch_moves_every_time() -> None:
    packet = CapturedPacket(5, "tun0", True, b"x", "")
    (read,) = read_capture(io.BytesIO(capture([packet], epoch_ns=1_700_000_000_000_000_000)))
    assert read.time_ns == 1_700_000_000_000_000_005


def test_a_comment_longer_than_an_option_is_cut_at_a_whole_character() -> None:
    packet = CapturedPacket(0, "tun0", True, b"x", "ä" * 40_000)
    (read,) = read_capture(io.BytesIO(capture([packet])))
    assert read.comment == "ä" * 32_767


@given(st.integers(1, 150))
def test_a_capture_that_is_cut_short_is_refused(missing: int) -> None:
    whole = capture([CapturedPacket(1, "tun0", True, bytes(100), "comment")])
    cut = whole[:-missing]
    with pytest.raises(ValueError, match=r"capture|cut short"):
        list(read_capture(io.BytesIO(cut)))


@given(st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_capture_are_refused_or_hold_no_packet(data: bytes) -> None:
    try:
        packets = list(read_capture(io.BytesIO(data)))
    except ValueError:
        return
    assert packets == []


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_it_without_complaint(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    packets = [
        CapturedPacket(1_000_000_001, "tun0", True, tcp_packet(4, b"first"), "why, ä"),
        CapturedPacket(1_000_000_003, "tun1", False, udp_packet(6, b"second"), ""),
    ]
    path.write_bytes(capture(packets))
    fields = ("frame.time_epoch", "frame.comment", "frame.interface_name", "frame.protocols", "frame.packet_flags")
    listed = [word for field in fields for word in ("-e", field)]
    shown = subprocess.run(
        ["tshark", "-r", path, "-T", "fields", *listed], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    first, second = (line.split("\t") for line in shown)
    assert first[0].startswith("1.000000001")
    assert first[1:4] == ["why, ä", "tun0", "raw:ip:tcp:data"]
    assert second[0].startswith("1.000000003")
    assert second[1:4] == ["", "tun1", "raw:ipv6:udp:data"]

"""The bridge to scapy and back."""

import sys

import pytest
from hypothesis import assume, given, settings

from tests.support.scapy_oracle import Raw, inet, inet6
from tests.support.wire_strategies import PACKETS
from ustack.wire import scapy_bridge

UDP4 = inet.IP(src="192.0.2.1", dst="192.0.2.2") / inet.UDP(sport=1, dport=2) / Raw(b"data")
UDP6 = inet6.IPv6(src="fd00::1", dst="fd00::2") / inet.UDP(sport=1, dport=2) / Raw(b"data")


@settings(max_examples=60)
@given(PACKETS)
def test_bytes_go_there_and_back_unchanged(packet: bytes) -> None:
    assume(packet[0] >> 4 == 6 or packet[9] != 2)  # scapy adds the router alert that RFC 3376 §4 asks of IGMP
    assert scapy_bridge.from_scapy(scapy_bridge.to_scapy(memoryview(packet))) == packet


@pytest.mark.parametrize("packet", [UDP4, UDP6], ids=["ipv4", "ipv6"])
def test_packets_go_there_and_back_unchanged(packet: object) -> None:
    back = scapy_bridge.to_scapy(scapy_bridge.from_scapy(packet))
    assert type(back) is type(packet)
    assert back[Raw].load == b"data"


def test_layers_below_ip_are_left_out() -> None:
    from scapy.layers.l2 import Ether

    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / UDP4
    assert scapy_bridge.from_scapy(frame) == bytes(UDP4)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x55hello"])
def test_bytes_that_are_not_ip_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="neither IPv4 nor IPv6"):
        scapy_bridge.to_scapy(data)


def test_a_packet_without_ip_is_refused() -> None:
    with pytest.raises(ValueError, match="neither an IP nor an IPv6 layer"):
        scapy_bridge.from_scapy(Raw(b"data"))


def test_without_scapy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scapy.layers.inet", None)
    with pytest.raises(ImportError, match=r"ustack\[scapy\]"):
        scapy_bridge.to_scapy(b"\x45")


def test_importing_the_bridge_does_not_import_scapy() -> None:
    import subprocess

    code = "import sys, ustack.wire.scapy_bridge; sys.exit('scapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

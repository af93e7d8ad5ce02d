"""Scapy as the oracle of TCP with all its options, and of UDP, over both versions of IP and in both directions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scapy_oracle import Raw, inet, inet6, recomputed
from tests.support.wire_strategies import ADDRESS_PAIR, FITTING_TCP_OPTIONS, LONG, OCTET, PAYLOAD, WORD
from ustack.address import format_address
from ustack.wire import ipv4, ipv6, tcp, tcp_options, udp
from ustack.wire.tcp_options import TcpOptions

IPV4 = bytes((192, 0, 2, 1)), bytes((198, 51, 100, 2))
IPV6 = bytes(15) + b"\x01", b"\x20" + bytes(14) + b"\x02"
FAMILIES = pytest.mark.parametrize("addresses", [IPV4, IPV6], ids=["ipv4", "ipv6"])
MD5 = bytes(range(16))
USER_TIMEOUT = 0x8005

TCP_OPTION_CASES: dict[str, tuple[list[Any], TcpOptions]] = {
    "mss": ([("MSS", 1460)], TcpOptions(mss=1460)),
    "window scale": ([("NOP", None), ("WScale", 14)], TcpOptions(window_scale=14)),
    "sack permitted": ([("SAckOK", b"")], TcpOptions(sack_permitted=True)),
    "one sack block": ([("SAck", (1, 2))], TcpOptions(sack_blocks=((1, 2),))),
    "two sack blocks": ([("SAck", (1, 2, 3, 2**32 - 1))], TcpOptions(sack_blocks=((1, 2), (3, 2**32 - 1)))),
    "three sack blocks": ([("SAck", tuple(range(6)))], TcpOptions(sack_blocks=((0, 1), (2, 3), (4, 5)))),
    "four sack blocks": ([("SAck", tuple(range(8)))], TcpOptions(sack_blocks=((0, 1), (2, 3), (4, 5), (6, 7)))),
    "timestamps": ([("Timestamp", (2**32 - 1, 7))], TcpOptions(timestamps=(2**32 - 1, 7))),
    "fast open request": ([("TFO", b"")], TcpOptions(fast_open_cookie=b"")),
    "fast open cookie": ([(34, b"8 bytes.")], TcpOptions(fast_open_cookie=b"8 bytes.")),
    "user timeout": ([("UTO", USER_TIMEOUT)], TcpOptions(user_timeout=USER_TIMEOUT)),
    "md5": ([("MD5", MD5)], TcpOptions(md5=MD5)),
    "unknown": ([(254, b"\xf9\x90")], TcpOptions(unknown=((254, b"\xf9\x90"),))),
    "a syn's": (
        [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)],
        TcpOptions(mss=1460, sack_permitted=True, timestamps=(1, 0), window_scale=7),
    ),
}


def scapy_ip(addresses: tuple[bytes, bytes]) -> Any:
    source, destination = (format_address(address) for address in addresses)
    layer = inet.IP if len(addresses[0]) == 4 else inet6.IPv6
    return layer(src=source, dst=destination)


def ip_packet(addresses: tuple[bytes, bytes], protocol: int, transport: bytes) -> bytes:
    build = ipv4.build if len(addresses[0]) == 4 else ipv6.build
    return build(*addresses, protocol, len(transport)) + transport


def transport_of(packet: bytes) -> bytes:
    return packet[20 if packet[0] >> 4 == 4 else 40 :]


def dissected(packet: bytes) -> Any:
    return inet.IP(packet) if packet[0] >> 4 == 4 else inet6.IPv6(packet)


@FAMILIES
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_oracle_does_compute_checksums_anew(addresses: tuple[bytes, bytes], kind: str) -> None:
    if kind == "tcp":
        packet = ip_packet(addresses, 6, tcp.build(1, 2, 3, 4, 5, 6))
    else:
        packet = ip_packet(addresses, 17, udp.build(*addresses, 1, 2, b"", checksum=False))
    assert recomputed(dissected(packet)) != packet


@settings(max_examples=60)
@given(ADDRESS_PAIR, st.tuples(WORD, WORD, LONG, LONG, st.integers(0, 7), st.integers(0, 511), WORD, WORD), PAYLOAD)
def test_tcp_of_scapy_parses_to_the_same_fields_and_checksum(
    addresses: tuple[bytes, bytes], fields: tuple[int, ...], payload: bytes
) -> None:
    names = "sport", "dport", "seq", "ack", "reserved", "flags", "window", "urgptr"
    values = dict(zip(names, fields, strict=True))
    segment = transport_of(bytes(scapy_ip(addresses) / inet.TCP(**values) / Raw(payload)))
    tcp.verify(memoryview(segment), *addresses)
    header = tcp.parse(memoryview(segment))
    assert (
        header.source_port, header.destination_port, header.seq, header.ack, header.reserved, header.flags,
        header.window, header.urgent_pointer,
    ) == fields  # fmt: skip
    assert segment[header.data_offset :] == payload


@settings(max_examples=60)
@given(ADDRESS_PAIR, st.tuples(WORD, WORD, LONG, LONG, OCTET, WORD), WORD, FITTING_TCP_OPTIONS, PAYLOAD)
def test_tcp_of_ours_dissects_to_the_same_fields_and_checksum(
    addresses: tuple[bytes, bytes], fields: tuple[int, ...], urgent: int, options: TcpOptions, payload: bytes
) -> None:
    raw = tcp_options.build(options)
    built = tcp.build(*fields, urgent_pointer=urgent, options=raw, payload=payload, pseudo=addresses)
    packet = ip_packet(addresses, 6, built + payload)
    layer = dissected(packet)[inet.TCP]
    assert (layer.sport, layer.dport, layer.seq, layer.ack, int(layer.flags), layer.window) == fields
    assert (layer.urgptr, layer.dataofs * 4, bytes(layer.payload)) == (urgent, len(built), payload)
    del layer.chksum
    layer.raw_packet_cache = None
    again = bytes(layer.underlayer)
    assert transport_of(again)[16:18] == built[16:18], "the checksum is not scapy's"


@FAMILIES
@pytest.mark.parametrize(("options", "expected"), TCP_OPTION_CASES.values(), ids=TCP_OPTION_CASES.keys())
def test_tcp_options_of_scapy_parse_to_the_same(
    addresses: tuple[bytes, bytes], options: list[Any], expected: TcpOptions
) -> None:
    segment = transport_of(bytes(scapy_ip(addresses) / inet.TCP(options=options)))
    tcp.verify(segment, *addresses)
    assert tcp_options.parse_options(tcp.parse(segment).options) == expected


@pytest.mark.parametrize(("options", "expected"), TCP_OPTION_CASES.values(), ids=TCP_OPTION_CASES.keys())
def test_tcp_options_of_ours_dissect_to_the_same(options: list[Any], expected: TcpOptions) -> None:
    built = tcp.build(1, 2, 3, 4, tcp.SYN, 5, options=tcp_options.build(expected), pseudo=IPV4)
    packet = inet.IP(ip_packet(IPV4, 6, built))
    padding = {"NOP", "EOL"}
    found = [option for option in packet[inet.TCP].options if option[0] not in padding]
    through_scapy = inet.TCP(bytes(inet.TCP(options=options))).options
    assert found == [option for option in through_scapy if option[0] not in padding]
    assert recomputed(packet) == ip_packet(IPV4, 6, built)


@settings(max_examples=60)
@given(ADDRESS_PAIR, WORD, WORD, PAYLOAD)
def test_udp_of_scapy_parses_to_the_same_fields_and_checksum(
    addresses: tuple[bytes, bytes], source: int, destination: int, payload: bytes
) -> None:
    data = transport_of(bytes(scapy_ip(addresses) / inet.UDP(sport=source, dport=destination) / Raw(payload)))
    udp.verify(memoryview(data), *addresses)
    header = udp.parse(memoryview(data))
    assert (header.source_port, header.destination_port, header.length) == (source, destination, 8 + len(payload))
    assert data == udp.build(*addresses, source, destination, payload) + payload


@settings(max_examples=60)
@given(ADDRESS_PAIR, WORD, WORD, PAYLOAD)
def test_udp_of_ours_dissects_to_the_same_fields_and_checksum(
    addresses: tuple[bytes, bytes], source: int, destination: int, payload: bytes
) -> None:
    data = udp.build(*addresses, source, destination, payload) + payload
    layer = dissected(ip_packet(addresses, 17, data))[inet.UDP]
    assert (layer.sport, layer.dport, layer.len) == (source, destination, len(data))
    layer.payload = Raw(payload)  # not what scapy takes the ports for
    del layer.chksum, layer.len
    layer.raw_packet_cache = None
    assert transport_of(bytes(layer.underlayer)) == data


def test_udp_without_checksum_dissects_to_none() -> None:
    packet = ip_packet(IPV4, 17, udp.build(*IPV4, 1, 2, b"x", checksum=False) + b"x")
    assert inet.IP(packet)[inet.UDP].chksum == 0

"""Scapy as the oracle of IPv4, IPv6 and extension headers, in both directions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scapy_oracle import Raw, inet, inet6, recomputed
from tests.support.wire_strategies import IPV4_ADDRESS, IPV6_ADDRESS, LONG, OCTET, WORD, ipv4_packets, ipv6_packets
from ustack.address import format_address, parse_address
from ustack.wire import ipv4, ipv6, ipv6_ext
from ustack.wire.ipv6_ext import FragmentHeader

SOURCE, DESTINATION = "192.0.2.1", "198.51.100.2"
SOURCE6, DESTINATION6 = "2001:db8::1", "2001:db8::2"
UNKNOWN_PROTOCOL = 253

IPV4_FIELDS = st.fixed_dictionaries(
    {
        "tos": OCTET,
        "id": WORD,
        "flags": st.integers(0, 3),
        "frag": st.integers(0, 0x1FFF),
        "ttl": OCTET,
        "src": IPV4_ADDRESS.map(format_address),
        "dst": IPV4_ADDRESS.map(format_address),
    }
)
IPV6_FIELDS = st.fixed_dictionaries(
    {
        "tc": OCTET,
        "fl": st.integers(0, 2**20 - 1),
        "hlim": OCTET,
        "src": IPV6_ADDRESS.map(format_address),
        "dst": IPV6_ADDRESS.map(format_address),
    }
)
IPV4_OPTION_CASES = {
    "no operation": ([inet.IPOption_NOP()] * 3, []),
    "end of list": ([inet.IPOption_EOL()], []),
    "record route": ([inet.IPOption_RR(pointer=8, routers=["10.0.0.1", "10.0.0.2"])], [(7, "080a0000010a000002")]),
    "loose source route": ([inet.IPOption_LSRR(routers=["10.0.0.1"])], [(131, "040a000001")]),
    "strict source route": ([inet.IPOption_SSRR(routers=["10.0.0.1"])], [(137, "040a000001")]),
    "timestamp": ([inet.IPOption_Timestamp(flg=0, timestamp=7)], [(68, "090000000007")]),
    "timestamp with address": (
        [inet.IPOption_Timestamp(flg=1, internet_address="10.0.0.1", timestamp=7)],
        [(68, "09010a00000100000007")],
    ),
    "router alert": ([inet.IPOption_Router_Alert()], [(148, "0000")]),
    "security": ([inet.IPOption_Security(security=0xABCD)], [(130, "abcd00000000787878")]),
    "stream id": ([inet.IPOption_Stream_Id(security=7)], [(136, "0007")]),
    "unknown": ([inet.IPOption(copy_flag=1, optclass=0, option=30, value=b"xyz")], [(158, "78797a")]),
    "several": ([inet.IPOption_NOP(), inet.IPOption_Router_Alert(), inet.IPOption_RR(routers=["1.2.3.4"])],
                [(148, "0000"), (7, "0401020304")]),
}  # fmt: skip


@settings(max_examples=60)
@given(IPV4_FIELDS, OCTET, st.binary(max_size=20))
def test_ipv4_of_scapy_parses_to_the_same_fields(fields: dict[str, Any], protocol: int, payload: bytes) -> None:
    data = bytes(inet.IP(proto=protocol, **fields) / Raw(payload))
    header = ipv4.parse(memoryview(data))
    assert (header.traffic_class, header.identification, header.ttl) == (fields["tos"], fields["id"], fields["ttl"])
    assert (header.dont_fragment, header.more_fragments) == (bool(fields["flags"] & 2), bool(fields["flags"] & 1))
    assert header.fragment_offset == fields["frag"] * 8
    assert (header.source, header.destination) == (parse_address(fields["src"]), parse_address(fields["dst"]))
    assert (header.protocol, header.total_length) == (protocol, len(data))


@settings(max_examples=60)
@given(ipv4_packets())
def test_ipv4_of_ours_dissects_to_the_same_fields_and_checksum(data: bytes) -> None:
    header = ipv4.parse(data)
    packet = inet.IP(data[: header.header_length])
    assert (packet.tos, packet.id, packet.ttl, packet.proto) == (
        header.traffic_class, header.identification, header.ttl, header.protocol,
    )  # fmt: skip
    assert (packet.ihl * 4, packet.len, packet.frag * 8) == (
        header.header_length, header.total_length, header.fragment_offset,
    )  # fmt: skip
    assert (header.dont_fragment, header.more_fragments) == (packet.flags.DF, packet.flags.MF)
    assert (packet.src, packet.dst) == (format_address(header.source), format_address(header.destination))
    del packet.chksum
    assert bytes(packet) == data[: header.header_length]


@pytest.mark.parametrize(("options", "expected"), IPV4_OPTION_CASES.values(), ids=IPV4_OPTION_CASES.keys())
def test_ipv4_options_of_scapy_parse_to_the_same(options: list[Any], expected: list[tuple[int, str]]) -> None:
    data = bytes(inet.IP(src=SOURCE, dst=DESTINATION, options=options) / Raw(b"data"))
    header = ipv4.parse(data)
    found = [(option.kind, option.data.hex()) for option in ipv4.parse_options(header.options)]
    assert found == expected
    assert data[header.header_length :] == b"data"


@pytest.mark.parametrize(("_options", "expected"), IPV4_OPTION_CASES.values(), ids=IPV4_OPTION_CASES.keys())
def test_ipv4_options_of_ours_dissect_to_the_same(_options: list[Any], expected: list[tuple[int, str]]) -> None:
    options = b"".join(ipv4.build_option(kind, bytes.fromhex(data)) for kind, data in expected)
    data = ipv4.build(parse_address(SOURCE), parse_address(DESTINATION), UNKNOWN_PROTOCOL, 0, options=options)
    packet = inet.IP(data)
    found = [bytes(option) for option in packet.options if option.option]
    assert b"".join(found) == options
    assert recomputed(packet) == data


@settings(max_examples=60)
@given(IPV6_FIELDS, st.sampled_from((50, 99, 132, 253)), st.binary(max_size=20))
def test_ipv6_of_scapy_parses_to_the_same_fields(fields: dict[str, Any], protocol: int, payload: bytes) -> None:
    data = bytes(inet6.IPv6(nh=protocol, **fields) / Raw(payload))
    header = ipv6.parse(memoryview(data))
    assert (header.traffic_class, header.flow_label, header.hop_limit) == (fields["tc"], fields["fl"], fields["hlim"])
    assert (header.source, header.destination) == (parse_address(fields["src"]), parse_address(fields["dst"]))
    assert (header.next_header, header.payload_length) == (protocol, len(payload))


@settings(max_examples=60)
@given(ipv6_packets())
def test_ipv6_of_ours_dissects_to_the_same_fields(data: bytes) -> None:
    header = ipv6.parse(data)
    packet = inet6.IPv6(data)
    assert (packet.tc, packet.fl, packet.plen, packet.nh, packet.hlim) == (
        header.traffic_class, header.flow_label, header.payload_length, header.next_header, header.hop_limit,
    )  # fmt: skip
    assert (packet.src, packet.dst) == (format_address(header.source), format_address(header.destination))


def scapy_chain(*headers: Any) -> tuple[bytes, ipv6_ext.ExtensionChain]:
    packet = inet6.IPv6(src=SOURCE6, dst=DESTINATION6)
    for header in headers:
        packet /= header
    data = bytes(packet / inet.UDP(sport=1, dport=2) / Raw(b"data"))
    return data, ipv6_ext.walk(data, ipv6.parse(data).next_header)


class TestExtensionHeadersOfScapy:
    def test_all_in_a_row_lead_to_the_upper_layer(self) -> None:
        data, chain = scapy_chain(
            inet6.IPv6ExtHdrHopByHop(options=[inet6.RouterAlert(value=3)]),
            inet6.IPv6ExtHdrDestOpt(options=[inet6.HBHOptUnknown(otype=0x1E, optdata=b"twelve bytes")]),
            inet6.IPv6ExtHdrRouting(addresses=[SOURCE6, DESTINATION6], segleft=0),
            inet6.IPv6ExtHdrSegmentRouting(addresses=[SOURCE6], segleft=0, lastentry=0),
            inet6.IPv6ExtHdrFragment(offset=0, m=0, id=7),
            inet6.IPv6ExtHdrDestOpt(),
        )
        assert chain.protocol == 17
        assert data[chain.offset :] == bytes(inet6.IPv6(data)[inet.UDP])
        assert [header.kind for header in chain.headers] == [0, 60, 43, 43, 44, 60]
        assert chain.router_alert == 3

    @settings(max_examples=40)
    @given(st.integers(0, 0x1FFF), st.booleans(), LONG)
    def test_fragment_headers_parse_to_the_same(self, units: int, more: bool, identification: int) -> None:
        _, chain = scapy_chain(inet6.IPv6ExtHdrFragment(offset=units, m=int(more), id=identification))
        assert chain.fragment == FragmentHeader(17, units * 8, more, identification)

    @pytest.mark.parametrize("size", range(10))
    def test_options_of_every_size_are_found(self, size: int) -> None:
        data, chain = scapy_chain(
            inet6.IPv6ExtHdrHopByHop(options=[inet6.HBHOptUnknown(otype=0x1E, optdata=bytes(size))])
        )
        (header,) = chain.headers
        found = ipv6_ext.parse_options(data, header.offset + 2, header.offset + header.length)
        assert [len(option.data) for option in found if option.kind == 0x1E] == [size]

    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            (inet6.Jumbo(jumboplen=70000), (0xC2, "00011170")),
            (inet6.HAO(hoa=SOURCE6), (0xC9, parse_address(SOURCE6).hex())),
            (inet6.RouterAlert(value=1), (5, "0001")),
            (inet6.PadN(optdata=b"\0\0"), (1, "0000")),
        ],
    )
    def test_known_options_are_read(self, option: Any, expected: tuple[int, str]) -> None:
        data = bytes(inet6.IPv6ExtHdrDestOpt(nh=59, options=[option]))
        found = [(entry.kind, entry.data.hex()) for entry in ipv6_ext.parse_options(data, 2, len(data))]
        assert expected in found


class TestExtensionHeadersOfOurs:
    @staticmethod
    def dissected(next_header: int, chain: bytes) -> Any:
        start = ipv6.build(parse_address(SOURCE6), parse_address(DESTINATION6), next_header, len(chain))
        packet = inet6.IPv6(start + chain)
        assert recomputed(packet) == start + chain
        return packet

    def test_hop_by_hop_options_dissect_to_the_same(self) -> None:
        options = [(5, b"\x00\x02"), (0x1E, b"abc"), (0, b""), (1, b"\0")]
        packet = self.dissected(0, ipv6_ext.build_hop_by_hop(59, options))
        header = packet[inet6.IPv6ExtHdrHopByHop]
        assert header.nh == 59
        assert header.options[0].value == 2
        assert [option.otype for option in header.options][: len(options)] == [kind for kind, _ in options]
        assert header.options[1].optdata == b"abc"

    def test_destination_options_dissect_to_the_same(self) -> None:
        packet = self.dissected(60, ipv6_ext.build_destination_options(59, [(0xC9, parse_address(SOURCE6))]))
        assert packet[inet6.IPv6ExtHdrDestOpt].options[0].hoa == SOURCE6

    def test_a_routing_header_dissects_to_the_same(self) -> None:
        addresses = parse_address(SOURCE6) + parse_address(DESTINATION6)
        packet = self.dissected(43, ipv6_ext.build_routing(59, 0, 2, bytes(4) + addresses))
        header = packet[inet6.IPv6ExtHdrRouting]
        assert (header.type, header.segleft, header.addresses) == (0, 2, [SOURCE6, DESTINATION6])

    @settings(max_examples=40)
    @given(st.integers(0, 0x1FFF), st.booleans(), LONG)
    def test_fragment_headers_dissect_to_the_same(self, units: int, more: bool, identification: int) -> None:
        packet = self.dissected(44, ipv6_ext.build_fragment(59, units * 8, more, identification))
        header = packet[inet6.IPv6ExtHdrFragment]
        assert (header.nh, header.offset, header.m, header.id) == (59, units, more, identification)

    @pytest.mark.parametrize("size", range(10))
    def test_the_padding_of_every_size_is_what_scapy_takes_for_padding(self, size: int) -> None:
        packet = self.dissected(60, ipv6_ext.build_destination_options(59, [(0x1E, bytes(size))]))
        first, *padding = packet[inet6.IPv6ExtHdrDestOpt].options
        assert len(first.optdata) == size
        assert {type(option) for option in padding} <= {inet6.Pad1, inet6.PadN}

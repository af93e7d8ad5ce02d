"""Scapy as the oracle of ICMP and ICMPv6 messages of every type, with what they quote, in both directions."""

from typing import Any

import pytest

from tests.support.scapy_oracle import Raw, inet, inet6, recomputed
from ustack.address import parse_address
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6
from ustack.wire.icmpv6 import Icmpv6Type

SOURCE, DESTINATION = "192.0.2.1", "198.51.100.2"
SOURCE6, DESTINATION6 = "2001:db8::1", "2001:db8::2"
ENDS = parse_address(SOURCE), parse_address(DESTINATION)
ENDS6 = parse_address(SOURCE6), parse_address(DESTINATION6)

QUOTED = bytes(inet.IP(src=DESTINATION, dst=SOURCE) / inet.UDP(sport=53, dport=99) / Raw(b"quoted"))
QUOTED_TCP = bytes(inet.IP(src=DESTINATION, dst=SOURCE) / inet.TCP(sport=80, dport=99, seq=7))[:28]
QUOTED6 = bytes(inet6.IPv6(src=DESTINATION6, dst=SOURCE6) / inet.UDP(sport=53, dport=99) / Raw(b"quoted"))

ERRORS = {
    **{f"unreachable code {code}": {"type": 3, "code": code} for code in range(16) if code != 4},
    "fragmentation needed": {"type": 3, "code": 4, "nexthopmtu": 1400},
    "source quench": {"type": 4},
    **{f"redirect code {code}": {"type": 5, "code": code, "gw": "192.0.2.9"} for code in range(4)},
    **{f"time exceeded code {code}": {"type": 11, "code": code} for code in range(2)},
    "parameter problem": {"type": 12, "ptr": 21},
    "option missing": {"type": 12, "code": 1},
}
QUERIES = {
    "echo reply": {"type": 0, "id": 7, "seq": 0xFFFF},
    "echo request": {"type": 8, "id": 0xABCD, "seq": 9},
    "router advertisement": {"type": 9},
    "router solicitation": {"type": 10},
    "timestamp": {"type": 13, "id": 1, "seq": 2, "ts_ori": 3, "ts_rx": 4, "ts_tx": 5},
    "timestamp reply": {"type": 14, "id": 1, "seq": 2, "ts_ori": 3, "ts_rx": 4, "ts_tx": 5},
    "information request": {"type": 15, "id": 1, "seq": 2},
    "address mask request": {"type": 17, "id": 1, "seq": 2, "addr_mask": "255.0.0.0"},
    "extended echo request": {"type": 42},
}


@pytest.mark.parametrize("fields", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("quoted", [QUOTED, QUOTED_TCP], ids=["udp", "cut tcp"])
def test_an_icmp_error_of_scapy_parses_to_the_same(fields: dict[str, Any], quoted: bytes) -> None:
    data = bytes(inet.IP(src=SOURCE, dst=DESTINATION) / inet.ICMP(**fields) / Raw(quoted))[20:]
    message = icmpv4.parse(memoryview(data))
    assert (message.type, message.code, message.is_error) == (fields["type"], fields.get("code", 0), True)
    assert message.quoted_packet == quoted
    assert ipv4.parse_quoted(message.quoted_packet).source == ENDS[1]
    if "nexthopmtu" in fields:
        assert message.mtu == fields["nexthopmtu"]
    if "ptr" in fields:
        assert message.pointer == fields["ptr"]
    if "gw" in fields:
        assert message.gateway == parse_address(fields["gw"])


@pytest.mark.parametrize("fields", QUERIES.values(), ids=QUERIES.keys())
def test_an_icmp_query_of_scapy_parses_to_the_same(fields: dict[str, Any]) -> None:
    data = bytes(inet.IP(src=SOURCE, dst=DESTINATION) / inet.ICMP(**fields) / Raw(b"some data"))[20:]
    message = icmpv4.parse(memoryview(data))
    assert (message.type, message.code, message.is_error) == (fields["type"], 0, False)
    assert bytes(message.body).endswith(b"some data")
    if "id" in fields:
        assert (message.identifier, message.sequence_number) == (fields["id"], fields["seq"])
    assert icmpv4.build(message.type, message.code, message.rest, message.body) == data


@pytest.mark.parametrize(
    ("built", "fields"),
    [
        (icmpv4.build_echo_request(7, 8, b"data"), {"type": 8, "code": 0, "id": 7, "seq": 8}),
        (icmpv4.build_echo_reply(7, 8, b"odd"), {"type": 0, "code": 0, "id": 7, "seq": 8}),
        (icmpv4.build_destination_unreachable(3, QUOTED), {"type": 3, "code": 3, "nexthopmtu": 0}),
        (icmpv4.build_destination_unreachable(4, QUOTED_TCP, 1280), {"type": 3, "code": 4, "nexthopmtu": 1280}),
        (icmpv4.build_time_exceeded(1, QUOTED), {"type": 11, "code": 1}),
        (icmpv4.build_parameter_problem(0, 20, QUOTED), {"type": 12, "code": 0, "ptr": 20}),
    ],
)
def test_an_icmp_message_of_ours_dissects_to_the_same_and_the_same_checksum(
    built: bytes, fields: dict[str, int]
) -> None:
    data = ipv4.build(*ENDS, 1, len(built)) + built
    packet = inet.IP(data)
    layer = packet[inet.ICMP]
    assert {name: getattr(layer, name) for name in fields} == fields
    assert recomputed(packet) == data
    if fields["type"] not in {0, 8}:
        assert (layer[inet.IPerror].src, layer[inet.IPerror].dst) == (DESTINATION, SOURCE)
        assert bytes(layer.payload) == built[8:]


def test_the_extensions_of_rfc_4884_by_scapy_are_not_taken_for_the_quote() -> None:
    extension = inet.ICMPExtension_Header() / inet.ICMPExtension_InterfaceInformation(has_mtu=1, mtu=1500)
    quoted = inet.IPerror(QUOTED)
    error = inet.ICMP(type=11, length=128 // 4, ext=extension)
    data = bytes(inet.IP(src=SOURCE, dst=DESTINATION) / error / quoted)[20:]
    message = icmpv4.parse(data)
    assert len(message.body) > 128
    assert message.quoted_packet == QUOTED + bytes(128 - len(QUOTED))


ERRORS6 = {
    **{f"unreachable code {code}": inet6.ICMPv6DestUnreach(code=code) for code in range(8)},
    "packet too big": inet6.ICMPv6PacketTooBig(mtu=70000),
    **{f"time exceeded code {code}": inet6.ICMPv6TimeExceeded(code=code) for code in range(2)},
    **{f"parameter problem code {code}": inet6.ICMPv6ParamProblem(code=code, ptr=48) for code in range(4)},
}
QUERIES6 = {
    "echo request": inet6.ICMPv6EchoRequest(id=7, seq=8, data=b"odd"),
    "echo reply": inet6.ICMPv6EchoReply(id=0xFFFF, seq=8, data=b"data"),
    "router solicitation": inet6.ICMPv6ND_RS(),
    "router advertisement": inet6.ICMPv6ND_RA(),
    "neighbor solicitation": inet6.ICMPv6ND_NS(tgt=SOURCE6),
    "neighbor advertisement": inet6.ICMPv6ND_NA(tgt=SOURCE6),
    "redirect": inet6.ICMPv6ND_Redirect(tgt=SOURCE6, dst=DESTINATION6),
}


def icmpv6_of(layer: Any) -> tuple[bytes, icmpv6.IcmpMessage]:
    data = bytes(inet6.IPv6(src=SOURCE6, dst=DESTINATION6) / layer)[40:]
    return data, icmpv6.parse(memoryview(data), *ENDS6)


@pytest.mark.parametrize("layer", ERRORS6.values(), ids=ERRORS6.keys())
def test_an_icmpv6_error_of_scapy_parses_to_the_same(layer: Any) -> None:
    _, message = icmpv6_of(layer.copy() / Raw(QUOTED6))
    assert (message.type, message.code, message.is_error) == (layer.type, layer.code, True)
    assert message.quoted_packet == QUOTED6
    assert ipv6.parse_quoted(message.quoted_packet).source == ENDS6[1]
    if message.type == Icmpv6Type.PACKET_TOO_BIG:
        assert message.mtu == layer.mtu
    if message.type == Icmpv6Type.PARAMETER_PROBLEM:
        assert message.pointer == layer.ptr


@pytest.mark.parametrize("layer", QUERIES6.values(), ids=QUERIES6.keys())
def test_an_icmpv6_query_of_scapy_parses_to_the_same(layer: Any) -> None:
    data, message = icmpv6_of(layer.copy())
    assert (message.type, message.code, message.is_error) == (layer.type, layer.code, False)
    assert icmpv6.build(*ENDS6, message.type, message.code, message.rest, message.body) == data
    if "id" in layer.fields:
        assert (message.identifier, message.sequence_number, message.body) == (layer.id, layer.seq, layer.data)


@pytest.mark.parametrize(
    ("built", "kind", "fields"),
    [
        (icmpv6.build_echo_request(*ENDS6, 7, 8, b"odd"), inet6.ICMPv6EchoRequest, {"id": 7, "seq": 8, "data": b"odd"}),
        (icmpv6.build_echo_reply(*ENDS6, 7, 8, b"data"), inet6.ICMPv6EchoReply, {"id": 7, "seq": 8, "data": b"data"}),
        (icmpv6.build_error(*ENDS6, 1, 4, QUOTED6), inet6.ICMPv6DestUnreach, {"code": 4}),
        (icmpv6.build_error(*ENDS6, 2, 0, QUOTED6, 1280), inet6.ICMPv6PacketTooBig, {"mtu": 1280}),
        (icmpv6.build_error(*ENDS6, 3, 1, QUOTED6), inet6.ICMPv6TimeExceeded, {"code": 1}),
        (icmpv6.build_error(*ENDS6, 4, 2, QUOTED6, 70000), inet6.ICMPv6ParamProblem, {"code": 2, "ptr": 70000}),
    ],
)
def test_an_icmpv6_message_of_ours_dissects_to_the_same_and_the_same_checksum(
    built: bytes, kind: Any, fields: dict[str, Any]
) -> None:
    data = ipv6.build(*ENDS6, 58, len(built)) + built
    packet = inet6.IPv6(data)
    assert {name: getattr(packet[kind], name) for name in fields} == fields
    assert recomputed(packet) == data
    if built[0] < 128:
        assert (packet[inet6.IPerror6].src, packet[inet6.IPerror6].dst) == (DESTINATION6, SOURCE6)

"""ICMP messages by the names that scripts have for their types and codes, and the packets that they quote."""

from __future__ import annotations

import struct

from ustack.constants import IPPROTO_TCP, IPPROTO_UDP
from ustack.packetdrill import packets
from ustack.packetdrill.flow import Flow
from ustack.packetdrill.packets import Endpoints, LivePacket
from ustack.packetdrill.problems import Failed
from ustack.packetdrill.script import IcmpSpec, TcpSpec, UdpSpec
from ustack.wire import ipv4, ipv6

_TYPES_4 = {
    "echo_reply": 0, "unreachable": 3, "source_quench": 4, "redirect": 5, "echo_request": 8, "time_exceeded": 11,
    "parameter_problem": 12, "timestamp_request": 13, "timestamp_reply": 14, "information_request": 15,
    "information_reply": 16, "address_mask_request": 17, "address_mask_reply": 18,
}  # fmt: skip
_CODES_4 = {
    "net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2, "port_unreachable": 3, "frag_needed": 4,
    "source_route_failed": 5, "net_unknown": 6, "host_unknown": 7, "source_host_isolated": 8, "net_prohibited": 9,
    "host_prohibited": 10, "net_unreachable_for_tos": 11, "host_unreachable_for_tos": 12, "packet_filtered": 13,
    "precedence_violation": 14, "precedence_cutoff": 15,
}  # fmt: skip
_TYPES_6 = {
    "unreachable": 1, "packet_too_big": 2, "time_exceeded": 3, "parameter_problem": 4, "echo_request": 128,
    "echo_reply": 129, "router_solicitation": 133, "router_advertisement": 134, "neighbor_solicitation": 135,
    "neighbor_advertisement": 136, "redirect": 137,
}  # fmt: skip
_CODES_6 = {
    "unreachable": {
        "net_unreachable": 0, "no_route": 0, "admin_prohibited": 1, "not_neighbour": 2, "address_unreachable": 3,
        "port_unreachable": 4,
    },
    "time_exceeded": {"exceeded_hop_limit": 0, "exceeded_frag_time": 1},
    "parameter_problem": {"header_field": 0, "unknown_next_header": 1, "unknown_option": 2},
}  # fmt: skip
_TCP_HEADER, _UDP_HEADER = 20, 8


def numbers(spec: IcmpSpec, version: int) -> tuple[int, int]:
    """Type and code.  Raises Failed for names that the IP version does not have."""
    kind = _numeric(spec.kind, "type_")
    if kind is None:
        kind = (_TYPES_4 if version == 4 else _TYPES_6).get(spec.kind)
    if kind is None:
        raise Failed(f"bad ICMP type {spec.kind}")
    if spec.code is None:
        return kind, 0
    code = _numeric(spec.code, "code_")
    if code is None:
        code = (_CODES_4 if version == 4 else _CODES_6.get(spec.kind, {})).get(spec.code)
    if code is None:
        raise Failed(f"bad ICMP code {spec.code}")
    return kind, code


def _numeric(text: str, prefix: str) -> int | None:
    digits = text.removeprefix(prefix)
    return int(digits) if digits != text and digits.isdigit() and int(digits) < 256 else None


def build(spec: IcmpSpec, inbound: Endpoints, flow: Flow, version: int) -> bytes:
    """An inbound message about a packet that the flow has sent."""
    kind, code = numbers(spec, version)
    live = LivePacket(0, "icmp", inbound, ttl=255, icmp_type=kind, icmp_code=code)
    rest = bytes(4)
    if spec.mtu is not None:
        rest = struct.pack("!HH", 0, spec.mtu & 0xFFFF) if version == 4 else struct.pack("!I", spec.mtu)
    elif spec.identifier:
        rest = struct.pack("!HH", spec.identifier, 0)
    return packets.build_icmp(live, rest, _quote(spec, inbound.reversed(), flow))


def _quote(spec: IcmpSpec, outbound: Endpoints, flow: Flow) -> bytes:
    """The IP header and the first 8 bytes of what the stack has sent; without a quotation, of any segment."""
    if spec.identifier:
        return b""
    quoted = spec.quoted or TcpSpec(0, 0, 0)
    ports = struct.pack("!HH", outbound.source_port, outbound.destination_port)
    if isinstance(quoted, UdpSpec):
        length = _UDP_HEADER + quoted.length
        return _quoted_ip(outbound, IPPROTO_UDP, length) + ports + struct.pack("!HH", length, 0)
    seq = flow.quoted_seq(quoted.seq)
    return _quoted_ip(outbound, IPPROTO_TCP, _TCP_HEADER + quoted.length) + ports + struct.pack("!I", seq)


def _quoted_ip(outbound: Endpoints, protocol: int, length: int) -> bytes:
    source, _, destination, _ = outbound
    if len(source) == 4:
        return ipv4.build(source, destination, protocol, length)
    return ipv6.build(source, destination, protocol, length)


def check(spec: IcmpSpec, actual: LivePacket) -> None:
    """Compare type and code of an outbound message.  Raises Failed."""
    if actual.kind != "icmp":
        raise Failed(f"expected: ICMP header vs actual: {actual.kind.upper()} header")
    expected = numbers(spec, actual.version)
    for name, wanted, found in (
        ("icmp_type", expected[0], actual.icmp_type), ("icmp_code", expected[1], actual.icmp_code),
    ):  # fmt: skip
        if wanted != found:
            raise Failed(f"live packet field {name}: expected: {wanted} vs actual: {found}")

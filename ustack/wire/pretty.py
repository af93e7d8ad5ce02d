"""Packets for people: one line as tcpdump has it, or a tree of headers and fields.

Both take any bytes whatever and never raise: `dissect` has read what can be read.
"""

from __future__ import annotations

from ustack.address import format_address, format_endpoint
from ustack.constants import IPPROTO_NONE
from ustack.drops import Drop
from ustack.wire import Buffer, icmpv4, icmpv6, igmp, mld, tcp, tcp_options, udp
from ustack.wire.dissect import Layer, Ports, dissect
from ustack.wire.igmp import IgmpMessage
from ustack.wire.ipv4 import Ipv4Header
from ustack.wire.ipv6 import Ipv6Header
from ustack.wire.ipv6_ext import ExtensionHeader, FragmentHeader
from ustack.wire.mld import MldMessage
from ustack.wire.pretty_tree import tree
from ustack.wire.pretty_words import (
    group_message_words,
    hex_words,
    icmp_values,
    icmp_words,
    protocol_words,
    tcp_flags,
    tcp_option_words,
)
from ustack.wire.tcp import TcpHeader
from ustack.wire.udp import UdpHeader

BYTES_SHOWN = 20
"""Of what is not even IP."""


def pretty(packet: Buffer) -> str:
    """One line: addresses, what the packet is, and in brackets why a receiver would drop it."""
    layers = dissect(packet)
    return _line(layers) + "".join(f" [{layer.name}: {layer.problem}]" for layer in layers if layer.problem)


def pretty_tree(packet: Buffer) -> list[str]:
    """One line a header, and below it, indented by four, one a field; data in hexadecimal."""
    return list(tree(dissect(packet)))


def _line(layers: list[Layer]) -> str:
    """The line of a packet, or of the start of one that an ICMP error quotes."""
    ip = layers[0].header
    if not isinstance(ip, Ipv4Header | Ipv6Header):
        return f"{len(layers[0].data)} bytes {hex_words(layers[0].data, BYTES_SHOWN)}".rstrip()
    top = next(layer for layer in reversed(layers) if layer.name != "Data")
    source, destination = format_address(ip.source), format_address(ip.destination)
    if isinstance(top.header, TcpHeader | UdpHeader | Ports):
        source = format_endpoint(ip.source, top.header.source_port)
        destination = format_endpoint(ip.destination, top.header.destination_port)
    length = len(layers[-1].data) if layers[-1].name == "Data" else 0
    name = "IP" if isinstance(ip, Ipv4Header) else "IP6"
    extensions = "".join(f"{layer.name}, " for layer in layers[1:] if isinstance(layer.header, ExtensionHeader))
    return f"{name} {source} > {destination}: {extensions}{_summary(layers, top, length)}{_fragment(layers)}"


def _summary(layers: list[Layer], top: Layer, length: int) -> str:
    """What the highest header says; `length` is that of the data behind it."""
    match top.header:
        case TcpHeader():
            return _tcp_line(top.header, length)
        case UdpHeader():
            return f"UDP, length {max(top.header.length - udp.HEADER_LENGTH, 0)}"
        case icmpv4.IcmpMessage() | icmpv6.IcmpMessage():
            return _icmp_line(top, top.header, length)
        case Ipv4Header() | Ipv6Header() | ExtensionHeader() | FragmentHeader():
            return f"{protocol_words(_protocol(layers))}, length {length}"
        case Ports() | None:
            return f"{top.name}, cut to {len(top.data)} bytes"
    return f"{top.name} {_group_line(top.header)}"


def _tcp_line(header: TcpHeader, length: int) -> str:
    """As tcpdump has it, with absolute sequence numbers."""
    words = [f"Flags [{tcp_flags(header.flags)}]"]
    if length:
        words.append(f"seq {header.seq}:{(header.seq + length) % 2**32}")
    elif header.flags & (tcp.SYN | tcp.FIN | tcp.RST):
        words.append(f"seq {header.seq}")
    if header.flags & tcp.ACK:
        words.append(f"ack {header.ack}")
    words.append(f"win {header.window}")
    if header.flags & tcp.URG:
        words.append(f"urg {header.urgent_pointer}")
    if header.options:
        words.append(f"options [{_tcp_options(header.options)}]")
    return ", ".join([*words, f"length {length}"])


def _tcp_options(options: bytes) -> str:
    try:
        return ",".join(tcp_option_words(tcp_options.parse_options(options)))
    except Drop:
        return options.hex()


def _icmp_line(layer: Layer, message: icmpv4.IcmpMessage | icmpv6.IcmpMessage, length: int) -> str:
    """Type, code and what the second word means; then the packet that it is about, or the length of its data."""
    type_words, code_words = icmp_words(message)
    words = [f"{layer.name} {type_words}", *([code_words] if code_words else [])]
    words += [f"{name} {value}" for name, value in icmp_values(message).items()]
    words.append(f"length {length}" if layer.quoted is None else f"about {_line(layer.quoted)}")
    return ", ".join(words)


def _group_line(message: IgmpMessage | MldMessage) -> str:
    """The kind of an IGMP or MLD message, and its group or groups."""
    if isinstance(message, igmp.MembershipReportV3 | mld.ListenerReportV2):
        groups = " ".join(format_address(record.group) for record in message.records)
        return f"{group_message_words(message)}, groups {groups or 'none'}"
    return f"{group_message_words(message)}, group {format_address(message.group)}"


def _protocol(layers: list[Layer]) -> int:
    """What the last of the IP headers says that the data is."""
    protocol = IPPROTO_NONE
    for layer in layers:
        match layer.header:
            case Ipv4Header():
                protocol = layer.header.protocol
            case Ipv6Header() | FragmentHeader():
                protocol = layer.header.next_header
            case ExtensionHeader():
                protocol = layer.data[0]
    return protocol


def _fragment(layers: list[Layer]) -> str:
    """Which part of its datagram a fragment is, as tcpdump has it: `id`, the offset in bytes, `+` if more follow."""
    for layer in layers:
        if isinstance(layer.header, FragmentHeader) or (
            isinstance(layer.header, Ipv4Header) and layer.header.is_fragment
        ):
            more = "+" if layer.header.more_fragments else ""
            return f", frag {layer.header.identification}@{layer.header.fragment_offset}{more}"
    return ""

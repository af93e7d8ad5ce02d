"""The tree of `pretty`: a line for each header, and below it one for each field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from ustack.address import format_address
from ustack.constants import IPPROTO_ROUTING
from ustack.drops import Drop
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6_ext, tcp_options
from ustack.wire.dissect import Header, Layer, Ports
from ustack.wire.group_record import GroupRecord, RecordType
from ustack.wire.ipv4 import Ipv4Header
from ustack.wire.ipv6 import Ipv6Header
from ustack.wire.ipv6_ext import ExtensionHeader, FragmentHeader
from ustack.wire.pretty_words import (
    IPV4_OPTION_NAMES,
    IPV6_OPTION_NAMES,
    group_message_words,
    hex_dump,
    hex_words,
    icmp_values,
    icmp_words,
    member_words,
    protocol_words,
    tcp_flags,
    tcp_option_words,
)
from ustack.wire.tcp import TcpHeader
from ustack.wire.udp import UdpHeader

INDENT = "    "
BYTES_SHOWN = 256
OPTION_BYTES_SHOWN = 40


def tree(layers: list[Layer]) -> Iterator[str]:
    """The lines of all layers; the packet that an ICMP error quotes is indented below it."""
    for layer in layers:
        if layer.name == "Data" and not layer.data and not layer.problem:
            continue
        yield f"{layer.name}, {len(layer.data)} bytes"
        if layer.problem:
            yield f"{INDENT}problem: {layer.problem}"
        for line in _body(layer):
            yield INDENT + line


def _body(layer: Layer) -> Iterator[str]:
    """The lines below a layer's name, not yet indented."""
    match layer.header:
        case None:
            yield from hex_dump(layer.data, BYTES_SHOWN)
        case ExtensionHeader():
            yield from _extension_fields(layer.header, layer.data)
        case icmpv4.IcmpMessage() | icmpv6.IcmpMessage():
            yield from _icmp_fields(layer.header)
        case Ipv4Header():
            yield from _fields(layer.header)
            yield from _ipv4_option_lines(layer.header.options)
        case TcpHeader():
            yield from _fields(layer.header)
            yield from _tcp_option_lines(layer.header.options)
        case Ipv6Header() | FragmentHeader() | UdpHeader() | Ports():
            yield from _fields(layer.header)
        case _:
            yield f"message: {group_message_words(layer.header)}"
            yield from _fields(layer.header)
    if layer.quoted is not None:
        yield "about:"
        for line in tree(layer.quoted):
            yield INDENT + line


def _fields(header: Header) -> Iterator[str]:
    """One line a field of a header's value, in the order of the wire, but for options and group records.

    The version of a group message is in its name.
    """
    for field in dataclasses.fields(header):
        value = getattr(header, field.name)
        if field.name == "records":
            yield from _record_lines(value)
        elif field.name not in {"options", "version"}:
            yield f"{field.name.replace('_', ' ')}: {_value_words(field.name, value)}"


_WORDS: dict[str, Callable[[int], str]] = {
    "traffic_class": "0x{:02x}".format,
    "flow_label": "0x{:05x}".format,
    "checksum": "0x{:04x}".format,
    "protocol": lambda value: f"{value} ({protocol_words(value)})",
    "next_header": lambda value: f"{value} ({protocol_words(value)})",
    "flags": lambda value: f"0x{value:02x} [{tcp_flags(value)}]",
}


def _value_words(name: str, value: int | bytes | tuple[bytes, ...]) -> str:
    """A field's value, by its name or else its type: all bytes are addresses."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return _WORDS.get(name, str)(value)
        case bytes():
            return format_address(value)
        case _:
            return ", ".join(format_address(address) for address in value) or "none"


def _record_lines(records: tuple[GroupRecord, ...]) -> Iterator[str]:
    for record in records:
        sources = _value_words("sources", record.sources)
        kind = member_words(RecordType, record.record_type)
        yield f"record: {kind}, group {format_address(record.group)}, sources {sources}"


def _ipv4_option_lines(options: bytes) -> Iterator[str]:
    try:
        for option in ipv4.parse_options(options):
            name = IPV4_OPTION_NAMES.get(option.kind, str(option.kind))
            yield f"option: {name} {option.data.hex()}".rstrip()
    except Drop:
        yield f"options: {options.hex()}"


def _tcp_option_lines(options: bytes) -> Iterator[str]:
    try:
        for words in tcp_option_words(tcp_options.parse_options(options)):
            yield f"option: {words.removeprefix('option ')}"
    except Drop:
        yield f"options: {options.hex()}"


def _icmp_fields(message: icmpv4.IcmpMessage | icmpv6.IcmpMessage) -> Iterator[str]:
    type_words, code_words = icmp_words(message)
    yield f"type: {message.type} ({type_words})"
    yield f"code: {message.code} ({code_words})" if code_words else f"code: {message.code}"
    yield f"checksum: 0x{message.checksum:04x}"
    values = icmp_values(message)
    yield from (f"{name}: {value}" for name, value in values.items())
    if not values:
        yield f"rest: {message.rest.hex()}"


def _extension_fields(header: ExtensionHeader, data: memoryview) -> Iterator[str]:
    yield f"next header: {_value_words('next_header', data[0])}"
    yield f"length: {header.length}"
    if header.kind == IPPROTO_ROUTING:
        yield f"routing type: {data[2]}"
        yield f"segments left: {data[3]}"
        yield f"data: {hex_words(data[4:], OPTION_BYTES_SHOWN)}"
        return
    try:
        for option in ipv6_ext.parse_options(data, 2, len(data)):
            name = IPV6_OPTION_NAMES.get(option.kind, f"0x{option.kind:02x}")
            yield f"option: {name} {hex_words(option.data, OPTION_BYTES_SHOWN)}".rstrip()
    except Drop as drop:
        yield f"options: {drop.detail}"

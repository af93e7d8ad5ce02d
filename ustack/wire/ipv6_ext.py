"""IPv6 extension headers.  RFC 8200 §4.

`walk` goes from the IPv6 header to the upper layer, and says what is wrong where it cannot.  Pointers and offsets count
from the start of the packet.  Read also RFC 5095 (type 0 routing header), RFC 6946 (atomic fragments), RFC 7112 (header
chain) and RFC 8504 §5.3 (limits).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ustack.constants import IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ROUTING
from ustack.drops import Drop, DropReason, ParameterProblem
from ustack.wire import Buffer, ipv6
from ustack.wire.icmpv6 import ParameterProblemCode

EXTENSION_HEADERS = frozenset((IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_DSTOPTS))
"""Those that `walk` goes over.  AH and ESP end the chain: they are protocols that nobody here handles."""
FRAGMENT_HEADER_LENGTH = 8
FRAGMENT_OFFSET_FIELD = 2

OPTION_PAD1 = 0
OPTION_PADN = 1
OPTION_TUNNEL_ENCAPSULATION_LIMIT = 4
OPTION_ROUTER_ALERT = 5
OPTION_JUMBO_PAYLOAD = 0xC2
OPTION_HOME_ADDRESS = 0xC9

ACTION_SKIP = 0
ACTION_DISCARD = 1
ACTION_REPORT = 2
ACTION_REPORT_UNLESS_MULTICAST = 3

ERRONEOUS_HEADER = ParameterProblemCode.ERRONEOUS_HEADER
UNRECOGNIZED_NEXT_HEADER = ParameterProblemCode.UNRECOGNIZED_NEXT_HEADER
UNRECOGNIZED_OPTION = ParameterProblemCode.UNRECOGNIZED_OPTION
INCOMPLETE_HEADER_CHAIN = ParameterProblemCode.INCOMPLETE_HEADER_CHAIN

_FRAGMENT = struct.Struct("!BBHI")
_MORE_FRAGMENTS = 1
_ROUTING_LENGTH = 4
_ROUTING_TYPE_OFFSET = 2
_KNOWN_OPTIONS = frozenset((OPTION_ROUTER_ALERT,))
_ROUTER_ALERT_LENGTH = 2


@dataclass(slots=True)
class FragmentHeader:
    """A fragment header; `fragment_offset` is in bytes.  RFC 8200 §4.5."""

    next_header: int
    fragment_offset: int
    more_fragments: bool
    identification: int

    @property
    def is_atomic(self) -> bool:
        """Whether the one fragment is the whole datagram.  RFC 6946 §2."""
        return not self.more_fragments and not self.fragment_offset


@dataclass(slots=True)
class ExtensionHeader:
    """Where one extension header lies: `named_at` is the offset of the next-header field that names it."""

    kind: int
    offset: int
    length: int
    named_at: int


@dataclass(slots=True)
class Ipv6Option:
    """An option of a hop-by-hop or destination options header, `offset` being that of its type byte."""

    kind: int
    data: bytes
    offset: int

    @property
    def action(self) -> int:
        """What a node that does not know the option does: ACTION_, its two highest bits.  RFC 8200 §4.2."""
        return self.kind >> 6


@dataclass(slots=True)
class ExtensionChain:
    """Where the walk ended: at the upper layer, or behind the fragment header of a packet that is not whole."""

    protocol: int
    """What is at `offset`."""
    offset: int
    named_at: int
    """Offset of the next-header field that holds `protocol`: the pointer of an "unrecognized next header"."""
    fragment: FragmentHeader | None = None
    headers: list[ExtensionHeader] = field(default_factory=list)
    router_alert: int | None = None
    """Value of the router alert option.  RFC 2711 §2.1."""

    @property
    def is_fragment(self) -> bool:
        """Whether other packets hold the rest: an atomic fragment is walked through, and is whole."""
        return self.fragment is not None and not self.fragment.is_atomic


def walk(
    packet: Buffer,
    next_header: int,
    offset: int = ipv6.HEADER_LENGTH,
    *,
    headers_limit: int = 8,
    options_limit: int = 8,
) -> ExtensionChain:
    """Go over the extension headers of a packet that ends where its payload length says.

    `next_header` is the IPv6 header's, `offset` where that header lies.  `headers_limit` bounds the headers,
    `options_limit` the unknown and padding options of each.  Raises `Drop`, or `ParameterProblem` where the source
    should hear of it.
    """
    chain = ExtensionChain(next_header, offset, ipv6.NEXT_HEADER_OFFSET)
    while chain.protocol in EXTENSION_HEADERS:
        if len(chain.headers) == headers_limit:
            raise Drop(DropReason.IPV6_TOO_MANY_EXTENSIONS, f"over {headers_limit} headers")
        _step(packet, chain, options_limit)
        if chain.is_fragment:
            break
    return chain


def check_first_fragment(packet: Buffer, chain: ExtensionChain, upper_layer_length: int = 1) -> None:
    """Raise unless a first fragment holds the whole header chain and `upper_layer_length` bytes more.

    RFC 7112 §5, RFC 8200 §4.5.  `chain` is what `walk` found in `packet`: it ends behind the fragment header.
    """
    protocol, offset = chain.protocol, chain.offset
    while protocol in EXTENSION_HEADERS and offset + 8 <= len(packet):
        length = FRAGMENT_HEADER_LENGTH if protocol == IPPROTO_FRAGMENT else (packet[offset + 1] + 1) * 8
        protocol, offset = packet[offset], offset + length
    if offset + upper_layer_length > len(packet):
        raise ParameterProblem(DropReason.FRAGMENT_HEADER_CHAIN, INCOMPLETE_HEADER_CHAIN, 0, f"{len(packet)} bytes")


def _step(packet: Buffer, chain: ExtensionChain, options_limit: int) -> None:
    """Check the header that `chain` stands at, and move `chain` behind it."""
    kind, offset = chain.protocol, chain.offset
    if kind == IPPROTO_HOPOPTS and (chain.headers or offset != ipv6.HEADER_LENGTH):
        detail = "hop-by-hop options are not first"
        raise ParameterProblem(DropReason.IPV6_EXTENSION, UNRECOGNIZED_NEXT_HEADER, chain.named_at, detail)
    length = header_length(packet, kind, offset)
    if kind == IPPROTO_FRAGMENT:
        chain.fragment = parse_fragment(packet, offset)
    elif kind == IPPROTO_ROUTING:
        check_routing(packet, offset)
    else:
        _check_options(packet, offset, length, chain, options_limit)
    chain.headers.append(ExtensionHeader(kind, offset, length, chain.named_at))
    chain.protocol, chain.offset, chain.named_at = packet[offset], offset + length, offset


def header_length(packet: Buffer, kind: int, offset: int) -> int:
    """The length in bytes of the extension header at `offset`, all of which is in the packet."""
    if offset + 8 > len(packet):
        raise Drop(DropReason.TRUNCATED, f"{len(packet) - offset} bytes of extension header {kind}")
    length = FRAGMENT_HEADER_LENGTH if kind == IPPROTO_FRAGMENT else (packet[offset + 1] + 1) * 8
    if offset + length > len(packet):
        raise Drop(DropReason.TRUNCATED, f"{len(packet) - offset} of {length} bytes of extension header {kind}")
    return length


def parse_fragment(packet: Buffer, offset: int) -> FragmentHeader:
    """The fragment header at `offset`.  RFC 8200 §4.5."""
    if offset + FRAGMENT_HEADER_LENGTH > len(packet):
        raise Drop(DropReason.TRUNCATED, f"{len(packet) - offset} bytes of a fragment header")
    next_header, _, word, identification = _FRAGMENT.unpack_from(packet, offset)
    return FragmentHeader(next_header, word & 0xFFF8, word & _MORE_FRAGMENTS != 0, identification)


def check_routing(packet: Buffer, offset: int) -> None:
    """Raise for segments left: every type is unknown here, type 0 because RFC 5095 §3 says so.  RFC 8200 §4.4."""
    routing_type, segments_left = packet[offset + 2], packet[offset + 3]
    if segments_left:
        reason = DropReason.IPV6_ROUTING_HEADER if routing_type else DropReason.IPV6_ROUTING_TYPE_0
        detail = f"type {routing_type}, {segments_left} segments left"
        raise ParameterProblem(reason, ERRONEOUS_HEADER, offset + _ROUTING_TYPE_OFFSET, detail)


def parse_options(packet: Buffer, start: int, end: int) -> Iterator[Ipv6Option]:
    """Every option between two offsets, padding too.  Raises `ParameterProblem` at one that does not fit.

    RFC 8200 §4.2.
    """
    position = start
    while position < end:
        kind = packet[position]
        if kind == OPTION_PAD1:
            yield Ipv6Option(kind, b"", position)
            position += 1
            continue
        length = packet[position + 1] if position + 1 < end else end
        if position + 2 + length > end:
            detail = f"option {kind} is longer than its header"
            raise ParameterProblem(DropReason.IPV6_EXTENSION, ERRONEOUS_HEADER, min(position + 1, end - 1), detail)
        yield Ipv6Option(kind, bytes(packet[position + 2 : position + 2 + length]), position)
        position += 2 + length


def _check_options(packet: Buffer, offset: int, length: int, chain: ExtensionChain, limit: int) -> None:
    """Act on every option of the header at `offset`."""
    others = 0
    for option in parse_options(packet, offset + 2, offset + length):
        if option.kind == OPTION_ROUTER_ALERT and len(option.data) == _ROUTER_ALERT_LENGTH:
            chain.router_alert = int.from_bytes(option.data, "big")
            continue
        others += 1
        if others > limit:
            raise Drop(DropReason.IPV6_TOO_MANY_EXTENSIONS, f"over {limit} options")
        _check_unknown(option)


def _check_unknown(option: Ipv6Option) -> None:
    """Do what the highest two bits of an unknown option's type ask for.  RFC 8200 §4.2; padding says to skip it."""
    action = option.action
    if action == ACTION_SKIP:
        return
    detail = f"option 0x{option.kind:02x}"
    if action == ACTION_DISCARD:
        raise Drop(DropReason.IPV6_OPTION_DISCARD, detail)
    unless_multicast = action == ACTION_REPORT_UNLESS_MULTICAST
    raise ParameterProblem(
        DropReason.IPV6_OPTION_REPORT,
        UNRECOGNIZED_OPTION,
        option.offset,
        detail,
        unless_multicast=unless_multicast,
    )


def build_fragment(next_header: int, fragment_offset: int, more_fragments: bool, identification: int) -> bytes:
    """A fragment header, 8 bytes; `fragment_offset` is in bytes."""
    assert fragment_offset % 8 == 0, "fragments start at a multiple of 8 bytes"
    return _FRAGMENT.pack(next_header, 0, fragment_offset | more_fragments, identification)


def build_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Options (type, data) in order, padded so that they fill a header behind its two bytes.  RFC 8200 §4.2."""
    block = b"".join(bytes((kind, len(data))) + data if kind != OPTION_PAD1 else b"\x00" for kind, data in options)
    missing = -(len(block) + 2) % 8
    if missing == 1:
        return block + b"\x00"
    return block + bytes((OPTION_PADN, missing - 2)) + bytes(missing - 2) if missing else block


def build_hop_by_hop(next_header: int, options: Iterable[tuple[int, bytes]]) -> bytes:
    """A hop-by-hop options header.  RFC 8200 §4.3."""
    return _build_header(next_header, build_options(options))


def build_destination_options(next_header: int, options: Iterable[tuple[int, bytes]]) -> bytes:
    """A destination options header.  RFC 8200 §4.6."""
    return _build_header(next_header, build_options(options))


def build_routing(next_header: int, routing_type: int, segments_left: int, data: bytes) -> bytes:
    """A routing header; `data` follows its first four bytes.  RFC 8200 §4.4."""
    return _build_header(next_header, bytes((routing_type, segments_left)) + data)


def _build_header(next_header: int, rest: bytes) -> bytes:
    assert (len(rest) + 2) % 8 == 0, "extension headers are a multiple of 8 bytes long"
    return bytes((next_header, (len(rest) + 2) // 8 - 1)) + rest

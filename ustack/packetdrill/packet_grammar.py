"""The grammar of packets: `> P. 1:1001(1000) ack 1 win 100 <nop,nop,TS val 1 ecr 2>`, UDP datagrams, ICMP messages."""

from __future__ import annotations

from dataclasses import replace

from ustack.packetdrill.cursor import Cursor
from ustack.packetdrill.lexer import FLOAT, INTEGER, WORD, Token
from ustack.packetdrill.option_grammar import parse_options
from ustack.packetdrill.script import (
    INBOUND,
    OUTBOUND,
    IcmpSpec,
    IpSpec,
    PacketSpec,
    TcpSpec,
    TosCheck,
    UdpSpec,
)
from ustack.sim.peer import parse_flags

_U8, _U16, _U20, _U32 = 0xFF, 0xFFFF, 0xFFFFF, 0xFFFFFFFF
_ECN = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
_LETTERS = "FSRPEWAU"
_ECN_LETTERS = frozenset("EWA")
_ENCAPSULATIONS = {"ipv4": "tunnels", "ipv6": "tunnels", "gre": "tunnels", "GREv0": "tunnels", "mpls": "MPLS labels"}
_PROTOCOLS = {"encap": "PSP packets", "sctp": "SCTP packets", "udplite": "UDP-Lite packets"}


def parse_packet(cursor: Cursor) -> PacketSpec:
    """A packet, from its `<` or `>` on."""
    direction = cursor.take().text
    if cursor.at_word(*_ENCAPSULATIONS):
        cursor.refuse(_ENCAPSULATIONS[cursor.token.text])
    if cursor.at("[") and cursor.following().kind == INTEGER:
        return PacketSpec(direction, IpSpec(), _icmp_with_quote_first(cursor))
    ip = _ip_spec(cursor, direction)
    if cursor.at_word(*_PROTOCOLS):
        cursor.refuse(_PROTOCOLS[cursor.token.text])
    if cursor.skip_word("udp"):
        return PacketSpec(direction, ip, _datagram(cursor))
    if cursor.skip_word("icmp"):
        return PacketSpec(direction, ip, _icmp(cursor))
    return PacketSpec(direction, ip, _segment(cursor, direction))


def _ip_spec(cursor: Cursor, direction: str) -> IpSpec:
    """`[ect0]`, `[tos 0x10, flowlabel 0x1]`, `[ttl 1]`, or nothing."""
    closing = {"[": "]", "(": ")"}.get(cursor.token.text)
    if closing is None:
        return IpSpec()
    cursor.take()
    check, traffic_class, label, ttl = TosCheck.NONE, 0, 0, 0
    while not cursor.skip(closing):
        cursor.skip(",")
        if cursor.at_word(*_ECN):
            check, traffic_class = TosCheck.ECN, _ECN[cursor.take().text]
        elif cursor.at_word("ect01") and direction == OUTBOUND:
            cursor.take()
            check = TosCheck.ECT
        elif cursor.skip_word("tos"):
            check, traffic_class = TosCheck.ALL, cursor.integer("a traffic class", 0, _U8)
        elif cursor.skip_word("flowlabel"):
            label = cursor.integer("a flow label", 0, _U20)
        elif cursor.skip_word("ttl"):
            ttl = cursor.integer("a time to live", 0, _U8)
        else:
            cursor.fail(f"noecn, ect0, ect1, ce, tos, ttl, flowlabel or '{closing}'")
    return IpSpec(check, traffic_class, label, ttl)


def _ports(cursor: Cursor) -> tuple[int, int]:
    if cursor.token.kind != INTEGER or cursor.following().text != ">":
        return 0, 0
    source = cursor.integer("a port", 0, _U16)
    cursor.expect(">")
    return source, cursor.integer("a port", 0, _U16)


def _segment(cursor: Cursor, direction: str) -> TcpSpec:
    ports = _ports(cursor)
    flags, by_ace = _flags(cursor)
    seq, length = _range(cursor)
    ack = cursor.integer("an acknowledgment number", 0, _U32) if cursor.skip_word("ack") else 0
    window = cursor.integer("a window", 0, _U16) if cursor.skip_word("win") else None
    if window is None and direction == INBOUND:
        cursor.fail("'win' (every inbound segment says its window)")
    urgent = cursor.integer("an urgent pointer", 0, _U16) if cursor.skip_word("urg") else 0
    start = cursor.token
    options = parse_options(cursor) if cursor.at("<") else b""
    if options is None and direction == INBOUND:
        raise cursor.source.malformed(
            "expected options, found <...> (which is for outbound segments only)", start.offset
        )
    return TcpSpec(flags, seq, length, ack, window, urgent, options, by_ace, ports)


def _flags(cursor: Cursor) -> tuple[int, bool]:
    """The flags, `S.` or `P.5` or `-`, and whether a number stands for those of ECN."""
    token = cursor.token
    if cursor.skip("-"):
        return 0, False
    if cursor.skip("."):
        return parse_flags("."), False
    text = ""
    if token.kind == WORD:
        text = cursor.take().text
        if cursor.skip("."):
            text += "."
    if cursor.token.kind == FLOAT and not text.endswith("."):
        text += cursor.take().text
    if not text:
        cursor.fail("TCP flags, '.' or '-'")
    return _flag_bits(cursor, token, text)


def _flag_bits(cursor: Cursor, token: Token, text: str) -> tuple[int, bool]:
    digits = [letter for letter in text if letter.isdigit()]
    wrong = [letter for letter in text if letter not in _LETTERS + ".01234567"]
    if wrong:
        raise cursor.source.malformed(
            f"expected TCP flags of {_LETTERS}. or a number to 7, found '{text}'", token.offset
        )
    if len(digits) > 1 or (digits and _ECN_LETTERS & set(text)):
        raise cursor.source.malformed(f"expected one way to tell the ECN flags, found '{text}'", token.offset)
    return parse_flags(text), any(digit != "0" for digit in digits)


def _range(cursor: Cursor) -> tuple[int, int]:
    """`1:1001(1000)`: where a segment begins, and how many bytes it has."""
    start = cursor.token
    seq = cursor.integer("a sequence number", 0, _U32)
    cursor.expect(":")
    end = cursor.integer("a sequence number", 0, _U32)
    cursor.expect("(")
    length = cursor.integer("a length", 0, _U16)
    cursor.expect(")")
    if (seq + length) & _U32 != end:
        raise cursor.source.malformed(
            f"expected {seq}:{(seq + length) & _U32}({length}), found {seq}:{end}({length})", start.offset
        )
    return seq, length


def _datagram(cursor: Cursor) -> UdpSpec:
    ports = _ports(cursor)
    cursor.expect("(")
    length = cursor.integer("a length", 0, _U16)
    cursor.expect(")")
    return UdpSpec(length, ports)


def _icmp_with_quote_first(cursor: Cursor) -> IcmpSpec:
    """`[1:1461(1460)] icmp unreachable`, as older scripts have it."""
    cursor.expect("[")
    quoted = TcpSpec(0, *_range(cursor))
    cursor.expect("]")
    if not cursor.skip_word("icmp"):
        cursor.fail("'icmp'")
    return replace(_icmp(cursor), quoted=quoted)


def _icmp(cursor: Cursor) -> IcmpSpec:
    kind = cursor.expect_kind(WORD, "an ICMP type").text
    code = None
    if cursor.token.kind == WORD and not cursor.at_word("mtu", "id"):
        code = cursor.take().text
    mtu = cursor.integer("an MTU", 0, _U32) if cursor.skip_word("mtu") else None
    identifier = cursor.integer("an identifier", 0, _U16) if cursor.skip_word("id") else 0
    quoted: TcpSpec | UdpSpec | None = None
    if cursor.skip("["):
        if cursor.at_word("raw"):
            cursor.refuse("ICMP messages about raw packets")
        quoted = _datagram(cursor) if cursor.skip_word("udp") else TcpSpec(0, *_range(cursor))
        cursor.expect("]")
    return IcmpSpec(kind, code, mtu, identifier, quoted)

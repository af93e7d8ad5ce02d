"""The words of `pretty`: names of protocols, messages and options, and bytes in hexadecimal."""

from __future__ import annotations

import enum

from ustack.address import format_address
from ustack.constants import (
    IPPROTO_AH,
    IPPROTO_ESP,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IGMP,
    IPPROTO_NONE,
    IPPROTO_PGM,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from ustack.wire import Buffer, icmpv4, icmpv6, igmp, ipv4, ipv6_ext, mld, tcp
from ustack.wire.dissect import EXTENSION_NAMES
from ustack.wire.igmp import IgmpMessage
from ustack.wire.mld import MldMessage
from ustack.wire.tcp_options import ACCURATE_ECN_0, TcpOptions

Names = type[enum.IntEnum]
"""An enumeration whose members' names are words."""

PROTOCOL_NAMES = EXTENSION_NAMES | {
    IPPROTO_ICMP: "ICMP",
    IPPROTO_IGMP: "IGMP",
    IPPROTO_TCP: "TCP",
    IPPROTO_UDP: "UDP",
    IPPROTO_ESP: "ESP",
    IPPROTO_AH: "AH",
    IPPROTO_ICMPV6: "ICMPv6",
    IPPROTO_NONE: "no next header",
    IPPROTO_PGM: "PGM",
    IPPROTO_SCTP: "SCTP",
}
IPV4_OPTION_NAMES = {
    ipv4.OPTION_RECORD_ROUTE: "record route",
    ipv4.OPTION_TIMESTAMP: "timestamp",
    ipv4.OPTION_SECURITY: "security",
    ipv4.OPTION_LOOSE_SOURCE_ROUTE: "loose source route",
    ipv4.OPTION_STREAM_ID: "stream id",
    ipv4.OPTION_STRICT_SOURCE_ROUTE: "strict source route",
    ipv4.OPTION_ROUTER_ALERT: "router alert",
}
IPV6_OPTION_NAMES = {
    ipv6_ext.OPTION_PAD1: "Pad1",
    ipv6_ext.OPTION_PADN: "PadN",
    ipv6_ext.OPTION_TUNNEL_ENCAPSULATION_LIMIT: "tunnel encapsulation limit",
    ipv6_ext.OPTION_ROUTER_ALERT: "router alert",
    ipv6_ext.OPTION_JUMBO_PAYLOAD: "jumbo payload",
    ipv6_ext.OPTION_HOME_ADDRESS: "home address",
}
_ICMPV4_CODES: dict[int, Names] = {
    icmpv4.IcmpType.DESTINATION_UNREACHABLE: icmpv4.UnreachableCode,
    icmpv4.IcmpType.REDIRECT: icmpv4.RedirectCode,
    icmpv4.IcmpType.TIME_EXCEEDED: icmpv4.TimeExceededCode,
    icmpv4.IcmpType.PARAMETER_PROBLEM: icmpv4.ParameterProblemCode,
}
_ICMPV6_CODES: dict[int, Names] = {
    icmpv6.Icmpv6Type.DESTINATION_UNREACHABLE: icmpv6.UnreachableCode,
    icmpv6.Icmpv6Type.TIME_EXCEEDED: icmpv6.TimeExceededCode,
    icmpv6.Icmpv6Type.PARAMETER_PROBLEM: icmpv6.ParameterProblemCode,
}
_TCP_FLAG_LETTERS = (
    (tcp.FIN, "F"),
    (tcp.SYN, "S"),
    (tcp.RST, "R"),
    (tcp.PSH, "P"),
    (tcp.URG, "U"),
    (tcp.ECE, "E"),
    (tcp.CWR, "W"),
    (tcp.AE, "e"),
    (tcp.ACK, "."),
)


def member_words(kind: Names, value: int) -> str:
    """The name of an enumeration's member in words; the number where it has none."""
    return kind(value).name.lower().replace("_", " ") if value in kind.__members__.values() else str(value)


def protocol_words(protocol: int) -> str:
    """The name of an IP protocol or extension header."""
    return PROTOCOL_NAMES.get(protocol, f"protocol {protocol}")


def icmp_words(message: icmpv4.IcmpMessage | icmpv6.IcmpMessage) -> tuple[str, str]:
    """The names of a message's type and code; "" for the only code of a type."""
    if isinstance(message, icmpv4.IcmpMessage):
        type_name, codes = member_words(icmpv4.IcmpType, message.type), _ICMPV4_CODES.get(message.type)
    else:
        type_name, codes = member_words(icmpv6.Icmpv6Type, message.type), _ICMPV6_CODES.get(message.type)
    if codes:
        return type_name, member_words(codes, message.code)
    return type_name, str(message.code) if message.code else ""


def icmp_values(message: icmpv4.IcmpMessage | icmpv6.IcmpMessage) -> dict[str, int | str]:
    """What the second word of the header means for this type."""
    type_name, code_name = icmp_words(message)
    if type_name in {"echo request", "echo reply", "timestamp", "timestamp reply"}:
        return {"id": message.identifier, "seq": message.sequence_number}
    if code_name == "fragmentation needed" or type_name == "packet too big":
        return {"mtu": message.mtu}
    if type_name == "parameter problem":
        return {"pointer": message.pointer}
    if type_name == "redirect" and isinstance(message, icmpv4.IcmpMessage):
        return {"gateway": format_address(message.gateway)}
    return {}


def group_message_words(message: IgmpMessage | MldMessage) -> str:
    """The kind of an IGMP or MLD message, with its version."""
    match message:
        case igmp.MembershipQuery():
            return f"membership query v{message.version}"
        case igmp.MembershipReport():
            return f"membership report v{message.version}"
        case igmp.MembershipReportV3():
            return "membership report v3"
        case igmp.LeaveGroup():
            return "leave group"
        case mld.ListenerQuery():
            return f"listener query v{message.version}"
        case mld.ListenerReport():
            return "listener report v1"
        case mld.ListenerDone():
            return "listener done"
        case mld.ListenerReportV2():
            return "listener report v2"


def tcp_flags(flags: int) -> str:
    """The flags as tcpdump has them: `S`, `S.`, `F.`, `P.`, `.`, and `none`."""
    return "".join(letter for bit, letter in _TCP_FLAG_LETTERS if flags & bit) or "none"


def tcp_option_words(options: TcpOptions) -> list[str]:
    """Each option as tcpdump has it; an unknown one with its data."""
    words = []
    if options.mss is not None:
        words.append(f"mss {options.mss}")
    if options.sack_permitted:
        words.append("sackOK")
    if options.timestamps is not None:
        words.append("TS val {} ecr {}".format(*options.timestamps))
    if options.window_scale is not None:
        words.append(f"wscale {options.window_scale}")
    if options.sack_blocks:
        words.append("sack " + " ".join(f"{left}:{right}" for left, right in options.sack_blocks))
    return words + _rare_option_words(options)


def _rare_option_words(options: TcpOptions) -> list[str]:
    words = []
    if options.fast_open_cookie is not None:
        words.append(f"tfo {options.fast_open_cookie.hex() or 'cookiereq'}")
    if options.user_timeout is not None:
        unit = "minutes" if options.user_timeout & 0x8000 else "seconds"
        words.append(f"user timeout {options.user_timeout & 0x7FFF} {unit}")
    if options.accurate_ecn is not None:
        names = ("e0b", "ceb", "e1b") if options.accurate_ecn.kind == ACCURATE_ECN_0 else ("e1b", "ceb", "e0b")
        counts = zip(names, options.accurate_ecn.counters, strict=False)
        words.append(" ".join(["ecn", *(f"{name} {count}" for name, count in counts)]))
    if options.authentication is not None:
        words.append(f"ao keyid {options.authentication[0]} rnext {options.authentication[1]}")
    if options.md5 is not None:
        words.append(f"md5 {options.md5.hex()}")
    words.extend(f"option {kind} {data.hex()}".rstrip() for kind, data in options.unknown)
    return words


def hex_words(data: Buffer, limit: int) -> str:
    """The first `limit` bytes in hexadecimal, and a mark if there are more."""
    return bytes(data[:limit]).hex() + ("…" if len(data) > limit else "")


def hex_dump(data: Buffer, limit: int) -> list[str]:
    """Rows of 16 bytes with offset, hexadecimal and ASCII, of the first `limit` bytes; then how many more there are."""
    rows = []
    for start in range(0, min(len(data), limit), 16):
        row = bytes(data[start : min(start + 16, limit)])
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{start:04x}  {row.hex(' '):<47}  {text}")
    if len(data) > limit:
        rows.append(f"… {len(data) - limit} bytes more")
    return rows

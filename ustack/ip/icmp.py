"""ICMP messages that come in: echo is answered, errors become `IcmpError` for the transport that they quote.

RFC 792, RFC 1122 §3.2.2, RFC 4443.  The errno of each error is Linux's (icmp_err_convert, icmpv6_err_convert), which
programs expect.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ustack.address import is_link_local
from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6
from ustack.drops import Drop, DropReason
from ustack.ip.ipv4_options import reply_options
from ustack.ip.packet import Packet
from ustack.ip.path_mtu import next_plateau
from ustack.ip.quoted import Quoted, read_quoted
from ustack.wire import icmpv4, icmpv6, ipv6

if TYPE_CHECKING:
    from ustack.ip.layer import IpLayer

_DSCP = 0xFC

_UNREACHABLE_IPV4 = (
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ENOPROTOOPT, True),
    (errno.ECONNREFUSED, True),
    (errno.EMSGSIZE, False),
    (errno.EOPNOTSUPP, False),
    (errno.ENETUNREACH, True),
    (errno.EHOSTDOWN, True),
    (errno.ENONET, True),
    (errno.ENETUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
)
"""(errno, hard) for each code of destination unreachable."""

_UNREACHABLE_IPV6 = (
    (errno.ENETUNREACH, False),
    (errno.EACCES, True),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ECONNREFUSED, True),
    (errno.EACCES, True),
    (errno.EACCES, True),
)

_KNOWN_IPV4 = frozenset(icmpv4.IcmpType)
_KNOWN_IPV6 = frozenset(icmpv6.Icmpv6Type)
# DEVIATION RFC 1122 §3.2.2.2: redirects are not obeyed.  A TUN device has no next hops to choose from, so only forged
# ones could come.
_REPORTED_IPV4 = icmpv4.ERROR_TYPES - {icmpv4.IcmpType.SOURCE_QUENCH, icmpv4.IcmpType.REDIRECT}


@dataclass(slots=True)
class IcmpError:
    """An error about a packet of this host.  Anybody can forge one: a transport checks `quoted` first (RFC 5927 §4)."""

    version: int
    type: int
    code: int
    errno: int
    hard: bool
    """Whether the code means something lasting; what a transport makes of that is its affair (RFC 1122 §4.2.3.9)."""
    mtu: int | None
    """What the path takes, in a packet-too-big message: estimated if the router did not say (RFC 1191 §5)."""
    source: bytes
    """Who reports."""
    quoted: Quoted


def receive(layer: IpLayer, packet: Packet, now: int) -> IcmpError | None:
    """Take an ICMP message: answer it, or make it an error for a transport.  Raises Drop for one that ends here."""
    if packet.version == 4:
        return _receive_icmpv4(layer, packet, now)
    return _receive_icmpv6(layer, packet, now)


def _receive_icmpv4(layer: IpLayer, packet: Packet, now: int) -> IcmpError | None:
    message = icmpv4.parse(packet.payload)
    kind = message.type
    if kind == icmpv4.IcmpType.ECHO_REQUEST:
        _answer_echo_ipv4(layer, packet, message, now)
    elif kind == icmpv4.IcmpType.SOURCE_QUENCH:
        raise Drop(DropReason.ICMP_SOURCE_QUENCH)
    elif kind in _REPORTED_IPV4:
        return _error_ipv4(layer, packet, message)
    elif kind != icmpv4.IcmpType.ECHO_REPLY:
        raise Drop(_reason_to_refuse(kind in _KNOWN_IPV4), f"type {kind}")
    return None


def _receive_icmpv6(layer: IpLayer, packet: Packet, now: int) -> IcmpError | None:
    message = icmpv6.parse(packet.payload, packet.source, packet.destination)
    kind = message.type
    if message.is_error:
        return _error_ipv6(layer, packet, message)
    if kind == icmpv6.Icmpv6Type.ECHO_REQUEST:
        _answer_echo_ipv6(layer, packet, message, now)
    elif kind != icmpv6.Icmpv6Type.ECHO_REPLY:
        raise Drop(_reason_to_refuse(kind in _KNOWN_IPV6), f"type {kind}")
    return None


def _reason_to_refuse(known: bool) -> DropReason:
    return DropReason.ICMP_NOT_OFFERED if known else DropReason.ICMP_UNKNOWN_TYPE


def _answer_echo_ipv4(layer: IpLayer, packet: Packet, message: icmpv4.IcmpMessage, now: int) -> None:
    """From the address asked, with the options that record the way.  RFC 1122 §3.2.2.6."""
    if not packet.unicast and layer.config.icmp_echo_ignore_broadcasts:
        raise Drop(DropReason.ICMP_BROADCAST_ECHO)
    try:
        source = packet.destination if packet.unicast else layer.select_source(packet.source)
        layer.send(
            source, packet.source, IPPROTO_ICMP,
            icmpv4.build(icmpv4.IcmpType.ECHO_REPLY, 0, message.rest, message.body), now,
            traffic_class=packet.traffic_class & _DSCP,
            discover_path_mtu=False,
            options=reply_options(packet.options, source, now) if packet.options else b"",
        )  # fmt: skip
    except OSError:
        layer.statistics.echo_replies_failed += 1
    else:
        layer.statistics.echo_replies += 1


def _answer_echo_ipv6(layer: IpLayer, packet: Packet, message: icmpv6.IcmpMessage, now: int) -> None:
    """From the address asked; requests to a multicast address are answered too, from a unicast one.  RFC 4443 §4.2."""
    destination = packet.source
    scoped = packet.interface if is_link_local(destination) else None
    try:
        source = packet.destination if packet.unicast else layer.select_source(destination, scoped)
        reply = icmpv6.build(source, destination, icmpv6.Icmpv6Type.ECHO_REPLY, 0, message.rest, message.body)
        layer.send(
            source, destination, IPPROTO_ICMPV6, reply, now,
            traffic_class=packet.traffic_class & _DSCP,
            flow_label=layer.flow_label(source, destination, IPPROTO_ICMPV6, 0, 0),
            interface=scoped,
        )  # fmt: skip
    except OSError:
        layer.statistics.echo_replies_failed += 1
    else:
        layer.statistics.echo_replies += 1


def _error_ipv4(layer: IpLayer, packet: Packet, message: icmpv4.IcmpMessage) -> IcmpError:
    """An error about a packet of ours, with Linux's errno."""
    kind, code, mtu = message.type, message.code, None
    quoted = _read_own(layer, message.quoted_packet, 4)
    if kind == icmpv4.IcmpType.DESTINATION_UNREACHABLE:
        if code >= len(_UNREACHABLE_IPV4):
            raise Drop(DropReason.ICMP_UNKNOWN_TYPE, f"code {code} of destination unreachable")
        number, hard = _UNREACHABLE_IPV4[code]
        if code == icmpv4.UnreachableCode.FRAGMENTATION_NEEDED:
            mtu = message.mtu or next_plateau(quoted.length)
    elif kind == icmpv4.IcmpType.TIME_EXCEEDED:
        number, hard = errno.EHOSTUNREACH, False
    else:
        number, hard = errno.EPROTO, True
    return IcmpError(4, kind, code, number, hard, mtu, packet.source, quoted)


def _error_ipv6(layer: IpLayer, packet: Packet, message: icmpv6.IcmpMessage) -> IcmpError:
    """An error about a packet of ours; of unknown type too, which the transport shall hear of (RFC 4443 §2.4 a)."""
    kind, code, mtu = message.type, message.code, None
    quoted = _read_own(layer, message.quoted_packet, 6)
    number, hard = errno.EPROTO, False
    if kind == icmpv6.Icmpv6Type.DESTINATION_UNREACHABLE:
        number, hard = _UNREACHABLE_IPV6[code] if code < len(_UNREACHABLE_IPV6) else (errno.EPROTO, True)
    elif kind == icmpv6.Icmpv6Type.PACKET_TOO_BIG:
        number, mtu = errno.EMSGSIZE, message.mtu
        if mtu < ipv6.MINIMUM_MTU:
            raise Drop(DropReason.ICMP_MTU, f"{mtu} bytes")
    elif kind == icmpv6.Icmpv6Type.TIME_EXCEEDED:
        number = errno.EHOSTUNREACH
    elif kind == icmpv6.Icmpv6Type.PARAMETER_PROBLEM:
        hard = True
    return IcmpError(6, kind, code, number, hard, mtu, packet.source, quoted)


def _read_own(layer: IpLayer, packet: memoryview, version: int) -> Quoted:
    """What an error quotes, if it can be a packet of this host.  RFC 5927 §4.1."""
    try:
        quoted = read_quoted(packet)
    except Drop as drop:
        raise Drop(DropReason.ICMP_TRUNCATED, str(drop)) from None
    if quoted.version != version or not quoted.first or not layer.is_local(quoted.source):
        raise Drop(DropReason.ICMP_QUOTE)
    return quoted

"""The ICMP errors that this host sends, and when it must not.  RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443 §2.4."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from ustack.address import is_link_local, is_multicast, is_unspecified
from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_NONE
from ustack.drops import DropReason, ParameterProblem
from ustack.ip.interface import Interface
from ustack.ip.packet import Packet
from ustack.ip.quoted import Quoted, last_next_header, read_quoted
from ustack.wire import Buffer, icmpv4, icmpv6

if TYPE_CHECKING:
    from ustack.ip.layer import IpLayer

_INTERNETWORK_CONTROL = 0xC0
"""Precedence of error messages.  RFC 1812 §4.3.2.5."""
_DSCP_BELOW_PRECEDENCE = 0x1C
_ABOUT_ANY_FRAGMENT = (DropReason.FRAGMENT_LENGTH, DropReason.FRAGMENT_TOO_BIG)


class IcmpErrorKind(enum.Enum):
    """What a host reports about a datagram; the value is (type, code) for IPv4 and for IPv6."""

    PORT_UNREACHABLE = ((3, 3), (1, 4))
    """RFC 1122 §3.2.2.1, RFC 4443 §3.1."""
    PROTOCOL_UNREACHABLE = ((3, 2), (4, 1))
    """RFC 1122 §3.2.2.1; to IPv6 it is an unrecognized next header, RFC 4443 §3.4."""
    PROHIBITED = ((3, 13), (1, 1))
    """RFC 1812 §5.2.7.1, RFC 4443 §3.1."""


def report(layer: IpLayer, kind: IcmpErrorKind, packet: Packet, now: int) -> bool:
    """Tell the source of a whole datagram what became of it; returns whether an error was sent."""
    message_type, code = kind.value[packet.version == 6]
    pointer = 0
    if kind is IcmpErrorKind.PROTOCOL_UNREACHABLE and packet.version == 6:
        if packet.protocol == IPPROTO_NONE:
            return False
        pointer = last_next_header(packet.header)
    start = b"".join((packet.header, packet.payload[: icmpv6.MAXIMUM_QUOTE_LENGTH]))
    return send_error(layer, packet.interface, start, message_type, code, now, parameter=pointer)


def report_problem(layer: IpLayer, interface: Interface, packet: Buffer, problem: ParameterProblem, now: int) -> bool:
    """Send the parameter problem that is due for a packet which a parser refused; returns whether it was sent."""
    kind = icmpv4.IcmpType.PARAMETER_PROBLEM if packet[0] >> 4 == 4 else icmpv6.Icmpv6Type.PARAMETER_PROBLEM
    return send_error(
        layer, interface, packet, kind, problem.code, now,
        parameter=problem.pointer,
        about_groups=not problem.unless_multicast,
        about_fragments=problem.reason in _ABOUT_ANY_FRAGMENT,
    )  # fmt: skip


def report_timeout(layer: IpLayer, interface: Interface, first_fragment: Buffer, now: int) -> bool:
    """Tell the source that fragments of its datagram did not come in time.  RFC 792, RFC 1122 §3.3.2, RFC 4443 §3.3."""
    if first_fragment[0] >> 4 == 4:
        kind, code = int(icmpv4.IcmpType.TIME_EXCEEDED), int(icmpv4.TimeExceededCode.REASSEMBLY)
    else:
        kind, code = int(icmpv6.Icmpv6Type.TIME_EXCEEDED), int(icmpv6.TimeExceededCode.REASSEMBLY)
    return send_error(layer, interface, first_fragment, kind, code, now)


def send_error(
    layer: IpLayer,
    interface: Interface,
    packet: Buffer,
    message_type: int,
    code: int,
    now: int,
    *,
    parameter: int = 0,
    about_groups: bool = False,
    about_fragments: bool = False,
) -> bool:
    """Send an error about a packet that came in by `interface`, if the rules allow one; returns whether it was sent.

    The packet's IP header was parsed before.  `parameter` is a parameter problem's pointer.  `about_groups` lifts the
    rule on multicast (RFC 4443 §2.4 e.3), `about_fragments` that on fragments but the first (RFC 8200 §4.5 asks for
    two such errors).
    """
    quoted = read_quoted(packet)
    if not _may_report(layer, quoted, about_groups, about_fragments):
        return False
    if not interface.loopback and not layer.error_limiter.allow(quoted.source, now):
        layer.statistics.errors_limited += 1
        return False
    try:
        _send(layer, interface, quoted, packet, message_type, code, parameter, now)
    except OSError:
        return False
    layer.statistics.errors_sent += 1
    return True


def _may_report(layer: IpLayer, quoted: Quoted, about_groups: bool, about_fragments: bool) -> bool:
    """The rules but the rate: RFC 1122 §3.2.2, RFC 4443 §2.4 (e)."""
    source = quoted.source
    if is_unspecified(source) or is_multicast(source) or layer.is_broadcast(source):
        return False
    if not quoted.first and not about_fragments:
        return False
    if not layer.is_local(quoted.destination) and not (about_groups and is_multicast(quoted.destination)):
        return False
    return not quoted.is_icmp_error


def _send(
    layer: IpLayer,
    interface: Interface,
    quoted: Quoted,
    packet: Buffer,
    message_type: int,
    code: int,
    parameter: int,
    now: int,
) -> None:
    """Build and send: from the address that the packet was for, if it is one of ours (RFC 4443 §2.2 a)."""
    destination = quoted.source
    scoped = interface if is_link_local(destination) else None
    local = layer.is_local(quoted.destination)
    source = quoted.destination if local else layer.select_source(destination, scoped)
    if quoted.version == 6:
        message = icmpv6.build_error(source, destination, message_type, code, packet, parameter)
        layer.send(source, destination, IPPROTO_ICMPV6, message, now, interface=scoped)
        return
    quote = packet[: icmpv4.MAXIMUM_QUOTE_LENGTH]
    message = icmpv4.build(message_type, code, bytes((parameter, 0, 0, 0)), quote)
    traffic_class = _INTERNETWORK_CONTROL | quoted.traffic_class & _DSCP_BELOW_PRECEDENCE
    layer.send(
        source, destination, IPPROTO_ICMP, message, now,
        traffic_class=traffic_class, discover_path_mtu=False, interface=scoped,
    )  # fmt: skip

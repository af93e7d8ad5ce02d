"""ICMP errors that a router reports about a segment which a stack has sent."""

from __future__ import annotations

from ustack.address import parse_address
from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6
from ustack.sim.peer import Peer, Sent
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6


def report(peer: Peer, quote: bytes, kind: int, code: int, parameter: int = 0) -> None:
    """Let an error arrive that quotes these bytes; `parameter` is the MTU or the pointer."""
    if peer.version == 4:
        router = parse_address("10.0.0.254")
        message = icmpv4.build(kind, code, parameter.to_bytes(4, "big"), quote)
        packet = ipv4.build(router, peer.local, IPPROTO_ICMP, len(message)) + message
    else:
        router = parse_address("fd00::fe")
        message = icmpv6.build(router, peer.local, kind, code, parameter.to_bytes(4, "big"), quote)
        packet = ipv6.build(router, peer.local, IPPROTO_ICMPV6, len(message)) + message
    peer.note("<", f"icmp {kind} {code} {parameter}")
    peer.arrive([packet])


def report_unreachable(peer: Peer, sent: Sent, code: int) -> None:
    """Destination unreachable; the quote is the least that a router must give."""
    kind = icmpv4.IcmpType.DESTINATION_UNREACHABLE if peer.version == 4 else icmpv6.Icmpv6Type.DESTINATION_UNREACHABLE
    report(peer, least_quote(sent), kind, code)


def report_too_big(peer: Peer, sent: Sent, mtu: int) -> None:
    """Fragmentation needed, or packet too big."""
    if peer.version == 4:
        code = icmpv4.UnreachableCode.FRAGMENTATION_NEEDED
        report(peer, least_quote(sent), icmpv4.IcmpType.DESTINATION_UNREACHABLE, code, mtu)
    else:
        report(peer, least_quote(sent), icmpv6.Icmpv6Type.PACKET_TOO_BIG, 0, mtu)


def least_quote(sent: Sent) -> bytes:
    """The IP header and 8 bytes more (RFC 792); with IPv6 the TCP header too."""
    return sent.frame[: 28 if len(sent.source) == 4 else 60]

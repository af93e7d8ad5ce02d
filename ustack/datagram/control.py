"""Control messages of received datagrams, laid out as Linux does: ip(7), ipv6(7), RFC 3542 §6."""

from __future__ import annotations

import struct

from ustack.address import ANY_IPV4, map_ipv4
from ustack.config import SocketOptions
from ustack.constants import (
    AF_INET6,
    IP_PKTINFO,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_TCLASS,
)
from ustack.datagram.queue import Datagram
from ustack.endpoint import ControlMessage

_INT = struct.Struct("=i")
_IN_PKTINFO = struct.Struct("=i4s4s")
_IN6_PKTINFO = struct.Struct("=16si")


def control_messages(
    family: int, options: SocketOptions, datagram: Datagram, own_address: bytes | None
) -> list[ControlMessage]:
    """What a socket of `family` with these options is told of a datagram.

    `own_address` is the address of this host that the datagram reached, None if it has none on that interface.
    """
    messages: list[ControlMessage] = []
    if options.receive_packet_info:
        messages.append(_packet_info(family, datagram, own_address))
    if options.receive_ttl:
        where = (IPPROTO_IP, IP_TTL) if datagram.version == 4 else (IPPROTO_IPV6, IPV6_HOPLIMIT)
        messages.append((*where, _INT.pack(datagram.ttl)))
    if options.receive_traffic_class and datagram.version == 4:
        messages.append((IPPROTO_IP, IP_TOS, bytes((datagram.traffic_class,))))
    elif options.receive_traffic_class:
        messages.append((IPPROTO_IPV6, IPV6_TCLASS, _INT.pack(datagram.traffic_class)))
    return messages


def _packet_info(family: int, datagram: Datagram, own_address: bytes | None) -> ControlMessage:
    if family == AF_INET6:
        return IPPROTO_IPV6, IPV6_PKTINFO, _IN6_PKTINFO.pack(map_ipv4(datagram.destination), datagram.interface)
    own = own_address or ANY_IPV4
    return IPPROTO_IP, IP_PKTINFO, _IN_PKTINFO.pack(datagram.interface, own, datagram.destination)

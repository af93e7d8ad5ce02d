"""Which addresses are this host's, and which a packet may not carry.

RFC 1122 §3.2.1.3 (special addresses), RFC 6890 (registries of them), RFC 4291 §2.5 and §2.7 (IPv6), RFC 1122 §3.3.6
(broadcast).
"""

from __future__ import annotations

from collections.abc import Iterable

from ustack.address import ANY_IPV4, BROADCAST_IPV4, LOOPBACK_IPV6, is_mapped, is_unspecified
from ustack.constants import IPPROTO_IGMP
from ustack.drops import Drop, DropReason
from ustack.ip.interface import Interface

_LOCAL_MULTICAST = b"\xe0\x00\x00"
_IPV4_SPECIAL = 224
"""First byte of the first multicast address; from there on none is unicast (RFC 1122 §3.2.1.3)."""
_LOOPBACK = 127


class LocalAddresses:
    """The host's own addresses, of all interfaces; a packet for one is taken from any interface but as `check` says.

    This is the weak host model of RFC 1122 §3.3.4.2, as Linux has it.
    """

    __slots__ = ("broadcast", "unicast")

    def __init__(self) -> None:
        self.unicast: set[bytes] = set()
        self.broadcast: set[bytes] = set()

    def rebuild(self, interfaces: Iterable[Interface]) -> None:
        """Take the addresses of these interfaces and no others."""
        own = [each for interface in interfaces for each in interface.addresses]
        self.unicast = {each.address for each in own}
        self.broadcast = {each.broadcast for each in own if each.broadcast is not None and each.address[0] != _LOOPBACK}
        self.broadcast.add(BROADCAST_IPV4)

    def is_local(self, address: bytes) -> bool:
        """Whether it is a unicast address of this host: all of 127.0.0.0/8 is."""
        return address in self.unicast or (len(address) == 4 and address[0] == _LOOPBACK)

    def check_ipv4(self, interface: Interface, source: bytes, destination: bytes, protocol: int) -> bool:
        """Whether a packet for this host is a unicast.  Raises Drop if it is not for it, or its source is no source."""
        first = source[0]
        foreign = not interface.loopback
        if first >= _IPV4_SPECIAL or source in self.broadcast:
            raise Drop(DropReason.MARTIAN_SOURCE, "multicast, broadcast or class E")
        if foreign and (first in (0, _LOOPBACK) or source in self.unicast):
            _check_own_ipv4_source(source, destination, protocol)
        if destination in self.unicast and (destination[0] != _LOOPBACK or not foreign):
            return True
        return self._check_other_ipv4(interface, destination)

    def _check_other_ipv4(self, interface: Interface, destination: bytes) -> bool:
        """The rest of `check_ipv4`, for a destination that no interface has as its own address."""
        if destination in self.broadcast or destination in interface.groups:
            return False
        first = destination[0]
        if first == _LOOPBACK and interface.loopback:
            return True
        if first in (0, _LOOPBACK) or first >= 240:
            raise Drop(DropReason.MARTIAN_DESTINATION, "this network, loopback or class E")
        raise Drop(DropReason.NOT_FOR_US)

    def check_ipv6(self, interface: Interface, source: bytes, destination: bytes) -> bool:
        """As `check_ipv4`.  RFC 4291 §2.5.2, §2.5.3, §2.7; IPv4-mapped ones are not for the wire (RFC 4038 §4.2)."""
        foreign = not interface.loopback
        if source[0] == 0xFF or is_mapped(source):
            raise Drop(DropReason.MARTIAN_SOURCE, "multicast or IPv4-mapped")
        if foreign and (source in self.unicast or source == LOOPBACK_IPV6):
            raise Drop(DropReason.MARTIAN_SOURCE, "an address of this host")
        if destination[0] != 0xFF and is_unspecified(source):
            raise Drop(DropReason.MARTIAN_SOURCE, "unspecified, to a unicast address")
        if destination in self.unicast and (destination != LOOPBACK_IPV6 or not foreign):
            return True
        return _check_other_ipv6(interface, destination)


def _check_own_ipv4_source(source: bytes, destination: bytes, protocol: int) -> None:
    """Drop what only this host may say of itself; but 0.0.0.0 is one without an address: DHCP, a group's member."""
    if source != ANY_IPV4:
        raise Drop(DropReason.MARTIAN_SOURCE, "an address of this host, loopback or this network")
    if destination != BROADCAST_IPV4 and destination[:3] != _LOCAL_MULTICAST and protocol != IPPROTO_IGMP:
        raise Drop(DropReason.MARTIAN_SOURCE, "unspecified")


def _check_other_ipv6(interface: Interface, destination: bytes) -> bool:
    """The rest of `check_ipv6`, for a destination that no interface has as its own address."""
    if destination[0] == 0xFF:
        if destination[1] & 0xF <= 1 and not interface.loopback:
            raise Drop(DropReason.MARTIAN_DESTINATION, "multicast of interface-local or reserved scope")
        if destination in interface.groups:
            return False
    if destination == LOOPBACK_IPV6 or is_unspecified(destination) or is_mapped(destination):
        raise Drop(DropReason.MARTIAN_DESTINATION, "loopback, unspecified or IPv4-mapped")
    raise Drop(DropReason.NOT_FOR_US)

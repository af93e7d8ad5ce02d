"""An interface of the host: its addresses, its MTU, and the burst in which packets for its device wait.

RFC 1122 §3.3.4 (local multihoming), RFC 4291 §2.8 (a node's required addresses).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ustack.address import InterfaceAddress
from ustack.burst import Burst

ALL_HOSTS = b"\xe0\x00\x00\x01"
"""224.0.0.1: every host is a member, for good.  RFC 1112 §4."""
ALL_NODES_INTERFACE_LOCAL = b"\xff\x01" + bytes(13) + b"\x01"
ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"
"""ff02::1.  RFC 4291 §2.7.1."""
_SOLICITED_NODE = b"\xff\x02" + bytes(9) + b"\x01\xff"


@dataclass(slots=True, eq=False)
class Interface:
    """Where packets enter and leave.

    `offload` holds the OFFLOAD_ bits of its device.  Addresses are changed by `IpLayer` only, which keeps its tables
    by them; `up` may be written at any time.
    """

    index: int
    name: str
    mtu: int
    addresses: list[InterfaceAddress]
    offload: int
    outgoing: Burst
    up: bool = True
    loopback: bool = False
    groups: set[bytes] = field(default_factory=set)
    """Multicast addresses that the interface receives."""
    least_mtu: int = 0
    """The smallest MTU that it has had."""

    def __post_init__(self) -> None:
        self.least_mtu = self.mtu

    def set_mtu(self, mtu: int) -> None:
        """Change the MTU, for packets that segments are cut to as well."""
        self.mtu = self.outgoing.cdata.mtu = mtu
        self.least_mtu = min(self.least_mtu, mtu)

    def owns(self, address: bytes) -> bool:
        """Whether `address` is one of the interface's own."""
        return any(own.address == address for own in self.addresses)


def solicited_node(address: bytes) -> bytes:
    """The solicited-node multicast address of an IPv6 address.  RFC 4291 §2.7.1."""
    return _SOLICITED_NODE + address[13:]


def required_groups(addresses: Iterable[InterfaceAddress]) -> set[bytes]:
    """The multicast addresses that an interface with these addresses receives without being asked.  RFC 4291 §2.8."""
    groups = {ALL_HOSTS, ALL_NODES, ALL_NODES_INTERFACE_LOCAL}
    groups.update(solicited_node(own.address) for own in addresses if len(own.address) == 16)
    return groups

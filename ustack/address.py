"""Addresses as packed `bytes`: 4 for IPv4, 16 for IPv6, everywhere in the core.

Text is for people: `parse_address` and `format_address` are the only converters.  An IPv4-mapped IPv6 address never
travels inside the core: sockets unmap it on the way in (`unmap`) and map it on the way out (`map_ipv4`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

ANY_IPV4 = bytes(4)
ANY_IPV6 = bytes(16)
LOOPBACK_IPV4 = bytes((127, 0, 0, 1))
LOOPBACK_IPV6 = bytes(15) + b"\x01"
BROADCAST_IPV4 = b"\xff\xff\xff\xff"
MAPPED_PREFIX = bytes(10) + b"\xff\xff"


def parse_address(text: str) -> bytes:
    """The packed form of an address in text.  Raises ValueError if it is none."""
    return ipaddress.ip_address(text).packed


@lru_cache(maxsize=4096)
def format_address(address: bytes) -> str:
    """The text of a packed address, IPv6 as RFC 5952 asks."""
    return str(ipaddress.ip_address(address))


def format_endpoint(address: bytes, port: int) -> str:
    """`1.2.3.4:80` or `[::1]:80`."""
    text = format_address(address)
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"


def version_of(address: bytes) -> int:
    """4 or 6."""
    return 4 if len(address) == 4 else 6


def is_unspecified(address: bytes) -> bool:
    """0.0.0.0 or ::."""
    return not any(address)


def is_multicast(address: bytes) -> bool:
    """224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 §2.7)."""
    return address[0] & 0xF0 == 0xE0 if len(address) == 4 else address[0] == 0xFF


def is_loopback(address: bytes) -> bool:
    """127.0.0.0/8 (RFC 1122 §3.2.1.3) or ::1 (RFC 4291 §2.5.3)."""
    return address[0] == 127 if len(address) == 4 else address == LOOPBACK_IPV6


def is_link_local(address: bytes) -> bool:
    """169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 §2.5.6)."""
    if len(address) == 4:
        return address[:2] == b"\xa9\xfe"
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_mapped(address: bytes) -> bool:
    """::ffff:0:0/96, an IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2)."""
    return len(address) == 16 and address.startswith(MAPPED_PREFIX)


def map_ipv4(address: bytes) -> bytes:
    """The IPv4-mapped IPv6 address of an IPv4 address; an IPv6 address as it is."""
    return MAPPED_PREFIX + address if len(address) == 4 else address


def unmap(address: bytes) -> bytes:
    """The IPv4 address inside an IPv4-mapped one; any other address as it is."""
    return address[12:] if is_mapped(address) else address


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network: all addresses whose first `length` bits equal those of `network` (the other bits are zero)."""

    network: bytes
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """From `10.0.0.0/8` or `2001:db8::/32`; bits beyond the length are cleared.  Raises ValueError."""
        network = ipaddress.ip_network(text, strict=False)
        return cls(network.network_address.packed, network.prefixlen)

    def contains(self, address: bytes) -> bool:
        """Whether `address` is of this network (and of its version)."""
        if len(address) != len(self.network):
            return False
        shift = len(address) * 8 - self.length
        return int.from_bytes(address, "big") >> shift == int.from_bytes(self.network, "big") >> shift

    def __str__(self) -> str:
        return f"{format_address(self.network)}/{self.length}"


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of an interface with the length of its network's prefix."""

    address: bytes
    prefix_length: int

    @classmethod
    def parse(cls, text: str) -> InterfaceAddress:
        """From `10.9.0.2/24` or `fd00::2/64`.  Raises ValueError."""
        interface = ipaddress.ip_interface(text)
        return cls(interface.ip.packed, interface.network.prefixlen)

    @property
    def prefix(self) -> Prefix:
        """The network that the address is in."""
        size = len(self.address) * 8
        mask = ((1 << self.prefix_length) - 1) << (size - self.prefix_length)
        return Prefix((int.from_bytes(self.address, "big") & mask).to_bytes(size // 8, "big"), self.prefix_length)

    @property
    def broadcast(self) -> bytes | None:
        """The directed broadcast address of an IPv4 network of at most 30 bits, else None (RFC 3021 for 31)."""
        if len(self.address) != 4 or self.prefix_length > 30:
            return None
        host = (1 << (32 - self.prefix_length)) - 1
        return (int.from_bytes(self.address, "big") | host).to_bytes(4, "big")

"""Which of its addresses a host sends from.  RFC 6724 §5 for IPv6, RFC 1122 §3.3.4.3 for IPv4.

Of RFC 6724's rules 3, 4, 5.5 and 7 never decide: addresses here are static, so none is deprecated, a home or a
temporary one, or tied to a next hop's prefix.
"""

from __future__ import annotations

from collections.abc import Iterable

from ustack.address import InterfaceAddress, Prefix, is_link_local, is_loopback, is_multicast
from ustack.ip.interface import Interface
from ustack.ip.routing import Route

SCOPE_INTERFACE_LOCAL = 1
SCOPE_LINK_LOCAL = 2
SCOPE_SITE_LOCAL = 5
SCOPE_GLOBAL = 14

_POLICY = tuple(
    (Prefix.parse(text), label)
    for text, label in (
        ("::1/128", 0),
        ("::ffff:0:0/96", 4),
        ("2002::/16", 2),
        ("2001::/32", 5),
        ("fc00::/7", 13),
        ("::/96", 3),
        ("fec0::/10", 11),
        ("3ffe::/16", 12),
        ("::/0", 1),
    )
)
"""The default policy table's labels, longest prefix first.  RFC 6724 §2.1."""


def select_source(destination: bytes, route: Route, interfaces: Iterable[Interface]) -> bytes | None:
    """The source for packets to `destination` that leave by `route`; None if no address of its version will do."""
    if route.source is not None:
        return route.source
    candidates = _candidates(destination, route.interface, interfaces)
    if not candidates:
        return None
    if len(destination) == 4:
        next_hop = route.gateway or destination
        return max(candidates, key=lambda each: _rank_ipv4(next_hop, *each))[0].address
    return max(candidates, key=lambda each: _rank_ipv6(destination, *each))[0].address


def _candidates(
    destination: bytes, outgoing: Interface, interfaces: Iterable[Interface]
) -> list[tuple[InterfaceAddress, bool]]:
    """Each address that may be the source, and whether it is the outgoing interface's; the preferred interface first.

    RFC 6724 §4: a multicast or link-local destination takes an address of the outgoing interface.  Those of other
    interfaces are candidates too (the weak host model of RFC 1122 §3.3.4.2), but loopback's.
    """
    others: list[Interface] = []
    if not is_multicast(destination) and not is_link_local(destination):
        others = [each for each in interfaces if each is not outgoing and not each.loopback]
    return [
        (own, interface is outgoing)
        for interface in (outgoing, *others)
        for own in interface.addresses
        if len(own.address) == len(destination) and _may_reach(own.address, interface is outgoing)
    ]


def _may_reach(source: bytes, on_outgoing: bool) -> bool:
    """A link-local source means nothing on another link.  RFC 4007 §9."""
    return on_outgoing or not is_link_local(source)


def _rank_ipv4(next_hop: bytes, own: InterfaceAddress, on_outgoing: bool) -> tuple[bool, bool, bool, int]:
    """Greater is better; of equal ones the first configured wins.  RFC 1122 §3.3.4.3 (b), RFC 3927 §2.6.1."""
    near = own.prefix.contains(next_hop)
    fit = is_link_local(own.address) == is_link_local(next_hop)
    return on_outgoing, near, fit, own.prefix_length if near else 0


def _rank_ipv6(destination: bytes, own: InterfaceAddress, on_outgoing: bool) -> tuple[bool, int, bool, bool, int]:
    """Greater is better.  RFC 6724 §5: rules 1, 2, 5, 6 and 8."""
    source_scope, wanted = scope(own.address), scope(destination)
    appropriate = -source_scope if source_scope >= wanted else source_scope - 2 * SCOPE_GLOBAL
    return (
        own.address == destination,
        appropriate,
        on_outgoing,
        label(own.address) == label(destination),
        min(common_prefix_length(own.address, destination), own.prefix_length),
    )


def scope(address: bytes) -> int:
    """The scope of an IPv6 address, as multicast addresses number them.  RFC 6724 §3.1."""
    if is_multicast(address):
        return address[1] & 0xF
    if is_link_local(address) or is_loopback(address):
        return SCOPE_LINK_LOCAL
    if address[0] == 0xFE and address[1] & 0xC0 == 0xC0:
        return SCOPE_SITE_LOCAL
    return SCOPE_GLOBAL


def label(address: bytes) -> int:
    """The label of an IPv6 address in the default policy table.  RFC 6724 §2.1."""
    return next(label for prefix, label in _POLICY if prefix.contains(address))


def common_prefix_length(one: bytes, other: bytes) -> int:
    """How many leading bits two addresses share."""
    difference = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return len(one) * 8 - difference.bit_length()

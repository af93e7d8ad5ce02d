"""Cutting a datagram that does not fit its path.  RFC 791 §3.2, RFC 8200 §4.5."""

from __future__ import annotations

from ustack.constants import IPPROTO_FRAGMENT
from ustack.wire import Buffer, ipv4, ipv6, ipv6_ext

_COPIED = 0x80
"""The option belongs in every fragment.  RFC 791 §3.1."""


def fragment_ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: Buffer,
    mtu: int,
    *,
    identification: int,
    ttl: int = 64,
    traffic_class: int = 0,
    options: bytes = b"",
) -> list[bytes]:
    """Packets of at most `mtu` bytes that carry `payload`.  All options are in the first, copied ones in the others."""
    view = memoryview(payload)
    packets: list[bytes] = []
    offset = 0
    while offset < len(view):
        carried = options if offset == 0 else copied_options(options)
        piece, more = _cut(view, offset, mtu - ipv4.MINIMUM_HEADER_LENGTH - (len(carried) + 3) // 4 * 4)
        header = ipv4.build(
            source, destination, protocol, len(piece), ttl=ttl, traffic_class=traffic_class,
            identification=identification, more_fragments=more, fragment_offset=offset, options=carried,
        )  # fmt: skip
        packets.append(b"".join((header, piece)))
        offset += len(piece)
    return packets


def fragment_ipv6(
    source: bytes,
    destination: bytes,
    next_header: int,
    payload: Buffer,
    mtu: int,
    *,
    identification: int,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
) -> list[bytes]:
    """Packets of at most `mtu` bytes, each with a fragment header, that carry `payload`."""
    view = memoryview(payload)
    room = mtu - ipv6.HEADER_LENGTH - ipv6_ext.FRAGMENT_HEADER_LENGTH
    packets: list[bytes] = []
    offset = 0
    while offset < len(view):
        piece, more = _cut(view, offset, room)
        length = ipv6_ext.FRAGMENT_HEADER_LENGTH + len(piece)
        header = ipv6.build(
            source, destination, IPPROTO_FRAGMENT, length,
            hop_limit=hop_limit, traffic_class=traffic_class, flow_label=flow_label,
        )  # fmt: skip
        packets.append(b"".join((header, ipv6_ext.build_fragment(next_header, offset, more, identification), piece)))
        offset += len(piece)
    return packets


def copied_options(options: bytes) -> bytes:
    """The options that every fragment carries, without padding.  RFC 791 §3.1."""
    kept = [option for option in ipv4.parse_options(options) if option.kind & _COPIED]
    return b"".join(ipv4.build_option(option.kind, option.data) for option in kept)


def _cut(view: memoryview, offset: int, room: int) -> tuple[memoryview, bool]:
    """The next piece, a multiple of 8 bytes unless it is the last, and whether there are more."""
    assert room >= 8, "an MTU lets a fragment carry at least 8 bytes (RFC 791 §3.2)"
    if len(view) - offset <= room:
        return view[offset:], False
    return view[offset : offset + room // 8 * 8], True

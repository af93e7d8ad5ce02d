"""The way down: datagrams get their IP header, are cut if they must be, and wait in an interface's burst.

RFC 1122 §3.2.1 and §3.3, RFC 6864 (identification), RFC 8200 §5 (packet size), RFC 1191 and 8201 (path MTU).
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ustack import errors
from ustack.drops import Drop
from ustack.ip.fragment import fragment_ipv4, fragment_ipv6
from ustack.ip.interface import Interface
from ustack.native import lib
from ustack.wire import Buffer, ipv4, ipv6

if TYPE_CHECKING:
    from ustack.ip.layer import IpLayer

_HEADROOM = 10
"""Bytes in front of each frame of a burst, for its virtio_net_hdr."""


@dataclass(slots=True)
class Fields:
    """What a sender may ask of the IP header."""

    ttl: int
    traffic_class: int
    flow_label: int
    dont_fragment: bool
    discover_path_mtu: bool
    ignore_path_mtu: bool
    options: bytes


def send(
    layer: IpLayer, source: bytes, destination: bytes, protocol: int, payload: Buffer, now: int, fields: Fields,
    interface: Interface | None,
) -> None:  # fmt: skip
    """`IpLayer.send`."""
    outgoing, mtu = layer.outlet(destination, source, interface, now)
    if fields.ignore_path_mtu:
        mtu = outgoing.mtu
    if len(destination) == 16:
        packets = _packets_ipv6(layer, source, destination, protocol, payload, mtu, fields)
    else:
        must_allow = layer.path_mtu.must_allow_fragmentation(destination, now)
        whole = fields.dont_fragment or (fields.discover_path_mtu and not must_allow)
        packets = _packets_ipv4(layer, source, destination, protocol, payload, mtu, fields, whole)
    enqueue(layer, outgoing, packets)
    if destination in layer.local.broadcast:
        with suppress(OSError):
            enqueue(layer, layer.loopback, packets)


def _packets_ipv4(
    layer: IpLayer,
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: Buffer,
    mtu: int,
    fields: Fields,
    whole: bool,
) -> list[bytes]:
    """The datagram as one packet, or as fragments; `whole` is DF for one that fits.

    The identification of a packet with DF is 0: it is never used, and so tells nothing (RFC 6864 §4.1).
    """
    options = fields.options
    header_length = ipv4.MINIMUM_HEADER_LENGTH + (len(options) + 3) // 4 * 4
    total_length = header_length + len(payload)
    if total_length > ipv4.MAXIMUM_TOTAL_LENGTH or (total_length > mtu and fields.dont_fragment):
        raise errors.error(errno.EMSGSIZE)
    if total_length > mtu:
        identification = layer.next_identification(source, destination, protocol)
        layer.statistics.datagrams_fragmented += 1
        return fragment_ipv4(
            source, destination, protocol, payload, mtu,
            identification=identification, ttl=fields.ttl, traffic_class=fields.traffic_class, options=options,
        )  # fmt: skip
    identification = 0 if whole else layer.next_identification(source, destination, protocol)
    header = ipv4.build(
        source, destination, protocol, len(payload),
        ttl=fields.ttl, traffic_class=fields.traffic_class, identification=identification, dont_fragment=whole,
        options=options,
    )  # fmt: skip
    return [b"".join((header, payload))]


def _packets_ipv6(
    layer: IpLayer, source: bytes, destination: bytes, protocol: int, payload: Buffer, mtu: int, fields: Fields
) -> list[bytes]:
    """The datagram as one packet, or as fragments."""
    total_length = ipv6.HEADER_LENGTH + len(payload)
    if len(payload) > ipv6.MAXIMUM_PAYLOAD_LENGTH or (total_length > mtu and fields.dont_fragment):
        raise errors.error(errno.EMSGSIZE)
    if fields.options:
        raise errors.error(errno.EINVAL, "IPv6 has no IPv4 options")
    if total_length > mtu:
        layer.statistics.datagrams_fragmented += 1
        return fragment_ipv6(
            source, destination, protocol, payload, mtu,
            identification=layer.identifications.take(source, destination, protocol),
            hop_limit=fields.ttl, traffic_class=fields.traffic_class, flow_label=fields.flow_label,
        )  # fmt: skip
    header = ipv6.build(
        source, destination, protocol, len(payload),
        hop_limit=fields.ttl, traffic_class=fields.traffic_class, flow_label=fields.flow_label,
    )  # fmt: skip
    return [b"".join((header, payload))]


def send_raw(layer: IpLayer, packet: bytes, now: int) -> None:
    """`IpLayer.send_raw`."""
    try:
        version6 = len(packet) > 0 and packet[0] >> 4 == 6
        destination = ipv6.parse(packet).destination if version6 else ipv4.parse(packet).destination
    except Drop as drop:
        raise errors.error(errno.EINVAL, str(drop)) from None
    outgoing, _ = layer.outlet(destination, None, None, now)
    if len(packet) > outgoing.mtu:
        raise errors.error(errno.EMSGSIZE)
    enqueue(layer, outgoing, [packet])


def enqueue(layer: IpLayer, interface: Interface, packets: list[bytes]) -> None:
    """Put packets into the interface's burst, all or none.  Raises ENOBUFS when they do not fit."""
    burst = interface.outgoing
    cdata = burst.cdata
    if len(packets) > 1:
        needed = sum(map(len, packets)) + len(packets) * _HEADROOM
        if cdata.count + len(packets) > lib.BURST_FRAMES or cdata.used + needed > cdata.capacity:
            layer.statistics.datagrams_refused += 1
            raise errors.error(errno.ENOBUFS)
    for packet in packets:
        if not burst.append(packet):
            layer.statistics.datagrams_refused += 1
            raise errors.error(errno.ENOBUFS)

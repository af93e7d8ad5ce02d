"""An IP layer with a device that is only a burst, and the packets that a peer would send it."""

from __future__ import annotations

from typing import Any

import pytest

from ustack.address import InterfaceAddress, parse_address
from ustack.config import IpConfig
from ustack.drops import Drop, DropReason
from ustack.entropy import SeededEntropy
from ustack.ip import icmp
from ustack.ip.icmp import IcmpError
from ustack.ip.interface import Interface
from ustack.ip.layer import IpLayer
from ustack.ip.packet import Packet
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6

PEER4, HOST4 = parse_address("10.9.0.1"), parse_address("10.9.0.2")
PEER6, HOST6 = parse_address("fd00::1"), parse_address("fd00::2")
PEER = {4: PEER4, 6: PEER6}
HOST = {4: HOST4, 6: HOST6}
SECOND = 1_000_000_000


class Host:
    """A layer with `tun` at 10.9.0.2/24 and fd00::2/64; `now` is what its calls are given."""

    def __init__(self, mtu: int = 1500, seed: int = 1, **config: Any) -> None:
        self.config = IpConfig(**config)
        self.layer = IpLayer(self.config, SeededEntropy(seed))
        self.now = 5 * SECOND
        self.tun = self.add("tun", mtu, "10.9.0.2/24", "fd00::2/64")

    def add(self, name: str, mtu: int, *addresses: str) -> Interface:
        return self.layer.add_interface(name, mtu, [InterfaceAddress.parse(text) for text in addresses])

    def receive(self, packet: bytes, interface: Interface | None = None, **more: Any) -> Packet | None:
        return self.layer.receive(interface or self.tun, memoryview(packet), self.now, **more)

    def whole(self, packet: bytes, interface: Interface | None = None) -> Packet:
        received = self.receive(packet, interface)
        assert received is not None, "the datagram is whole"
        return received

    def drops(self, packet: bytes, interface: Interface | None = None) -> DropReason:
        """The reason for which the packet is dropped."""
        with pytest.raises(Drop) as caught:
            self.receive(packet, interface)
        return caught.value.reason

    def icmp(self, packet: bytes, interface: Interface | None = None) -> IcmpError | None:
        return icmp.receive(self.layer, self.whole(packet, interface), self.now)

    def drops_icmp(self, packet: bytes) -> DropReason:
        with pytest.raises(Drop) as caught:
            self.icmp(packet)
        return caught.value.reason

    def sent(self, interface: Interface | None = None) -> list[bytes]:
        """What waits for the device, and is taken."""
        burst = (interface or self.tun).outgoing
        packets = [bytes(frame) for frame in burst.frames()]
        burst.clear()
        return packets

    def only(self, interface: Interface | None = None) -> bytes:
        packets = self.sent(interface)
        assert len(packets) == 1
        return packets[0]


def ipv4_packet(payload: bytes = b"payload", protocol: int = 17, **fields: Any) -> bytes:
    """From the peer to the host unless `source` or `destination` are given."""
    source, destination = fields.pop("source", PEER4), fields.pop("destination", HOST4)
    return ipv4.build(source, destination, protocol, len(payload), **fields) + payload


def ipv6_packet(payload: bytes = b"payload", next_header: int = 17, **fields: Any) -> bytes:
    source, destination = fields.pop("source", PEER6), fields.pop("destination", HOST6)
    return ipv6.build(source, destination, next_header, len(payload), **fields) + payload


def any_packet(version: int, payload: bytes = b"payload", protocol: int = 17, **fields: Any) -> bytes:
    return ipv4_packet(payload, protocol, **fields) if version == 4 else ipv6_packet(payload, protocol, **fields)


def icmpv4_packet(message: bytes, **fields: Any) -> bytes:
    return ipv4_packet(message, 1, **fields)


def icmpv6_packet(kind: int, code: int = 0, rest: bytes = bytes(4), body: bytes = b"", **fields: Any) -> bytes:
    source, destination = fields.get("source", PEER6), fields.get("destination", HOST6)
    return ipv6_packet(icmpv6.build(source, destination, kind, code, rest, body), 58, **fields)


def fragment4(offset: int, data: bytes, more: bool, identification: int = 7, **fields: Any) -> bytes:
    return ipv4_packet(data, fragment_offset=offset, more_fragments=more, identification=identification, **fields)


def fragment6(
    offset: int,
    data: bytes,
    more: bool,
    identification: int = 7,
    next_header: int = 17,
    before: bytes = b"",
    **fields: Any,
) -> bytes:
    """`before` holds extension headers in front of the fragment header; the caller says which by `first_header`."""
    first = fields.pop("first_header", 44)
    header = bytes((next_header, 0)) + (offset | more).to_bytes(2, "big") + identification.to_bytes(4, "big")
    return ipv6_packet(before + header + data, first, **fields)


def fragment(version: int, offset: int, data: bytes, more: bool, identification: int = 7, **fields: Any) -> bytes:
    return (fragment4 if version == 4 else fragment6)(offset, data, more, identification, **fields)


class SentIcmp:
    """An ICMP message that the host sent: its IP header, its fields and what it quotes."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        if packet[0] >> 4 == 4:
            header = ipv4.parse(packet)
            self.source, self.destination, self.protocol = header.source, header.destination, header.protocol
            self.traffic_class, self.ttl = header.traffic_class, header.ttl
            message: icmpv4.IcmpMessage | icmpv6.IcmpMessage = icmpv4.parse(packet[header.header_length :])
        else:
            header6 = ipv6.parse(packet)
            self.source, self.destination, self.protocol = header6.source, header6.destination, header6.next_header
            self.traffic_class, self.ttl = header6.traffic_class, header6.hop_limit
            message = icmpv6.parse(packet[40:], self.source, self.destination)
        self.type, self.code, self.rest = message.type, message.code, message.rest
        self.pointer = message.pointer
        self.body = bytes(message.body)

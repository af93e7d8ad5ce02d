"""A whole stack with one device that is only a burst, and the datagrams that a peer would send it."""

from __future__ import annotations

from typing import Any

from ustack.address import parse_address
from ustack.burst import Burst
from ustack.config import StackConfig
from ustack.constants import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_RAW
from ustack.drops import DropReason
from ustack.endpoint import Endpoint
from ustack.entropy import SeededEntropy
from ustack.stack import Stack
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6, udp

PEER = {4: parse_address("10.9.0.1"), 6: parse_address("fd00::1")}
HOST = {4: parse_address("10.9.0.2"), 6: parse_address("fd00::2")}
FAMILY = {4: AF_INET, 6: AF_INET6}
SECOND = 1_000_000_000


class StackHost:
    """A stack whose device `tun` has 10.9.0.2/24 and fd00::2/64; `now` is what its calls are given."""

    def __init__(self, *, fast_path: bool = False, mtu: int = 1500, config: StackConfig | None = None) -> None:
        self.stack = Stack(config, entropy=SeededEntropy(1), fast_path=fast_path)
        self.tun = self.stack.add_interface("tun", mtu, ["10.9.0.2/24", "fd00::2/64"])
        self.now = 5 * SECOND

    def udp(self, version: int = 4, address: bytes | None = None, port: int = 0, **options: Any) -> Any:
        """A UDP endpoint with these options, bound if a port or an address is given."""
        endpoint = self._with(self.stack.open(FAMILY[version], SOCK_DGRAM, 0), options)
        if port or address is not None:
            endpoint.bind(bytes(4 if version == 4 else 16) if address is None else address, port)
        return endpoint

    def raw(self, protocol: int, version: int = 4, **options: Any) -> Any:
        return self._with(self.stack.open(FAMILY[version], SOCK_RAW, protocol), options)

    def _with(self, endpoint: Any, options: dict[str, Any]) -> Endpoint:
        endpoint.observer = True
        for name, value in options.items():
            setattr(endpoint.options, name, value)
            endpoint.option_changed(name, self.now)
        found: Endpoint = endpoint
        return found

    def receive(self, *packets: bytes) -> None:
        """Let packets come in, in one burst."""
        burst = Burst()
        for packet in packets:
            assert burst.append(packet)
        self.receive_burst(burst)

    def receive_burst(self, burst: Burst) -> None:
        self.stack.receive(self.tun, burst, self.now)

    def sent(self) -> list[bytes]:
        """What leaves by the device."""
        packets: list[bytes] = []
        while ready := self.stack.transmit(self.now):
            for interface in ready:
                packets += [bytes(frame) for frame in interface.outgoing.frames()]
                interface.outgoing.clear()
        return packets

    def only(self) -> bytes:
        packets = self.sent()
        assert len(packets) == 1
        return packets[0]

    def events(self) -> list[tuple[Endpoint, int]]:
        return self.stack.take_events()

    def drops(self) -> dict[DropReason, int]:
        """The counters so far, which start anew."""
        counted = {reason: count for reason, count in self.stack.counters.items() if count}
        self.stack.counters.clear()
        return counted


def taken(endpoint: Any, size: int = 70000, flags: int = 0) -> bytes:
    """One datagram's payload."""
    buffer = bytearray(size)
    count, _, _ = endpoint.receive_into(memoryview(buffer), flags, 0)
    return bytes(buffer[:count])


def all_taken(endpoint: Any) -> list[bytes]:
    """The payloads of all datagrams that wait."""
    payloads: list[bytes] = []
    while True:
        try:
            payloads.append(taken(endpoint))
        except BlockingIOError:
            return payloads


def packet(version: int, transport: bytes, protocol: int, **fields: Any) -> bytes:
    """From the peer to the host, unless `source` or `destination` are given."""
    source, destination = fields.pop("source", PEER[version]), fields.pop("destination", HOST[version])
    if version == 4:
        return ipv4.build(source, destination, protocol, len(transport), **fields) + transport
    return ipv6.build(source, destination, protocol, len(transport), **fields) + transport


def datagram(version: int, payload: bytes, port: int = 53, peer_port: int = 9000, **fields: Any) -> bytes:
    """A UDP datagram; `checksum=False` leaves it without one."""
    source, destination = fields.get("source", PEER[version]), fields.get("destination", HOST[version])
    header = udp.build(source, destination, peer_port, port, payload, fields.pop("checksum", True))
    return packet(version, header + payload, 17, **fields)


def icmp_error_about(sent: bytes, kind: int, code: int, rest: bytes = bytes(4), reporter: bytes | None = None) -> bytes:
    """An ICMP error about a packet that the host has sent."""
    version = sent[0] >> 4
    source = reporter or PEER[version]
    quote = sent[:576]
    if version == 4:
        return packet(4, icmpv4.build(kind, code, rest, quote), 1, source=source)
    message = icmpv6.build(source, HOST[6], kind, code, rest, quote)
    return packet(6, message, 58, source=source)


def port_unreachable(sent: bytes) -> bytes:
    return icmp_error_about(sent, 3, 3) if sent[0] >> 4 == 4 else icmp_error_about(sent, 1, 4)


def too_big(sent: bytes, mtu: int) -> bytes:
    return (
        icmp_error_about(sent, 3, 4, bytes(2) + mtu.to_bytes(2, "big"))
        if sent[0] >> 4 == 4
        else icmp_error_about(sent, 2, 0, mtu.to_bytes(4, "big"))
    )

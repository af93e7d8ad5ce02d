"""`RawEndpoint`: the user's calls of a raw socket."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.address import is_multicast, is_unspecified
from ustack.constants import (
    AF_INET,
    AF_INET6,
    IP_PMTUDISC_DONT,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_RAW,
    MSG_OOB,
    SOCK_RAW,
)
from ustack.datagram import DatagramEndpoint
from ustack.endpoint import Address
from ustack.raw.header_included import complete_ipv4, complete_ipv6
from ustack.wire.checksum import internet_checksum, pseudo_header_sum

if TYPE_CHECKING:
    from ustack.datagram.protocol import Path
    from ustack.ip.icmp import IcmpError
    from ustack.ip.packet import Packet
    from ustack.raw.protocol import RawProtocol

LENGTH_MAX = 65535
ICMPV6_CHECKSUM_OFFSET = 2
_UNKNOWN_TYPE_IPV4 = 32
"""ICMP types from here on pass every ICMP_FILTER."""


class RawEndpoint(DatagramEndpoint):
    """A raw socket for one IP protocol, which is also its local port in names, as on Linux.

    Binding to an address and connecting to one are filters of what is received.
    """

    __slots__ = ("_bound_address", "_path", "raw")

    def __init__(self, raw: RawProtocol, family: int, protocol: int) -> None:
        super().__init__(raw, family, SOCK_RAW, protocol)
        self.raw = raw
        self.local_port = protocol
        self.options.header_included = protocol == IPPROTO_RAW
        self._bound_address: bytes | None = None
        self._path: Path | None = None
        """Source and destination while connected."""

    @property
    def checksum_offset(self) -> int | None:
        """Where the stack computes and checks a checksum: IPV6_CHECKSUM, and in ICMPv6 always.  RFC 3542 §3.1."""
        if self.family == AF_INET:
            return None
        return ICMPV6_CHECKSUM_OFFSET if self.protocol == IPPROTO_ICMPV6 else self.options.checksum_offset

    # Names.

    def bind(self, address: bytes, port: int) -> None:
        """Receive only what comes to this address, and send from it; the port is ignored.

        Raises EINVAL if connected, EADDRNOTAVAIL.
        """
        if self.remote_address is not None:
            raise errors.error(errno.EINVAL, "the socket is connected")
        self._check_bindable(address)
        self._bound_address = None if is_unspecified(address) else address
        self.local_address = self._bound_address

    def _check_bindable(self, address: bytes) -> None:
        if self.family == AF_INET and len(address) == 16:
            raise errors.error(errno.EAFNOSUPPORT)
        if self.family == AF_INET6 and len(address) == 4:
            raise errors.error(errno.EADDRNOTAVAIL, "raw IPv6 sockets have no IPv4")
        ip = self.raw.ip
        if not (is_unspecified(address) or ip.is_local(address) or is_multicast(address) or ip.is_broadcast(address)):
            raise errors.error(errno.EADDRNOTAVAIL)

    def connect(self, address: bytes, port: int, now: int) -> None:
        """Send to this address, and receive only what comes from there.  Raises EACCES, ENETUNREACH, EAFNOSUPPORT."""
        self._path = self._path_to(address)
        source, destination = self._path
        if self.local_address is None:
            self.local_address = source
        self.remote_address, self.remote_port = destination, port

    def disconnect(self, now: int) -> None:
        """Receive from everywhere again, at every address if none was bound: connect() to AF_UNSPEC."""
        self.local_address = self._bound_address
        self.remote_address, self.remote_port, self._path = None, 0, None

    def _path_to(self, address: bytes) -> Path:
        if self.family == AF_INET6 and len(address) == 4:
            raise errors.error(errno.ENETUNREACH, "raw IPv6 sockets have no IPv4")
        return self.raw.path(self, address)

    def close(self, now: int) -> None:
        """Let go of all that is queued."""
        super().close(now)
        self.raw.forget(self)

    def option_changed(self, name: str, now: int) -> None:
        """As `DatagramEndpoint`; EOPNOTSUPP for another protocol's filter, EINVAL for a bad IPV6_CHECKSUM."""
        super().option_changed(name, now)
        if name == "icmp_filter" and (self.family != AF_INET or self.protocol != IPPROTO_ICMP):
            raise errors.error(errno.EOPNOTSUPP)
        if name == "icmpv6_filter" and (self.family != AF_INET6 or self.protocol != IPPROTO_ICMPV6):
            raise errors.error(errno.EOPNOTSUPP)
        if name == "checksum_offset":
            offset = self.options.checksum_offset
            if self.protocol == IPPROTO_ICMPV6 or (offset is not None and (offset < 0 or offset % 2)):
                raise errors.error(errno.EINVAL)

    # Receiving.

    def is_between(self, local: bytes, remote: bytes) -> bool:
        """Whether packets between these addresses concern this socket."""
        if self.local_address is not None and self.local_address != local:
            return False
        return self.remote_address is None or self.remote_address == remote

    def wants(self, packet: Packet) -> bool:
        """Whether a packet of the socket's protocol passes its filters."""
        if not self.is_between(packet.destination, packet.source):
            return False
        options = self.options
        if options.icmp_filter:
            return bool(packet.payload) and _passes_icmp_filter(options.icmp_filter, packet.payload[0])
        if options.icmpv6_filter:
            return bool(packet.payload) and not options.icmpv6_filter >> packet.payload[0] & 1
        return True

    def report_icmp(self, error: IcmpError) -> None:
        """An ICMP error about a packet that this socket may have sent."""
        hard = error.hard
        if error.mtu is not None:
            hard = error.version == 4 and self.options.path_mtu_discovery != IP_PMTUDISC_DONT
        self.report(error, hard, 0, error.quoted.transport)

    # Sending.

    def send(self, data: Any, flags: int, destination: Address | None, now: int) -> int:
        """Send the payload of a packet, or with header_included a whole one, to `destination` or the connected address.

        The port of an IPv6 destination is 0 or the IP protocol, which only an IPPROTO_RAW socket may choose.  Raises
        EMSGSIZE, EDESTADDRREQ, EINVAL for a malformed header or another protocol, EFAULT for ICMP without type and
        code, EACCES for a broadcast address without SO_BROADCAST, EPIPE after shutdown, EAGAIN while the device takes
        nothing, the pending error, and what the route says.
        """
        payload = bytes(data)
        if len(payload) > LENGTH_MAX:
            raise errors.error(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise errors.error(errno.EOPNOTSUPP)
        path, protocol = self._where(destination)
        self.check_sending()
        if self.options.header_included:
            self._send_packet(payload, path, now)
        else:
            self._send_payload(payload, path, protocol, now)
        return len(payload)

    def _where(self, destination: Address | None) -> tuple[Path, int]:
        """The addresses and the IP protocol of what is sent."""
        if destination is None:
            if self._path is None:
                raise errors.error(errno.EDESTADDRREQ)
            return self._path, self.protocol
        address, port = destination
        protocol = port if self.family == AF_INET6 and port else self.protocol
        if protocol > 255 or self.protocol not in (protocol, IPPROTO_RAW):
            raise errors.error(errno.EINVAL, "the port names another protocol")
        return self._path_to(address), protocol

    def _send_packet(self, packet: bytes, path: Path, now: int) -> None:
        ip = self.raw.ip
        if self.family == AF_INET:
            packet = complete_ipv4(packet, path[0], ip.next_identification)
        else:
            packet = complete_ipv6(packet, path[0])
        try:
            ip.send_raw(packet, now)
        except OSError as problem:
            if problem.errno == errno.ENOBUFS:
                self.raw.wait_for_room(self, path)
            raise

    def _send_payload(self, payload: bytes, path: Path, protocol: int, now: int) -> None:
        if protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6) and len(payload) < 2:
            raise errors.error(errno.EFAULT, "an ICMP message without type and code")
        offset = self.checksum_offset
        label = 0
        if self.family == AF_INET6:
            label = self.raw.ip.flow_label(*path, protocol, 0, 0)
        if offset is not None:
            payload = _with_checksum(payload, offset, path, protocol)
        self.raw.transmit(self, path, protocol, payload, now, label)


def _passes_icmp_filter(blocked: int, message_type: int) -> bool:
    """ICMP_FILTER: a set bit blocks its type.  raw(7)."""
    return message_type >= _UNKNOWN_TYPE_IPV4 or not blocked >> message_type & 1


def _with_checksum(payload: bytes, offset: int, path: Path, protocol: int) -> bytes:
    """The payload with its checksum at `offset`.  Raises EINVAL if it is too short."""
    if offset + 2 > len(payload):
        raise errors.error(errno.EINVAL, "no room for the checksum")
    cleared = b"".join((payload[:offset], b"\0\0", payload[offset + 2 :]))
    checksum = internet_checksum(cleared, pseudo_header_sum(*path, protocol, len(payload)))
    return b"".join((payload[:offset], checksum.to_bytes(2, "big"), payload[offset + 2 :]))

"""`DatagramProtocol`: what all datagram sockets of one protocol share."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ustack import errors
from ustack.address import is_multicast, is_unspecified
from ustack.config import UdpConfig
from ustack.constants import AF_INET, AF_INET6, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE, IP_PMTUDISC_WANT
from ustack.datagram.queue import Record
from ustack.endpoint import WRITABLE, Endpoint
from ustack.wire import Buffer

if TYPE_CHECKING:
    from ustack.datagram.endpoint import DatagramEndpoint
    from ustack.ip.interface import Interface
    from ustack.ip.layer import IpLayer

Path = tuple[bytes, bytes]
"""Source and destination of what is sent."""


class DatagramProtocol:
    """The datagram sockets of one protocol: `endpoints` in the order of their opening."""

    def __init__(self, ip: IpLayer, config: UdpConfig, events: list[tuple[Endpoint, int]]) -> None:
        self.ip = ip
        self.config = config
        self.events = events
        self.endpoints: dict[Endpoint, None] = {}
        self.blocked: dict[DatagramEndpoint, Interface] = {}
        """Endpoints that were told to wait, and the interfaces whose frames must go first."""
        self.record = Record()

    def path(self, endpoint: DatagramEndpoint, destination: bytes) -> Path:
        """The addresses of a datagram from `endpoint`, whose local address may leave the choice open.

        Raises EACCES for a broadcast address without SO_BROADCAST, ENETUNREACH and EAFNOSUPPORT for the wrong IP
        version, and as `IpLayer.select_source` does.
        """
        local = endpoint.local_address
        if local is not None and is_unspecified(local):
            local = None
        self._check_version(endpoint, local, destination)
        if local is not None and not self.ip.is_local(local):
            local = None  # bound to a group or a broadcast address, which cannot be a source
        destination = self.ip.resolve_unspecified(destination, local)
        if not endpoint.options.broadcast and self.ip.is_broadcast(destination):
            raise errors.error(errno.EACCES, "a broadcast address, and no SO_BROADCAST")
        return local or self.ip.select_source(destination), destination

    @staticmethod
    def _check_version(endpoint: DatagramEndpoint, local: bytes | None, destination: bytes) -> None:
        """IPv4 wants an AF_INET socket or a dual-mode one that is not bound to IPv6; IPv6 the same the other way."""
        if len(destination) == 4:
            if (endpoint.family == AF_INET6 and endpoint.options.ipv6_only) or (local and len(local) == 16):
                raise errors.error(errno.ENETUNREACH)
        elif endpoint.family == AF_INET or (local and len(local) == 4):
            raise errors.error(errno.EAFNOSUPPORT)

    def transmit(
        self, endpoint: DatagramEndpoint, path: Path, protocol: int, payload: Buffer, now: int, flow_label: int = 0
    ) -> None:
        """Send `payload`, transport header and data, with the endpoint's options.

        Raises EAGAIN while the interface's burst is full, EMSGSIZE, and as `IpLayer.send` does.
        """
        options = endpoint.options
        source, destination = path
        to_group = is_multicast(destination)
        if to_group and not options.multicast_ttl:
            return
        try:
            self.ip.send(
                source, destination, protocol, payload, now,
                ttl=options.multicast_ttl if to_group else options.ttl,
                traffic_class=options.traffic_class,
                flow_label=flow_label if options.flow_label is None else options.flow_label,
                dont_fragment=options.path_mtu_discovery in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE),
                discover_path_mtu=options.path_mtu_discovery == IP_PMTUDISC_WANT,
                ignore_path_mtu=options.path_mtu_discovery >= IP_PMTUDISC_PROBE,
            )  # fmt: skip
        except OSError as problem:
            if problem.errno == errno.ENOBUFS:
                self.wait_for_room(endpoint, path)
            raise

    def wait_for_room(self, endpoint: DatagramEndpoint, path: Path) -> None:
        """Have the endpoint wait until the frames before its own have left: raise EAGAIN, unless there are none."""
        source, destination = path
        interface = self.ip.output_interface(destination, source)
        if len(interface.outgoing):
            self.blocked[endpoint] = interface
            raise errors.error(errno.EAGAIN)

    def resume(self) -> None:
        """Tell endpoints that waited for room in a burst which has room now."""
        for endpoint, interface in list(self.blocked.items()):
            if not len(interface.outgoing):
                del self.blocked[endpoint]
                endpoint.raise_event(WRITABLE)

    def own_address(self, destination: bytes, interface_index: int) -> bytes | None:
        """The address of this host that a datagram to `destination` reached by an interface."""
        if self.ip.is_local(destination):
            return destination
        for interface in self.ip.interfaces:
            if interface.index == interface_index:
                same = (own.address for own in interface.addresses if len(own.address) == len(destination))
                return next(same, None)
        return None

"""`UdpEndpoint`: the user's calls of a UDP socket."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.address import ANY_IPV4, ANY_IPV6, is_multicast, is_unspecified
from ustack.constants import AF_INET, AF_INET6, IPPROTO_UDP, MSG_OOB, SOCK_DGRAM
from ustack.datagram import DatagramEndpoint
from ustack.endpoint import Address
from ustack.ports import Binding
from ustack.wire import udp as wire

if TYPE_CHECKING:
    from ustack.datagram.protocol import Path
    from ustack.udp.protocol import UdpProtocol


class UdpEndpoint(DatagramEndpoint):
    """A UDP socket: unconnected, or connected to one remote endpoint, which is all that it then hears of."""

    __slots__ = ("_address_chosen", "_path", "_port_chosen", "binding", "udp")

    def __init__(self, udp: UdpProtocol, family: int) -> None:
        super().__init__(udp, family, SOCK_DGRAM, IPPROTO_UDP)
        self.udp = udp
        self.binding: Binding | None = None
        self._address_chosen = False
        self._port_chosen = False
        self._path: Path | None = None
        """Source and destination while connected."""

    # Names.

    def bind(self, address: bytes, port: int) -> None:
        """Bind to an address of this host, the wildcard, a group or a broadcast address; port 0 picks an ephemeral one.

        Raises EINVAL if bound before (a send or connect binds too) or for IPv4 on an IPv6-only socket, EAFNOSUPPORT,
        EADDRNOTAVAIL, EADDRINUSE.
        """
        if self.binding is not None:
            raise errors.error(errno.EINVAL, "the socket is bound")
        self._check_bindable(address)
        self.binding = self.udp.bind(self, address, port)
        self.local_address, self.local_port = address, self.binding.port
        self._address_chosen = not is_unspecified(address)
        self._port_chosen = port != 0

    def _check_bindable(self, address: bytes) -> None:
        if self.family == AF_INET and len(address) == 16:
            raise errors.error(errno.EAFNOSUPPORT)
        if self.family == AF_INET6 and len(address) == 4 and self.options.ipv6_only:
            raise errors.error(errno.EINVAL, "an IPv4 address, and IPV6_V6ONLY")
        ip = self.udp.ip
        if not (is_unspecified(address) or ip.is_local(address) or is_multicast(address) or ip.is_broadcast(address)):
            raise errors.error(errno.EADDRNOTAVAIL)

    def _bound(self) -> Binding:
        """The binding; without one an ephemeral port is bound now."""
        if self.binding is None:
            self.binding = self.udp.bind_automatically(self)
            self.local_address, self.local_port = self.binding.address, self.binding.port
            self._address_chosen = self._port_chosen = False
        return self.binding

    def connect(self, address: bytes, port: int, now: int) -> None:
        """Send to this remote endpoint and hear of no other from now on; nothing leaves the host.

        Raises EAGAIN when no ephemeral port is left, EACCES, ENETUNREACH, EAFNOSUPPORT.
        """
        binding = self._bound()
        self._path = self.udp.path(self, address)
        source, destination = self._path
        if self.local_address is None or is_unspecified(self.local_address):
            self.udp.ports.move(binding, source)
            self.local_address = source
        self.udp.ports.connect(binding, destination, port)
        self.remote_address, self.remote_port = destination, port
        self._winner_changed(binding)

    def disconnect(self, now: int) -> None:
        """Hear of everybody again: connect() to AF_UNSPEC.  What connecting or sending had picked is given back."""
        binding = self.binding
        self.remote_address, self.remote_port, self._path = None, 0, None
        if binding is None:
            return
        self.udp.ports.disconnect(binding)
        if not self._address_chosen:
            self.local_address = ANY_IPV4 if self.family == AF_INET else ANY_IPV6
            self.udp.ports.move(binding, self.local_address)
        self._winner_changed(binding)
        if not self._port_chosen:
            self._release(binding)

    def _winner_changed(self, binding: Binding) -> None:
        """Other sockets may get what this one got until now, and the other way round."""
        cache = self.udp.cache
        cache.drop_endpoint(self)
        cache.drop_port(binding.port)
        if self.remote_address is not None:
            cache.drop_flow((binding.address, binding.port, self.remote_address, self.remote_port))

    def _release(self, binding: Binding) -> None:
        self.udp.release(binding)
        self.binding, self.local_port = None, 0
        if not self._address_chosen:
            self.local_address = None

    def close(self, now: int) -> None:
        """Let go of the port and of all that is queued."""
        super().close(now)
        self.udp.cache.forget(self)
        if self.binding is not None:
            self._release(self.binding)

    def option_changed(self, name: str, now: int) -> None:
        """As `DatagramEndpoint`; SO_REUSEADDR and SO_REUSEPORT count for binds to come."""
        super().option_changed(name, now)
        if self.binding is not None and name in ("reuse_address", "reuse_port"):
            self.udp.ports.refresh(self.binding)

    # Sending.

    def send(self, data: Any, flags: int, destination: Address | None, now: int) -> int:
        """Send one datagram, to `destination` or the remote endpoint of `connect`; an unbound socket is bound first.

        Raises EMSGSIZE, EDESTADDRREQ, EINVAL for port 0, EACCES for a broadcast address without SO_BROADCAST, EPIPE
        after shutdown, EAGAIN while the device takes nothing, the pending error, and what the route says.
        """
        binding = self._bound()
        payload = data if isinstance(data, (bytes, bytearray)) else memoryview(data).cast("B")
        if len(payload) > wire.MAXIMUM_LENGTH - wire.HEADER_LENGTH:
            raise errors.error(errno.EMSGSIZE)
        if flags & MSG_OOB:
            raise errors.error(errno.EOPNOTSUPP)
        path, port = self._where(destination)
        self.check_sending()
        self._transmit(path, binding.port, port, payload, now)
        return len(payload)

    def _where(self, destination: Address | None) -> tuple[Path, int]:
        """The addresses and the remote port of a datagram."""
        if destination is None and self._path is None:
            raise errors.error(errno.EDESTADDRREQ)
        port = self.remote_port if destination is None else destination[1]
        if not port:
            raise errors.error(errno.EINVAL, "port 0")
        if destination is None:
            assert self._path is not None, "a connected socket has a path"
            return self._path, port
        return self.udp.path(self, destination[0]), port

    def _transmit(self, path: Path, local_port: int, remote_port: int, payload: Any, now: int) -> None:
        source, destination = path
        label = 0
        if len(source) == 16:
            label = self.udp.ip.flow_label(source, destination, IPPROTO_UDP, local_port, remote_port)
        checksum = len(source) == 16 or not self.options.no_checksum
        header = wire.build(source, destination, local_port, remote_port, payload, checksum)
        self.udp.transmit(self, path, IPPROTO_UDP, b"".join((header, payload)), now, label)

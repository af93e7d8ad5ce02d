"""`PortTable`: bind, share, release and look up local ports.

All of it costs the same whatever the number of bindings, on however many addresses of one port or sockets of one
address.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from ustack import errors
from ustack.address import ANY_IPV6
from ustack.constants import AF_INET6, IPPROTO_TCP
from ustack.drops import Drop, DropReason
from ustack.endpoint import Endpoint
from ustack.entropy import Entropy
from ustack.flow import FlowTable
from ustack.native import lib
from ustack.ports.binding import Binding, Place, PortUse, places_open_to
from ustack.ports.ephemeral import EphemeralPorts
from ustack.ports.explain import Explanation, explain

InUse = Callable[[int], bool]
"""Tells of a port that the caller knows to be taken, beyond what the table knows."""

ConnectedKey = tuple[int, bytes, int, bytes, int]


class PortTable:
    """The local ports of one stack, for all protocols that have ports.

    Sharing follows Linux.  Two bindings of one protocol and port exclude each other if their addresses overlap
    (equal, or one is a wildcard that covers the other), unless both endpoints have SO_REUSEADDR and the earlier one
    is no TCP listener, or both have SO_REUSEPORT.
    """

    def __init__(self, entropy: Entropy, ephemeral_ports: tuple[int, int]) -> None:
        self.ephemeral = EphemeralPorts(entropy, *ephemeral_ports)
        self._spread_key = entropy.take(16)
        self._uses: dict[tuple[int, int], PortUse] = {}
        self._connected: dict[ConnectedKey, Place] = {}
        self._age = 0

    # Holding ports.

    def bind(
        self,
        endpoint: Endpoint,
        protocol: int,
        address: bytes,
        port: int,
        in_use: InUse | None = None,
        *,
        remote: bytes | None = None,
        remote_port: int = 0,
    ) -> Binding:
        """Hold `port` of `address` (all zeros: of every address) for `endpoint`; port 0 picks an ephemeral one.

        The options of `endpoint` say how it shares; an AF_INET6 endpoint at :: without IPV6_V6ONLY takes IPv4 too.
        Whether the address is this host's is the caller's to check.  `in_use`, `remote` and `remote_port` are as for
        `pick_ephemeral`.

        Raises EADDRINUSE; EADDRNOTAVAIL if `remote` is given and no port is left.
        """
        options = endpoint.options
        dual_mode = endpoint.family == AF_INET6 and address == ANY_IPV6 and not options.ipv6_only
        binding = Binding(endpoint, protocol, address, port, dual_mode, options.reuse_address, options.reuse_port)
        if not port:
            binding.port = self.pick_ephemeral(protocol, binding.place, remote, remote_port, in_use)
        elif self._conflicts(binding):
            raise errors.error(errno.EADDRINUSE)
        self._enter(binding)
        return binding

    def share(self, binding: Binding, endpoint: Endpoint, address: bytes | None = None) -> Binding:
        """Hold the same port for a connection that a listener accepts, at its own local address; no conflict."""
        child = Binding(
            endpoint,
            binding.protocol,
            address or binding.address,
            binding.port,
            binding.dual_mode and address is None,
            binding.reuse_address,
            binding.reuse_port,
        )
        self._enter(child)
        return child

    def release(self, binding: Binding) -> None:
        """Let go of a port."""
        self._leave(binding)

    def listen(self, binding: Binding) -> None:
        """Make a binding a listener, a candidate of `lookup`.

        Raises EADDRINUSE: what may share a port by SO_REUSEADDR may not listen twice on it.
        """
        if binding.listening:
            return
        self._leave(binding)
        conflict = self._conflicts(binding)
        binding.listening = not conflict
        self._enter(binding)
        if conflict:
            raise errors.error(errno.EADDRINUSE)

    def stop_listening(self, binding: Binding) -> None:
        """The binding holds its port still, but takes no more packets (shutdown of a listener)."""
        self._leave(binding)
        binding.listening = False
        self._enter(binding)

    def move(self, binding: Binding, address: bytes) -> None:
        """The local address has become known, or a wildcard again, by connecting or disconnecting; no conflict."""
        self._leave(binding)
        binding.address = address
        endpoint = binding.endpoint
        binding.dual_mode = endpoint.family == AF_INET6 and address == ANY_IPV6 and not endpoint.options.ipv6_only
        self._enter(binding)

    def connect(self, binding: Binding, remote: bytes, remote_port: int) -> None:
        """Take packets from this remote endpoint only, and before all others: for datagram bindings."""
        self._leave(binding)
        binding.remote = (remote, remote_port)
        self._enter(binding)

    def disconnect(self, binding: Binding) -> None:
        """Take packets from everywhere again: for datagram bindings."""
        self._leave(binding)
        binding.remote = None
        self._enter(binding)

    def refresh(self, binding: Binding) -> None:
        """SO_REUSEADDR or SO_REUSEPORT of a bound endpoint was changed: later binds see it; its group stays."""
        options = binding.endpoint.options
        self._uses[binding.protocol, binding.port].recount(binding, options.reuse_address, options.reuse_port)

    def pick_ephemeral(
        self,
        protocol: int,
        place: bytes,
        remote: bytes | None = None,
        remote_port: int = 0,
        in_use: InUse | None = None,
    ) -> int:
        """A port of the ephemeral range that nobody who overlaps `place` holds and that `in_use` does not know.

        `place` is a local address or wildcard (empty: the wildcard of both versions).  With `remote` the choice is
        hashed (RFC 6056 §3.3.4), which keeps ports to one remote endpoint apart for long; without it is random.
        Raises EADDRNOTAVAIL with a remote, EADDRINUSE without.
        """
        for port in self.ephemeral.ports(place, remote, remote_port):
            if self.is_free(protocol, place, port) and not (in_use and in_use(port)):
                return port
        raise errors.error(errno.EADDRINUSE if remote is None else errno.EADDRNOTAVAIL, "no ephemeral port is left")

    def is_free(self, protocol: int, place: bytes, port: int) -> bool:
        """Whether nobody holds `port` at an overlapping place, sharing or not."""
        use = self._uses.get((protocol, port))
        return use is None or not any(tally.total for tally in use.overlapping(place))

    def _conflicts(self, binding: Binding) -> bool:
        use = self._uses.get((binding.protocol, binding.port))
        return use is not None and not all(tally.admits(binding) for tally in use.overlapping(binding.place))

    def _enter(self, binding: Binding) -> None:
        assert not binding.held, "a binding enters the table once"
        binding.held = True
        key = binding.protocol, binding.port
        use = self._uses.get(key)
        if use is None:
            use = self._uses[key] = PortUse()
        place = use.hold(binding)
        if not binding.is_candidate:
            return
        self._age += 1
        binding.age = self._age
        (self._connected.setdefault(_connected_key(binding), Place()) if binding.remote else place).offer(binding)

    def _leave(self, binding: Binding) -> None:
        assert binding.held, "a binding that leaves the table is in it"
        binding.held = False
        key = binding.protocol, binding.port
        use = self._uses[key]
        if binding.is_candidate:
            self._withdraw(binding, use)
        use.let_go(binding)
        if not use.places:
            del self._uses[key]

    def _withdraw(self, binding: Binding, use: PortUse) -> None:
        if not binding.remote:
            use.places[binding.place].withdraw(binding)
            return
        key = _connected_key(binding)
        self._connected[key].withdraw(binding)
        if not self._connected[key].newest:
            del self._connected[key]

    # Finding who gets a packet.

    def lookup(self, protocol: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> Endpoint | None:
        """The endpoint for a unicast packet from `remote` to `local` that belongs to no known flow, or None.

        First an endpoint connected to the remote one, then one bound to the address, then to the wildcard, then to
        the wildcard of both versions; among equals the newest; in a SO_REUSEPORT group the one that the flow's keyed
        hash falls to.

        Raises Drop TCP_PORT_ZERO.
        """
        binding = self.winner(protocol, local, local_port, remote, remote_port)
        return binding.endpoint if binding else None

    def winner(self, protocol: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> Binding | None:
        """As `lookup`, but the binding."""
        if protocol == IPPROTO_TCP and not (local_port and remote_port):
            raise Drop(DropReason.TCP_PORT_ZERO)
        connected = self._connected.get((protocol, local, local_port, remote, remote_port))
        if connected:
            return connected.newest
        use = self._uses.get((protocol, local_port))
        if use is None:
            return None
        place = use.first_with_candidate(local)
        return place.choose(self._flow_hash(place, local, local_port, remote, remote_port)) if place else None

    def _flow_hash(self, place: Place, local: bytes, local_port: int, remote: bytes, remote_port: int) -> int:
        """SipHash of the flow under the table's own key: no remote can aim at a member.  0 if nothing is to choose."""
        if not place.group:
            return 0
        identity = local + remote + local_port.to_bytes(2, "big") + remote_port.to_bytes(2, "big")
        value: int = lib.siphash(self._spread_key, identity, len(identity))
        return value

    def matching(self, protocol: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> list[Endpoint]:
        """Every endpoint that a broadcast or multicast packet to `local` is for, each once."""
        connected = self._connected.get((protocol, local, local_port, remote, remote_port))
        found = connected.candidates() if connected else []
        for name in (name for rank in places_open_to(local) for name in rank):
            place = self.place(protocol, local_port, name)
            found += place.candidates() if place else []
        return [binding.endpoint for binding in found]

    def place(self, protocol: int, port: int, name: bytes) -> Place | None:
        """What is held on a port at one place."""
        use = self._uses.get((protocol, port))
        return use.places.get(name) if use else None

    def connected(self, protocol: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> Place | None:
        """The datagram bindings that are connected to one remote endpoint."""
        return self._connected.get((protocol, local, local_port, remote, remote_port))

    def explain(
        self,
        protocol: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        flows: FlowTable | None = None,
    ) -> Explanation:
        """Who would get such a packet, who else might have, and why: `lookup` after `flows.find`, told step by step."""
        return explain(self, flows, protocol, local, local_port, remote, remote_port)


def _connected_key(binding: Binding) -> ConnectedKey:
    assert binding.remote is not None, "a connected binding has a remote endpoint"
    return (binding.protocol, binding.address, binding.port, *binding.remote)

"""The port table against a naive one, which looks at every binding each time."""

from __future__ import annotations

import errno
import itertools
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tests.support.raising import raises_errno
from ustack.address import ANY_IPV4, ANY_IPV6, is_unspecified
from ustack.constants import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_STREAM
from ustack.endpoint import Endpoint
from ustack.entropy import SeededEntropy
from ustack.ports import Binding, PortTable

A4, B4 = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
A6, B6 = bytes(15) + b"\x0a", bytes(15) + b"\x0b"
PLACES = [(AF_INET, ANY_IPV4), (AF_INET, A4), (AF_INET, B4), (AF_INET6, ANY_IPV6), (AF_INET6, A6), (AF_INET6, A4)]
REMOTES = [(A4, 1000), (B4, 1000), (A6, 1000), (B6, 0)]
PORT = 80
PROTOCOLS = [IPPROTO_TCP, IPPROTO_UDP]


@dataclass(eq=False)
class Held:
    """What the naive table knows of one binding."""

    endpoint: Endpoint
    binding: Binding
    protocol: int
    address: bytes
    port: int
    only: bool
    address_option: bool
    port_option: bool
    listening: bool = False
    remote: tuple[bytes, int] | None = None
    since: int = 0
    in_group: bool = False

    @property
    def versions(self) -> set[int]:
        if len(self.address) == 4:
            return {4}
        return {6} if self.only or not is_unspecified(self.address) else {4, 6}

    def covers(self, address: bytes) -> bool:
        if is_unspecified(self.address):
            return (4 if len(address) == 4 else 6) in self.versions
        return self.address == address

    def overlaps(self, other: Held) -> bool:
        if is_unspecified(self.address) and is_unspecified(other.address):
            return bool(self.versions & other.versions)
        return self.covers(other.address) or other.covers(self.address)

    def shares_with(self, earlier: Held) -> bool:
        by_address = self.address_option and earlier.address_option and not earlier.listening
        return by_address or (self.port_option and earlier.port_option)

    @property
    def takes_packets(self) -> bool:
        return self.listening or self.protocol == IPPROTO_UDP

    def score(self, local: bytes, remote: tuple[bytes, int]) -> int:
        """0 for no match; as Linux's compute_score, in other numbers."""
        if not self.takes_packets or not self.covers(local):
            return 0
        if self.remote:
            return 4 if (self.remote == remote and self.address == local) else 0
        if not is_unspecified(self.address):
            return 3
        return 1 if len(local) == 4 and len(self.address) == 16 else 2


class PortTableAgainstModel(RuleBasedStateMachine):
    """Binds, listens, connects, moves, options and releases in any order."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.table = PortTable(SeededEntropy(1), (1024, 1026))
        self.model: list[Held] = []
        self.clock = itertools.count(1)
        self.protocol = IPPROTO_TCP

    @initialize(protocol=st.sampled_from(PROTOCOLS))
    def choose_protocol(self, protocol: int) -> None:
        self.protocol = protocol

    def conflicts(self, new: Held) -> bool:
        others = [one for one in self.model if one is not new and (one.protocol, one.port) == (new.protocol, new.port)]
        return any(one.overlaps(new) and not new.shares_with(one) for one in others)

    def touched(self, one: Held) -> None:
        """It has become a candidate anew: the newest, and in the group if it shares by port now."""
        one.since = next(self.clock)
        one.in_group = one.port_option

    @rule(
        target=held,
        place=st.sampled_from(PLACES),
        port=st.sampled_from([PORT, PORT, PORT, 0]),
        options=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    )
    def bind(self, place: tuple[int, bytes], port: int, options: tuple[bool, bool, bool]) -> Held | None:
        protocol = self.protocol
        family, address = place
        endpoint = Endpoint(family, SOCK_STREAM, protocol)
        endpoint.options.reuse_address, endpoint.options.reuse_port, endpoint.options.ipv6_only = options
        only = options[2] and family == AF_INET6
        new = Held(endpoint, None, protocol, address, port, only, options[0], options[1])  # type: ignore[arg-type]
        free = [
            candidate
            for candidate in range(1024, 1027)
            if not any(one.overlaps(new) and (one.protocol, one.port) == (protocol, candidate) for one in self.model)
        ]
        if self.conflicts(new) if port else not free:
            with raises_errno(errno.EADDRINUSE):
                self.table.bind(endpoint, protocol, address, port)
            return None
        new.binding = self.table.bind(endpoint, protocol, address, port)
        assert new.binding.port in ([port] if port else free)
        new.port = new.binding.port
        self.model.append(new)
        self.touched(new)
        return new

    @rule(one=held)
    def listen(self, one: Held | None) -> None:
        if one not in self.model or one is None or one.protocol != IPPROTO_TCP or one.listening:
            return
        if self.conflicts(one):
            with raises_errno(errno.EADDRINUSE):
                self.table.listen(one.binding)
            return
        self.table.listen(one.binding)
        one.listening = True
        self.touched(one)

    @rule(one=held)
    def stop_listening(self, one: Held | None) -> None:
        if one in self.model and one is not None and one.listening:
            self.table.stop_listening(one.binding)
            one.listening = False

    @rule(target=held, one=held)
    def accept(self, one: Held | None) -> Held | None:
        if one not in self.model or one is None or not one.listening:
            return None
        child = Endpoint(one.endpoint.family, SOCK_STREAM, one.protocol)
        address = A4 if len(one.address) == 4 else A6
        binding = self.table.share(one.binding, child, address)
        new = Held(child, binding, one.protocol, address, one.port, False, one.address_option, one.port_option)
        self.model.append(new)
        return new

    @rule(one=held, remote=st.sampled_from(REMOTES))
    def connect(self, one: Held | None, remote: tuple[bytes, int]) -> None:
        if one not in self.model or one is None or one.protocol != IPPROTO_UDP:
            return
        if is_unspecified(one.address):
            one.address = A4 if 4 in one.versions else A6
            self.table.move(one.binding, one.address)
        self.table.connect(one.binding, *remote)
        one.remote = remote
        self.touched(one)

    @rule(one=held)
    def disconnect(self, one: Held | None) -> None:
        if one in self.model and one is not None and one.remote:
            self.table.disconnect(one.binding)
            one.remote = None
            self.touched(one)

    @rule(one=held, options=st.tuples(st.booleans(), st.booleans()))
    def change_options(self, one: Held | None, options: tuple[bool, bool]) -> None:
        if one in self.model and one is not None:
            one.endpoint.options.reuse_address, one.endpoint.options.reuse_port = options
            one.address_option, one.port_option = options
            self.table.refresh(one.binding)

    @rule(one=consumes(held))
    def release(self, one: Held | None) -> None:
        if one in self.model and one is not None:
            self.table.release(one.binding)
            self.model.remove(one)

    @invariant()
    def every_packet_goes_where_the_model_says(self) -> None:
        for local, remote in itertools.product([A4, B4, A6], REMOTES):
            if remote[1] or self.protocol == IPPROTO_UDP:
                self.check(self.protocol, local, PORT, remote)

    def check(self, protocol: int, local: bytes, port: int, remote: tuple[bytes, int]) -> None:
        there = [one for one in self.model if (one.protocol, one.port) == (protocol, port)]
        scored = [(one.score(local, remote), one.since, one) for one in there if one.score(local, remote)]
        best = max(scored, key=lambda entry: entry[:2], default=(0, 0, None))
        found = self.table.lookup(protocol, local, port, *remote)
        assert found in self.allowed(best[2], [entry for entry in scored if entry[0] == best[0]])
        assert set(self.table.matching(protocol, local, port, *remote)) == {one.endpoint for _, _, one in scored}
        winner = self.table.explain(protocol, local, port, *remote).winner
        assert (winner.endpoint if winner else None) is found

    @staticmethod
    def allowed(best: Held | None, equals: list[tuple[int, int, Held]]) -> list[Endpoint | None]:
        if best is None:
            return [None]
        if not best.in_group:
            return [best.endpoint]
        mates = [one for _, _, one in equals if one.in_group and one.versions == best.versions]
        return [one.endpoint for one in mates]

    def teardown(self) -> None:
        for one in self.model:
            self.table.release(one.binding)
        for protocol, port, place in itertools.product(PROTOCOLS, [PORT, *range(1024, 1027)], [b"", *REMOTES]):
            assert self.table.is_free(protocol, place if place == b"" else place[0], port)  # type: ignore[arg-type]


TestPortTableAgainstModel = PortTableAgainstModel.TestCase
TestPortTableAgainstModel.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)

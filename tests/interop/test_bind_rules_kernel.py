"""The rules by which sockets share a port, held equal to the running kernel's on its loopback interface.

Every pair of sockets, over addresses, families, IPV6_V6ONLY, SO_REUSEADDR and SO_REUSEPORT, is bound (and made to
listen) in the kernel and in a `PortTable`; both must give the same answers.  As other programs may take a port at any
moment, an answer that differs is asked for again on another port.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.endpoints import bare_endpoint
from ustack.address import parse_address
from ustack.endpoint import Endpoint
from ustack.entropy import SeededEntropy
from ustack.ports import Binding, PortTable

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
KINDS = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}


def loopback_lacks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return True
    return False


pytestmark = pytest.mark.skipif(loopback_lacks_ipv6(), reason="the kernel's loopback interface has no ::1 here")


@dataclass(frozen=True)
class Socket:
    """A socket to be bound."""

    address: str
    only: bool
    reuse_address: bool
    reuse_port: bool

    @property
    def family(self) -> int:
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    def in_kernel(self, protocol: int) -> socket.socket:
        one = socket.socket(self.family, KINDS[protocol])
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, self.reuse_address)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, self.reuse_port)
        if self.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.only)
        return one

    def in_ustack(self) -> Endpoint:
        return bare_endpoint(
            self.family, reuse_address=self.reuse_address, reuse_port=self.reuse_port, ipv6_only=self.only
        )


PLACES = [
    ("0.0.0.0", False),
    ("127.0.0.1", False),
    ("127.0.0.2", False),
    ("::", False),
    ("::", True),
    ("::1", False),
    ("::1", True),
]
SOCKETS = [Socket(*place, *options) for place in PLACES for options in itertools.product((False, True), repeat=2)]


@dataclass(frozen=True)
class Bind:
    """Bind a new socket."""

    socket: Socket


@dataclass(frozen=True)
class Listen:
    """Make the socket that was bound as number `index` a listener, if it could be bound."""

    index: int


Step = Bind | Listen


def free_port(protocol: int) -> int:
    """A port that nothing on this machine holds for the moment."""
    with socket.socket(socket.AF_INET6, KINDS[protocol]) as probe:
        probe.bind(("::", 0))
        port: int = probe.getsockname()[1]
        return port


def outcome(call: Any, *arguments: Any) -> int:
    """0, or the errno of the call."""
    try:
        call(*arguments)
    except OSError as refusal:
        return refusal.errno or -1
    return 0


def kernel_answers(protocol: int, port: int, steps: Iterable[Step]) -> list[int]:
    answers: list[int] = []
    bound: list[socket.socket | None] = []
    with ExitStack() as stack:
        for step in steps:
            if isinstance(step, Bind):
                one = stack.enter_context(step.socket.in_kernel(protocol))
                answers.append(outcome(one.bind, (step.socket.address, port)))
                bound.append(None if answers[-1] else one)
            elif one := bound[step.index]:
                answers.append(outcome(one.listen, 1))
    return answers


def ustack_answers(protocol: int, port: int, steps: Iterable[Step]) -> list[int]:
    table = PortTable(SeededEntropy(1), (1024, 65535))
    answers: list[int] = []
    bound: list[Binding | None] = []
    for step in steps:
        if isinstance(step, Bind):
            bound.append(None)
            try:
                bound[-1] = table.bind(step.socket.in_ustack(), protocol, parse_address(step.socket.address), port)
            except OSError as refusal:
                answers.append(refusal.errno or -1)
            else:
                answers.append(0)
        elif binding := bound[step.index]:
            answers.append(outcome(table.listen, binding))
    return answers


def differences(protocol: int, cases: Iterable[list[Step]]) -> list[tuple[list[Step], list[int], list[int]]]:
    """The cases in which the two answer differently, each with the kernel's answers and ours."""
    port = free_port(protocol)
    found = []
    for steps in cases:
        theirs, ours = kernel_answers(protocol, port, steps), ustack_answers(protocol, port, steps)
        if theirs != ours:
            port = free_port(protocol)
            theirs = kernel_answers(protocol, port, steps)
        if theirs != ours:
            found.append((steps, theirs, ours))
    return found


def pairs() -> Iterable[tuple[Socket, Socket]]:
    return itertools.product(SOCKETS, repeat=2)


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_two_sockets_share_a_port_exactly_where_the_kernel_lets_them(protocol: int) -> None:
    assert differences(protocol, ([Bind(first), Bind(second)] for first, second in pairs())) == []


def test_a_socket_shares_a_listeners_port_exactly_where_the_kernel_lets_it() -> None:
    cases = ([Bind(first), Listen(0), Bind(second), Listen(1)] for first, second in pairs())
    assert differences(TCP, cases) == []


def test_two_bound_sockets_may_both_listen_exactly_where_the_kernel_lets_them() -> None:
    cases = ([Bind(first), Bind(second), Listen(1), Listen(0)] for first, second in pairs())
    assert differences(TCP, cases) == []


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_with_three_sockets_ustack_is_stricter_only_where_the_kernel_stops_at_the_first_that_shares(
    protocol: int,
) -> None:
    """Linux lets a newcomer in if one SO_REUSEPORT socket of the port agrees, not asking others: ustack asks all."""
    few = [one for one in SOCKETS if one.address != "127.0.0.2" and (one.address, one.only) != ("::1", True)]
    found = differences(protocol, ([Bind(one) for one in three] for three in itertools.product(few, repeat=3)))
    for steps, theirs, ours in found:
        assert (theirs[2], ours[2]) == (0, 98)
        newcomer = steps[2].socket  # type: ignore[union-attr]
        assert newcomer.reuse_port
        assert [step.socket.reuse_port for step in steps[:2]].count(True) == 1  # type: ignore[union-attr]
    assert len(found) < len(few) ** 3 / 100


def holds_after(earlier: Socket, later: Socket, *, closed: bool) -> tuple[list[int], list[int]]:
    """Bind and listen again on the port of a connection whose listener is gone: the kernel's answers and ours.

    With `closed` the connection is in TIME-WAIT, else established.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(earlier.in_kernel(TCP))
        port = free_port(TCP)
        listener.bind((earlier.address, port))
        listener.listen(1)
        peer = "::1" if earlier.family == socket.AF_INET6 and earlier.only else "127.0.0.1"
        peer = "::1" if earlier.address == "::1" else peer
        client = stack.enter_context(socket.create_connection((peer, port)))
        accepted = stack.enter_context(listener.accept()[0])
        listener.close()
        if closed:
            accepted.close()
            client.close()
        again = stack.enter_context(later.in_kernel(TCP))
        theirs = [outcome(again.bind, (later.address, port))]
        theirs += [] if theirs[0] else [outcome(again.listen, 1)]
    table = PortTable(SeededEntropy(1), (1024, 65535))
    binding = table.bind(earlier.in_ustack(), TCP, parse_address(earlier.address), port)
    table.listen(binding)
    table.share(binding, bare_endpoint(), parse_address(peer))
    table.release(binding)
    return theirs, ours_again(table, later, port)


def ours_again(table: PortTable, later: Socket, port: int) -> list[int]:
    try:
        binding = table.bind(later.in_ustack(), TCP, parse_address(later.address), port)
    except OSError as refusal:
        return [refusal.errno or -1]
    return [0, outcome(table.listen, binding)]


@pytest.mark.parametrize("closed", [False, True], ids=["established", "time-wait"])
def test_a_port_of_lingering_connections_is_bound_again_exactly_where_the_kernel_lets_it(closed: bool) -> None:
    listeners = [one for one in SOCKETS if one.address != "127.0.0.2"]
    for earlier, later in itertools.product(listeners, SOCKETS):
        theirs, ours = holds_after(earlier, later, closed=closed)
        if ours != theirs:
            theirs, ours = holds_after(earlier, later, closed=closed)
        assert ours == theirs, (earlier, later)


def receivers(sockets: list[Socket], destination: str) -> tuple[list[int], list[int]]:
    """Which of several UDP sockets, bound in this order, gets a datagram: in the kernel, and with us."""
    port = free_port(UDP)
    table = PortTable(SeededEntropy(1), (1024, 65535))
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with ExitStack() as stack:
        bound = [stack.enter_context(one.in_kernel(UDP)) for one in sockets]
        endpoints = []
        for one, theirs in zip(sockets, bound, strict=True):
            theirs.bind((one.address, port))
            theirs.setblocking(False)
            endpoints.append(table.bind(one.in_ustack(), UDP, parse_address(one.address), port).endpoint)
        sender = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sender.sendto(b"?", (destination, port))
        got = [index for index, one in enumerate(bound) if not outcome(one.recv, 1)]
    remote = parse_address(destination)
    found = table.lookup(UDP, parse_address(destination), port, remote, 9)
    return got, [] if found is None else [endpoints.index(found)]


@pytest.mark.parametrize("destination", ["127.0.0.1", "127.0.0.2", "::1"])
def test_a_datagram_reaches_the_same_of_two_sockets_as_in_the_kernel(destination: str) -> None:
    sharing = [Socket(*place, True, False) for place in PLACES]
    for two in itertools.product(sharing, repeat=2):
        theirs, ours = receivers(list(two), destination)
        assert ours == theirs, two


def test_a_late_reuseaddr_counts_as_in_the_kernel() -> None:
    for protocol, late in itertools.product((TCP, UDP), (False, True)):
        one = Socket("127.0.0.1", False, not late, False)
        other = Socket("127.0.0.1", False, True, False)
        with one.in_kernel(protocol) as first, other.in_kernel(protocol) as second:
            first.bind(("127.0.0.1", 0))
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, late)
            theirs = outcome(second.bind, first.getsockname())
        table = PortTable(SeededEntropy(1), (1024, 65535))
        binding = table.bind(one.in_ustack(), protocol, parse_address("127.0.0.1"), 80)
        binding.endpoint.options.reuse_address = late
        table.refresh(binding)
        assert outcome(table.bind, other.in_ustack(), protocol, parse_address("127.0.0.1"), 80) == theirs

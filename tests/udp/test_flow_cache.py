"""What the fast path knows of UDP sockets: it never says anything that the port table would not say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tests.support.stack_host import HOST, PEER, StackHost, all_taken, datagram
from ustack.address import ANY_IPV4, ANY_IPV6, LOOPBACK_IPV4, parse_address
from ustack.config import StackConfig, UdpConfig
from ustack.constants import AF_INET
from ustack.drops import DropReason

STRANGER = parse_address("10.9.0.3")


def fast_host(limit: int = 256) -> StackHost:
    return StackHost(fast_path=True, config=StackConfig(udp=UdpConfig(flow_cache_per_socket=limit)))


def taken_by_c(host: StackHost) -> int:
    count: int = host.stack._path.udp_packets
    return count


def test_the_second_datagram_of_a_flow_takes_the_fast_path() -> None:
    host = fast_host()
    endpoint = host.udp(port=53)
    host.receive(datagram(4, b"1"))
    assert taken_by_c(host) == 0
    host.receive(datagram(4, b"2"), datagram(4, b"3"))
    assert taken_by_c(host) == 2
    assert all_taken(endpoint) == [b"1", b"2", b"3"]


def test_one_socket_has_at_most_its_limit_of_flows() -> None:
    host = fast_host(limit=4)
    endpoint = host.udp(port=53)
    for port in range(1, 21):
        host.receive(datagram(4, b"x", peer_port=port))
    assert len(host.stack.flows) == 4
    host.receive(datagram(4, b"x", peer_port=20), datagram(4, b"x", peer_port=1))
    assert taken_by_c(host) == 1
    assert len(all_taken(endpoint)) == 22


def test_a_new_socket_that_wins_takes_the_flow_over_at_once() -> None:
    host = fast_host()
    wildcard = host.udp(port=53, reuse_address=True)
    host.receive(datagram(4, b"1"), datagram(4, b"2"))
    bound = host.udp(4, HOST[4], 53, reuse_address=True)
    host.receive(datagram(4, b"3"), datagram(4, b"4"))
    connected = host.udp(4, HOST[4], 53, reuse_address=True)
    connected.connect(PEER[4], 9000, host.now)
    host.receive(datagram(4, b"5"), datagram(4, b"6"), datagram(4, b"7", peer_port=9001))
    assert [all_taken(each) for each in (wildcard, bound, connected)] == [
        [b"1", b"2"],
        [b"3", b"4", b"7"],
        [b"5", b"6"],
    ]


def test_when_the_winner_closes_the_next_socket_gets_the_flow() -> None:
    host = fast_host()
    older, newer = (host.udp(port=53, reuse_address=True) for _ in range(2))
    host.receive(datagram(4, b"1"), datagram(4, b"2"))
    newer.close(host.now)
    host.receive(datagram(4, b"3"), datagram(4, b"4"))
    older.close(host.now)
    host.receive(datagram(4, b"5"))
    assert all_taken(older) == [b"3", b"4"]
    assert host.drops() == {DropReason.UDP_NO_PORT: 1}
    assert len(host.stack.flows) == 0


def test_of_two_sockets_with_one_connection_the_older_takes_over_when_the_newer_leaves() -> None:
    host = fast_host()
    older, newer = (host.udp(4, HOST[4], 53, reuse_address=True) for _ in range(2))
    for endpoint in (older, newer):
        endpoint.connect(PEER[4], 9000, host.now)
    host.receive(datagram(4, b"1"), datagram(4, b"2"))
    newer.disconnect(host.now)
    host.receive(datagram(4, b"3"), datagram(4, b"4"))
    assert [all_taken(older), all_taken(newer)] == [[b"3", b"4"], [b"1", b"2"]]


def test_connecting_elsewhere_leaves_the_old_flow_to_nobody() -> None:
    host = fast_host()
    endpoint = host.udp(port=53)
    host.receive(datagram(4, b"1"))
    endpoint.connect(PEER[4], 9001, host.now)
    host.receive(datagram(4, b"2"))
    assert all_taken(endpoint) == [b"1"]
    assert host.drops() == {DropReason.UDP_NO_PORT: 1}


def test_flows_of_connected_sockets_survive_what_others_do_on_their_port() -> None:
    host = fast_host()
    connected = host.udp(4, HOST[4], 53, reuse_address=True)
    connected.connect(PEER[4], 9000, host.now)
    host.receive(datagram(4, b"1"))
    host.udp(4, HOST[4], 53, reuse_address=True)
    host.receive(datagram(4, b"2"))
    assert taken_by_c(host) == 1
    assert all_taken(connected) == [b"1", b"2"]


def test_packets_that_pretend_to_come_from_this_host_never_take_the_fast_path() -> None:
    host = fast_host()
    receiver, sender = host.udp(4, LOOPBACK_IPV4, 53), host.udp(4, LOOPBACK_IPV4, 9000)
    for _ in range(3):
        sender.send(b"real", 0, (LOOPBACK_IPV4, 53), host.now)
        host.sent()
    host.receive(datagram(4, b"forged", source=LOOPBACK_IPV4, destination=LOOPBACK_IPV4))
    own = host.udp(4, HOST[4], 53)
    own.send(b"real", 0, (HOST[4], 53), host.now)
    host.sent()
    host.receive(datagram(4, b"forged", source=HOST[4], peer_port=53))
    assert all_taken(receiver) == [b"real"] * 3
    assert all_taken(own) == [b"real"]
    assert sum(host.drops().values()) == 2


def test_a_closed_sockets_handle_is_free_and_its_memory_unknown_to_c() -> None:
    host = fast_host()
    for _ in range(100):
        endpoint = host.udp(port=53)
        host.receive(datagram(4, b"1"), datagram(4, b"2"))
        endpoint.close(host.now)
    assert host.stack.flows.by_handle(0) is None
    assert host.stack.flows.by_handle(1) is None
    assert len(host.stack.udp.cache) == 0


def test_forgetting_an_endpoint_that_the_fast_path_never_knew_is_fine() -> None:
    host = fast_host()
    host.udp(port=53).close(host.now)
    host.stack.udp.touched(host.raw(200))
    assert len(host.stack.flows) == 0


class FastAgainstSlow(RuleBasedStateMachine):
    """Two hosts, one without the fast path, are given the same calls and packets: nothing may differ."""

    sockets = Bundle("sockets")

    def __init__(self) -> None:
        super().__init__()
        self.hosts = [StackHost(fast_path=fast, config=self.configuration()) for fast in (True, False)]
        self.pairs: list[list[Any]] = []

    @staticmethod
    def configuration() -> StackConfig:
        return StackConfig(udp=UdpConfig(receive_buffer=400, flow_cache_per_socket=3))

    @rule(
        target=sockets,
        version=st.sampled_from([4, 6]),
        address=st.sampled_from([None, HOST[4]]),
        options=st.sampled_from([{}, {"reuse_address": True}, {"reuse_port": True}, {"ipv6_only": True}]),
    )
    def bind(self, version: int, address: bytes | None, options: dict[str, bool]) -> list[Any] | None:
        made = []
        for host in self.hosts:
            endpoint = host.udp(version, **({"reuse_address": True} | options))
            try:
                endpoint.bind(address or (ANY_IPV4 if endpoint.family == AF_INET else ANY_IPV6), 53)
            except OSError as problem:
                made.append(problem.errno)
                endpoint.close(host.now)
            else:
                made.append(endpoint)
        if isinstance(made[0], int) or isinstance(made[1], int):
            assert made[0] == made[1]
            return None
        self.pairs.append(made)
        return made

    @rule(pair=sockets, port=st.sampled_from([9000, 9001]), address=st.sampled_from([PEER[4], PEER[6], STRANGER]))
    def connect(self, pair: list[Any] | None, port: int, address: bytes) -> None:
        outcomes = []
        for host, endpoint in zip(self.hosts, pair or (), strict=False):
            try:
                endpoint.connect(address, port, host.now)
            except OSError as problem:
                outcomes.append(problem.errno)
            else:
                outcomes.append(None)
        assert len(set(outcomes)) <= 1

    @rule(pair=sockets)
    def disconnect(self, pair: list[Any] | None) -> None:
        for host, endpoint in zip(self.hosts, pair or (), strict=False):
            endpoint.disconnect(host.now)

    @rule(pair=consumes(sockets))
    def close(self, pair: list[Any] | None) -> None:
        if pair is not None:
            for host, endpoint in zip(self.hosts, pair, strict=True):
                endpoint.close(host.now)
            self.pairs.remove(pair)

    @rule(
        packets=st.lists(
            st.tuples(st.sampled_from([PEER[4], PEER[6], STRANGER]), st.sampled_from([9000, 9001]), st.integers(0, 90)),
            min_size=1,
            max_size=6,
        )
    )
    def receive(self, packets: list[tuple[bytes, int, int]]) -> None:
        for host in self.hosts:
            host.receive(*(
                datagram(4 if len(source) == 4 else 6, bytes(size), peer_port=port, source=source)
                for source, port, size in packets
            ))  # fmt: skip

    @rule(pair=sockets)
    def read(self, pair: list[Any] | None) -> None:
        assert len({tuple(all_taken(endpoint)) for endpoint in pair or ()}) <= 1

    @invariant()
    def nothing_differs(self) -> None:
        fast, slow = self.hosts
        assert fast.drops() == slow.drops()
        assert [packet[20:] for packet in fast.sent()] == [packet[20:] for packet in slow.sent()]
        for one, other in self.pairs:
            assert one.readiness() == other.readiness()
            assert len(one.queue) == len(other.queue)
        assert self.numbered(fast) == self.numbered(slow)

    def numbered(self, host: StackHost) -> list[tuple[int, int]]:
        """The events, endpoints by number, in no order: C touches a socket at its first datagram, kept or not."""
        side = self.hosts.index(host)
        number = {id(pair[side]): index for index, pair in enumerate(self.pairs)}
        return sorted((number.get(id(endpoint), -1), bits) for endpoint, bits in host.events())

    def teardown(self) -> None:
        for pair in self.pairs:
            assert all_taken(pair[0]) == all_taken(pair[1])
            for host, endpoint in zip(self.hosts, pair, strict=True):
                endpoint.close(host.now)
        assert len(self.hosts[0].stack.flows) == 0


TestFastAgainstSlow = FastAgainstSlow.TestCase
TestFastAgainstSlow.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("version", [4, 6])
def test_a_queue_that_overflows_in_c_is_counted_as_in_python(version: int) -> None:
    counts = []
    for fast_path in (True, False):
        host = StackHost(fast_path=fast_path)
        endpoint = host.udp(version, port=53, receive_buffer=1000)
        for _ in range(3):
            host.receive(*[datagram(version, bytes(100))] * 20)
        counts.append((len(all_taken(endpoint)), host.drops()))
    assert counts[0] == counts[1]

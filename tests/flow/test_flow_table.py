"""The flow table: against a dict, its handles, and that it keeps alive what C points to."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ustack.constants import AF_INET, IPPROTO_TCP, IPPROTO_UDP, SOCK_STREAM
from ustack.endpoint import Endpoint
from ustack.flow import FlowTable
from ustack.native import ffi, lib

LOCAL = bytes((10, 0, 0, 1))
REMOTE = bytes((10, 0, 0, 2))


def make_table() -> FlowTable:
    return FlowTable(bytes(range(16)))


def make_endpoint() -> Endpoint:
    return Endpoint(AF_INET, SOCK_STREAM, IPPROTO_TCP)


addresses = st.sampled_from([LOCAL, REMOTE, bytes(4), bytes(16), bytes(15) + b"\x01", LOCAL + bytes(12)])
ports = st.sampled_from([0, 1, 80, 65535])
keys = st.tuples(st.sampled_from([6, 17, 255]), addresses, ports, addresses, ports).filter(
    lambda key: len(key[1]) == len(key[3])
)


class FlowTableAgainstDict(RuleBasedStateMachine):
    """Whatever is inserted and removed, the table answers as a dict would."""

    def __init__(self) -> None:
        super().__init__()
        self.table = make_table()
        self.model: dict[tuple[int, bytes, int, bytes, int], Endpoint] = {}
        self.endpoints = [make_endpoint() for _ in range(4)]

    @rule(key=keys, who=st.integers(0, 3))
    def insert(self, key: tuple[int, bytes, int, bytes, int], who: int) -> None:
        self.table.insert(*key, self.endpoints[who])
        self.model[key] = self.endpoints[who]

    @rule(key=keys)
    def remove(self, key: tuple[int, bytes, int, bytes, int]) -> None:
        assert self.table.remove(*key) == (self.model.pop(key, None) is not None)

    @rule(key=keys)
    def find(self, key: tuple[int, bytes, int, bytes, int]) -> None:
        assert self.table.find(*key) is self.model.get(key)

    @rule(who=st.integers(0, 3))
    def forget(self, who: int) -> None:
        endpoint = self.endpoints[who]
        for key in [key for key, owner in self.model.items() if owner is endpoint]:
            self.table.remove(*key)
            del self.model[key]
        self.table.forget(endpoint)

    @invariant()
    def every_flow_is_found(self) -> None:
        assert len(self.table) == len(self.model)
        for key, owner in self.model.items():
            assert self.table.find(*key) is owner
            assert self.table.by_handle(self.table.handle_of(owner)) is owner


TestFlowTableAgainstDict = FlowTableAgainstDict.TestCase


@given(st.lists(keys, unique=True, max_size=60))
def test_removing_every_flow_leaves_an_empty_table(flows: list[tuple[int, bytes, int, bytes, int]]) -> None:
    table = make_table()
    endpoint = make_endpoint()
    for key in flows:
        table.insert(*key, endpoint)
    for key in flows:
        assert table.remove(*key)
        assert not table.remove(*key)
    assert len(table) == 0
    table.forget(endpoint)


def test_ten_thousand_flows_of_one_port_are_all_found_and_removed() -> None:
    table = make_table()
    endpoints = [make_endpoint() for _ in range(10_000)]
    for index, endpoint in enumerate(endpoints):
        table.insert(IPPROTO_TCP, LOCAL, 80, index.to_bytes(4, "big"), index, endpoint)
    for index, endpoint in enumerate(endpoints):
        assert table.find(IPPROTO_TCP, LOCAL, 80, index.to_bytes(4, "big"), index) is endpoint
    for index in range(10_000):
        assert table.remove(IPPROTO_TCP, LOCAL, 80, index.to_bytes(4, "big"), index)
    assert len(table) == 0


def test_addresses_of_both_versions_never_meet() -> None:
    table = make_table()
    ipv4, ipv6 = make_endpoint(), make_endpoint()
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, ipv4)
    table.insert(IPPROTO_TCP, LOCAL + bytes(12), 80, REMOTE + bytes(12), 1, ipv6)
    assert table.find(IPPROTO_TCP, LOCAL, 80, REMOTE, 1) is ipv4
    assert table.find(IPPROTO_TCP, LOCAL + bytes(12), 80, REMOTE + bytes(12), 1) is ipv6


def test_protocols_do_not_share_flows() -> None:
    table = make_table()
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, make_endpoint())
    assert table.find(IPPROTO_UDP, LOCAL, 80, REMOTE, 1) is None


def test_the_two_directions_of_a_flow_are_two_flows() -> None:
    table = make_table()
    table.insert(IPPROTO_TCP, LOCAL, 80, LOCAL, 81, make_endpoint())
    assert table.find(IPPROTO_TCP, LOCAL, 81, LOCAL, 80) is None


def test_a_handle_is_small_and_used_again_after_forget() -> None:
    table = make_table()
    first, second = make_endpoint(), make_endpoint()
    handle = table.handle_of(first)
    assert handle == 0
    assert table.handle_of(first) == handle
    assert table.handle_of(second) == 1
    table.forget(first)
    assert table.by_handle(handle) is None
    assert table.handle_of(make_endpoint()) == handle


def test_a_handle_that_c_could_not_have_noted_is_nobody() -> None:
    table = make_table()
    assert table.by_handle(0) is None
    assert table.by_handle(-1) is None
    assert table.by_handle(1 << 31) is None


def test_forgetting_an_endpoint_without_a_handle_does_nothing() -> None:
    table = make_table()
    table.forget(make_endpoint())
    assert table.handle_of(make_endpoint()) == 0


def test_an_endpoint_with_flows_must_not_be_forgotten() -> None:
    table = make_table()
    endpoint = make_endpoint()
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, endpoint)
    with pytest.raises(AssertionError, match="no flow left"):
        table.forget(endpoint)


def test_the_table_keeps_an_endpoint_alive_until_it_is_forgotten() -> None:
    table = make_table()
    endpoint = make_endpoint()
    reference = weakref.ref(endpoint)
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, endpoint)
    del endpoint
    gc.collect()
    found = table.find(IPPROTO_TCP, LOCAL, 80, REMOTE, 1)
    assert found is not None
    assert found is reference()
    table.remove(IPPROTO_TCP, LOCAL, 80, REMOTE, 1)
    table.forget(found)
    del found
    gc.collect()
    assert reference() is None


def test_inserting_a_flow_again_gives_it_to_the_new_owner() -> None:
    table = make_table()
    earlier, later = make_endpoint(), make_endpoint()
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, earlier)
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, later)
    assert table.find(IPPROTO_TCP, LOCAL, 80, REMOTE, 1) is later
    assert len(table) == 1
    table.forget(earlier)


def test_inserting_the_same_flow_twice_counts_once() -> None:
    table = make_table()
    endpoint = make_endpoint()
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, endpoint)
    table.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 1, endpoint)
    table.remove(IPPROTO_TCP, LOCAL, 80, REMOTE, 1)
    table.forget(endpoint)


def test_c_sees_the_kind_the_target_and_the_handle() -> None:
    table = make_table()
    endpoint = make_endpoint()
    queue = ffi.new("struct datagram_queue *")
    table.handle_of(make_endpoint())
    table.insert(IPPROTO_UDP, LOCAL, 53, REMOTE, 9, endpoint, lib.FLOW_UDP, queue)
    key = ffi.new("struct flow_key *")
    lib.flow_key_fill(key, IPPROTO_UDP, 4, LOCAL, 53, REMOTE, 9)
    flow = lib.flow_table_find(table.cdata, key)
    assert flow.kind == lib.FLOW_UDP
    assert flow.target == queue
    assert flow.handle == table.handle_of(endpoint) == 1


def test_a_key_that_is_not_16_bytes_is_refused() -> None:
    with pytest.raises(AssertionError, match="16 bytes"):
        FlowTable(b"short")

"""native/src/flow_table.c against a dict."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.octets import exact
from tests.support.walk import walk
from ustack.native import ffi, lib

Key = tuple[int, int, bytes, int, bytes, int]
LEAST_CAPACITY = 16


def key_of(flow: Key) -> Any:
    protocol, version, local, local_port, remote, remote_port = flow
    key = ffi.new("struct flow_key *")
    lib.flow_key_fill(key, protocol, version, exact(local), local_port, exact(remote), remote_port)
    return key


def new_table(key: bytes = bytes(16)) -> Any:
    return ffi.gc(lib.flow_table_new(exact(key)), lib.flow_table_free)


def flow_number(number: int) -> Key:
    """A flow of either family; neighbours differ in one field only."""
    if number % 2:
        return (6, 4, b"\x0a\x00\x00\x01", 80 + (number >> 16), b"\x0a\x00\x00\x02", number & 0xFFFF)
    return (17, 6, bytes(15) + b"\x01", 53, bytes(12) + number.to_bytes(4, "big"), 53)


flows = st.builds(flow_number, st.integers(0, 400))


class FlowTableMachine(RuleBasedStateMachine):
    """Inserts, replacements and removals over few enough flows that they meet."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[Key, tuple[int, int]] = {}

    @initialize(key=st.binary(min_size=16, max_size=16), filled=st.integers(0, 300))
    def start(self, key: bytes, filled: int) -> None:
        self.table = new_table(key)
        for number in range(filled):
            self.insert(flow_number(number), lib.FLOW_OTHER, number)

    @rule(flow=flows, kind=st.sampled_from([lib.FLOW_TCP, lib.FLOW_UDP, lib.FLOW_OTHER]), handle=st.integers(0, 9))
    def insert(self, flow: Key, kind: int, handle: int) -> None:
        assert lib.flow_table_insert(self.table, key_of(flow), kind, handle, ffi.cast("void *", handle)) == 0
        self.model[flow] = (kind, handle)

    @rule(flow=flows)
    def remove(self, flow: Key) -> None:
        assert lib.flow_table_remove(self.table, key_of(flow)) == (flow in self.model)
        self.model.pop(flow, None)

    @rule(number=st.integers(0, 400))
    def remove_many(self, number: int) -> None:
        for flow in map(flow_number, range(number)):
            if flow in self.model:
                self.remove(flow)

    @rule(flow=flows)
    def find(self, flow: Key) -> None:
        found = lib.flow_table_find(self.table, key_of(flow))
        if flow not in self.model:
            assert found == ffi.NULL
            return
        assert (found.kind, found.handle) == self.model[flow]
        assert found.target == ffi.cast("void *", found.handle)

    @invariant()
    def as_many_as_in_the_model(self) -> None:
        capacity = self.table.capacity
        assert self.table.count == len(self.model)
        assert capacity >= LEAST_CAPACITY
        assert capacity & (capacity - 1) == 0
        assert self.table.count <= capacity * 3 // 4
        assert capacity == LEAST_CAPACITY or self.table.count >= capacity // 8

    def teardown(self) -> None:
        for flow in self.model:
            self.find(flow)


TestFlowTable = FlowTableMachine.TestCase


@pytest.mark.parametrize("seed", range(4))
def test_a_long_walk_of_growing_and_shrinking(seed: int) -> None:
    machine = FlowTableMachine()
    machine.start(bytes([seed]) * 16, 0)

    def fill(chance: random.Random) -> None:
        for number in range(chance.choice((1, 30, 400))):
            machine.insert(flow_number(number), lib.FLOW_TCP, number)

    def look_at_all(_: random.Random) -> None:
        for number in range(400):
            machine.find(flow_number(number))

    moves: list[Callable[[random.Random], None]] = [
        fill,
        look_at_all,
        lambda chance: machine.remove_many(chance.choice((1, 30, 400))),
        *[lambda chance: machine.insert(flow_number(chance.randrange(400)), lib.FLOW_UDP, chance.randrange(9))] * 20,
        *[lambda chance: machine.remove(flow_number(chance.randrange(400)))] * 20,
    ]
    walk(machine, moves, machine.as_many_as_in_the_model, 1000, seed)


@pytest.mark.parametrize("changed", range(6))
def test_flows_that_differ_in_one_field_are_different(changed: int) -> None:
    flow: list[Any] = [6, 6, bytes(15) + b"\x01", 80, bytes(15) + b"\x02", 1024]
    other = list(flow)
    other[changed] = [17, 4, bytes(16), 81, bytes(16), 1025][changed]
    table = new_table()
    lib.flow_table_insert(table, key_of(tuple(flow)), lib.FLOW_TCP, 1, ffi.NULL)
    assert lib.flow_table_find(table, key_of(tuple(other))) == ffi.NULL
    assert lib.flow_table_find(table, key_of(tuple(flow))).handle == 1


def test_key_is_filled_wholly_whatever_was_there() -> None:
    key = ffi.new("struct flow_key *")
    ffi.memmove(key, b"\xff" * ffi.sizeof("struct flow_key"), ffi.sizeof("struct flow_key"))
    lib.flow_key_fill(key, 17, 4, exact(b"\x01\x02\x03\x04"), 5, exact(b"\x06\x07\x08\x09"), 10)
    assert bytes(key.local) == b"\x01\x02\x03\x04" + bytes(12)
    assert bytes(key.remote) == b"\x06\x07\x08\x09" + bytes(12)
    assert (key.local_port, key.remote_port, key.protocol, key.version, key.zero) == (5, 10, 17, 4, 0)


def test_a_hundred_thousand_flows_come_and_go() -> None:
    table = new_table(b"a key of no one.")
    keys = [key_of(flow_number(number)) for number in range(100_000)]
    for handle, key in enumerate(keys):
        assert lib.flow_table_insert(table, key, lib.FLOW_TCP, handle, ffi.NULL) == 0
    assert all(lib.flow_table_find(table, key).handle == handle for handle, key in enumerate(keys))
    order = list(range(len(keys)))
    random.Random(1).shuffle(order)
    for handle in order[:-1]:
        assert lib.flow_table_remove(table, keys[handle]) == 1
    assert lib.flow_table_find(table, keys[order[-1]]).handle == order[-1]
    assert (table.count, table.capacity) == (1, LEAST_CAPACITY)


def test_searches_stay_short_when_a_peer_picks_the_ports_but_not_the_key() -> None:
    table = new_table(b"\x5a" * 16)
    for port in range(1, 49_000):
        key = key_of((6, 4, b"\x0a\x00\x00\x01", 80, b"\x0a\x00\x00\x02", port))
        lib.flow_table_insert(table, key, lib.FLOW_TCP, port, ffi.NULL)
    mask = table.capacity - 1
    used = (index for index in range(table.capacity) if table.items[index].kind != lib.FLOW_NONE)
    distances = [(index - table.items[index].hash) & mask for index in used]
    assert max(distances) < 200
    assert sum(distances) / len(distances) < 4


def test_freeing_nothing_is_allowed() -> None:
    lib.flow_table_free(ffi.NULL)

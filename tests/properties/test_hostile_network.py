"""Whatever the network and the user do: no exception, no growth, and the fast path changes nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzzing import NOT_DISCARDED, Fuzzed, Program
from ustack.drops import DropReason
from ustack.entropy import SeededEntropy
from ustack.native import lib
from ustack.sim.verify import VerifyingStack
from ustack.stack import Stack
from ustack.trace import Verdict

PROGRAMS = st.binary(min_size=100, max_size=800)
VERSIONS = st.sampled_from([4, 6])
OFFLOADS = st.sampled_from([0, lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6])


def verify(version: int, program: bytes, offload: int = 0) -> None:
    """Run a program on two stacks in lockstep."""
    fuzzed = Fuzzed(version, Program(program), VerifyingStack(Fuzzed.config(), seed=1), offload)
    fuzzed.run()
    fuzzed.finish()


@given(version=VERSIONS, program=PROGRAMS, offload=OFFLOADS)
@settings(max_examples=400)
def test_short_lives_of_connections(version: int, program: bytes, offload: int) -> None:
    verify(version, program, offload)


@pytest.mark.parametrize("seed", range(16))
def test_long_lives_of_connections(seed: int) -> None:
    verify(4 + seed % 2 * 2, random.Random(seed).randbytes(6000), (0, 7)[seed // 2 % 2])


class Recorder:
    """Counts what a stack tells of its packets."""

    def __init__(self) -> None:
        self.arrived = 0
        self.drops: Counter[DropReason] = Counter()

    def record(self, verdict: Verdict) -> None:
        """One packet has found its end."""
        if not verdict.outbound:
            self.arrived += verdict.interface != "lo"
            self.drops.update([verdict.drop] if verdict.drop is not None else [])


@given(version=VERSIONS, program=PROGRAMS)
@settings(max_examples=150)
def test_every_frame_has_one_end_and_every_drop_is_counted_once(version: int, program: bytes) -> None:
    stack = Stack(Fuzzed.config(), entropy=SeededEntropy(3))
    recorder = stack.tracer = Recorder()
    fuzzed = Fuzzed(version, Program(program), stack)
    fuzzed.run()
    assert recorder.arrived == fuzzed.frames
    counted = {reason: count for reason, count in stack.counters.items() if reason not in NOT_DISCARDED}
    assert counted == dict(recorder.drops)


@pytest.mark.parametrize("fast_path", [True, False])
@given(version=VERSIONS, program=PROGRAMS)
@settings(max_examples=150)
def test_a_single_stack_bears_it_too(fast_path: bool, version: int, program: bytes) -> None:
    stack = Stack(Fuzzed.config(), entropy=SeededEntropy(2), fast_path=fast_path)
    fuzzed = Fuzzed(version, Program(program), stack)
    fuzzed.run()
    fuzzed.finish()

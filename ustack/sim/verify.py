"""Verify mode: two stacks in lockstep, one without the fast path; whatever differs is an error.

`VerifyingStack` has the doors of `Stack`.  Both stacks get the same packets, calls, clock and random numbers; after
every step all frames that were sent, all events, all results and every field of every TCB must be equal.  Give it to a
driver of the simulator in the place of a stack.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from ustack.burst import Burst
from ustack.config import StackConfig
from ustack.endpoint import Address, Endpoint
from ustack.entropy import SeededEntropy
from ustack.ip.interface import Interface
from ustack.native import ffi, lib
from ustack.stack import Stack
from ustack.tcp.connection import Connection

_UNCOMPARED = frozenset(("touched", "slow_path_reasons"))
"""Fields of the TCB that only one of the two uses, or in which they must differ by SLOW_DISABLED."""


class Difference(AssertionError):
    """The fast path has changed more than the speed."""


class VerifyingEndpoint(Endpoint):
    """The same socket on both stacks: each call is made on both, and must end alike."""

    __slots__ = ("_fast", "_observer", "_slow", "_stack")

    def __init__(self, stack: VerifyingStack, fast: Endpoint, slow: Endpoint) -> None:
        self._stack, self._fast, self._slow = stack, fast, slow
        self._observer: Any = None
        slow.options = fast.options
        fast.observer, slow.observer = fast, slow
        stack.proxies[fast] = stack.proxies[slow] = self

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name in _PROXIED:
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_fast"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "observer":
            self._observer = value
        elif name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._fast, name, value)
            setattr(self._slow, name, value)

    @property
    def observer(self) -> Any:
        """What the floor above has set."""
        return self._observer

    def _both(self, name: str, *arguments: Any) -> Any:
        return self._stack.both(
            lambda: getattr(self._fast, name)(*arguments), lambda: getattr(self._slow, name)(*arguments), name
        )

    def readiness(self) -> int:
        """As `Endpoint`."""
        return int(self._both("readiness"))

    def take_error(self) -> int:
        """As `Endpoint`."""
        return int(self._both("take_error"))

    def bind(self, address: bytes, port: int) -> None:
        """As `Endpoint`."""
        self._both("bind", address, port)

    def connect(self, address: bytes, port: int, now: int) -> None:
        """As `Endpoint`."""
        self._both("connect", address, port, now)

    def listen(self, backlog: int) -> Endpoint:
        """As `Endpoint`."""
        return self._pair("listen", backlog)

    def accept(self) -> Endpoint:
        """As `Endpoint`."""
        return self._pair("accept")

    def _pair(self, name: str, *arguments: Any) -> Endpoint:
        made: list[Endpoint] = []
        self._stack.both(
            lambda: made.append(getattr(self._fast, name)(*arguments)),
            lambda: made.append(getattr(self._slow, name)(*arguments)),
            name,
        )
        known = self._stack.proxies.get(made[0])
        return known if known is not None else VerifyingEndpoint(self._stack, *made)

    def send(self, data: Any, flags: int, destination: Address | None, now: int) -> int:
        """As `Endpoint`."""
        return int(self._both("send", data, flags, destination, now))

    def receive_into(self, buffer: Any, flags: int, now: int) -> tuple[int, Address | None, int]:
        """As `Endpoint`."""
        other = bytearray(len(buffer))
        result: tuple[int, Address | None, int] = self._stack.both(
            lambda: self._fast.receive_into(buffer, flags, now),
            lambda: self._slow.receive_into(other, flags, now),
            "receive_into",
        )
        count = min(result[0], len(other))
        if bytes(memoryview(buffer)[:count]) != other[:count]:
            raise Difference("different bytes were received")
        return result

    def shutdown(self, how: int, now: int) -> None:
        """As `Endpoint`."""
        self._both("shutdown", how, now)

    def close(self, now: int) -> None:
        """As `Endpoint`."""
        self._both("close", now)

    def abort(self, now: int) -> None:
        """As `Connection`."""
        self._both("abort", now)

    def option_changed(self, name: str, now: int) -> None:
        """As `Endpoint`."""
        self._both("option_changed", name, now)

    def fail(self, number: int) -> None:
        """As `Endpoint`."""
        self._both("fail", number)


_PROXIED = frozenset(
    ("readiness", "take_error", "bind", "connect", "listen", "accept", "send", "receive_into", "shutdown", "close",
    "abort", "option_changed", "fail", "observer")
)  # fmt: skip


class VerifyingStack:
    """Two stacks that must do the same."""

    def __init__(self, config: StackConfig | None = None, *, seed: int = 0) -> None:
        self.fast = Stack(config, entropy=SeededEntropy(seed))
        self.slow = Stack(copy.deepcopy(config), entropy=SeededEntropy(seed), fast_path=False)
        self.proxies: dict[Endpoint, VerifyingEndpoint] = {}
        self.steps = 0
        self._lengths: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fast, name)

    def both(self, fast: Callable[[], Any], slow: Callable[[], Any], what: str) -> Any:
        """Do a step on both, compare how it ends and what it leaves; its result, or its OSError."""
        self._follow_device()
        results = [_outcome(fast), _outcome(slow)]
        if results[0] != results[1]:
            raise Difference(f"{what}: {results[0]} with the fast path, {results[1]} without")
        self._compare(what)
        self.steps += 1
        kind, value = results[0]
        if kind == "error":
            raise OSError(*value)
        return value

    def _follow_device(self) -> None:
        """The driver has taken frames of the one; take as many of the other."""
        for ours, theirs in zip(self.fast.ip.interfaces, self.slow.ip.interfaces, strict=True):
            taken = self._lengths.get(ours.index, 0) - len(ours.outgoing)
            if taken > 0 and not ours.loopback:
                theirs.outgoing.drop(taken)

    def _compare(self, what: str) -> None:
        for ours, theirs in zip(self.fast.ip.interfaces, self.slow.ip.interfaces, strict=True):
            start = min(self._lengths.get(ours.index, 0), len(ours.outgoing))
            _compare_frames(ours.outgoing, theirs.outgoing, start, what)
            self._lengths[ours.index] = len(ours.outgoing)
        for fast, slow in zip(self.fast.tcp.connections, self.slow.tcp.connections, strict=True):
            if isinstance(fast, Connection) and isinstance(slow, Connection):
                _compare_tcbs(fast.tcb, slow.tcb, what)
        if self.fast.counters != self.slow.counters:
            raise Difference(f"{what}: drop counters {self.fast.counters} and {self.slow.counters}")

    def add_interface(self, name: str, mtu: int, addresses: Iterable[str], offload: int = 0) -> Interface:
        """As `Stack`."""
        texts = list(addresses)
        self.slow.add_interface(name, mtu, texts, offload)
        return self.fast.add_interface(name, mtu, texts, offload)

    def add_route(self, prefix: str, interface: Interface, gateway: bytes | None = None) -> None:
        """As `Stack`."""
        self.fast.add_route(prefix, interface, gateway)
        self.slow.add_route(prefix, self._twin(interface), gateway)

    def _twin(self, interface: Interface) -> Interface:
        return next(each for each in self.slow.ip.interfaces if each.index == interface.index)

    def receive(self, interface: Interface, burst: Burst, now: int) -> None:
        """As `Stack`."""
        twin = self._twin(interface)
        self.both(
            lambda: self.fast.receive(interface, burst, now), lambda: self.slow.receive(twin, burst, now), "receive"
        )

    def advance(self, now: int) -> None:
        """As `Stack`."""
        self.both(lambda: self.fast.advance(now), lambda: self.slow.advance(now), "advance")

    def transmit(self, now: int) -> list[Interface]:
        """As `Stack`."""
        made: list[list[Interface]] = []
        self.both(
            lambda: made.append(self.fast.transmit(now)), lambda: made.append(self.slow.transmit(now)), "transmit"
        )
        if [each.index for each in made[0]] != [each.index for each in made[1]]:
            raise Difference("transmit: different interfaces")
        return made[0]

    def take_events(self) -> list[tuple[Endpoint, int]]:
        """As `Stack`."""
        fast = [(self.proxies[endpoint], bits) for endpoint, bits in self.fast.take_events()]
        slow = [(self.proxies[endpoint], bits) for endpoint, bits in self.slow.take_events()]
        if [(id(proxy), bits) for proxy, bits in fast] != [(id(proxy), bits) for proxy, bits in slow]:
            raise Difference(f"events: {fast} with the fast path, {slow} without")
        return [(proxy, bits) for proxy, bits in fast if proxy.observer is not None]

    def open(self, family: int, kind: int, protocol: int) -> Endpoint:
        """As `Stack`."""
        made: list[Endpoint] = []
        self.both(
            lambda: made.append(self.fast.open(family, kind, protocol)),
            lambda: made.append(self.slow.open(family, kind, protocol)),
            "open",
        )
        return VerifyingEndpoint(self, *made)

    def stop(self, now: int) -> None:
        """As `Stack`."""
        self.both(lambda: self.fast.stop(now), lambda: self.slow.stop(now), "stop")


def _outcome(step: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "result", step()
    except OSError as problem:
        return "error", problem.args


def _compare_frames(fast: Burst, slow: Burst, start: int, what: str) -> None:
    if len(fast) != len(slow):
        raise Difference(f"{what}: {len(fast)} frames with the fast path, {len(slow)} without")
    for index in range(start, len(fast)):
        ours, theirs = fast.cdata.frames[index], slow.cdata.frames[index]
        for field in ("flags", "gso_type", "gso_size", "header_length", "checksum_start", "checksum_offset"):
            if getattr(ours, field) != getattr(theirs, field):
                raise Difference(f"{what}: frame {index}: {field} differs")
        if fast.frame(index) != slow.frame(index):
            raise Difference(
                f"{what}: frame {index}: {bytes(fast.frame(index)).hex()} {bytes(slow.frame(index)).hex()}"
            )


def _compare_tcbs(fast: Any, slow: Any, what: str) -> None:
    ours, theirs = ffi.buffer(fast), ffi.buffer(slow)
    if any(ours[start:end] != theirs[start:end] for start, end in _COMPARED_BYTES):
        _compare_fields("tcb", fast, slow, _TCB, what)
    disabled = lib.SLOW_DISABLED
    if (fast.slow_path_reasons | disabled) != (slow.slow_path_reasons | disabled):
        raise Difference(f"{what}: tcb.slow_path_reasons: {fast.slow_path_reasons} and {slow.slow_path_reasons}")


def _compare_fields(path: str, fast: Any, slow: Any, ctype: Any, what: str) -> None:
    """Find the field that differs, for the message."""
    for name, field in ctype.fields:
        if name in _UNCOMPARED or field.type.kind == "pointer":
            continue
        ours, theirs = getattr(fast, name), getattr(slow, name)
        if field.type.kind == "struct":
            _compare_fields(f"{path}.{name}", ours, theirs, field.type, what)
        elif field.type.kind == "array":
            if list(ours) != list(theirs):
                raise Difference(f"{what}: {path}.{name}: {list(ours)} and {list(theirs)}")
        elif ours != theirs:
            raise Difference(f"{what}: {path}.{name}: {ours} with the fast path, {theirs} without")


def _uncompared_bytes(ctype: Any, base: int) -> list[tuple[int, int]]:
    """Where in a struct the pointers and the uncompared fields are, ascending."""
    found = []
    for name, field in ctype.fields:
        start = base + field.offset
        if field.type.kind == "pointer" or name in _UNCOMPARED:
            found.append((start, start + ffi.sizeof(field.type)))
        elif field.type.kind == "struct":
            found += _uncompared_bytes(field.type, start)
    return found


def _compared_bytes() -> list[tuple[int, int]]:
    """The stretches of the TCB that must be equal byte by byte."""
    stretches, start = [], 0
    for gap_start, gap_end in [*_uncompared_bytes(_TCB, 0), (ffi.sizeof(_TCB), 0)]:
        if gap_start > start:
            stretches.append((start, gap_start))
        start = gap_end
    return stretches


_TCB = ffi.typeof("struct tcb")
_COMPARED_BYTES = _compared_bytes()

"""`Lab`: hosts with stacks of their own under one virtual clock; the applications are ordinary blocking code.

    with Lab() as lab:
        server, client = lab.host("server"), lab.host("client")
        lab.wire(server, client, ["10.0.0.1/24"], ["10.0.0.2/24"])
        serving = server.run(serve_one)              # uses `from ustack import socket`
        answer = client.run(fetch, "10.0.0.1").result()

Application threads run strictly one at a time: a thread runs until it blocks in a socket call (or `sleep`), then the
next that is ready does.  When none is ready, devices and stacks are served in order; when they have nothing to do at
this instant, time jumps to the next deadline of any stack, device or caller.  So a run is a function of its inputs and
seeds, whatever the machine does.  Threads that were not started with `Host.run` must not use the lab's sockets; the
thread that made the lab is a task too.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from ustack.endpoint import Endpoint
from ustack.entropy import SeededEntropy
from ustack.link.pipe import pipe
from ustack.runtime.clock import SECOND, after
from ustack.runtime.current import bind_thread
from ustack.runtime.driver import Driver
from ustack.runtime.waiting import Waiter
from ustack.sim.clock import VirtualClock
from ustack.sim.task import Schedule, Task, TaskWaiter

if TYPE_CHECKING:
    from ustack.config import StackConfig
    from ustack.stack import Stack

STANDSTILL = 1_000_000
"""Rounds at one instant after which the lab takes it that time stands still for good."""


class Lab:
    """A virtual clock, the hosts under it and their tasks."""

    def __init__(self, seed: int = 0, *, standstill: int = STANDSTILL) -> None:
        self.seed = seed
        self.standstill = standstill
        self.clock = VirtualClock()
        self.hosts: list[Host] = []
        self._rounds = 0
        self.schedule = Schedule(self.clock.now, self._progress)

    # The user's side.

    def host(self, name: str = "", config: StackConfig | None = None, *, fast_path: bool = True) -> Host:
        """A new host; its stack's randomness follows from the lab's seed and the host's number."""
        from ustack.stack import Stack  # noqa: PLC0415

        entropy = SeededEntropy(self.seed << 32 | len(self.hosts))
        return self.add(Stack(config, entropy=entropy, fast_path=fast_path), name)

    def add(self, stack: Stack, name: str = "") -> Host:
        """A host around a stack that the caller made."""
        host = Host(self, stack, name or f"host{len(self.hosts)}")
        self.hosts.append(host)
        return host

    def wire(
        self,
        first: Host,
        second: Host,
        first_addresses: Iterable[str],
        second_addresses: Iterable[str],
        *,
        mtu: int = 1500,
        offload: int = 0,
    ) -> None:
        """Join two hosts with a pipe."""
        ends = pipe(mtu, offload, names=(f"to-{second.name}", f"to-{first.name}"))
        first.attach(ends[0], first_addresses)
        second.attach(ends[1], second_addresses)

    def now(self) -> int:
        """The virtual time in nanoseconds."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the calling task."""
        self.schedule.block(self.schedule.new_waiter(f"{seconds} s to pass"), after(self.now(), seconds))

    def run(self) -> None:
        """Run until every task has ended; raises the first exception of one that nobody asked for its result."""
        done = 0
        while done < len(self.schedule.tasks):
            self.schedule.tasks[done].result()
            done += 1

    def close(self) -> None:
        """End the tasks that still wait, and stop the stacks."""
        for task in self.schedule.tasks:
            self.schedule.cancel(task)
        for host in self.hosts:
            host.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # The world.

    def _progress(self) -> bool:
        """Make something happen while no task is ready: at this instant, or else at the next deadline."""
        now = self.clock.now()
        busy = self.schedule.expire()
        for host in self.hosts:
            busy |= host.serve(now)
        if busy or self.schedule.ready:
            self._rounds += 1
            assert self._rounds < self.standstill, f"virtual time stands still at {now / SECOND} s"
            return True
        deadline = self._next_deadline()
        if deadline is None:
            return False
        self._rounds = 0
        self.clock.jump(max(deadline, now + 1))
        return True

    def _next_deadline(self) -> int | None:
        deadlines = [self.schedule.next_deadline(), *(host.next_deadline() for host in self.hosts)]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)


class Baton:
    """What a host has for a lock: nothing but the check that the thread with the baton is calling."""

    __slots__ = ("_schedule",)

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def __enter__(self) -> None:
        if threading.get_ident() != self._schedule.thread:
            raise RuntimeError("a thread that is no task of the lab uses its sockets: start it with Host.run()")

    def __exit__(self, *exception: object) -> None:
        return


class Host(Driver):
    """A host of the lab: the driver of one stack in virtual time."""

    def __init__(self, lab: Lab, stack: Stack, name: str) -> None:
        super().__init__(stack, lab.clock.now)
        self.lab = lab
        self.name = name
        self.lock = Baton(lab.schedule)

    def run(self, function: Callable[..., Any], *args: Any, name: str = "") -> Task:
        """Start an application thread of this host; its sockets are of this host's stack."""
        title = f"{self.name}: {name or getattr(function, '__name__', 'task')}"
        return self.lab.schedule.add(title, self, functools.partial(self._application, function, args))

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the calling task."""
        self.lab.sleep(seconds)

    def spawn(self, function: Callable[..., object], *args: object) -> Task:
        """As `run`."""
        return self.run(function, *args)

    def block(self, endpoint: Endpoint, bits: int, deadline: int | None) -> bool:
        """As `Driver.block`, and note for people what is waited for."""
        self.lab.schedule.running.waits_for = (endpoint, bits)
        return super().block(endpoint, bits, deadline)

    def new_waiter(self) -> TaskWaiter:
        """A waiter for the running task."""
        return self.lab.schedule.new_waiter(self.lab.schedule.running.waits_for)

    def serve(self, now: int) -> bool:
        """Do what is due at this instant; whether there was anything."""
        busy = False
        for link in tuple(self._links.values()):
            busy |= self._read(link, now) > 0
        deadline = self.stack.next_deadline()
        if deadline is not None and deadline <= now:
            self.stack.advance(now)
            busy = True
        if busy or self._orphans or self._backlog:
            self.flush(now)
        return busy

    def next_deadline(self) -> int | None:
        """When `serve` has something to do by itself."""
        deadlines = [self.stack.next_deadline(), *(link.device.next_deadline() for link in self._links.values())]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def _application(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        bind_thread(self)
        return function(*args)

    def _suspend(self, waiter: Waiter, deadline: int | None) -> None:
        assert isinstance(waiter, TaskWaiter), "a host's waiters are tasks"
        self.lab.schedule.block(waiter, deadline)

    def _interrupt(self) -> None:
        """Nobody sleeps in the devices of a lab."""

"""Another stack behind a wire, in real time: what the kernel's machine and a foreign device's have in common."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ustack.link.frame import Frame
from ustack.packetdrill.machine import DEVICE, Capture
from ustack.packetdrill.platform import Platform
from ustack.sim.task import Deadlock

MILLISECOND = 1_000_000
_PATIENCE_NS = 30_000 * MILLISECOND
_CALL_SECONDS = 5.0
"""How long a call may take that should not block."""
_BLOCKING_SECONDS = 0.003
"""How long a call that blocks is given to do so."""
_SLICE_NS = MILLISECOND


class Tap(ABC):
    """The wire to another stack: a `Wire` in real time."""

    def __init__(self) -> None:
        self.sent: deque[tuple[int, bytes]] = deque()
        self.capture: Capture | None = None

    @abstractmethod
    def fileno(self) -> int:
        """Is readable when packets have come."""

    @abstractmethod
    def read(self) -> list[bytes]:
        """The packets that have come."""

    @abstractmethod
    def put(self, frame: Frame) -> None:
        """Send a packet."""

    def look(self, timeout_ns: int) -> None:
        """Wait for packets, and keep those that have come with their time."""
        ready, _, _ = select.select([self.fileno()], [], [], max(timeout_ns, 0) / 1e9)
        now = time.monotonic_ns()
        for packet in self.read() if ready else ():
            self.sent.append((now, packet))
            self._show(now, packet, outbound=True)

    def write(self, frame: Frame) -> None:
        """Send a packet, and show it."""
        now = time.monotonic_ns()
        self.put(frame)
        self._show(now, frame.packet, outbound=False)

    def _show(self, now: int, packet: bytes, *, outbound: bool) -> None:
        if self.capture is not None:
            self.capture(now, DEVICE, outbound, packet)


class Thread:
    """A call in a thread of its own: a `Task`."""

    def __init__(self, function: Callable[[], Any], name: str) -> None:
        self._function = function
        self._value: Any = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as problem:  # it is raised again in result()
            self._problem = problem

    def has_ended(self, seconds: float) -> bool:
        """Whether it ends within so much time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Any:
        """As `Task`."""
        self._thread.join()
        if self._problem is not None:
            raise self._problem
        return self._value


class RealTimeMachine:
    """The clock, and the wire: most of a `Machine`."""

    platform: Platform

    def __init__(self, device: Tap) -> None:
        self.device = device
        self.files: dict[str, bytes] = {}
        self.patience_ns = _PATIENCE_NS
        self._start = time.monotonic_ns()

    @property
    def now(self) -> int:
        """As `Machine`."""
        return time.monotonic_ns() - self._start

    def script_time(self, now: int) -> int:
        """As `Machine`."""
        return now - self._start

    def restart_clock(self) -> None:
        """As `Machine`."""
        self.device.look(0)
        self.device.sent.clear()
        self._start, self.platform.epoch = time.monotonic_ns(), time.time_ns()

    def entered(self) -> AbstractContextManager[object]:
        """As `Machine`."""
        return contextlib.nullcontext()

    def call(self, function: Callable[[], Any]) -> Any:
        """As `Machine`."""
        thread = Thread(function, "call")
        if not thread.has_ended(_CALL_SECONDS):
            raise Deadlock(f"a call has not returned for {_CALL_SECONDS} s")
        return thread.result()

    def start_task(self, function: Callable[[], Any], name: str) -> Thread:
        """As `Machine`."""
        thread = Thread(function, name)
        thread.has_ended(_BLOCKING_SECONDS)
        return thread

    def inject(self, frame: Frame) -> None:
        """As `Machine`."""
        self.device.write(frame)

    def settle(self) -> None:
        """As `Machine`."""
        self.device.look(0)

    def run_until(self, time: int, done: Callable[[], bool] = lambda: False) -> bool:
        """As `Machine`."""
        while not done():
            left = time - self.now
            self.device.look(min(left, _SLICE_NS))
            if left <= 0:
                return done()
        return True

    def run_while_busy(self, limit: int, done: Callable[[], bool]) -> bool:
        """As `Machine`: here time always passes."""
        return self.run_until(limit, done)

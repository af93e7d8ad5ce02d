"""`KernelMachine`: a kernel in a namespace of its own, at the far end of a TUN device, in real time.

ustack has the device's near end and plays the remote; the script's system calls are made on the kernel's sockets, its
sysctls are those of the namespace.  Nothing outside of the namespace changes.
"""

from __future__ import annotations

import contextlib
import errno
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ustack.burst import Burst
from ustack.link.frame import Frame
from ustack.link.namespace import Namespace
from ustack.link.tun import TunDevice
from ustack.packetdrill.kernel_platform import KernelPlatform
from ustack.packetdrill.machine import DEVICE, Capture
from ustack.packetdrill.settings import Addresses
from ustack.sim.task import Deadlock
from ustack.sysctl import canonical

MILLISECOND = 1_000_000
_PATIENCE_NS = 30_000 * MILLISECOND
_CALL_SECONDS = 5.0
"""How long a call may take that should not block."""
_BLOCKING_SECONDS = 0.003
"""How long a call that blocks is given to do so."""
_SLICE_NS = MILLISECOND
_UNKNOWN = tuple(str(number) for number in (errno.ENOENT, errno.EACCES, errno.EPERM))
_CONTROLLER = "net.ipv4.tcp_congestion_control"
_PROC = "/proc/sys/"
_KEEPER = """
import sys
for line in sys.stdin:
    path, _, value = line.rstrip("\\n").partition("\\t")
    try:
        with open(path, "w" if value else "r") as file:
            answer = file.write(value) if value else " ".join(file.read().split())
        print("+", answer, flush=True)
    except OSError as problem:
        print("-", problem.errno, flush=True)
"""
"""Runs in the namespace: reads and writes its sysctls."""


class Tap:
    """The near end of the TUN device: a `Wire`."""

    def __init__(self, device: TunDevice) -> None:
        self._device = device
        self._burst = Burst()
        self.sent: deque[tuple[int, bytes]] = deque()
        self.capture: Capture | None = None

    def look(self, timeout_ns: int) -> None:
        """Wait for packets, and keep those that have come with their time."""
        ready, _, _ = select.select([self._device.fileno()], [], [], max(timeout_ns, 0) / 1e9)
        now = time.monotonic_ns()
        while ready and self._device.read(self._burst, now):
            for index in range(len(self._burst)):
                packet = self._burst.completed(index)
                self.sent.append((now, packet))
                self._show(now, packet, outbound=True)
            self._burst.clear()

    def write(self, frame: Frame) -> None:
        """Send a packet to the kernel."""
        self._burst.clear()
        frame.put(self._burst)
        now = time.monotonic_ns()
        self._device.write(self._burst, now)
        self._burst.clear()
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


class KernelNames:
    """The sysctls of a namespace: `Names`."""

    def __init__(self, namespace: Namespace, platform: KernelPlatform) -> None:
        self._platform = platform
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self._keeper = namespace.run([sys.executable, "-I", "-c", _KEEPER], **pipes)

    def _ask(self, name: str, value: str) -> str:
        path = canonical(name)
        if path.startswith("/"):
            raise KeyError(name)  # parameters of modules are the whole machine's
        assert self._keeper.stdin is not None, "it was started with pipes"
        assert self._keeper.stdout is not None, "it was started with pipes"
        print(f"{_PROC}{path.replace('.', '/')}\t{value}", file=self._keeper.stdin, flush=True)
        sign, _, answer = str(self._keeper.stdout.readline()).strip().partition(" ")
        if sign == "+":
            return answer
        raise (KeyError(name) if answer in _UNKNOWN else ValueError(value))

    def get(self, name: str) -> str:
        """As `Names`."""
        return self._ask(name, "")

    def set(self, name: str, value: str) -> None:
        """As `Names`.  A namespace may not have every controller as its default: sockets are then made with it."""
        try:
            self._ask(name, value or " ")
        except KeyError:
            if canonical(name) != _CONTROLLER:
                raise
            self._platform.controller = value

    def close(self) -> None:
        """End the program."""
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()
        self._keeper.wait()


class KernelMachine:
    """A kernel in a namespace: a `Machine`.  Raises OSError where this user can have no namespace."""

    def __init__(self, addresses: Addresses, mtu: int) -> None:
        self.files: dict[str, bytes] = {}
        self.patience_ns = _PATIENCE_NS
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self.namespace = Namespace()
            undo.callback(self.namespace.close)
            route = f"{addresses.remote}/{32 if addresses.version == 4 else 128}"
            device = self.namespace.open_tun(DEVICE, mtu, [addresses.local_with_prefix], [route])
            undo.callback(device.close)
            self.device = Tap(device)
            self.platform = KernelPlatform(self.namespace)
            self.sysctl = KernelNames(self.namespace, self.platform)
            undo.callback(self.sysctl.close)
            self._undo = undo.pop_all()
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

    def run_program(self, words: list[str], given: str) -> tuple[bool, str]:
        """Run a program in the namespace: whether it has succeeded, and what it prints."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        program = self.namespace.run(words, **pipes)
        output, _ = program.communicate(given)
        return program.returncode == 0, output

    def close(self) -> None:
        """As `Machine`."""
        self._undo.close()

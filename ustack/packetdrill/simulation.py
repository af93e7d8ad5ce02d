"""`SimulatedMachine`: the host that a script runs on: a stack, its one device, and virtual time.

It is a host of a `Lab` of its own.  The runner is the lab's main task and moves time itself, from deadline to
deadline; only calls that the script says block have tasks of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ustack.address import parse_address
from ustack.burst import Burst
from ustack.config import StackConfig, TcpConfig
from ustack.entropy import SeededEntropy
from ustack.link.device import ALL_OFFLOADS
from ustack.link.frame import Frame, adapt
from ustack.native import lib
from ustack.packetdrill.machine import DEVICE, Capture
from ustack.packetdrill.readiness import OwnPlatform
from ustack.packetdrill.settings import Addresses
from ustack.runtime.current import use
from ustack.sim.lab import Host, Lab
from ustack.sim.task import Task
from ustack.stack import Stack
from ustack.sysctl import Sysctl

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_ACCURATE_ECN = 3
"""From this tcp_ecn on segments have the counter ACE, with which Linux's TUN device takes no super-segments."""
_SEGMENTATION = lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6 | lib.OFFLOAD_USO

_FOREVER_NS = 100_000_000_000_000
"""How long a packet is waited for that may come at any time."""


@dataclass(slots=True)
class ScriptedDevice:
    """The device whose far end is the script: it keeps what the stack sends, and gives what the script injects."""

    mtu: int
    name: str = DEVICE
    offload: int = ALL_OFFLOADS & ~lib.OFFLOAD_USO
    config: TcpConfig = field(default_factory=TcpConfig)
    sent: deque[tuple[int, bytes]] = field(default_factory=deque)
    arrivals: deque[Frame] = field(default_factory=deque)
    capture: Capture | None = None

    def read(self, burst: Burst, now: int) -> int:
        """As `Device.read`."""
        count = 0
        while self.arrivals and self.arrivals[0].put(burst):
            frame = self.arrivals.popleft()
            count += 1
            if self.capture is not None:
                self.capture(now, self.name, False, frame.completed())
        return count

    def write(self, burst: Burst, now: int) -> int:
        """As `Device.write`."""
        offload = self.offload & ~_SEGMENTATION if self.config.ecn >= _ACCURATE_ECN else self.offload
        for index in range(len(burst)):
            for frame in adapt(burst, index, offload):
                self.sent.append((now, frame.packet))
                if self.capture is not None:
                    self.capture(now, self.name, True, frame.completed())
        return len(burst)

    def next_deadline(self) -> int | None:
        """As `Device.next_deadline`: arrivals are read at once."""
        return None

    def fileno(self) -> int:
        """As `Device.fileno`."""
        return -1

    def close(self) -> None:
        """As `Device.close`."""

    def set_segmentation(self, *, on: bool) -> None:
        """Let the device cut super-segments, or have them cut before."""
        self.offload = self.offload | _SEGMENTATION & ~lib.OFFLOAD_USO if on else self.offload & ~_SEGMENTATION


class SimulatedMachine:
    """Stack, device and clock of one run.  Times are those of the script: nanoseconds since its first event."""

    def __init__(self, addresses: Addresses, config: StackConfig, mtu: int, seed: int = 0) -> None:
        self.config = config
        self.sysctl = Sysctl(config)
        self.files: dict[str, bytes] = {}
        """What the script's commands have made."""
        self.lab = Lab(seed)
        self.host: Host = self.lab.add(Stack(config, entropy=SeededEntropy(seed)), "script")
        self.device = ScriptedDevice(mtu, config=config.tcp)
        self.interface = self.host.attach(self.device, [addresses.local_with_prefix])
        default = "0.0.0.0/0" if addresses.version == 4 else "::/0"
        self.host.stack.add_route(default, self.interface, parse_address(addresses.gateway))
        self._capacity = self.interface.outgoing.cdata.capacity
        self.platform = OwnPlatform(self.host)
        self.patience_ns = _FOREVER_NS
        self._start = self.lab.now()

    @property
    def now(self) -> int:
        """The time of the script."""
        return self.lab.now() - self._start

    def entered(self) -> AbstractContextManager[object]:
        """Sockets that are made now are of this machine."""
        return use(self.host)

    def call(self, function: Callable[[], Any]) -> Any:
        """Make a call that should not block; raises Deadlock if it does for ever."""
        return function()

    def restart_clock(self) -> None:
        """The script begins now."""
        self._start = self.platform.epoch = self.lab.now()

    def script_time(self, now: int) -> int:
        """A time of the lab's clock as the script counts it."""
        return now - self._start

    def set_mtu(self, mtu: int) -> None:
        """Change the device's MTU."""
        self.device.mtu = self.interface.mtu = self.interface.least_mtu = mtu
        self.interface.outgoing.cdata.mtu = mtu

    def set_queue(self, *, room: bool) -> None:
        """Let the queueing discipline take packets, or refuse every one: then sending fails, as on Linux."""
        self.interface.outgoing.cdata.capacity = self._capacity if room else 0

    def set_segmentation(self, *, on: bool) -> None:
        """Turn the device's segmentation offload on or off."""
        self.device.set_segmentation(on=on)
        self.interface.offload = self.device.offload
        self.interface.outgoing.cdata.offload = self.device.offload

    def start_task(self, function: Callable[[], Any], name: str) -> Task:
        """Run a call that blocks until it blocks or ends."""
        task = self.host.run(function, name=name)
        self.settle()
        return task

    def inject(self, frame: Frame) -> None:
        """Let a packet arrive now."""
        self.device.arrivals.append(frame)
        self.settle()

    def settle(self) -> None:
        """Let stack and tasks do all that they can do at this instant."""
        now = self.lab.now()
        while True:
            busy = self.host.serve(now) | self.lab.schedule.expire()
            if self.lab.schedule.ready:
                self.lab.sleep(0)
            elif not busy:
                return

    def run_until(self, time: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass until `time`, or until `done`; whether it is done.  What is due at `time` is still done."""
        self.settle()
        while not done():
            deadline = self._next_deadline()
            if deadline is None or deadline > time + self._start:
                self._jump(time + self._start)
                return False
            self._jump(deadline)
            self.settle()
        return True

    def run_while_busy(self, limit: int, done: Callable[[], bool]) -> bool:
        """As `run_until`, but time stands still where nothing will ever happen again."""
        while not done():
            deadline = self._next_deadline()
            if deadline is None or deadline > limit + self._start:
                return False
            self.run_until(deadline - self._start, done)
        return True

    def _jump(self, time: int) -> None:
        if time > self.lab.now():
            self.lab.clock.jump(time)

    def _next_deadline(self) -> int | None:
        deadlines = (self.host.next_deadline(), self.lab.schedule.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def close(self) -> None:
        """End everything."""
        self.lab.close()

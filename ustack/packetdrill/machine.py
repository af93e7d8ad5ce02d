"""`Machine`: what a script runs on: a host with one device and a clock, simulated or real.

Times are those of the script: nanoseconds since its first event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ustack.link.frame import Frame
from ustack.packetdrill.platform import Platform

if TYPE_CHECKING:
    from collections import deque
    from contextlib import AbstractContextManager

DEVICE = "tun0"
"""What scripts call the device."""

Capture = Callable[[int, str, bool, bytes], None]


class Wire(Protocol):
    """The device, as the script's side sees it."""

    @property
    def sent(self) -> deque[tuple[int, bytes]]:
        """What the machine has sent and the script has not looked at: times of the machine's clock, and packets."""
        ...

    capture: Capture | None
    """Is shown every packet."""


class Names(Protocol):
    """The sysctls.  Unknown names raise KeyError, wrong values ValueError."""

    def get(self, name: str) -> str:
        """The value of a name."""
        ...

    def set(self, name: str, value: str) -> None:
        """Change the value of a name."""
        ...


class Task(Protocol):
    """A call that blocks, made beside the script."""

    def result(self) -> Any:
        """What it has given, or its exception."""
        ...


class Machine(Protocol):
    """Host, device and clock of one run."""

    @property
    def platform(self) -> Platform:
        """Where its sockets come from."""
        ...

    @property
    def device(self) -> Wire:
        """Its device."""
        ...

    @property
    def sysctl(self) -> Names:
        """Its configuration."""
        ...

    @property
    def files(self) -> dict[str, bytes]:
        """What the script's commands have made."""
        ...

    @property
    def patience_ns(self) -> int:
        """How long a packet is waited for that may come at any time."""
        ...

    @property
    def now(self) -> int:
        """The time of the script."""
        ...

    def script_time(self, now: int) -> int:
        """A time of the machine's clock as the script counts it."""
        ...

    def restart_clock(self) -> None:
        """The script begins now."""
        ...

    def entered(self) -> AbstractContextManager[object]:
        """Sockets that are made now are of this machine."""
        ...

    def call(self, function: Callable[[], Any]) -> Any:
        """Make a call that should not block; raises Deadlock if it does for ever."""
        ...

    def start_task(self, function: Callable[[], Any], name: str) -> Task:
        """Begin a call that blocks, and give it the time to block or to end."""
        ...

    def inject(self, frame: Frame) -> None:
        """Let a packet arrive now."""
        ...

    def settle(self) -> None:
        """Let all happen that happens at this instant."""
        ...

    def run_until(self, time: int, done: Callable[[], bool] = ...) -> bool:
        """Let time pass until `time`, or until `done`; whether it is done."""
        ...

    def run_while_busy(self, limit: int, done: Callable[[], bool]) -> bool:
        """As `run_until`, but time may stand still where nothing will ever happen again."""
        ...

    def close(self) -> None:
        """End everything."""
        ...

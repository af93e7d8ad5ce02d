"""The kernel as referee: a scenario is run on Python's own sockets and on ours, over the loopback, and must end alike.

A scenario is a function of a `Net`; what it returns or raises is its outcome.
"""

from __future__ import annotations

import contextlib
import select
import socket as stdlib
from collections.abc import Callable
from typing import Any

from ustack import socket as ours
from ustack.sim.lab import Lab

POLL_BITS = {
    select.POLLIN: "IN", select.POLLPRI: "PRI", select.POLLOUT: "OUT", select.POLLERR: "ERR", select.POLLHUP: "HUP",
    select.POLLRDHUP: "RDHUP",
}  # fmt: skip


class Net:
    """A `socket` module and what scenarios need besides; every socket that it makes is closed at the end."""

    def __init__(self, module: Any, undo: contextlib.ExitStack) -> None:
        self.module = module
        self._undo = undo

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def keep(self, made: Any) -> Any:
        """Close `made` when the scenario ends."""
        self._undo.callback(made.close)
        return made

    def socket(self, *arguments: Any) -> Any:
        return self.keep(self.module.socket(*arguments))

    def tcp(self, family: int = stdlib.AF_INET) -> Any:
        return self.socket(family, stdlib.SOCK_STREAM)

    def udp(self, family: int = stdlib.AF_INET) -> Any:
        return self.socket(family, stdlib.SOCK_DGRAM)

    def listener(self, host: str = "127.0.0.1", backlog: int = 5) -> Any:
        made = self.tcp(stdlib.AF_INET6 if ":" in host else stdlib.AF_INET)
        made.bind((host, 0))
        made.listen(backlog)
        return made

    def pair(self, host: str = "127.0.0.1") -> tuple[Any, Any]:
        """A client and the accepted connection."""
        listener = self.listener(host)
        client = self.tcp(listener.family)
        client.settimeout(5)
        client.connect(listener.getsockname())
        accepted = self.keep(listener.accept()[0])
        accepted.settimeout(5)
        return client, accepted

    def udp_pair(self, host: str = "127.0.0.1") -> tuple[Any, Any]:
        """A connected UDP socket and the bound one that it is connected to."""
        family = stdlib.AF_INET6 if ":" in host else stdlib.AF_INET
        bound, connected = self.udp(family), self.udp(family)
        bound.bind((host, 0))
        connected.connect(bound.getsockname())
        for each in (bound, connected):
            each.settimeout(5)
        return connected, bound


def polled(made: Any) -> set[str]:
    """What poll() says of a socket."""
    poller = select.poll()
    poller.register(made, sum(POLL_BITS))
    found = poller.poll(0)
    bits = found[0][1] if found else 0
    return {name for bit, name in POLL_BITS.items() if bits & bit}


def raised(function: Callable[..., object], *arguments: Any) -> tuple[type[BaseException], int | None] | str:
    """What kind of exception a call raises, with its errno."""
    try:
        function(*arguments)
    except Exception as problem:  # whatever it is: it is compared
        return type(problem), getattr(problem, "errno", None)
    return "nothing"


def _outcome(scenario: Callable[[Net], Any], module: Any) -> Any:
    with contextlib.ExitStack() as undo:
        try:
            return scenario(Net(module, undo))
        except OSError as problem:
            return type(problem), problem.errno


def on_kernel(scenario: Callable[[Net], Any]) -> Any:
    """The outcome on Python's own sockets."""
    return _outcome(scenario, stdlib)


def on_ustack(scenario: Callable[[Net], Any]) -> Any:
    """The outcome on ours, in a lab."""
    with Lab() as lab:
        return lab.host().run(_outcome, scenario, ours).result()

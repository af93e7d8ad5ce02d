"""The process that holds a network namespace: `python -m ustack.link.holder CONTROL-FD NAME [NAMESPACE-FD …]`.

It makes and enters the namespace (or enters those that are given), then serves requests of the process that started it,
each a JSON message on the control socket, and ends when that socket is closed at the other end, however it came about:
then it ends the programs that it was told to watch, and removes the devices and the namespace's name.
`ustack.link.namespace` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ustack.link.configure import bring_up_loopback, configure, forward, remove_interfaces
from ustack.link.enter import enter
from ustack.link.namespace import GRACE_SECONDS, MESSAGE_BYTES
from ustack.link.tun import create_tun, tun_name
from ustack.link.unshare import attach_name, enter_new_network_namespace, remove_name


class Holder:
    """Serves one control socket."""

    def __init__(self, control: socket.socket, name: str, joined: Sequence[int] = ()) -> None:
        self._control = control
        self._joined = joined
        self._name: str | None = name
        self._interfaces: list[int] = []
        self._watched: list[int] = []
        self._requests: dict[str, Callable[..., int | None]] = {
            "open_tun": self._open_tun,
            "open_socket": self._open_socket,
            "watch": self._watch,
        }

    def run(self) -> None:
        """Make the namespace, serve until the control socket is closed, and clean up."""
        try:
            self._answer(0, self._make_namespace, {})
            while message := self._control.recv(MESSAGE_BYTES):
                request = json.loads(message)
                self._answer(request["number"], self._requests[request["call"]], request["arguments"])
        except ConnectionError:
            return
        finally:
            self._clean_up()

    def _answer(self, number: int, call: Callable[..., int | None], arguments: dict[str, Any]) -> None:
        """Make the call of request `number` and send what came of it: first the descriptor that it gave, if any."""
        try:
            descriptor = call(**arguments)
        except OSError as failure:
            self._send({"number": number, "errno": failure.errno or 0, "error": failure.strerror or str(failure)})
            return
        if descriptor is not None:
            try:
                self._send({"number": number, "more": True}, descriptor)
            finally:
                os.close(descriptor)  # before the answer, after which the receiver's copy must be the only one
        self._send({"number": number, "name": self._name})

    def _send(self, answer: dict[str, Any], *descriptors: int) -> None:
        socket.send_fds(self._control, [json.dumps(answer).encode()], descriptors)

    def _make_namespace(self) -> None:
        """Enter a new namespace and give it its name, where this user may; or enter the namespaces to join."""
        name, self._name = self._name, None
        if self._joined:
            for descriptor in self._joined:
                enter(descriptor)
            forward()
            return
        rootless = enter_new_network_namespace()
        bring_up_loopback()
        if not rootless and name is not None:
            self._name = _attach_if_possible(name)

    def _open_tun(self, name: str, mtu: int, addresses: list[str], routes: list[str], offload: bool) -> int:
        """Create and configure a TUN device."""
        descriptor = create_tun(name, offload=offload)
        try:
            self._interfaces.append(configure(tun_name(descriptor), mtu, addresses, routes))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open_socket(self, family: int, kind: int, protocol: int) -> int:
        """A kernel socket of this namespace."""
        return socket.socket(family, kind, protocol).detach()

    def _watch(self, pid: int) -> None:
        """Remember a program that must not outlive this process; it is not yet reaped, so `pid` is still its."""
        self._watched = _still_running(self._watched, 0)
        with contextlib.suppress(ProcessLookupError):
            self._watched.append(os.pidfd_open(pid))

    def _clean_up(self) -> None:
        _end_programs(self._watched)
        remove_interfaces(self._interfaces)
        if self._name is not None:
            remove_name(self._name)


def _attach_if_possible(name: str) -> str | None:
    """Name this process's namespace; None where that cannot be (a read-only /run, say).  Raises EEXIST."""
    try:
        attach_name(name)
    except FileExistsError:
        raise
    except OSError:
        return None
    return name


def _end_programs(descriptors: list[int]) -> None:
    """Ask the programs behind these pidfds to end, and end those that have not after a while."""
    _signal_all(descriptors, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while descriptors and (left := deadline - time.monotonic()) > 0:
        descriptors = _still_running(descriptors, left)
    _signal_all(descriptors, signal.SIGKILL)


def _still_running(descriptors: list[int], seconds: float) -> list[int]:
    """Wait until one of these pidfds' programs has ended, but not longer than this; close those of the ended ones."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    ended = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
    for descriptor in ended:
        os.close(descriptor)
    return [descriptor for descriptor in descriptors if descriptor not in ended]


def _signal_all(descriptors: list[int], number: signal.Signals) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)


def _end_by_signal(*_: object) -> None:
    sys.exit(0)


def main() -> None:
    """Run a holder on the descriptor and name given as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_by_signal)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Holder(control, sys.argv[2], [int(argument) for argument in sys.argv[3:]]).run()


if __name__ == "__main__":
    main()

"""`KernelMachine`: a kernel in a namespace of its own, at the far end of a TUN device, in real time.

ustack has the device's near end and plays the remote; the script's system calls are made on the kernel's sockets, its
sysctls are those of the namespace.  Nothing outside of the namespace changes.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys

from ustack.burst import Burst
from ustack.link.frame import Frame
from ustack.link.namespace import Namespace
from ustack.link.tun import TunDevice
from ustack.packetdrill.kernel_platform import KernelPlatform
from ustack.packetdrill.machine import DEVICE
from ustack.packetdrill.real_time import RealTimeMachine, Tap
from ustack.packetdrill.settings import Addresses
from ustack.sysctl import canonical

_UNKNOWN = tuple(str(number) for number in (errno.ENOENT, errno.EACCES, errno.EPERM))
_CONTROLLER = "net.ipv4.tcp_congestion_control"
_USUAL_CONTROLLER = "cubic"
"""The kernel's own default, whatever this machine has chosen for itself."""
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
        controller = canonical(name) == _CONTROLLER
        try:
            self._ask(name, value or " ")
        except KeyError:
            if not controller:
                raise
            self._platform.controller = value
        else:
            self._platform.controller = "" if controller else self._platform.controller

    def close(self) -> None:
        """End the program."""
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()
        self._keeper.wait()


class TunTap(Tap):
    """The near end of a TUN device, the kernel's is the far one."""

    def __init__(self, device: TunDevice) -> None:
        super().__init__()
        self._device = device
        self._burst = Burst()

    def fileno(self) -> int:
        """As `Tap`."""
        return self._device.fileno()

    def read(self) -> list[bytes]:
        """As `Tap`."""
        found: list[bytes] = []
        while self._device.read(self._burst, 0):
            found += [self._burst.completed(index) for index in range(len(self._burst))]
            self._burst.clear()
        return found

    def put(self, frame: Frame) -> None:
        """As `Tap`."""
        self._burst.clear()
        frame.put(self._burst)
        self._device.write(self._burst, 0)
        self._burst.clear()


class KernelMachine(RealTimeMachine):
    """A kernel in a namespace: a `Machine`.  Raises OSError where this user can have no namespace."""

    def __init__(self, addresses: Addresses, mtu: int) -> None:
        with contextlib.ExitStack() as undo:
            self.namespace = Namespace()
            undo.callback(self.namespace.close)
            route = f"{addresses.remote}/{32 if addresses.version == 4 else 128}"
            device = self.namespace.open_tun(DEVICE, mtu, [addresses.local_with_prefix], [route])
            undo.callback(device.close)
            super().__init__(TunTap(device))
            self.platform = KernelPlatform(self.namespace)
            self.sysctl = KernelNames(self.namespace, self.platform)
            undo.callback(self.sysctl.close)
            self.sysctl.set(_CONTROLLER, _USUAL_CONTROLLER)
            self._undo = undo.pop_all()

    def run_program(self, words: list[str], given: str) -> tuple[bool, str]:
        """Run a program in the namespace: whether it has succeeded, and what it prints."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        program = self.namespace.run(words, **pipes)
        output, _ = program.communicate(given)
        return program.returncode == 0, output

    def close(self) -> None:
        """As `Machine`."""
        self._undo.close()

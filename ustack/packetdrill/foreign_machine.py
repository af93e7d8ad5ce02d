"""`ForeignMachine`: anybody's stack behind a TUN device of this machine, in real time.

ustack plays the remote: it sends and sees packets at the kernel's side of the device.  What the stack's programs do is
their own business: the script's system calls and commands are waited for, not made.
"""

from __future__ import annotations

import socket
from typing import NoReturn

from ustack.link.frame import Frame
from ustack.packetdrill.platform import Epoll, Platform
from ustack.packetdrill.problems import Unsupported
from ustack.packetdrill.real_time import RealTimeMachine, Tap
from ustack.packetdrill.verbs import Shell

_EVERY_PROTOCOL = 3
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_OWN = 4
"""PACKET_OUTGOING: what we have sent ourselves."""
_MOST_BYTES = 65536


class PacketTap(Tap):
    """A packet socket on a device.  Raises PermissionError without CAP_NET_RAW, OSError for an unknown device."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
        try:
            self._socket.bind((name, _EVERY_PROTOCOL))
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """As `Tap`."""
        return self._socket.fileno()

    def read(self) -> list[bytes]:
        """As `Tap`."""
        found: list[bytes] = []
        while True:
            try:
                packet, address = self._socket.recvfrom(_MOST_BYTES)
            except BlockingIOError:
                return found
            if address[2] != _OWN:
                found.append(packet)

    def put(self, frame: Frame) -> None:
        """As `Tap`."""
        self._socket.sendto(frame.packet, (self._name, _ETHERTYPES[frame.packet[0] >> 4]))

    def close(self) -> None:
        """Let go of the device."""
        self._socket.close()


class NoPlatform(Platform):
    """System calls are made by somebody else."""

    epoch = 0

    def _refuse(self) -> NoReturn:
        raise Unsupported("system calls on a foreign stack are not ours to make")

    def open(self, family: int, kind: int, protocol: int) -> socket.socket:
        """Unsupported."""
        self._refuse()

    def poll(self, entries: list[tuple[socket.socket, int]], timeout_ms: int) -> list[int]:
        """Unsupported."""
        self._refuse()

    def epoll(self) -> Epoll:
        """Unsupported."""
        self._refuse()

    def control(self, sock: socket.socket, request: int) -> int:
        """Unsupported."""
        self._refuse()

    def at_urgent_data(self, sock: socket.socket) -> bool:
        """Unsupported."""
        self._refuse()

    def disconnect(self, sock: socket.socket) -> None:
        """Unsupported."""
        self._refuse()


class NoNames:
    """A foreign stack's configuration is its own: every change is let be."""

    def get(self, name: str) -> str:
        """As `Names`."""
        return ""

    def set(self, name: str, value: str) -> None:
        """As `Names`."""


class ForeignMachine(RealTimeMachine):
    """Anybody's stack behind a device: a `Machine`."""

    def __init__(self, device: str) -> None:
        self._tap = PacketTap(device)
        super().__init__(self._tap)
        self.platform = NoPlatform()
        self.sysctl = NoNames()

    def close(self) -> None:
        """As `Machine`."""
        self._tap.close()


class ForeignShell(Shell):
    """Lets be what the commands ask for."""

    def run(self, text: str) -> None:
        """Nothing."""

    def _network(self, words: list[str], given: str) -> tuple[bool, str]:
        return True, ""

    def _socket_table(self) -> str:
        return ""

"""Who talks to the stack of `ustack demo`: the kernel in the namespace, or a second stack at the end of a pipe."""

from __future__ import annotations

import contextlib
import shutil
import socket as kernel
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ustack import socket as ustack_socket
from ustack.cli.station import DEFAULT_ROUTES
from ustack.link.namespace import Namespace
from ustack.link.pcap_tap import PcapTap
from ustack.link.pipe import pipe
from ustack.observe.trace_log import TraceLog
from ustack.runtime.current import new_driver, use
from ustack.runtime.driver import Driver

SECONDS = 10
CHUNK = 64 << 10
KERNEL = ("10.9.0.1", "fd09::1")
STACK = ("10.9.0.2", "fd09::2")


@dataclass(slots=True)
class Fetched:
    """What came of a request: how it was made, the status line, the bytes of the whole answer."""

    how: str
    status: str
    size: int


class Neighbour(Protocol):
    """A host that the stack can be asked from."""

    name: str

    def fetch(self, address: str) -> Fetched:
        """GET / over HTTP.  Raises OSError."""
        ...

    def knock(self, address: str, port: int) -> str:
        """Send a datagram to a port where nobody is; the error that comes back, in words."""
        ...


class KernelNeighbour:
    """Linux itself, with curl if it is installed."""

    name = "the Linux kernel"

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def fetch(self, address: str) -> Fetched:
        """GET / with curl, else by a socket of the kernel."""
        if shutil.which("curl") is None:
            return fetch_by_hand(self._namespace.open_socket(_family(address), kernel.SOCK_STREAM), address)
        url = f"http://{bracketed(address)}/"
        command = ["curl", "--silent", "--show-error", "--include", "--max-time", str(SECONDS), "--noproxy", "*", url]
        program = self._namespace.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        answer, complaint = program.communicate()
        if program.returncode:
            raise ConnectionError(complaint.decode(errors="replace").strip())
        return Fetched(f"curl {url}", first_line(answer), len(answer))

    def knock(self, address: str, port: int) -> str:
        """By a socket of the kernel."""
        return knock(self._namespace.open_socket(_family(address), kernel.SOCK_DGRAM), address, port)


class StackNeighbour:
    """A second stack of ours."""

    name = "a second ustack stack"

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def fetch(self, address: str) -> Fetched:
        """GET / by a socket of the second stack."""
        with use(self._driver):
            made: Any = ustack_socket.socket(_family(address), kernel.SOCK_STREAM)
        return fetch_by_hand(made, address)

    def knock(self, address: str, port: int) -> str:
        """By a socket of the second stack."""
        with use(self._driver):
            made: Any = ustack_socket.socket(_family(address), kernel.SOCK_DGRAM)
        return knock(made, address, port)


@contextlib.contextmanager
def second_stack(driver: Driver, log: TraceLog) -> Iterator[StackNeighbour]:
    """Give `driver` one end of a pipe with the stack's addresses, and a new stack the other with the kernel's."""
    ours, theirs = pipe(names=("pipe0", "pipe0"), descriptors=True)
    with new_driver() as neighbour:
        for owner, device, (ipv4, ipv6) in ((driver, PcapTap(ours, log), STACK), (neighbour, theirs, KERNEL)):
            interface = owner.attach(device, (f"{ipv4}/24", f"{ipv6}/112"))
            for route in DEFAULT_ROUTES:
                owner.call(owner.stack.add_route, route, interface)
        yield StackNeighbour(neighbour)


def fetch_by_hand(connection: Any, address: str) -> Fetched:
    """GET / by a socket of whatever stack."""
    with connection:
        connection.settimeout(SECONDS)
        connection.connect((address, 80))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while data := connection.recv(CHUNK):
            answer += data
    return Fetched(f"GET http://{bracketed(address)}/ by a socket", first_line(answer), len(answer))


def knock(connection: Any, address: str, port: int) -> str:
    """Send a datagram by a connected socket and wait for the ICMP error."""
    with connection:
        connection.settimeout(SECONDS)
        connection.connect((address, port))
        connection.send(b"anybody there?")
        try:
            connection.recv(CHUNK)
        except OSError as refusal:
            return refusal.strerror or str(refusal)
        return "an answer, although nobody is there"


def bracketed(address: str) -> str:
    """An address as URLs have it."""
    return f"[{address}]" if ":" in address else address


def first_line(answer: bytes) -> str:
    """The status line of an HTTP answer."""
    return answer.partition(b"\r\n")[0].decode(errors="replace")


def _family(address: str) -> int:
    return kernel.AF_INET6 if ":" in address else kernel.AF_INET

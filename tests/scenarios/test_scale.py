"""Many stacks in one process, and many connections on one stack."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from ustack.address import parse_address
from ustack.burst import Burst
from ustack.config import StackConfig
from ustack.constants import AF_INET, SOCK_STREAM
from ustack.endpoint import Endpoint
from ustack.entropy import SeededEntropy
from ustack.ip.interface import Interface
from ustack.link.pipe import PipeEnd, pipe
from ustack.stack import Stack
from ustack.tcp.connection import Connection
from ustack.tcp.state import State

PORT = 80
SERVER = parse_address("10.0.0.1")
IDLE_CONNECTIONS = 50_000
BYTES_PER_ENDPOINT = 6000
"""What an idle connection may cost at the most; about 3,700 measured, most of it Python's objects and small rings."""


@dataclass(slots=True)
class Host:
    """A stack and its end of a pipe."""

    stack: Stack
    interface: Interface
    device: PipeEnd

    def serve(self, burst: Burst, now: int) -> bool:
        """Read and write once; whether anything moved."""
        burst.clear()
        count = self.device.read(burst, now)
        if count:
            self.stack.receive(self.interface, burst, now)
        moved = count > 0
        while self.stack.transmit(now):
            self.interface.outgoing.drop(self.device.write(self.interface.outgoing, now))
            moved = True
        return moved


class Pair:
    """Two stacks joined by a pipe."""

    def __init__(self, seed: int, config: StackConfig | None = None) -> None:
        ends = pipe(1500)
        self.server = make_host(seed, "10.0.0.1/8", ends[0], config)
        self.client = make_host(-seed - 1, "10.0.0.2/8", ends[1], None)
        self.burst = Burst()
        listener = self.server.stack.open(AF_INET, SOCK_STREAM, 0)
        listener.bind(SERVER, PORT)
        self.listener = listener.listen(1 << 16)
        self.now = 1_000_000_000

    def pump(self) -> None:
        """Until nothing moves."""
        while self.server.serve(self.burst, self.now) | self.client.serve(self.burst, self.now):
            pass

    def connect(self) -> tuple[Endpoint, Endpoint]:
        """A connection: the client's side and the server's."""
        client = self.client.stack.open(AF_INET, SOCK_STREAM, 0)
        try:
            client.connect(SERVER, PORT, self.now)
        except BlockingIOError:
            self.pump()
        return client, self.listener.accept()

    def echo(self, client: Endpoint, server: Endpoint, message: bytes) -> bytes:
        """What comes back to the client."""
        self.send(client, message)
        self.send(server, self.receive(server))
        return self.receive(client)

    def send(self, endpoint: Endpoint, message: bytes) -> None:
        """Send, and let it arrive."""
        assert endpoint.send(message, 0, None, self.now) == len(message)
        self.pump()

    def receive(self, endpoint: Endpoint) -> bytes:
        """What has arrived."""
        buffer = bytearray(2048)
        return bytes(buffer[: endpoint.receive_into(buffer, 0, self.now)[0]])


def make_host(seed: int, address: str, device: PipeEnd, config: StackConfig | None) -> Host:
    stack = Stack(config, entropy=SeededEntropy(seed))
    return Host(stack, stack.add_interface(device.name, device.mtu, [address]), device)


def resident_bytes() -> int:
    """The memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def test_a_thousand_stacks_live_in_one_process() -> None:
    pairs = [Pair(seed) for seed in range(500)]
    ends = [pair.connect() for pair in pairs]
    for number, (pair, (client, server)) in enumerate(zip(pairs, ends, strict=True)):
        message = b"stack %d" % number
        assert pair.echo(client, server, message) == message


def test_fifty_thousand_idle_connections_on_one_stack() -> None:
    config = StackConfig()
    config.tcp.listen_backlog_max = 1 << 16
    pair = Pair(1, config)
    warm = pair.connect()
    assert pair.echo(*warm, b"x") == b"x"
    gc.collect()
    before = resident_bytes()
    ends = []
    for _ in range(IDLE_CONNECTIONS - 1):
        client, server = pair.connect()
        assert pair.echo(client, server, b"x") == b"x"
        ends.append((client, server))
        pair.now += 10_000
    cost = (resident_bytes() - before) / (2 * len(ends))
    connections = [each for each in pair.server.stack.endpoints if isinstance(each, Connection)]
    assert len(connections) == IDLE_CONNECTIONS
    assert all(each.tcb.state == State.ESTABLISHED for each in connections)
    assert pair.echo(*ends[len(ends) // 2], b"still there") == b"still there"
    assert cost < BYTES_PER_ENDPOINT, f"{cost:.0f} bytes a connection"

"""Bulk transfers through one bottleneck, in virtual time, and what became of them.

A `Scenario` is a path (rate, round trip, loss, queue) and the congestion controllers of the flows that share it; `run`
gives its `Outcome`, which is a function of the scenario alone.  All flows go from one host to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ustack import socket
from ustack.burst import Burst
from ustack.config import MILLISECOND, SECOND, StackConfig
from ustack.link.device import Device, Middleware
from ustack.link.impairment import Impairment, ImpairmentProfile, QueuedPath
from ustack.link.pipe import pipe
from ustack.sim.lab import Host, Lab
from ustack.tcp.connection import Connection

PORT = 5001
_PACKET = 1500
_CHUNK = bytes(256 << 10)
_SENDER, _RECEIVER = "10.0.0.1", "10.0.0.2"
_HEADERS = 20 + 20


@dataclass(frozen=True, slots=True)
class Scenario:
    """A path, and the flows on it."""

    controllers: tuple[str, ...]
    rate_bits_per_s: int
    round_trip_ns: int
    loss: float = 0.0
    loss_burst: float = 1.0
    reordering: float = 0.0
    reordering_ns: int = 5 * MILLISECOND
    discipline: str = "fifo"
    queue_packets: int = 0
    """What may wait at the bottleneck; 0 is one bandwidth-delay product, and 20 packets at least."""
    duration_ns: int = 10 * SECOND
    packets: int = 0
    """The transfer ends sooner once so many full packets could have passed; 0 is no such end."""
    skip_ns: int = 0
    """What is not counted of the beginning."""
    seed: int = 1

    @property
    def length_ns(self) -> int:
        """How long the flows send."""
        if not self.packets:
            return self.duration_ns
        return min(
            self.duration_ns, self.packets * _PACKET * 8 * SECOND // self.rate_bits_per_s + self.round_trip_ns * 10
        )

    @property
    def queue_bytes(self) -> int:
        """The bottleneck's buffer."""
        product = self.rate_bits_per_s * self.round_trip_ns // (8 * SECOND)
        return self.queue_packets * _PACKET or max(product, 20 * _PACKET)


@dataclass(slots=True)
class Flow:
    """What became of one flow."""

    controller: str
    goodput_bits_per_s: int
    """Bytes that the receiver's application got, over the time that was counted."""
    retransmissions: int


@dataclass(slots=True)
class Outcome:
    """What became of a scenario."""

    flows: list[Flow]
    retransmissions: int
    """Segments sent again."""
    spurious: int
    """Segments that arrived though they had arrived before."""
    queue_delay_p99_ns: int
    marked: int
    dropped: int
    """Packets that the bottleneck dropped."""
    lost: int
    """Packets that the line has lost."""
    taken: int
    """Packets that were given to the bottleneck."""

    @property
    def goodput_bits_per_s(self) -> int:
        """Of all flows together."""
        return sum(flow.goodput_bits_per_s for flow in self.flows)

    @property
    def fairness(self) -> float:
        """Jain's index of the flows' goodputs: 1 is equal shares, 1/n is all for one."""
        rates = [flow.goodput_bits_per_s for flow in self.flows]
        squares = sum(rate * rate for rate in rates)
        return sum(rates) ** 2 / (len(rates) * squares) if squares else 1.0


class ArrivalTap(Middleware):
    """Counts data segments of TCP over IPv4 that are written a second time, from `since` on."""

    def __init__(self, device: Device, since: int) -> None:
        super().__init__(device)
        self.repeated = 0
        self._since = since
        self._seen: set[tuple[bytes, bytes]] = set()

    def write(self, burst: Burst, now: int) -> int:
        """As `Device.write`."""
        for frame in burst.frames():
            if len(frame) > _HEADERS + 12:
                key = bytes(frame[20:22]), bytes(frame[24:28])
                self.repeated += key in self._seen and now >= self._since
                self._seen.add(key)
        return super().write(burst, now)


def run(scenario: Scenario) -> Outcome:
    """Carry the scenario out."""
    outbound = ImpairmentProfile(
        loss=scenario.loss,
        loss_burst=scenario.loss_burst,
        reordering=scenario.reordering,
        reordering_ns=scenario.reordering_ns,
        delay_ns=scenario.round_trip_ns // 2,
        rate_bits_per_s=scenario.rate_bits_per_s,
        queue_bytes=scenario.queue_bytes,
        discipline=scenario.discipline,
        held_bytes=1 << 30,
    )
    inbound = ImpairmentProfile(delay_ns=scenario.round_trip_ns - scenario.round_trip_ns // 2, held_bytes=1 << 30)
    with Lab(scenario.seed) as lab:
        sender, receiver = lab.host("sender", _config(scenario)), lab.host("receiver", _config(scenario))
        ends = pipe(_PACKET, capacity_frames=1 << 20)
        tap = ArrivalTap(ends[0], lab.now() + scenario.skip_ns)
        path = Impairment(tap, scenario.seed, outbound, inbound)
        sender.attach(path, [f"{_SENDER}/24"])
        receiver.attach(ends[1], [f"{_RECEIVER}/24"])
        end = lab.now() + scenario.length_ns
        received = receiver.run(_receive, receiver, scenario, end)
        flows = [
            sender.run(_send, sender, end, controller, number) for number, controller in enumerate(scenario.controllers)
        ]
        totals: list[int] = received.result()
        counted_ns = scenario.length_ns - scenario.skip_ns
        outcome = [
            Flow(controller, total * 8 * SECOND // counted_ns, task.result())
            for controller, total, task in zip(scenario.controllers, totals, flows, strict=True)
        ]
        assert isinstance(path.outbound, QueuedPath), "the bottleneck has a discipline"
        queue = path.outbound.queue
        delays = sorted(queue.delays_ns)
        return Outcome(
            outcome,
            sum(flow.retransmissions for flow in outcome),
            tap.repeated,
            delays[len(delays) * 99 // 100] if delays else 0,
            queue.marked,
            queue.dropped,
            path.outbound.counters.lost,
            path.outbound.counters.taken,
        )


def _config(scenario: Scenario) -> StackConfig:
    """Buffers for the path."""
    config = StackConfig()
    room = max(4 * (scenario.queue_bytes + scenario.rate_bits_per_s * scenario.round_trip_ns // (8 * SECOND)), 4 << 20)
    config.tcp.rmem = (4096, 2 * room, 8 * room)
    config.tcp.wmem = (4096, room, room)
    return config


def _receive(host: Host, scenario: Scenario, end: int) -> list[int]:
    """Accept every flow and count the bytes of each until the time is over."""
    with socket.create_server((_RECEIVER, PORT), backlog=len(scenario.controllers)) as listener:
        tasks = []
        for _ in scenario.controllers:
            connection, peer = listener.accept()
            tasks.append((peer[1], host.run(_count, host, scenario, connection, end)))
        return [task.result() for _, task in sorted(tasks, key=lambda item: item[0])]


def _count(host: Host, scenario: Scenario, connection: socket.socket, end: int) -> int:
    buffer = bytearray(1 << 20)
    total = 0
    counted_from = end - scenario.length_ns + scenario.skip_ns
    while (now := host.now()) < end:
        connection.settimeout(max((end - now) / SECOND, 1e-6))
        try:
            count = connection.recv_into(buffer)
        except TimeoutError:
            break
        if not count:
            break
        if host.now() >= counted_from:
            total += count
    return total


def _send(host: Host, end: int, controller: str, number: int) -> int:
    """Send until `end`; the segments that were sent again."""
    with socket.socket() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, controller.encode())
        connection.bind((_SENDER, 10_000 + number))
        connection.connect((_RECEIVER, PORT))
        tcb = _tcb(host, 10_000 + number)
        while (now := host.now()) < end:
            connection.settimeout(max((end - now) / SECOND, 1e-6))
            try:
                connection.send(_CHUNK)
            except TimeoutError:
                break
        resent = int(tcb.retransmissions)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
        return resent


def _tcb(host: Host, port: int) -> Any:
    for endpoint in host.stack.endpoints:
        if isinstance(endpoint, Connection) and endpoint.local_port == port:
            return endpoint.tcb
    raise AssertionError("the flow was just opened")

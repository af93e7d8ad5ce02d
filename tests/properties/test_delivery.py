"""Every byte arrives once and in order, over any path and with any buffers; and the fast path changes nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ustack import socket
from ustack.config import StackConfig, TcpConfig
from ustack.link.impairment import Impairment, ImpairmentProfile
from ustack.link.pipe import pipe
from ustack.runtime.current import current_driver
from ustack.sim.lab import Host, Lab
from ustack.sim.verify import VerifyingStack
from ustack.tcp.connection import Connection

MILLISECOND = 1_000_000
PORT = 8080


@dataclass(slots=True)
class Side:
    """What one application sends, and how it reads."""

    data: bytes
    write_size: int
    read_size: int
    pause: float
    """Seconds between reads."""
    no_delay: bool


def probability(most: float) -> st.SearchStrategy[float]:
    """From 0 to `most`, coarse."""
    return st.integers(0, 10).map(lambda tenth: most * tenth / 10)


PROFILES = st.builds(
    ImpairmentProfile,
    loss=probability(0.15),
    corruption=probability(0.05),
    duplication=probability(0.2),
    reordering=probability(0.5),
    reordering_ns=st.sampled_from([1, 10, 200]).map(lambda ms: ms * MILLISECOND),
    delay_ns=st.sampled_from([0, 1, 30, 250]).map(lambda ms: ms * MILLISECOND),
    jitter_ns=st.sampled_from([0, 3, 100]).map(lambda ms: ms * MILLISECOND),
    rate_bits_per_s=st.sampled_from([None, 10_000_000, 300_000]),
)
SIDES = st.builds(
    Side,
    data=st.tuples(st.integers(0, 1 << 32), st.sampled_from([0, 1, 700, 5000, 30_000])).map(
        lambda pair: random.Random(pair[0]).randbytes(pair[1])
    ),
    write_size=st.sampled_from([300, 4000, 1 << 20]),
    read_size=st.sampled_from([200, 3000, 1 << 16]),
    pause=st.sampled_from([0.0, 0.0, 0.05]),
    no_delay=st.booleans(),
)
CONFIGS = st.builds(
    TcpConfig,
    rmem=st.sampled_from([(4096, 131_072, 32 << 20), (2304, 20_000, 20_000), (2304, 4608, 4608), (2304, 2304, 2304)]),
    wmem=st.sampled_from([(4096, 16_384, 1 << 22), (1, 3000, 3000)]),
    timestamps=st.booleans(),
    sack=st.booleans(),
    window_scaling=st.booleans(),
).map(lambda tcp: StackConfig(tcp=tcp))


def converse(connection: socket.socket, side: Side) -> bytes:
    """Send all in a task of its own; what was received up to the end."""
    host = current_driver()
    assert isinstance(host, Host)
    if side.no_delay:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sending = host.run(send_all, connection, side)
    received = bytearray()
    while chunk := connection.recv(side.read_size):
        received += chunk
        if side.pause:
            host.lab.sleep(side.pause)
    sending.result()
    connection.close()
    return bytes(received)


def send_all(connection: socket.socket, side: Side) -> None:
    """Everything, then the end."""
    for start in range(0, len(side.data), side.write_size):
        connection.sendall(side.data[start : start + side.write_size])
    connection.shutdown(socket.SHUT_WR)


def serve(address: str, side: Side) -> bytes:
    """Accept one connection."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, PORT), family=family) as listener:
        return converse(listener.accept()[0], side)


def fetch(address: str, side: Side) -> bytes:
    """Open the connection."""
    return converse(socket.create_connection((address, PORT)), side)


@given(
    seed=st.integers(0, 1 << 16),
    version=st.sampled_from([4, 6]),
    mtu=st.sampled_from([1280, 1500, 9000]),
    offload=st.sampled_from([0, 7]),
    paths=st.tuples(PROFILES, PROFILES),
    sides=st.tuples(SIDES, SIDES),
    configs=st.tuples(CONFIGS, CONFIGS),
)
@settings(max_examples=60)
def test_every_byte_arrives_once_and_in_order(
    seed: int,
    version: int,
    mtu: int,
    offload: int,
    paths: tuple[ImpairmentProfile, ImpairmentProfile],
    sides: tuple[Side, Side],
    configs: tuple[StackConfig, StackConfig],
) -> None:
    first, second, length = ("10.0.0.1", "10.0.0.2", 24) if version == 4 else ("fd00::1", "fd00::2", 64)
    with Lab(seed) as lab:
        hosts = [
            lab.add(VerifyingStack(config, seed=seed + index), f"host{index}")  # type: ignore[arg-type]
            for index, config in enumerate(configs)
        ]
        ends = pipe(mtu, offload)
        hosts[0].attach(ends[0], [f"{first}/{length}"])
        hosts[1].attach(Impairment(ends[1], seed, *paths), [f"{second}/{length}"])
        serving = hosts[0].run(serve, first, sides[0])
        fetching = hosts[1].run(fetch, first, sides[1])
        lab.run()
        assert serving.result() == sides[1].data
        assert fetching.result() == sides[0].data
        lab.sleep(400)
        for host in lab.hosts:
            assert not [each for each in host.stack.endpoints if isinstance(each, Connection)], "connections close"

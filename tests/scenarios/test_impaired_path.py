"""All bytes arrive once and in order over a path that loses, repeats, reorders, damages and delays packets; in virtual
time."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from typing import Any

import pytest

from ustack import socket
from ustack.link.device import ALL_OFFLOADS
from ustack.link.impairment import Impairment, ImpairmentProfile
from ustack.link.pcap_tap import PcapTap
from ustack.link.pipe import pipe
from ustack.observe.pcapng import PcapngWriter
from ustack.runtime.current import current_driver
from ustack.sim.lab import Host, Lab
from ustack.sim.verify import VerifyingStack
from ustack.tcp.connection import Connection

SEEDS = 200
MEGABYTE = 1 << 20
MILLISECOND = 1_000_000
PORT = 8080
ADDRESSES = {4: ("10.0.0.1", "10.0.0.2", 24), 6: ("fd00::1", "fd00::2", 64)}
PROFILE = ImpairmentProfile(
    loss=0.05,
    duplication=0.02,
    reordering=0.10,
    corruption=0.01,
    delay_ns=5 * MILLISECOND,
    jitter_ns=2 * MILLISECOND,
)
Outcome = tuple[bytes, bytes]


def content(seed: int, side: str, size: int) -> bytes:
    """The bytes that one side sends."""
    return random.Random(f"{seed} {side}").randbytes(size)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send all of `data` from a task of its own while receiving to the end; the digest of what came."""
    sending = current_host().run(send_all, connection, data)
    digest = hashlib.sha256()
    while chunk := connection.recv(1 << 16):
        digest.update(chunk)
    sending.result()
    connection.close()
    return digest.digest()


def send_all(connection: socket.socket, data: bytes) -> None:
    """Send, and say that it was all."""
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def current_host() -> Host:
    """The host whose task is running."""
    driver = current_driver()
    assert isinstance(driver, Host)
    return driver


def serve(address: str, data: bytes) -> bytes:
    """Accept one connection and exchange."""
    with socket.create_server((address, PORT), family=family_of(address)) as listener:
        connection, _ = listener.accept()
        return exchange(connection, data)


def fetch(address: str, data: bytes) -> bytes:
    """Connect and exchange."""
    return exchange(socket.create_connection((address, PORT)), data)


def family_of(address: str) -> int:
    """AF_INET6 for an address with colons."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def run_exchange(
    seed: int,
    version: int,
    size: int,
    add_host: Callable[[Lab, str], Host],
    profile: ImpairmentProfile = PROFILE,
    capture: io.BytesIO | None = None,
    offload: int = 0,
) -> tuple[Lab, bytes, bytes]:
    """`size` bytes each way between two hosts: the lab afterwards, and the digests of what server and client got."""
    first, second, length = ADDRESSES[version]
    with Lab(seed) as lab:
        server, client = add_host(lab, "server"), add_host(lab, "client")
        ends = pipe(1500, offload)
        device = PcapTap(ends[0], PcapngWriter(capture)) if capture is not None else ends[0]
        server.attach(device, [f"{first}/{length}"])
        client.attach(Impairment(ends[1], seed, profile, profile), [f"{second}/{length}"])
        serving = server.run(serve, first, content(seed, "server", size))
        fetching = client.run(fetch, first, content(seed, "client", size))
        lab.run()
        results = serving.result(), fetching.result()
        lab.sleep(400)
        for host in lab.hosts:
            assert not [each for each in host.stack.endpoints if isinstance(each, Connection)], "all connections close"
        return lab, *results


def plain_host(lab: Lab, name: str) -> Host:
    """A host as usual."""
    return lab.host(name)


def verifying_host(lab: Lab, name: str) -> Host:
    """A host with two stacks in lockstep."""
    return lab.add(VerifyingStack(seed=lab.seed << 8 | len(lab.hosts)), name)  # type: ignore[arg-type]


def check(seed: int, version: int, add_host: Callable[[Lab, str], Host], **options: Any) -> Lab:
    """Exchange and compare the digests."""
    lab, received_by_server, received_by_client = run_exchange(seed, version, MEGABYTE, add_host, **options)
    assert received_by_server == hashlib.sha256(content(seed, "client", MEGABYTE)).digest()
    assert received_by_client == hashlib.sha256(content(seed, "server", MEGABYTE)).digest()
    return lab


def fast_packets(lab: Lab) -> int:
    """Segments that the fast paths of the lab's stacks have taken."""
    return sum(host.stack.statistics().fast_tcp for host in lab.hosts)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_byte_arrives_once_and_in_order(seed: int, version: int) -> None:
    check(seed, version, plain_host)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_fast_path_changes_nothing_on_an_impaired_path(seed: int, version: int) -> None:
    lab = check(seed, version, verifying_host)
    assert fast_packets(lab) > 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("offload", [0, ALL_OFFLOADS], ids=["plain", "offload"])
def test_the_fast_path_changes_nothing_on_a_perfect_path(version: int, offload: int) -> None:
    lab = check(1, version, verifying_host, profile=ImpairmentProfile(delay_ns=MILLISECOND), offload=offload)
    assert fast_packets(lab) > 20


@pytest.mark.parametrize("version", [4, 6])
def test_the_same_seed_gives_the_same_capture(version: int) -> None:
    captures = []
    for _ in range(2):
        stream = io.BytesIO()
        run_exchange(7, version, MEGABYTE // 4, plain_host, capture=stream)
        captures.append(stream.getvalue())
    assert captures[0] == captures[1]
    assert len(captures[0]) > MEGABYTE // 2

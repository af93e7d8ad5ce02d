"""Every controller carries a transfer over a bad path, with and without the fast path alike, and fills a good one."""

from __future__ import annotations

import pytest

from tests.scenarios.test_impaired_path import ADDRESSES, MILLISECOND, content, fetch, serve
from ustack.config import SECOND, StackConfig, TcpConfig
from ustack.link.impairment import PERFECT, Impairment, ImpairmentProfile
from ustack.link.pipe import pipe
from ustack.sim.lab import Host, Lab
from ustack.sim.verify import VerifyingStack
from ustack.tcp.congestion import CONTROLLERS

NAMES = sorted(CONTROLLERS)
BAD = ImpairmentProfile(loss=0.02, reordering=0.02, delay_ns=10 * MILLISECOND, rate_bits_per_s=20_000_000)
MEGABYTE = 1 << 20


def hosts_of(lab: Lab, name: str, *, verifying: bool = False, ecn: int = 0) -> list[Host]:
    """Two hosts whose connections have the controller."""
    hosts = []
    for number in range(2):
        config = StackConfig(tcp=TcpConfig(congestion_control=name, ecn=ecn))
        if verifying:
            hosts.append(lab.add(VerifyingStack(config, seed=number)))  # type: ignore[arg-type]
        else:
            hosts.append(lab.host(config=config))
    return hosts


def transfer(lab: Lab, hosts: list[Host], size: int, there: ImpairmentProfile) -> float:
    """Send `size` bytes from the second host to the first; the seconds that took."""
    server, client = hosts
    first, second, length = ADDRESSES[4]
    ends = pipe(1500)
    back = ImpairmentProfile(delay_ns=there.delay_ns)
    server.attach(ends[0], [f"{first}/{length}"])
    client.attach(Impairment(ends[1], 1, there, back), [f"{second}/{length}"])
    serving = server.run(serve, first, b"")
    fetching = client.run(fetch, first, content(1, "client", size))
    start = lab.now()
    lab.run()
    assert serving.result()
    assert fetching.result()
    return (lab.now() - start) / SECOND


def goodput(name: str, megabytes: int, path: ImpairmentProfile, *, ecn: int = 0) -> float:
    """Bits a second of a transfer between two hosts."""
    with Lab(3) as lab:
        size = megabytes * MEGABYTE
        return size * 8 / transfer(lab, hosts_of(lab, name, ecn=ecn), size, path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ecn", [0, 3])
def test_the_fast_path_changes_nothing(name: str, ecn: int) -> None:
    with Lab(3) as lab:
        transfer(lab, hosts_of(lab, name, verifying=True, ecn=ecn), MEGABYTE // 2, BAD)


@pytest.mark.parametrize("name", NAMES)
def test_a_clean_path_is_filled(name: str) -> None:
    path = ImpairmentProfile(delay_ns=10 * MILLISECOND, rate_bits_per_s=20_000_000, queue_bytes=60_000)
    assert goodput(name, 4, path) > 0.8 * 20_000_000


def test_bbr_keeps_the_rate_where_packets_are_lost_at_random() -> None:
    path = ImpairmentProfile(loss=0.01, delay_ns=10 * MILLISECOND, rate_bits_per_s=50_000_000)
    assert goodput("bbr", 8, path) > 0.75 * 50_000_000


def test_a_perfect_path_is_no_trouble_for_pacing() -> None:
    assert goodput("bbr", 1, PERFECT) > 0


@pytest.mark.parametrize("name", ["dctcp", "prague"])
def test_a_queue_that_marks_early_is_enough_to_fill_the_path(name: str) -> None:
    path = ImpairmentProfile(delay_ns=5 * MILLISECOND, rate_bits_per_s=20_000_000, discipline="dualpi2")
    assert goodput(name, 4, path, ecn=3) > 0.7 * 20_000_000

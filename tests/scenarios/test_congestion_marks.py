"""Bottlenecks that mark instead of dropping: ECN of both kinds carries a transfer without loss, alike in both paths.

RFC 3168, RFC 9768, RFC 8257, RFC 9331.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.scenarios.test_impaired_path import ADDRESSES, MILLISECOND, content, fetch, serve
from ustack.config import StackConfig, TcpConfig
from ustack.link.device import ALL_OFFLOADS
from ustack.link.impairment import Impairment, ImpairmentProfile
from ustack.link.pipe import pipe
from ustack.sim.lab import Lab
from ustack.sim.verify import VerifyingStack
from ustack.tcp.connection import Connection

SIZE = 1 << 20
CLASSIC, ACCURATE = 1, 3


@dataclass
class Marks:
    """What the sender of a transfer has counted at its end."""

    delivered_ce: int
    ecn_mode: int
    retransmissions: int


def transfer(discipline: str, controller: str, ecn: int, version: int = 4, offload: int = 0) -> Marks:
    """Send a megabyte through a queue that marks, with stacks in lockstep."""
    path = ImpairmentProfile(
        delay_ns=5 * MILLISECOND, rate_bits_per_s=20_000_000, queue_bytes=2 << 20, discipline=discipline
    )
    first, second, length = ADDRESSES[version]
    counted: list[Marks] = []
    with Lab(5) as lab:
        config = StackConfig(tcp=TcpConfig(congestion_control=controller, ecn=ecn))
        server, client = (
            lab.add(VerifyingStack(config, seed=number))  # type: ignore[arg-type]
            for number in range(2)
        )
        ends = pipe(1500, offload)
        server.attach(ends[0], [f"{first}/{length}"])
        client.attach(Impairment(ends[1], 1, path, ImpairmentProfile(delay_ns=path.delay_ns)), [f"{second}/{length}"])
        serving = server.run(serve, first, b"")
        fetching = client.run(fetch, first, content(1, "client", SIZE))
        while not serving.done:
            for each in client.stack.endpoints:
                if isinstance(each, Connection) and each.tcb.state:
                    tcb = each.tcb
                    counted.append(Marks(tcb.delivered_ce, tcb.ecn_mode, tcb.retransmissions))
            lab.sleep(0.05)
        lab.run()
        assert serving.result()
        assert fetching.result()
    return counted[-1]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("ecn", [CLASSIC, ACCURATE])
@pytest.mark.parametrize("controller", ["reno", "cubic", "dctcp"])
def test_codel_marks_and_nothing_is_lost(version: int, ecn: int, controller: str) -> None:
    marks = transfer("codel", controller, ecn, version)
    assert marks.delivered_ce > 0
    assert marks.retransmissions == 0


@pytest.mark.parametrize("controller", ["cubic", "prague"])
def test_a_queue_of_the_l4s_kind_marks_each_kind_of_traffic(controller: str) -> None:
    marks = transfer("dualpi2", controller, ACCURATE)
    assert marks.delivered_ce > 0


@pytest.mark.parametrize("ecn", [CLASSIC, ACCURATE])
def test_devices_that_cut_super_segments_lose_no_mark(ecn: int) -> None:
    marks = transfer("codel", "cubic", ecn, offload=ALL_OFFLOADS)
    assert marks.delivered_ce > 0
    assert marks.retransmissions == 0

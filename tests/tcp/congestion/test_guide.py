"""The controller in docs/guide/congestion.md, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.number_path import SECOND, NumberPath
from tests.support.stream import drain, established, write
from ustack.config import StackConfig, TcpConfig
from ustack.sim.peer import Peer
from ustack.sysctl import Sysctl
from ustack.tcp.congestion import CONTROLLERS, CongestionController, create

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "congestion.md"
MS = 1_000_000


@pytest.fixture
def gentle() -> Iterator[type[CongestionController]]:
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    names: dict[str, type[CongestionController]] = {}
    exec(compile("".join(code), GUIDE, "exec"), names)
    yield names["Gentle"]
    del CONTROLLERS["gentle"]


def test_it_has_about_twenty_lines() -> None:
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    assert len(code) == 1
    assert len(code[0].splitlines()) <= 24


def test_it_fills_the_path_and_keeps_two_to_four_segments_in_the_queue(gentle: type[CongestionController]) -> None:
    path = NumberPath(create("gentle", 10, TcpConfig()), rtt_ns=40 * MS, rate=1000, buffer=100)
    path.run(3 * SECOND)
    before, path.queue_max = path.delivered, 0
    path.run(3 * SECOND)
    assert path.delivered - before >= 0.97 * 3000
    assert 1 <= path.queue_max <= 8
    assert not path.lost


def test_a_connection_works_with_it(version: int, gentle: type[CongestionController]) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(congestion_control="gentle")))
    connection = established(peer, mss=1000, round_trip=100)
    assert isinstance(connection.congestion, gentle)
    write(peer, connection, bytes(10_000))
    assert len(drain(peer)) == 10
    peer.advance(100)
    peer.inject(".", 1, 10_001)
    assert connection.tcb.cwnd_packets == connection.congestion.cwnd == 20


def test_the_guide_names_every_controller() -> None:
    text = GUIDE.read_text()
    for name in CONTROLLERS:
        assert f"| `{name}` |" in text


def test_the_sysctl_of_available_controllers_names_every_controller() -> None:
    names = Sysctl(StackConfig()).get("net.ipv4.tcp_available_congestion_control")
    assert set(names.split()) == set(CONTROLLERS)


def test_a_configured_controller_that_is_not_there_becomes_reno(version: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(congestion_control="missing")))
    connection = established(peer, mss=1000)
    assert connection.congestion is not None
    assert connection.congestion.name == "reno"

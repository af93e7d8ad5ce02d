"""Scripts on the kernel's own sockets, in a namespace, in real time.

Tolerances are wide: what is tested is the runner, not how busy the machine is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.commands import ROOT, namespace_refusal
from tests.packetdrill.writing import SERVER, verdict_of, write
from ustack import socket
from ustack.cli.main import main
from ustack.link.namespace import Namespace
from ustack.packetdrill.settings import KERNEL, Settings, for_version
from ustack.packetdrill.verdict import Result
from ustack.runtime.current import new_driver, use

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(namespace_refusal()), reason="this machine grants no TUN device in a namespace"),
]
PATIENT = "--tolerance_usecs=900000\n"


def on_kernel(version: int = 4) -> Settings:
    return replace(for_version(version), against=KERNEL)


def kernel_passes(text: str, version: int = 4) -> None:
    verdict = verdict_of(PATIENT + text, on_kernel(version))
    assert verdict.result is Result.PASS, verdict.explain()


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_of_the_kernel_passes(version: int) -> None:
    kernel_passes(
        SERVER
        + """
        +0 write(4, ..., 100) = 100
        +0 > P. 1:101(100) ack 1
        +.1 < . 1:1(0) ack 101 win 32792
        +0 < P. 1:51(50) ack 101 win 32792
        +0 > . 101:101(0) ack 51
        +0 ioctl(4, SIOCINQ, [50]) = 0
        +0 read(4, ..., 100) = 50
        +0 %{ assert tcpi_state == TCP_ESTABLISHED, tcpi_state }%
        +0 close(4) = 0
        +0 > F. 101:101(0) ack 51
        """,
        version,
    )


def test_sysctls_are_the_namespace_s() -> None:
    kernel_passes(
        "`sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0`\n"
        + SERVER.replace("<mss 1000>", "<mss 1000,sackOK,nop,nop>").replace("ack 1 <...>", "ack 1 <mss 1460>")
    )
    verdict = verdict_of("`sysctl -q net.ipv4.tcp_nonsense=1`\n" + SERVER, on_kernel())
    assert verdict.result is Result.UNSUPPORTED


def test_a_controller_is_the_kernel_s_by_name() -> None:
    kernel_passes(
        "`sysctl -q net.ipv4.tcp_congestion_control=cubic`\n"
        '0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 getsockopt(3, SOL_TCP, TCP_CONGESTION, "cubic", [5]) = 0'
    )


def test_calls_block_beside_the_script() -> None:
    kernel_passes(SERVER + "+0...0.2 read(4, ..., 100) = 100\n+.2 < P. 1:101(100) ack 1 win 32792\n")


def test_a_call_that_blocks_for_ever_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ustack.packetdrill.real_time._CALL_SECONDS", 0.2)
    verdict = verdict_of(PATIENT + SERVER + "+0 read(4, ..., 100) = 100", on_kernel())
    assert "it blocks for ever" in verdict.reason


def test_poll_and_epoll_are_the_kernel_s() -> None:
    kernel_passes(
        SERVER
        + """
        +0 epoll_create(1) = 5
        +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, fd=4}) = 0
        +0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
        +0 < . 1:101(100) ack 1 win 32792
        * > . 1:1(0) ack 101
        +0 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 100) = 1
        +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 100) = 1
        +0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLOUT, fd=4}) = 0
        +0 epoll_wait(5, {events=EPOLLOUT, fd=4}, 1, 100) = 1
        +0 epoll_ctl(5, EPOLL_CTL_DEL, 4, {events=0, fd=4}) = 0
        +0 connect(4, AF_UNSPEC, ...) = 0
        +0 > R. 1:1(0) ack 101
        """
    )


def test_programs_of_the_network_run_in_the_namespace() -> None:
    verdict = verdict_of(
        PATIENT + "`ip link set dev tun0 mtu 1000`\n" + SERVER.replace("<...>", "<mss 960>"), on_kernel()
    )
    if verdict.result is Result.UNSUPPORTED:
        pytest.skip(verdict.reason)
    assert verdict.result is Result.PASS, verdict.explain()


@pytest.fixture
def stranger() -> Iterator[Namespace]:
    """A namespace with a device behind which another stack than the kernel's listens at 192.168.0.1."""
    driver = new_driver()
    with Namespace() as namespace, driver:
        driver.attach(namespace.open_tun("tun7", kernel_addresses=["10.9.0.1/24"]), ["192.168.0.1/16"])
        driver.stack.add_route("0.0.0.0/0", driver.stack.ip.interfaces[-1])
        with use(driver):
            listener = socket.socket()
            listener.bind(("192.168.0.1", 8080))
            listener.listen()
            yield namespace
            listener.close()


def drill_inside(namespace: Namespace, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "ustack", "drill", "--against", *arguments]
    program = namespace.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    output, _ = program.communicate(timeout=60)
    return program.returncode, output


def test_anybody_s_stack_is_tested_by_its_packets_alone(stranger: Namespace, tmp_path: Path) -> None:
    script = write(tmp_path, "strange.pkt", PATIENT + "`sysctl -q anything=1`\n" + SERVER)
    assert drill_inside(stranger, "tun7", script)[0] == 0
    wrong = write(tmp_path, "wrong.pkt", PATIENT + SERVER.replace("ack 1 <...>", "ack 2 <...>"))
    status, output = drill_inside(stranger, "tun7", wrong)
    assert status == 1
    assert "tcp_ack_seq: expected: 2" in output


def test_a_device_that_is_not_there_is_unsupported(stranger: Namespace, tmp_path: Path) -> None:
    status, output = drill_inside(stranger, "tun99", write(tmp_path, "strange.pkt", SERVER))
    assert status == 1
    assert "no machine to run on" in output


def test_a_difference_is_a_failure_with_the_packets() -> None:
    verdict = verdict_of(PATIENT + SERVER.replace("ack 1 <...>", "ack 2 <...>"), on_kernel())
    assert "tcp_ack_seq: expected: 2" in verdict.reason
    assert "S. 0:0(0) ack 1" in verdict.actual[0]


def test_two_stacks_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "same.pkt", PATIENT + SERVER)
    write(tmp_path, "other.pkt", PATIENT + SERVER + "+0 setsockopt(4, SOL_SOCKET, SO_MARK, [1], 4) = -1 ENOSYS\n")
    assert main(["drill", "--compare", "--json", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["verdict"], line["against"]["verdict"]) for line in lines] == [("fail", "fail"), ("pass", "pass")]
    assert main(["drill", "--compare", str(tmp_path / "same.pkt")]) == 0
    assert "kernel" in capsys.readouterr().out


def test_packets_of_the_kernel_can_be_captured(tmp_path: Path) -> None:
    script = write(tmp_path, "same.pkt", PATIENT + SERVER)
    capture = tmp_path / "packets.pcapng"
    assert main(["drill", "-q", "--against", "kernel", "--pcapng", str(capture), script]) == 0
    assert capture.read_bytes().count(b"\xc0\xa8\x00\x01") >= 3

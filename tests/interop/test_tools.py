"""ping, traceroute, nc and iperf3 of the kernel's side against the stack, and tshark's opinion of a capture."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.iperf3_sink import Iperf3Sink
from tests.support.network import IPV4, IPV6, Network, need
from ustack import socket, use
from ustack.link.namespace import Namespace
from ustack.link.pcap_tap import PcapTap
from ustack.observe.pcapng import PcapngWriter
from ustack.runtime.current import new_driver

FAMILIES = pytest.mark.parametrize("address", [IPV4, IPV6], ids=["ipv4", "ipv6"])


def family_of(address: str) -> int:
    """AF_INET6 for an address with colons."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@FAMILIES
@pytest.mark.parametrize("size", [56, 1452, 60000])
def test_ping_is_answered(network: Network, address: str, size: int) -> None:
    output = network.run("ping", "-c", "5", "-i", "0.05", "-W", "5", "-s", str(size), address)
    assert " 0% packet loss" in output
    assert f"{size + 8} bytes from {address}" in output


@FAMILIES
def test_traceroute_reaches_the_stack_by_port_unreachable(network: Network, address: str) -> None:
    output = network.run("traceroute", "-n", "-m", "3", "-w", "2", address)
    assert re.search(rf"^ 1  {re.escape(address)} ", output, re.MULTILINE), output


@FAMILIES
def test_nc_exchanges_datagrams_both_ways(network: Network, address: str) -> None:
    need("nc")
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as endpoint:
        endpoint.bind((address, 5005))
        endpoint.settimeout(10)
        program = network.namespace.run(["nc", "-u", address, "5005"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert program.stdin is not None
        assert program.stdout is not None
        with program:
            for text in (b"hello\n", b"again\n"):
                program.stdin.write(text)
                program.stdin.flush()
                data, sender = endpoint.recvfrom(2048)
                assert data == text
                endpoint.sendto(text.upper(), sender)
                assert program.stdout.readline() == text.upper()
            program.terminate()


@FAMILIES
@pytest.mark.parametrize("streams", [1, 4])
def test_iperf3_sends_to_a_sink(network: Network, address: str, streams: int) -> None:
    need("iperf3")
    with socket.create_server((address, 5201), family=family_of(address)) as listener:
        sink = Iperf3Sink(listener)
        thread = threading.Thread(target=sink.serve_one)
        thread.start()
        output = network.run(
            "iperf3", "-c", address, "-t", "1", "-P", str(streams), "-C", "cubic", "--json", timeout=60
        )
        thread.join(30)
    sent = sum(stream["bytes"] for stream in sink.client_results["streams"])
    assert sum(sink.received) == sent, output
    assert sent > 1 << 20


@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
@FAMILIES
def test_tshark_finds_no_error_in_a_clean_run(tun_access: None, address: str, offload: bool, tmp_path: Path) -> None:
    need("tshark")
    need("curl")
    data = bytes(range(256)) * 40000
    path = tmp_path / "run.pcapng"
    with Namespace() as namespace, path.open("wb") as stream:
        driver = new_driver()
        # On a busy machine two milliseconds pass without an ACK: a tail loss probe then is no trouble.
        driver.stack.config.tcp.early_retrans = 0
        device = PcapTap(namespace.open_tun(offload=offload), PcapngWriter(stream))
        driver.attach(device, (f"{IPV4}/24", f"{IPV6}/64"))
        with driver, use(driver):
            check_exchange(Network(namespace, driver), address, data)
    tool = ["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    errors = subprocess.run([*tool, "-q", "-z", "expert,error"], check=True, capture_output=True, text=True).stdout
    assert "Errors" not in errors, errors
    trouble = "tcp.analysis.retransmission || tcp.analysis.out_of_order || tcp.analysis.lost_segment"
    found = subprocess.run([*tool, "-Y", trouble], check=True, capture_output=True, text=True).stdout
    assert not found, found


def check_exchange(network: Network, address: str, data: bytes) -> None:
    """The kernel's nc fetches `data` from the stack, then sends ten megabytes to it."""
    need("nc")
    with socket.create_server((address, 33333), family=family_of(address)) as listener:
        fetching = network.start("sh", "-c", f"nc -d {address} 33333 | sha256sum")
        connection, _ = listener.accept()
        with connection:
            connection.sendall(data)
        output, _ = fetching.communicate(timeout=60)
        assert output.split()[0] == hashlib.sha256(data).hexdigest()
        sending = network.start("sh", "-c", f"head -c 10000000 /dev/zero | nc -N {address} 33333")
        connection, _ = listener.accept()
        with connection:
            count = 0
            while chunk := connection.recv(1 << 18):
                count += len(chunk)
        sending.communicate(timeout=60)
        assert count == 10_000_000

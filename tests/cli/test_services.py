"""The small services of `ustack serve`, between two hosts in virtual time."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ustack import socket
from ustack.cli import services
from ustack.sim.lab import Host, Lab

SERVER = {4: "10.0.0.1", 6: "fd00::1"}
PORTS = services.WELL_KNOWN_PORTS

families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def client() -> Iterator[Host]:
    """A host that reaches one which serves everything."""
    with Lab() as lab:
        server, client = lab.host("server"), lab.host("client")
        lab.wire(server, client, ["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"])
        for service in services.STREAMS:
            server.run(services.start, server, service, PORTS[service]).result()
        yield client


def ask(client: Host, function: Callable[..., Any], *arguments: Any) -> Any:
    return client.run(function, *arguments).result()


def stream(version: int, service: str, data: bytes, limit: int) -> bytes:
    """What comes back over TCP, up to a limit."""
    answer = b""
    with socket.create_connection((SERVER[version], PORTS[service])) as connection:
        connection.sendall(data)
        if data:
            connection.shutdown(socket.SHUT_WR)
        while len(answer) < limit and (part := connection.recv(limit - len(answer))):
            answer += part
    return answer


def datagram(version: int, service: str, data: bytes, source_port: int = 0) -> bytes | None:
    """What comes back over UDP, None for nothing within a second."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind(("", source_port))
        sender.settimeout(1)
        sender.sendto(data, (SERVER[version], PORTS[service]))
        try:
            return bytes(sender.recv(2000))
        except TimeoutError:
            return None


@families
def test_echo_sends_back_everything_until_the_peer_has_closed(client: Host, version: int) -> None:
    data = bytes(range(256)) * 1000
    assert ask(client, stream, version, "echo", data, len(data) + 1) == data


@families
def test_discard_takes_everything_and_says_nothing(client: Host, version: int) -> None:
    assert ask(client, stream, version, "discard", bytes(100_000), 1) == b""


@families
def test_chargen_sends_the_pattern_of_the_rfc_without_end(client: Host, version: int) -> None:
    lines = ask(client, stream, version, "chargen", b"", 74 * 200).decode().split("\r\n")
    assert len(lines) == 201
    assert lines[0] == "".join(map(chr, range(0x20, 0x20 + 72)))
    assert lines[1] == lines[0][1:] + chr(0x20 + 72)
    assert lines[95] == lines[0]


@families
def test_daytime_is_one_line_of_ascii(client: Host, version: int) -> None:
    answer = ask(client, stream, version, "daytime", b"", 1000).decode("ascii")
    assert re.fullmatch(r"\w+, \w+ \d\d, \d{4} \d\d:\d\d:\d\d-.+\r\n", answer)


@families
def test_each_service_answers_datagrams_too(client: Host, version: int) -> None:
    assert ask(client, datagram, version, "echo", b"hello") == b"hello"
    assert ask(client, datagram, version, "discard", b"hello") is None
    assert len(ask(client, datagram, version, "chargen", b"")) == 512
    assert ask(client, datagram, version, "daytime", b"").endswith(b"\r\n")


@pytest.mark.parametrize("service", ["echo", "chargen", "daytime"])
def test_a_datagram_from_another_such_service_begins_no_endless_conversation(client: Host, service: str) -> None:
    assert ask(client, datagram, 4, service, b"hello", PORTS["echo"]) is None


def test_many_connections_are_served_at_once(client: Host) -> None:
    tasks = [client.run(stream, 4, "echo", str(number).encode(), 100) for number in range(50)]
    assert [task.result() for task in tasks] == [str(number).encode() for number in range(50)]

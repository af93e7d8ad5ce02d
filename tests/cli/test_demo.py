"""`ustack demo`, with a device and without."""

import os

import pytest

from tests.cli.commands import abandoned_namespaces, run
from ustack.cli import demo
from ustack.cli.main import main

SHOWN = (
    "GET http://10.9.0.2/",
    "GET http://[fd09::2]/",
    "HTTP/1.0 200 OK",
    "a UDP datagram to fd09::2 port 4242, where nobody listens\n    Connection refused",
    "*:80",
    "TIME_WAIT",
    "─ SYN ─",
    "─ SYN ACK ack 1 ─",
    "dropped, UDP_NO_PORT: no socket is bound to the destination port (RFC 1122 §4.1.3.1)",
    "─ ICMP destination unreachable, port ─",
    "─ ICMPv6 destination unreachable, port ─",
    "→ 1 dual-mode wildcard: holds [::]:80 for both versions",
)


def test_without_a_device_two_stacks_show_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--pipe"]) == 0
    captured = capsys.readouterr()
    assert [words for words in SHOWN if words not in captured.out] == []
    assert "in-memory pipe" in captured.err


def test_a_refused_device_is_told_and_the_pipe_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(demo.station, "open_station", refuse)
    assert main(["demo"]) == 0
    captured = capsys.readouterr()
    assert "no device is to be had here: Operation not permitted" in captured.err
    assert "What a second ustack stack does" in captured.out


@pytest.mark.interop
@pytest.mark.usefixtures("device")
def test_with_a_device_curl_and_the_kernel_show_everything() -> None:
    before = abandoned_namespaces()
    result = run("demo")
    assert result.returncode == 0, result.stderr
    # Whether curl or the server closes first is the kernel's timing: TIME_WAIT is with the one that does.
    shown = [words.replace("GET ", "curl ") for words in SHOWN if words != "TIME_WAIT"]
    assert [words for words in shown if words not in result.stdout] == []
    assert "What the Linux kernel does" in result.stdout
    assert abandoned_namespaces() == before


@pytest.mark.interop
@pytest.mark.usefixtures("device")
def test_without_curl_the_demo_fetches_by_a_socket_of_the_kernel() -> None:
    result = run("demo", env={"PATH": "/nonexistent", "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]})
    assert result.returncode == 0, result.stderr
    assert [words for words in SHOWN if words not in result.stdout] == []

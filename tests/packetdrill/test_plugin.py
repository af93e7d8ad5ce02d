"""The pytest plugin: scripts as tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packetdrill.writing import LISTEN, SERVER, write

ROOT = Path(__file__).resolve().parents[2]
GOOD = LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n"
LATE = LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+.001 > S. 0:0(0) ack 1 <...>\n"


def pytest_of(folder: Path, *arguments: str, settings: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = -p ustack.packetdrill.pytest_plugin\n{settings}\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "good.pkt", GOOD)
    return tmp_path


def test_a_script_is_a_test_over_each_version(folder: Path) -> None:
    output = pytest_of(folder, "-v")
    assert output.returncode == 0, output.stdout
    assert "good.pkt::ipv4 PASSED" in output.stdout
    assert "good.pkt::ipv6 PASSED" in output.stdout


def test_a_script_for_one_version_is_one_test(folder: Path) -> None:
    write(folder, "only-v4.pkt", GOOD)
    write(folder, "six.pkt", "--ip_version=ipv6\n" + GOOD)
    output = pytest_of(folder, "-v", "only-v4.pkt", "six.pkt")
    assert "only-v4.pkt::ipv4 PASSED" in output.stdout
    assert "six.pkt::ipv6 PASSED" in output.stdout
    assert "2 passed" in output.stdout
    assert "1 passed" in pytest_of(folder, "--packetdrill-ip=6", "six.pkt", "only-v4.pkt").stdout


def test_a_failure_shows_the_packets_and_no_traceback(folder: Path) -> None:
    write(folder, "bad.pkt", LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 2 <...>\n")
    output = pytest_of(folder, "bad.pkt", "--packetdrill-ip=4")
    assert output.returncode == 1
    assert "expected  S. 0:0(0) ack 2 <...>" in output.stdout
    assert "Traceback" not in output.stdout


def test_a_script_that_must_fail_passes_if_it_does(folder: Path) -> None:
    text = "// Failure: ack_seq: expected: 2 .*\n" + GOOD.replace("ack 1", "ack 2")
    write(folder, "must.pkt", text)
    write(folder, "does-not.pkt", "// Failure: .*\n" + GOOD)
    write(folder, "otherwise.pkt", text.replace("ack_seq", "nothing of the kind"))
    output = pytest_of(folder, "--packetdrill-ip=4", "-v")
    assert "must.pkt::ipv4 PASSED" in output.stdout
    assert "passes, but must fail with: .*" in output.stdout
    assert "must fail with: nothing of the kind" in output.stdout
    assert "2 failed, 2 passed" in output.stdout


def test_what_is_unsupported_is_skipped_with_its_reason(folder: Path) -> None:
    write(folder, "other.pkt", "0 `nonsense`\n")
    output = pytest_of(folder, "other.pkt", "--packetdrill-ip=4")
    assert "1 skipped" in output.stdout
    assert "the command nonsense is not known" in output.stdout


def test_tolerance_and_strictness_are_settings(folder: Path) -> None:
    write(folder, "late.pkt", LATE)
    write(folder, "rest.pkt", SERVER + "+0 write(4, ..., 10) = 10\n")
    assert "2 passed" in pytest_of(folder, "--packetdrill-ip=4", "late.pkt", "rest.pkt").stdout
    settings = "packetdrill_tolerance_us = 0\npacketdrill_strict = true"
    output = pytest_of(folder, "--packetdrill-ip=4", "late.pkt", "rest.pkt", settings=settings)
    assert "2 failed" in output.stdout
    assert "timing error" in output.stdout
    assert "a packet that the script does not expect" in output.stdout

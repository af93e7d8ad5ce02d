"""`ustack doctor`."""

import errno
import json
from pathlib import Path

import pytest

from ustack import errors
from ustack.cli import doctor
from ustack.cli.doctor import Finding
from ustack.cli.main import main


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    main(["doctor", "--json"])
    return {row["what"]: row for row in json.loads(capsys.readouterr().out)}


@pytest.mark.usefixtures("device")
def test_where_a_device_can_be_had_every_offload_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    assert found["TUN device"]["granted"] is True
    assert {f"offload {name}" for name in ("checksum", "TSO4", "TSO6", "USO")} <= set(found)


@pytest.mark.usefixtures("device")
def test_the_status_is_0_where_a_stack_can_have_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "✓" in capsys.readouterr().out


def test_a_refused_namespace_is_told_with_what_to_do_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise errors.error(errno.EPERM, "unshare")

    monkeypatch.setattr(doctor, "Namespace", refuse)
    assert main(["doctor"]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "Operation not permitted: unshare" in output
    assert "the in-memory pipe works without" in output


def test_a_missing_driver_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "TUN_PATH", str(tmp_path / "tun"))
    (row,) = (row for what, row in findings(capsys).items() if what.startswith("TUN driver"))
    assert (row["granted"], row["found"]) == (False, "there is none")
    assert "modprobe tun" in str(row["otherwise"])


def test_a_program_that_is_missing_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert {finding.granted for finding in doctor.programs()} == {None}


def test_what_is_granted_needs_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    doctor._show([Finding("this", True, "granted", "do that"), Finding("that", None, "refused", "go on without")])
    output = capsys.readouterr().out
    assert "do that" not in output
    assert "→ go on without" in output

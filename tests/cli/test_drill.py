"""`ustack drill`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.packetdrill.writing import LISTEN, SERVER, write
from ustack.cli.main import main
from ustack.packetdrill.settings import for_version
from ustack.packetdrill.suite import Job, find_scripts, run_jobs
from ustack.packetdrill.verdict import Result

GOOD = LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n"
BAD = GOOD.replace("ack 1", "ack 2")
LATE = GOOD.replace("+0 >", "+.001 >")
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    write(tmp_path, "one/good.pkt", GOOD)
    write(tmp_path, "one/bad.pkt", BAD)
    write(tmp_path, "two/other.pkt", "0 `nonsense`")
    write(tmp_path, "two/malformed.pkt", "0 nonsense")
    write(tmp_path, "two/words.txt", "no script")
    return tmp_path


def test_the_status_is_zero_only_if_all_pass(suite: Path, capsys: Captured) -> None:
    assert main(["drill", str(suite / "one" / "good.pkt")]) == 0
    assert main(["drill", str(suite / "one")]) == 1
    assert main(["drill", str(suite / "two" / "other.pkt")]) == 1
    assert capsys.readouterr().out


def test_what_does_not_pass_is_explained_and_counted_by_directory(suite: Path, capsys: Captured) -> None:
    main(["drill", str(suite)])
    shown = capsys.readouterr().out
    assert f"{suite}/one/bad.pkt:6: fail (IPv4): live packet field tcp_ack_seq: expected: 2" in shown
    assert "  expected  S. 0:0(0) ack 2 <...>" in shown
    assert "  actual    0.000000 S. 0:0(0) ack 1" in shown
    assert "0.000000 < S 0:0(0) win 1 <mss 1000>" in shown
    assert f"{suite}/two/other.pkt:1: unsupported (IPv4): the command nonsense is not known" in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith((str(suite), "all"))][-3:]
    assert [row[1:] for row in rows] == [["1", "1", "·"], ["·", "1", "1"], ["1", "2", "1"]]


def test_a_malformed_script_is_told_by_file_line_column_and_what_was_expected(suite: Path, capsys: Captured) -> None:
    path = suite / "two" / "malformed.pkt"
    assert main(["drill", str(path)]) == 1
    assert f"{path}:1:11: expected '(', found the end of the script" in capsys.readouterr().out


def test_programs_get_a_line_of_json_for_each_script(suite: Path, capsys: Captured) -> None:
    main(["drill", "--json", "--ip", "both", str(suite / "one")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["path"], line["ip_version"], line["verdict"], line["line"]) for line in lines] == [
        (f"{suite}/one/bad.pkt", 4, "fail", 6),
        (f"{suite}/one/good.pkt", 4, "pass", 0),
        (f"{suite}/one/bad.pkt", 6, "fail", 6),
        (f"{suite}/one/good.pkt", 6, "pass", 0),
    ]
    assert all(set(line) == {"path", "ip_version", "verdict", "reason", "line"} for line in lines)


def test_processes_give_the_same_verdicts(suite: Path) -> None:
    jobs = [Job(path, for_version(4)) for path in find_scripts([str(suite)])] * 3
    assert list(run_jobs(jobs, 2)) == list(run_jobs(jobs, 1))


def test_words_are_defined_on_the_command_line(tmp_path: Path, capsys: Captured) -> None:
    path = write(tmp_path, "defined.pkt", GOOD.replace("SOCK_STREAM", "KIND"))
    assert main(["drill", path]) == 1
    assert main(["drill", "-D", "KIND=SOCK_STREAM", path]) == 0
    assert main(["drill", "-D", "KIND", path]) == 1
    assert "-D wants NAME=VALUE, not KIND" in capsys.readouterr().err


def test_tolerance_and_strictness_are_arguments(tmp_path: Path, capsys: Captured) -> None:
    late = write(tmp_path, "late.pkt", LATE)
    rest = write(tmp_path, "rest.pkt", SERVER + "+0 write(4, ..., 10) = 10\n")
    assert main(["drill", late, rest]) == 0
    assert main(["drill", "--tolerance-us", "0", late]) == 1
    assert main(["drill", "--tolerance-us", "1000", late]) == 0
    assert main(["drill", "--strict", rest]) == 1
    assert "a packet that the script does not expect" in capsys.readouterr().out


def test_a_trace_shows_the_packets_of_what_passes(suite: Path, capsys: Captured) -> None:
    main(["drill", "--trace", str(suite / "one" / "good.pkt")])
    assert "0.000000 > S. 0:0(0) ack 1" in capsys.readouterr().out


def test_packets_can_be_captured(suite: Path, tmp_path: Path) -> None:
    capture = tmp_path / "packets.pcapng"
    main(["drill", "-q", "--pcapng", str(capture), str(suite / "one" / "good.pkt")])
    data = capture.read_bytes()
    assert data.startswith(b"\x0a\x0d\x0d\x0a")
    assert data.count(b"\xc0\xa8\x00\x01") >= 2  # the SYN and the answer


def test_a_script_runs_over_the_version_that_it_is_for(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, "only-v6.pkt", GOOD)
    write(tmp_path, "told.pkt", "--ip_version=ipv6\n" + GOOD)
    assert main(["drill", "--json", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["ip_version"] for line in lines] == [6, 6]


@pytest.mark.parametrize("wrong", [["--tolerance-us", "-1"], ["-j", "0"], ["--ip", "5"]])
def test_wrong_usage_is_status_two(wrong: list[str], suite: Path, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as end:
        main(["drill", *wrong, str(suite)])
    assert end.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_place_without_scripts_is_told_in_one_line(tmp_path: Path, capsys: Captured) -> None:
    assert main(["drill", str(tmp_path)]) == 1
    assert main(["drill", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.count("\n") == 2


def test_a_verdict_of_a_bug_does_not_end_the_suite(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ustack.packetdrill.exchange.Exchange.inject", lambda *_: 1 // 0)
    (verdict,) = run_jobs([Job(str(suite / "one" / "good.pkt"), for_version(4))])
    assert verdict.result is Result.FAIL
    assert "internal error: ZeroDivisionError" in verdict.reason

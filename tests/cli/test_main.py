"""What is the same for all commands: help, exit statuses, one clear line for an error."""

import json
import re
import signal

import pytest

from tests.cli.commands import run, start
from ustack import __version__
from ustack.cli import main as entry
from ustack.cli.main import COMMANDS, main
from ustack.cli.output import CommandError
from ustack.drops import DropReason


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: ustack {command}" in capsys.readouterr().out


def test_the_help_lists_every_command_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    output = capsys.readouterr().out
    for command, module in COMMANDS.items():
        assert re.search(rf"^    {command}\s", output, re.MULTILINE)
        assert module.__doc__ is not None
        assert module.__doc__.startswith(f"`ustack {command}`: ")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"ustack {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["ss", "--nonsense"], ["nc"], ["ping", "-c", "many"], ["ns"]])
def test_wrong_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: ustack" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (CommandError("no running stack"), "no running stack"),
        (PermissionError(1, "Operation not permitted"), "Operation not permitted"),
        (FileNotFoundError(2, "No such file or directory", "x.pcapng"), "No such file or directory: x.pcapng"),
        (OSError("a plain one"), "a plain one"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_failure_is_one_line_and_status_1(
    failure: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise failure

    monkeypatch.setattr(entry.COMMANDS["drops"], "run", fail)
    assert main(["drops"]) == 1
    assert capsys.readouterr().err == f"ustack: {words}\n"


def test_ctrl_c_ends_with_status_130_and_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry.COMMANDS["drops"], "run", interrupted)
    assert main(["drops"]) == 128 + signal.SIGINT
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["ss", "drops"])
def test_without_a_running_stack_there_is_nothing_to_show(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 1
    assert capsys.readouterr().err == "ustack: no running stack of this user; `ustack serve` starts one\n"


def test_the_reasons_of_drops_are_listed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drops", "--reasons", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["reason"] for row in rows] == [reason.name for reason in DropReason]
    assert all(row["what"] and row["clause"] for row in rows)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with start("drops", "--reasons") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode in (0, 1)


def test_the_whole_program_fails_with_a_line_and_a_status() -> None:
    result = run("nc", "10.9.0.1", "99999")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "ustack: the port must be between 1 and 65535\n"

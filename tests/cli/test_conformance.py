"""`ustack conformance`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ustack.cli.main import main

if TYPE_CHECKING:
    import pytest


def test_the_table_has_every_requirement_of_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "9293"]) == 0
    shown = capsys.readouterr().out
    assert all(f"MUST-{number} " in shown for number in range(1, 70))
    assert re.search(r"^RFC9293 +119 ", shown, re.MULTILINE)


def test_all_documents_are_shown_if_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{name}  " in "\n" + shown for name in ("RFC768", "RFC791", "RFC9293"))


def test_tests_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "rfc768", "--tests"]) == 0
    assert "tests/udp/test_receiving.py" in capsys.readouterr().out


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "RFC6298", "--json"]) == 0
    (ledger,) = json.loads(capsys.readouterr().out)
    assert (ledger["document"], ledger["requirement"][0]["id"]) == ("RFC6298", "2.1")


def test_an_unknown_document_and_an_empty_folder_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["conformance", "RFC1"]) == 1
    assert capsys.readouterr().err == "ustack: no ledger of RFC1\n"
    assert main(["conformance", "--ledger", str(tmp_path)]) == 1
    assert "no ledgers here" in capsys.readouterr().err


def test_a_requirement_that_does_not_apply_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rfc1.toml").write_text(
        'document = "RFC1"\ntitle = "Host Software"\n'
        '[[requirement]]\nid = "1"\nsection = "1"\ntext = "An IMP."\ndoes_not_apply = "no IMP is left"\n'
    )
    assert main(["conformance", "--ledger", str(tmp_path)]) == 0
    assert "does not apply: no IMP is left" in capsys.readouterr().out

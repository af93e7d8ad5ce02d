"""`ustack conformance`: print what the RFCs ask for, requirement by requirement, with the tests that prove it."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from ustack.cli.output import CommandError, console, show_json, table

_PLACES = (Path(__file__).resolve().parents[2] / "docs" / "conformance", Path("docs/conformance"))

Ledger = dict[str, Any]
"""`document`, `title`, and under `requirement` a list of entries: `id`, `section`, `text`, and `tests` or
`does_not_apply`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack conformance`."""
    parser.add_argument("document", nargs="*", help="such as RFC9293 or 9293; all of them if none is named")
    parser.add_argument("--tests", action="store_true", help="name the tests instead of counting them")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--ledger", metavar="DIR", type=Path, help="docs/conformance of a checkout")


def run(arguments: argparse.Namespace) -> int:
    """Show the ledgers."""
    ledgers = _chosen(read_ledgers(arguments.ledger), arguments.document)
    if arguments.json:
        show_json(ledgers)
        return 0
    for ledger in ledgers:
        _show(ledger, name_tests=arguments.tests)
    _show_summary(ledgers)
    return 0


def read_ledgers(folder: Path | None) -> list[Ledger]:
    """Every ledger of `folder`, else of the checkout, ordered by number.  Raises CommandError where there is none."""
    for place in _PLACES if folder is None else (folder,):
        paths = sorted(place.glob("rfc*.toml"), key=lambda path: int(path.stem.removeprefix("rfc")))
        if paths:
            return [tomllib.loads(path.read_text(encoding="utf-8")) for path in paths]
    raise CommandError("no ledgers here: name docs/conformance of a checkout with --ledger")


def _chosen(ledgers: list[Ledger], names: list[str]) -> list[Ledger]:
    wanted = {"RFC" + name.upper().removeprefix("RFC") for name in names}
    unknown = wanted - {ledger["document"] for ledger in ledgers}
    if unknown:
        raise CommandError(f"no ledger of {', '.join(sorted(unknown))}")
    return [ledger for ledger in ledgers if not wanted or ledger["document"] in wanted]


def _show(ledger: Ledger, *, name_tests: bool) -> None:
    rows = table("id", "section", "what is asked", "proof", title=f"{ledger['document']}  {ledger['title']}")
    for entry in ledger["requirement"]:
        rows.add_row(entry["id"], entry["section"], entry["text"], _proof(entry, name_tests=name_tests))
    console.print(rows)
    console.print()


def _proof(entry: dict[str, Any], *, name_tests: bool) -> str:
    if "does_not_apply" in entry:
        return f"does not apply: {entry['does_not_apply']}"
    tests = entry.get("tests", [])
    if name_tests:
        return "\n".join(tests)
    return f"{len(tests)} test{'s' * (len(tests) != 1)}"


def _show_summary(ledgers: list[Ledger]) -> None:
    rows = table("document", "requirements", "tested", "do not apply", right=("requirements", "tested", "do not apply"))
    for ledger in ledgers:
        entries = ledger["requirement"]
        tested = sum(bool(entry.get("tests")) for entry in entries)
        excused = sum("does_not_apply" in entry for entry in entries)
        rows.add_row(ledger["document"], str(len(entries)), str(tested), str(excused))
    console.print(rows)

"""`ustack drops`: count the packets that running stacks have dropped, by reason, with the clause that asks for it."""

from __future__ import annotations

import argparse

from ustack.cli.output import console, show_json, table
from ustack.cli.ss import ask_all, title
from ustack.drops import DropReason
from ustack.observe.snapshot import DropRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack drops`."""
    parser.add_argument("--stack", metavar="PID", type=int, help="only the stacks of this process")
    parser.add_argument("--reasons", action="store_true", help="list all reasons there are; needs no running stack")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Show the counters of every running stack of this user."""
    if arguments.reasons:
        _show_reasons(as_json=arguments.json)
        return 0
    stacks = ask_all(arguments.stack)
    if arguments.json:
        show_json([{key: stack[key] for key in ("pid", "command", "addresses", "drops")} for stack in stacks])
        return 0
    for stack in stacks:
        show_drops(title(stack), stack["drops"])
    return 0


def show_drops(heading: str, drops: list[DropRow]) -> None:
    """Print a table of counters."""
    rows = table("count", "reason", "what happened", "clause", title=heading, right=("count",))
    for drop in drops:
        rows.add_row(str(drop["count"]), drop["reason"], drop["what"], drop["clause"])
    console.print(rows if drops else f"{heading}\nno packet was dropped")


def _show_reasons(*, as_json: bool) -> None:
    if as_json:
        show_json([{"reason": reason.name, "what": reason.what, "clause": reason.clause} for reason in DropReason])
        return
    rows = table("reason", "what happened", "clause")
    for reason in DropReason:
        rows.add_row(reason.name, reason.what, reason.clause)
    console.print(rows)

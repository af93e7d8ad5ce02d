"""What commands print: results on standard output, for people or as JSON; everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_FILES = 160
"""Columns where standard output is no terminal and COLUMNS does not say."""

console = Console(
    highlight=False,
    markup=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_OF_FILES,
)
errors = Console(stderr=True, highlight=False, markup=False)


class CommandError(Exception):
    """A command cannot do its work; the message is all that the user needs."""


def say(message: str) -> None:
    """One line about what is going on, on standard error."""
    errors.print(Text(f"ustack: {message}"), soft_wrap=True)


def show_json(value: object) -> None:
    """A result for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    sys.stdout.flush()


def table(*columns: str, title: str | None = None, right: Iterable[str] = ()) -> Table:
    """An empty table; the columns in `right` are aligned to the right."""
    result = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return result


def duration(nanoseconds: int) -> str:
    """A time for people: `340 µs`, `12.5 ms`, `3.20 s`."""
    if abs(nanoseconds) < 1_000_000:
        return f"{nanoseconds / 1000:.0f} µs"
    if abs(nanoseconds) < 1_000_000_000:
        return f"{nanoseconds / 1_000_000:.1f} ms"
    return f"{nanoseconds / 1_000_000_000:.2f} s"

"""`ustack` as users start it: a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ustack.link.namespace import Namespace

ROOT = Path(__file__).resolve().parents[2]
ENTRY = "import sys; from ustack.cli.main import main; sys.exit(main())"
SECONDS = 60


def ustack_command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", ENTRY, *arguments]


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `ustack` with pipes around it."""
    pipes = {name: options.pop(name, subprocess.PIPE) for name in ("stdin", "stdout", "stderr")}
    environment = {**os.environ, "COLUMNS": "200", **options.pop("env", {})}
    return subprocess.Popen(ustack_command(*arguments), cwd=ROOT, env=environment, text=True, **pipes, **options)


def run(*arguments: str, input: str = "", **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: A002
    """Run `ustack` to its end."""
    with start(*arguments, **options) as process:
        output, complaints = process.communicate(input, SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, output, complaints)


def wait_for_line(process: subprocess.Popen[str], words: str) -> str:
    """Read what a running command says until a line with these words."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return line
    pytest.fail(f"no line with {words!r} in {lines}")


def abandoned_namespaces() -> set[str]:
    """The network namespaces whose maker, named by its process id, runs no more."""
    names = Path("/run/netns")
    found = {path.name for path in names.glob("ustack-*")} if names.is_dir() else set()
    return {name for name in found if not Path("/proc", name.split("-")[1]).exists()}


def namespace_refusal() -> str:
    """Why this machine grants no namespace with a TUN device; "" where it does."""
    try:
        with Namespace() as namespace:
            namespace.open_tun().close()
    except OSError as refusal:
        return str(refusal)
    return ""

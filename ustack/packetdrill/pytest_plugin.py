"""A pytest plugin: each .pkt file is collected, and is a test over each IP version that it is for.

    [tool.pytest.ini_options]
    addopts = ["-p", "ustack.packetdrill.pytest_plugin"]
    packetdrill_tolerance_us = "0"
    packetdrill_strict = "true"

The stack is imported when the first script is collected, not before.

A script with a `// Failure: regex` comment passes if it fails with a reason that the expression finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ustack.packetdrill.verdict import Verdict

SUFFIX = ".pkt"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    parser.addini("packetdrill_tolerance_us", "how late or early a script's packets may be (0: not at all)", default="")
    parser.addini("packetdrill_strict", "packets that a script does not mention are an error", "bool", default=False)
    group = parser.getgroup("packetdrill")
    group.addoption("--packetdrill-ip", choices=("4", "6", "both"), default="both", help="IP versions of .pkt files")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A .pkt file is a collector of its runs."""
    if file_path.suffix != SUFFIX:
        return None
    collector: pytest.Collector = ScriptFile.from_parent(parent, path=file_path)
    return collector


class ScriptFile(pytest.File):
    """One script."""

    def collect(self) -> Iterator[pytest.Item]:
        """A run over each IP version."""
        from ustack.packetdrill.suite import version_of  # noqa: PLC0415

        wanted = {"4": (4,), "6": (6,), "both": (4, 6)}[self.config.getoption("--packetdrill-ip")]
        only = version_of(str(self.path))
        for version in wanted:
            if only in (None, version):
                yield ScriptItem.from_parent(self, name=f"ipv{version}", version=version)


class ScriptItem(pytest.Item):
    """One run of a script."""

    def __init__(self, *, version: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.version = version

    def runtest(self) -> None:
        """Run the script; raises for what is no pass."""
        from ustack.packetdrill.grammar import expected_failure  # noqa: PLC0415
        from ustack.packetdrill.runner import run_file  # noqa: PLC0415
        from ustack.packetdrill.settings import exact, for_version  # noqa: PLC0415

        settings = for_version(self.version, strict=bool(self.config.getini("packetdrill_strict")))
        tolerance = str(self.config.getini("packetdrill_tolerance_us"))
        verdict = run_file(self.path, exact(settings, int(tolerance)) if tolerance else settings)
        _judge(verdict, expected_failure(self.path.read_text(encoding="utf-8")))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The verdict, without a traceback."""
        if isinstance(excinfo.value, ScriptFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """What pytest shows."""
        return self.path, 0, f"{self.path.name} over IPv{self.version}"


class ScriptFailed(Exception):
    """A script has not passed."""


def _judge(verdict: Verdict, failure: str | None) -> None:
    """Pass, skip or fail: a script that must fail has to fail for the right reason."""
    if verdict.result.value == "unsupported":
        pytest.skip(f"line {verdict.line}: {verdict.reason}")
    passed = verdict.result.value == "pass"
    if failure is None:
        if not passed:
            raise ScriptFailed(verdict.explain())
    elif passed:
        raise ScriptFailed(f"{verdict.path}: passes, but must fail with: {failure}")
    elif not re.search(failure, verdict.reason):
        raise ScriptFailed(f"must fail with: {failure}\n{verdict.explain()}")

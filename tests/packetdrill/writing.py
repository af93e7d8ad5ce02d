"""Scripts for the tests of the runner: what they begin with, and their verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ustack.packetdrill import grammar
from ustack.packetdrill.problems import ScriptProblem, Unsupported
from ustack.packetdrill.runner import run_script
from ustack.packetdrill.settings import Settings, for_version
from ustack.packetdrill.verdict import Result, Verdict

LISTEN = """
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
"""
SERVER = (
    LISTEN
    + """
+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 32792
+0 accept(3, ..., ...) = 4
"""
)
"""A connection with descriptor 4; neither side uses options."""


def verdict_of(text: str, settings: Settings | None = None, **changes: object) -> Verdict:
    """Run a script."""
    wanted = replace(settings or for_version(4), **changes)  # type: ignore[arg-type]
    try:
        script = grammar.parse(text, "test.pkt", wanted.definitions())
    except Unsupported as problem:
        return Verdict("test.pkt", wanted.version, Result.UNSUPPORTED, problem.message, problem.line)
    except ScriptProblem as problem:
        return Verdict("test.pkt", wanted.version, Result.FAIL, str(problem), problem.line)
    return run_script(script, wanted)


def passes(text: str, **changes: object) -> None:
    """The script passes."""
    verdict = verdict_of(text, **changes)
    assert verdict.result is Result.PASS, verdict.explain()


def fails(text: str, reason: str, line: int | None = None, **changes: object) -> Verdict:
    """The script fails, for a reason that contains the words, at the line counted from the first one of `text`."""
    verdict = verdict_of(text, **changes)
    assert verdict.result is Result.FAIL, verdict.explain()
    assert reason in verdict.reason, verdict.explain()
    if line is not None:
        assert verdict.line == line, verdict.explain()
    return verdict


def unsupported(text: str, reason: str, **changes: object) -> None:
    """The script asks for what is not there."""
    verdict = verdict_of(text, **changes)
    assert verdict.result is Result.UNSUPPORTED, verdict.explain()
    assert reason in verdict.reason


def write(folder: Path, name: str, text: str) -> str:
    """A script in a file; its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)

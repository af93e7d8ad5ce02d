"""The Python in a script: run after its last event, over what TCP_INFO was at the event.

All snippets of a script are one program: they share their variables.  They are calculations, so they have the built-in
functions for that and nothing of the system.
"""

from __future__ import annotations

import builtins
import traceback
from typing import Any, NamedTuple

from ustack.packetdrill.problems import Failed, Unsupported

_BUILTINS = (
    "abs", "all", "any", "bin", "bool", "dict", "divmod", "enumerate", "filter", "float", "format", "hex", "int",
    "isinstance", "len", "list", "map", "max", "min", "oct", "pow", "range", "repr", "reversed", "round",
    "set", "sorted", "str", "sum", "tuple", "zip", "AssertionError", "Exception", "ValueError",
)  # fmt: skip
_CONSTANTS = {
    "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4, "TCP_FIN_WAIT2": 5,
    "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8, "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11,
    "TCP_CA_Open": 0, "TCP_CA_Disorder": 1, "TCP_CA_CWR": 2, "TCP_CA_Recovery": 3, "TCP_CA_Loss": 4,
    "TCPI_OPT_TIMESTAMPS": 1, "TCPI_OPT_SACK": 2, "TCPI_OPT_WSCALE": 4, "TCPI_OPT_ECN": 8, "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32, "TCPI_OPT_USEC_TS": 64, "TCPI_OPT_TFO_CHILD": 128,
}  # fmt: skip


class Snippet(NamedTuple):
    """Code at a line, and the connection's values when its event was due."""

    text: str
    line: int
    values: dict[str, int]


def run_snippets(snippets: list[Snippet], path: str) -> None:
    """Run the program that the snippets are.  Raises Failed at the line of what fails, Unsupported."""
    world: dict[str, Any] = {"__builtins__": {name: getattr(builtins, name) for name in _BUILTINS}, **_CONSTANTS}
    world["print"] = lambda *_, **__: None  # there is nobody to read it
    for snippet in snippets:
        world.update(snippet.values)
        _run(snippet, path, world)


def _run(snippet: Snippet, path: str, world: dict[str, Any]) -> None:
    try:
        code = compile("\n" * (snippet.line - 1) + snippet.text + "\n\n", path, "exec")
        exec(code, world)
    except (NameError, ImportError) as problem:
        raise Unsupported(f"error in Python code: {problem}", _line_of(problem, path, snippet)) from None
    except SyntaxError as problem:
        raise Failed(f"error in Python code: {problem.msg}", problem.lineno or snippet.line) from None
    except Exception as problem:  # whatever the code raises
        text = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
        source = _source_of(snippet, line := _line_of(problem, path, snippet))
        raise Failed(f"error in Python code: {text} ({source})", line) from None


def _line_of(problem: BaseException, path: str, snippet: Snippet) -> int:
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == path]
    return lines[-1] if lines and lines[-1] is not None else snippet.line


def _source_of(snippet: Snippet, line: int) -> str:
    lines = snippet.text.split("\n")
    index = line - snippet.line
    return lines[index].strip() if 0 <= index < len(lines) else ""

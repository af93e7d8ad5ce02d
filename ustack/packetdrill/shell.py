"""The commands of a script, read as a shell would read them; none is ever given to one.

A line is cut into words, joined with what continues it, rid of comments and redirections.  What the words ask for is
done by `verbs` on the simulated machine; what is no verb is unsupported.
"""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Iterator, Mapping

from ustack.packetdrill.problems import Unsupported

_ARITHMETIC = re.compile(r"\$\(\((.*?)\)\)")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")
_SEPARATORS = frozenset((";", "&&", "||", "|", "&"))
_OPERATIONS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv, ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.Mod: operator.mod,
}  # fmt: skip

Command = tuple[str, list[str], str | None]
"""What joins it to the one before (`;`, `&&`, `||` or `|`), its words, and the file that its output goes to."""


def commands(text: str, variables: Mapping[str, str]) -> Iterator[Command]:
    """The commands of a text.  Raises Unsupported for what only a real shell understands."""
    for line in text.replace("\\\n", " ").split("\n"):
        yield from _line(_expand(line, variables))


def _line(line: str) -> Iterator[Command]:
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError as problem:
        raise Unsupported(f"the command is not understood ({problem}): {line.strip()}") from None
    joint = ";"
    current: list[str] = []
    for word in words:
        if word in _SEPARATORS:
            if current:
                yield joint, *_redirected(current)
            joint, current = word, []
        else:
            current.append(word)
    if current:
        yield joint, *_redirected(current)


def _redirected(words: list[str]) -> tuple[list[str], str | None]:
    """Words without redirections, and the file that standard output goes to."""
    kept: list[str] = []
    target = None
    index = 0
    while index < len(words):
        word = words[index]
        if set(word) <= set("<>&") and set(word) & set("<>"):
            number = kept.pop() if kept and kept[-1] in ("1", "2") else "1"
            index += 1
            if number == "1" and index < len(words) and word.startswith(">"):
                target = words[index]
        else:
            kept.append(word)
        index += 1
    return kept, target


def _expand(line: str, variables: Mapping[str, str]) -> str:
    """A line with arithmetic done and variables replaced.  Raises Unsupported for other expansions."""
    line = _ARITHMETIC.sub(lambda match: str(_calculate(match.group(1))), line)
    line = _VARIABLE.sub(lambda match: variables.get(match.group(1), match.group()), line)
    if "$(" in line:
        raise Unsupported(f"command substitution is not supported: {line.strip()}")
    return line


def _calculate(text: str) -> int:
    """The value of an arithmetic expression of numbers."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError, KeyError, ZeroDivisionError):
        raise Unsupported(f"the arithmetic is not understood: {text}") from None


def _value(node: ast.AST) -> int:
    if isinstance(node, ast.BinOp):
        return _OPERATIONS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    raise TypeError(type(node).__name__)

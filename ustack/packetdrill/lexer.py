"""Tokens of a script: numbers, words, addresses, and the three kinds of quoted text (strings, commands, code).

Comments are those of C, C++ and, as FreeBSD's scripts have them, of the shell.  Words that `-D NAME=VALUE` has defined
are replaced here, as everywhere in the language.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

from ustack.packetdrill.problems import Malformed

WORD, INTEGER, FLOAT, STRING, COMMAND, CODE, OPTION, ADDRESS, SIGN, END = (
    "word", "number", "decimal number", "string", "command", "code", "option", "address", "sign", "end of the script",
)  # fmt: skip

_PATTERN = re.compile(
    r"""
      (?P<space>      [ \t\r\n\f]+ | //[^\n]* | \#[^\n]* | /\*.*?\*/ )
    | (?P<code>       %\{.*?\}% )
    | (?P<command>    `(?:\\.|[^`\\])*` )
    | (?P<string>     "(?:\\.|[^"\\])*" )
    | (?P<option>     --[A-Za-z0-9_]+ )
    | (?P<address>    \d+\.\d+\.\d+\.\d+ | (?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|\d+\.\d+\.\d+\.\d+)? )
    | (?P<float>      -?\d*\.\d+ )
    | (?P<integer>    0[xX][0-9A-Fa-f]+(?![A-Za-z0-9_]) | -?\d+(?![A-Za-z0-9_]) )
    | (?P<word>       [A-Za-z0-9_]+ )
    | (?P<sign>       \.\.\. | [^ \t\r\n] )
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS = {
    "code": CODE, "command": COMMAND, "string": STRING, "option": OPTION, "address": ADDRESS, "float": FLOAT,
    "integer": INTEGER, "word": WORD, "sign": SIGN,
}  # fmt: skip
_QUOTES = {'"': "string", "`": "command", "%": "code", "/": "comment"}
_SUBSTITUTES = re.compile(r"0[xX][0-9A-Fa-f]+|-?\d+")


class Token(NamedTuple):
    """A token: its kind, its text without quotes, and where it begins in the source."""

    kind: str
    text: str
    offset: int

    @property
    def number(self) -> int:
        """The value of an INTEGER."""
        return number(self.text)

    def describe(self) -> str:
        """For messages."""
        if self.kind == END:
            return "the end of the script"
        shown = self.text if len(self.text) <= 40 else self.text[:37] + "..."
        return f"'{shown}'" if self.kind in (SIGN, WORD, INTEGER, FLOAT, ADDRESS) else f"{self.kind} '{shown}'"


class Source:
    """The text of a script, and where its lines are."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def line(self, offset: int) -> int:
        """The line of an offset, counted from 1."""
        return bisect_right(self._starts, offset)

    def malformed(self, message: str, offset: int) -> Malformed:
        """The error that is raised for something at `offset`."""
        line = self.line(offset)
        return Malformed(message, self.path, line, offset - self._starts[line - 1] + 1)


def number(text: str) -> int:
    """The value of a number as C writes it."""
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def tokenize(source: Source, defines: Mapping[str, str]) -> list[Token]:
    """All tokens, the last one of kind END.  Raises Malformed for quotes and comments without an end."""
    tokens = []
    offset = 0
    while match := _PATTERN.match(source.text, offset):
        group = match.lastgroup or ""
        if group != "space":
            tokens.append(_token(source, _KINDS[group], match, defines))
        offset = match.end()
    tokens.append(Token(END, "", len(source.text)))
    return tokens


def _token(source: Source, kind: str, match: re.Match[str], defines: Mapping[str, str]) -> Token:
    text, offset = match.group(), match.start()
    if kind in (STRING, COMMAND):
        return Token(kind, text[1:-1], offset)
    if kind == CODE:
        return Token(kind, text[2:-2].strip(" \t"), offset)
    if kind == OPTION:
        return Token(kind, text[2:], offset)
    if kind == WORD and text in defines:
        return _substitute(defines[text], offset)
    if kind == SIGN and _is_unended(source.text, offset):
        raise source.malformed(f"a {_QUOTES[text]} begins here and has no end", offset)
    return Token(kind, text, offset)


def _is_unended(text: str, offset: int) -> bool:
    return text[offset] in '"`' or text.startswith(("%{", "/*"), offset)


def _substitute(value: str, offset: int) -> Token:
    """What a defined word stands for: a quoted string or command, a number, or another word."""
    for kind, quote in ((STRING, '"'), (COMMAND, "`")):
        if len(value) > 1 and value[0] == value[-1] == quote:
            return Token(kind, value[1:-1], offset)
    return Token(INTEGER if _SUBSTITUTES.fullmatch(value) else WORD, value, offset)

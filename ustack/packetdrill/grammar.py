"""The grammar of a script: options, events with their times, and what happens at each.

`parse` is all that others need.  The parts of an event have grammars of their own: `packet_grammar`,
`expression_grammar`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from ustack.packetdrill.cursor import Cursor
from ustack.packetdrill.expression_grammar import parse_call
from ustack.packetdrill.lexer import (
    ADDRESS,
    CODE,
    COMMAND,
    END,
    FLOAT,
    INTEGER,
    OPTION,
    STRING,
    WORD,
    Source,
    tokenize,
)
from ustack.packetdrill.packet_grammar import parse_packet
from ustack.packetdrill.problems import Malformed, Unsupported
from ustack.packetdrill.script import (
    OUTBOUND,
    Call,
    Code,
    Command,
    Event,
    PacketSpec,
    Script,
    Time,
    TimeKind,
)

_FAILURE = re.compile(r"^\s*//\s*Failure:\s*(.*?)\s*$", re.MULTILINE)
_SCTP = re.compile(r"\b(IPPROTO_SCTP|sctp_\w+)\b")
"""Scripts about SCTP have a language of their own."""
_SECOND = 1_000_000_000


def read_script(path: str | Path, defines: Mapping[str, str] = {}) -> Script:
    """The script in a file.  Raises Malformed, Unsupported, OSError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise Malformed(
            f"expected UTF-8 text, found byte {problem.object[problem.start]:#04x}", str(path), 1, 1
        ) from None
    try:
        return parse(text, str(path), defines)
    except Malformed as problem:
        if _SCTP.search(text):
            raise Unsupported("SCTP is not supported", problem.line) from None
        raise


def parse(text: str, path: str = "script", defines: Mapping[str, str] = {}) -> Script:
    """A script from its text.  Raises Malformed, Unsupported."""
    source = Source(text, path)
    known = dict(defines)
    cursor = Cursor(source, tokenize(source, known))
    script = Script(path)
    _options(cursor, script)
    own = {
        name: value
        for option, value in script.options
        if option == "define"
        for name, _, value in [value.partition("=")]
    }
    if own:
        cursor = Cursor(source, tokenize(source, {**own, **known}))
        _options(cursor, Script(path))
    if cursor.token.kind == COMMAND:
        script.init_line, script.init = cursor.line, Command(cursor.take().text)
    while cursor.token.kind not in (END, COMMAND):
        script.events.append(_event(cursor))
    if cursor.token.kind == COMMAND:
        script.cleanup_line, script.cleanup = cursor.line, Command(cursor.take().text)
    if cursor.token.kind != END:
        cursor.fail("the time of an event")
    if not script.events:
        cursor.fail("an event")
    script.failure = expected_failure(text)
    return script


def expected_failure(text: str) -> str | None:
    """The regular expression of a script's `// Failure:` comment."""
    found = _FAILURE.search(text)
    return found.group(1) if found else None


def _options(cursor: Cursor, script: Script) -> None:
    """`--name=value`, each on a line of its own as a rule."""
    while cursor.token.kind == OPTION:
        name = cursor.take().text
        value = ""
        if cursor.skip("="):
            if cursor.token.kind not in (INTEGER, FLOAT, WORD, STRING, ADDRESS):
                cursor.fail(f"the value of --{name}")
            value = cursor.take().text
            if cursor.skip("="):
                if cursor.token.kind not in (INTEGER, WORD, STRING, COMMAND):
                    cursor.fail(f"the value of {value}")
                value += "=" + _quoted(cursor)
        script.options.append((name, value))


def _quoted(cursor: Cursor) -> str:
    token = cursor.take()
    quote = {STRING: '"', COMMAND: "`"}.get(token.kind, "")
    return quote + token.text + quote


def _event(cursor: Cursor) -> Event:
    line, start = cursor.line, cursor.token.offset
    time = _time(cursor)
    action = _action(cursor, time)
    outbound = isinstance(action, PacketSpec) and action.direction == OUTBOUND
    if not outbound and (time.kind is TimeKind.ANY or time.end is not None):
        what = "*" if time.kind is TimeKind.ANY else "a range"
        raise cursor.source.malformed(f"expected one time, found {what} (which is for outbound packets only)", start)
    return Event(line, time, action)


def _action(cursor: Cursor, time: Time) -> PacketSpec | Call | Command | Code:
    token = cursor.token
    if cursor.at("<", ">"):
        return parse_packet(cursor)
    if token.kind == COMMAND:
        return Command(cursor.take().text)
    if token.kind == CODE:
        return Code(cursor.take().text)
    if token.kind == WORD:
        return parse_call(cursor, None)
    if cursor.skip("..."):
        end = _seconds(cursor)
        if end < time.start:
            raise cursor.source.malformed("expected a time not before the call's begin", token.offset)
        return parse_call(cursor, end)
    raise cursor.expected("a packet, a system call, a command or code")


def _time(cursor: Cursor) -> Time:
    start = cursor.token.offset
    if cursor.skip("*"):
        return Time(TimeKind.ANY)
    relative = cursor.skip("+")
    if cursor.token.kind not in (INTEGER, FLOAT):
        cursor.fail("the time of an event")
    begin = _seconds(cursor)
    end = None
    if cursor.skip("~"):
        if relative:
            cursor.expect("+")
        end = _seconds(cursor)
        if end < begin:
            raise cursor.source.malformed("expected a range of time that does not run backwards", start)
    return Time(TimeKind.RELATIVE if relative else TimeKind.ABSOLUTE, begin, end)


def _seconds(cursor: Cursor) -> int:
    """A time in seconds, as nanoseconds."""
    token = cursor.token
    if token.kind not in (INTEGER, FLOAT):
        cursor.fail("a time in seconds")
    cursor.take()
    value = Decimal(token.number if token.kind == INTEGER else token.text)
    if value < 0:
        raise cursor.source.malformed(f"expected a time that is not negative, found {token.text}", token.offset)
    return int(value * _SECOND)

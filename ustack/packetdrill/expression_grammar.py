"""The grammar of system calls and their arguments."""

from __future__ import annotations

from collections.abc import Callable

from ustack.packetdrill.cursor import Cursor
from ustack.packetdrill.lexer import END, FLOAT, INTEGER, SIGN, STRING, WORD
from ustack.packetdrill.script import Apply, Array, Call, Either, Expression, Field, Name, Structure

_ESCAPES = {"\\": b"\\", '"': b'"', "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v", "0": b"\0"}


def parse_call(cursor: Cursor, end: int | None) -> Call:
    """`name(arguments) = result ERRNO (note)`; `end` is when a blocking call returns."""
    name = cursor.expect_kind(WORD, "the name of a system call").text
    cursor.expect("(")
    arguments = _list(cursor, ")")
    cursor.expect("=")
    result = _alternatives(cursor, _value)
    error = None
    if cursor.token.kind == WORD and cursor.token.text[0].isupper():
        error = cursor.take().text
    while cursor.at("("):
        _note(cursor)
    return Call(name, arguments, result, error, end)


def _note(cursor: Cursor) -> None:
    """The bracket behind a result is for people."""
    cursor.expect("(")
    while not cursor.skip(")"):
        if cursor.token.kind == END:
            cursor.fail("')'")
        cursor.take()


def _list(cursor: Cursor, closing: str) -> tuple[Expression, ...]:
    """Expressions with commas between them, and the closing sign."""
    items: list[Expression] = []
    while not cursor.skip(closing):
        if items and not cursor.skip(","):
            cursor.fail(f"',' or '{closing}'")
        items.append(parse_expression(cursor))
    return tuple(items)


def parse_expression(cursor: Cursor) -> Expression:
    """Any argument, or a `name = value` in a structure."""
    left = _alternatives(cursor, _operand)
    if isinstance(left, (Name, Apply)) and cursor.skip("="):
        value = parse_expression(cursor)
        if isinstance(left, Name):
            return Field(left.text, value)
        return Field(left.name, value, left.arguments[0] if left.arguments else None)
    return left


def _alternatives(cursor: Cursor, operand: Callable[[Cursor], Expression]) -> Expression:
    left = operand(cursor)
    while cursor.skip("|"):
        left = Either(left, operand(cursor))
    return left


def _operand(cursor: Cursor) -> Expression:
    if cursor.token.kind == WORD and cursor.following().kind == SIGN and cursor.following().text == "(":
        name = cursor.take().text
        cursor.expect("(")
        return Apply(name, _list(cursor, ")"))
    return _value(cursor)


def _value(cursor: Cursor) -> Expression:
    """An operand that is no function: behind a result, a bracket is a note."""
    token = cursor.token
    if token.kind == INTEGER:
        return cursor.take().number
    if token.kind == FLOAT:
        cursor.refuse("decimal numbers in system calls")
    if token.kind == WORD:
        return Name(cursor.take().text)
    if token.kind == STRING:
        return _string(cursor)
    if cursor.skip("..."):
        return ...
    if cursor.skip("["):
        return Array(_list(cursor, "]"))
    if cursor.skip("{"):
        if cursor.at("("):
            cursor.refuse("MPLS labels")
        return Structure(_list(cursor, "}"))
    raise cursor.expected("a value")


def _string(cursor: Cursor) -> bytes:
    """Strings that stand beside one another are one."""
    value = b""
    while cursor.token.kind == STRING:
        value += _unescape(cursor)
    cursor.skip("...")
    return value


def _unescape(cursor: Cursor) -> bytes:
    token = cursor.take()
    parts = []
    position = 0
    while position < len(token.text):
        letter = token.text[position]
        position += 1
        if letter != "\\":
            parts.append(letter.encode())
            continue
        code = token.text[position : position + 1]
        digits = token.text[position + 1 : position + 3]
        position += 1
        if code in _ESCAPES:
            parts.append(_ESCAPES[code])
        elif code == "x" and len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            parts.append(bytes.fromhex(digits))
            position += 2
        else:
            raise cursor.source.malformed(f"expected an escape such as \\n or \\x00, found \\{code}", token.offset)
    return b"".join(parts)

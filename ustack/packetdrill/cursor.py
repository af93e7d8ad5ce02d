"""`Cursor`: a place among the tokens of a script, and the errors that say what was expected there."""

from __future__ import annotations

from typing import NoReturn

from ustack.packetdrill.lexer import END, INTEGER, SIGN, WORD, Source, Token
from ustack.packetdrill.problems import Malformed, Unsupported


class Cursor:
    """Looks at one token after the other."""

    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self.source = source
        self._tokens = tokens
        self._position = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self._tokens[self._position]

    @property
    def line(self) -> int:
        """The line of the next token."""
        return self.source.line(self.token.offset)

    def following(self, count: int = 1) -> Token:
        """The token that comes `count` after the next one."""
        return self._tokens[min(self._position + count, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The next token, which is then past."""
        token = self.token
        if token.kind != END:
            self._position += 1
        return token

    def at(self, *signs: str) -> bool:
        """Whether the next token is one of these signs."""
        return self.token.kind == SIGN and self.token.text in signs

    def at_word(self, *words: str) -> bool:
        """Whether the next token is one of these words."""
        return self.token.kind == WORD and self.token.text in words

    def skip(self, sign: str) -> bool:
        """Take a sign if it is the next token."""
        if self.at(sign):
            self._position += 1
            return True
        return False

    def skip_word(self, word: str) -> bool:
        """Take a word if it is the next token."""
        if self.at_word(word):
            self._position += 1
            return True
        return False

    def expect(self, sign: str) -> Token:
        """Take a sign that must be there."""
        if not self.at(sign):
            self.fail(f"'{sign}'")
        return self.take()

    def expect_kind(self, kind: str, what: str = "") -> Token:
        """Take a token of a kind that must be there."""
        if self.token.kind != kind:
            self.fail(what or f"a {kind}")
        return self.take()

    def integer(self, what: str, least: int, most: int) -> int:
        """Take a number between two bounds."""
        token = self.expect_kind(INTEGER, what)
        if not least <= token.number <= most:
            raise self.source.malformed(f"expected {what} from {least} to {most}, found {token.text}", token.offset)
        return token.number

    def expected(self, what: str) -> Malformed:
        """The error that says what was expected in the place of the next token."""
        return self.source.malformed(f"expected {what}, found {self.token.describe()}", self.token.offset)

    def fail(self, expected: str) -> NoReturn:
        """Raise that error."""
        raise self.expected(expected)

    def refuse(self, what: str) -> NoReturn:
        """Something that the language has and the runner has not.  Raises Unsupported."""
        raise Unsupported(f"{what} are not supported", self.line)

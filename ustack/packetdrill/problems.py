"""How a script ends before its last line: it is malformed, it asks for what is not there, or the stack is wrong."""

from __future__ import annotations


class ScriptProblem(Exception):
    """Something about a script, at a line of it (counted from 1; 0 is the whole script)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Malformed(ScriptProblem):
    """The script is no packetdrill script.  `column` counts from 1."""

    def __init__(self, message: str, path: str, line: int, column: int) -> None:
        super().__init__(message, line)
        self.path = path
        self.column = column

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class Unsupported(ScriptProblem):
    """The script needs what the runner or the stack does not have."""


class Failed(ScriptProblem):
    """What happened is not what the script says."""

"""How long the functions and files of a source tree are."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Size:
    """The lines of one function or file; `name` is `path` or `path:function`."""

    name: str
    lines: int


def files(folder: str, pattern: str) -> list[Size]:
    return [
        Size(path.relative_to(ROOT).as_posix(), len(path.read_text().splitlines()))
        for path in sorted((ROOT / folder).rglob(pattern))
    ]


def python_functions(folder: str) -> list[Size]:
    """Every function and method, from `def` to its last line without the docstring; nested ones count in the outer."""
    sizes = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        sizes += [
            Size(f"{name}:{qualified}", lines) for qualified, lines in _functions(ast.parse(path.read_text()), "")
        ]
    return sizes


def _functions(parent: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, _length(node)
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def c_functions(folder: str) -> list[Size]:
    """Every function definition: by the format that clang-format holds, its braces stand alone in the first column."""
    sizes = []
    for path in sorted((ROOT / folder).rglob("*.[ch]")):
        name = path.relative_to(ROOT).as_posix()
        lines = path.read_text().splitlines()
        for begin, line in enumerate(lines):
            if line == "{":
                end = lines.index("}", begin)
                sizes.append(Size(f"{name}:{begin}", end - begin + 2))
    return sizes

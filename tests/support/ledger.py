"""The ledgers of docs/conformance, and the tests that are marked as proofs."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LEDGERS = ROOT / "docs" / "conformance"

Proofs = dict[tuple[str, str], list[str]]


def read_ledgers() -> dict[str, dict[str, Any]]:
    """Every ledger by the name of its document, such as RFC9293."""
    found = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(LEDGERS.glob("rfc*.toml"))]
    return {ledger["document"]: ledger for ledger in found}


def marked_tests() -> Proofs:
    """(document, identifier) → the tests that carry `@requirement(document, identifier)`, sorted."""
    proofs: Proofs = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "requirement(" not in source:
            continue
        name = path.relative_to(ROOT).as_posix()
        for test, key in _marks(ast.parse(source).body, name):
            proofs.setdefault(key, []).append(test)
    return {key: sorted(set(tests)) for key, tests in proofs.items()}


def _marks(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{prefix}::{node.name}"
            for decorator in node.decorator_list:
                key = _requirement(decorator)
                if key is not None:
                    yield name, key
            if isinstance(node, ast.ClassDef):
                yield from _marks(node.body, name)


def _requirement(decorator: ast.expr) -> tuple[str, str] | None:
    if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name)):
        return None
    if decorator.func.id != "requirement":
        return None
    document, identifier = (ast.literal_eval(argument) for argument in decorator.args)
    return document, identifier

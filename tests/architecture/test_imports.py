"""Who imports whom: the floors, and what the core must do without."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ABOVE_THE_CORE = {"api", "cli", "lab", "link", "observe", "packetdrill", "runtime", "sim", "socket.py"}
CORE = [
    path for path in sorted((ROOT / "ustack").rglob("*.py"))
    if path.relative_to(ROOT / "ustack").parts[0] not in ABOVE_THE_CORE
]  # fmt: skip


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            yield node.module


def test_every_module_imports_only_lower_floors() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_native_imports_the_extension() -> None:
    importers = [path for path in (ROOT / "ustack").rglob("*.py") if "ustack._native" in imported(path)]
    assert importers == [ROOT / "ustack" / "native.py"]


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_no_clock_no_descriptors_no_threads_and_no_randomness(path: Path) -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = set(ruff["flake8-tidy-imports"]["banned-api"])
    allowed = {"os"} if path.name == "errors.py" else set()
    assert {name.partition(".")[0] for name in imported(path)} & banned <= allowed

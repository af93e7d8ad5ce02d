"""The project works wherever it lies: no file of it names a place of one machine."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT_SUFFIXES = {".c", ".h", ".md", ".pkt", ".py", ".pyi", ".sh", ".toml", ".yml"}
PLACES = re.compile(r"(?<![\w.])/(?:home|mnt|opt|root|srv|tmp|work|Users)/\w")


def texts() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.suffix in TEXT_SUFFIXES)
    for folder in ("docs", "native", "tests", "ustack"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in TEXT_SUFFIXES)
    for folder in (".ci", "tools"):  # scripts have no suffix
        yield from (
            path for path in (ROOT / folder).rglob("*") if path.suffix in {"", *TEXT_SUFFIXES} and path.is_file()
        )


def test_no_file_names_a_place_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if PLACES.search(line)
    ]
    assert found == []

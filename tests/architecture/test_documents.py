"""The documents say what is there."""

import re
from pathlib import Path

import pytest

from ustack.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
CONCEPTS = (
    "Packet", "Header", "Segment", "Interface", "Device", "Route", "FlowKey", "Endpoint", "Tcb", "Connection", "Stack",
    "Driver", "Event", "Drop",
)  # fmt: skip
FOLDERS = ("ustack", "native", "tests", "tools", "docs", ".ci")

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def package_names() -> list[str]:
    """The packages and modules right under ustack/, as they are written in a text."""
    entries = sorted((ROOT / "ustack").iterdir())
    modules = [path.name for path in entries if path.suffix == ".py" and path.stem != "__init__"]
    return modules + [f"{path.name}/" for path in entries if (path / "__init__.py").exists()]


@pytest.mark.parametrize("name", package_names())
def test_the_architecture_page_names_every_package_and_module(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_every_concept_has_a_line_in_the_glossary(concept: str) -> None:
    lines = (ROOT / "docs" / "glossary.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith(f"- **{concept}**: ")]) == 1


def test_the_glossary_is_in_alphabetical_order() -> None:
    words = re.findall(r"^- \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert words == sorted(words, key=str.lower)


@documents
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@documents
def test_files_that_documents_name_exist(document: Path) -> None:
    paths = re.findall(rf"`((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]+)`", document.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.splitlines()[0])
def test_the_examples_of_the_readme_run(example: str) -> None:
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})


def test_the_readme_names_every_command() -> None:
    table = (ROOT / "README.md").read_text().partition("## The command `ustack`")[2]
    assert [command for command in COMMANDS if f"`{command}" not in table] == []

"""Commands under test see no stacks but those of their own test or class of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import namespace_refusal
from ustack.cli import output


@pytest.fixture(autouse=True, scope="class")
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(path))
        patch.setattr(output.console, "width", 200)
        yield path


@pytest.fixture(scope="session")
def device() -> None:
    """What needs a TUN device asks for this."""
    refusal = namespace_refusal()
    if refusal:
        pytest.skip(f"this machine grants no TUN device in a namespace: {refusal}")

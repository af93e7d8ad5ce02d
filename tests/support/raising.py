"""`raises_errno`: expect an OSError with one errno."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def raises_errno(number: int) -> Iterator[None]:
    """Fail unless the body raises an OSError whose errno is `number`."""
    with pytest.raises(OSError, match=rf"^\[Errno {number}\]") as caught:
        yield
    assert caught.value.errno == number

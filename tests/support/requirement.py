"""`requirement`: ties a test to the requirement that it proves."""

from __future__ import annotations

import pytest


def requirement(document: str, identifier: str) -> pytest.MarkDecorator:
    """Mark a test as proof of a requirement, such as `requirement("RFC9293", "MUST-10")`; several may be stacked."""
    return pytest.mark.requirement(document, identifier)

"""For all tests: Hypothesis' profiles, and what coverage does not look at.

The profile `ci` gives the same examples each time, `dev` looks further, `nightly` much further.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "nightly", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

UNMEASURED = frozenset({"interop", "scenarios"})
"""Folders whose tests run whole transfers: slow under coverage, and what they prove is not that a line was reached."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep coverage out of the long runs."""
    folder = config.rootpath / "tests"
    for item in items:
        if folder in item.path.parents and item.path.relative_to(folder).parts[0] in UNMEASURED:
            item.add_marker("no_cover")

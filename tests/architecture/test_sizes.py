"""The sizes that keep the code readable: one table, and a list of waivers with their reasons."""

import statistics

import pytest

from tests.architecture import sizes
from tests.architecture.sizes import Size

WAIVERS: dict[str, str] = {}
"""`path` or `path:function` → why it may be longer than the hard limit."""

MEASURES = {
    "Python function": (12, 35, 60, lambda: sizes.python_functions("ustack")),
    "Python file": (200, 400, 600, lambda: sizes.files("ustack", "*.py")),
    "C function": (25, 60, 100, lambda: sizes.c_functions("native")),
}
"""median, 90th percentile, hard limit, what is measured."""


def over(limit: int, measured: list[Size]) -> list[str]:
    return [f"{size.name}: {size.lines} lines" for size in measured if size.lines > limit and size.name not in WAIVERS]


@pytest.mark.parametrize("measure", MEASURES)
def test_nothing_is_longer_than_its_hard_limit(measure: str) -> None:
    _, _, limit, measured = MEASURES[measure]
    assert over(limit, measured()) == []


@pytest.mark.parametrize("measure", MEASURES)
def test_median_and_ninetieth_percentile_are_short(measure: str) -> None:
    median, ninetieth, _, measured = MEASURES[measure]
    lines = sorted(size.lines for size in measured())
    assert statistics.median(lines) <= median
    assert statistics.quantiles(lines, n=10)[-1] <= ninetieth


def test_no_test_file_is_longer_than_800_lines() -> None:
    assert over(800, sizes.files("tests", "*.py")) == []


def test_every_waiver_is_still_needed() -> None:
    limits = {
        size.name: limit for _, _, limit, measured in MEASURES.values() for size in measured() if size.lines > limit
    }
    assert set(WAIVERS) <= set(limits)

"""Some rows of docs/scenarios.md, run again: tools/scenarios --check runs all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ustack.lab.scenario import Scenario, run
from ustack.lab.scenario_suite import pairs, row, single_flows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scenarios.md"
SAMPLE = [*list(single_flows())[::31], *list(pairs())[::7]]


@pytest.mark.parametrize("scenario", SAMPLE, ids=lambda scenario: "-".join(scenario.controllers))
def test_the_page_says_what_becomes_of_a_scenario(scenario: Scenario) -> None:
    assert row(scenario, run(scenario)) in PAGE.read_text(encoding="utf-8").splitlines(), "run tools/scenarios"


def test_the_page_has_a_row_for_each_scenario() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    heads = 2
    assert len(rows) == len(list(single_flows())) + len(list(pairs())) + heads

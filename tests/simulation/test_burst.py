"""The shipped scenario of a burst: what cannot be answered in time is refused, and everything else is as always."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness.core.decode import decode
from harness.core.judge import judge
from harness.core.scenario import Scenario
from harness.core.verdict import Outcome
from tests.simulation.test_simulated import play

BURST = Path(__file__).parents[2] / "scenarios" / "load" / "burst.toml"


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_burst_costs_nobody_an_answer_in_time(seed: int, tmp_path: Path) -> None:
    scenario = decode(Scenario, tomllib.loads(BURST.read_text("utf-8")))
    (case,) = judge("run", play(scenario, seed, tmp_path)).cases
    assert case.outcome is Outcome.PASS, [finding.text for finding in case.findings]
    assert case.figures["burst_goodput_share"] >= 0.95
    assert case.figures["replies_late"] == 0

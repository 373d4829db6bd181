"""Figures: the vocabulary of bounds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.core.figures import FIGURES, Figure
from harness.core.judge import check_expectations, judge
from harness.core.scenario import DISTANCES, Bound, MemoryPlan
from harness.errors import ScenarioError

if TYPE_CHECKING:
    from tests.sample_journals import Samples


@pytest.mark.parametrize("figure", FIGURES.values(), ids=lambda figure: figure.name)
def test_a_figure_says_what_it_is(figure: Figure) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", figure.name)
    assert figure.what.endswith(".")
    assert len(figure.what.split()) > 3
    assert set(figure.distances) <= set(DISTANCES)
    assert figure.distances


@pytest.mark.parametrize("figure", FIGURES.values(), ids=lambda figure: figure.name)
def test_a_name_tells_the_unit(figure: Figure) -> None:
    words = figure.name.split("_")
    assert (figure.unit == "ms") == ("ms" in words)
    assert (figure.unit == "s") == (words[-1] == "s" and "per" not in words)


def test_every_figure_is_computed_by_some_case(samples: Samples) -> None:
    seen = {name for case in judge("run", [*samples.everything(), *samples.burst()]).cases for name in case.figures}
    assert seen == set(FIGURES)


def test_a_misspelt_figure_is_refused_with_a_suggestion(samples: Samples) -> None:
    scenario = samples.scenario(expect={"mesages_lost": Bound(max=0)})
    with pytest.raises(
        ScenarioError, match=r"\$.expect: unknown figure 'mesages_lost' \(did you mean 'messages_lost'\?\)"
    ):
        check_expectations(scenario)


def test_a_bound_that_is_never_measured_is_refused(samples: Samples) -> None:
    scenario = samples.scenario(distances=("simulated",), expect={"steps_done": Bound(min=1)})
    with pytest.raises(ScenarioError, match="measured at browser only, but the scenario runs at simulated"):
        check_expectations(scenario)


def test_a_leak_bound_needs_a_leak_check(samples: Samples) -> None:
    expect = {"leaks_found": Bound(max=0)}
    with pytest.raises(ScenarioError, match=r"no \[memory\]"):
        check_expectations(samples.scenario(expect=expect))
    check_expectations(samples.scenario(expect=expect, memory=MemoryPlan()))

"""Baselines: what may fail a comparison, and what one run cannot know."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.adapters import baselines
from harness.core.baseline import Change, Comparison, baseline_of, compare
from harness.core.judge import CaseVerdict, Outcome, Verdict, judge
from harness.core.scenario import Bound
from harness.errors import NoVerdictError, UsageError

if TYPE_CHECKING:
    from tests.sample_journals import Samples


@pytest.fixture
def verdict(samples: Samples) -> Verdict:
    return judge("run-1", samples.run(samples.chat(), samples.chat(distance="wired"), samples.leak(), samples.page()))


def changed(verdict: Verdict, place: int, **figures: float | None) -> Verdict:
    """The same run with other figures in one case; None takes a figure away."""
    case = verdict.cases[place]
    kept = {**case.figures, **figures}
    one: CaseVerdict = replace(case, figures={name: value for name, value in kept.items() if value is not None})
    return replace(verdict, cases=(*verdict.cases[:place], one, *verdict.cases[place + 1 :]))


def change_of(found: Comparison, figure: str, distance: str) -> Change:
    (row,) = [
        row for row in found.rows if (row.figure, row.distance) == (figure, distance) and row.case != "leaks/leaky-bot"
    ]
    return row.change


def test_a_run_is_the_same_as_its_own_baseline(verdict: Verdict) -> None:
    base = json.loads(json.dumps(baseline_of(verdict), allow_nan=False))
    found = compare(verdict, base)
    assert (found.outcome, found.exit_code, found.reasons) == (Outcome.PASS, 0, ())
    assert {row.change for row in found.rows} == {Change.SAME}
    assert len(found.rows) == sum(len(case.figures) for case in verdict.cases)


SIMULATED, WIRED = 0, 1


@pytest.mark.parametrize(
    ("place", "figure", "factor", "expected", "code"),
    [
        pytest.param(
            SIMULATED, "response_ms_p95", 1.02, Change.WORSE, 1, id="virtual time repeats: a little worse is worse"
        ),
        pytest.param(SIMULATED, "response_ms_p95", 0.98, Change.BETTER, 0, id="virtual time: better"),
        pytest.param(SIMULATED, "messages_sent", 1.1, Change.CHANGED, 4, id="it repeats: somebody must look"),
        pytest.param(WIRED, "messages_sent", 1.1, Change.NOT_JUDGED, 0, id="neither direction is better"),
        pytest.param(SIMULATED, "messages_answered", 0.9, Change.WORSE, 1, id="more is better"),
        pytest.param(WIRED, "response_ms_p95", 1.5, Change.NOT_JUDGED, 0, id="a time may be noise"),
        pytest.param(
            WIRED, "response_ms_p95", 2.5, Change.INCONCLUSIVE, 4, id="a time far worse is no proof, but said"
        ),
        pytest.param(WIRED, "response_ms_p95", 0.1, Change.NOT_JUDGED, 0, id="a time far better"),
        pytest.param(WIRED, "messages_per_s", 0.4, Change.INCONCLUSIVE, 4, id="a rate far worse"),
    ],
)
def test_what_a_change_means(
    verdict: Verdict, place: int, figure: str, factor: float, *, expected: Change, code: int
) -> None:
    base = baseline_of(verdict)
    case = verdict.cases[place]
    found = compare(changed(verdict, place, **{figure: case.figures[figure] * factor}), base)
    assert change_of(found, figure, case.distance) is expected
    assert found.exit_code == code
    if code:
        assert figure in found.reasons[0]


def test_lost_messages_are_worse_at_every_distance(verdict: Verdict) -> None:
    found = compare(changed(verdict, WIRED, messages_lost=1.0), baseline_of(verdict))
    assert (found.outcome, found.exit_code) == (Outcome.FAIL, 1)
    assert found.reasons == ("smoke/chat wired: worse: messages_lost was 0, is 1",)


def test_memory_repeats_within_a_margin_on_one_machine(verdict: Verdict) -> None:
    base = baseline_of(verdict)
    blocks = verdict.cases[2].figures["blocks_per_message"]
    assert compare(changed(verdict, 2, blocks_per_message=blocks + 0.01), base).exit_code == 0
    assert compare(changed(verdict, 2, blocks_per_message=blocks + 0.1), base).exit_code == 1


def test_a_figure_that_went_missing_is_worse_or_inconclusive(verdict: Verdict) -> None:
    base = baseline_of(verdict)
    assert (
        change_of(compare(changed(verdict, SIMULATED, messages_lost=None), base), "messages_lost", "simulated")
        is Change.WORSE
    )
    gone = compare(changed(verdict, WIRED, response_ms_p50=None), base)
    assert change_of(gone, "response_ms_p50", "wired") is Change.INCONCLUSIVE


def test_a_new_figure_has_no_baseline(verdict: Verdict) -> None:
    base = baseline_of(changed(verdict, SIMULATED, messages_lost=None))
    found = compare(verdict, base)
    assert change_of(found, "messages_lost", "simulated") is Change.NO_BASELINE
    assert found.exit_code == 0


def edited(base: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**base, **changes}


def test_another_schema_is_not_read(verdict: Verdict) -> None:
    found = compare(verdict, edited(baseline_of(verdict), schema=99))
    assert (found.rows, found.exit_code) == ((), 4)
    assert "schema 99" in found.reasons[0]


def test_another_machine_is_no_verdict_but_what_repeats_everywhere_is_compared(verdict: Verdict) -> None:
    base = baseline_of(verdict)
    other = edited(base, machine={**base["machine"], "cores": 64})
    found = compare(verdict, other)
    assert (found.outcome, found.exit_code) == (Outcome.NO_VERDICT, 4)
    assert found.reasons[0].startswith("another machine")
    assert change_of(found, "response_ms_p95", "wired") is Change.NOT_COMPARABLE
    assert change_of(found, "response_ms_p95", "simulated") is Change.SAME
    assert change_of(found, "messages_lost", "wired") is Change.SAME
    assert compare(changed(verdict, WIRED, messages_lost=1.0), other).exit_code == 1


def test_every_case_is_compared_with_its_own_machine(verdict: Verdict, tmp_path: Path) -> None:
    assert verdict.machine is not None
    elsewhere = replace(verdict, machine=replace(verdict.machine, cores=64))
    # The simulated case was blessed here, the wired one on another machine only.
    baselines.keep(replace(verdict, cases=verdict.cases[:1]), tmp_path)
    baselines.keep(replace(elsewhere, cases=verdict.cases[1:2]), tmp_path)
    for now in (verdict, elsewhere):
        mixed = replace(now, cases=verdict.cases[:2])
        base = baselines.belonging(mixed, [tmp_path])
        found = compare(mixed, base)
        cores = [case["machine"]["cores"] for case in base["cases"].values()]
        assert cores == [2, 64]
        same = now is elsewhere
        assert change_of(found, "response_ms_p95", "wired") is (Change.SAME if same else Change.NOT_COMPARABLE)
        assert change_of(found, "response_ms_p95", "simulated") is Change.SAME
        assert [reason for reason in found.reasons if reason.startswith("another machine")] == list(found.reasons)
        assert (found.exit_code, len(found.reasons)) == (4, 1)


def test_a_changed_scenario_is_not_comparable(samples: Samples) -> None:
    before = judge("run-1", samples.chat())
    case = before.cases[0]
    assert case.scenario is not None
    longer = replace(before, cases=(replace(case, scenario=replace(case.scenario, duration_s=99.0)),))
    found = compare(longer, baseline_of(before))
    assert found.exit_code == 4
    assert found.reasons == ("smoke/chat simulated: the scenario has changed since the baseline",)
    assert {row.change for row in found.rows} == {Change.NOT_COMPARABLE}
    # Other words and other bounds change nothing that is measured.
    worded = replace(case.scenario, why="other words", expect={"messages_lost": Bound(max=0)})
    assert compare(replace(before, cases=(replace(case, scenario=worded),)), baseline_of(before)).exit_code == 0


def test_another_seed_is_not_comparable(samples: Samples) -> None:
    base = baseline_of(judge("run-1", samples.chat(seed=7)))
    found = compare(judge("run-2", samples.chat(seed=8)), base)
    assert found.reasons == ("smoke/chat simulated: seed 8, the baseline has 7",)


def test_cases_that_are_missing_on_either_side_are_named(samples: Samples) -> None:
    both = judge("run-1", samples.run(samples.chat(), samples.page()))
    only = judge("run-2", samples.run(samples.chat()))
    assert compare(only, baseline_of(both)).reasons == ("smoke/page browser is in the baseline, but not in this run",)
    found = compare(both, baseline_of(only))
    assert "smoke/page browser: no baseline" in found.reasons
    assert change_of(found, "steps_done", "browser") is Change.NO_BASELINE


def test_what_never_happened_survives_the_file(verdict: Verdict) -> None:
    never = changed(verdict, SIMULATED, recovery_s=math.inf)
    base = json.loads(json.dumps(baseline_of(never), allow_nan=False))
    assert compare(never, base).exit_code == 0
    assert (
        change_of(compare(changed(verdict, SIMULATED, recovery_s=3.0), base), "recovery_s", "simulated")
        is Change.BETTER
    )


def test_only_a_run_that_passes_becomes_a_baseline(samples: Samples) -> None:
    with pytest.raises(NoVerdictError, match="smoke/chat simulated is fail, not pass"):
        baseline_of(judge("run-1", samples.chat(lost=1)))
    with pytest.raises(NoVerdictError, match="holds no case"):
        baseline_of(judge("run-1", []))


def test_a_case_without_a_verdict_is_not_compared(samples: Samples) -> None:
    base = baseline_of(judge("run-1", samples.chat()))
    found = compare(judge("run-2", samples.chat()[:-1]), base)
    assert (found.rows, found.exit_code) == ((), 4)
    assert "has no verdict of its own" in found.reasons[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "no baseline", id="no JSON"),
        pytest.param('{"schema": 1, "cases": []}', "no table of cases", id="a report"),
        pytest.param('{"cases": {"a": {}}}', "the case 'a' has no table of figures", id="no figures"),
        pytest.param('{"cases": {"a": {"figures": {"x": "7"}}}}', "figures that are numbers", id="a text"),
        pytest.param('{"cases": {"a": {"figures": {"x": NaN}}}}', "NaN is no figure", id="not a number"),
        pytest.param('{"cases": {"a": {"figures": {"x": Infinity}}}}', "Infinity is no figure", id="infinite"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        baselines.load(path)
    assert said in str(caught.value)

"""Retry budget, against a model that remembers every call."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.core.retry_budget import BUCKETS, BudgetConfig, Openings, RetryBudget

WINDOW_S = 10.0


class OpeningsModel(RuleBasedStateMachine):
    """Everything that ever began, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.latest = 1000.0
        self.openings = Openings(WINDOW_S)
        self.steps: list[int] = []
        self.open: list[int] = []

    def step(self) -> int:
        return math.floor(self.latest / (WINDOW_S / BUCKETS))

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 4.0, 9.5, 40.0, 1e6]) | st.floats(0, 12))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.latest = max(self.latest, self.now)
        self.openings.count(self.now)

    @rule(seconds=st.floats(0, 20))
    def the_clock_goes_back(self, seconds: float) -> None:
        self.now -= seconds

    @rule()
    def one_begins(self) -> None:
        self.open.append(self.openings.begin(self.now))
        self.steps.append(self.step())

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def one_ends(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.open) - 1))
        self.openings.end(self.now, self.open.pop(place))

    @invariant()
    def it_counts_what_is_open_or_recent(self) -> None:
        recent = [step for step in self.steps if step > self.step() - BUCKETS]
        old_and_open = [step for step in self.open if step <= self.step() - BUCKETS]
        assert self.openings.count(self.now) == len(recent) + len(old_and_open)
        assert self.openings.open == len(self.open)


TestOpenings = OpeningsModel.TestCase
TestOpenings.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_few_calls_have_the_small_minimum() -> None:
    budget = RetryBudget(BudgetConfig())
    for _ in range(3):
        assert budget.refusal(0.0) == ""
        budget.granted(0.0)
    assert budget.refusal(0.0) == "budget"
    assert (budget.retries(0.0), budget.retries_max(0.0)) == (3, 3)


def test_many_calls_have_their_share() -> None:
    budget = RetryBudget(BudgetConfig(share=0.2))
    calls = [budget.began(0.0) for _ in range(100)]
    granted = 0
    while not budget.refusal(0.0):
        budget.granted(0.0)
        granted += 1
    assert granted == 20
    for call in calls:
        budget.over(0.0, call)
    assert budget.retries_max(5.0) == 20, "calls that are over count while they are recent"
    assert budget.retries_max(11.0) == 3, "and then no more"


def test_a_retry_that_sleeps_counts_however_long() -> None:
    budget = RetryBudget(BudgetConfig())
    sleeping = [budget.granted(0.0) for _ in range(3)]
    assert budget.refusal(1_000.0) == "budget"
    budget.retried(1_000.0, sleeping[0])
    assert budget.refusal(1_000.0) == ""


def test_half_an_empty_purse_stops_retries_until_successes_fill_it() -> None:
    budget = RetryBudget(BudgetConfig(tokens_max=10))
    for failures in range(5):
        assert budget.refusal(0.0) == "", failures
        budget.note(ok=False)
    assert budget.refusal(0.0) == "tokens"
    budget.note(ok=True)
    assert budget.refusal(0.0) == ""
    for _ in range(100):
        budget.note(ok=False)
    assert budget.tokens == 0.0
    for _ in range(1_000):
        budget.note(ok=True)
    assert budget.tokens == 10.0
    assert budget.calls_open == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"share": -0.1}, "share must be from 0 to 1, got -0.1"),
        ({"share": math.nan}, "share must be from 0 to 1, got nan"),
        ({"retries_min": -1}, "retries_min must be at least 0, got -1"),
        ({"window_s": 0.0}, "window_s must be a number above 0, got 0.0"),
        ({"tokens_max": math.inf}, "tokens_max must be a number above 0, got inf"),
        ({"tokens_a_success": -1.0}, "tokens_a_success must be a number above 0, got -1.0"),
        ({"tokens_a_failure": math.nan}, "tokens_a_failure must be a number above 0, got nan"),
    ],
)
def test_an_impossible_budget_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BudgetConfig(**wrong)  # type: ignore[arg-type]

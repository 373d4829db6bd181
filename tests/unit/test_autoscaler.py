"""The scaler: a table of stories, and a naive model that keeps everything and searches it from end to end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from harness.core.scaling import PerBot, Target, Whole, propose
from harness.services.autoscaler import CHANGES_MAX, Autoscaler, Decision, Policy, ScalerConfig

ONE = {"load": Target(value=10)}
FREE = (Policy(kind="percent", value=10_000, period_s=1), Policy(kind="count", value=100, period_s=1))


def config(**changes: object) -> ScalerConfig:
    """Give a scaler without brakes, but for the ones that are named."""
    plain: dict[str, object] = {
        "targets": ONE,
        "bots_max": 20,
        "down_window_s": 0.0,
        "up_policies": FREE,
        "down_policies": FREE,
    }
    return ScalerConfig(**{**plain, **changes})  # type: ignore[arg-type]


def load(each: float | None, bots: int) -> Mapping[str, PerBot | Whole]:
    return {"load": PerBot([each] * bots)}


def follow(scaler: Autoscaler, steps: Sequence[tuple[float, float | None]], current: int) -> list[int]:
    """Play (moment, load of all together); every decision is carried out at once."""
    numbers = []
    for now, total in steps:
        each = None if total is None else total / current
        current = scaler.decide(now, current, load(each, current)).wanted
        numbers.append(current)
    return numbers


def shrinks(steps: Sequence[tuple[float, float | None]], numbers: list[int]) -> list[float]:
    """Give the moments at which the number fell."""
    moments = [now for now, _ in steps[1:]]
    return [now for now, (before, after) in zip(moments, pairwise(numbers), strict=True) if after < before]


# --- The formula and its bounds ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("current", "each", "wanted", "reason", "limited_by"),
    [
        pytest.param(2, 20.0, 4, "above-target", None, id="twice the target doubles"),
        pytest.param(4, 5.0, 2, "below-target", None, id="half of it halves"),
        pytest.param(4, 10.9, 4, "on-target", None, id="the tolerance"),
        pytest.param(10, 50.0, 20, "above-target", "max", id="no more than bots_max"),
        pytest.param(4, 0.0, 1, "below-target", "min", id="no fewer than bots_min"),
        pytest.param(25, 99.0, 20, "out-of-bounds", None, id="too many are too many whatever they do"),
        pytest.param(0, None, 1, "out-of-bounds", None, id="too few are too few"),
        pytest.param(4, None, 4, "missing-data", None, id="without data nothing changes"),
    ],
)
def test_one_decision(current: int, each: float | None, wanted: int, reason: str, limited_by: str | None) -> None:
    decision = Autoscaler(config()).decide(0.0, current, load(each, current))
    assert (decision.wanted, decision.before, decision.reason) == (wanted, current, reason)
    assert decision.limited_by == limited_by


def test_the_most_of_all_metrics_counts() -> None:
    both = config(targets={"load": Target(value=10), "wait_s": Target(value=2)})
    decision = Autoscaler(both).decide(0.0, 4, {"load": PerBot([5.0] * 4), "wait_s": Whole(3.0, 4)})
    assert [proposal.wanted for proposal in decision.proposals] == [2, 6]
    assert decision.wanted == 6


# --- Missing data -----------------------------------------------------------------------------------------------------
TWO = {"load": Target(value=10), "wait_s": Target(value=2)}


def test_one_missing_metric_holds_every_shrink_and_no_growth() -> None:
    scaler = Autoscaler(config(targets=TWO))
    held = scaler.decide(0.0, 4, {"load": PerBot([1.0] * 4)})
    assert (held.wanted, held.reason, held.limited_by, held.unlimited) == (4, "missing-data", "missing-data", 1)
    grown = scaler.decide(1.0, 4, {"load": PerBot([20.0] * 4), "wait_s": Whole(None, 4)})
    assert (grown.wanted, grown.reason, grown.limited_by) == (8, "above-target", None)


def test_a_window_with_a_hole_in_it_does_not_shrink() -> None:
    scaler = Autoscaler(config(down_window_s=300.0))
    steps = [(float(now), None if 250 <= now < 300 else 10.0) for now in range(0, 700, 10)]
    numbers = follow(scaler, steps, 4)
    assert numbers[59 - 1] == 4
    assert numbers[-1] == 1
    assert [now for (now, _), (before, after) in zip(steps[1:], pairwise(numbers), strict=True) if after < before] == [
        590
    ]


def test_after_some_failures_in_a_row_there_is_one_fallback_and_it_only_grows() -> None:
    scaler = Autoscaler(config(targets=TWO, fallback=6, failures_max=3))
    full: Mapping[str, PerBot | Whole] = {"load": PerBot([10.0] * 4), "wait_s": Whole(2.0, 4)}
    half: Mapping[str, PerBot | Whole] = {"load": PerBot([10.0] * 4)}
    numbers = [scaler.decide(now, 4, readings).wanted for now, readings in enumerate([half, half, full, half, half])]
    assert numbers == [4] * 5, "a success in between starts the count again"
    decision = scaler.decide(5.0, 4, half)
    assert (decision.wanted, decision.reason) == (6, "fallback")
    idle: Mapping[str, PerBot | Whole] = {"load": PerBot([1.0] * 8)}
    for readings in ({}, half, idle):
        held = scaler.decide(6.0, 8, readings)
        assert (held.wanted, held.reason) == (8, "missing-data"), "fewer than there are it never wants"
    grown = scaler.decide(7.0, 4, {"load": PerBot([25.0] * 4)})
    assert (grown.wanted, grown.reason) == (10, "above-target"), "what is known may want more"
    assert scaler.decide(8.0, 4, full).reason == "on-target"


# --- Activation -------------------------------------------------------------------------------------------------------
def test_nothing_to_do_needs_nobody_and_the_first_task_wakes_one() -> None:
    lazy = config(targets={"queue": Target(value=10, activation=0)}, bots_min=0)
    scaler = Autoscaler(lazy)
    asleep = scaler.decide(0.0, 1, {"queue": Whole(0.0, 1)})
    assert (asleep.wanted, asleep.reason, asleep.limited_by) == (0, "inactive", None)
    awake = scaler.decide(1.0, 0, {"queue": Whole(1.0, 0)})
    assert (awake.wanted, awake.reason) == (1, "above-target")


def test_a_share_of_nothing_does_not_keep_the_first_one_out() -> None:
    lazy = config(bots_min=0, targets={"queue": Target(value=1)}, up_policies=(FREE[0],))
    decision = Autoscaler(lazy).decide(0.0, 0, {"queue": Whole(9.0, 0)})
    assert (decision.wanted, decision.limited_by) == (1, "up-policy")


# --- Windows ----------------------------------------------------------------------------------------------------------
def test_to_shrink_the_largest_wish_of_the_window_counts() -> None:
    scaler = Autoscaler(config(down_window_s=300.0))
    steps = [(0.0, 80.0), (100.0, 20.0), (200.0, 40.0), (299.0, 20.0), (300.0, 20.0), (500.0, 20.0), (600.0, 20.0)]
    assert follow(scaler, steps, 8) == [8, 8, 8, 8, 4, 2, 2]


def test_the_number_at_the_start_counts_as_wished() -> None:
    scaler = Autoscaler(config(down_window_s=300.0))
    first = scaler.decide(0.0, 8, load(1.0, 8))
    assert (first.wanted, first.limited_by, first.unlimited) == (8, "down-window", 1)
    assert scaler.decide(299.9, 8, load(1.0, 8)).wanted == 8
    assert scaler.decide(300.0, 8, load(1.0, 8)).wanted == 1


def test_to_grow_the_smallest_wish_of_the_window_counts() -> None:
    scaler = Autoscaler(config(up_window_s=60.0))
    assert scaler.decide(0.0, 2, load(50.0, 2)).limited_by == "up-window"
    assert [
        scaler.decide(now, 2, load(each, 2)).wanted for now, each in [(30.0, 20.0), (60.0, 50.0), (90.0, 50.0)]
    ] == [
        2,
        4,
        10,
    ]


# --- Policies ---------------------------------------------------------------------------------------------------------
def test_by_default_it_doubles_or_adds_four_within_15_seconds() -> None:
    scaler = Autoscaler(ScalerConfig(targets=ONE, bots_max=100))
    assert follow(scaler, [(float(now), 10_000.0) for now in range(0, 61, 5)], 1) == [
        *([5] * 4),
        *([10] * 4),
        *([20] * 4),
        40,
    ], "a change counts from when it is seen, 5 s later"


def test_by_default_it_takes_one_away_each_minute_after_five() -> None:
    scaler = Autoscaler(ScalerConfig(targets=ONE, bots_max=100))
    steps = [(float(now), 0.0) for now in range(0, 500, 20)]
    numbers = follow(scaler, steps, 4)
    assert shrinks(steps, numbers) == [300.0, 380.0, 460.0], "a change is seen when it is there, 20 s later"
    assert numbers[-1] == 1


THREE = Policy(kind="count", value=3, period_s=60)
HALF = Policy(kind="percent", value=50, period_s=60)


@pytest.mark.parametrize(
    ("policies", "wanted"),
    [
        pytest.param((Policy(kind="percent", value=10, period_s=60),), 11, id="ten percent of ten is one, not two"),
        pytest.param((Policy(kind="percent", value=11, period_s=60),), 12, id="a share is rounded up"),
        pytest.param((THREE,), 13, id="a count"),
        pytest.param((THREE, HALF), 15, id="most"),
        pytest.param((), 10, id="none: never"),
    ],
)
def test_how_many_more(policies: tuple[Policy, ...], wanted: int) -> None:
    decision = Autoscaler(config(up_policies=policies)).decide(0.0, 10, load(100.0, 10))
    assert (decision.wanted, decision.limited_by) == (wanted, "up-policy")


@pytest.mark.parametrize(
    ("policies", "wanted"),
    [
        pytest.param((Policy(kind="percent", value=10, period_s=60),), 9, id="ten percent of ten is one"),
        pytest.param((Policy(kind="percent", value=15, period_s=60),), 8, id="what stays is rounded down"),
        pytest.param((THREE,), 7, id="a count"),
        pytest.param((THREE, HALF), 5, id="most"),
        pytest.param((), 10, id="none: never"),
    ],
)
def test_how_many_fewer(policies: tuple[Policy, ...], wanted: int) -> None:
    decision = Autoscaler(config(down_policies=policies)).decide(0.0, 10, load(0.0, 10))
    assert (decision.wanted, decision.limited_by) == (wanted, "down-policy")


def test_a_decision_that_is_not_carried_out_yet_is_made_again() -> None:
    scaler = Autoscaler(ScalerConfig(targets=ONE, bots_max=100))
    assert [scaler.decide(float(now), 2, load(90.0, 2)).wanted for now in range(5)] == [6] * 5


def test_changes_by_others_count() -> None:
    scaler = Autoscaler(config(up_policies=(Policy(kind="count", value=2, period_s=60),)))
    scaler.decide(0.0, 2, load(10.0, 2))
    assert scaler.decide(10.0, 4, load(90.0, 4)).wanted == 4, "somebody started two: that is all for a minute"
    assert scaler.decide(69.9, 4, load(90.0, 4)).wanted == 4
    assert scaler.decide(70.0, 4, load(90.0, 4)).wanted == 6


# --- Cooldown ---------------------------------------------------------------------------------------------------------
def test_after_any_change_every_shrink_waits() -> None:
    scaler = Autoscaler(config(cooldown_s=60.0))
    scaler.decide(0.0, 2, load(20.0, 2))
    held = scaler.decide(10.0, 4, load(1.0, 4))
    assert (held.wanted, held.limited_by) == (4, "cooldown")
    assert scaler.decide(69.9, 4, load(5.0, 4)).wanted == 4
    assert scaler.decide(70.0, 4, load(5.0, 4)).wanted == 2
    assert scaler.decide(75.0, 2, load(1.0, 2)).limited_by == "cooldown", "also after a shrink"
    assert scaler.decide(76.0, 2, load(20.0, 2)).wanted == 4, "growth does not wait"


# --- What cannot be meant ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("now", "current", "readings", "why"),
    [
        (math.nan, 2, {}, "now must be a finite number"),
        (math.inf, 2, {}, "now must be a finite number"),
        (1.0, -1, {}, "current must be a whole number"),
        (1.0, 2, {"other": Whole(1.0, 1)}, "'other' has no target"),
        (1.0, 2, {"load": PerBot([math.nan])}, "load must be a number of at least 0"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_remembered(
    now: float, current: int, readings: Mapping[str, PerBot | Whole], why: str
) -> None:
    scaler, other = (Autoscaler(config(cooldown_s=60.0, failures_max=1, fallback=9)) for _ in range(2))
    for one in (scaler, other):
        one.decide(0.0, 4, load(10.0, 4))
    with pytest.raises(ValueError, match=why):
        scaler.decide(now, current, readings)
    assert scaler.decide(2.0, 4, load(1.0, 4)) == other.decide(2.0, 4, load(1.0, 4))


def test_a_clock_that_steps_back_stands_still() -> None:
    scaler = Autoscaler(config(down_window_s=300.0))
    scaler.decide(1_000.0, 8, load(1.0, 8))
    assert scaler.decide(0.0, 8, load(1.0, 8)).wanted == 8
    assert scaler.decide(1_300.0, 8, load(1.0, 8)).wanted == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("targets", {}),
        ("bots_min", -1),
        ("bots_max", 0),
        ("tolerance", math.nan),
        ("up_window_s", -1.0),
        ("down_window_s", 3_601.0),
        ("cooldown_s", math.inf),
        ("failures_max", 0),
        ("fallback", -1),
    ],
)
def test_impossible_configs_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        config(**{field: value})


@pytest.mark.parametrize(("kind", "value", "period_s"), [("bots", 1, 1), ("count", 0, 1), ("percent", 1, math.inf)])
def test_impossible_policies_are_refused(kind: str, value: float, period_s: float) -> None:
    with pytest.raises(ValueError, match=r"^(kind|value|period_s) must"):
        Policy(kind=kind, value=value, period_s=period_s)  # type: ignore[arg-type]


def test_memory_is_bounded() -> None:
    scaler = Autoscaler(config(down_window_s=3_600.0, up_window_s=3_600.0))
    for number in range(3 * CHANGES_MAX):
        current = 2 + number % 7
        scaler.decide(number / 100, current, load(number % 23, current))
    assert len(scaler._changes) <= CHANGES_MAX
    assert sum(delta for _, delta in scaler._changes) == current - 2, "what is joined is not forgotten"
    assert len(scaler._lowest) <= 21
    assert len(scaler._highest) <= 21


# --- A naive model ----------------------------------------------------------------------------------------------------
class Naive:
    """What horizontal.go does, with lists: all wishes, all changes, searched every time."""

    def __init__(self, settings: ScalerConfig) -> None:
        self.config = settings
        self.wishes: list[tuple[float, int]] = []
        self.changes: list[tuple[float, int]] = []
        self.current: int | None = None
        self.failures = 0

    def decide(self, now: float, current: int, readings: Mapping[str, PerBot | Whole]) -> int:
        settings = self.config
        if self.current is None:
            self.wishes.append((now, current))
        elif self.current != current:
            self.changes.append((now, current - self.current))
        self.current = current
        asked = [
            propose(name, target, settings.tolerance, current, readings.get(name)).wanted
            for name, target in settings.targets.items()
        ]
        self.failures = self.failures + 1 if None in asked else 0
        if current < settings.bots_min:
            return settings.bots_min
        if current > settings.bots_max:
            return settings.bots_max
        known = [number for number in asked if number is not None]
        wish = max(known) if known else current
        if None in asked:
            wish = max(wish, current)
            if settings.fallback is not None and self.failures >= settings.failures_max:
                wish = max(wish, settings.fallback)
        wish = min(max(wish, settings.bots_min), settings.bots_max)
        # stabilizeRecommendationWithBehaviors
        up = min([wish, *(old for at, old in self.wishes if at > now - settings.up_window_s)])
        down = max([wish, *(old for at, old in self.wishes if at > now - settings.down_window_s)])
        self.wishes.append((now, wish))
        steady = current
        steady = max(steady, up)
        steady = min(steady, down)
        # convertDesiredReplicasWithBehaviorRate
        if steady > current:
            return min(steady, self.most(now, current))
        if steady < current:
            if self.changes and now - self.changes[-1][0] < settings.cooldown_s:
                return current
            return max(steady, self.fewest(now, current))
        return current

    def start(self, now: float, current: int, period_s: float) -> int:
        return current - sum(delta for at, delta in self.changes if at > now - period_s)

    def most(self, now: float, current: int) -> int:
        limits = []
        for policy in self.config.up_policies:
            start = self.start(now, current, policy.period_s)
            added = policy.value if policy.kind == "count" else start * policy.value / 100
            limits.append(math.ceil(round(start + added, 6)))
        return max(current, 1, *limits) if limits else current

    def fewest(self, now: float, current: int) -> int:
        limits = []
        for policy in self.config.down_policies:
            start = self.start(now, current, policy.period_s)
            gone = policy.value if policy.kind == "count" else start * policy.value / 100
            limits.append(math.floor(round(start - gone, 6)))
        return min(current, *limits) if limits else current


POLICY = st.builds(
    Policy,
    kind=st.sampled_from(["count", "percent"]),
    value=st.sampled_from([1, 2, 10, 50, 100]),
    period_s=st.sampled_from([15, 60]),
)


class ScalerWalk(RuleBasedStateMachine):
    """Any course of load, holes in the data, clocks and changes by others."""

    @initialize(
        up=st.lists(POLICY, max_size=2),
        down=st.lists(POLICY, max_size=2),
        waits=st.tuples(
            st.sampled_from([0.0, 30.0]), st.sampled_from([0.0, 60.0, 300.0]), st.sampled_from([0.0, 0.0, 45.0])
        ),
        least=st.tuples(st.sampled_from([None, 5]), st.integers(0, 2)),
    )
    def begin(
        self,
        up: list[Policy],
        down: list[Policy],
        waits: tuple[float, float, float],
        least: tuple[int | None, int],
    ) -> None:
        self.config = config(
            targets=TWO,
            up_policies=tuple(up),
            down_policies=tuple(down),
            up_window_s=waits[0],
            down_window_s=waits[1],
            cooldown_s=waits[2],
            fallback=least[0],
            bots_min=least[1],
            bots_max=12,
            failures_max=2,
        )
        self.scaler, self.naive = Autoscaler(self.config), Naive(self.config)
        self.now, self.current = 0.0, 3

    @rule(
        seconds=st.sampled_from([0.0, 1.0, 10.0, 15.0, 40.0, 200.0]),
        each=st.lists(st.one_of(st.none(), st.integers(0, 40)), min_size=12, max_size=12),
        wait_s=st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 5.0])),
        carried_out=st.booleans(),
    )
    def decide(self, seconds: float, each: list[int | None], wait_s: float | None, carried_out: bool) -> None:  # noqa: FBT001
        self.now += seconds
        readings: dict[str, PerBot | Whole] = {
            "load": PerBot(each[: self.current]),
            "wait_s": Whole(wait_s, self.current),
        }
        decision = self.scaler.decide(self.now, self.current, readings)
        assert decision.wanted == self.naive.decide(self.now, self.current, readings)
        self.judge(decision)
        if carried_out:
            self.current = decision.wanted

    @rule(bots=st.integers(0, 14))
    def somebody_else_changes_it(self, bots: int) -> None:
        self.current = bots

    def judge(self, decision: Decision) -> None:
        assert self.config.bots_min <= decision.wanted <= self.config.bots_max
        missing = any(proposal.wanted is None for proposal in decision.proposals)
        if missing and decision.before <= self.config.bots_max:
            assert decision.wanted >= decision.before, "missing data never shrinks"
        if decision.limited_by is None:
            assert decision.wanted == decision.unlimited
        else:
            assert decision.wanted != decision.unlimited


TestScalerWalk = ScalerWalk.TestCase
TestScalerWalk.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

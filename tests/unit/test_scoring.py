"""Scoring: values to points, smoothing by time, shares by evidence, contributions that add up."""

from __future__ import annotations

from math import exp, inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.scoring import COMPONENTS, Component, Contribution, Part, contributions, total

LATENCY = Component(name="latency", weight=1.0, best=100.0, worst=10_000.0, scale="log")
SHARE = Component(name="share", weight=1.0, best=0.97, worst=0.70)


@pytest.mark.parametrize(
    ("component", "value", "points"),
    [
        (SHARE, 0.97, 100.0),
        (SHARE, 1.0, 100.0),
        (SHARE, 0.835, 50.0),
        (SHARE, 0.7, 0.0),
        (SHARE, 0.0, 0.0),
        (LATENCY, 1_000.0, 50.0),
        (LATENCY, 0.0, 100.0),
        (LATENCY, 1e9, 0.0),
        (Component(name="cpu", weight=1.0, best=0.5, worst=1.0), 0.75, 50.0),
        (Component(name="rate", weight=1.0, best=100.0, worst=1.0, scale="log"), 0.0, 0.0),
    ],
)
def test_best_is_worth_a_hundred_and_worst_nothing_in_either_direction(
    component: Component, value: float, points: float
) -> None:
    assert component.points(value) == pytest.approx(points)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "name"),
        ({"weight": 0.0}, "weight"),
        ({"weight": inf}, "weight"),
        ({"weight": nan}, "weight"),
        ({"best": 1.0, "worst": 1.0}, "different"),
        ({"best": nan}, "different"),
        ({"worst": inf}, "different"),
        ({"scale": "log", "worst": 0.0}, "log"),
    ],
)
def test_a_component_that_cannot_be_judged_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Component(**{"name": "x", "weight": 1.0, "best": 1.0, "worst": 0.0, **changes})


def test_latency_weighs_more_than_cpu_in_the_shipped_components() -> None:
    weights = {component.name: component.weight for component in COMPONENTS}
    assert weights["latency_ms_p95"] >= 5 * weights["cpu_share"]
    assert sum(weights.values()) == pytest.approx(1.0)
    assert all(component.impact and component.action for component in COMPONENTS)


def note(part: Part, now: float, value: float, confidence: float = 1.0) -> None:
    part.note(now, value, tau_s=10.0, urgent_below=10.0, confidence=confidence)


def test_a_part_that_nobody_can_tell_is_unknown_until_somebody_can() -> None:
    part = Part(SHARE)
    note(part, 0.0, 0.97)
    assert part.known(5.0, 5.0)
    assert not part.known(5.1, 5.0)
    part.lose()
    assert not part.known(0.0, 5.0)
    assert (part.points, part.confidence) == (100.0, 0.0)
    note(part, 1.0, 0.97)
    assert part.known(1.0, 5.0)


def test_smoothing_weighs_by_time_and_not_by_the_number_of_values() -> None:
    often, once = Part(LATENCY), Part(LATENCY)
    for part in (often, once):
        note(part, 0.0, 100.0)
    for step in range(1, 11):
        note(often, float(step), 10_000.0)
    note(once, 10.0, 10_000.0)
    assert once.points == pytest.approx(100.0 * exp(-1.0))
    assert often.points == pytest.approx(once.points)
    note(once, 10.0, 100.0)  # No time has passed: it says nothing new.
    assert once.points == pytest.approx(100.0 * exp(-1.0))


def test_only_a_required_part_that_is_as_good_as_dead_is_not_smoothed() -> None:
    required = Part(Component(name="store", weight=1.0, best=1.0, worst=0.0, required=True))
    optional = Part(Component(name="store", weight=1.0, best=1.0, worst=0.0))
    for part in (required, optional):
        note(part, 0.0, 1.0)
        note(part, 1.0, 0.0)
    assert required.points == 0.0
    assert optional.points == pytest.approx(100.0 * exp(-0.1))
    note(required, 2.0, 1.0)  # The way back is smoothed: one good write is no recovery.
    assert required.points is not None
    assert required.points < 10.0


def prove(part: Part, now: float, good: float, cases: float) -> tuple[float, float] | None:
    """Take cases, as the score does it."""
    proved = part.share(now, good, cases, samples=100.0, samples_min=10.0, fade_s=300.0, z=1.645)
    if proved is not None:
        part.note(now, proved[0], tau_s=1.0, urgent_below=0.0, confidence=proved[1])
    return proved


def test_an_error_rate_without_traffic_is_no_evidence() -> None:
    part = Part(SHARE)
    assert prove(part, 0.0, 0, 9) is None
    assert prove(part, 1.0, 0, 0) is None
    proved = prove(part, 2.0, 0, 3)
    assert proved is not None
    assert proved[0] < 0.3


def test_one_error_in_twelve_is_no_alarm_and_ten_good_ones_are_no_recovery() -> None:
    part = Part(SHARE)
    alarmed = prove(part, 0.0, 11, 12)
    assert alarmed is not None
    assert alarmed[0] == 0.97  # The interval holds it still.
    for now in range(1, 20):
        prove(part, float(now), 0, 20)
    down = part.value
    assert down is not None
    assert down < 0.1
    up = prove(part, 20.0, 10, 10)
    assert up is not None
    assert down <= up[0] < 0.2


def test_many_good_cases_are_a_recovery_at_any_pace() -> None:
    for pause_s in (0.01, 2.0):
        part = Part(SHARE)
        prove(part, 0.0, 0, 50)
        for number in range(600):
            proved = prove(part, 1.0 + number * pause_s, 1, 1)
        assert proved is not None
        assert proved[0] > 0.95
        assert 0.9 < proved[1] <= 1.0


def test_old_cases_fade() -> None:
    part = Part(SHARE)
    assert prove(part, 0.0, 50, 50) is not None
    assert prove(part, 3_600.0, 1, 1) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 5_000), st.floats(0.0, 500.0)), max_size=40))
def test_the_cases_kept_are_bounded_and_the_share_is_one(batches: list[tuple[float, int, float]]) -> None:
    part, now = Part(SHARE), 0.0
    for quality, cases, wait_s in batches:
        now += wait_s
        proved = prove(part, now, float(int(cases * quality)), float(cases))
        assert 0.0 <= part._good <= part._total <= 100.0 + 1e-6
        if proved is not None:
            assert 0.0 <= proved[0] <= 1.0
            assert 0.0 <= proved[1] <= 1.0


# --- Contributions ----------------------------------------------------------------------------------------------------
def built(specs: list[tuple[float, float | None, bool, bool]]) -> list[Part]:
    """Parts of (weight, points or None, fresh, required)."""
    parts = []
    for number, (weight, points, fresh, required) in enumerate(specs):
        part = Part(Component(name=f"c{number}", weight=weight, best=100.0, worst=0.0, required=required))
        if points is not None:
            note(part, 100.0 if fresh else 0.0, points)
        parts.append(part)
    return parts


def shares(parts: list[Part]) -> tuple[Contribution, ...]:
    return contributions(parts, 100.0, stale_after_s=30.0, unknown_cap=60.0)


PARTS = st.lists(
    st.tuples(
        st.floats(0.001, 1_000.0),
        st.none() | st.floats(0.0, 100.0),
        st.booleans(),
        st.integers(0, 3).map(lambda number: number == 0),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=250, deadline=None)
@given(PARTS)
def test_contributions_add_up_to_the_score_exactly(specs: list[tuple[float, float | None, bool, bool]]) -> None:
    found = shares(built(specs))
    hundredths = [round(share.points * 100) for share in found]
    assert all(share.points == number / 100 for share, number in zip(found, hundredths, strict=True))
    assert total(found) == sum(hundredths) / 100
    assert 0.0 <= total(found) <= 100.0


@settings(max_examples=250, deadline=None)
@given(PARTS)
def test_the_score_is_the_mean_unless_something_required_is_worse(
    specs: list[tuple[float, float | None, bool, bool]],
) -> None:
    specs = [(weight, points, True, required) for weight, points, _, required in specs if points is not None]
    if not specs:
        return
    mean = sum(weight * (points or 0.0) for weight, points, _, _ in specs) / sum(weight for weight, *_ in specs)
    caps = [points or 0.0 for _, points, _, required in specs if required]
    assert total(shares(built(specs))) == pytest.approx(min([mean, *caps]), abs=0.011)


@settings(max_examples=250, deadline=None)
@given(PARTS, st.data())
def test_what_becomes_unknown_never_improves_the_score(
    specs: list[tuple[float, float | None, bool, bool]], data: st.DataObject
) -> None:
    lost = data.draw(st.integers(0, len(specs) - 1))
    weight, points, _, required = specs[lost]
    with_it = [*specs[:lost], (weight, points, True, required), *specs[lost + 1 :]]
    without = [*specs[:lost], (weight, points, False, required), *specs[lost + 1 :]]
    assert total(shares(built(without))) <= total(shares(built(with_it))) + 0.011  # Both are rounded.


def test_a_mean_does_not_hide_the_dead_part() -> None:
    found = shares(built([(0.8, 100.0, True, False), (0.2, 0.0, True, True)]))
    assert total(found) == 0.0
    assert [share.points for share in found] == [80.0, -80.0]
    assert [share.of for share in found] == pytest.approx([80.0, 20.0])


def test_what_was_never_known_counts_for_nothing_but_caps_where_it_is_required() -> None:
    found = shares(built([(1.0, 90.0, True, False), (9.0, None, False, False)]))
    assert (total(found), found[1].score, found[1].of, found[1].known) == (90.0, None, 0.0, False)
    found = shares(built([(1.0, 90.0, True, False), (9.0, None, False, True)]))
    assert total(found) == 60.0
    assert total(shares(built([(1.0, None, False, True)]))) == 0.0


def test_what_is_unknown_pulls_down_but_does_not_hold_up() -> None:
    assert total(shares(built([(1.0, 20.0, True, False), (1.0, 100.0, False, False)]))) == 20.0
    assert total(shares(built([(1.0, 80.0, True, False), (1.0, 20.0, False, False)]))) == 50.0


def test_when_everything_is_lost_the_worst_stands() -> None:
    assert total(shares(built([(1.0, 90.0, False, False), (1.0, 50.0, False, False)]))) == 50.0

"""Health score: what unknown data may do, the fast path, alerts, and how often it changes its mind about noise."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.bands import BandsConfig
from harness.core.scoring import Component, total
from harness.core.trend import TrendConfig
from harness.services.health_score import HealthScore, Score, ScoreConfig

LOAD = Component(name="load", weight=1.0, best=100.0, worst=0.0, impact="slow", action="add bots")
STORE = Component(name="store", weight=1.0, best=1.0, worst=0.0, required=True, impact="lost", action="make room")
SHARE = Component(name="share", weight=1.0, best=0.97, worst=0.7)
ONE = ScoreConfig(components=(LOAD,))
TWO = ScoreConfig(components=(LOAD, STORE))


def steady(score: HealthScore, *, seconds: range, load: float | None = 90.0, store: float | None = 1.0) -> Score:
    """Observe the same every second; the last evaluation."""
    for now in seconds:
        score.observe(float(now), "load", load)
        score.observe(float(now), "store", store)
        last = score.evaluate(float(now))
    return last


def test_it_is_unknown_until_everything_required_was_seen() -> None:
    score = HealthScore(TWO)
    empty = score.evaluate(0.0)
    assert (empty.level, empty.score, empty.confidence, empty.worst) == ("unknown", None, 0.0, "unknown")
    score.observe(1.0, "load", 90.0)
    half = score.evaluate(1.0)
    assert (half.level, half.score, half.confidence) == ("unknown", 60.0, 0.5)
    score.observe(2.0, "store", 1.0)
    whole = score.evaluate(2.0)
    assert (whole.level, whole.score, whole.confidence, whole.worst) == ("good", 95.0, 1.0, "good")
    assert whole.alerts == ()  # To begin well is no news.
    assert whole.moved is not None
    assert whole.moved.cause == "first"


def test_to_begin_badly_is_news() -> None:
    score = HealthScore(ONE)
    score.observe(0.0, "load", 10.0)
    first = score.evaluate(0.0)
    assert [alert.kind for alert in first.alerts] == ["moved"]
    assert first.level == "critical"


def test_a_dead_required_component_is_critical_at_the_very_next_evaluation() -> None:
    score = HealthScore(TWO)
    steady(score, seconds=range(100))
    score.observe(100.0, "load", 90.0)
    score.observe(100.0, "store", 0.0)
    found = score.evaluate(100.0)
    assert (found.level, found.score, found.worst) == ("critical", 0.0, "critical")
    assert found.moved is not None
    assert found.moved.cause == "urgent"
    assert found.impacts[0].component == "store"
    assert (found.impacts[0].severity, found.impacts[0].action) == ("critical", "make room")


def test_a_required_component_that_is_lost_caps_the_score_and_a_lost_optional_one_lowers_confidence() -> None:
    score = HealthScore(TWO)
    steady(score, seconds=range(100))
    lost = steady(score, seconds=range(100, 110), store=None)
    assert (lost.score, lost.worst, lost.level) == (60.0, "unknown", "degraded")
    score = HealthScore(TWO)
    steady(score, seconds=range(100))
    lost = steady(score, seconds=range(100, 110), load=None)
    assert lost.score is not None
    assert lost.score <= 95.0
    assert lost.confidence == 0.5


def test_a_component_that_nobody_reports_any_more_is_unknown_in_time() -> None:
    score = HealthScore(ONE)
    score.observe(0.0, "load", 90.0)
    assert score.evaluate(30.0).confidence == 1.0
    assert score.evaluate(30.1).confidence == 0.0
    assert score.evaluate(31.0).level == "good"  # It holds: not knowing is neither better nor worse.


def test_a_middling_required_component_is_degraded_by_itself() -> None:
    score = HealthScore(TWO)
    found = steady(score, seconds=range(1), store=0.5)
    assert (found.worst, found.score) == ("degraded", 50.0)
    assert HealthScore(ONE).evaluate(0.0).worst == "good"  # Nothing is required.


def test_a_share_moves_the_score_only_by_evidence() -> None:
    score = HealthScore(ScoreConfig(components=(SHARE,)))
    score.observe_rate(0.0, "share", 0, 3)
    assert score.evaluate(0.0).score is None
    score.observe_rate(1.0, "share", 20, 20)
    first = score.evaluate(1.0)
    assert first.score is not None
    score.observe_rate(2.0, "share", 0, 0)  # No traffic: it only gets older.
    assert score.evaluate(2.0).score == first.score
    quiet = HealthScore(ScoreConfig(components=(SHARE,)))
    quiet.observe_rate(0.0, "share", 20, 20)
    for now in range(1, 33):
        quiet.observe_rate(float(now), "share", 0, 0)
    assert quiet.evaluate(32.0).confidence == 0.0  # Asked again and again, but nothing was seen.
    for now in range(3, 60):
        score.observe_rate(float(now), "share", 0, 10)
        bad = score.evaluate(float(now))
    assert bad.level == "critical"
    assert bad.contributions[0].value is not None
    assert bad.contributions[0].value < 0.05


def fall(score: HealthScore, *, per_s: float, seconds: int) -> list[Score]:
    """Let the load's value fall from 100."""
    found = []
    for now in range(seconds):
        score.observe(float(now), "load", max(0.0, 100.0 - per_s * now))
        found.append(score.evaluate(float(now)))
    return found


def test_a_fall_is_forecast_before_the_threshold_and_once() -> None:
    found = fall(HealthScore(ONE), per_s=0.1, seconds=330)
    forecasts = [(at, alert) for at, one in enumerate(found) for alert in one.alerts if alert.kind == "forecast"]
    assert len(forecasts) == 1
    at, alert = forecasts[0]
    assert found[at].level == "good"
    assert found[at].threshold == 65.0
    # It falls 6 points a minute: what was told is about what was left.
    minutes = found[at].minutes_to_threshold
    assert minutes is not None
    assert minutes == pytest.approx(((found[at].score or 0.0) - 65.0) / 6.0, rel=0.2)
    assert "65" in alert.text


def test_the_threshold_is_the_next_one_in_the_direction_of_the_trend() -> None:
    config = ScoreConfig(components=(LOAD,), tau_s=0.1, trend=TrendConfig(every_s=1.0))
    seen = set()
    score = HealthScore(config)
    for now in range(800):
        value = 100.0 - now * 0.5 if now < 200 else (now - 200) * 0.2
        score.observe(float(now), "load", value)
        found = score.evaluate(float(now))
        if found.trend is not None:
            seen.add((found.level, found.trend.direction, found.threshold))
    assert ("good", "falling", 65.0) in seen
    assert ("degraded", "falling", 35.0) in seen
    assert ("critical", "rising", 50.0) in seen
    assert ("degraded", "rising", 75.0) in seen
    assert ("good", "rising", None) in seen
    assert ("critical", "falling", None) in seen


def test_flapping_is_told_once_and_holds_the_worse_level() -> None:
    bands = BandsConfig(bad_evaluations=1, good_evaluations=1, dwell_s=0.0)
    score = HealthScore(ScoreConfig(components=(LOAD,), tau_s=0.01, bands=bands))
    found = []
    for now in range(12):
        score.observe(float(now), "load", 90.0 if now % 2 == 0 else 55.0)
        found.append(score.evaluate(float(now)))
    assert [alert.kind for one in found for alert in one.alerts].count("flapping") == 1
    assert {one.level for one in found[4:]} == {"degraded"}
    assert found[-1].flapping


# --- How often it changes its mind ------------------------------------------------------------------------------------
HOURS, EVERY_S, NOISE = 6, 5, 6.0
"""Samples each 5 s, noise of 6 points."""


def changes(level_of: Callable[[float, float], str], true: float) -> int:
    """Count the changes of level in some hours of noise around a true value."""
    dice, before, count = Random(7), "", 0
    for step in range(HOURS * 3600 // EVERY_S):
        level = level_of(float(step * EVERY_S), min(100.0, max(0.0, dice.gauss(true, NOISE))))
        count += before not in ("", level)
        before = level
    return count


def naive(now: float, value: float) -> str:
    """One threshold."""
    del now
    return "degraded" if value < 65.0 else "good"


def scored() -> Callable[[float, float], str]:
    """The score of one component that is the value."""
    score = HealthScore(ONE)

    def level_of(now: float, value: float) -> str:
        score.observe(now, "load", value)
        return score.evaluate(now).level

    return level_of


@pytest.mark.parametrize(("true", "times"), [(65.0, 50), (61.0, 50), (70.0, 50)])
def test_it_flaps_many_times_less_than_one_threshold(true: float, times: int) -> None:
    by_threshold, by_score = changes(naive, true), changes(scored(), true)
    assert by_threshold > 100 * HOURS
    assert by_score * times < by_threshold, (by_threshold, by_score)


def test_the_price_is_a_later_notice_of_a_middling_fall_and_none_of_a_dead_store() -> None:
    score, late = HealthScore(TWO), 0
    steady(score, seconds=range(0, 600, EVERY_S))
    while steady(score, seconds=range(600 + late, 601 + late), load=0.0).level == "good":
        late += EVERY_S
    assert EVERY_S <= late <= 12 * EVERY_S
    score = HealthScore(TWO)
    steady(score, seconds=range(0, 600, EVERY_S))
    assert steady(score, seconds=range(600, 601), store=0.0).level == "critical"


# --- Whatever comes ---------------------------------------------------------------------------------------------------
OBSERVATIONS = st.lists(
    st.tuples(
        st.sampled_from((-5.0, 0.0, 0.5, 1.0, 10.0, 60.0)),
        st.sampled_from(("load", "store", "share")),
        st.none() | st.floats(-200.0, 200.0),
        st.integers(0, 50),
    ),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(OBSERVATIONS)
def test_whatever_is_observed_the_parts_add_up_and_the_rules_hold(
    steps: list[tuple[float, str, float | None, int]],
) -> None:
    score, now, before = HealthScore(ScoreConfig(components=(LOAD, STORE, SHARE))), 0.0, 0
    for wait_s, name, value, cases in steps:
        now += wait_s
        if name == "share":
            score.observe_rate(now, name, float(cases // 2), float(cases))
        else:
            score.observe(now, name, value)
        found = score.evaluate(now)
        assert 0.0 <= found.confidence <= 1.0 + 1e-9
        if found.score is None:
            assert found.level == "unknown"
            continue
        assert 0.0 <= found.score <= 100.0
        assert total(found.contributions) == found.score
        store = found.contributions[1].score
        assert store is None or found.score <= store + 0.011
        if found.moved is not None:
            before += 1
            assert found.moved.seq == before
            assert found.moved.after == found.level


# --- What cannot be ---------------------------------------------------------------------------------------------------
def test_bad_input_says_what_is_wrong_and_changes_nothing() -> None:
    score = HealthScore(TWO)
    good = steady(score, seconds=range(10))
    for call, says in (
        (lambda: score.observe(10.0, "lod", 1.0), "no component 'lod'; there are load, store"),
        (lambda: score.observe_rate(10.0, "lod", 1, 1), "no component"),
        (lambda: score.observe(10.0, "load", nan), "finite"),
        (lambda: score.observe(10.0, "load", inf), "finite"),
        (lambda: score.observe(nan, "load", 1.0), "now"),
        (lambda: score.observe(inf, "load", None), "now"),
        (lambda: score.observe_rate(10.0, "load", 2, 1), "0 <= good <= total"),
        (lambda: score.observe_rate(10.0, "load", -1, 1), "0 <= good <= total"),
        (lambda: score.observe_rate(10.0, "load", nan, 1), "0 <= good <= total"),
        (lambda: score.observe_rate(10.0, "load", 1, inf), "0 <= good <= total"),
        (lambda: score.observe_rate(nan, "load", 1, 1), "now"),
        (lambda: score.evaluate(nan), "now"),
    ):
        with pytest.raises(ValueError, match=says):
            call()
    after = score.evaluate(9.0)
    assert (after.score, after.level, after.contributions) == (good.score, good.level, good.contributions)


def test_time_that_goes_back_counts_as_standing_still() -> None:
    score = HealthScore(ONE)
    score.observe(100.0, "load", 90.0)
    score.evaluate(100.0)
    score.observe(50.0, "load", 0.0)
    assert score.evaluate(50.0).score == 90.0


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"components": ()}, "components"),
        ({"components": (LOAD, LOAD)}, "components"),
        ({"tau_s": 0.0}, "tau_s"),
        ({"stale_after_s": inf}, "stale_after_s"),
        ({"samples": 1.0}, "samples"),
        ({"samples_min": 101.0}, "samples_min"),
        ({"samples_min": 0.0}, "samples_min"),
        ({"samples_fade_s": nan}, "samples_fade_s"),
        ({"z": 0.0}, "z"),
        ({"unknown_cap": 101.0}, "unknown_cap"),
        ({"urgent_below": -1.0}, "urgent_below"),
        ({"forecast_min": 0.0}, "forecast_min"),
    ],
)
def test_an_impossible_config_is_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ScoreConfig(**given_)

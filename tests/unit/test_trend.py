"""Trend: direction with confidence, and minutes to a threshold."""

from __future__ import annotations

from math import inf, nan
from random import Random
from typing import Any

import pytest

from harness.core.trend import Trend, TrendConfig, TrendWatch


def watch(values: list[float], *, every_s: float = 10.0) -> Trend | None:
    """Note values at even distances."""
    noted = TrendWatch(TrendConfig())
    for number, value in enumerate(values):
        noted.note(number * every_s, value)
    return noted.trend


def test_a_clear_fall_says_when_it_arrives() -> None:
    trend = watch([90.0 - number for number in range(20)])
    assert trend is not None
    assert trend.direction == "falling"
    assert trend.slope_per_minute == pytest.approx(-6.0)
    assert trend.low_per_minute <= trend.slope_per_minute <= trend.high_per_minute
    assert trend.confidence > 0.999
    assert trend.minutes_to(71.0, 65.0) == pytest.approx(1.0)
    assert trend.minutes_to(71.0, 80.0) is None  # It goes the other way.
    assert trend.minutes_to(71.0, 71.0) is None


def test_a_rise_is_one_too() -> None:
    trend = watch([10.0 + number for number in range(20)])
    assert trend is not None
    assert trend.direction == "rising"
    assert trend.minutes_to(29.0, 35.0) == pytest.approx(1.0)


def test_noise_is_steady_nearly_always_and_then_arrives_nowhere() -> None:
    directions = []
    for seed in range(100):
        dice = Random(seed)
        trend = watch([50.0 + dice.gauss(0.0, 5.0) for _ in range(30)])
        assert trend is not None
        directions.append(trend.direction)
        assert trend.direction != "steady" or (trend.confidence < 0.95 and trend.minutes_to(50.0, 35.0) is None)
    assert directions.count("steady") >= 90


def test_what_never_moves_is_steady() -> None:
    trend = watch([50.0] * 30)
    assert trend is not None
    assert (trend.direction, trend.slope_per_minute, trend.confidence) == ("steady", 0.0, 0.0)


def test_wild_values_do_not_bend_it() -> None:
    values = [90.0 - number for number in range(20)]
    values[5], values[11] = 100.0, 0.0
    trend = watch(values)
    assert trend is not None
    assert trend.slope_per_minute == pytest.approx(-6.0, rel=0.1)


def test_too_few_values_have_no_trend() -> None:
    assert watch([90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0]) is None
    assert watch([90.0 - number for number in range(30)], every_s=1.0) is None  # Neighbours count once.


def test_only_the_last_values_count_and_a_restart_forgets_them() -> None:
    noted = TrendWatch(TrendConfig(points=10))
    for number in range(50):
        noted.note(number * 10.0, float(abs(number - 35)))
    assert noted.trend is not None
    assert noted.trend.direction == "rising"
    noted.restart()
    noted.note(500.0, 1.0)
    fresh = noted.trend
    assert fresh is None


def test_time_that_goes_back_adds_nothing() -> None:
    noted = TrendWatch(TrendConfig(points_min=3))
    for now in (100.0, 50.0, 0.0, 110.0, 109.0):
        noted.note(now, 1.0)
    assert noted.trend is None


@pytest.mark.parametrize(("now", "value"), [(nan, 1.0), (inf, 1.0), (0.0, nan), (0.0, inf)])
def test_what_is_no_number_is_refused(now: float, value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        TrendWatch(TrendConfig()).note(now, value)


@pytest.mark.parametrize(
    "changes",
    [
        {"every_s": 0.0},
        {"every_s": inf},
        {"points_min": 2},
        {"points": 5},
        {"points": 201},
        {"confidence_min": 0.4},
        {"confidence_min": 1.0},
    ],
)
def test_an_impossible_trend_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes)).partition("_")[0]):
        TrendConfig(**changes)

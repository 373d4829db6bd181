"""Statistics against brute force: every definition once more, slowly."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.stats import EXACT_MAX, mann_kendall, percentile, theil_sen, wilson

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(NUMBERS, st.integers(0, 1000))
def test_a_percentile_is_the_smallest_value_that_its_share_does_not_exceed(values: list[float], mille: int) -> None:
    ordered = sorted(values)
    enough = [v for v in ordered if Fraction(sum(o <= v for o in ordered), len(ordered)) >= Fraction(mille, 1000)]
    assert percentile(ordered, mille / 1000) == enough[0]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        pytest.param(0.0, 1, id="the smallest"),
        pytest.param(0.5, 50, id="half"),
        pytest.param(0.07, 7, id="a share that floats cannot hold"),
        pytest.param(0.95, 95, id="p95"),
        pytest.param(0.99, 99, id="p99"),
        pytest.param(1.0, 100, id="the largest"),
    ],
)
def test_percentiles_of_one_to_a_hundred(q: float, expected: int) -> None:
    assert percentile(list(range(1, 101)), q) == expected


def test_of_few_values_a_high_percentile_is_the_largest() -> None:
    assert percentile([1.0, 2.0, 3.0], 0.95) == 3.0


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_share_outside_zero_to_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        percentile([1.0], q)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 0.5)


# --- Mann-Kendall -----------------------------------------------------------------------------------------------------
def score(values: tuple[float, ...]) -> int:
    return sum((b > a) - (b < a) for a, b in itertools.combinations(values, 2))


EVERY_SCORE = [score(tuple(map(float, order))) for order in itertools.permutations(range(6))]


@given(st.permutations(range(6)))
def test_the_exact_p_value_is_the_share_of_orders_that_grow_at_least_as_clearly(order: list[int]) -> None:
    values = tuple(float(v) for v in order)
    share = sum(each >= score(values) for each in EVERY_SCORE) / len(EVERY_SCORE)
    assert mann_kendall(values) == pytest.approx(share)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        pytest.param([], 1.0, 1.0, id="nothing"),
        pytest.param([5.0], 1.0, 1.0, id="one value"),
        pytest.param([3.0] * 20, 1.0, 1.0, id="flat"),
        pytest.param(list(range(10)), 0.0, 1e-6, id="strictly up"),
        pytest.param(list(range(10, 0, -1)), 0.999, 1.0, id="strictly down"),
        pytest.param([1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 0.0, 0.001, id="up with ties"),
        pytest.param([1, 2] * 6, 0.2, 0.5, id="to and fro"),
        pytest.param(list(range(EXACT_MAX + 20)), 0.0, 1e-9, id="long, by approximation"),
    ],
)
def test_growth(values: list[float], low: float, high: float) -> None:
    assert low <= mann_kendall(values) <= high


def test_where_the_approximation_takes_over_it_agrees_with_the_exact_value() -> None:
    mixed = [(7 * n) % 41 + 0.12 * n for n in range(EXACT_MAX)]
    exact = mann_kendall(mixed)
    n = len(mixed)
    s = score(tuple(mixed))
    z = (s - 1) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    assert exact == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), abs=0.01)


# --- Theil-Sen --------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-1000, 1000)), min_size=2, max_size=14))
def test_the_slope_is_the_median_of_all_pairs_and_lies_in_its_interval(points: list[tuple[int, int]]) -> None:
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(points, 2) if x1 != x2]
    xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
    if not slopes:
        with pytest.raises(ValueError, match="different x"):
            theil_sen(xs, ys)
        return
    found = theil_sen(xs, ys)
    assert found.slope == pytest.approx(median(slopes))
    assert found.low <= found.slope <= found.high


@pytest.mark.parametrize(("n", "confidence"), [(5, 0.8), (6, 0.9), (7, 0.9), (7, 0.98)])
def test_the_interval_holds_the_true_slope_as_often_as_it_says(n: int, confidence: float) -> None:
    """Over every order of the noise, exactly: that is what the confidence means."""
    xs = [float(x) for x in range(n)]
    hits = total = 0
    for noise in itertools.permutations([v + 0.01 * v * v for v in range(n)]):
        found = theil_sen(xs, [2.0 * x + e for x, e in zip(xs, noise, strict=True)], confidence=confidence)
        hits += found.low <= 2.0 <= found.high
        total += 1
    assert hits / total >= confidence


@settings(max_examples=30)
@given(st.floats(-5, 5), st.integers(0, 9), st.floats(-1e6, 1e6))
def test_one_wild_point_of_ten_does_not_bend_the_line(slope: float, at: int, wild: float) -> None:
    ys = [slope * x for x in range(10)]
    ys[at] = wild
    assert theil_sen([float(x) for x in range(10)], ys).slope == pytest.approx(slope, abs=1e-6)


def test_two_points_leave_the_interval_open() -> None:
    found = theil_sen([0.0, 1.0], [0.0, 3.0])
    assert (found.slope, found.low, found.high) == (3.0, -math.inf, math.inf)


def test_a_long_series_has_a_narrow_interval() -> None:
    xs = [float(x) for x in range(60)]
    found = theil_sen(xs, [0.5 * x + (x * 7 % 5) * 0.1 for x in xs])
    assert 0.48 < found.low < found.slope < found.high < 0.52


def test_uneven_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="2 x, but 1 y"):
        theil_sen([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("good", "total", "low", "high"),
    [
        # Newcombe 1998, table I: the score method without continuity correction, 95 %.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_the_published_table(good: int, total: int, low: float, high: float) -> None:
    assert wilson(good, total, z=1.959964) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(("good", "total"), [(1, 0), (-1, 5), (6, 5), (float("nan"), 5), (1, float("inf"))])
def test_wilson_refuses_what_is_no_share(good: float, total: float) -> None:
    with pytest.raises(ValueError, match="0 <= good <= total"):
        wilson(good, total)

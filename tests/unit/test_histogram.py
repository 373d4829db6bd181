"""Histograms: the stated error, and adding up in any order."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.histogram import BUCKETS_MAX, SCALE, Histogram
from harness.core.stats import percentile

TIMES = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e7)), max_size=80)


@st.composite
def wide(draw: st.DrawFn) -> list[float]:
    """Values of so many different sizes that buckets have to be joined, once or several times."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    spread = draw(st.integers(1, 250))
    return [10.0 ** dice.uniform(-spread, spread) for _ in range(draw(st.sampled_from([0, 3, 400, 900])))]


SHARES = (0.0, 0.5, 0.9, 0.95, 0.99, 1.0)


def state(histogram: Histogram) -> tuple[object, ...]:
    return (histogram.scale, histogram.n, histogram.zeros, histogram.low, histogram.high, histogram.counts)


@given(TIMES)
def test_a_quantile_is_off_by_at_most_the_stated_error(values: list[float]) -> None:
    counted = Histogram(values)
    for q in SHARES if values else ():
        exact = percentile(sorted(values), q)
        assert counted.quantile(q) == pytest.approx(exact, rel=counted.error * 1.000001, abs=1e-9)


@given(TIMES, TIMES)
def test_adding_two_is_the_same_as_counting_all_in_one(left: list[float], right: list[float]) -> None:
    added = Histogram(left) + Histogram(right)
    assert state(added) == state(Histogram([*left, *right]))
    assert added.total == pytest.approx(sum(left) + sum(right))


@settings(max_examples=30)
@given(wide(), wide())
def test_adding_up_holds_when_buckets_are_joined(left: list[float], right: list[float]) -> None:
    assert state(Histogram(left) + Histogram(right)) == state(Histogram([*left, *right]))
    assert state(Histogram(left) + Histogram(right)) == state(Histogram(right) + Histogram(left))


def test_the_coarser_of_two_decides() -> None:
    fine, coarse = Histogram([1.0, 2.0]), Histogram(1.03**n for n in range(2_000))
    assert coarse.scale < fine.scale
    assert (fine + coarse).scale == (coarse + fine).scale == coarse.scale
    assert (fine + coarse).n == 2_002
    assert (fine != coarse) is True
    assert (fine == "a text") is False


def test_memory_is_bounded_and_no_count_is_lost() -> None:
    counted = Histogram(1.03**n for n in range(-2_000, 2_000))
    assert len(counted.counts) <= BUCKETS_MAX
    assert counted.n == counted.zeros + sum(counted.counts.values()) == 4_000
    assert counted.scale < SCALE
    assert counted.error > Histogram().error


@given(TIMES)
def test_every_value_lies_in_its_bucket_and_buckets_do_not_overlap(values: list[float]) -> None:
    buckets = list(Histogram(values).buckets())
    assert all(high <= low * (1 + 1e-12) for (_, high, _), (low, _, _) in pairwise(buckets))
    for value in values:
        if value > 0:
            assert any(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for low, high, _ in buckets)


@given(TIMES)
def test_it_can_be_written_and_read_again(values: list[float]) -> None:
    counted = Histogram(values)
    again = Histogram.decode(json.loads(json.dumps(counted.encode(), allow_nan=False)))
    assert state(again) == state(counted)


def test_many_at_once_count_as_often() -> None:
    counted = Histogram()
    counted.record(5.0, times=3)
    assert state(counted) == state(Histogram([5.0, 5.0, 5.0]))


def test_the_stated_error_is_about_one_percent() -> None:
    assert Histogram().error == pytest.approx(0.0108, abs=0.0001)


def test_a_copy_is_for_itself() -> None:
    first = Histogram([1.0])
    first.copy().record(2.0)
    assert first.n == 1


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_is_no_size_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Histogram().record(value)


def test_never_is_no_number_of_times() -> None:
    with pytest.raises(ValueError, match="times must be 1"):
        Histogram().record(1.0, times=0)


def test_nothing_counted_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Histogram().quantile(0.5)

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
from harness.core.histogram_blob import pack, unpack
from harness.core.stats import percentile

TIMES = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e7)), max_size=80)


@st.composite
def wide(draw: st.DrawFn) -> list[float]:
    """Values of so many different sizes that buckets have to be joined, once or several times."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    spread = draw(st.integers(1, 250))
    return [10.0 ** dice.uniform(-spread, min(spread, 38)) for _ in range(draw(st.sampled_from([0, 3, 400, 900])))]


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


def test_two_that_fit_may_not_fit_together() -> None:
    left, right = Histogram(1.03**n for n in range(250)), Histogram(1.03**n for n in range(250, 500))
    assert left.scale == right.scale == SCALE
    assert (left + right).scale < SCALE
    assert (left + right).n == sum((left + right).counts.values()) == 500


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


POWERS = tuple(2.0**power for power in range(-29, 64))


@given(st.integers(-28, 62), st.sampled_from([0.0, -1.0, 1.0]), st.booleans())
def test_the_count_up_to_a_power_of_two_is_exact_to_the_last_bit(power: int, step: float, coarse: bool) -> None:  # noqa: FBT001
    counted = Histogram(1.1**n for n in range(-200, 600)) if coarse else Histogram()
    before = counted.cumulative(POWERS)
    bound = 2.0**power
    value = bound if step == 0.0 else math.nextafter(bound, step * math.inf)
    counted.record(value)
    counts = [after - old for after, old in zip(counted.cumulative(POWERS), before, strict=True)]
    assert counts == [int(value <= each) for each in POWERS]
    assert (counted.scale < SCALE) == coarse


@given(TIMES)
def test_cumulative_counts_are_those_of_the_values(values: list[float]) -> None:
    assert Histogram(values).cumulative(POWERS) == [sum(value <= each for value in values) for each in POWERS]


@pytest.mark.parametrize("bound", [0.3, 0.0, 2.0**-30, -1.0, math.nan])
def test_a_count_up_to_what_is_no_bound_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="no bound of a bucket"):
        Histogram([1.0]).cumulative([bound])


@settings(max_examples=50)
@given(st.one_of(TIMES, wide()), st.one_of(TIMES, wide()))
def test_what_came_since_a_copy_is_what_was_counted_since(first: list[float], then: list[float]) -> None:
    counted = Histogram(first)
    earlier = counted.copy()
    for value in then:
        counted.record(value)
    since = counted.since(earlier)
    expected = Histogram(then).coarsened(counted.scale)
    assert (since.scale, since.n, since.zeros, since.counts) == (
        counted.scale,
        len(then),
        expected.zeros,
        expected.counts,
    )
    assert (earlier + since).counts == counted.counts
    if then:
        width = 2.0**2.0**-since.scale * (1 + 1e-9)
        assert since.low <= min(then) <= max(since.low * width, 1e-9)
        assert max(then) <= since.high <= max(max(then) * width, 1e-9)
        assert since.total == pytest.approx(sum(then), rel=1e-6, abs=1e-6 * (1 + sum(first)))


@pytest.mark.parametrize("later", [[], [1.0], [5.0, 5.0], [0.0, 1.0, 2.0, 3.0]])
def test_one_that_was_started_anew_counts_as_a_whole(later: list[float]) -> None:
    assert Histogram(later).since(Histogram([1.0, 1.0, 5.0, 0.0, 0.0])) == Histogram(later)
    assert Histogram(later).since(Histogram(1.5**n for n in range(200))) == Histogram(later)


def test_the_coarser_one_stays_as_it_is() -> None:
    coarse = Histogram([1.0, 2.0]).coarsened(2)
    assert coarse.scale == 2
    assert coarse.coarsened(4) is coarse


@settings(max_examples=50)
@given(st.one_of(TIMES, wide()))
def test_as_bytes_it_is_the_same(values: list[float]) -> None:
    counted = Histogram(values)
    assert state(unpack(pack(counted))) == state(counted)
    assert unpack(pack(counted)).total == counted.total


def test_a_hundred_latencies_are_a_few_bytes() -> None:
    dice = random.Random(7)
    assert len(pack(Histogram(dice.lognormvariate(0, 1) for _ in range(100)))) <= 250


@pytest.mark.parametrize("change", [b"", b"short", b"\x80", b"\x02", b"\x02\x00", b"\x02\x05"])
def test_bytes_that_are_no_histogram_are_refused(change: bytes) -> None:
    blob = pack(Histogram([1.0, 2.0])) + change if change != b"short" and change else change
    with pytest.raises(ValueError, match="no histogram"):
        unpack(blob)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 2.0**129])
def test_what_is_no_size_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Histogram().record(value)


def test_never_is_no_number_of_times() -> None:
    with pytest.raises(ValueError, match="times must be 1"):
        Histogram().record(1.0, times=0)


def test_nothing_counted_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Histogram().quantile(0.5)

"""Token buckets against exact arithmetic, and many of them against one bucket for each key for ever."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.services.rate_limit import TokenBucket, TokenBucketConfig, TokenBuckets

FIVE = TokenBucketConfig(rate_per_s=2.0, burst=5.0)


def test_it_starts_full_and_says_how_long_to_wait() -> None:
    bucket = TokenBucket(FIVE)
    assert [bucket.take(100.0) for _ in range(5)] == [0.0] * 5
    assert bucket.take(100.0) == 0.5
    assert bucket.take(100.0, 3.0) == 1.5
    assert bucket.take(100.25) == 0.25
    assert bucket.take(100.5) == 0.0
    assert bucket.level(100.5) == 0.0


def test_it_holds_no_more_than_the_burst() -> None:
    bucket = TokenBucket(FIVE)
    bucket.take(0.0, 5.0)
    assert bucket.level(1.0) == 2.0
    assert bucket.level(1e9) == 5.0
    assert bucket.take(1e9, 5.0) == 0.0
    assert bucket.take(1e9) == 0.5


def test_a_refusal_costs_nothing() -> None:
    bucket = TokenBucket(FIVE)
    bucket.take(0.0, 4.0)
    for _ in range(100):
        assert bucket.take(0.0, 2.0) == 0.5
    assert bucket.take(0.0) == 0.0


def test_a_clock_that_steps_back_stands_still() -> None:
    bucket = TokenBucket(FIVE)
    bucket.take(10.0, 5.0)
    assert bucket.take(5.0) == 0.5
    assert bucket.level(5.0) == 0.0
    assert bucket.take(10.5) == 0.0


@pytest.mark.parametrize("count", [0.0, -1.0, 5.1, float("nan"), float("inf")])
def test_a_count_that_can_never_be_granted_is_refused_and_takes_nothing(count: float) -> None:
    bucket = TokenBucket(FIVE)
    with pytest.raises(ValueError, match="at most the burst of 5"):
        bucket.take(0.0, count)
    assert bucket.take(0.0, 5.0) == 0.0


@pytest.mark.parametrize("now", [float("nan"), float("inf"), float("-inf")])
def test_a_moment_that_is_no_number_is_refused_and_takes_nothing(now: float) -> None:
    bucket, buckets = TokenBucket(FIVE), TokenBuckets(FIVE)
    with pytest.raises(ValueError, match="now must be a finite number"):
        bucket.take(now)
    with pytest.raises(ValueError, match="now must be a finite number"):
        buckets.take(now, "a")
    assert bucket.take(0.0, 5.0) == buckets.take(0.0, "a", 5.0) == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate_per_s", 0), ("rate_per_s", float("nan")), ("rate_per_s", float("inf")), ("burst", 0.5), ("burst", -1)],
)
def test_impossible_configs_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        TokenBucketConfig(**{field: value})


@given(
    rate=st.sampled_from([0.1, 1 / 3, 1.0, 7.0, 1000.0]),
    burst=st.integers(1, 20),
    start=st.sampled_from([0.0, 1.7e9]),
    steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 20)), max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_it_grants_what_exact_arithmetic_grants(
    rate: float, burst: int, start: float, steps: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(TokenBucketConfig(rate_per_s=rate, burst=burst))
    now, level, last = start, Fraction(burst), Fraction(start)
    for pause, wanted in steps:
        now += pause
        count = min(wanted, burst)
        exact_now = Fraction(now)
        level = min(Fraction(burst), level + (exact_now - last) * Fraction(rate))
        last = exact_now
        wait = bucket.take(now, count)
        if abs(level - count) < Fraction(1, 10**6):
            level = level - count if wait == 0.0 else level  # Too near for floating point: either is right.
            continue
        assert (wait == 0.0) is (level >= count)
        if wait:
            assert math.isclose(wait, float((count - level) / Fraction(rate)), abs_tol=1e-6)
        else:
            level -= count


@given(
    rate=st.floats(0.01, 1000.0),
    burst=st.floats(1.0, 50.0),
    start=st.floats(0.0, 2e9),
    count=st.floats(0.01, 1.0),
)
def test_who_waits_as_long_as_told_is_granted(rate: float, burst: float, start: float, count: float) -> None:
    bucket = TokenBucket(TokenBucketConfig(rate_per_s=rate, burst=burst))
    while not (wait := bucket.take(start, count * burst)):
        pass
    # A clock as large as the time of day has steps of a fraction of a microsecond.
    assert bucket.take(start + wait + math.ulp(start), count * burst) == 0.0


def test_each_key_has_its_own_bucket() -> None:
    buckets = TokenBuckets(FIVE)
    assert buckets.take(0.0, "loud", 5.0) == 0.0
    assert buckets.take(0.0, "loud") == 0.5
    assert buckets.take(0.0, "quiet") == 0.0
    assert len(buckets) == 2


def test_full_buckets_are_forgotten_and_others_are_not() -> None:
    buckets = TokenBuckets(FIVE)
    buckets.take(0.0, "early", 5.0)
    buckets.take(2.4, "late", 5.0)
    buckets.take(2.6, "other")
    assert buckets.take(2.6, "late") > 0.0
    assert len(buckets) == 3
    buckets.take(5.1, "other")
    assert len(buckets) == 2, "early was full at 2.5, and is forgotten with its generation"
    buckets.take(1_000.0, "new")
    assert len(buckets) == 1


@pytest.mark.parametrize("start", [0.0, 0.7, 1.4, 2.1, 2.8])
def test_nobody_is_forgotten_before_the_bucket_is_full(start: float) -> None:
    buckets = TokenBuckets(FIVE)
    buckets.take(0.0, "other", 0.1)
    buckets.take(start, "loud", 5.0)
    for tenth in range(25):
        buckets.take(start + tenth / 10, "other", 0.1)
    assert buckets.take(start + 2.45, "loud", 5.0) > 0.0


def test_a_clock_that_steps_back_forgets_nobody() -> None:
    buckets = TokenBuckets(FIVE)
    buckets.take(100.0, "a", 5.0)
    assert buckets.take(0.0, "a") == 0.5


def test_without_room_new_keys_share_one_bucket() -> None:
    buckets = TokenBuckets(FIVE, keys_max=2)
    buckets.take(0.0, "a", 5.0)
    buckets.take(0.0, "b", 5.0)
    granted = sum(1 for number in range(100) if buckets.take(0.0, f"made up {number}") == 0.0)
    assert granted == 5
    assert len(buckets) == 2
    assert buckets.take(0.0, "a") > 0.0, "the old ones keep their own"
    assert buckets.take(5.1, "c", 5.0) == 0.0, "there is room again when they are full"


@pytest.mark.parametrize("keys_max", [0, 1.5, float("nan")])
def test_an_impossible_number_of_keys_is_refused(keys_max: float) -> None:
    with pytest.raises(ValueError, match="keys_max"):
        TokenBuckets(FIVE, keys_max=keys_max)  # type: ignore[arg-type]


class BucketsWalk(RuleBasedStateMachine):
    """Whatever is forgotten or shared, nobody gets more than a bucket of their own would give."""

    @initialize(
        keys_max=st.sampled_from([1, 2, 4, 8]), rate=st.sampled_from([0.5, 3.0]), burst=st.sampled_from([1.0, 4.0])
    )
    def begin(self, keys_max: int, rate: float, burst: float) -> None:
        self.config = TokenBucketConfig(rate_per_s=rate, burst=burst)
        self.buckets = TokenBuckets(self.config, keys_max=keys_max)
        self.keys_max = keys_max
        self.own: dict[str, tuple[float, float]] = {}
        self.now = 0.0

    @rule(seconds=st.floats(0.0, 10.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.sampled_from("abcdefgh"), share=st.floats(0.1, 1.0))
    def take(self, key: str, share: float) -> None:
        count = share * self.config.burst
        level, last = self.own.get(key, (self.config.burst, self.now))
        level = min(self.config.burst, level + (self.now - last) * self.config.rate_per_s)
        if self.buckets.take(self.now, key, count) == 0.0:
            assert level >= count - 2e-9
            level -= count
        elif self.keys_max >= 8:
            assert level < count
        self.own[key] = (level, self.now)

    @invariant()
    def memory_is_bounded(self) -> None:
        if hasattr(self, "buckets"):
            assert len(self.buckets) <= self.keys_max


TestBucketsWalk = BucketsWalk.TestCase
TestBucketsWalk.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)

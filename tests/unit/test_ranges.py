"""Numbers that cannot be meant, and moments that go back."""

from __future__ import annotations

import math
import random

import pytest

from harness.core.moments import SPREAD, forward, spread
from harness.core.ranges import above_zero, at_least, between, whole

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("value", [0, -1, NAN, INFINITY])
def test_above_zero_refuses(value: float) -> None:
    with pytest.raises(ValueError, match=r"^wait_s must be a number above 0, got"):
        above_zero("wait_s", value)


@pytest.mark.parametrize("value", [1.9, NAN, INFINITY])
def test_at_least_refuses(value: float) -> None:
    with pytest.raises(ValueError, match="wait_s must be a number of at least 2"):
        at_least("wait_s", value, 2)


@pytest.mark.parametrize("value", [0.99, 2.01, NAN])
def test_between_refuses(value: float) -> None:
    with pytest.raises(ValueError, match="wait_s must be from 1 to 2"):
        between("wait_s", value, 1, 2)


@pytest.mark.parametrize("value", [0, 1.0, True, NAN, INFINITY])
def test_whole_refuses(value: float) -> None:
    with pytest.raises(ValueError, match="count must be a whole number of at least 1"):
        whole("count", value, 1)


def test_what_is_inside_passes() -> None:
    above_zero("a", 1e-300)
    at_least("b", 2, 2)
    between("c", 1, 1, 2)
    between("d", 2, 1, 2)
    whole("e", 1, 1)


def test_a_moment_never_goes_back() -> None:
    assert forward(2.0, 1.0) == 2.0
    assert forward(1.0, 2.0) == 2.0
    assert forward(1.0, -math.inf) == 1.0


@pytest.mark.parametrize("now", [NAN, INFINITY, -INFINITY])
def test_a_moment_is_a_finite_number(now: float) -> None:
    with pytest.raises(ValueError, match="now must be a finite number"):
        forward(now, 0.0)


def test_a_wait_becomes_longer_by_chance_and_never_shorter() -> None:
    rng = random.Random(7)
    waits = [spread(10.0, rng) for _ in range(1_000)]
    assert min(waits) >= 10.0
    assert max(waits) < 10.0 * (1 + SPREAD)
    assert len(set(waits)) == 1_000
    assert max(waits) - min(waits) > 4.9

"""What a shell lets through unasked, and reports afterwards, comes to the same as asking."""

from __future__ import annotations

import math

import pytest

from harness.services.circuit_breaker import BreakerConfig, CircuitBreaker, Outcome, Permit, State, Window


def test_good_calls_reported_by_the_number_are_good_calls() -> None:
    asked, told = (CircuitBreaker(BreakerConfig(window=Window.TIME, failures_max=3)) for _ in range(2))
    for breaker in (asked, told):
        breaker.fail(0.0)
        breaker.fail(0.5)
    for _ in range(7):
        permit = asked.admit(0.9)
        assert isinstance(permit, Permit)
        asked.settle(permit, 0.9, Outcome.SUCCESS)
    assert told.catch_up(0.9, good=7, refused=2) == []
    for breaker in (asked, told):
        breaker.fail(1.0)
        assert breaker.state is State.CLOSED, "a good call came in between"
    assert told.counts(1.0) == asked.counts(1.0)
    assert told.totals() == {**asked.totals(), "refused": 2}


def test_calls_under_way_that_are_reported_late_are_seen_as_old_as_they_are() -> None:
    breaker = CircuitBreaker(BreakerConfig(calls_min=1, slow_s=10.0))
    breaker.tick(0.0)
    assert breaker.calm_until == 10.0
    (permit,) = breaker.catch_up(8.0, since=[3.0])
    assert (permit.since, breaker.in_flight, breaker.calm_until) == (3.0, 1, 13.0)
    assert breaker.tick(13.0)[0].late_s == 0.0
    assert breaker.state is State.OPEN
    assert breaker.calm_until == -math.inf
    breaker.settle(permit, 14.0, Outcome.SUCCESS)
    assert breaker.totals()["late success"] == 1


@pytest.mark.parametrize(
    ("now", "good", "refused", "since"),
    [(1.0, -1, 0, []), (1.0, 5, -1, []), (math.nan, 0, 0, []), (1.0, 0, 0, [-math.inf])],
)
def test_a_report_that_cannot_be_is_refused_and_changes_nothing(
    now: float, good: int, refused: int, since: list[float]
) -> None:
    breaker = CircuitBreaker(BreakerConfig())
    with pytest.raises(ValueError, match="no number may be below 0 and times must be finite"):
        breaker.catch_up(now, good=good, refused=refused, since=since)
    assert (breaker.totals(), breaker.in_flight) == ({}, 0)


def test_a_call_from_the_future_began_now() -> None:
    (permit,) = CircuitBreaker(BreakerConfig()).catch_up(1.0, since=[2.0])
    assert permit.since == 1.0

"""How fast work gets done, whatever there is of it."""

from __future__ import annotations

import pytest

from harness.core.pace import Pace


def steady(pace: Pace, *, places: int, service_s: float, rounds: int, waiting: bool, start: float = 0.0) -> float:
    """Keep all places busy; the moment at the end."""
    now = start
    for _ in range(places):
        pace.begin(now)
    for number in range(rounds * places):
        now += service_s / places
        pace.advance(now, waiting=waiting and pace.running == places)
        pace.end(now, served=True)
        if number < (rounds - 1) * places:
            pace.begin(now)
    return now


def test_nothing_is_known_at_first() -> None:
    assert Pace(50).each_s(100.0) == 0.0


def test_with_all_places_taken_it_is_the_service_time_by_the_places() -> None:
    pace = Pace(50)
    now = steady(pace, places=10, service_s=0.5, rounds=50, waiting=True)
    assert pace.each_s(now) == pytest.approx(0.05, rel=0.1)


def test_little_work_is_not_slow_work() -> None:
    pace, now = Pace(50), 0.0
    for _ in range(20):
        pace.begin(now)
        pace.advance(now + 2.0, waiting=False)
        pace.end(now + 2.0, served=True)
        now += 1_000.0
        pace.advance(now, waiting=False)
    assert pace.each_s(now) == pytest.approx(2.0)


def test_work_that_hangs_makes_it_slower_without_any_completion() -> None:
    pace = Pace(50)
    now = steady(pace, places=2, service_s=1.0, rounds=20, waiting=True)
    pace.begin(now)
    pace.begin(now)
    pace.advance(now + 60.0, waiting=True)
    assert pace.each_s(now + 60.0) == 30.0
    pace.end(now + 60.0, served=False)
    assert pace.each_s(now + 60.0) == 30.0, "what proves nothing does not make it faster"


def test_what_hung_long_ago_is_over_when_nothing_runs() -> None:
    pace = Pace(50)
    now = steady(pace, places=1, service_s=1.0, rounds=5, waiting=False)
    pace.advance(now + 500.0, waiting=False)
    assert pace.each_s(now + 500.0) == pytest.approx(1.0)
    pace.begin(now + 500.0)
    assert pace.each_s(now + 500.0) == pytest.approx(1.0), "silence counts from the beginning of the work"


def test_it_follows_the_last_completions() -> None:
    pace = Pace(5)
    now = steady(pace, places=1, service_s=1.0, rounds=20, waiting=True)
    now = steady(pace, places=1, service_s=3.0, rounds=20, waiting=True, start=now)
    assert pace.each_s(now) == pytest.approx(3.0, rel=0.05)


def test_places_are_what_runs_while_something_waits() -> None:
    pace = Pace(50)
    now = steady(pace, places=8, service_s=1.0, rounds=10, waiting=False)
    eight = pace.each_s(now)
    for _ in range(2):
        pace.begin(now)
    pace.advance(now + 0.1, waiting=False)
    assert pace.each_s(now + 0.1) == eight, "two of eight may just have nothing to do"
    pace.advance(now + 0.2, waiting=True)
    assert pace.each_s(now + 0.2) == pytest.approx(4 * eight), "two that run while others wait are all there are"

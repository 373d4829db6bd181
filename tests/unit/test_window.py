"""Both windows, next to a list of all calls."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.window import SLICES, CallWindow, CountWindow, TimeWindow

CALLS = st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans(), st.integers(0, 7)), max_size=60)


def sums(window: CallWindow) -> tuple[int, int, int, int]:
    return window.calls, window.failed, window.slow, window.bad


def told(calls: list[tuple[bool, bool]]) -> tuple[int, int, int, int]:
    return (
        len(calls),
        sum(failed for failed, _ in calls),
        sum(slow for _, slow in calls),
        sum(failed or slow for failed, slow in calls),
    )


@settings(max_examples=200, deadline=None)
@given(CALLS, st.integers(1, 12))
def test_a_count_window_holds_the_last_calls(calls: list[tuple[int, bool, bool, int]], size: int) -> None:
    window, seen = CountWindow(size), list[tuple[bool, bool]]()
    for _, failed, slow, good in calls:
        window.record(failed=failed, slow=slow)
        window.succeed(good)
        seen += [(failed, slow)] + [(False, False)] * good
        assert sums(window) == told(seen[-size:])


@settings(max_examples=200, deadline=None)
@given(CALLS)
def test_a_time_window_holds_the_last_slices(calls: list[tuple[int, bool, bool, int]]) -> None:
    window, seen, now = TimeWindow(SLICES / 2), list[tuple[float, bool, bool]](), 0.0
    for quarters, failed, slow, good in calls:
        now += quarters / 4
        fresh_until = window.advance(now)
        assert now < fresh_until <= now + 0.5
        window.record(failed=failed, slow=slow)
        window.succeed(good)
        seen += [(now, failed, slow)] + [(now, False, False)] * good
        assert sums(window) == told([(f, s) for at, f, s in seen if at // 0.5 > now // 0.5 - SLICES])


@pytest.mark.parametrize("window", [CountWindow(5), TimeWindow(60.0)], ids=["count", "time"])
def test_a_window_that_was_cleared_is_as_new(window: CallWindow) -> None:
    for _ in range(2):
        window.advance(7.0)
        window.record(failed=True, slow=True)
        window.succeed(7)
        assert window.calls in (5, 8)
        window.clear()
        assert sums(window) == (0, 0, 0, 0)
    window.advance(7.5)
    window.succeed(2)
    assert sums(window) == (2, 0, 0, 0)


def test_a_count_window_knows_no_time() -> None:
    assert CountWindow(5).advance(7.0) == float("inf")


def test_after_a_long_silence_nothing_is_left() -> None:
    window = TimeWindow(60.0)
    window.advance(0.0)
    window.record(failed=True, slow=False)
    window.advance(1e12)
    assert sums(window) == (0, 0, 0, 0)

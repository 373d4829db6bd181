"""Two marks, and what lies between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.services.water_marks import Flow, WaterMarks, WaterMarksConfig

CONFIG = WaterMarksConfig(high=10, low=4)


@pytest.mark.parametrize(
    ("levels", "flows"),
    [
        pytest.param([0, 5, 9], [None, None, None], id="below the high mark nothing happens"),
        pytest.param([10], [Flow.PAUSE], id="the high mark itself pauses"),
        pytest.param([10, 11, 5], [Flow.PAUSE, None, None], id="between the marks the source waits on"),
        pytest.param([12, 4], [Flow.PAUSE, Flow.RESUME], id="the low mark itself resumes"),
        pytest.param([12, 4, 9, 10], [Flow.PAUSE, Flow.RESUME, None, Flow.PAUSE], id="and then it starts again"),
        pytest.param([4, 0], [None, None], id="a source that sends is not resumed"),
    ],
)
def test_story(levels: list[int], flows: list[Flow | None]) -> None:
    marks = WaterMarks(CONFIG)
    assert [marks.update(level) for level in levels] == flows


@given(st.lists(st.integers(0, 15)))
def test_pause_and_resume_take_turns_at_their_marks(levels: list[int]) -> None:
    marks, paused = WaterMarks(CONFIG), False
    for level in levels:
        flow = marks.update(level)
        expected = None
        if paused and level <= 4:
            expected, paused = Flow.RESUME, False
        elif not paused and level >= 10:
            expected, paused = Flow.PAUSE, True
        assert flow is expected
        assert marks.paused is paused


@pytest.mark.parametrize("level", [-1, float("nan")])
def test_a_level_that_cannot_be_is_refused_and_changes_nothing(level: float) -> None:
    marks = WaterMarks(CONFIG)
    marks.update(10)
    with pytest.raises(ValueError, match="level must be at least 0"):
        marks.update(level)
    assert marks.paused


@pytest.mark.parametrize(
    ("high", "low"), [(0, 0), (10, 10), (10, 11), (10, -1), (float("inf"), 1), (float("nan"), 1), (10, float("nan"))]
)
def test_impossible_marks_are_refused(high: float, low: float) -> None:
    with pytest.raises(ValueError, match=r"^(high|low) must be"):
        WaterMarksConfig(high=high, low=low)

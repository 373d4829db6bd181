"""Ladder: down below one level, up from a higher one, nothing in between."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.ladder import BARE, Ladder, Rung
from tests.sample_ladder import LADDER


def names(levels: list[float]) -> list[str]:
    rung, seen = 0, []
    for level in levels:
        rung = LADDER.rung(level, rung)
        seen.append(LADDER.rungs[rung].name)
    return seen


@pytest.mark.parametrize(
    ("levels", "rungs"),
    [
        pytest.param([100, 66, 65], ["full", "full", "full"], id="at the level itself nothing moves"),
        pytest.param([64, 70, 74, 75], ["cached", "cached", "cached", "full"], id="the way back is longer"),
        pytest.param([0], ["notice"], id="a fall goes all the way at once"),
        pytest.param([20, 40, 49, 50], ["queued", "queued", "queued", "reduced"], id="down past one, and up again"),
        pytest.param([0, 100], ["notice", "full"], id="so does the way up"),
    ],
)
def test_a_level_moves_the_rung(levels: list[float], rungs: list[str]) -> None:
    assert names(levels) == rungs


@given(st.lists(st.floats(0, 100), max_size=40))
def test_the_same_level_twice_never_moves_it_twice(levels: list[float]) -> None:
    rung = 0
    for level in levels:
        rung = LADDER.rung(level, rung)
        assert LADDER.rung(level, rung) == rung


def test_below_each_rung_is_the_next_until_there_is_none() -> None:
    assert [rung and rung.name for rung in map(LADDER.below, range(5))] == [
        "cached", "reduced", "queued", "notice", None
    ]  # fmt: skip
    assert BARE.below(0) is None


def test_a_rung_without_levels_is_only_for_failures() -> None:
    ladder = Ladder((Rung("full", "all"), Rung("less", "some")))
    assert ladder.rung(0) == 0
    assert ladder.rung(0, before=1) == 0


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        ([], "a ladder needs at least one rung"),
        ([("a", 0, 0), ("a", 0, 0)], "two rungs have the same name: a, a"),
        ([("", 0, 0)], "a rung needs a name"),
        ([("a", 50, 40)], "rung 'a': levels go 0 <= enter_below <= leave_from <= 100, got enter_below 50, leave_from"),
        ([("a", 50, 101)], "rung 'a'"),
        ([("a", math.nan, 50)], "rung 'a'"),
        ([("a", 0, 0), ("b", 40, 50), ("c", 45, 50)], "rung 'c' lies below 'b': its levels must not be higher"),
        ([("a", 0, 0), ("b", 40, 50), ("c", 40, 60)], "rung 'c' lies below 'b'"),
    ],
)
def test_an_impossible_ladder_is_refused(rungs: list[tuple[str, float, float]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Ladder(tuple(Rung(name, "x", enter, leave) for name, enter, leave in rungs))


def test_an_impossible_question_is_refused() -> None:
    for level in (math.nan, math.inf):
        with pytest.raises(ValueError, match="level must be a number from 0 to 100"):
            LADDER.rung(level)
    for rung in (-1, 5):
        with pytest.raises(ValueError, match=f"there is no rung {rung}; this ladder has 5"):
            LADDER.rung(50, rung)

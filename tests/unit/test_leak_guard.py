"""Leak guard: growth that stays, and everything that looks like it and is none."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, nan, sin
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.services.leak_guard import Leak, LeakGuard, LeakGuardConfig, LeakMoved, Watch

EVERY_S = 5.0
HOUR_S = 3_600.0
Shape = Callable[[float, Random], float]


def run(
    shape: Shape, *, hours: float, watch: Watch | None = None, seed: int = 1
) -> tuple[LeakGuard, list[tuple[float, LeakMoved]]]:
    """Count every few seconds for some hours; the guard, and what it said when."""
    guard, dice, moves = LeakGuard(), Random(seed), []
    guard.watch(watch or Watch(name="x"))
    for step in range(int(hours * HOUR_S / EVERY_S)):
        now = step * EVERY_S
        move = guard.note("x", now, max(0.0, shape(now, dice)))
        if move is not None:
            moves.append((now, move))
    return guard, moves


@pytest.mark.parametrize(
    ("shape", "hours"),
    [
        pytest.param(lambda _, __: 10.0, 2.0, id="a count that never moves"),
        pytest.param(lambda _, dice: 100.0 + dice.gauss(0.0, 20.0), 8.0, id="noise"),
        pytest.param(lambda now, _: 100.0 + 90.0 * sin(now / 100.0), 4.0, id="a load that comes and goes"),
        pytest.param(lambda _, dice: dice.expovariate(0.01), 8.0, id="bursts over an idle floor"),
        pytest.param(lambda now, _: min(115.0, now), 2.0, id="a warm-up"),
        pytest.param(lambda now, _: 50.0 if now < HOUR_S else 150.0, 4.0, id="one step up: more users"),
        pytest.param(lambda now, _: 100.0 + now / 1_000.0, 4.0, id="growth too small for a word"),
    ],
)
def test_what_comes_and_goes_is_no_leak(shape: Shape, hours: float) -> None:
    for seed in range(3):
        guard, moves = run(shape, hours=hours, seed=seed)
        assert guard.findings() == ()
        assert moves == []


@pytest.mark.parametrize(
    ("per_hour", "within_s"),
    [
        pytest.param(36_000.0, 600.0, id="ten a second, within minutes"),
        pytest.param(720.0, 0.6 * HOUR_S, id="one in five seconds, within the hour"),
        pytest.param(30.0, 8 * HOUR_S, id="one in two minutes, within a working day"),
    ],
)
def test_a_leak_under_noise_is_found_and_measured(per_hour: float, within_s: float) -> None:
    guard, moves = run(lambda now, dice: now * per_hour / HOUR_S + abs(dice.gauss(0.0, 20.0)), hours=within_s / HOUR_S)
    assert moves, "it was not found"
    (leak,) = guard.findings()
    assert (leak.kind, leak.severity) == ("grows", "warning")
    assert leak.per_hour_low <= per_hour * 1.1
    assert leak.per_hour == pytest.approx(per_hour, rel=0.5)
    assert leak.confidence > 0.9999
    assert leak.points[0] == leak.before
    assert leak.points[-1] == leak.value
    assert "does not fall back" in leak.text


def test_a_long_wave_is_found_once_and_then_known() -> None:
    _, moves = run(lambda now, _: 100.0 + 90.0 * sin(now / 1_200.0), hours=24.0)
    assert all(now < 2.0 * HOUR_S for now, _ in moves), moves


def test_what_is_cleaned_up_every_few_hours_is_found_once_and_then_known() -> None:
    _, moves = run(lambda now, _: now % (3.0 * HOUR_S) / 5.0, hours=24.0)
    assert [move.after for _, move in moves] == ["warning", None]


def test_what_follows_the_load_may_grow_as_long_as_its_limit_is_far() -> None:
    watch = Watch(name="x", load=True, limit=2_000.0)
    guard, moves = run(lambda now, _: 100.0 + 90.0 * sin(now / 600.0), hours=4.0, watch=watch)
    assert moves == []
    guard, moves = run(lambda now, _: now / 2.0, hours=1.0, watch=watch)
    assert [move.after for _, move in moves] == ["critical"]
    assert guard.findings()[0].full_in_s is not None


def test_a_leak_hidden_under_a_daily_load_shows_in_its_floor() -> None:
    guard, moves = run(lambda now, _: 300.0 * max(0.0, sin(now / 40.0)) + now / 30.0, hours=3.0)
    assert moves
    assert guard.findings()[0].per_hour == pytest.approx(120.0, rel=0.5)


def test_a_cache_that_fills_is_forgiven_when_it_is_full() -> None:
    guard, moves = run(lambda now, _: 1_000.0 * (1.0 - exp(-now / 300.0)), hours=9.0)
    assert guard.findings() == ()
    assert not moves or moves[-1][1].after is None


def test_a_leak_that_is_mended_is_over() -> None:
    guard, moves = run(lambda now, _: min(now, 2_000.0), hours=8.0)
    assert [(move.before, move.after) for _, move in moves] == [(None, "warning"), ("warning", None)]
    assert [move.seq for _, move in moves] == [1, 2]
    assert moves[1][1].leak.kind == "grows"  # The last evidence there was.
    assert guard.findings() == ()


def test_a_limit_makes_it_critical_in_time_and_full_at_once() -> None:
    watch = Watch(name="x", limit=3_000.0)
    _, moves = run(lambda now, _: now, hours=0.8, watch=watch)
    assert [(move.after, move.leak.kind) for _, move in moves] == [("critical", "grows")]
    leak = moves[0][1].leak
    assert leak.full_in_s == pytest.approx(3_000.0 - leak.value, rel=0.1)
    assert "full in" in leak.text
    guard, moves = run(lambda now, _: 0.0 if now < 60.0 else 3_000.0, hours=0.02, watch=watch)
    assert [now for now, _ in moves] == [60.0]
    assert guard.findings()[0].text == "x is 3000: its limit is reached"


def test_a_far_limit_does_not_make_a_slow_leak_critical() -> None:
    _, moves = run(lambda now, _: now, hours=0.5, watch=Watch(name="x", limit=1e9))
    assert [move.after for _, move in moves] == ["warning"]


def test_what_should_be_zero_may_be_above_for_a_moment_only() -> None:
    watch = Watch(name="x", zero=True)
    _, moves = run(lambda now, _: 1.0 if now % 60.0 < 25.0 else 0.0, hours=1.0, watch=watch)
    assert moves == []
    guard, moves = run(lambda now, _: 1.0 if 100.0 <= now < 200.0 else 0.0, hours=0.1, watch=watch)
    assert [(now, move.after) for now, move in moves] == [(130.0, "warning"), (200.0, None)]
    assert moves[0][1].leak.text == "x is 1 for 30 s and should be 0"
    assert guard.findings() == ()


def test_a_gap_is_no_evidence() -> None:
    guard = LeakGuard(LeakGuardConfig(warm_up_s=0.0))
    guard.watch(Watch(name="x"))
    for number in range(200):
        now = number * 5.0 if number < 30 else 10_000.0 + number * 5.0
        guard.note("x", now, 0.0 if number < 30 else 500.0)
    assert guard.findings() == ()


def test_silence_right_after_the_warm_up_is_a_gap_too() -> None:
    guard = LeakGuard()
    guard.watch(Watch(name="x"))
    for now in (0.0, 5.0, 50_000.0, 50_005.0):
        assert guard.note("x", now, now) is None
    assert guard.findings() == ()


def test_the_worst_stands_first() -> None:
    guard = LeakGuard()
    for name in ("a", "b", "c"):
        guard.watch(Watch(name=name, limit=10.0 if name == "b" else None, zero=name != "b"))
    for now in (0.0, 40.0):
        for name in ("a", "b", "c"):
            guard.note(name, now, 20.0)
    assert [leak.name for leak in guard.findings()] == ["b", "a", "c"]
    guard.forget("b")
    assert [leak.name for leak in guard.findings()] == ["a", "c"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from((-10.0, 0.0, 1.0, 5.0, 5.0, 20.0, 2_000.0)), st.floats(0.0, 1e6)), max_size=400)
)
def test_memory_is_bounded_and_every_finding_is_told(steps: list[tuple[float, float]]) -> None:
    config = LeakGuardConfig(warm_up_s=0.0, spans_s=(5.0, 20.0))
    guard, now, found = LeakGuard(config), 0.0, None
    guard.watch(Watch(name="x", limit=900_000.0, zero=True))
    seqs = []
    for wait_s, count in steps:
        now += wait_s
        move = guard.note("x", now, count)
        if move is not None:
            assert move.before == found
            seqs.append(move.seq)
            found = move.after
        assert [leak.severity for leak in guard.findings()] == ([] if found is None else [found])
        for window in guard._names["x"].windows:
            assert len(window.points) <= config.points
    assert seqs == list(range(1, len(seqs) + 1))


# --- What cannot be ---------------------------------------------------------------------------------------------------
def test_bad_input_says_what_is_wrong_and_changes_nothing() -> None:
    guard = LeakGuard(LeakGuardConfig(names_max=2))
    guard.watch(Watch(name="x", zero=True))
    guard.watch(Watch(name="y"))
    calls: tuple[tuple[Callable[[], object], type[Exception], str], ...] = (
        (lambda: guard.watch(Watch(name="z")), ValueError, "limit"),
        (lambda: guard.note("z", 0.0, 1.0), KeyError, "not watched"),
        (lambda: guard.forget("z"), KeyError, "not watched"),
        (lambda: guard.note("x", nan, 1.0), ValueError, "finite"),
        (lambda: guard.note("x", 0.0, nan), ValueError, "finite"),
        (lambda: guard.note("x", 0.0, inf), ValueError, "finite"),
        (lambda: guard.note("x", 0.0, -1.0), ValueError, "count from 0"),
    )
    for call, kind, says in calls:
        with pytest.raises(kind, match=says):
            call()
    guard.forget("y")
    with pytest.raises(ValueError, match="already"):
        guard.watch(Watch(name="x"))
    assert guard.findings() == ()


def test_time_that_goes_back_counts_as_standing_still() -> None:
    guard = LeakGuard()
    guard.watch(Watch(name="x", zero=True))
    guard.note("x", 1_000.0, 1.0)
    guard.note("x", 0.0, 1.0)
    assert guard.note("x", 1_029.0, 1.0) is None
    assert guard.note("x", 1_030.0, 1.0) is not None


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"name": ""}, "name"),
        ({"growth_min": 0.0}, "growth_min"),
        ({"share_min": -1.0}, "share_min"),
        ({"limit": 0.0}, "limit"),
        ({"limit": nan}, "limit"),
        ({"load": True}, "limit"),
    ],
)
def test_an_impossible_watch_is_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Watch(**{"name": "x", **given_})


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"spans_s": ()}, "spans_s"),
        ({"spans_s": (0.0,)}, "spans_s"),
        ({"points_min": 9}, "points"),
        ({"points": 11}, "points"),
        ({"points": 101}, "points"),
        ({"p_max": 0.0}, "p_max"),
        ({"warm_up_s": -1.0}, "warm_up_s"),
        ({"kept_s": inf}, "kept_s"),
        ({"critical_s": nan}, "critical_s"),
        ({"names_max": 0}, "names_max"),
    ],
)
def test_an_impossible_guard_is_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LeakGuardConfig(**given_)


def test_a_finding_reads_as_a_sentence() -> None:
    leak = Leak(
        name="tasks",
        kind="grows",
        severity="warning",
        value=250.0,
        before=50.0,
        span_s=345.0,
        per_hour=2_100.0,
        per_hour_low=2_000.0,
    )
    assert leak.text == (
        "tasks grew from 50 to 250 in 6 min and does not fall back: +2100 an hour (98 % sure: at least 2000)"
    )

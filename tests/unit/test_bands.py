"""Bands: hysteresis, counting, dwell, flapping, and a model that remembers everything."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.bands import Bands, BandsConfig, Level

RANK: dict[Level, int] = {"good": 0, "degraded": 1, "critical": 2}
QUICK = BandsConfig(bad_evaluations=1, good_evaluations=1, dwell_s=0.0, flap_changes=1_000)


def play(bands: Bands, *scores: float, every_s: float = 1.0) -> str:
    """The levels after each score, as their first letters."""
    levels = ""
    for number, score in enumerate(scores):
        bands.step(number * every_s, score)
        levels += bands.level[0]
    return levels


@pytest.mark.parametrize(
    ("scores", "levels"),
    [
        pytest.param((100, 66, 65, 64.9), "gggd", id="good ends below 65"),
        pytest.param((50, 74.9, 75), "ddg", id="degraded ends at 75"),
        pytest.param((50, 35, 34.9), "ddc", id="critical begins below 35"),
        pytest.param((10, 49.9, 50, 74.9, 75), "ccddg", id="the way up leads over degraded"),
        pytest.param((10, 100, 100), "cdg", id="one step at a time, however good"),
        pytest.param((100, 10), "gc", id="the way down may skip a level"),
        pytest.param((65, 65, 75), "ggg", id="a first score between the bands is good"),
        pytest.param((34,), "c", id="a first score is believed at once"),
    ],
)
def test_each_level_has_its_own_way_in_and_out(scores: tuple[float, ...], levels: str) -> None:
    assert play(Bands(QUICK), *scores) == levels


@pytest.mark.parametrize(
    ("scores", "levels"),
    [
        pytest.param((90, 60, 90, 60, 90), "ggggg", id="one bad evaluation is forgiven"),
        pytest.param((90, 60, 60), "ggd", id="two in a row are not"),
        pytest.param((90, 60, 10), "ggd", id="two agree on the milder one"),
        pytest.param((90, 10, 10), "ggc", id="two that are critical skip a level"),
        pytest.param((50, 90, 90, 70, 90, 90, 90), "ddddddg", id="three in a row make it better"),
    ],
)
def test_it_takes_agreement_to_move(scores: tuple[float, ...], levels: str) -> None:
    assert play(Bands(BandsConfig(dwell_s=0.0)), *scores) == levels


def test_a_level_is_kept_for_its_dwell() -> None:
    assert play(Bands(BandsConfig(dwell_s=6.0)), 50, 90, 90, 90, 90, 90, 90) == "ddddddg"


def test_one_incident_is_two_changes_however_deep() -> None:
    bands = Bands(BandsConfig(bad_evaluations=1, good_evaluations=1, dwell_s=0.0, flap_changes=4))
    assert play(bands, 90, 50, 10, 60, 90) == "gdcdg"
    assert not bands.flapping(5.0)


def test_what_flaps_stays_at_the_worse_level_until_it_is_calm() -> None:
    config = BandsConfig(bad_evaluations=1, good_evaluations=1, dwell_s=0.0, flap_changes=4, flap_window_s=100.0)
    bands = Bands(config)
    assert play(bands, 90, 50, 90, 50, 90, 90) == "gdgddd"
    assert bands.flapping(6.0)
    assert bands.step(100.0, 90.0) is None
    move = bands.step(101.0, 90.0)  # The first of the changes was 100 s ago.
    assert move is not None
    assert move.better
    assert (move.seq, move.before, move.after) == (5, "degraded", "good")


def test_an_urgent_fall_waits_for_nothing_and_nothing_improves_while_it_lasts() -> None:
    bands = Bands(QUICK)
    bands.step(0.0, 90.0)
    move = bands.step(0.0, 90.0, urgent=True)
    assert move is not None
    assert (move.after, move.cause, move.better) == ("critical", "urgent", False)
    assert bands.step(1.0, 90.0, urgent=True) is None
    assert bands.level == "critical"
    assert bands.step(2.0, 90.0) is not None


def test_the_same_moment_counts_once_and_time_that_goes_back_not_at_all() -> None:
    bands = Bands(BandsConfig())
    for now in (10.0, 11.0, 11.0, 11.0, 3.0):
        bands.step(now, 20.0 if now != 10.0 else 90.0)
    assert (bands.level, bands.since) == ("good", 10.0)
    move = bands.step(12.0, 20.0)
    assert move is not None
    assert move.after == "critical"


@pytest.mark.parametrize(("now", "score"), [(nan, 5.0), (inf, 5.0), (1.0, nan), (1.0, -0.1), (1.0, 100.1)])
def test_what_is_no_time_or_no_score_is_refused(now: float, score: float) -> None:
    bands = Bands(QUICK)
    with pytest.raises(ValueError, match="a step needs"):
        bands.step(now, score)
    assert bands.level == "unknown"
    assert bands.step(0.0, 100.0) is not None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"degraded_until": 60.0}, "ascend"),
        ({"critical_below": -1.0}, "ascend"),
        ({"degraded_until": 101.0}, "ascend"),
        ({"critical_until": nan}, "ascend"),
        ({"bad_evaluations": 0}, "bad_evaluations"),
        ({"good_evaluations": 0}, "good_evaluations"),
        ({"dwell_s": -1.0}, "dwell_s"),
        ({"dwell_s": inf}, "dwell_s"),
        ({"flap_changes": 1}, "flap_changes"),
        ({"flap_window_s": 0.0}, "flap_window_s"),
    ],
)
def test_impossible_bands_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BandsConfig(**changes)


class Remembered:
    """The same rules over everything that ever happened, without a counter."""

    def __init__(self, config: BandsConfig) -> None:
        self.config = config
        self.level: Level = "unknown"
        self.since = -inf
        self.seen: list[tuple[float, float]] = []
        """Evaluations since the last move."""
        self.last = -inf
        self.runs: list[float] = []
        self.down = False

    def wanted(self, score: float) -> Level:
        config = self.config
        low = config.critical_until if self.level == "critical" else config.critical_below
        high = config.degraded_below if self.level == "good" else config.degraded_until
        if score < low:
            return "critical"
        return "degraded" if score < high or self.level == "critical" else "good"

    def move(self, now: float, after: Level) -> None:
        down = RANK[after] > RANK[self.level]
        self.runs = [start for start in self.runs if now - start < self.config.flap_window_s]
        if down != self.down or not self.runs:
            self.runs.append(now)
        self.down, self.level, self.since, self.seen = down, after, now, []

    def step(self, now: float, score: float, *, urgent: bool) -> None:
        if self.level == "unknown":
            self.level = "good"
            self.level = "critical" if urgent else self.wanted(score)
            self.since = self.last = now
            self.down = False
            if urgent:
                self.runs, self.down = [now], True
            return
        if urgent:
            self.last = max(now, self.last)
            self.seen.append((self.last, 0.0))
            if self.level != "critical":
                self.move(self.last, "critical")
            return
        if now <= self.last:
            return
        self.last = now
        self.seen.append((now, score))
        wants = [self.wanted(value) for _, value in self.seen]
        bad, good = self.config.bad_evaluations, self.config.good_evaluations
        worse: list[Level] = []
        for want in reversed(wants):
            if RANK[want] <= RANK[self.level]:
                break
            worse.append(want)
        if len(worse) >= bad:
            self.move(now, min(worse, key=RANK.__getitem__))
            return
        runs = [start for start in self.runs if now - start < self.config.flap_window_s]
        calm = not self.down or len(runs) < self.config.flap_changes - 1
        better = len(wants) >= good and all(RANK[want] < RANK[self.level] for want in wants[-good:])
        if better and calm and now - self.since >= self.config.dwell_s:
            self.move(now, wants[-1])


STEPS = st.lists(
    st.tuples(
        st.sampled_from((-3.0, 0.0, 0.5, 1.0, 4.0, 30.0, 90.0)),
        st.sampled_from((0.0, 20.0, 34.9, 35.0, 42.0, 50.0, 60.0, 65.0, 70.0, 75.0, 90.0, 100.0)),
        st.integers(0, 19).map(lambda number: number == 0),
    ),
    max_size=120,
)
CONFIGS = st.builds(
    BandsConfig,
    bad_evaluations=st.integers(1, 3),
    good_evaluations=st.integers(1, 3),
    dwell_s=st.sampled_from((0.0, 5.0, 60.0)),
    flap_changes=st.integers(2, 6),
    flap_window_s=st.sampled_from((10.0, 100.0, 600.0)),
)


@settings(max_examples=300, deadline=None)
@given(CONFIGS, STEPS)
def test_it_agrees_with_a_model_that_remembers_everything(
    config: BandsConfig, steps: list[tuple[float, float, bool]]
) -> None:
    bands, model, now, seqs = Bands(config), Remembered(config), 0.0, []
    for wait_s, score, urgent in steps:
        now += wait_s
        before = bands.level
        move = bands.step(now, score, urgent=urgent)
        model.step(now, score, urgent=urgent)
        assert bands.level == model.level
        assert (move is None) == (before == bands.level)
        if move is not None:
            assert (move.before, move.after) == (before, bands.level)
            seqs.append(move.seq)
    assert seqs == list(range(1, len(seqs) + 1))

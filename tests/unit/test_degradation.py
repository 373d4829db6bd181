"""Degradation: the order of switching, its pace, people's orders, and a model that climbs the ladder by hand."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.core.bands import Level
from harness.services.degradation import (
    Change,
    Degradation,
    DegradationConfig,
    Feature,
    Mode,
    ModeMoved,
    Switched,
)

FEATURES = (
    Feature(name="chat", criticality="essential"),
    Feature(name="history", criticality="important", in_maintenance=True),
    Feature(name="export", criticality=40),
    Feature(name="search", criticality="optional"),
    Feature(name="typing", criticality=10),
    Feature(name="previews", criticality=10),
)
CONFIG = DegradationConfig(features=FEATURES)


def words(changes: tuple[Change, ...]) -> list[str]:
    """Changes as short words."""
    return [
        change.after if isinstance(change, ModeMoved) else f"{'+' if change.on else '-'}{change.feature}"
        for change in changes
    ]


def play(ladder: Degradation, *stretches: tuple[Level, int], since: float = 0.0) -> list[str]:
    """One update a second, so many of each level; what happened when."""
    told = []
    for number, level in enumerate(level for level, count in stretches for _ in range(count)):
        now = since + number
        told += [f"{now:g}:{word}" for word in words(ladder.update(now, level))]
    return told


def test_the_least_critical_goes_first_step_by_step_and_comes_back_last() -> None:
    ladder = Degradation(CONFIG)
    assert play(ladder, ("degraded", 20)) == [
        "0:-previews", "0:-typing", "0:degraded", "5:-search", "10:-export",
    ]  # fmt: skip
    assert ladder.report(20.0).off == ("export", "search", "typing", "previews")
    assert ladder.report(20.0).on == ("chat", "history")
    assert play(ladder, ("good", 120), since=20.0) == [
        "40:+export", "70:+search", "100:+typing", "100:+previews", "100:full",
    ]  # fmt: skip


def test_what_is_critical_does_not_wait() -> None:
    ladder = Degradation(CONFIG)
    play(ladder, ("degraded", 1))
    assert words(ladder.update(1.0, "critical")) == ["-search", "-export", "-history"]
    assert ladder.enabled("chat")
    assert play(ladder, ("degraded", 40), since=2.0) == ["31:+history"]


def test_an_unknown_level_changes_nothing() -> None:
    ladder = Degradation(CONFIG)
    assert play(ladder, ("unknown", 10)) == []
    play(ladder, ("degraded", 20), since=10.0)
    assert play(ladder, ("unknown", 100), since=30.0) == []
    assert ladder.mode == "degraded"


def test_a_step_down_that_was_not_needed_any_more_is_not_taken() -> None:
    ladder = Degradation(CONFIG)
    assert play(ladder, ("degraded", 1), ("good", 40)) == [
        "0:-previews", "0:-typing", "0:degraded", "30:+typing", "30:+previews", "30:full",
    ]  # fmt: skip


def test_the_report_says_when_the_next_step_may_be_taken() -> None:
    ladder = Degradation(CONFIG)
    assert ladder.report(0.0).next_step_s is None
    ladder.update(0.0, "degraded")
    assert ladder.report(2.0).next_step_s == 3.0
    ladder.update(1.0, "good")
    assert ladder.report(2.0).next_step_s == 28.0


def test_maintenance_is_ordered_by_somebody_for_some_time() -> None:
    ladder = Degradation(CONFIG)
    changes = ladder.override(0.0, "maintenance", author="Ada", reason="new disk", ttl_s=600.0)
    assert words(changes) == ["-previews", "-typing", "-search", "-export", "-chat", "maintenance"]
    (moved,) = (change for change in changes if isinstance(change, ModeMoved))
    assert moved == ModeMoved(1, "full", "maintenance", "ordered", "Ada", "new disk")
    assert not ladder.enabled("chat")
    assert ladder.enabled("history")
    assert ladder.retry_after_s(100.0) == 500.0
    assert ladder.update(599.0, "good") == ()
    ended = ladder.update(600.0, "good")
    assert words(ended) == ["+chat", "+export", "+search", "+typing", "+previews", "full"]
    assert ended[-1] == ModeMoved(2, "maintenance", "full", "expired")
    assert ladder.retry_after_s(600.0) is None


def test_behind_an_order_the_ladder_goes_on() -> None:
    ladder = Degradation(CONFIG)
    ladder.override(0.0, "full", author="Ada", reason="a test", ttl_s=50.0)
    assert play(ladder, ("critical", 49)) == []
    assert ladder.mode == "full"
    assert words(ladder.update(50.0, "critical"))[-2:] == ["-history", "degraded"]


def test_a_person_may_order_degraded_and_take_it_back() -> None:
    ladder = Degradation(CONFIG)
    assert words(ladder.override(0.0, "degraded", author="Ada", reason="a storm", ttl_s=50.0))[-1] == "degraded"
    assert ladder.report(0.0).on == ("chat",)
    assert words(ladder.override(1.0, "maintenance", author="Bob", reason="worse", ttl_s=50.0)) == [
        "-chat", "+history", "maintenance",
    ]  # fmt: skip
    released = ladder.release(2.0, author="Ada")
    assert ladder.mode == "full"
    assert released[-1] == ModeMoved(3, "maintenance", "full", "released", "Ada")
    assert ladder.release(3.0, author="Ada") == ()


def test_an_order_that_changes_nothing_is_still_held() -> None:
    ladder = Degradation(CONFIG)
    assert ladder.override(0.0, "full", author="Ada", reason="a test", ttl_s=5.0) == ()
    held = ladder.report(0.0).override
    assert held is not None
    assert (held.author, held.until) == ("Ada", 5.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "off"}, "mode"),
        ({"ttl_s": 0.0}, "ttl_s"),
        ({"ttl_s": nan}, "ttl_s"),
        ({"ttl_s": 86_401.0}, "ttl_s"),
        ({"author": " "}, "author"),
        ({"author": "x" * 81}, "author"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"now": nan}, "now"),
    ],
)
def test_an_order_that_nobody_can_answer_for_is_refused(changes: dict[str, Any], says: str) -> None:
    ladder = Degradation(CONFIG)
    given: dict[str, Any] = {"now": 0.0, "mode": "maintenance", "author": "Ada", "reason": "x", "ttl_s": 1.0, **changes}
    with pytest.raises(ValueError, match=says):
        ladder.override(given.pop("now"), given.pop("mode"), **given)
    assert ladder.mode == "full"
    assert ladder.report(0.0).override is None


def test_unknown_features_and_bad_times_are_refused() -> None:
    ladder = Degradation(CONFIG)
    with pytest.raises(ValueError, match="no feature 'serach'; there are chat"):
        ladder.enabled("serach")
    with pytest.raises(ValueError, match="now"):
        ladder.update(nan, "critical")
    with pytest.raises(ValueError, match="now"):
        ladder.release(inf, author="Ada")
    with pytest.raises(ValueError, match="level"):
        ladder.update(0.0, "splendid")  # type: ignore[arg-type]
    assert ladder.mode == "full"


def test_time_that_goes_back_counts_as_standing_still() -> None:
    ladder = Degradation(CONFIG)
    ladder.update(100.0, "degraded")
    assert ladder.update(0.0, "degraded") == ()
    assert words(ladder.update(105.0, "degraded")) == ["-search"]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"features": (FEATURES[0], FEATURES[0])}, "once"),
        ({"kept_from": {"good": 0, "degraded": 50}}, "kept_from"),
        ({"kept_from": {"good": 1, "degraded": 50, "critical": 100}}, "ascend"),
        ({"kept_from": {"good": 0, "degraded": 50, "critical": 40}}, "ascend"),
        ({"kept_from": {"good": 0, "degraded": 50, "critical": 101}}, "ascend"),
        ({"off_every_s": -1.0}, "off_every_s"),
        ({"on_every_s": inf}, "on_every_s"),
        ({"override_max_s": 0.0}, "override_max_s"),
    ],
)
def test_an_impossible_ladder_is_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DegradationConfig(**{"features": FEATURES, **given_})


@pytest.mark.parametrize(("name", "criticality"), [("", 5), ("x", "vital"), ("x", -1), ("x", 101)])
def test_a_feature_without_a_place_is_refused(name: str, criticality: Any) -> None:
    with pytest.raises(ValueError, match=r"name|criticality"):
        Feature(name=name, criticality=criticality)


class Ladder(RuleBasedStateMachine):
    """A person who knows the ladder as a list of steps, beside the machine."""

    @initialize(ranks=st.lists(st.integers(0, 100), max_size=6), off_s=st.sampled_from((0.0, 5.0)))
    def start(self, ranks: list[int], off_s: float) -> None:
        features = tuple(Feature(name=f"f{at}", criticality=rank) for at, rank in enumerate(ranks))
        self.config = DegradationConfig(features=features, off_every_s=off_s, on_every_s=20.0)
        self.ladder = Degradation(self.config)
        self.steps = sorted(set(ranks))
        """The criticalities, the lowest step first; the first ``down`` of them are off."""
        self.down = 0
        self.now = 0.0
        self.last = -inf
        self.level: Level = "good"
        self.order: tuple[Mode, float] | None = None
        self.on = {feature.name for feature in features}
        self.mode: Mode = "full"
        self.seq = 0

    @rule(
        wait_s=st.sampled_from((0.0, 1.0, 5.0, 20.0)),
        level=st.sampled_from(("good", "degraded", "critical", "unknown")),
    )
    def update(self, wait_s: float, level: Level) -> None:
        self.now += wait_s
        if level != "unknown":
            self.level = level
        if self.order is not None and self.now >= self.order[1]:
            self.order = None
        goal = sum(rank < self.config.kept_from[self.level] for rank in self.steps)
        rested = self.now - self.last
        if goal < self.down and rested >= self.config.on_every_s:
            self.down, self.last = self.down - 1, self.now
        elif goal > self.down and self.level == "critical":
            self.down, self.last = goal, self.now
        elif goal > self.down and rested >= self.config.off_every_s:
            self.down, self.last = self.down + 1, self.now
        self.hear(self.ladder.update(self.now, level))

    @rule(mode=st.sampled_from(("full", "degraded", "maintenance")), ttl_s=st.sampled_from((3.0, 50.0)))
    def order_(self, mode: Mode, ttl_s: float) -> None:
        self.order = (mode, self.now + ttl_s)
        self.hear(self.ladder.override(self.now, mode, author="Ada", reason="a test", ttl_s=ttl_s))

    @rule()
    def release(self) -> None:
        self.order = None
        self.hear(self.ladder.release(self.now, author="Ada"))

    def hear(self, changes: tuple[Change, ...]) -> None:
        """Every change is a change, and in order."""
        ranks = []
        for change in changes:
            if isinstance(change, Switched):
                assert (change.feature in self.on) is not change.on
                self.on ^= {change.feature}
                ranks.append((change.on, change.criticality))
            else:
                self.seq += 1
                assert (change.seq, change.before) == (self.seq, self.mode)
                assert change.after != self.mode
                self.mode = change.after
        offs, ons = [rank for on, rank in ranks if not on], [rank for on, rank in ranks if on]
        assert offs == sorted(offs)
        assert ons == sorted(ons, reverse=True)

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if not hasattr(self, "ladder"):
            return
        match self.order:
            case None:
                lost = set(self.steps[: self.down])
                off = {feature.name for feature in self.config.features if feature.rank in lost}
            case ("full", _):
                off = set()
            case ("degraded", _):
                off = {feature.name for feature in self.config.features if feature.rank < 100}
            case _:
                off = {feature.name for feature in self.config.features}
        assert {feature.name for feature in self.config.features if not self.ladder.enabled(feature.name)} == off
        mode = self.order[0] if self.order is not None else ("degraded" if off else "full")
        assert self.ladder.mode == self.mode == mode
        report = self.ladder.report(self.now)
        assert set(report.off) == off
        assert set(report.on) == self.on


TestLadder = Ladder.TestCase
TestLadder.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)

"""The history against a naive one that keeps every tick; and what it refuses."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.core.histogram import Histogram
from harness.core.point import Point
from harness.core.series import Family, Labels, Observation, Snapshot, Value
from harness.core.stats import percentile
from harness.services.aggregator import Aggregator, AggregatorConfig

TURNS = Family(name="turns_total", kind="counter", help="T.", labels=("bot",))
QUEUE = Family(name="queue", kind="gauge", help="Q.", labels=("bot",))
REPLY = Family(name="reply_seconds", kind="histogram", help="R.", unit="seconds", labels=("bot",))
START = 1_800_000_000  # The beginning of an hour.
T = TypeVar("T")
A: Labels = (("bot", "a"),)
B: Labels = (("bot", "b"),)


def one(family: Family, value: Value, labels: Labels = A) -> list[Snapshot]:
    return [Snapshot(family, ((labels, value),))]


def ask(aggregator: Aggregator, family: Family, agg: str, window_s: float, now: float) -> Observation | None:
    return aggregator.query(family.name, {}, agg, window_s, now).get(A)


@dataclass
class Naive:
    """Every tick of every series, for ever."""

    gauges: dict[Labels, dict[int, float]] = field(default_factory=dict)
    counts: dict[Labels, dict[int, float]] = field(default_factory=dict)
    values: dict[Labels, dict[int, list[float]]] = field(default_factory=dict)


class AgainstANaiveHistory(RuleBasedStateMachine):
    """Time goes on with gaps, series come and go, counters start anew: every window is what all its ticks are."""

    @initialize(seed=st.integers(0, 2**32), start=st.integers(0, 3_599))
    def begin(self, seed: int, start: int) -> None:
        self.dice = random.Random(seed)
        self.now = START + start
        self.naive = Naive()
        self.counters: dict[Labels, float] = {A: 0.0}
        self.histograms: dict[Labels, Histogram] = {A: Histogram()}
        self.before: dict[Labels, float] = {}
        # Few hours and no dropping, so that rings turn over and nothing is forgotten in between.
        self.aggregator = Aggregator(AggregatorConfig(seconds_kept=180, minutes_kept=130, hours_kept=5))
        self.rows: dict[tuple[int, int, str, Labels], Point] = {}

    @rule(ticks=st.integers(1, 150), skip=st.sampled_from([1, 1, 1, 1, 2, 59, 60, 61, 200, 3_600, 7_000]))
    def time_goes_on(self, ticks: int, skip: int) -> None:
        self.now += skip - 1
        for _ in range(ticks):
            self.now += 1
            self._tick()

    @rule()
    def a_counter_starts_anew(self) -> None:
        for labels in self.counters:
            self.counters[labels] = 0.0

    @rule()
    def a_series_comes_or_goes(self) -> None:
        if B in self.counters:
            del self.counters[B], self.histograms[B]
            self.before.pop(B, None)
        else:
            self.counters[B], self.histograms[B] = 0.0, Histogram()

    def _tick(self) -> None:
        gauges: list[tuple[Labels, Value]] = []
        for labels in self.counters:
            gauge = self.dice.randrange(-4_096, 4_096) / 64  # Sums of these are exact, in whatever order.
            more = self.dice.choice([0, 0, 1, 3])
            fresh = [self.dice.lognormvariate(0, 1) for _ in range(self.dice.choice([0, 0, 1, 2]))]
            self.counters[labels] += more
            # One that started anew and is beyond where it was looks like one that went on: nobody can tell.
            value, before = self.counters[labels], self.before.get(labels, 0.0)
            self.before[labels] = value
            added = value - before if value >= before else value
            for took in fresh:
                self.histograms[labels].record(took)
            gauges.append((labels, gauge))
            self.naive.gauges.setdefault(labels, {})[self.now] = gauge
            self.naive.counts.setdefault(labels, {})[self.now] = added
            self.naive.values.setdefault(labels, {})[self.now] = fresh
        snapshots = [
            Snapshot(QUEUE, tuple(gauges)),
            Snapshot(TURNS, tuple(self.counters.items())),
            Snapshot(REPLY, tuple(self.histograms.items())),
        ]
        for row in self.aggregator.tick(self.now + self.dice.random() / 4, snapshots):
            self.rows[row.tier, row.ts, row.family.name, row.labels] = row.point

    @invariant()
    def every_window_is_what_its_ticks_are(self) -> None:
        if not self.naive.gauges:
            return
        window = self.dice.choice([1, 7, 59, 60, 61, 100, 180])
        held = self._held(self.naive.gauges, self.now - window + 1)
        for agg, make in (("min", min), ("max", max), ("avg", lambda found: math.fsum(found) / len(found))):
            expected = {labels: make(list(found.values())) for labels, found in held.items()}
            got = self.aggregator.query("queue", {}, agg, window, self.now)
            assert {labels: one.value for labels, one in got.items()} == expected
            for labels, observation in got.items():
                assert observation.n == len(held[labels])
                assert observation.coverage == len(held[labels]) / window
        got = self.aggregator.query("queue", {}, "last", window, self.now)
        assert {labels: one.value for labels, one in got.items()} == {
            labels: found[max(found)] for labels, found in held.items()
        }
        self._counts(window)

    def _counts(self, window: int) -> None:
        held = self._held(self.naive.counts, self.now - window + 1)
        got = self.aggregator.query("turns_total", {}, "increase", window, self.now)
        assert {labels: one.value for labels, one in got.items()} == {
            labels: sum(found.values()) for labels, found in held.items()
        }
        window = min(window, 100)
        values = self._held(self.naive.values, self.now - window + 1)
        flat = {labels: sorted(v for tick in found.values() for v in tick) for labels, found in values.items()}
        got = self.aggregator.query("reply_seconds", {}, "p90", window, self.now)
        assert set(got) == {labels for labels, found in flat.items() if found}
        for labels, observation in got.items():
            assert observation.n == len(flat[labels])
            # A value of a difference stands in its bucket, of which the bounds are 2.2 % apart.
            assert observation.value == pytest.approx(percentile(flat[labels], 0.9), rel=0.022)
        everything = sorted(value for found in flat.values() for value in found)
        together = self.aggregator.query("reply_seconds", {}, "p90", window, self.now, by=())
        if everything:
            assert together[()].value == pytest.approx(percentile(everything, 0.9), rel=0.022)

    @invariant()
    def every_closed_step_is_what_its_ticks_are(self) -> None:
        for (tier, ts, name, labels), point in self.rows.items():
            step = (1, 60, 3_600)[tier]
            if name == "queue":
                ticks = self.naive.gauges[labels]
                found = [ticks[at] for at in range(ts, ts + step) if at in ticks]
                assert point == Point(len(found), sum(found), min(found), max(found), found[-1])
            if name == "reply_seconds":
                heard = [value for at in range(ts, ts + step) for value in self.naive.values[labels].get(at, ())]
                assert point.total == len(heard)
                assert (point.histogram.n if point.histogram else 0) == len(heard)
        self.rows.clear()

    def _held(self, ticks: Mapping[Labels, dict[int, T]], first: int) -> dict[Labels, dict[int, T]]:
        held = {labels: {at: one for at, one in found.items() if at >= first} for labels, found in ticks.items()}
        return {labels: found for labels, found in held.items() if found}


AgainstANaiveHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAgainstANaiveHistory = AgainstANaiveHistory.TestCase

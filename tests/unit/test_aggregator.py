"""The history against a naive one that keeps every tick; and what it refuses."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.core.histogram import Histogram
from harness.core.point import HOURS, MINUTES, SECONDS, Point, Row
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
        else:
            self.counters[B], self.histograms[B] = 0.0, Histogram()

    def _tick(self) -> None:
        gauges: list[tuple[Labels, Value]] = []
        # Gone and back between two ticks is a start anew; only a tick without it shows that it was gone.
        self.before = {labels: value for labels, value in self.before.items() if labels in self.counters}
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


# --- What a window is -------------------------------------------------------------------------------------------------
def filled(seconds: int, config: AggregatorConfig | None = None) -> Aggregator:
    """A counter that grows by 2 and a gauge that counts the seconds, for so many seconds."""
    aggregator = Aggregator(config)
    for at in range(seconds):
        aggregator.tick(START + at, [*one(TURNS, 2.0 * (at + 1)), *one(QUEUE, float(at))])
    return aggregator


def test_longer_windows_use_minutes_and_hours_and_come_to_the_same() -> None:
    small = AggregatorConfig(seconds_kept=120, minutes_kept=60, hours_kept=10)
    seconds = 4 * 3_600 + 125
    aggregator, now = filled(seconds, small), START + 4 * 3_600 + 124
    for window in (3_600, 7_200, 10_000, 4 * 3_600):
        answer = ask(aggregator, TURNS, "increase", window, now)
        assert answer is not None
        # It may begin earlier, at the hour before its first second.
        assert 2 * window <= answer.value <= 2 * (window + 3_600)
        assert answer.coverage == 1.0
        rate = ask(aggregator, TURNS, "rate", window, now)
        assert rate is not None
        assert rate.value == pytest.approx(2.0)
        lowest = ask(aggregator, QUEUE, "min", window, now)
        assert lowest is not None
        assert seconds - window - 3_600 <= lowest.value <= seconds - window
    assert ask(aggregator, QUEUE, "last", 1, now) == Observation(float(seconds - 1), 1.0, 1.0)


def test_a_rate_is_over_the_time_in_which_the_series_was_there() -> None:
    aggregator = filled(10)
    assert ask(aggregator, TURNS, "rate", 60, START + 9) == Observation(2.0, 20.0, 10 / 60)
    assert ask(aggregator, TURNS, "increase", 60, START + 9) == Observation(20.0, 20.0, 10 / 60)


def test_a_gap_lowers_the_coverage_and_nothing_else() -> None:
    aggregator = Aggregator()
    for at in (0, 1, 2, 7, 8, 9):
        aggregator.tick(START + at, [*one(TURNS, float(at + 1)), *one(QUEUE, 5.0)])
    assert ask(aggregator, QUEUE, "avg", 10, START + 9) == Observation(5.0, 6.0, 0.6)
    assert ask(aggregator, TURNS, "increase", 10, START + 9) == Observation(10.0, 10.0, 0.6)
    assert aggregator.late == 1
    assert [row.ts for row in aggregator.rows("queue", SECONDS, START, START + 9)] == [
        START + at for at in (0, 1, 2, 7, 8, 9)
    ]
    # Nobody ticked since: what is asked for is not all there.
    assert ask(aggregator, QUEUE, "last", 10, START + 14) == Observation(5.0, 3.0, 0.3)
    assert ask(aggregator, QUEUE, "last", 10, START + 99) is None


def test_one_missed_second_is_noted() -> None:
    aggregator = Aggregator()
    aggregator.tick(START, [])
    aggregator.tick(START + 2, [])
    assert aggregator.late == 1


def test_a_counter_that_comes_back_starts_at_zero_however_high_it_is() -> None:
    aggregator = Aggregator()
    for at, value in ((0, 5.0), (1, None), (2, 7.0), (3, 7.0)):
        aggregator.tick(START + at, [] if value is None else one(TURNS, value))
    assert ask(aggregator, TURNS, "increase", 60, START + 3) == Observation(12.0, 12.0, 3 / 60)


def test_a_window_one_second_longer_than_the_seconds_begins_at_its_minute() -> None:
    aggregator = filled(400, AggregatorConfig(seconds_kept=120))
    assert ask(aggregator, QUEUE, "min", 120, START + 399) == Observation(280.0, 120.0, 1.0)
    assert ask(aggregator, QUEUE, "min", 121, START + 399) == Observation(240.0, 160.0, 1.0)


def test_a_tick_late_in_its_second_is_noted() -> None:
    aggregator = Aggregator()
    aggregator.tick(START + 0.9, [])
    aggregator.tick(START + 1.1, [])
    assert aggregator.late == 0
    aggregator.tick(START + 2.6, [])
    assert aggregator.late == 1


def test_groups_are_added_up_before_anything_is_divided() -> None:
    aggregator = Aggregator()
    fast, slow = Histogram(), Histogram()
    for at in range(10):
        for _ in range(99):
            fast.record(0.1)
        slow.record(10.0)
        aggregator.tick(
            START + at,
            [
                Snapshot(REPLY, ((A, fast), (B, slow))),
                Snapshot(TURNS, ((A, 3.0 * at), (B, 1.0 * at))),
                Snapshot(QUEUE, ((A, 4.0), (B, 6.0))),
            ],
        )
    now = START + 9

    def together(name: str, agg: str) -> float:
        return aggregator.query(name, {}, agg, 10, now, by=())[()].value

    assert together("reply_seconds", "p99") == pytest.approx(0.1, rel=0.011)
    assert together("reply_seconds", "p99.5") == pytest.approx(10.0, rel=0.011)
    assert together("reply_seconds", "avg") == pytest.approx((99 * 0.1 + 10) / 100)
    assert together("reply_seconds", "min") == pytest.approx(0.1, rel=0.022)
    assert together("reply_seconds", "max") == pytest.approx(10.0, rel=0.022)
    assert together("reply_seconds", "increase") == 1_000
    assert together("reply_seconds", "rate") == 100
    assert together("turns_total", "rate") == 3.6
    assert [together("queue", agg) for agg in ("last", "min", "max")] == [10, 4, 6]
    by_bot = aggregator.query("queue", {"bot": ("a", "x")}, "last", 10, now, by=("bot",))
    assert {labels: one.value for labels, one in by_bot.items()} == {A: 4}
    others = aggregator.query("queue", {}, "last", 10, now, unless={"bot": ("a",)})
    assert {labels: one.value for labels, one in others.items()} == {B: 6}


def test_what_a_removed_bot_had_is_not_part_of_what_there_is() -> None:
    aggregator = Aggregator()
    aggregator.tick(START, [Snapshot(QUEUE, ((A, 4.0), (B, 6.0)))])
    aggregator.tick(START + 1, [Snapshot(QUEUE, ((A, 5.0),))])
    assert aggregator.query("queue", {}, "last", 10, START + 1, by=())[()].value == 5
    assert aggregator.query("queue", {}, "max", 10, START + 1, by=())[()].value == 6
    assert aggregator.query("queue", {"bot": ("b",)}, "last", 10, START + 1, by=())[()].value == 6


def test_no_reply_has_no_percentile_but_a_rate() -> None:
    aggregator = Aggregator()
    aggregator.tick(START, one(REPLY, Histogram()))
    assert ask(aggregator, REPLY, "p95", 60, START) is None
    assert ask(aggregator, REPLY, "rate", 60, START) == Observation(0.0, 0.0, 1 / 60)


def test_a_value_that_is_no_number_is_a_gap() -> None:
    aggregator = Aggregator()
    aggregator.tick(START, one(QUEUE, math.nan))
    aggregator.tick(START + 1, one(QUEUE, math.inf))
    aggregator.tick(START + 2, one(QUEUE, 1.1e290))
    assert ask(aggregator, QUEUE, "last", 60, START + 2) is None


def test_the_largest_values_add_up_over_an_hour() -> None:
    aggregator = Aggregator()
    for second in range(3_600):
        aggregator.tick(START + second, one(QUEUE, 1e290))
    assert all(math.isfinite(row.point.total) for row in aggregator.remains())
    mean = ask(aggregator, QUEUE, "avg", 3_600, START + 3_599)
    assert mean is not None
    assert mean.value == pytest.approx(1e290)


# --- What is refused --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("family", "agg", "says"),
    [
        (QUEUE, "rate", "means nothing for a gauge; take one of avg, last, max, min"),
        (QUEUE, "p95", "means nothing for a gauge"),
        (TURNS, "last", "means nothing for a counter; take one of increase, rate"),
        (REPLY, "last", "means nothing for a histogram"),
        (REPLY, "p0", "means nothing for a histogram"),
        (REPLY, "pNN", "means nothing for a histogram"),
        (REPLY, "median", "agg 'median' means nothing"),
    ],
)
def test_a_question_that_means_nothing_is_refused(family: Family, agg: str, says: str) -> None:
    aggregator = Aggregator()
    aggregator.tick(START, [*one(TURNS, 1.0), *one(QUEUE, 1.0), *one(REPLY, Histogram([1.0]))])
    with pytest.raises(ValueError, match=says):
        ask(aggregator, family, agg, 60, START)


def test_an_average_of_averages_is_refused() -> None:
    with pytest.raises(ValueError, match="average of averages"):
        filled(1).query("queue", {}, "avg", 60, START, by=())


@pytest.mark.parametrize("window", [0.0, 0.5, -1.0, math.nan, math.inf, 8 * 86_400.0])
def test_a_window_that_cannot_be_is_refused(window: float) -> None:
    with pytest.raises(ValueError, match="window_s must be from 1 to 604800"):
        filled(1).query("queue", {}, "last", window, START)


def test_a_name_without_history_has_no_data() -> None:
    assert filled(1).query("unheard_of", {}, "last", 60, START) == {}
    assert Aggregator().query("queue", {}, "last", 60, START) == {}
    with pytest.raises(ValueError, match="Unix seconds"):
        filled(1).query("queue", {}, "last", 60, math.nan)


@pytest.mark.parametrize("now", [START, START + 0.9, START - 5.0, -1.0, math.nan, math.inf])
def test_time_moves_on_or_the_tick_is_refused_and_nothing_changes(now: float) -> None:
    aggregator = filled(1)
    with pytest.raises(ValueError, match=r"time must move on|Unix seconds"):
        aggregator.tick(now, one(QUEUE, 99.0))
    assert ask(aggregator, QUEUE, "last", 60, START) == Observation(0.0, 1.0, 1 / 60)


def test_a_family_that_changes_its_kind_is_refused_and_nothing_changes() -> None:
    aggregator = filled(1)
    changed = Family(name="queue", kind="histogram", help="Q.")
    with pytest.raises(ValueError, match="queue is a gauge, not a histogram"):
        aggregator.tick(START + 1, [*one(TURNS, 9.0), *one(changed, Histogram())])
    assert ask(aggregator, TURNS, "increase", 60, START + 1) == Observation(2.0, 2.0, 1 / 60)


@pytest.mark.parametrize(
    "words",
    [
        {"series_max": 0},
        {"absent_max_s": 0},
        {"seconds_kept": 60},
        {"seconds_kept": 150},
        {"minutes_kept": 59},
        {"hours_kept": 1},
    ],
)
def test_a_history_that_could_not_close_an_hour_is_refused(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AggregatorConfig(**words)


def test_series_are_bounded_and_those_that_went_make_room() -> None:
    aggregator = Aggregator(AggregatorConfig(series_max=1, absent_max_s=3))
    aggregator.tick(START, [Snapshot(QUEUE, ((A, 4.0), (B, 6.0)))])
    assert (aggregator.series, aggregator.refused) == (1, 1)
    assert (aggregator.count("queue"), aggregator.count("unheard_of")) == (1, 0)
    for at in range(1, 4):
        aggregator.tick(START + at, [])
    assert aggregator.series == 0
    aggregator.tick(START + 4, one(QUEUE, 6.0, B))
    assert set(aggregator.query("queue", {}, "last", 60, START + 4)) == {B}


# --- One life after another -------------------------------------------------------------------------------------------
def lives(seconds: int, ends: list[int]) -> tuple[dict[tuple[int, int, str], Point], Aggregator]:
    """The same seconds in one life, or in several that each go on from what the one before has written."""
    disk: dict[tuple[int, int, str], Row] = {}
    heard = Histogram()
    aggregator = Aggregator()

    def keep(rows: tuple[Row, ...]) -> None:
        disk.update({(row.tier, row.ts, row.family.name): row for row in rows})

    for at in range(seconds):
        if at in ends:
            keep(aggregator.remains())
            aggregator, heard = Aggregator(), Histogram()
            keep(aggregator.restore(START + at, disk.values()))
        heard.record(1.0 + at % 7)
        keep(aggregator.tick(START + at, [*one(QUEUE, float(at % 100)), *one(REPLY, heard)]))
    keep(aggregator.remains())
    return {place: row.point for place, row in disk.items()}, aggregator


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 7_400), max_size=4))
def test_any_split_of_time_into_lives_writes_the_same_steps(ends: list[int]) -> None:
    whole, unbroken = lives(7_400, [])
    split, last = lives(7_400, ends)
    assert set(split) == set(whole)
    for place, point in whole.items():
        other = split[place]
        assert (other.n, other.total, other.low, other.high, other.last) == (
            *(point.n, point.total, point.low, point.high, point.last),
        )
        assert point.histogram is None or (
            other.histogram is not None and other.histogram.counts == point.histogram.counts
        )
    now = START + 7_399
    for window in (3_600, 7_200):
        alike = [ask(one_life, QUEUE, "max", window, now) for one_life in (unbroken, last)]
        assert alike[0] is not None
        assert alike[1] is not None
        assert alike[0].value == alike[1].value


def test_an_hour_that_a_killed_life_did_not_close_is_closed_by_the_next() -> None:
    first = Aggregator()
    minutes: list[Row] = []
    for at in range(1_000):
        minutes += first.tick(START + at, one(QUEUE, float(at)))
    second = Aggregator()
    hours = second.restore(START + 5_000, minutes)
    assert hours == (Row(QUEUE, A, HOURS, START, Point(960, sum(range(960)), 0.0, 959.0, 959.0)),)
    assert second.restore(START + 5_001, hours) == ()
    second.tick(START + 5_002, [])
    with pytest.raises(ValueError, match="before the first tick"):
        second.restore(START + 5_003, [])


def test_rows_of_the_future_or_of_long_ago_are_passed_over() -> None:
    point = Point(60, 1.0, 1.0, 1.0, 1.0)
    rows = [
        Row(QUEUE, A, MINUTES, START + 600, point),
        Row(QUEUE, A, MINUTES, START - 7 * 3_600, point),
        Row(QUEUE, A, SECONDS, START, point),
    ]
    aggregator = Aggregator()
    aggregator.restore(START, rows)
    assert aggregator.series == 0
    small = Aggregator(AggregatorConfig(series_max=1))
    kept = [Row(QUEUE, labels, MINUTES, START - 60, point) for labels in (A, B)]
    small.restore(START, kept)
    small.tick(START, [])
    assert [row.labels for row in small.rows("queue", MINUTES, START - 60, START)] == [A]
    assert small.refused == 1


def test_nothing_remains_of_a_life_without_ticks() -> None:
    assert Aggregator().remains() == ()
    assert list(Aggregator().rows("queue", MINUTES, 0, START)) == []


def test_a_series_that_was_away_all_hour_leaves_no_row() -> None:
    aggregator = Aggregator(AggregatorConfig(absent_max_s=9_000))
    aggregator.tick(START, one(QUEUE, 1.0))
    aggregator.tick(START + 3_600, one(TURNS, 1.0))
    assert {row.family.name for row in aggregator.remains()} == {"turns_total"}


def test_charts_get_the_open_step_too() -> None:
    aggregator = filled(3_700)
    (closed, opened) = aggregator.rows("queue", HOURS, START, START + 9_999)
    assert (closed.ts, closed.point.n, opened.ts, opened.point.n) == (START, 3_600, START + 3_600, 100)
    minutes = list(aggregator.rows("queue", MINUTES, START + 3_590, START + 3_700))
    assert [(row.ts - START, row.point.n) for row in minutes] == [(3_540, 60), (3_600, 60), (3_660, 40)]
    assert aggregator.reach(SECONDS) == START + 3_699 - 3_599
    first_hour = filled(30)
    assert [row.point.n for row in first_hour.rows("queue", HOURS, START, START + 60)] == [30]

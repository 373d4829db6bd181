"""Limits at the door: what is refused, what is not known, who changes them, and what follows."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.core.headroom import NAMES, Name
from harness.services.capacity import Capacity, CapacityConfig, Demand, Limits, Refusal

EMPTY: Mapping[Name, float] = {"bots": 0, "memory_bytes": 0, "queue_count": 0, "queue_bytes": 0, "queue_age_s": 0}
MESSAGE = Demand(tasks=1, queue_count=1, queue_bytes=10)
BOT = Demand(bots=1, memory_bytes=50)


def capacity(**limits: float | None) -> Capacity:
    """Give a capacity with everything read as empty at 100 s."""
    made = Capacity(Limits(**limits), CapacityConfig(), random.Random(7))  # type: ignore[arg-type]
    made.note(100.0, EMPTY)
    return made


def refused(answer: Refusal | None) -> Refusal:
    assert answer is not None
    return answer


# --- Each limit -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("limits", "readings", "demand", "limit"),
    [
        pytest.param({"bots": 3}, {"bots": 3}, BOT, "bots", id="bots"),
        pytest.param({"memory_bytes": 99}, {"memory_bytes": 50}, BOT, "memory_bytes", id="memory for a bot"),
        pytest.param({"memory_bytes": 99}, {"memory_bytes": 100}, MESSAGE, "memory_bytes", id="memory that is gone"),
        pytest.param({"queue_count": 5}, {"queue_count": 5}, MESSAGE, "queue_count", id="count"),
        pytest.param({"queue_bytes": 50}, {"queue_bytes": 41}, MESSAGE, "queue_bytes", id="bytes"),
        pytest.param({"queue_age_s": 9}, {"queue_age_s": 9.1}, MESSAGE, "queue_age_s", id="age"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(
    limits: Mapping[str, float], readings: Mapping[Name, float], demand: Demand, limit: str
) -> None:
    full = capacity(**limits)
    full.note(100.0, readings)
    answer = refused(full.admit(100.0, demand))
    assert (answer.limit, answer.used, answer.allowed) == (limit, *readings.values(), *limits.values())
    assert answer.retry_after_s is not None
    assert 1.0 <= answer.retry_after_s <= 1.5
    assert answer.said.startswith(f"{limit}: ")
    (name,) = readings
    full.note(100.0, {name: readings[name] - 60 if readings[name] > 60 else 0})
    assert full.admit(100.0, demand) is None, "there is room again"


def test_what_fits_exactly_is_let_in_and_a_limit_that_nobody_asks_does_not_matter() -> None:
    full = capacity(bots=1, queue_count=1, queue_bytes=10, queue_age_s=5)
    full.note(100.0, {"bots": 1, "queue_age_s": 5})
    assert full.admit(100.0, MESSAGE) is None
    assert refused(full.admit(100.0, MESSAGE)).limit == "queue_count", "what was let in counts until the next reading"
    full.note(100.0, {"queue_count": 0, "queue_bytes": 0})
    assert full.admit(100.0, MESSAGE) is None


def test_what_can_never_fit_need_not_come_back() -> None:
    answer = refused(capacity(queue_bytes=50).admit(100.0, Demand(tasks=1, queue_count=1, queue_bytes=51)))
    assert (answer.limit, answer.retry_after_s) == ("queue_bytes", None)
    assert "ask for less" in answer.said


def test_a_refused_demand_leaves_no_trace_in_any_limit() -> None:
    full = capacity(tasks_per_s=1, queue_bytes=5)
    assert refused(full.admit(100.0, MESSAGE)).limit == "queue_bytes"
    assert full.admit(100.0, Demand(tasks=1)) is None, "the task of the refused one was not counted"


# --- Tasks per second -------------------------------------------------------------------------------------------------
def test_no_more_tasks_in_any_second_and_the_refusal_knows_when() -> None:
    full = capacity(tasks_per_s=2)
    task = Demand(tasks=1)
    assert full.admit(100.0, task) is None
    assert full.admit(100.75, task) is None
    answer = refused(full.admit(100.875, task))
    assert answer.retry_after_s is not None
    assert 0.125 <= answer.retry_after_s <= 0.1875
    assert full.admit(101.0, task) is None
    both = refused(full.admit(101.0, Demand(tasks=2)))
    assert both.retry_after_s is not None
    assert both.retry_after_s >= 1.0, "it takes both places"
    assert full.report(101.0).uses[1].used == 2.0
    assert full.report(102.0).uses[1].used == 0.0


# --- What is not known ------------------------------------------------------------------------------------------------
def test_what_was_never_read_counts_as_full() -> None:
    blind = Capacity(Limits(memory_bytes=100, queue_count=None, queue_bytes=None), CapacityConfig(), random.Random(1))
    answer = refused(blind.admit(0.0, Demand(tasks=1)))
    assert (answer.limit, answer.used) == ("memory_bytes", None)
    assert answer.retry_after_s is not None
    assert "unknown of 100" in answer.said
    assert refused(blind.admit(0.0, BOT)).limit == "bots"


def test_a_reading_that_is_too_old_is_not_known_any_more() -> None:
    full = capacity(memory_bytes=100)
    assert full.admit(110.0, Demand(tasks=1)) is None
    assert refused(full.admit(110.1, Demand(tasks=1))).limit == "memory_bytes"


def test_a_limit_that_there_is_not_needs_no_reading() -> None:
    open_door = Capacity(
        Limits(bots=None, tasks_per_s=None, queue_count=None, queue_bytes=None, queue_age_s=None),
        CapacityConfig(),
        random.Random(1),
    )
    for _ in range(1_000):
        assert open_door.admit(0.0, Demand(bots=1, tasks=1, queue_count=1, queue_bytes=1_000, memory_bytes=9)) is None
    assert open_door.report(0.0).recommendation.reasons == ()
    assert len(open_door._tasks) == 0, "nobody asks, so nothing is remembered"
    open_door.change(0.0, "tasks_per_s", 1, author="ada")
    assert open_door.admit(0.0, Demand(tasks=1)) is None
    open_door.change(0.0, "tasks_per_s", None, author="ada")
    assert len(open_door._tasks) == 0


# --- Changes ----------------------------------------------------------------------------------------------------------
def test_a_limit_changes_at_run_time_and_says_who_did_it() -> None:
    full = capacity(bots=1)
    full.note(100.0, {"bots": 1})
    assert full.admit(100.0, BOT) is not None
    changed = full.change(105.0, "bots", 2, author="ada")
    assert (changed.limit, changed.before, changed.after, changed.author, changed.at) == ("bots", 1, 2, "ada", 105.0)
    assert full.limits.bots == 2
    assert full.admit(105.0, BOT) is None
    assert full.report(105.0).uses[0].changed == changed
    assert full.change(106.0, "bots", None, author="ada").after is None
    assert full.limits == Limits(bots=None)


def test_a_limit_below_what_is_in_use_lets_nothing_more_in() -> None:
    full = capacity()
    full.note(100.0, {"bots": 8})
    full.change(100.0, "bots", 4, author="ada")
    assert refused(full.admit(100.0, BOT)).used == 8
    use = full.report(100.0).uses[0]
    assert use.utilisation == 2.0


@pytest.mark.parametrize(
    ("limit", "allowed", "author", "why"),
    [
        ("boats", 1, "ada", "there is no limit 'boats'"),
        ("bots", 0, "ada", "bots must be a whole number of at least 1"),
        ("bots", 1.5, "ada", "bots must be a whole number"),
        ("bots", math.nan, "ada", "bots must be a whole number"),
        ("tasks_per_s", 100_001, "ada", "tasks_per_s must be from 1 to"),
        ("queue_age_s", math.inf, "ada", "queue_age_s must be a number above 0"),
        ("queue_age_s", 1e308, "ada", "queue_age_s must be from 0 to 9007199254740992"),
        ("queue_bytes", 2**53 + 1, "ada", "queue_bytes must be from 0 to 9007199254740992"),
        ("memory_bytes", int(1e308), "ada", "memory_bytes must be from 0 to 9007199254740992"),
        ("bots", 5, "  ", "author must have 1 to 80 characters"),
        ("bots", 5, "a" * 81, "author must have 1 to 80 characters"),
    ],
)
def test_a_change_that_cannot_be_meant_is_refused_and_changes_nothing(
    limit: str, allowed: float, author: str, why: str
) -> None:
    full = capacity()
    before = full.limits
    with pytest.raises(ValueError, match=why):
        full.change(100.0, limit, allowed, author=author)
    with pytest.raises(ValueError, match="now must be a finite number"):
        full.change(math.nan, "bots", 5, author="ada")
    assert full.limits == before
    assert all(use.changed is None for use in full.report(100.0).uses)


# --- The report -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("readings", "action", "reasons"),
    [
        pytest.param({}, "hold", (), id="there is room"),
        pytest.param({"bots": 9}, "raise-bots", ("bots-near",), id="nearly all bots run"),
        pytest.param({"queue_count": 95}, "add-bots", ("queue_count-near",), id="the queue fills, bots may come"),
        pytest.param({"queue_count": 100}, "add-bots", ("queue_count-full",), id="the queue is full"),
        pytest.param({"queue_count": 100, "bots": 10}, "raise-bots", ("bots-full", "queue_count-full"), id="all run"),
        pytest.param(
            {"memory_bytes": 950, "bots": 10}, "free-memory", ("bots-full", "memory_bytes-near"), id="no memory"
        ),
    ],
)
def test_what_follows(readings: Mapping[Name, float], action: str, reasons: tuple[str, ...]) -> None:
    full = capacity(bots=10, queue_count=100, memory_bytes=1_000)
    full.note(100.0, readings)
    assert (full.report(100.0).recommendation.action, full.report(100.0).recommendation.reasons) == (action, reasons)


def test_what_is_not_known_is_to_be_read_again() -> None:
    advice = capacity(memory_bytes=100).report(200.0).recommendation
    assert advice.action == "read-again"
    assert advice.reasons == tuple(f"{name}-unknown" for name in NAMES if name != "tasks_per_s")


def test_refusals_weigh_for_a_minute() -> None:
    full = capacity(tasks_per_s=1)
    full.admit(100.0, Demand(tasks=1))
    full.admit(100.0, Demand(tasks=1))
    full.note(159.0, EMPTY)
    assert full.report(160.0).recommendation.reasons == ("tasks_per_s-refusing",)
    full.note(161.0, EMPTY)
    assert full.report(161.0).recommendation.reasons == ()
    assert full.report(161.0).uses[1].refused == 1


def test_the_document_of_the_report() -> None:
    full = capacity(bots=10, memory_bytes=1_000)
    full.note(100.0, {"bots": 5})
    full.change(101.0, "queue_count", 7, author="ada")
    document = full.report(101.0).as_json(now=0.0)
    assert set(document) == {"limits", "refused", "recommendation"}
    limits = document["limits"]
    assert isinstance(limits, dict)
    assert list(limits) == list(NAMES)
    assert limits["bots"] == {"used": 5, "allowed": 10, "utilisation": 0.5, "changed_by": None, "changed_s_ago": None}
    assert limits["queue_count"]["changed_by"] == "ada"
    assert document["recommendation"] == {"action": "hold", "reasons": []}
    unread = Capacity(Limits(), CapacityConfig(), random.Random(1)).report(0.0).as_json(now=0.0)["limits"]
    assert isinstance(unread, dict)
    assert unread["memory_bytes"]["utilisation"] is None


# --- What cannot be meant ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("readings", "why"),
    [
        ({"boats": 1}, "'boats' is not read from outside"),
        ({"tasks_per_s": 1}, "'tasks_per_s' is not read from outside"),
        ({"bots": -1}, "bots in use must be a number of at least 0"),
        ({"bots": math.nan}, "bots in use must be a number"),
        ({"bots": math.inf}, "bots in use must be a number"),
    ],
)
def test_a_reading_that_cannot_be_meant_is_refused_whole(readings: Mapping[Name, float], why: str) -> None:
    full = capacity()
    with pytest.raises(ValueError, match=why):
        full.note(100.0, {"queue_count": 99, **readings})
    assert full.report(100.0).uses[3].used == 0


def test_a_moment_that_is_no_number_is_refused_and_a_clock_that_steps_back_stands_still() -> None:
    full = capacity(tasks_per_s=1)
    for now in (math.nan, math.inf):
        with pytest.raises(ValueError, match="now must be a finite number"):
            full.admit(now, MESSAGE)
        with pytest.raises(ValueError, match="now must be a finite number"):
            full.note(now, {"bots": 9})
        with pytest.raises(ValueError, match="now must be a finite number"):
            full.report(now)
    assert full.report(100.0).uses[0].used == 0
    assert full.admit(100.0, Demand(tasks=1)) is None
    assert full.admit(50.0, Demand(tasks=1)) is not None


@pytest.mark.parametrize(("field", "value"), [("tasks", -1), ("queue_bytes", 0.5), ("memory_bytes", math.nan)])
def test_a_demand_that_cannot_be_meant_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Demand(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("stale_after_s", 0.0), ("recent_s", math.nan), ("retry_after_s", -1.0), ("near", 1.1)]
)
def test_impossible_configs_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        CapacityConfig(**{field: value})


# --- Any order of calls -----------------------------------------------------------------------------------------------
class DoorWalk(RuleBasedStateMachine):
    """Between two readings nothing is ever let in beyond a limit, and nothing is refused that fits."""

    @initialize(tasks=st.integers(1, 4), count=st.integers(1, 6), size=st.integers(1, 30))
    def begin(self, tasks: int, count: int, size: int) -> None:
        self.limits = {"tasks_per_s": tasks, "queue_count": count, "queue_bytes": size}
        self.capacity = Capacity(Limits(bots=None, queue_age_s=None, **self.limits), CapacityConfig(), random.Random(1))
        self.now, self.read_at = 0.0, -math.inf
        self.count = self.size = 0
        self.tasks: list[float] = []

    @rule(seconds=st.sampled_from([0.0, 0.25, 0.5, 1.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(0, 6), size=st.integers(0, 30))
    def read(self, count: int, size: int) -> None:
        self.count, self.size, self.read_at = count, size, self.now
        self.capacity.note(self.now, {"queue_count": count, "queue_bytes": size})

    @rule(tasks=st.integers(0, 3), count=st.integers(0, 3), size=st.integers(0, 15))
    def admit(self, tasks: int, count: int, size: int) -> None:
        known = self.now - self.read_at <= 10.0
        recent = [at for at in self.tasks if self.now - at < 1.0]
        fits = {
            "tasks_per_s": not tasks or len(recent) + tasks <= self.limits["tasks_per_s"],
            "queue_count": not count or (known and self.count + count <= self.limits["queue_count"]),
            "queue_bytes": not size or (known and self.size + size <= self.limits["queue_bytes"]),
        }
        answer = self.capacity.admit(self.now, Demand(tasks=tasks, queue_count=count, queue_bytes=size))
        if answer is None:
            assert all(fits.values())
            self.count, self.size = self.count + count, self.size + size
            self.tasks.extend([self.now] * tasks)
        else:
            assert not fits[answer.limit]
            if answer.limit == "tasks_per_s" and answer.retry_after_s is not None:
                later = self.now + answer.retry_after_s
                left = [at for at in self.tasks if later - at < 1.0]
                assert len(left) + tasks <= self.limits["tasks_per_s"]

    @rule(limit=st.sampled_from(["tasks_per_s", "queue_count", "queue_bytes"]), allowed=st.integers(1, 10))
    def change(self, limit: str, allowed: int) -> None:
        changed = self.capacity.change(self.now, limit, allowed, author="ada")
        assert changed.before == self.limits[limit]
        self.limits[limit] = allowed

    @invariant()
    def the_report_agrees(self) -> None:
        if hasattr(self, "capacity"):
            uses = {use.limit: use for use in self.capacity.report(self.now).uses}
            assert uses["tasks_per_s"].used == len([at for at in self.tasks if self.now - at < 1.0])
            known = self.now - self.read_at <= 10.0
            assert uses["queue_count"].used == (self.count if known else None)


TestDoorWalk = DoorWalk.TestCase
TestDoorWalk.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)

"""Recovery: stories in a table, and a state machine that holds every grant against a model of the budget."""

from __future__ import annotations

import errno
import math
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.core.backoff import Backoff
from harness.core.classifier import Failure
from harness.core.failures import standard
from harness.core.ladder import Ladder, Rung
from harness.core.recovery_figures import OTHER, Figures, StrategyCount
from harness.core.retry_budget import BUCKETS, BudgetConfig
from harness.errors import BusyError, CircuitOpenError, Kind, StoreError
from harness.services.recovery import (
    RETRY,
    Call,
    Decision,
    Fallback,
    GiveUp,
    Policy,
    Recovery,
    RecoveryConfig,
    Retry,
)
from tests.sample_ladder import LADDER

FREE = BudgetConfig(share=1.0, retries_min=1_000, tokens_max=1e6)
TWO_RUNGS = Ladder((Rung("full", "all"), Rung("less", "some"), Rung("notice", "a word")))
GONE = Failure(Kind.TRANSIENT, "gone")


def recovery(policy: Policy | None = None, **config: Any) -> Recovery:
    return Recovery(RecoveryConfig(policy=policy or Policy(), **config), standard(), dice=random.Random(7))


def shown(decision: Decision) -> str:
    match decision:
        case Retry():
            return f"retry {decision.attempt}"
        case Fallback(rung, reason):
            return f"{rung.name} ({reason})"
        case GiveUp(reason):
            return f"give up ({reason})"


@pytest.mark.parametrize(
    ("kinds", "policy", "keyed", "story"),
    [
        pytest.param("ttt", Policy(), False, ["retry 2", "retry 3", "give up (attempts)"], id="three tries"),
        pytest.param("t", Policy(attempts_max=1), False, ["give up (attempts)"], id="one try is no retry"),
        pytest.param("p", Policy(), True, ["give up (permanent)"], id="permanent is not tried again"),
        pytest.param("b", Policy(), True, ["give up (bug)"], id="a bug is not tried again"),
        pytest.param("c", Policy(), True, ["give up (cancelled)"], id="who is gone wants no retry"),
        pytest.param("tc", Policy(), True, ["retry 2", "give up (cancelled)"], id="nor during one"),
        pytest.param("a", Policy(), False, ["give up (ambiguous)"], id="what may have happened is not done twice"),
        pytest.param("a", Policy(), True, ["retry 2"], id="unless twice is as good as once"),
        pytest.param("rot", Policy(), False, ["retry 2", "retry 3", "give up (attempts)"], id="so is a refusal"),
        pytest.param(
            "ttttt",
            Policy(attempts_max=2, ladder=TWO_RUNGS),
            False,
            ["retry 2", "less (attempts)", "notice (ladder)", "give up (ladder)"],
            id="after the retries down the ladder, one rung at a time",
        ),
        pytest.param("a", Policy(ladder=TWO_RUNGS), False, ["less (ambiguous)"], id="a lower rung does nothing twice"),
        pytest.param("p", Policy(ladder=TWO_RUNGS), False, ["give up (permanent)"], id="a mistake is not papered over"),
        pytest.param(
            "ttc", Policy(attempts_max=2, ladder=TWO_RUNGS), False,
            ["retry 2", "less (attempts)", "give up (cancelled)"], id="cancelled on a lower rung",
        ),
    ],
)  # fmt: skip
def test_story(kinds: str, policy: Policy, keyed: bool, story: list[str]) -> None:  # noqa: FBT001
    """Letters: transient, throttled (r), overloaded, ambiguous, permanent, bug, cancelled."""
    known = {kind.value[0]: kind for kind in Kind} | {"t": Kind.TRANSIENT, "r": Kind.THROTTLED}
    machine = recovery(policy)
    call = machine.begin("x", 0.0, keyed=keyed)
    seen = []
    for letter in kinds:
        decision = machine.decide(call, Failure(known[letter], letter), 0.0)
        seen.append(shown(decision))
        if isinstance(decision, GiveUp):
            break
    assert seen == story


def test_never_before_somebody_said_and_always_with_jitter() -> None:
    machine = recovery(Policy(budget=FREE))
    delays = set()
    for _ in range(200):
        decision = machine.decide(machine.begin("x", 0.0), CircuitOpenError("x", retry_after_s=40.0), 0.0)
        assert isinstance(decision, Retry)
        assert 40.0 <= decision.delay_s <= 40.5
        delays.add(decision.delay_s)
    assert len(delays) == 200


@pytest.mark.parametrize(
    ("retry_after_s", "deadline", "min_s", "told"),
    [
        pytest.param(3.0, 10.0, 0.0, "retry 2", id="there is room"),
        pytest.param(3.0, 2.5, 0.0, "give up (deadline)", id="it may not be tried before the deadline is over"),
        pytest.param(1.0, 2.5, 2.0, "give up (deadline)", id="a try that could not end is not begun"),
        pytest.param(0.0, 0.0, 0.0, "give up (deadline)", id="the deadline is now"),
        pytest.param(0.0, -5.0, 0.0, "give up (deadline)", id="the deadline was before"),
        pytest.param(301.0, math.inf, 0.0, "give up (retry-after)", id="nobody waits for ever"),
    ],
)
def test_limits_of_time(retry_after_s: float, deadline: float, min_s: float, told: str) -> None:
    machine = recovery(Policy(attempt_min_s=min_s))
    call = machine.begin("x", 0.0, deadline=deadline)
    assert shown(machine.decide(call, BusyError("x", retry_after_s=retry_after_s), 0.0)) == told


def test_a_delay_never_ends_after_the_deadline() -> None:
    machine = recovery(Policy(budget=FREE, backoff=Backoff(base_s=30.0, cap_s=30.0), attempt_min_s=0.5))
    for _ in range(500):
        decision = machine.decide(machine.begin("x", 100.0, deadline=104.0), GONE, 101.0)
        assert isinstance(decision, Retry)
        assert 101.0 + decision.delay_s <= 103.5


def test_the_budget_holds_for_all_callers_of_a_dependency_together() -> None:
    machine = recovery()
    told = [shown(machine.decide(machine.begin("x", 0.0), GONE, 0.0)) for _ in range(4)]
    assert told == ["retry 2"] * 3 + ["give up (budget)"]
    assert shown(machine.decide(machine.begin("y", 0.0), GONE, 0.0)) == "retry 2", "another dependency, another budget"


def test_a_dependency_that_only_fails_is_left_alone() -> None:
    machine = recovery(Policy(budget=BudgetConfig(retries_min=1_000), attempts_max=100))
    call = machine.begin("x", 0.0)
    told = [shown(machine.decide(call, GONE, 0.0)) for _ in range(5)]
    assert told[-1] == "give up (tokens)"
    refused = machine.begin("y", 0.0)
    for _ in range(5):
        decision = machine.decide(refused, BusyError("y", retry_after_s=0), 0.0)
        assert isinstance(decision, Retry), "what this side refuses says nothing about the other"


def test_figures_tell_what_helped() -> None:
    machine = recovery(Policy(attempts_max=2, ladder=TWO_RUNGS, budget=FREE))

    def play(story: str) -> None:
        call = machine.begin("x", 0.0)
        for letter in story:
            match letter:
                case "f":
                    machine.decide(call, GONE, 0.0)
                case "s":
                    machine.succeeded(call, 0.0)
                case "c":
                    machine.abandon(call, 0.0)

    for story in ("s", "c", "fs", "fs", "fc", "ffs", "fffs", "ffc", "ffff", "f"):
        play(story)
    report = machine.report(0.0)
    assert (report.calls, report.succeeded, report.recovered, report.failed, report.cancelled) == (10, 5, 4, 1, 3)
    assert report.strategies == (
        StrategyCount(RETRY, tried=8, worked=2, failed=4, cancelled=1, attempts_mean=2.0),
        StrategyCount("fallback:less", tried=4, worked=1, failed=2, cancelled=1, attempts_mean=2.0),
        StrategyCount("fallback:notice", tried=2, worked=1, failed=1, cancelled=0, attempts_mean=2.0),
    )
    assert report.given_up == {"ladder": 1}
    (standing,) = report.dependencies
    assert (standing.name, standing.rung, standing.calls_open) == ("x", "full", 1)


def test_figures_tell_what_failed_ever_and_recently() -> None:
    machine = recovery(codes_max=3)
    machine.note(BusyError("x", retry_after_s=1), 0.0)
    machine.note(BusyError("x", retry_after_s=1), 50.0)
    machine.note(ZeroDivisionError(), 50.0)
    machine.note(OSError(errno.ENOSPC, "full"), 70.0)
    machine.note(KeyError(), 70.0)
    machine.note(IndexError(), 70.0)
    report = machine.report(71.0)
    assert [(each.kind.value, each.code, each.count, each.recent) for each in report.failures] == [
        ("bug", OTHER, 2, 2),
        ("overloaded", "busy", 2, 1),
        ("bug", "ZeroDivisionError", 1, 1),
        ("permanent", "disk-full", 1, 1),
    ]
    assert report.unknown == 3
    assert (report.recent_s, report.strategies, report.calls) == (60.0, (), 0)


def test_no_mean_before_a_strategy_has_an_end() -> None:
    machine = recovery()
    machine.decide(machine.begin("x", 0.0), GONE, 0.0)
    assert machine.report(0.0).strategies[0].attempts_mean is None


def test_calls_begin_on_the_rung_that_fits_the_level() -> None:
    machine = recovery(policies={"bot": Policy(ladder=LADDER, attempts_max=1)})
    assert machine.level("bot", 40.0).name == "reduced"
    call = machine.begin("bot", 0.0)
    assert LADDER.rungs[call.rung].name == "reduced"
    assert shown(machine.decide(call, GONE, 0.0)) == "queued (attempts)"
    assert machine.level("bot", 100.0).name == "full"
    assert machine.report(0.0).dependencies[0].rung == "full"


def test_what_is_forgotten_begins_anew() -> None:
    machine = recovery()
    calls = [machine.begin("x", 0.0) for _ in range(3)]
    for call in calls:
        machine.decide(call, GONE, 0.0)
    machine.forget("x")
    machine.forget("never known")
    assert machine.report(0.0).dependencies == ()
    assert shown(machine.decide(machine.begin("x", 0.0), GONE, 0.0)) == "retry 2"
    machine.succeeded(calls[0], 1.0)


def test_dependencies_above_the_limit_share_a_budget() -> None:
    machine = recovery(dependencies_max=2)
    for name in ("a", "b", "c", "d", OTHER):
        machine.begin(name, 0.0)
    assert [(each.name, each.calls_open) for each in machine.report(0.0).dependencies] == [
        ("a", 1), ("b", 1), (OTHER, 3)
    ]  # fmt: skip


def test_a_call_that_somebody_else_gives_up_is_counted_and_over() -> None:
    machine = recovery(Policy(ladder=TWO_RUNGS))
    first, again, lower = (machine.begin("x", 0.0) for _ in range(3))
    machine.decide(again, GONE, 0.0)
    machine.decide(lower, Failure(Kind.AMBIGUOUS, "perhaps"), 0.0)
    for call in (first, again, lower):
        machine.give_up(call, GONE, 1.0, reason="door")
    machine.give_up(machine.begin("x", 1.0), Failure(Kind.PERMANENT, "no"), 1.0, reason="no bot")
    report = machine.report(1.0)
    assert (report.failed, report.given_up) == (4, {"door": 3, "no bot": 1})
    assert [(each.strategy, each.failed) for each in report.strategies] == [(RETRY, 1), ("fallback:less", 1)]
    (standing,) = report.dependencies
    assert (standing.calls_open, standing.tokens) == (0, 6.0), "four tries that failed, on the first rung"
    with pytest.raises(ValueError, match="is over"):
        machine.give_up(first, GONE, 1.0, reason="door")


def test_a_lock_is_held_and_given_back() -> None:
    class Lock:
        held, taken = False, 0

        def __enter__(self) -> None:
            assert not self.held
            self.held, self.taken = True, self.taken + 1

        def __exit__(self, *problem: object) -> None:
            self.held = False

    lock = Lock()
    machine = Recovery(RecoveryConfig(), standard(), dice=random.Random(1), lock=lock)
    call = machine.begin("x", 0.0)
    machine.decide(call, GONE, 0.0)
    machine.abandon(call, 0.0)
    with pytest.raises(ValueError, match="is over"):
        machine.succeeded(call, 0.0)
    machine.level("x", 50)
    machine.forget("x")
    machine.note(GONE, 0.0)
    machine.report(0.0)
    assert (lock.held, lock.taken) == (False, 8), "once for each of them"


def test_a_call_that_is_over_is_over() -> None:
    machine = recovery()
    call = machine.begin("x", 0.0)
    machine.succeeded(call, 0.0)
    before = machine.report(0.0)
    for late in (
        lambda: machine.succeeded(call, 0.0),
        lambda: machine.abandon(call, 0.0),
        lambda: machine.decide(call, GONE, 0.0),
    ):
        with pytest.raises(ValueError, match="this call to 'x' is over: begin another one"):
            late()
    assert machine.report(0.0) == before


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf])
def test_no_moment_is_refused_and_changes_nothing(now: float) -> None:
    machine = recovery()
    call = machine.begin("x", 0.0)
    before = machine.report(0.0)
    for question in (
        lambda: machine.begin("x", now),
        lambda: machine.succeeded(call, now),
        lambda: machine.abandon(call, now),
        lambda: machine.decide(call, GONE, now),
        lambda: machine.note(GONE, now),
        lambda: machine.report(now),
    ):
        with pytest.raises(ValueError, match=f"now must be a moment, got {now}"):
            question()
    with pytest.raises(ValueError, match="deadline must be a moment, got nan"):
        machine.begin("x", 0.0, deadline=math.nan)
    assert machine.report(0.0) == before
    machine.succeeded(call, 0.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Policy(attempts_max=0), "attempts_max must be at least 1, got 0"),
        (lambda: Policy(attempt_min_s=-1.0), "attempt_min_s must be a number from 0, got -1.0"),
        (lambda: Policy(retry_after_max_s=math.nan), "retry_after_max_s must be a number from 0, got nan"),
        (lambda: RecoveryConfig(dependencies_max=0), "dependencies_max must be at least 1, got 0"),
        (lambda: RecoveryConfig(codes_max=0), "codes_max must be at least 1, got 0"),
        (lambda: RecoveryConfig(recent_s=math.inf), "recent_s must be a number above 0, got inf"),
        (lambda: Figures(codes_max=1, recent_s=-1.0), "recent_s must be a number above 0, got -1.0"),
    ],
)
def test_an_impossible_config_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_nothing_keeps_an_error_alive() -> None:
    machine = recovery()
    error = StoreError("x")
    call = machine.begin("x", 0.0)
    machine.decide(call, error, 0.0)
    held = [getattr(call, name, None) for name in Call.__slots__]
    assert all(each is not error for each in held)


class BudgetModel(RuleBasedStateMachine):
    """Calls in any order; every grant is held against a list of everything that ever began."""

    SHARE, LEAST, WINDOW_S = 0.2, 3, 10.0

    def __init__(self) -> None:
        super().__init__()
        budget = BudgetConfig(share=self.SHARE, retries_min=self.LEAST, window_s=self.WINDOW_S, tokens_max=8.0)
        self.machine = recovery(Policy(attempts_max=4, budget=budget, ladder=TWO_RUNGS))
        self.now = 500.0
        self.tokens = 8.0
        self.began: list[list[float]] = []  # Of calls and of retries: moment of the beginning, of the end.
        self.retries: list[list[float]] = []
        self.open: list[tuple[Call, list[float], list[float] | None]] = []

    def counted(self, spans: list[list[float]]) -> int:
        step_s = self.WINDOW_S / BUCKETS
        since = math.floor(self.now / step_s) - BUCKETS
        return sum(math.floor(begin / step_s) > since or end > self.now for begin, end in spans)

    @rule(seconds=st.sampled_from([0.0, 0.2, 1.0, 3.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 12))
    def calls_begin(self, count: int) -> None:
        for _ in range(count):
            span = [self.now, math.inf]
            self.began.append(span)
            self.open.append((self.machine.begin("x", self.now), span, None))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), kind=st.sampled_from([Kind.TRANSIENT, Kind.TRANSIENT, Kind.OVERLOADED, Kind.PERMANENT]))
    def one_fails(self, data: st.DataObject, kind: Kind) -> None:
        call, span, retry = self.take(data)
        if kind is Kind.TRANSIENT and not call.fallbacks:
            self.tokens = max(0.0, self.tokens - 1.0)
        decision = self.machine.decide(call, Failure(kind, kind.value), self.now)
        if retry is not None:
            retry[1] = self.now
        room = self.counted(self.retries) < max(self.LEAST, int(self.SHARE * self.counted(self.began)))
        if isinstance(decision, Retry):
            assert room, "one retry more than the budget"
            assert self.tokens > 4.0, "a retry with half an empty purse"
            granted = [self.now, math.inf]
            self.retries.append(granted)
            self.open.append((call, span, granted))
        elif isinstance(decision, Fallback):
            if decision.reason == "budget":
                assert not room
            self.open.append((call, span, None))
        else:
            span[1] = self.now

    @precondition(lambda self: self.open)
    @rule(data=st.data(), well=st.booleans())
    def one_ends(self, data: st.DataObject, well: bool) -> None:  # noqa: FBT001
        call, span, retry = self.take(data)
        if well:
            if not call.fallbacks:
                self.tokens = min(8.0, self.tokens + 0.1)
            self.machine.succeeded(call, self.now)
        else:
            self.machine.abandon(call, self.now)
        for each in (span, retry):
            if each is not None:
                each[1] = self.now

    def take(self, data: st.DataObject) -> tuple[Call, list[float], list[float] | None]:
        return self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))

    @invariant()
    def the_report_says_the_same(self) -> None:
        report = self.machine.report(self.now)
        assert report.calls == len(self.began)
        assert report.calls == report.succeeded + report.failed + report.cancelled + len(self.open)
        for standing in report.dependencies:
            assert standing.calls_open == len(self.open)
            assert standing.retries == self.counted(self.retries)
            assert standing.tokens == pytest.approx(self.tokens)
        for strategy in report.strategies:
            assert strategy.worked + strategy.failed + strategy.cancelled <= strategy.tried


TestBudget = BudgetModel.TestCase
TestBudget.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)

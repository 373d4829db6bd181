"""Recovery: what to do about a failure, and how often that helped.

In    begin(...) before a call; decide(...) after each failure of it; succeeded(...) or abandon(...) at its end
Out   Retry with a delay, Fallback to a rung of the ladder, or GiveUp with its reason; a report
Rule  one retry layer for a call; a retry needs a kind that allows it, a try that is left, room before the deadline
      and the budget of the dependency; what a retry cannot mend, a lower rung may
Why   a retry without a budget turns a small outage into a large one; figures show which strategy earns its keep

    failure --+-- may be tried again, and is within every limit ----> Retry --> sleep --> try --+
              |                                                                                 |
              +-- else: a rung is left below ------> Fallback --> try that --> failure again <--+
              |
              +-- else ----------------------------> GiveUp: the caller passes the error on
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from harness.core.backoff import Backoff
from harness.core.classifier import Classifier, Failure
from harness.core.ladder import BARE, Ladder, Rung
from harness.core.recovery_figures import OTHER, DependencyCount, Figures, Report
from harness.core.retry_budget import BudgetConfig, RetryBudget
from harness.errors import Kind

RETRY: Final = "retry"
_RETRIED: Final = frozenset({Kind.TRANSIENT, Kind.THROTTLED, Kind.OVERLOADED, Kind.AMBIGUOUS})
_BLAMED: Final = frozenset({Kind.TRANSIENT, Kind.THROTTLED, Kind.AMBIGUOUS})
"""What is taken out of the purse: an overload of this side says nothing about the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How calls to one dependency are recovered."""

    attempts_max: int = 3
    """Tries of one call, the first included."""
    attempt_min_s: float = 0.0
    """A retry that would have less time than this before the deadline is not made."""
    retry_after_max_s: float = 300.0
    """Who is told to wait longer than this gives up."""
    backoff: Backoff = field(default_factory=Backoff)
    """How long to wait."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    """How many retries the dependency bears."""
    ladder: Ladder = BARE
    """What to fall back to."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.attempts_max < 1:
            raise ValueError(f"attempts_max must be at least 1, got {self.attempts_max}")
        for name in ("attempt_min_s", "retry_after_max_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number from 0, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryConfig:
    """What holds for all dependencies together."""

    policy: Policy = field(default_factory=Policy)
    """For every dependency without one of its own."""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    """By the name of the dependency."""
    dependencies_max: int = 256
    """Dependencies that are known at once; those above share one budget."""
    codes_max: int = 200
    """Codes of failures that are counted one by one."""
    recent_s: float = 60.0
    """What counts as recent in the report."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.dependencies_max < 1:
            raise ValueError(f"dependencies_max must be at least 1, got {self.dependencies_max}")
        Figures(codes_max=self.codes_max, recent_s=self.recent_s)


# --- Decisions --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay_s`` seconds; ``attempt`` is the number of that try, from 2."""

    delay_s: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """Answer from this rung instead; ``reason`` says why not by a retry."""

    rung: Rung
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Pass the failure on; the call is over.

    ``reason`` is the kind of a failure that is never retried, or the limit that was reached: attempts, deadline,
    retry-after, budget, tokens, ladder (the last rung failed too).
    """

    reason: str


Decision = Retry | Fallback | GiveUp


class Call:
    """One call, from ``begin`` to its end; made and changed by Recovery alone."""

    __slots__ = (
        *("attempts", "deadline", "dependency", "fallbacks", "keyed", "number", "over", "retry", "rung"),
        "strategy",
    )

    def __init__(self, dependency: _Dependency, number: int, deadline: float, *, keyed: bool) -> None:
        """Use ``Recovery.begin``."""
        self.dependency, self.number, self.deadline, self.keyed = dependency, number, deadline, keyed
        self.attempts = 1
        self.fallbacks = 0
        self.rung = dependency.rung
        self.retry: int | None = None
        self.over = False
        self.strategy = ""
        """What the last try belonged to; "" for the first one."""

    @property
    def place(self) -> Rung:
        """The rung to answer from."""
        return self.dependency.policy.ladder.rungs[self.rung]


class _Dependency:
    """What is remembered about one dependency."""

    __slots__ = ("budget", "name", "policy", "rung")

    def __init__(self, name: str, policy: Policy) -> None:
        self.name, self.policy = name, policy
        self.budget = RetryBudget(policy.budget)
        self.rung = 0

    def standing(self, now: float) -> DependencyCount:
        budget = self.budget
        return DependencyCount(
            name=self.name,
            rung=self.policy.ladder.rungs[self.rung].name,
            calls_open=budget.calls_open,
            retries=budget.retries(now),
            retries_max=budget.retries_max(now),
            tokens=budget.tokens,
        )


# --- The machine ------------------------------------------------------------------------------------------------------
class Recovery:
    """Decides for every dependency, and keeps the figures. One lock for all of it, if threads share it."""

    def __init__(
        self,
        config: RecoveryConfig,
        classifier: Classifier,
        *,
        dice: random.Random,
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        """Throw ``dice`` for delays; ``lock`` is held during each call (threads: ``threading.Lock()``)."""
        self.config, self.classifier = config, classifier.close()
        self._dice, self._lock = dice, nullcontext() if lock is None else lock
        self._dependencies: dict[str, _Dependency] = {}
        self._figures = Figures(codes_max=config.codes_max, recent_s=config.recent_s)

    def begin(self, dependency: str, now: float, *, deadline: float = math.inf, keyed: bool = False) -> Call:
        """Begin a call; ``deadline`` as a moment of ``now``'s clock.

        ``keyed``: made twice it does no more than once (it only reads, or carries an idempotency key).
        """
        _check_now(now)
        if math.isnan(deadline):
            raise ValueError("deadline must be a moment, got nan")
        with self._lock:
            known = self._known(dependency)
            self._figures.began()
            return Call(known, known.budget.began(now), deadline, keyed=keyed)

    def succeeded(self, call: Call, now: float) -> None:
        """The call, or what it fell back to, has worked."""
        with self._lock:
            self._finish(call, now)
            if call.rung == 0:  # A lower rung says nothing about what it stands in for.
                call.dependency.budget.note(ok=True)
            self._figures.succeeded(call.strategy, call.attempts)

    def abandon(self, call: Call, now: float) -> None:
        """Nobody wants the answer any more; this says nothing about the dependency."""
        with self._lock:
            self._finish(call, now)
            self._figures.cancelled(call.strategy)

    def give_up(self, call: Call, failure: Failure | BaseException, now: float, *, reason: str) -> None:
        """Somebody else has decided that nothing more is tried: count the failure, and end the call."""
        _check_now(now)
        failure = self._classified(failure)
        with self._lock:
            _check_open(call)
            self._figures.failure(failure, now)
            if failure.kind in _BLAMED and call.rung == 0:
                call.dependency.budget.note(ok=False)
            if call.strategy:
                self._figures.gave_out(call.strategy, call.attempts)
            self._finish(call, now)
            self._figures.gave_up(reason)

    def decide(self, call: Call, failure: Failure | BaseException, now: float) -> Decision:
        """Say what to do about a failure of ``call``; after GiveUp the call is over."""
        _check_now(now)
        failure = self._classified(failure)
        with self._lock:
            _check_open(call)
            self._figures.failure(failure, now)
            _wake(call, now)
            if failure.kind is Kind.CANCELLED:
                self._finish(call, now)
                self._figures.cancelled(call.strategy)
                return GiveUp(failure.kind.value)
            if failure.kind in _BLAMED and call.rung == 0:
                call.dependency.budget.note(ok=False)
            decision = self._retry(call, failure, now)
            return decision if isinstance(decision, Retry) else self._fall(call, failure, now, decision)

    def note(self, failure: Failure | BaseException, now: float) -> Failure:
        """Count a failure that nobody tries to recover from."""
        _check_now(now)
        failure = self._classified(failure)
        with self._lock:
            self._figures.failure(failure, now)
        return failure

    def level(self, dependency: str, level: float) -> Rung:
        """Tell how well a dependency does (0 to 100); calls begin on the rung that comes back."""
        with self._lock:
            known = self._known(dependency)
            known.rung = known.policy.ladder.rung(level, known.rung)
            return known.policy.ladder.rungs[known.rung]

    def forget(self, dependency: str) -> None:
        """There is no such dependency any more; calls that are under way end as usual."""
        with self._lock:
            self._dependencies.pop(dependency, None)

    def report(self, now: float) -> Report:
        """Say how often what failed, and what helped."""
        _check_now(now)
        with self._lock:
            return self._figures.report(now, tuple(each.standing(now) for each in self._dependencies.values()))

    # --- Inside -------------------------------------------------------------------------------------------------------
    def _classified(self, failure: Failure | BaseException) -> Failure:
        return self.classifier.error(failure) if isinstance(failure, BaseException) else failure

    def _known(self, dependency: str) -> _Dependency:
        known = self._dependencies.get(dependency)
        if known is None:
            if len(self._dependencies) >= self.config.dependencies_max and dependency != OTHER:
                return self._known(OTHER)
            policy = self.config.policies.get(dependency, self.config.policy)
            known = self._dependencies[dependency] = _Dependency(dependency, policy)
        return known

    def _retry(self, call: Call, failure: Failure, now: float) -> Retry | str:
        """Grant a retry, or say what forbids it."""
        known, policy = call.dependency, call.dependency.policy
        if call.fallbacks:
            return "ladder"
        if failure.kind not in _RETRIED or (failure.kind is Kind.AMBIGUOUS and not call.keyed):
            return failure.kind.value
        if call.attempts >= policy.attempts_max:
            return "attempts"
        floor_s = failure.retry_after_s or 0.0
        if floor_s > policy.retry_after_max_s:
            return "retry-after"
        room_s = call.deadline - now - policy.attempt_min_s
        delay_s = policy.backoff.delay_s(call.attempts - 1, self._dice, floor_s=floor_s, room_s=room_s)
        if delay_s is None:
            return "deadline"
        if refusal := known.budget.refusal(now):
            return refusal
        if call.attempts == 1:
            call.strategy = RETRY
            self._figures.tried(RETRY)
        call.retry = known.budget.granted(now)
        call.attempts += 1
        return Retry(delay_s, call.attempts)

    def _fall(self, call: Call, failure: Failure, now: float, reason: str) -> Fallback | GiveUp:
        """Go one rung down, or give up."""
        if call.strategy:
            self._figures.gave_out(call.strategy, call.attempts)
        rung = call.dependency.policy.ladder.below(call.rung) if failure.kind in _RETRIED else None
        if rung is None:
            self._finish(call, now)
            self._figures.gave_up(reason)
            return GiveUp(reason)
        call.rung += 1
        call.fallbacks += 1
        call.strategy = f"fallback:{call.place.name}"
        self._figures.tried(call.strategy)
        return Fallback(rung, reason)

    def _finish(self, call: Call, now: float) -> None:
        _check_now(now)
        _check_open(call)
        _wake(call, now)
        call.over = True
        call.dependency.budget.over(now, call.number)


def _wake(call: Call, now: float) -> None:
    """The retry that was granted, asleep or under way, is over."""
    if call.retry is not None:
        call.dependency.budget.retried(now, call.retry)
        call.retry = None


def _check_open(call: Call) -> None:
    if call.over:
        raise ValueError(f"this call to {call.dependency.name!r} is over: begin another one")


def _check_now(now: float) -> None:
    if not math.isfinite(now):
        raise ValueError(f"now must be a moment, got {now}")

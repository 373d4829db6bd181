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
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from harness.core.backoff import Backoff
from harness.core.classifier import Classifier, Failure
from harness.core.ladder import BARE, Ladder, Rung
from harness.core.retry_budget import BudgetConfig, Openings, RetryBudget
from harness.errors import Kind

OTHER: Final = "(other)"
"""Where everything is counted for which there is no room in a table."""
RETRY: Final = "retry"
_FALLBACK: Final = "fallback:"
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
        for name in ("dependencies_max", "codes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.recent_s < math.inf:
            raise ValueError(f"recent_s must be a number above 0, got {self.recent_s}")


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

    __slots__ = ("attempts", "deadline", "dependency", "fallbacks", "keyed", "number", "over", "retry", "rung")

    def __init__(self, dependency: _Dependency, number: int, deadline: float, *, keyed: bool) -> None:
        """Use ``Recovery.begin``."""
        self.dependency, self.number, self.deadline, self.keyed = dependency, number, deadline, keyed
        self.attempts = 1
        self.fallbacks = 0
        self.rung = dependency.rung
        self.retry: int | None = None
        self.over = False


# --- Figures ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FailureCount:
    """How often failures of one kind and code came: ever, and recently."""

    kind: Kind
    code: str
    count: int
    recent: int


@dataclass(frozen=True, slots=True)
class StrategyCount:
    """How often a strategy was tried for a call, and what became of it; the rest is still under way."""

    strategy: str
    tried: int
    worked: int
    failed: int
    cancelled: int
    attempts_mean: float | None
    """Tries of the calls that it worked or failed for."""


@dataclass(frozen=True, slots=True)
class DependencyCount:
    """How one dependency stands."""

    name: str
    rung: str
    calls_open: int
    retries: int
    """Open or recent."""
    retries_max: int
    tokens: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that recovery has to say; ``unknown`` are failures that no rule knew."""

    calls: int
    succeeded: int
    recovered: int
    """Those among them that had failed at least once."""
    failed: int
    cancelled: int
    unknown: int
    failures: tuple[FailureCount, ...]
    strategies: tuple[StrategyCount, ...]
    given_up: Mapping[str, int]
    """By reason."""
    dependencies: tuple[DependencyCount, ...]


class _Dependency:
    """What is remembered about one dependency."""

    __slots__ = ("budget", "name", "policy", "rung")

    def __init__(self, name: str, policy: Policy) -> None:
        self.name, self.policy = name, policy
        self.budget = RetryBudget(policy.budget)
        self.rung = 0


class _Strategy:
    __slots__ = ("attempts", "cancelled", "failed", "tried", "worked")

    def __init__(self) -> None:
        self.tried = self.worked = self.failed = self.cancelled = self.attempts = 0


class _Seen:
    __slots__ = ("count", "recent")

    def __init__(self, recent_s: float) -> None:
        self.count, self.recent = 0, Openings(recent_s)


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
        self._seen: dict[tuple[Kind, str], _Seen] = {}
        self._strategies: dict[str, _Strategy] = {}
        self._given_up: Counter[str] = Counter()
        self._calls = self._succeeded = self._recovered = self._failed = self._cancelled = 0

    def begin(self, dependency: str, now: float, *, deadline: float = math.inf, keyed: bool = False) -> Call:
        """Begin a call; ``deadline`` as a moment of ``now``'s clock.

        ``keyed``: made twice it does no more than once (it only reads, or carries an idempotency key).
        """
        _check_now(now)
        if math.isnan(deadline):
            raise ValueError("deadline must be a moment, got nan")
        with self._lock:
            known = self._known(dependency)
            self._calls += 1
            return Call(known, known.budget.began(now), deadline, keyed=keyed)

    def succeeded(self, call: Call, now: float) -> None:
        """The call, or what it fell back to, has worked."""
        with self._lock:
            self._finish(call, now)
            self._succeeded += 1
            if call.fallbacks == 0:
                call.dependency.budget.note(ok=True)
            if call.attempts > 1 or call.fallbacks:
                self._recovered += 1
                strategy = self._strategy(call)
                strategy.worked += 1
                strategy.attempts += call.attempts

    def abandon(self, call: Call, now: float) -> None:
        """Nobody wants the answer any more; this says nothing about the dependency."""
        with self._lock:
            self._finish(call, now)
            self._cancel(call)

    def decide(self, call: Call, failure: Failure | BaseException, now: float) -> Decision:
        """Say what to do about a failure of ``call``; after GiveUp the call is over."""
        _check_now(now)
        if isinstance(failure, BaseException):
            failure = self.classifier.error(failure)
        with self._lock:
            self._check(call)
            self._note(failure, now)
            self._slept(call, now)
            if failure.kind is Kind.CANCELLED:
                self._finish(call, now)
                self._cancel(call)
                return GiveUp(failure.kind.value)
            if failure.kind in _BLAMED and call.fallbacks == 0:
                call.dependency.budget.note(ok=False)
            reason = "ladder" if call.fallbacks else self._why_not(call, failure)
            if not reason:
                retry = self._retry(call, failure, now)
                if isinstance(retry, Retry):
                    return retry
                reason = retry
            return self._fall(call, failure, now, reason)

    def note(self, failure: Failure | BaseException, now: float) -> Failure:
        """Count a failure that nobody tries to recover from."""
        _check_now(now)
        if isinstance(failure, BaseException):
            failure = self.classifier.error(failure)
        with self._lock:
            self._note(failure, now)
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
            failures = [
                FailureCount(kind, code, seen.count, seen.recent.count(now))
                for (kind, code), seen in self._seen.items()
            ]
            return Report(
                calls=self._calls,
                succeeded=self._succeeded,
                recovered=self._recovered,
                failed=self._failed,
                cancelled=self._cancelled,
                unknown=sum(each.count for each in failures if each.kind is Kind.BUG),
                failures=tuple(sorted(failures, key=lambda each: (-each.count, each.kind, each.code))),
                strategies=tuple(
                    StrategyCount(
                        name, each.tried, each.worked, each.failed, each.cancelled, _mean(each.attempts, each)
                    )
                    for name, each in self._strategies.items()
                ),
                given_up=dict(self._given_up),
                dependencies=tuple(_standing(each, now) for each in self._dependencies.values()),
            )

    # --- Inside -------------------------------------------------------------------------------------------------------
    def _known(self, dependency: str) -> _Dependency:
        known = self._dependencies.get(dependency)
        if known is None:
            if len(self._dependencies) >= self.config.dependencies_max and dependency != OTHER:
                return self._known(OTHER)
            policy = self.config.policies.get(dependency, self.config.policy)
            known = self._dependencies[dependency] = _Dependency(dependency, policy)
        return known

    def _why_not(self, call: Call, failure: Failure) -> str:
        if failure.kind not in _RETRIED or (failure.kind is Kind.AMBIGUOUS and not call.keyed):
            return failure.kind.value
        return "attempts" if call.attempts >= call.dependency.policy.attempts_max else ""

    def _retry(self, call: Call, failure: Failure, now: float) -> Retry | str:
        """Grant a retry, or say which limit forbids it."""
        known, policy = call.dependency, call.dependency.policy
        floor_s = failure.retry_after_s or 0.0
        if floor_s > policy.retry_after_max_s:
            return "retry-after"
        room_s = call.deadline - now - policy.attempt_min_s
        delay_s = policy.backoff.delay_s(call.attempts - 1, self._dice, floor_s=floor_s, room_s=room_s)
        if delay_s is None:
            return "deadline"
        refusal = known.budget.refusal(now)
        if refusal:
            return refusal
        if call.attempts == 1:
            self._strategy_named(RETRY).tried += 1
        call.retry = known.budget.granted(now)
        call.attempts += 1
        return Retry(delay_s, call.attempts)

    def _fall(self, call: Call, failure: Failure, now: float, reason: str) -> Fallback | GiveUp:
        if call.attempts > 1 or call.fallbacks:
            strategy = self._strategy(call)
            strategy.failed += 1
            strategy.attempts += call.attempts
        ladder = call.dependency.policy.ladder
        rung = ladder.below(call.rung) if failure.kind in _RETRIED else None
        if rung is None:
            self._finish(call, now)
            self._failed += 1
            self._given_up[reason] += 1
            return GiveUp(reason)
        call.rung += 1
        call.fallbacks += 1
        self._strategy(call).tried += 1
        return Fallback(rung, reason)

    def _check(self, call: Call) -> None:
        if call.over:
            raise ValueError(f"this call to {call.dependency.name!r} is over: begin another one")

    def _finish(self, call: Call, now: float) -> None:
        _check_now(now)
        self._check(call)
        self._slept(call, now)
        call.over = True
        call.dependency.budget.over(now, call.number)

    def _slept(self, call: Call, now: float) -> None:
        if call.retry is not None:
            call.dependency.budget.retried(now, call.retry)
            call.retry = None

    def _cancel(self, call: Call) -> None:
        self._cancelled += 1
        if call.attempts > 1 or call.fallbacks:
            self._strategy(call).cancelled += 1

    def _strategy(self, call: Call) -> _Strategy:
        """The strategy that the call's last try belonged to."""
        if call.fallbacks:
            return self._strategy_named(_FALLBACK + call.dependency.policy.ladder.rungs[call.rung].name)
        return self._strategy_named(RETRY)

    def _strategy_named(self, name: str) -> _Strategy:
        return self._strategies.setdefault(name, _Strategy())

    def _note(self, failure: Failure, now: float) -> None:
        key = (failure.kind, failure.code)
        if key not in self._seen and len(self._seen) >= self.config.codes_max:
            key = (failure.kind, OTHER)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(self.config.recent_s)
        seen.count += 1
        seen.recent.end(now, seen.recent.begin(now))


def _check_now(now: float) -> None:
    if not math.isfinite(now):
        raise ValueError(f"now must be a moment, got {now}")


def _mean(attempts: int, strategy: _Strategy) -> float | None:
    ended = strategy.worked + strategy.failed
    return attempts / ended if ended else None


def _standing(known: _Dependency, now: float) -> DependencyCount:
    budget = known.budget
    return DependencyCount(
        name=known.name,
        rung=known.policy.ladder.rungs[known.rung].name,
        calls_open=budget.calls_open,
        retries=budget.retries(now),
        retries_max=budget.retries_max(now),
        tokens=budget.tokens,
    )

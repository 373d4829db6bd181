"""Recovery figures: how often what failed, and how often which strategy helped.

In    failures; a strategy that is tried for a call, and what became of it; ends of calls
Out   counts, ever and recently
Rule  every table has a limit; what finds no room in it is counted as "(other)"
Why   a strategy that is tried a thousand times and works twice should be taken away, and nobody feels that by hand
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harness.core.classifier import Failure
from harness.core.retry_budget import Openings
from harness.errors import Kind

OTHER: Final = "(other)"
"""Where everything is counted for which there is no room in a table."""


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
    """Tries of the calls that it worked or failed for; None before there were any."""


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
    recent_s: float
    failures: tuple[FailureCount, ...]
    strategies: tuple[StrategyCount, ...]
    given_up: Mapping[str, int]
    """By reason."""
    dependencies: tuple[DependencyCount, ...]


class _Strategy:
    __slots__ = ("attempts", "cancelled", "failed", "tried", "worked")

    def __init__(self) -> None:
        self.tried = self.worked = self.failed = self.cancelled = self.attempts = 0

    def shown(self, name: str) -> StrategyCount:
        ended = self.worked + self.failed
        mean = self.attempts / ended if ended else None
        return StrategyCount(name, self.tried, self.worked, self.failed, self.cancelled, mean)


class _Seen:
    __slots__ = ("count", "recent")

    def __init__(self, recent_s: float) -> None:
        self.count, self.recent = 0, Openings(recent_s)


class Figures:
    """The counts. Names of strategies are few: they come from configured ladders."""

    __slots__ = (
        *("_calls", "_cancelled", "_codes_max", "_failed", "_given_up", "_recent_s", "_recovered", "_seen"),
        *("_strategies", "_succeeded"),
    )

    def __init__(self, *, codes_max: int, recent_s: float) -> None:
        """Count up to ``codes_max`` codes of failures one by one; recent are ``recent_s`` seconds."""
        if codes_max < 1:
            raise ValueError(f"codes_max must be at least 1, got {codes_max}")
        if not 0 < recent_s < math.inf:
            raise ValueError(f"recent_s must be a number above 0, got {recent_s}")
        self._codes_max, self._recent_s = codes_max, recent_s
        self._seen: dict[tuple[Kind, str], _Seen] = {}
        self._strategies: dict[str, _Strategy] = {}
        self._given_up: Counter[str] = Counter()
        self._calls = self._succeeded = self._recovered = self._failed = self._cancelled = 0

    def failure(self, failure: Failure, now: float) -> None:
        """Something failed."""
        key = (failure.kind, failure.code)
        if key not in self._seen and len(self._seen) >= self._codes_max:
            key = (failure.kind, OTHER)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(self._recent_s)
        seen.count += 1
        seen.recent.end(now, seen.recent.begin(now))

    # --- Strategies: "" is none at all --------------------------------------------------------------------------------
    def tried(self, strategy: str) -> None:
        """A strategy is tried for a call, for the first time."""
        self._strategies.setdefault(strategy, _Strategy()).tried += 1

    def gave_out(self, strategy: str, attempts: int) -> None:
        """A strategy that was tried has not helped."""
        known = self._strategies[strategy]
        known.failed += 1
        known.attempts += attempts

    # --- Calls --------------------------------------------------------------------------------------------------------
    def began(self) -> None:
        """A call has begun."""
        self._calls += 1

    def succeeded(self, strategy: str, attempts: int) -> None:
        """A call has worked, thanks to ``strategy``."""
        self._succeeded += 1
        if strategy:
            self._recovered += 1
            known = self._strategies[strategy]
            known.worked += 1
            known.attempts += attempts

    def gave_up(self, reason: str) -> None:
        """A call has failed for good."""
        self._failed += 1
        self._given_up[reason] += 1

    def cancelled(self, strategy: str) -> None:
        """Nobody waits for a call any more."""
        self._cancelled += 1
        if strategy:
            self._strategies[strategy].cancelled += 1

    def report(self, now: float, dependencies: tuple[DependencyCount, ...]) -> Report:
        """Give all of it, the most frequent failure first."""
        failures = [
            FailureCount(kind, code, seen.count, seen.recent.count(now)) for (kind, code), seen in self._seen.items()
        ]
        return Report(
            calls=self._calls,
            succeeded=self._succeeded,
            recovered=self._recovered,
            failed=self._failed,
            cancelled=self._cancelled,
            unknown=sum(each.count for each in failures if each.kind is Kind.BUG),
            recent_s=self._recent_s,
            failures=tuple(sorted(failures, key=lambda each: (-each.count, each.kind, each.code))),
            strategies=tuple(each.shown(name) for name, each in self._strategies.items()),
            given_up=dict(self._given_up),
            dependencies=dependencies,
        )

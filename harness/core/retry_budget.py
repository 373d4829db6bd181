"""Retry budget: how many second tries a dependency can bear.

In    began(now) for each call, granted(now) for each retry, the end of both; how a try ended
Out   whether one more retry is within the budget, and if not, why
Rule  retries that are under way, still sleeping or not long over are at most a share of the calls, or a small minimum
Why   retries triple the load exactly when there is no room for it; a budget bounds that for all callers together

Both halves must agree. The *share* (Envoy's retry budget, there of calls in flight; Linkerd's, of calls in the last
seconds) counts whatever is open or began within the window: a retry that sleeps is a retry. The *tokens* (gRPC's retry
throttling, proposal A6) sink with every failure and rise with every success, and above half of them retries are free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

BUCKETS: Final = 10
"""The window moves in steps of a tenth."""
_NEVER: Final = -(2**62)
Verdict = Literal["", "budget", "tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetConfig:
    """How many retries a dependency bears."""

    share: float = 0.2
    """Retries for each call that is open or began within the window."""
    retries_min: int = 3
    """So many are allowed however few calls there are."""
    window_s: float = 10.0
    """What began longer ago than this, and has ended, counts no more."""
    tokens_max: float = 10.0
    """A full purse; retries need more than half of it."""
    tokens_a_failure: float = 1.0
    """What a failure takes out."""
    tokens_a_success: float = 0.1
    """What a success puts back."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, got {self.share}")
        if self.retries_min < 0:
            raise ValueError(f"retries_min must be at least 0, got {self.retries_min}")
        for name in ("window_s", "tokens_max", "tokens_a_failure", "tokens_a_success"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0, got {value}")


class Openings:
    """Counts what is open or began within the window; O(1) for each call, whatever the rate."""

    __slots__ = ("_at", "_began", "_old", "_open", "_step_s", "_total", "_until")

    def __init__(self, window_s: float) -> None:
        """Start with nothing."""
        self._step_s = window_s / BUCKETS
        self._at = _NEVER
        self._until = -math.inf
        self._began = [0] * BUCKETS
        self._open = [0] * BUCKETS
        self._old = 0
        self._total = 0

    def begin(self, now: float) -> int:
        """Count one more; the number that comes back belongs to its ``end``."""
        if not now < self._until:
            self._move(now)
        slot = self._at % BUCKETS
        self._began[slot] += 1
        self._open[slot] += 1
        self._total += 1
        return self._at

    def end(self, now: float, step: int) -> None:
        """It is over; it still counts until the window has passed its beginning."""
        if not now < self._until:
            self._move(now)
        if step > self._at - BUCKETS:
            self._open[step % BUCKETS] -= 1
        else:
            self._old -= 1

    def count(self, now: float) -> int:
        """How many are open or began within the window."""
        self._move(now)
        return self._old + self._total

    @property
    def open(self) -> int:
        """How many have not ended."""
        return self._old + sum(self._open)

    def _move(self, now: float) -> None:
        """Let the window follow the clock; a clock that goes back leaves it where it is."""
        at = math.floor(now / self._step_s)
        if at <= self._at:
            return
        for step in range(max(self._at + 1, at - BUCKETS + 1), at + 1):
            slot = step % BUCKETS
            self._total -= self._began[slot]
            self._old += self._open[slot]
            self._began[slot] = self._open[slot] = 0
        self._at = at
        self._until = (at + 1) * self._step_s


class RetryBudget:
    """The budget of one dependency, shared by everybody who calls it."""

    __slots__ = ("_calls", "_config", "_retries", "_tokens")

    def __init__(self, config: BudgetConfig) -> None:
        """Start with a full purse."""
        self._config = config
        self._calls, self._retries = Openings(config.window_s), Openings(config.window_s)
        self._tokens = config.tokens_max

    def began(self, now: float) -> int:
        """A first try begins; the number belongs to its ``over``."""
        return self._calls.begin(now)

    def over(self, now: float, number: int) -> None:
        """The call is over, its retries included."""
        self._calls.end(now, number)

    def note(self, *, ok: bool) -> None:
        """Say how a try has ended; failures that say nothing about the dependency are not told."""
        config = self._config
        if not ok:
            self._tokens = max(0.0, self._tokens - config.tokens_a_failure)
        elif self._tokens < config.tokens_max:  # Full is what it nearly always is.
            self._tokens = min(config.tokens_max, self._tokens + config.tokens_a_success)

    def refusal(self, now: float) -> Verdict:
        """Say why one more retry is not within the budget; "" if it is."""
        if self._tokens <= self._config.tokens_max / 2:
            return "tokens"
        return "budget" if self._retries.count(now) >= self.retries_max(now) else ""

    def granted(self, now: float) -> int:
        """One more retry, from now on; the number belongs to its ``retried``. Ask ``refusal`` first."""
        return self._retries.begin(now)

    def retried(self, now: float, number: int) -> None:
        """A retry is over, or it was given up before its sleep was."""
        self._retries.end(now, number)

    def retries_max(self, now: float) -> int:
        """How many retries may be open or recent at this moment."""
        return max(self._config.retries_min, math.floor(self._config.share * self._calls.count(now)))

    def retries(self, now: float) -> int:
        """How many retries are open or recent at this moment."""
        return self._retries.count(now)

    @property
    def calls_open(self) -> int:
        """Calls that are not over."""
        return self._calls.open

    @property
    def tokens(self) -> float:
        """What is left in the purse."""
        return self._tokens

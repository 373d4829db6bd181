"""Breaker: the words of a circuit breaker: its states, the table of its moves, its configuration, what goes in and out.

In    nothing: this file only names things and refuses what cannot be
Out   State, Signal, Cause, Outcome, NEXT, BreakerConfig, Permit, Refusal, Transition
Rule  NEXT is the whole machine: a pair that is not in it cannot happen; the docs' diagram is drawn from it
Why   machine, shells, log and docs speak of the same things, and none of them needs the others for that
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple


class State(enum.StrEnum):
    """What the breaker does with calls."""

    __hash__ = str.__hash__  # Enum's own is a function in Python, and states are looked up in sets on hot paths.

    CLOSED = "closed"
    """Every call goes through and is judged."""
    OPEN = "open"
    """Calls are refused until the cooldown is over."""
    HALF_OPEN = "half-open"
    """A few probes go through; they decide."""
    FORCED_OPEN = "forced-open"
    """Somebody refuses all calls, for a limited time."""
    DISABLED = "disabled"
    """Somebody lets all calls through unjudged and uncounted, for a limited time."""
    METRICS_ONLY = "metrics-only"
    """Somebody lets all calls through; they are counted, not judged, for a limited time."""


class Signal(enum.StrEnum):
    """What moves it."""

    TRIPPED = "tripped"
    COOLED = "cooled"
    PROVEN = "proven"
    RELAPSED = "relapsed"
    FORCED = "forced"
    DISABLED = "disabled"
    OBSERVED = "observed"
    RESET = "reset"
    EXPIRED = "expired"
    CONFIGURED = "configured"


class Cause(enum.StrEnum):
    """Why: the rule that gave the signal."""

    CONSECUTIVE = "consecutive"
    FAILURE_RATE = "failure-rate"
    SLOW_RATE = "slow-rate"
    BAD_RATE = "bad-rate"
    IN_FLIGHT_SLOW = "in-flight-slow"
    PROBE_FAILED = "probe-failed"
    PROBE_SLOW = "probe-slow"
    LEASE_EXPIRED = "lease-expired"
    PROBE_OK = "probe-ok"
    TIMER = "timer"
    MANUAL = "manual"
    TTL = "ttl"


class Outcome(enum.StrEnum):
    """How a call ended."""

    __hash__ = str.__hash__  # As above.

    SUCCESS = "success"
    FAILURE = "failure"
    THROTTLED = "throttled"
    """A failure that says when to come back."""
    IGNORED = "ignored"
    """An error of the caller's own making: says nothing about the callee."""
    CANCELLED = "cancelled"
    """Nobody waited for the end: neither success nor failure."""


class Window(enum.StrEnum):
    """What the rates are taken over."""

    COUNT = "count"
    TIME = "time"


BY_HAND: Final[Mapping[Signal, State]] = {
    Signal.FORCED: State.FORCED_OPEN,
    Signal.DISABLED: State.DISABLED,
    Signal.OBSERVED: State.METRICS_ONLY,
    Signal.RESET: State.CLOSED,
}
"""What a person may ask for, in every state."""

# The whole machine. A pair that is not here cannot happen.
NEXT: Final[Mapping[tuple[State, Signal], State]] = {
    (State.CLOSED, Signal.TRIPPED): State.OPEN,
    (State.OPEN, Signal.COOLED): State.HALF_OPEN,
    (State.HALF_OPEN, Signal.PROVEN): State.CLOSED,
    (State.HALF_OPEN, Signal.RELAPSED): State.OPEN,
    # Whoever forced it open had a reason: it is not believed to be over before a probe says so.
    (State.FORCED_OPEN, Signal.EXPIRED): State.HALF_OPEN,
    (State.DISABLED, Signal.EXPIRED): State.CLOSED,
    (State.METRICS_ONLY, Signal.EXPIRED): State.CLOSED,
    **{(state, signal): after for state in State for signal, after in BY_HAND.items()},
    **{(state, Signal.CONFIGURED): state for state in State},
}

PASSING: Final = frozenset({State.CLOSED, State.DISABLED, State.METRICS_ONLY})
"""States in which every call goes through."""
REFUSING: Final = frozenset({State.OPEN, State.FORCED_OPEN})
"""States in which no call goes through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """When to trip, how long to cool down, what proves that it is over. Times in seconds, rates from 0 to 1."""

    failures_max: int | None = 5
    """Failures in a row that trip it; None: any number is forgiven."""
    window: Window = Window.COUNT
    """What rates are taken over: the last calls, or the last seconds."""
    window_calls: int = 100
    """How many calls a count window holds."""
    window_s: float = 60.0
    """How long a time window is; it moves on in sixtieths."""
    calls_min: int = 10
    """Calls in the window before any rate may trip it."""
    failure_rate: float | None = 0.5
    """Share of failed calls that trips it; None: not judged."""
    slow_rate: float | None = 1.0
    """Share of slow calls that trips it, those in flight included; None: not judged."""
    bad_rate: float | None = None
    """Share of calls that failed or were slow that trips it; None: not judged."""
    slow_s: float = 30.0
    """A call that takes so long, or is silent for so long, is slow."""
    cooldown_s: float = 30.0
    """How long it stays open."""
    cooldown_growth: float = 1.0
    """What the cooldown is multiplied by each time that it opens again without having closed."""
    cooldown_max_s: float = 300.0
    """What growth and Retry-After may make of the cooldown at most; ``cooldown_s`` itself and jitter are never cut."""
    cooldown_jitter: float = 0.0
    """Random share that is added to each cooldown, so that many breakers do not probe at once: 0.1 is up to 10 %."""
    probes: int = 1
    """Probes that decide while half-open; the verdict comes as soon as the rest cannot change it."""
    probes_max: int = 1
    """Probes that may be under way at once."""
    lease_s: float = 60.0
    """A probe that is neither settled nor renewed for so long counts as failed: a hung one cannot wedge the breaker."""
    in_flight_max: int = 10_000
    """Slow calls in flight, and late ones, that are remembered until they end; beyond that the oldest is forgotten."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("failures_max", "window_calls", "calls_min", "probes", "probes_max", "in_flight_max"):
            count = getattr(self, name)
            if count is None and name == "failures_max":
                continue
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(f"{name} must be a whole number, at least 1, got {count!r}")
        for name in ("window_s", "slow_s", "cooldown_s", "cooldown_max_s", "lease_s"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number of seconds above 0, got {value!r}")
        for name in ("failure_rate", "slow_rate", "bad_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, or None to switch it off, got {rate!r}")
        if not 1 <= self.cooldown_growth < math.inf:
            raise ValueError(f"cooldown_growth must be a number, at least 1, got {self.cooldown_growth!r}")
        if not 0 <= self.cooldown_jitter <= 1:
            raise ValueError(f"cooldown_jitter must be from 0 to 1, got {self.cooldown_jitter!r}")
        if self.window is Window.COUNT and self.calls_min > self.window_calls:
            raise ValueError(
                f"calls_min ({self.calls_min}) is more than window_calls ({self.window_calls}): no rate could ever "
                "trip; make the window larger"
            )

    @property
    def probe_failures_max(self) -> int:
        """Failed probes that decide: the failure rate's share of ``probes``; without a rate the first one."""
        if self.failure_rate is None:
            return 1
        return max(1, math.ceil(round(self.failure_rate * self.probes, 9)))


class Permit:
    """One call is allowed; hand it back to ``settle`` exactly once. Made on every call, so it is a bare object."""

    __slots__ = ("generation", "since")
    probe: ClassVar[bool] = False
    since: float
    """When it was given, or last renewed."""
    generation: int
    """The state that it belongs to: how many changes of state there had been."""


class Probe(Permit):
    """A permit of the half-open state: how it ends decides."""

    __slots__ = ("silent_s",)
    probe: ClassVar[bool] = True
    silent_s: float
    """The longest silence between two renewals so far."""


class Refusal(NamedTuple):
    """The call must not be made."""

    retry_after_s: float
    """Seconds until another try is worth while (0: as soon as a probe is back)."""
    probing: bool
    """Whether probes are under way, so that nobody knows how long it takes."""
    reason: str
    """``open``, ``forced-open`` or ``probing``."""
    generation: int


class Counts(NamedTuple):
    """What the window holds now. A rate of no calls is None."""

    calls: int
    failed: int
    slow: int
    bad: int
    """Failed or slow."""
    hung: int
    """Slow calls that are still in flight; calls, slow and bad include them."""

    @property
    def failure_rate(self) -> float | None:
        """Share of failed calls."""
        return self.failed / self.calls if self.calls else None

    @property
    def success_rate(self) -> float | None:
        """Share of calls that did not fail."""
        return 1 - self.failed / self.calls if self.calls else None

    @property
    def slow_rate(self) -> float | None:
        """Share of slow calls."""
        return self.slow / self.calls if self.calls else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change: of state, of an override's limit, or of the configuration."""

    seq: int
    """Counts from 1 without gaps."""
    before: State
    after: State
    signal: Signal
    cause: Cause
    now: float
    """When it was noticed."""
    late_s: float
    """How long before that it took effect: cooldowns, leases and limits end when they end, not when somebody looks."""
    generation: int
    """How many changes of state there have been, this one included."""
    failures: int
    """Failures in a row at that moment."""
    counts: Counts
    """What the window held at that moment."""
    cooldown_s: float
    """How long it will stay open; 0 if it does not open."""
    attempt: int
    """How many times it has opened since it was closed last."""
    ttl_s: float
    """How long an override holds; 0 if it is none."""
    author: str
    """Who did it, if a person did."""
    config_version: int
    """Counts the configurations from 1."""

"""Circuit breaker: stop calling what keeps failing, then try again with care.

In    admit(now) before a call; settle(permit, now, ok=...) after it; fail(now) for a failure without a call
Out   a Permit or a Refusal; a Transition for every change of state
Rule  time is an argument: nothing here reads a clock, sleeps, logs or awaits
Why   every state is reachable in a test within microseconds; a run can be played again

    CLOSED --TRIPPED--> OPEN --COOLED--> HALF_OPEN --PROVEN--> CLOSED
                          ^---RELAPSED------'
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class State(enum.StrEnum):
    """What the breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Signal(enum.StrEnum):
    """Why it changes its mind."""

    TRIPPED = "tripped"
    COOLED = "cooled"
    PROVEN = "proven"
    RELAPSED = "relapsed"


# The whole machine. A pair that is not here cannot happen.
NEXT: Final[Mapping[tuple[State, Signal], State]] = {
    (State.CLOSED, Signal.TRIPPED): State.OPEN,
    (State.OPEN, Signal.COOLED): State.HALF_OPEN,
    (State.HALF_OPEN, Signal.PROVEN): State.CLOSED,
    (State.HALF_OPEN, Signal.RELAPSED): State.OPEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """When to trip, how long to cool down, how long a probe may take. Seconds."""

    failures_max: int = 5
    """Failures in a row that trip it."""
    cooldown_s: float = 30.0
    """How long it stays open."""
    lease_s: float = 60.0
    """A probe that is neither settled nor renewed for so long counts as failed: a hung one cannot wedge the breaker."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.failures_max < 1:
            raise ValueError(f"failures_max must be at least 1, got {self.failures_max}")
        for name in ("cooldown_s", "lease_s"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number above 0, got {value}")


@dataclass(frozen=True, slots=True)
class Permit:
    """One call is allowed; hand it back to ``settle`` exactly once."""

    number: int
    generation: int
    probe: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call must not be made; seconds until another try is worth while (0: as soon as the probe is back)."""

    retry_after_s: float
    probing: bool


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state; ``seq`` counts from 1 without gaps, ``failures`` are those in a row at that moment."""

    seq: int
    before: State
    after: State
    cause: Signal
    failures: int


class CircuitBreaker:
    """The machine for one dependency. Count of failures in a row; exactly one probe at a time while half-open."""

    __slots__ = ("_config", "_failures", "_generation", "_lease", "_numbers", "_open_until", "_probe", "_state")

    def __init__(self, config: BreakerConfig) -> None:
        """Start closed."""
        self._config = config
        self._state = State.CLOSED
        self._generation = 0
        self._failures = 0
        self._numbers = 0
        self._open_until = 0.0
        self._probe: int | None = None
        self._lease = 0.0

    @property
    def state(self) -> State:
        """The state after the last call; ``tick`` moves what only time moves."""
        return self._state

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def wake_at(self) -> float | None:
        """When ``tick`` has something to do: the end of the cooldown, or of the probe's lease."""
        if self._state is State.OPEN:
            return self._open_until
        return self._lease if self._probe is not None else None

    def retry_after_s(self, now: float) -> float | None:
        """Seconds until an open breaker lets a probe through; None if it is not open."""
        return max(0.0, self._open_until - now) if self._state is State.OPEN else None

    def tick(self, now: float) -> tuple[Transition, ...]:
        """Let time pass: an open breaker that has cooled down becomes half-open, an overdue probe fails."""
        if self._state is State.OPEN and now >= self._open_until:
            return (self._move(Signal.COOLED),)
        if self._probe is not None and now >= self._lease:
            # Open from the deadline on, not from when somebody noticed: late notice must not add to the cooldown.
            return (self._open(Signal.RELAPSED, self._lease), *self.tick(now))
        return ()

    def peek(self, now: float) -> Refusal | None:
        """Say whether ``admit`` would refuse, without taking a permit. Call ``tick`` first."""
        if self._state is State.OPEN:
            return Refusal(max(0.0, self._open_until - now), probing=False)
        if self._probe is not None:
            return Refusal(0.0, probing=True)
        return None

    def admit(self, now: float) -> Permit | Refusal:
        """Ask before a call. Call ``tick`` first: this decides, it does not move."""
        refusal = self.peek(now)
        if refusal is not None:
            return refusal
        self._numbers += 1
        probe = self._state is State.HALF_OPEN
        if probe:
            self._probe, self._lease = self._numbers, now + self._config.lease_s
        return Permit(self._numbers, self._generation, probe)

    def settle(self, permit: Permit, now: float, *, ok: bool | None) -> tuple[Transition, ...]:
        """Report how the call that ``permit`` allowed has ended; None: cancelled, which proves nothing."""
        if permit.generation != self._generation:
            return ()  # A straggler from before the last change: too old to judge by.
        if permit.probe:
            if permit.number != self._probe:
                return ()  # Settled before.
            self._probe = None
        if ok is None:
            return ()
        if not ok:
            return self.fail(now)
        self._failures = 0
        return (self._move(Signal.PROVEN),) if self._state is State.HALF_OPEN else ()

    def renew(self, permit: Permit, now: float) -> None:
        """Report that a call is alive: a probe that still answers is not hung, however long it takes."""
        if permit.number == self._probe and permit.generation == self._generation:
            self._lease = now + self._config.lease_s

    def fail(self, now: float) -> tuple[Transition, ...]:
        """Report a failure that no permit stands for, such as the death of the process that is called."""
        if self._state is State.OPEN:
            return ()
        self._failures += 1
        if self._state is State.HALF_OPEN:
            return (self._open(Signal.RELAPSED, now),)
        if self._failures >= self._config.failures_max:
            return (self._open(Signal.TRIPPED, now),)
        return ()

    def _open(self, cause: Signal, since: float) -> Transition:
        self._open_until = since + self._config.cooldown_s
        return self._move(cause)

    def _move(self, cause: Signal) -> Transition:
        before, self._state = self._state, NEXT[self._state, cause]
        self._generation += 1
        self._probe = None
        return Transition(self._generation, before, self._state, cause, self._failures)

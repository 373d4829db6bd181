"""Locked breaker: the machine for many threads, and what is done in the same pass: a limit, a record.

In    requests to admit, settle and renew; what went through unasked while it was calm
Out   admissions, refusals as errors; changes to the listener
Rule  the lock is held while the machine, the limit and the record work, never while guarded code or a hook runs
Why   the machine is pure and knows no threads; here is the one place that lets them in

An era is the time between two changes of state. While it is calm - everything goes through, nothing in flight is slow -
a call may go through without the lock: an entry in ``flying`` while it runs, one in ``good`` when it has ended well.
Each operation on them is atomic; whoever takes the lock next reports them to the machine first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

from harness.adapters._telling import Teller
from harness.errors import BusyError, CircuitOpenError
from harness.services.circuit_breaker import (
    REFUSING,
    BreakerConfig,
    CircuitBreaker,
    Counts,
    Outcome,
    Permit,
    Refusal,
    State,
    Transition,
)

UNASKED_MAX: Final = 500
"""Good calls, or refusals, that are reported to the machine together, at most."""
_NEVER: Final = float("-inf")
_SUCCESS: Final = Outcome.SUCCESS  # Bound once: this name is looked up on every call.


class Limit(Protocol):
    """What is needed of a concurrency limit, such as ``ConcurrencyLimit``."""

    def try_acquire(self, now: float) -> Any | None:
        """Take a place; None if there is none."""

    def settle(self, lease: Any, now: float, *, signal_s: float | None, dropped: bool) -> object:
        """Give it back, with the seconds to the first sign of an answer, or as dropped."""

    def overdue(self, now: float) -> object:
        """Take back the places that nobody gave back in time."""


Admission = tuple[Permit, Any | None, float]
"""One call may be made: its permit, its place in the limit if there is one, and since when. A tuple, for its price."""


class Era:
    """What was let through, or refused, unasked since the last change of state."""

    __slots__ = ("calm_until", "flying", "good", "open_until", "refused")

    def __init__(self) -> None:
        """Neither calm nor open until somebody says so."""
        self.calm_until = self.open_until = _NEVER
        self.flying: dict[object, float] = {}
        self.good: list[None] = []
        self.refused: list[None] = []


class LockedBreaker:
    """One machine, for any number of threads."""

    __slots__ = ("_adopted", "_clock", "_era", "_fused", "_limit", "_lock", "_machine", "_record", "_teller", "name")

    def __init__(
        self,
        name: str,
        config: BreakerConfig | None,
        *,
        clock: Callable[[], float],
        listener: Callable[[Transition], object] | None,
        limit: Limit | None,
        record: Callable[[Outcome, float], object] | None,
        lock: threading.Lock | None,
    ) -> None:
        """Start closed."""
        self.name: Final = name
        self._machine = CircuitBreaker(config or BreakerConfig())
        self._lock = lock or threading.Lock()
        self._clock = clock
        self._teller: Teller[Transition] = Teller(name, listener)
        self._limit = limit
        self._record = record
        self._fused = limit is not None or record is not None
        self._era = Era()
        self._adopted: dict[object, Permit] = {}

    # --- what it knows ------------------------------------------------------------------------------------------------
    @property
    def state(self) -> State:
        """The state at this moment: a cooldown that is over is noticed."""
        self.tick()
        return self._machine.state

    @property
    def hook_errors(self) -> int:
        """How often a judge, the record or the listener raised."""
        return self._teller.errors

    @property
    def listener_losses(self) -> int:
        """Changes of state that the listener was too slow for."""
        return self._teller.losses

    def tick(self) -> None:
        """Let time pass although nobody calls: cooldowns, leases, overrides, slow calls in flight."""
        with self._lock:
            self._publish(self._machine.tick(self._begin()))
        self._teller.tell()

    def counts(self) -> Counts:
        """Give what the window holds, and with it the rates."""
        with self._lock:
            counts = self._machine.counts(self._begin())
            self._publish(self._machine.drain())
        self._teller.tell()
        return counts

    def totals(self) -> Mapping[str, int]:
        """Count what ever happened: each outcome, refusals, late results."""
        self.tick()
        with self._lock:
            return self._machine.totals()

    def force(self, state: State, *, author: str, ttl_s: float = 3600.0) -> None:
        """Let a person decide for a limited time; ValueError for what nobody can ask for."""
        with self._lock:
            self._publish(self._machine.force(state, self._begin(), author=author, ttl_s=ttl_s))
        self._teller.tell()

    # --- calls, for guards and leases ---------------------------------------------------------------------------------
    def _enter(self) -> Admission:
        """Ask the machine, then the limit; CircuitOpenError or BusyError. While it is open nobody needs to be asked."""
        era, now = self._era, self._clock()
        if now < era.open_until:
            era.refused.append(None)
            if len(era.refused) > UNASKED_MAX:
                self.tick()
            raise CircuitOpenError(self.name, retry_after_s=era.open_until - now)
        place = None
        with self._lock:
            now, machine, limit = self._begin(), self._machine, self._limit
            answer = machine.admit(now)
            if limit is not None and type(answer) is not Refusal:
                place = limit.try_acquire(now)
                if place is None:
                    limit.overdue(now)
                    place = limit.try_acquire(now)
                if place is None:
                    machine.settle(cast("Permit", answer), now, Outcome.CANCELLED)
            if machine.moves or not self._fused:
                self._publish(machine.drain())
        if self._teller.untold:
            self._teller.tell()
        if isinstance(answer, Refusal):
            raise CircuitOpenError(self.name, retry_after_s=answer.retry_after_s)
        if limit is not None and place is None:
            raise BusyError(self.name, retry_after_s=0.0)
        return answer, place, now

    def _leave(self, admission: Admission, outcome: Outcome, retry_after_s: float, first_s: float | None) -> None:
        """Settle a call with everybody who was asked; ``first_s``: seconds to the first sign of an answer."""
        permit, place, since = admission
        with self._lock:
            now = self._begin()
            moves = self._machine.settle(permit, now, outcome, retry_after_s=retry_after_s)
            if place is not None and self._limit is not None:
                good = outcome is _SUCCESS
                signal_s = (now - since if first_s is None else first_s) if good else None
                self._limit.settle(place, now, signal_s=signal_s, dropped=not good and outcome is Outcome.THROTTLED)
            if self._record is not None:
                try:
                    self._record(outcome, now - since)
                except Exception as error:  # noqa: BLE001  # a record is somebody else's code and changes no outcome
                    self._teller.report("record", error)
            if moves or not self._fused:
                self._publish(moves)
        if self._teller.untold:
            self._teller.tell()

    def _renew(self, permit: Permit) -> float:
        with self._lock:
            now = self._begin()
            self._machine.renew(permit, now)
            self._publish(self._machine.drain())
        if self._teller.untold:
            self._teller.tell()
        return now

    def _landed(self, era: Era, key: object, since: float) -> Admission | None:
        """Give an admission to a call that went through unasked; None if the state has changed since: it is late."""
        with self._lock:
            self._publish(self._machine.tick(self._begin()))
            permit = self._adopted.pop(key, None)
        if self._teller.untold:
            self._teller.tell()
        # In neither: the era ended between its two steps, in another thread. Nobody knows of it, so nobody is told.
        era.flying.pop(key, None)
        return None if permit is None else (permit, None, since)

    # --- with the lock held -------------------------------------------------------------------------------------------
    def _begin(self) -> float:
        """Report to the machine what was done unasked; give the time."""
        now, era = self._clock(), self._era
        if era.good or era.flying or era.refused:
            good, refused = len(era.good), len(era.refused)
            del era.good[:good], era.refused[:refused]
            began = []
            while era.flying:
                began.append(era.flying.popitem())
            began.reverse()
            since = [since for _, since in began]
            permits = self._machine.catch_up(now, good=good, refused=refused, since=since)
            self._adopted.update(zip((key for key, _ in began), permits, strict=True))
        return now

    def _publish(self, moves: tuple[Transition, ...]) -> None:
        """Say until when nobody needs to be asked; after a change of state the calls from before it are late."""
        machine = self._machine
        if moves:
            self._era.calm_until = self._era.open_until = _NEVER
            self._era = Era()
            self._teller.note(moves)
            if machine.state in REFUSING:
                self._era.open_until = machine.wake_at() or _NEVER
        if not self._fused:
            self._era.calm_until = machine.calm_until

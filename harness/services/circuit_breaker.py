"""Circuit breaker: stop calling what keeps failing, then try again with care.

In    admit(now) before a call, settle(permit, now, outcome) after it, renew(permit, now) while it streams;
      fail(now) for a failure without a call; force(...) and configure(...) for people; tick(now) when nobody calls
Out   a Permit or a Refusal; a Transition for every change
Rule  time and dice are arguments: nothing here reads a clock, sleeps, logs or awaits; what time does is done at its
      own moment, whoever looks and however late: state depends on calls and times, never on who asked
Why   every state is reachable in a test within microseconds; a run can be played again

    CLOSED --TRIPPED--> OPEN --COOLED--> HALF_OPEN --PROVEN--> CLOSED        (the whole table: NEXT in core/breaker.py)
                          ^---RELAPSED------'

The price of a good call: its permit is remembered and forgotten, and one number grows. Windows, rates and streaks are
brought up to date when something else than a good call happens, or ``_calm_until`` has come.
"""

from __future__ import annotations

import math
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Final

from harness.core.breaker import (
    BY_HAND,
    NEXT,
    PASSING,
    REFUSING,
    BreakerConfig,
    Cause,
    Counts,
    Outcome,
    Permit,
    Probe,
    Refusal,
    Signal,
    State,
    Transition,
    Window,
)
from harness.core.breaker_replay import Standing
from harness.core.window import CallWindow, CountWindow, TimeWindow

__all__ = [
    "NEXT",
    "PASSING",
    "REFUSING",
    "BreakerConfig",
    "Cause",
    "CircuitBreaker",
    "Counts",
    "Outcome",
    "Permit",
    "Probe",
    "Refusal",
    "Signal",
    "Standing",
    "State",
    "Transition",
    "Window",
]

MOVES_MAX: Final = 100
"""Transitions that wait to be taken; if nobody takes them the oldest are dropped, and ``seq`` shows the gap."""
FORCED_MAX_S: Final = 86_400.0
"""No order of a person holds longer, as for the mode of the service: a forgotten one must end."""
_NEVER: Final = math.inf
_SUCCESS: Final = Outcome.SUCCESS  # Bound once: this name is looked up on every call.
_ASKED: Final = {state: signal for signal, state in BY_HAND.items()}


class CircuitBreaker:
    """The machine for one dependency. Not for two threads at once: ``adapters`` have shells with a lock."""

    __slots__ = (
        "_attempt",
        "_author",
        "_bad_probes",
        "_calm_until",
        "_cause",
        "_config",
        "_generation",
        "_good",
        "_good_probes",
        "_grown_s",
        "_hung",
        "_now",
        "_open",
        "_retry_until",
        "_rng",
        "_seq",
        "_since",
        "_slow_s",
        "_state",
        "_stragglers",
        "_streak",
        "_totals",
        "_until",
        "_version",
        "_window",
        "moves",
    )

    def __init__(self, config: BreakerConfig, rng: random.Random | None = None) -> None:
        """Start closed; ``rng`` throws the dice for ``cooldown_jitter``."""
        self.moves: deque[Transition] = deque(maxlen=MOVES_MAX)
        """What has changed and was not handed out yet: ``admit`` and ``renew`` let time pass, but return no changes."""
        self._rng = rng
        self._equip(config)
        self._state = State.CLOSED
        self._generation = self._seq = self._attempt = self._streak = 0
        self._version = 1
        self._cause = self._author = ""
        self._since = self._grown_s = 0.0
        self._until = _NEVER
        self._now = self._calm_until = self._retry_until = -_NEVER
        self._good = self._good_probes = self._bad_probes = 0
        # Oldest sign of life first. OrderedDict, because a dict gets slower at its front the more is taken from there.
        self._open: OrderedDict[Permit, None] = OrderedDict()
        self._hung: OrderedDict[Permit, None] = OrderedDict()
        self._stragglers: OrderedDict[Permit, None] = OrderedDict()
        self._totals: Counter[str] = Counter()

    # --- A call -------------------------------------------------------------------------------------------------------
    def admit(self, now: float) -> Permit | Refusal:
        """Ask before a call at ``now`` (seconds, any monotonic clock). ValueError for a time that is no number.

        A time before the latest one seen is taken for that one.
        """
        if not self._now <= now < self._calm_until:
            now = self._pass(now)
            refusal = self._refusal()
            if refusal is not None:
                self._totals["refused"] += 1
                return refusal
            if self._state is State.HALF_OPEN:
                return self._probe()
        self._now = now
        permit = Permit()
        permit.since = now
        permit.generation = self._generation
        self._open[permit] = None
        return permit

    def settle(
        self,
        permit: Permit,
        now: float,
        outcome: Outcome,
        *,
        took_s: float | None = None,
        retry_after_s: float = 0.0,
    ) -> tuple[Transition, ...]:
        """Report how the call that ``permit`` allowed has ended; give all changes that were not handed out before.

        ``took_s``: what to judge its speed by, such as the time to the first token; None: its longest silence.
        ``retry_after_s``: when a throttled call asks to come back. ValueError for impossible numbers; nothing changed.
        A permit that was settled before, or that another breaker gave, is ignored.
        """
        if (
            outcome is _SUCCESS
            and self._now <= now < self._calm_until
            and permit in self._open
            and (took_s is None or 0 <= took_s < self._slow_s)
            and not retry_after_s
        ):
            # Calm ends before anything in flight becomes slow: this one is good.
            del self._open[permit]
            self._now = now
            self._good += 1
            return ()
        self._check(took_s, retry_after_s)
        outcome = Outcome(outcome)
        self._settle(permit, self._pass(now), outcome, took_s, retry_after_s)
        return self.drain()

    def renew(self, permit: Permit, now: float) -> None:
        """Report that a call is alive, such as by a piece of its reply: what still answers is not hung."""
        if self._now <= now < self._calm_until:  # Every piece of every reply comes this way.
            self._now = now
        else:
            now = self._pass(now)
        if permit not in self._open:
            return
        if isinstance(permit, Probe):
            permit.silent_s = max(permit.silent_s, now - permit.since)
        permit.since = now
        self._open.move_to_end(permit)

    def fail(self, now: float, *, retry_after_s: float = 0.0) -> tuple[Transition, ...]:
        """Report a failure that no permit stands for, such as the death of the process that is called."""
        self._check(None, retry_after_s)
        now = self._pass(now)
        self._retry_until = max(self._retry_until, now + retry_after_s)
        if self._state in (State.CLOSED, State.METRICS_ONLY):
            self._judge(now, failed=True, slow=False, ended=True)
        elif self._state is State.HALF_OPEN:
            self._streak += 1
            self._move(Signal.RELAPSED, Cause.PROBE_FAILED, now)
        return self.drain()

    def peek(self, now: float) -> Refusal | None:
        """Say whether ``admit`` would refuse, without taking a permit."""
        if self._now <= now < self._calm_until:
            self._now = now
            return None
        self._pass(now)
        return self._refusal()

    # --- Calls that a shell let through by itself --------------------------------------------------------------------
    @property
    def calm_until(self) -> float:
        """Until when ``admit`` lets everything through and good calls change nothing but a number; maybe in the past.

        A shell may spare itself the asking until then, if it reports with ``catch_up`` before it asks anything else.
        """
        return self._calm_until

    def catch_up(self, now: float, *, good: int = 0, refused: int = 0, since: Iterable[float] = ()) -> list[Permit]:
        """Report what a shell did unasked: so many good calls, so many refusals, and calls under way since when.

        Good calls and those under way while it was calm, refusals while it was open. Gives a permit for each call that
        is under way. ValueError for a number below 0, or a time that is no number; nothing changed.
        """
        began = [min(moment, now) for moment in since]
        if min(good, refused) < 0 or not all(map(math.isfinite, (now, *began))):
            raise ValueError(
                f"no number may be below 0 and times must be finite, got {good}, {refused}, {now}, {began}"
            )
        self._good += good
        if refused:
            self._totals["refused"] += refused
        permits = []
        for moment in began:
            permit = Permit()
            permit.since, permit.generation = moment, self._generation
            self._open[permit] = None
            permits.append(permit)
        self._pass(now)
        return permits

    # --- Time and people ----------------------------------------------------------------------------------------------
    def tick(self, now: float) -> tuple[Transition, ...]:
        """Let time pass although nobody calls: cooldowns, leases, limits and slow calls in flight."""
        if self._now <= now < self._calm_until:
            self._now = now
        else:
            self._pass(now)
        return self.drain() if self.moves else ()

    def drain(self) -> tuple[Transition, ...]:
        """Take the changes that were not handed out before, the oldest first."""
        if not self.moves:
            return ()
        moves = tuple(self.moves)
        self.moves.clear()
        return moves

    def wake_at(self) -> float | None:
        """When ``tick`` has something to do; None: not before the next call."""
        due = self._due()
        return None if due == _NEVER else due

    def force(self, state: State, now: float, *, author: str, ttl_s: float = 3600.0) -> tuple[Transition, ...]:
        """Let a person decide: FORCED_OPEN, DISABLED or METRICS_ONLY for ``ttl_s`` seconds, or CLOSED at once.

        ValueError for other states, for nobody as ``author`` and for more than a day: a forgotten override is the
        classic mistake. The same again sets a new limit.
        """
        if state not in _ASKED:
            raise ValueError(f"nobody can force a breaker to be {state}: ask for one of {', '.join(_ASKED)}")
        if not author.strip():
            raise ValueError("author must say who forces the breaker, got an empty text")
        if not 0 < ttl_s <= FORCED_MAX_S:
            raise ValueError(f"ttl_s must be a number of seconds above 0 and at most {FORCED_MAX_S:g}, got {ttl_s!r}")
        now = self._pass(now)
        self._move(_ASKED[state], Cause.MANUAL, now, ttl_s=0.0 if state is State.CLOSED else ttl_s, author=author)
        return self.drain()

    def configure(self, config: BreakerConfig, now: float, *, author: str) -> tuple[Transition, ...]:
        """Work by another configuration from now on: its window starts empty, a cooldown under way stays as it is.

        Probes that have ended do not count for it either: with fewer of them to be asked, none might be left to decide.
        """
        if not author.strip():
            raise ValueError("author must say who configures the breaker, got an empty text")
        self._pass(now)
        self._equip(config)
        self._version += 1
        self._good_probes = self._bad_probes = 0
        self._calm_until = -_NEVER
        self._tell(self._state, Signal.CONFIGURED, Cause.MANUAL, self._now, author=author)
        return self.drain()

    # --- What it knows ------------------------------------------------------------------------------------------------
    @property
    def state(self) -> State:
        """The state after the last call; ``tick`` moves what only time moves."""
        return self._state

    @property
    def generation(self) -> int:
        """How many changes of state there have been: results of older permits move nothing."""
        return self._generation

    @property
    def config(self) -> BreakerConfig:
        """What it works by."""
        return self._config

    @property
    def failures(self) -> int:
        """Failures in a row."""
        self._flush()
        return self._streak

    @property
    def in_flight(self) -> int:
        """Permits of this state that were not settled yet."""
        return len(self._open) + len(self._hung)

    def retry_after_s(self, now: float) -> float | None:
        """Seconds until it lets something through again; None if it is not open. Changes nothing."""
        return max(0.0, self._until - max(now, self._now)) if self._state in REFUSING else None

    def counts(self, now: float) -> Counts:
        """Give what the window holds, and with it the rates of failure, success and slowness."""
        self._pass(now)
        return self._counts()

    def totals(self) -> Mapping[str, int]:
        """Count what ever happened: each outcome, "refused", "late OUTCOME" (after a change of state), "unknown"."""
        self._flush()
        return dict(self._totals)

    def standing(self) -> Standing:
        """Say where it stands, as a replay of its log does."""
        return Standing(
            state=self._state.value,
            generation=self._generation,
            since=self._since,
            until=None if self._until == _NEVER else self._until,
            attempt=self._attempt,
            cause=self._cause,
            author=self._author,
            seq=self._seq,
            config_version=self._version,
        )

    # --- Time ---------------------------------------------------------------------------------------------------------
    def _pass(self, now: float) -> float:
        """Do what time has done until ``now``, each thing at its own moment; give ``now``, never before the latest."""
        if not math.isfinite(now):
            raise ValueError(f"now must be a finite number of seconds, got {now!r}")
        self._flush()
        before = self._now
        self._now = now = max(now, before)
        while (due := self._due()) <= now:
            self._happen(max(due, before))  # A new configuration does not change what was before it.
        fresh_until = self._window.advance(now)
        if self._state in PASSING:
            self._calm_until = min(self._due(), fresh_until, now + self._slow_s)
        return now

    def _due(self) -> float:
        """When time moves something next."""
        first = next(iter(self._open), None)
        if first is None:
            return self._until
        return min(self._until, first.since + (self._config.lease_s if first.probe else self._slow_s))

    def _happen(self, due: float) -> None:
        """Do the one thing that time does at ``due``."""
        self._window.advance(due)
        if self._state is State.OPEN:
            self._move(Signal.COOLED, Cause.TIMER, due)
        elif self._until <= due:
            self._move(Signal.EXPIRED, Cause.TTL, due)
        elif self._state is State.HALF_OPEN:
            hung, _ = self._open.popitem(last=False)
            self._keep(self._stragglers, hung)
            self._streak += 1
            self._fail_probe(Cause.LEASE_EXPIRED, due)
        else:
            hung, _ = self._open.popitem(last=False)
            self._keep(self._hung, hung)
            self._trip(due, in_flight=True)

    def _flush(self) -> None:
        """Write down the good calls since the last time."""
        if self._good:
            if self._state is not State.DISABLED:
                self._window.succeed(self._good)
                self._streak = 0
            self._totals[_SUCCESS] += self._good
            self._good = 0

    # --- Judgement ----------------------------------------------------------------------------------------------------
    def _settle(self, permit: Permit, now: float, outcome: Outcome, took_s: float | None, retry_after_s: float) -> None:
        where = next((each for each in (self._open, self._hung, self._stragglers) if permit in each), None)
        if where is None:
            self._totals["unknown"] += 1
            return
        del where[permit]
        if where is self._stragglers:
            self._totals[f"late {outcome}"] += 1
            return
        self._totals[outcome] += 1
        failed = outcome in (Outcome.FAILURE, Outcome.THROTTLED)
        if failed:
            self._retry_until = max(self._retry_until, now + retry_after_s)
        silent_s = now - permit.since
        if isinstance(permit, Probe):
            silent_s = max(silent_s, permit.silent_s)
        slow = (silent_s if took_s is None else took_s) >= self._slow_s
        ended = failed or outcome is _SUCCESS
        if self._state is State.HALF_OPEN:
            self._judge_probe(now, failed=failed, slow=slow, ended=ended)
        elif self._state is not State.DISABLED:
            self._judge(now, failed=failed, slow=slow, ended=ended)

    def _judge(self, now: float, *, failed: bool, slow: bool, ended: bool) -> None:
        """Count a call. One that did not end by itself proves only its slowness; a good one never trips."""
        if ended:
            self._streak = self._streak + 1 if failed else 0
        if ended or slow:
            self._window.record(failed=failed, slow=slow)
        if failed or slow:
            self._trip(now, failed=failed)

    def _judge_probe(self, now: float, *, failed: bool, slow: bool, ended: bool) -> None:
        if failed:
            self._streak += 1
            self._fail_probe(Cause.PROBE_FAILED, now)
        elif slow and (self._config.slow_rate or self._config.bad_rate):
            self._fail_probe(Cause.PROBE_SLOW, now)
        elif ended:
            self._streak = 0
            self._good_probes += 1
            if self._good_probes > self._config.probes - self._config.probe_failures_max:
                self._move(Signal.PROVEN, Cause.PROBE_OK, now)

    def _fail_probe(self, cause: Cause, at: float) -> None:
        self._bad_probes += 1
        if self._bad_probes >= self._config.probe_failures_max:
            self._move(Signal.RELAPSED, cause, at)

    def _trip(self, at: float, *, failed: bool = False, in_flight: bool = False) -> None:
        """Open if that is too much; only a closed breaker does."""
        if self._state is not State.CLOSED:
            return
        config, counts = self._config, self._counts()
        if failed and config.failures_max is not None and self._streak >= config.failures_max:
            self._move(Signal.TRIPPED, Cause.CONSECUTIVE, at)
            return
        if counts.calls < config.calls_min:
            return
        for bad, limit, cause in (
            (counts.failed, config.failure_rate, Cause.FAILURE_RATE),
            (counts.slow, config.slow_rate, Cause.IN_FLIGHT_SLOW if in_flight else Cause.SLOW_RATE),
            (counts.bad, config.bad_rate, Cause.BAD_RATE),
        ):
            # A quotient, not a product: 7 of 100 is exactly 0.07, but 0.07 * 100 is more than 7.
            if limit is not None and bad / counts.calls >= limit:
                self._move(Signal.TRIPPED, cause, at)
                return

    def _refusal(self) -> Refusal | None:
        if self._state in REFUSING:
            return Refusal(self._until - self._now, probing=False, reason=self._state, generation=self._generation)
        if self._state is State.HALF_OPEN:
            undecided = self._config.probes - self._good_probes - self._bad_probes
            if len(self._open) >= min(self._config.probes_max, undecided):
                return Refusal(0.0, probing=True, reason="probing", generation=self._generation)
        return None

    def _probe(self) -> Probe:
        probe = Probe()
        probe.since, probe.generation, probe.silent_s = self._now, self._generation, 0.0
        self._open[probe] = None
        return probe

    def _counts(self) -> Counts:
        window, hung = self._window, len(self._hung)
        return Counts(window.calls + hung, window.failed, window.slow + hung, window.bad + hung, hung)

    # --- Moves --------------------------------------------------------------------------------------------------------
    def _move(self, signal: Signal, cause: Cause, at: float, *, ttl_s: float = 0.0, author: str = "") -> None:
        """Change the state, as of ``at``; what was in flight is too late from now on."""
        after = NEXT[self._state, signal]
        cooldown_s = 0.0
        if after is State.OPEN:
            self._attempt += 1
            cooldown_s = self._cooldown(at)
        elif after is State.CLOSED:
            self._attempt = 0
        self._generation += 1
        told = self._tell(after, signal, cause, at, cooldown_s=cooldown_s, ttl_s=ttl_s, author=author)
        self._state, self._cause, self._author = after, cause.value, author
        self._since = told.now - told.late_s  # Not ``at``: a replay must come to the same number, to the last bit.
        self._until = self._since + (cooldown_s or ttl_s or _NEVER)
        for permit in (*self._open, *self._hung):
            self._keep(self._stragglers, permit)
        self._open.clear()
        self._hung.clear()
        self._window.clear()
        self._good_probes = self._bad_probes = 0
        if after is State.CLOSED:
            self._streak = 0
        self._calm_until = -_NEVER

    def _tell(
        self,
        after: State,
        signal: Signal,
        cause: Cause,
        at: float,
        *,
        cooldown_s: float = 0.0,
        ttl_s: float = 0.0,
        author: str = "",
    ) -> Transition:
        self._seq += 1
        told = Transition(
            seq=self._seq,
            before=self._state,
            after=after,
            signal=signal,
            cause=cause,
            now=self._now,
            late_s=self._now - at,
            generation=self._generation,
            failures=self._streak,
            counts=self._counts(),
            cooldown_s=cooldown_s,
            attempt=self._attempt,
            ttl_s=ttl_s,
            author=author,
            config_version=self._version,
        )
        self.moves.append(told)
        return told

    def _cooldown(self, at: float) -> float:
        """How long to stay open: grown with every attempt, raised by Retry-After, both capped, then jittered."""
        config = self._config
        cap_s = max(config.cooldown_s, config.cooldown_max_s)
        grown_s = self._grown_s * config.cooldown_growth if self._attempt > 1 else config.cooldown_s
        self._grown_s = min(cap_s, grown_s)
        cooldown_s = max(self._grown_s, min(cap_s, self._retry_until - at))
        return cooldown_s * (1 + config.cooldown_jitter * self._rng.random()) if self._rng else cooldown_s

    def _keep(self, where: OrderedDict[Permit, None], permit: Permit) -> None:
        where[permit] = None
        if len(where) > self._config.in_flight_max:
            where.popitem(last=False)

    # --- Equipment ----------------------------------------------------------------------------------------------------
    def _equip(self, config: BreakerConfig) -> None:
        """Take a configuration over, or refuse it and change nothing."""
        if config.cooldown_jitter and self._rng is None:
            raise ValueError("cooldown_jitter needs dice: hand a random.Random over as rng, or set it to 0")
        self._config = config
        self._slow_s = config.slow_s
        self._window: CallWindow = (
            CountWindow(config.window_calls) if config.window is Window.COUNT else TimeWindow(config.window_s)
        )

    @staticmethod
    def _check(took_s: float | None, retry_after_s: float) -> None:
        """Refuse impossible numbers before anything has changed."""
        for name, value in (("took_s", took_s), ("retry_after_s", retry_after_s)):
            if value is not None and not 0 <= value < _NEVER:
                raise ValueError(f"{name} must be a finite number of seconds, at least 0, got {value!r}")

"""The breaker walked at random, next to a model that remembers everything and computes everything anew."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from harness.core.breaker_replay import replay
from harness.services.circuit_breaker import (
    NEXT,
    BreakerConfig,
    Cause,
    CircuitBreaker,
    Counts,
    Outcome,
    Permit,
    Signal,
    State,
    Transition,
    Window,
)

FAILED = (Outcome.FAILURE, Outcome.THROTTLED)
# Sixtieths of such a window, and all times below, are exact in binary: the model may compare without tolerance.
WINDOW_S = 7.5


@dataclass
class Call:
    """A call, from its admission to its end."""

    since: float
    silent_s: float = 0.0
    hung: bool = False


@dataclass
class Model:
    """What the breaker promises, in the most simple-minded way."""

    config: BreakerConfig
    state: State = State.CLOSED
    now: float = -math.inf
    until: float = math.inf
    streak: int = 0
    attempt: int = 0
    grown_s: float = 0.0
    retry_until: float = -math.inf
    version: int = 1
    record: list[tuple[float, bool, bool]] = field(default_factory=list)
    votes: list[bool] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    moves: list[tuple[State, State, Signal, Cause, float, float, int, int, Counts, int]] = field(default_factory=list)

    def counts(self, at: float) -> Counts:
        seen = self.record
        if self.config.window is Window.COUNT:
            seen = seen[-self.config.window_calls :]
        else:
            part_s = self.config.window_s / 60
            seen = [each for each in seen if each[0] // part_s > at // part_s - 60]
        hung = sum(call.hung for call in self.calls.values())
        return Counts(
            calls=len(seen) + hung,
            failed=sum(failed for _, failed, _ in seen),
            slow=sum(slow for _, _, slow in seen) + hung,
            bad=sum(failed or slow for _, failed, slow in seen) + hung,
            hung=hung,
        )

    def time(self, now: float) -> None:
        last, self.now = self.now, max(now, self.now)
        while True:
            span = self.config.lease_s if self.state is State.HALF_OPEN else self.config.slow_s
            # Two that are due at once: the one that has been silent for longer, or was admitted or renewed first.
            due = [(call.since + span, number) for number, call in self.calls.items() if not call.hung]
            at, number = min([(self.until, -1), *due], key=lambda each: each[0])
            if at > self.now:
                return
            at = max(at, last)
            if number >= 0 and self.state is State.HALF_OPEN:
                del self.calls[number]
                self.streak += 1
                self.vote(Cause.LEASE_EXPIRED, at)
            elif number >= 0:
                self.calls[number].hung = True
                self.trip(at, in_flight=True)
            elif self.state is State.OPEN:
                self.go(Signal.COOLED, Cause.TIMER, at)
            else:
                self.go(Signal.EXPIRED, Cause.TTL, at)

    def go(self, signal: Signal, cause: Cause, at: float, ttl_s: float = 0.0) -> None:
        before, self.state = self.state, NEXT[self.state, signal]
        cooldown_s = 0.0
        if self.state is State.OPEN:
            self.attempt += 1
            cap_s = max(self.config.cooldown_s, self.config.cooldown_max_s)
            first = self.attempt == 1
            grown_s = self.config.cooldown_s if first else self.grown_s * self.config.cooldown_growth
            self.grown_s = min(cap_s, grown_s)
            cooldown_s = max(self.grown_s, min(cap_s, self.retry_until - at))
        if self.state is State.CLOSED:
            self.attempt = 0
        self.note(before, signal, cause, at, cooldown_s)
        self.until = at + (cooldown_s or ttl_s or math.inf)
        self.record, self.votes, self.calls = [], [], {}
        if self.state is State.CLOSED:
            self.streak = 0

    def note(self, before: State, signal: Signal, cause: Cause, at: float, cooldown_s: float = 0.0) -> None:
        counts = self.counts(at)
        self.moves.append(
            (before, self.state, signal, cause, at, cooldown_s, self.attempt, self.streak, counts, self.version)
        )

    def trip(self, at: float, *, failed: bool = False, in_flight: bool = False) -> None:
        config, counts = self.config, self.counts(at)
        if self.state is not State.CLOSED:
            return
        if failed and config.failures_max and self.streak >= config.failures_max:
            self.go(Signal.TRIPPED, Cause.CONSECUTIVE, at)
        elif counts.calls < config.calls_min:
            return
        elif config.failure_rate and counts.failed / counts.calls >= config.failure_rate:
            self.go(Signal.TRIPPED, Cause.FAILURE_RATE, at)
        elif config.slow_rate and counts.slow / counts.calls >= config.slow_rate:
            self.go(Signal.TRIPPED, Cause.IN_FLIGHT_SLOW if in_flight else Cause.SLOW_RATE, at)
        elif config.bad_rate and counts.bad / counts.calls >= config.bad_rate:
            self.go(Signal.TRIPPED, Cause.BAD_RATE, at)

    def vote(self, cause: Cause | None, at: float) -> None:
        self.votes.append(cause is None)
        probes = self.config.probes
        bad_max = max(1, math.ceil((self.config.failure_rate or 0.0) * probes))
        if self.votes.count(False) >= bad_max:
            assert cause is not None
            self.go(Signal.RELAPSED, cause, at)
        elif self.votes.count(True) > probes - bad_max:
            self.go(Signal.PROVEN, Cause.PROBE_OK, at)

    def refuses(self) -> bool:
        if self.state is State.HALF_OPEN:
            return len(self.calls) >= min(self.config.probes_max, self.config.probes - len(self.votes))
        return self.state in (State.OPEN, State.FORCED_OPEN)

    def settle(self, number: int, outcome: Outcome, took_s: float | None, retry_after_s: float) -> None:
        call = self.calls.pop(number, None)
        if call is None:
            return
        failed, ended = outcome in FAILED, outcome in (*FAILED, Outcome.SUCCESS)
        if failed:
            self.retry_until = max(self.retry_until, self.now + retry_after_s)
        silent_s = max(call.silent_s, self.now - call.since) if self.state is State.HALF_OPEN else self.now - call.since
        slow = (silent_s if took_s is None else took_s) >= self.config.slow_s
        self.end(failed=failed, slow=slow, ended=ended)

    def end(self, *, failed: bool, slow: bool, ended: bool) -> None:
        if self.state is State.HALF_OPEN:
            judged = self.config.slow_rate or self.config.bad_rate
            if failed:
                self.streak += 1
                self.vote(Cause.PROBE_FAILED, self.now)
            elif slow and judged:
                self.vote(Cause.PROBE_SLOW, self.now)
            elif ended:
                self.streak = 0
                self.vote(None, self.now)
        elif self.state in (State.CLOSED, State.METRICS_ONLY):
            if ended:
                self.streak = self.streak + 1 if failed else 0
            if ended or slow:
                self.record.append((self.now, failed, slow))
            if failed or slow:
                self.trip(self.now, failed=failed)


eighths = st.integers(0, 40).map(lambda number: number / 8)
seldom = st.integers(0, 7).map(lambda number: number == 5)
rates = st.sampled_from([None, 0.25, 0.5, 0.75, 1.0])
configs = st.builds(
    BreakerConfig,
    failures_max=st.sampled_from([None, 1, 2, 4]),
    window=st.sampled_from(Window),
    window_calls=st.just(6),
    window_s=st.just(WINDOW_S),
    calls_min=st.integers(1, 4),
    failure_rate=rates,
    slow_rate=rates,
    bad_rate=rates,
    slow_s=st.sampled_from([1.0, 2.5]),
    cooldown_s=st.sampled_from([1.0, 4.0]),
    cooldown_growth=st.sampled_from([1.0, 2.0]),
    cooldown_max_s=st.sampled_from([2.0, 6.0]),
    probes=st.integers(1, 4),
    probes_max=st.integers(1, 3),
    lease_s=st.sampled_from([1.5, 3.0]),
)


pytestmark = pytest.mark.timeout(300)  # Measured, and on a busy machine, it takes its time.


class BreakerAndModel(RuleBasedStateMachine):
    """Any order of calls, results (late and repeated ones too), silence, deaths, people and clocks that go back."""

    permits = Bundle("permits")

    @initialize(config=configs)
    def start(self, config: BreakerConfig) -> None:
        self.breaker = CircuitBreaker(config)
        self.looked_at = CircuitBreaker(config)  # The same life, but somebody keeps looking.
        self.model = Model(config)
        self.clock = 0.0
        self.numbers = 0
        self.given: list[Transition] = []
        self.lines: list[str] = []
        self.breaker.tick(0.0)
        self.model.time(0.0)

    def took(self, moves: tuple[Transition, ...]) -> None:
        for move in moves:
            assert move.seq == len(self.given) + 1
            self.given.append(move)
            self.lines.append(line_of(move))

    @rule(seconds=eighths)
    def time_passes(self, seconds: float) -> None:
        self.clock += seconds

    @rule(seconds=eighths)
    def the_clock_is_set_back(self, seconds: float) -> None:
        self.clock -= seconds

    @rule()
    def tick(self) -> None:
        self.model.time(self.clock)
        self.took(self.breaker.tick(self.clock))

    @rule(target=permits)
    def call(self) -> Any:
        return self.admit() or multiple()

    def admit(self) -> tuple[int, Permit, Permit] | None:
        self.model.time(self.clock)
        answer = self.breaker.admit(self.clock)
        self.look()
        other = self.looked_at.admit(self.clock)
        assert isinstance(answer, Permit) is not self.model.refuses()
        if not isinstance(answer, Permit):
            assert answer == other
            assert answer.retry_after_s == (0.0 if answer.probing else self.model.until - self.model.now)
            return None
        assert answer.probe is (self.model.state is State.HALF_OPEN)
        assert answer.since == self.model.now
        assert isinstance(other, Permit)
        self.numbers += 1
        self.model.calls[self.numbers] = Call(self.model.now)
        return (self.numbers, answer, other)

    @rule(
        call=consumes(permits),
        outcome=st.sampled_from([*Outcome, Outcome.SUCCESS, Outcome.FAILURE]),
        took_s=st.none() | eighths,
        retry_after_s=st.just(0.0) | eighths,
    )
    def result(
        self, call: tuple[int, Permit, Permit], outcome: Outcome, took_s: float | None, retry_after_s: float
    ) -> None:
        self.settle(call, outcome, took_s, retry_after_s)

    def settle(
        self, call: tuple[int, Permit, Permit], outcome: Outcome, took_s: float | None, retry_after_s: float
    ) -> None:
        number, permit, other = call
        self.model.time(self.clock)
        self.model.settle(number, outcome, took_s, retry_after_s)
        self.took(self.breaker.settle(permit, self.clock, outcome, took_s=took_s, retry_after_s=retry_after_s))
        self.look()
        self.looked_at.settle(other, self.clock, outcome, took_s=took_s, retry_after_s=retry_after_s)
        assert self.breaker.settle(permit, self.clock, outcome) == ()  # Once more means nothing.

    @rule(
        number=st.integers(2, 5),
        outcome=st.sampled_from([Outcome.SUCCESS, Outcome.FAILURE]),
        took_s=st.none() | eighths,
    )
    def calls_in_a_row(self, number: int, outcome: Outcome, took_s: float | None) -> None:
        for _ in range(number):
            call = self.admit()
            if call is not None:
                self.settle(call, outcome, took_s, 0.0)

    @rule(number=st.integers(2, 5))
    def calls_that_hang(self, number: int) -> None:
        for _ in range(number):
            self.admit()

    @rule()
    def wait_for_what_time_does(self) -> None:
        self.clock = max(self.clock, self.breaker.wake_at() or 0.0)

    @rule(call=permits)
    def sign_of_life(self, call: tuple[int, Permit, Permit]) -> None:
        number, permit, other = call
        self.model.time(self.clock)
        alive = self.model.calls.get(number)
        if alive is not None and not alive.hung:
            del self.model.calls[number]
            silent_s = max(alive.silent_s, self.model.now - alive.since)
            self.model.calls[number] = Call(self.model.now, silent_s)
        self.breaker.renew(permit, self.clock)
        self.look()
        self.looked_at.renew(other, self.clock)

    @rule(retry_after_s=st.just(0.0) | eighths)
    def death(self, retry_after_s: float) -> None:
        model = self.model
        model.time(self.clock)
        model.retry_until = max(model.retry_until, model.now + retry_after_s)
        if model.state is State.HALF_OPEN:
            model.streak += 1
            model.go(Signal.RELAPSED, Cause.PROBE_FAILED, model.now)
        else:
            model.end(failed=True, slow=False, ended=True)
        self.took(self.breaker.fail(self.clock, retry_after_s=retry_after_s))
        self.look()
        self.looked_at.fail(self.clock, retry_after_s=retry_after_s)

    @rule(
        asked=st.sampled_from(
            [
                (State.FORCED_OPEN, Signal.FORCED),
                (State.DISABLED, Signal.DISABLED),
                (State.METRICS_ONLY, Signal.OBSERVED),
                (State.CLOSED, Signal.RESET),
            ]
        ),
        ttl_s=st.sampled_from([0.5, 3.0]),
        seldom=seldom,
    )
    def force(self, asked: tuple[State, Signal], ttl_s: float, *, seldom: bool) -> None:
        if not seldom:
            return
        state, signal = asked
        self.model.time(self.clock)
        self.model.go(signal, Cause.MANUAL, self.model.now, 0.0 if state is State.CLOSED else ttl_s)
        self.took(self.breaker.force(state, self.clock, author="ada", ttl_s=ttl_s))
        self.look()
        self.looked_at.force(state, self.clock, author="ada", ttl_s=ttl_s)

    @rule(config=configs, seldom=seldom)
    def configure(self, config: BreakerConfig, *, seldom: bool) -> None:
        if not seldom:
            return
        self.model.time(self.clock)
        self.model.config, self.model.record, self.model.votes = config, [], []
        self.model.version += 1
        self.model.note(self.model.state, Signal.CONFIGURED, Cause.MANUAL, self.model.now)
        self.took(self.breaker.configure(config, self.clock, author="ada"))
        self.look()
        self.looked_at.configure(config, self.clock, author="ada")

    def look(self) -> None:
        """Look at every moment at which something may happen, and between."""
        wake = self.looked_at.wake_at()
        while wake is not None and wake <= self.clock:
            self.looked_at.tick(wake)
            self.looked_at.peek(wake)
            after = self.looked_at.wake_at()
            wake = after if after != wake else None
        self.looked_at.counts(self.clock)

    @invariant()
    def it_does_what_the_model_does(self) -> None:
        model, breaker = self.model, self.breaker
        model.time(self.clock)
        assert breaker.counts(self.clock) == model.counts(model.now)
        self.took(breaker.drain())
        assert breaker.state is model.state
        assert breaker.failures == model.streak
        assert breaker.in_flight == len(model.calls)
        assert [
            (m.before, m.after, m.signal, m.cause, m.now - m.late_s, m.cooldown_s, m.attempt, m.failures)
            for m in self.given
        ] == [move[:8] for move in model.moves]
        assert [(m.counts, m.config_version) for m in self.given] == [move[8:] for move in model.moves]

    @invariant()
    def looking_makes_no_difference(self) -> None:
        self.look()
        self.looked_at.tick(self.clock)
        assert self.looked_at.counts(self.clock) == self.breaker.counts(self.clock)
        assert self.looked_at.standing() == self.breaker.standing()

    @invariant()
    def what_is_written_down_leads_to_the_same_standing(self) -> None:
        told = replay(self.lines)
        assert told.torn == 0
        if self.lines:
            assert told.breakers == {"b": self.breaker.standing()}


def line_of(move: Transition) -> str:
    """Write a transition as a line of the log."""
    return json.dumps(
        {
            "mono": move.now,
            "seq": move.seq,
            "bot": "b",
            "from": move.before.value,
            "to": move.after.value,
            "cause": move.cause.value,
            "signal": move.signal.value,
            "late_s": move.late_s,
            "generation": move.generation,
            "cooldown_s": move.cooldown_s,
            "attempt": move.attempt,
            "ttl_s": move.ttl_s,
            "author": move.author,
            "config_version": move.config_version,
        }
    )


TestBreakerAndModel = BreakerAndModel.TestCase
TestBreakerAndModel.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)


def live(seed: int) -> tuple[CircuitBreaker, list[Transition]]:
    """A random life with times that are not exact in binary."""
    dice = random.Random(seed)
    config = BreakerConfig(
        failures_max=dice.choice([None, 2, 3]),
        calls_min=4,
        window=dice.choice(list(Window)),
        failure_rate=dice.choice([None, 0.4]),
        slow_s=3.0,
        cooldown_s=dice.uniform(1.0, 9.0),
        cooldown_growth=dice.choice([1.0, 1.7]),
        cooldown_jitter=dice.choice([0.0, 0.1]),
        probes=dice.choice([1, 3]),
        lease_s=dice.uniform(1.0, 9.0),
    )
    breaker, moves, permits = CircuitBreaker(config, dice), list[Transition](), list[Permit]()
    now = dice.uniform(0.0, 1e6)
    for _ in range(40):
        now += dice.expovariate(1.0)
        what = dice.random()
        if what < 0.45:
            answer = breaker.admit(now)
            if isinstance(answer, Permit):
                permits.append(answer)
        elif what < 0.85 and permits:
            permit = permits.pop(dice.randrange(len(permits)))
            moves += breaker.settle(
                permit, now, dice.choice([*Outcome, *FAILED]), retry_after_s=dice.choice([0.0, 7.7])
            )
        elif what < 0.93:
            moves += breaker.fail(now)
        elif what < 0.96:
            state = dice.choice([State.FORCED_OPEN, State.DISABLED, State.METRICS_ONLY, State.CLOSED])
            moves += breaker.force(state, now, author="ada", ttl_s=dice.uniform(0.1, 9.0))
        elif what < 0.97:
            moves += breaker.configure(replace(config, cooldown_s=dice.uniform(1.0, 9.0)), now, author="bob")
    return breaker, moves + list(breaker.tick(now))


def test_three_thousand_random_lives_are_rebuilt_from_their_lines_to_the_last_bit() -> None:
    moved = 0
    for seed in range(3000):
        breaker, moves = live(seed)
        moved += len(moves)
        told = replay(line_of(move) for move in moves)
        assert not moves or told.breakers == {"b": breaker.standing()}, f"seed {seed}"
    assert moved > 10_000

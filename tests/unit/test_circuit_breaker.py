"""The breaker as a table of stories, and as a state machine that Hypothesis walks."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness.services.circuit_breaker import (
    NEXT,
    BreakerConfig,
    CircuitBreaker,
    Permit,
    Refusal,
    Signal,
    State,
    Transition,
)

CONFIG = BreakerConfig(failures_max=3, cooldown_s=10.0, lease_s=5.0)


def play(story: str) -> CircuitBreaker:
    """Play letters: s succeeds, f fails, c is cancelled, d dies without a call, w waits out the cooldown, r refused."""
    breaker, now = CircuitBreaker(CONFIG), 100.0
    for letter in story:
        if letter == "w":
            now += CONFIG.cooldown_s
            breaker.tick(now)
        elif letter == "d":
            breaker.fail(now)
        elif letter == "r":
            assert isinstance(breaker.admit(now), Refusal)
        else:
            permit = breaker.admit(now)
            assert isinstance(permit, Permit)
            breaker.settle(permit, now, ok={"s": True, "f": False, "c": None}[letter])
    return breaker


@pytest.mark.parametrize(
    ("story", "end"),
    [
        pytest.param("", State.CLOSED, id="it starts closed"),
        pytest.param("ff", State.CLOSED, id="two failures are forgiven"),
        pytest.param("fff", State.OPEN, id="the third in a row trips it"),
        pytest.param("ffsff", State.CLOSED, id="a success between them starts the count again"),
        pytest.param("ffcf", State.OPEN, id="a cancelled call proves nothing, for or against"),
        pytest.param("ddd", State.OPEN, id="deaths without a call count"),
        pytest.param("fffr", State.OPEN, id="open refuses"),
        pytest.param("fffd", State.OPEN, id="open does not count"),
        pytest.param("fffw", State.HALF_OPEN, id="the cooldown lets a probe through"),
        pytest.param("fffws", State.CLOSED, id="a good probe closes it"),
        pytest.param("fffwf", State.OPEN, id="a bad probe opens it again"),
        pytest.param("fffwd", State.OPEN, id="a death while half-open opens it again"),
        pytest.param("fffwc", State.HALF_OPEN, id="a cancelled probe gives its place back"),
        pytest.param("fffwcs", State.CLOSED, id="and the next probe counts"),
        pytest.param("fffwsff", State.CLOSED, id="closing starts the count again"),
    ],
)
def test_story(story: str, end: State) -> None:
    assert play(story).state is end


def test_refusals_say_how_long_to_wait() -> None:
    breaker = play("fff")
    assert breaker.peek(104.0) == Refusal(6.0, probing=False)
    assert breaker.retry_after_s(104.0) == 6.0
    assert breaker.wake_at() == 110.0
    assert play("").retry_after_s(1.0) is None
    assert play("").wake_at() is None


def test_one_probe_at_a_time() -> None:
    breaker = play("fffw")
    assert isinstance(breaker.admit(110.0), Permit)
    assert breaker.admit(110.0) == Refusal(0.0, probing=True)


def test_a_hung_probe_fails_when_its_lease_ends_and_late_notice_does_not_lengthen_the_cooldown() -> None:
    breaker = play("fffw")
    permit = breaker.admit(110.0)
    assert isinstance(permit, Permit)
    assert breaker.wake_at() == 115.0
    assert breaker.tick(114.9) == ()
    moved = breaker.tick(124.0)
    assert [move.after for move in moved] == [State.OPEN]
    assert breaker.wake_at() == 125.0
    assert breaker.settle(permit, 124.5, ok=True) == ()
    assert breaker.state is State.OPEN


def test_a_lease_noticed_after_the_next_cooldown_goes_straight_to_half_open() -> None:
    breaker = play("fffw")
    breaker.admit(110.0)
    assert [move.after for move in breaker.tick(200.0)] == [State.OPEN, State.HALF_OPEN]


def test_a_probe_that_is_alive_keeps_its_lease_and_only_that_one() -> None:
    breaker = play("fffw")
    permit = breaker.admit(110.0)
    assert isinstance(permit, Permit)
    breaker.renew(permit, 114.0)
    breaker.renew(Permit(permit.number + 1, permit.generation, probe=True), 118.0)
    assert breaker.wake_at() == 119.0
    assert breaker.tick(118.0) == ()
    assert [move.after for move in breaker.settle(permit, 118.0, ok=True)] == [State.CLOSED]
    breaker.renew(permit, 118.0)
    assert breaker.wake_at() is None


def test_stragglers_move_nothing() -> None:
    breaker = CircuitBreaker(CONFIG)
    old = breaker.admit(0.0)
    assert isinstance(old, Permit)
    for _ in range(3):
        breaker.fail(0.0)
    breaker.tick(10.0)
    assert breaker.settle(old, 10.0, ok=True) == ()
    assert breaker.state is State.HALF_OPEN


def test_a_probe_settles_once() -> None:
    breaker = play("fffw")
    permit = breaker.admit(110.0)
    assert isinstance(permit, Permit)
    breaker.settle(permit, 110.0, ok=None)
    assert breaker.settle(permit, 110.0, ok=False) == ()
    assert breaker.state is State.HALF_OPEN


def test_transitions_carry_their_cause_and_count() -> None:
    breaker = CircuitBreaker(CONFIG)
    breaker.fail(0.0)
    breaker.fail(0.0)
    assert breaker.fail(0.0) == (Transition(1, State.CLOSED, State.OPEN, Signal.TRIPPED, 3),)
    assert breaker.failures == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failures_max", 0),
        ("cooldown_s", 0.0),
        ("cooldown_s", float("nan")),
        ("lease_s", -1.0),
        ("lease_s", float("inf")),
    ],
)
def test_impossible_configs_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        BreakerConfig(**{field: value})  # type: ignore[arg-type]


class BreakerWalk(RuleBasedStateMachine):
    """Any order of calls, results (late ones too), deaths and time keeps the promises."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker(CONFIG)
        self.now = 0.0
        self.open: list[Permit] = []
        self.moves: list[Transition] = []
        self.opened_at = 0.0

    def noted(self, moves: tuple[Transition, ...]) -> None:
        for move in moves:
            if move.after is State.HALF_OPEN:
                assert self.now >= self.opened_at + CONFIG.cooldown_s
            if move.after is State.OPEN:
                self.opened_at = self.now if move.cause is Signal.TRIPPED else self.breaker._open_until - 10.0
        self.moves.extend(moves)

    @rule(seconds=st.floats(0.0, 20.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.noted(self.breaker.tick(self.now))

    @rule()
    def call(self) -> None:
        self.noted(self.breaker.tick(self.now))
        state = self.breaker.state
        answer = self.breaker.admit(self.now)
        if isinstance(answer, Permit):
            assert state is not State.OPEN
            assert answer.probe is (state is State.HALF_OPEN)
            self.open.append(answer)
        else:
            assert state is not State.CLOSED
            assert answer.retry_after_s >= 0.0

    @rule(data=st.data(), ok=st.sampled_from([True, False, None]))
    def result(self, data: st.DataObject, ok: bool | None) -> None:  # noqa: FBT001
        if self.open:
            permit = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
            self.noted(self.breaker.settle(permit, self.now, ok=ok))

    @rule()
    def death(self) -> None:
        self.noted(self.breaker.fail(self.now))

    @invariant()
    def edges_are_legal_and_numbered_without_gaps(self) -> None:
        assert [move.seq for move in self.moves] == list(range(1, len(self.moves) + 1))
        before = State.CLOSED
        for move in self.moves:
            assert move.before is before
            assert NEXT[before, move.cause] is move.after
            before = move.after
        assert self.breaker.state is before

    @invariant()
    def at_most_one_probe_is_out(self) -> None:
        live = [permit for permit in self.open if permit.probe and permit.generation == self.breaker._generation]
        out = [permit for permit in live if permit.number == self.breaker._probe]
        assert len(out) <= 1
        if self.breaker._probe is not None:
            assert self.breaker.wake_at() is not None


TestBreakerWalk = BreakerWalk.TestCase
TestBreakerWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

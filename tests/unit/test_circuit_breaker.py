"""The breaker as tables of stories. (test_circuit_breaker_model.py walks it at random, ..._mutants.py breaks it.)"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from harness.core.breaker import BY_HAND
from harness.services.circuit_breaker import (
    MOVES_MAX,
    NEXT,
    PASSING,
    REFUSING,
    BreakerConfig,
    Cause,
    CircuitBreaker,
    Counts,
    Outcome,
    Permit,
    Refusal,
    Signal,
    State,
    Transition,
    Window,
)

CONFIG = BreakerConfig(failures_max=3, cooldown_s=10.0, lease_s=5.0)
RATES = BreakerConfig(failures_max=None, window_calls=10, calls_min=4, failure_rate=0.5, slow_rate=None, slow_s=2.0)
LETTERS = {
    "s": Outcome.SUCCESS,
    "f": Outcome.FAILURE,
    "t": Outcome.THROTTLED,
    "i": Outcome.IGNORED,
    "c": Outcome.CANCELLED,
}


def allowed(breaker: CircuitBreaker, now: float) -> Permit:
    permit = breaker.admit(now)
    assert isinstance(permit, Permit)
    return permit


def refused(breaker: CircuitBreaker, now: float) -> Refusal:
    refusal = breaker.admit(now)
    assert isinstance(refusal, Refusal)
    return refusal


def play(story: str, config: BreakerConfig = CONFIG, now: float = 100.0) -> CircuitBreaker:
    """Play letters: outcomes (capital: slow), d dies without a call, w waits out a cooldown, r is refused."""
    breaker = CircuitBreaker(config)
    for letter in story:
        if letter == "w":
            now += config.cooldown_s
            breaker.tick(now)
        elif letter == "d":
            breaker.fail(now)
        elif letter == "r":
            refused(breaker, now)
        else:
            took_s = config.slow_s if letter.isupper() else None
            breaker.settle(allowed(breaker, now), now, LETTERS[letter.lower()], took_s=took_s)
    return breaker


def ends(moves: tuple[Transition, ...]) -> list[tuple[State, Cause]]:
    return [(move.after, move.cause) for move in moves]


@pytest.mark.parametrize(
    ("story", "end"),
    [
        pytest.param("", State.CLOSED, id="it starts closed"),
        pytest.param("ff", State.CLOSED, id="two failures are forgiven"),
        pytest.param("fff", State.OPEN, id="the third in a row trips it"),
        pytest.param("ftt", State.OPEN, id="being throttled is a failure"),
        pytest.param("ffsff", State.CLOSED, id="a success between them starts the count again"),
        pytest.param("ffSff", State.CLOSED, id="a slow one too"),
        pytest.param("ffcf", State.OPEN, id="a cancelled call proves nothing, for or against"),
        pytest.param("ffif", State.OPEN, id="an ignored one neither"),
        pytest.param("iiiiii", State.CLOSED, id="errors of the caller's own making trip nothing"),
        pytest.param("cccccc", State.CLOSED, id="nobody trips it by leaving"),
        pytest.param("ddd", State.OPEN, id="deaths without a call count"),
        pytest.param("fffr", State.OPEN, id="open refuses"),
        pytest.param("fffd", State.OPEN, id="open does not count"),
        pytest.param("fffw", State.HALF_OPEN, id="the cooldown lets a probe through"),
        pytest.param("fffws", State.CLOSED, id="a good probe closes it"),
        pytest.param("fffwS", State.OPEN, id="a slow probe is a bad one"),
        pytest.param("fffwf", State.OPEN, id="a bad probe opens it again"),
        pytest.param("fffwfws", State.CLOSED, id="and again a probe decides"),
        pytest.param("fffwd", State.OPEN, id="a death while half-open opens it again"),
        pytest.param("fffwc", State.HALF_OPEN, id="a cancelled probe gives its place back"),
        pytest.param("fffwi", State.HALF_OPEN, id="an ignored one too"),
        pytest.param("fffwcs", State.CLOSED, id="and the next probe counts"),
        pytest.param("fffwsff", State.CLOSED, id="closing starts the count again"),
    ],
)
def test_story(story: str, end: State) -> None:
    assert play(story).state is end


@pytest.mark.parametrize(
    ("story", "changes", "cause"),
    [
        pytest.param("ffs", {}, None, id="three calls are too few for a rate"),
        pytest.param("fsfs", {}, None, id="a success never trips, though half have failed"),
        pytest.param("fsfsf", {}, Cause.FAILURE_RATE, id="the next failure does"),
        pytest.param("ssff", {}, Cause.FAILURE_RATE, id="exactly the rate trips"),
        pytest.param("sssff", {}, None, id="less does not"),
        pytest.param("ffff", {"failure_rate": None}, None, id="a rate that is off judges nothing"),
        pytest.param("dddd", {}, Cause.FAILURE_RATE, id="deaths count as calls"),
        pytest.param("ccff", {}, None, id="cancelled calls are no calls"),
        pytest.param("fff" + "s" * 10 + "f", {}, None, id="what has left the window is forgotten"),
        pytest.param("sSSS", {"slow_rate": 0.75}, Cause.SLOW_RATE, id="slow calls have their own rate"),
        pytest.param("ssSS", {"slow_rate": 0.75}, None, id="fewer are forgiven"),
        pytest.param("SSSSSS", {}, None, id="slow is not failed"),
        pytest.param("CCCC", {"slow_rate": 0.75}, Cause.SLOW_RATE, id="that a cancelled call was slow is a fact"),
        pytest.param("sfSf", {"failure_rate": 0.6, "bad_rate": 0.7}, Cause.BAD_RATE, id="failed or slow"),
        pytest.param("ssFF", {"failure_rate": 0.6, "bad_rate": 0.7}, None, id="failed and slow is one bad call"),
        pytest.param("ssSf", {"failure_rate": 0.6, "bad_rate": 0.7}, None, id="half is not seven tenths"),
        pytest.param("sffs", {"failures_max": 2}, Cause.CONSECUTIVE, id="in a row is judged first"),
    ],
)
def test_rates(story: str, changes: dict[str, Any], cause: Cause | None) -> None:
    breaker = CircuitBreaker(replace(RATES, **changes))
    found: list[Cause] = []
    for letter in story:
        if found:
            break
        if letter == "d":
            moves = breaker.fail(0.0)
        else:
            took_s = 2.0 if letter.isupper() else 0.5
            moves = breaker.settle(allowed(breaker, 0.0), 0.0, LETTERS[letter.lower()], took_s=took_s)
        found.extend(move.cause for move in moves)
    assert found == ([] if cause is None else [cause])


def test_a_rate_is_met_exactly_where_a_product_would_miss_it() -> None:
    breaker = CircuitBreaker(BreakerConfig(failures_max=None, calls_min=100, failure_rate=0.07))
    moves = [
        breaker.settle(allowed(breaker, 0.0), 0.0, Outcome.SUCCESS if number < 93 else Outcome.FAILURE)
        for number in range(100)
    ]
    assert [number for number, moved in enumerate(moves) if moved] == [99]


def test_a_window_of_calls_forgets_the_oldest() -> None:
    breaker = play("sffS" + "i" * 9 + "s" * 5, replace(RATES, failure_rate=None))
    assert breaker.counts(100.0)[:4] == (9, 2, 1, 3)
    for calls, failed in ((10, 2), (10, 2), (10, 1), (10, 0), (10, 0)):
        breaker.settle(allowed(breaker, 100.0), 100.0, Outcome.SUCCESS)
        assert breaker.counts(100.0)[:2] == (calls, failed)
    assert breaker.counts(100.0).slow == 0


def test_a_window_of_time_forgets_by_the_clock() -> None:
    config = BreakerConfig(failures_max=None, window=Window.TIME, window_s=60.0, calls_min=2, failure_rate=1.0)
    breaker = CircuitBreaker(config)
    breaker.fail(0.5)
    breaker.settle(allowed(breaker, 30.0), 30.0, Outcome.SUCCESS)
    assert breaker.counts(59.9)[:2] == (2, 1)
    assert breaker.counts(60.0)[:2] == (1, 0)
    breaker.settle(allowed(breaker, 62.0), 62.0, Outcome.SUCCESS)
    assert breaker.counts(121.0)[:2] == (1, 0)
    assert breaker.fail(123.0) == ()
    assert ends(breaker.fail(124.0)) == [(State.OPEN, Cause.FAILURE_RATE)]


def test_good_calls_stand_in_the_slice_in_which_they_ended() -> None:
    breaker = CircuitBreaker(BreakerConfig(window=Window.TIME, window_s=60.0))
    breaker.settle(allowed(breaker, 0.5), 0.9, Outcome.SUCCESS)
    breaker.settle(allowed(breaker, 1.0), 1.1, Outcome.SUCCESS)
    assert breaker.counts(59.0).calls == 2
    assert breaker.counts(60.5).calls == 1


def test_counts_give_rates() -> None:
    breaker = play("sfS", BreakerConfig())
    counts = breaker.counts(100.0)
    assert counts == Counts(calls=3, failed=1, slow=1, bad=2, hung=0)
    assert counts.failure_rate == pytest.approx(1 / 3)
    assert counts.success_rate == pytest.approx(2 / 3)
    assert counts.slow_rate == pytest.approx(1 / 3)
    empty = CircuitBreaker(BreakerConfig()).counts(0.0)
    assert (empty.failure_rate, empty.success_rate, empty.slow_rate) == (None, None, None)


# --- Refusals and probes ----------------------------------------------------------------------------------------------
def test_refusals_say_how_long_to_wait() -> None:
    breaker = play("fff")
    assert breaker.peek(104.0) == Refusal(6.0, probing=False, reason="open", generation=1)
    assert refused(breaker, 104.0).retry_after_s == 6.0
    assert breaker.retry_after_s(104.0) == 6.0
    assert breaker.retry_after_s(999.0) == 0.0
    assert breaker.wake_at() == 110.0
    assert play("").retry_after_s(1.0) is None
    assert play("").wake_at() is None
    assert play("").peek(1.0) is None


def test_admit_lets_time_pass_by_itself_and_its_moves_wait() -> None:
    breaker = play("fff")
    probe = allowed(breaker, 110.0)
    assert probe.probe
    assert len(breaker.moves) == 1
    assert ends(breaker.drain()) == [(State.HALF_OPEN, Cause.TIMER)]
    assert breaker.drain() == ()


def test_moves_that_nobody_takes_are_bounded_and_the_gap_shows() -> None:
    breaker = play("fff")
    for number in range(1, MOVES_MAX):
        allowed(breaker, 100.0 + number * 100.0)  # A probe that hangs: relapsed and cooled, again and again.
    moves = breaker.drain()
    assert len(moves) == MOVES_MAX
    assert moves[0].seq == moves[-1].seq - MOVES_MAX + 1 > 2


def test_one_probe_at_a_time() -> None:
    breaker = play("fffw")
    first = allowed(breaker, 110.0)
    assert first.generation == breaker.generation == 2
    assert refused(breaker, 110.0) == Refusal(0.0, probing=True, reason="probing", generation=2)
    assert breaker.peek(110.0) is not None
    breaker.settle(first, 110.0, Outcome.CANCELLED)
    assert allowed(breaker, 110.0).probe


@pytest.mark.parametrize(
    ("rate", "story", "end"),
    [
        pytest.param(0.5, "s", None, id="one of five is not enough"),
        pytest.param(0.5, "sffss", State.CLOSED, id="three good ones of five cannot be outvoted"),
        pytest.param(0.5, "sfsff", State.OPEN, id="three bad ones decide"),
        pytest.param(0.5, "ffs", None, id="two do not"),
        pytest.param(None, "ssssf", State.OPEN, id="without a rate the first bad one decides"),
        pytest.param(None, "sssss", State.CLOSED, id="and all five must be good"),
        pytest.param(0.1, "f", State.OPEN, id="a tenth of five is one"),
        pytest.param(1.0, "ffffs", State.CLOSED, id="all five must be bad"),
        pytest.param(0.5, "cici", None, id="neutral ones are asked again"),
    ],
)
def test_the_verdict_on_five_probes_comes_as_soon_as_it_is_certain(
    rate: float | None, story: str, end: State | None
) -> None:
    breaker = play("fffw", BreakerConfig(failures_max=3, failure_rate=rate, probes=5, probes_max=2, slow_rate=None))
    for letter in story:
        assert breaker.state is State.HALF_OPEN
        breaker.settle(allowed(breaker, 130.0), 130.0, LETTERS[letter])
    assert breaker.state is (end or State.HALF_OPEN)


def test_no_more_probes_go_out_than_the_verdict_needs() -> None:
    breaker = play("fffw", BreakerConfig(failures_max=3, probes=3, probes_max=2))
    first, second = allowed(breaker, 130.0), allowed(breaker, 130.0)
    refused(breaker, 130.0)
    breaker.settle(first, 130.0, Outcome.SUCCESS)
    third = allowed(breaker, 130.0)
    refused(breaker, 130.0)
    breaker.settle(second, 130.0, Outcome.FAILURE)
    refused(breaker, 130.0)  # The one that is out decides.
    assert ends(breaker.settle(third, 130.0, Outcome.SUCCESS)) == [(State.CLOSED, Cause.PROBE_OK)]


def test_a_slow_probe_is_a_good_one_where_slowness_is_not_judged() -> None:
    off = BreakerConfig(failures_max=3, slow_rate=None)
    assert play("fffwS", off).state is State.CLOSED
    moves = ends(play("fffwS", BreakerConfig(failures_max=3, slow_rate=None, bad_rate=0.9)).drain())
    assert moves == []
    breaker = play("fffw")
    moves = ends(breaker.settle(allowed(breaker, 110.0), 110.0, Outcome.SUCCESS, took_s=30.0))
    assert moves == [(State.OPEN, Cause.PROBE_SLOW)]
    assert play("fffwS", BreakerConfig(failures_max=3, slow_rate=None, bad_rate=0.9)).state is State.OPEN


# --- Leases -----------------------------------------------------------------------------------------------------------
def test_a_hung_probe_fails_when_its_lease_ends_and_late_notice_does_not_lengthen_the_cooldown() -> None:
    breaker = play("fffw")
    permit = allowed(breaker, 110.0)
    assert breaker.wake_at() == 115.0
    assert breaker.tick(114.9) == ()
    (moved,) = breaker.tick(124.0)
    assert (moved.after, moved.cause, moved.now, moved.late_s) == (State.OPEN, Cause.LEASE_EXPIRED, 124.0, 9.0)
    assert moved.failures == 4
    assert breaker.wake_at() == 125.0
    assert breaker.settle(permit, 124.5, Outcome.SUCCESS) == ()
    assert breaker.state is State.OPEN
    assert breaker.totals()["late success"] == 1


def test_a_lease_noticed_after_the_next_cooldown_goes_straight_to_half_open() -> None:
    breaker = play("fffw")
    allowed(breaker, 110.0)
    assert [move.after for move in breaker.tick(200.0)] == [State.OPEN, State.HALF_OPEN]


def test_one_expired_lease_of_many_costs_one_vote() -> None:
    breaker = play("fffw", BreakerConfig(failures_max=3, probes=3, probes_max=3, lease_s=5.0))
    for later_s in (0.0, 1.0, 2.0):
        allowed(breaker, 130.0 + later_s)
    assert breaker.tick(135.5) == ()
    assert breaker.state is State.HALF_OPEN
    assert [move.late_s for move in breaker.tick(137.0)] == [1.0]


def test_a_probe_that_is_alive_keeps_its_lease_and_only_that_one() -> None:
    breaker = play("fffw")
    permit = allowed(breaker, 110.0)
    breaker.renew(permit, 114.0)
    breaker.renew(Permit(), 118.0)
    assert breaker.wake_at() == 119.0
    assert breaker.tick(118.0) == ()
    assert [move.after for move in breaker.settle(permit, 118.0, Outcome.SUCCESS)] == [State.CLOSED]
    breaker.renew(permit, 118.0)
    assert breaker.wake_at() is None


def test_the_lease_of_the_probe_that_was_silent_longest_ends_first() -> None:
    breaker = play("fffw", BreakerConfig(failures_max=3, probes=5, probes_max=2, lease_s=5.0))
    first, _ = allowed(breaker, 130.0), allowed(breaker, 131.0)
    breaker.renew(first, 133.0)
    assert breaker.wake_at() == 136.0


def test_a_probe_is_judged_by_its_longest_silence() -> None:
    config = BreakerConfig(failures_max=3, cooldown_s=10.0, slow_s=4.0, lease_s=60.0)
    breaker = play("fffw", config)
    permit = allowed(breaker, 110.0)
    for now in (114.0, 115.0, 116.0):
        breaker.renew(permit, now)
    assert ends(breaker.settle(permit, 117.0, Outcome.SUCCESS)) == [(State.OPEN, Cause.PROBE_SLOW)]
    lively = play("fffw", config)
    permit = allowed(lively, 110.0)
    for now in (113.0, 116.0, 119.0):
        lively.renew(permit, now)
    assert ends(lively.settle(permit, 120.0, Outcome.SUCCESS)) == [(State.CLOSED, Cause.PROBE_OK)]


# --- Slow calls in flight ---------------------------------------------------------------------------------------------
HUNG = BreakerConfig(failures_max=None, calls_min=3, slow_rate=1.0, slow_s=2.0, failure_rate=None, cooldown_s=10.0)


def test_calls_that_hang_trip_it_although_none_has_ended() -> None:
    breaker = CircuitBreaker(HUNG)
    for now in (0.0, 0.5, 1.0):
        allowed(breaker, now)
    assert breaker.wake_at() == 2.0
    assert breaker.tick(2.5) == ()
    assert breaker.counts(2.9) == Counts(calls=2, failed=0, slow=2, bad=2, hung=2)
    (moved,) = breaker.tick(4.0)
    assert (moved.after, moved.cause, moved.late_s) == (State.OPEN, Cause.IN_FLIGHT_SLOW, 1.0)
    assert moved.counts.hung == 3
    assert breaker.wake_at() == 13.0  # Open since the third one was slow, not since somebody looked.


def test_admission_notices_it_too() -> None:
    breaker = CircuitBreaker(HUNG)
    for _ in range(3):
        allowed(breaker, 0.0)
    assert refused(breaker, 2.0).reason == "open"


def test_a_hung_call_counts_once_however_it_ends() -> None:
    breaker = CircuitBreaker(HUNG)
    hung = allowed(breaker, 0.0)
    breaker.tick(3.0)
    assert breaker.in_flight == 1
    breaker.settle(hung, 3.0, Outcome.FAILURE)
    assert breaker.in_flight == 0
    assert breaker.counts(3.0) == Counts(calls=1, failed=1, slow=1, bad=1, hung=0)


def test_a_stream_that_speaks_is_not_hung() -> None:
    breaker = CircuitBreaker(HUNG)
    stream, hung = allowed(breaker, 0.0), allowed(breaker, 0.5)
    breaker.renew(stream, 1.5)
    breaker.tick(3.4)
    assert breaker.counts(3.4).hung == 1
    breaker.renew(hung, 3.4)  # Too late: it was silent for too long.
    assert breaker.counts(3.4).hung == 1
    breaker.settle(stream, 3.4, Outcome.SUCCESS)
    assert breaker.counts(3.4).slow == 1


def test_what_the_caller_measured_overrules_the_silence() -> None:
    breaker = CircuitBreaker(HUNG)
    slow, quick = allowed(breaker, 0.0), allowed(breaker, 0.0)
    breaker.settle(slow, 0.1, Outcome.SUCCESS, took_s=2.0)
    breaker.settle(quick, 9.0, Outcome.SUCCESS, took_s=1.9)
    assert breaker.counts(9.0) == Counts(calls=2, failed=0, slow=1, bad=1, hung=0)


def test_a_call_is_slow_from_the_very_moment_on() -> None:
    breaker = CircuitBreaker(HUNG)
    breaker.settle(allowed(breaker, 0.0), 2.0, Outcome.SUCCESS)
    breaker.settle(allowed(breaker, 2.0), 3.9, Outcome.SUCCESS)
    assert breaker.counts(4.0)[:3] == (2, 0, 1)


def test_hung_calls_are_remembered_up_to_a_bound() -> None:
    breaker = CircuitBreaker(BreakerConfig(slow_rate=None, slow_s=1.0, in_flight_max=2))
    first, *_ = [allowed(breaker, float(now)) for now in range(5)]
    breaker.tick(9.0)
    assert breaker.in_flight == 2
    breaker.settle(first, 9.0, Outcome.FAILURE)
    assert breaker.totals() == {"unknown": 1}
    for _ in range(4):
        allowed(breaker, 9.0)
    breaker.force(State.CLOSED, 9.0, author="me")
    assert len(breaker._stragglers) == 2
    assert breaker.in_flight == 0


# --- Settling ---------------------------------------------------------------------------------------------------------
def test_stragglers_move_nothing_and_are_counted_once() -> None:
    breaker = CircuitBreaker(CONFIG)
    old, older = allowed(breaker, 0.0), allowed(breaker, 0.0)
    for _ in range(3):
        breaker.fail(0.0)
    assert breaker.tick(10.0) != ()
    for _ in range(2):
        assert breaker.settle(old, 10.0, Outcome.SUCCESS) == ()
        assert breaker.settle(older, 10.0, Outcome.FAILURE) == ()
    assert breaker.state is State.HALF_OPEN
    assert breaker.totals() == {"late success": 1, "late failure": 1, "unknown": 2}


@pytest.mark.parametrize("story", ["", "fffw"])
def test_a_permit_settles_once(story: str) -> None:
    breaker = play(story)
    permit = allowed(breaker, 110.0)
    breaker.settle(permit, 110.0, Outcome.CANCELLED)
    for outcome in Outcome:
        assert breaker.settle(permit, 110.0, outcome) == ()
    assert breaker.totals()["unknown"] == 5
    assert breaker.failures == len(story[:-1])


def test_a_good_call_settles_once() -> None:
    breaker = CircuitBreaker(CONFIG)
    permit = allowed(breaker, 0.0)
    breaker.settle(permit, 0.0, Outcome.SUCCESS)
    breaker.settle(permit, 0.0, Outcome.SUCCESS)
    assert breaker.totals() == {"success": 1, "unknown": 1}


def test_the_permit_of_another_breaker_is_ignored_and_keeps_its_worth() -> None:
    mine, other = CircuitBreaker(CONFIG), CircuitBreaker(CONFIG)
    foreign = allowed(other, 0.0)
    allowed(mine, 0.0)
    for outcome in (Outcome.SUCCESS, Outcome.FAILURE):
        assert mine.settle(foreign, 0.0, outcome) == ()
    assert (mine.failures, mine.in_flight, other.in_flight) == (0, 1, 1)
    other.settle(foreign, 0.0, Outcome.FAILURE)
    assert other.failures == 1


def test_everything_is_counted_by_its_outcome() -> None:
    breaker = play("sfticsfffr", BreakerConfig(failures_max=3))
    assert breaker.totals() == {
        "success": 2,
        "failure": 4,
        "throttled": 1,
        "ignored": 1,
        "cancelled": 1,
        "refused": 1,
    }


def test_a_good_call_ends_the_streak_at_once() -> None:
    breaker = play("ff")
    assert breaker.failures == 2
    breaker.settle(allowed(breaker, 100.0), 100.0, Outcome.SUCCESS)
    assert breaker.failures == 0


def test_transitions_carry_all_that_led_to_them() -> None:
    breaker = CircuitBreaker(CONFIG)
    breaker.settle(allowed(breaker, 0.5), 0.5, Outcome.SUCCESS)
    breaker.fail(1.0)
    breaker.fail(1.0)
    assert breaker.fail(2.0) == (
        Transition(
            seq=1,
            before=State.CLOSED,
            after=State.OPEN,
            signal=Signal.TRIPPED,
            cause=Cause.CONSECUTIVE,
            now=2.0,
            late_s=0.0,
            generation=1,
            failures=3,
            counts=Counts(calls=4, failed=3, slow=0, bad=3, hung=0),
            cooldown_s=10.0,
            attempt=1,
            ttl_s=0.0,
            author="",
            config_version=1,
        ),
    )
    assert breaker.failures == 3
    assert breaker.counts(2.0).calls == 0
    assert breaker.config is CONFIG


# --- Cooldowns --------------------------------------------------------------------------------------------------------
def cooldowns(config: BreakerConfig, rounds: int, rng: random.Random | None = None) -> list[float]:
    breaker, now, found = CircuitBreaker(config, rng), 0.0, []
    breaker.fail(now)
    for _ in range(rounds):
        wait_s = breaker.retry_after_s(now)
        assert wait_s is not None
        found.append(wait_s)
        now += wait_s
        breaker.settle(allowed(breaker, now), now, Outcome.FAILURE)
    return found


def test_cooldowns_grow_up_to_their_limit_and_start_again_after_closing() -> None:
    config = BreakerConfig(failures_max=1, cooldown_s=10.0, cooldown_growth=2.0, cooldown_max_s=35.0)
    assert cooldowns(config, 4) == [10.0, 20.0, 35.0, 35.0]
    assert cooldowns(BreakerConfig(failures_max=1, cooldown_s=10.0), 3) == [10.0, 10.0, 10.0]
    breaker = play("fwfwws", config)
    assert breaker.standing().attempt == 0
    breaker.fail(200.0)
    assert breaker.retry_after_s(200.0) == 10.0


def test_the_limit_never_cuts_the_cooldown_itself() -> None:
    config = BreakerConfig(failures_max=1, cooldown_s=400.0, cooldown_growth=2.0, cooldown_max_s=300.0)
    assert cooldowns(config, 3) == [400.0, 400.0, 400.0]


def test_jitter_only_adds_and_follows_the_dice() -> None:
    config = BreakerConfig(failures_max=1, cooldown_s=10.0, cooldown_jitter=0.2)
    found = cooldowns(config, 50, random.Random(7))
    assert found == pytest.approx(cooldowns(config, 50, random.Random(7)))
    assert 10.0 <= min(found) < 10.5
    assert 11.5 < max(found) <= 12.0
    assert cooldowns(BreakerConfig(failures_max=1, cooldown_s=10.0), 2, random.Random(7)) == [10.0, 10.0]


@pytest.mark.parametrize(("asked_s", "cooldown_s"), [(0.0, 10.0), (9.0, 10.0), (50.0, 50.0), (7000.0, 300.0)], ids=str)
def test_a_wish_to_come_back_later_lengthens_the_cooldown_up_to_its_limit(asked_s: float, cooldown_s: float) -> None:
    config = BreakerConfig(failures_max=2, cooldown_s=10.0)
    breaker = CircuitBreaker(config)
    breaker.settle(allowed(breaker, 0.0), 0.0, Outcome.THROTTLED, retry_after_s=asked_s)
    (moved,) = breaker.fail(0.0)
    assert moved.cooldown_s == cooldown_s
    breaker = CircuitBreaker(config)
    breaker.fail(0.0)
    (moved,) = breaker.fail(0.0, retry_after_s=asked_s)
    assert moved.cooldown_s == cooldown_s


def test_a_wish_counts_from_when_it_was_made_and_only_with_a_failure() -> None:
    breaker = CircuitBreaker(BreakerConfig(failures_max=2, cooldown_s=10.0))
    breaker.settle(allowed(breaker, 0.0), 0.0, Outcome.IGNORED, retry_after_s=200.0)
    breaker.settle(allowed(breaker, 0.0), 0.0, Outcome.SUCCESS, retry_after_s=200.0)
    breaker.settle(allowed(breaker, 0.0), 0.0, Outcome.THROTTLED, retry_after_s=50.0)
    (moved,) = breaker.fail(15.0)
    assert moved.cooldown_s == 35.0


# --- People -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("story", ["", "fff", "fffw"])
@pytest.mark.parametrize(
    ("state", "admits", "after"),
    [
        (State.FORCED_OPEN, False, State.HALF_OPEN),
        (State.DISABLED, True, State.CLOSED),
        (State.METRICS_ONLY, True, State.CLOSED),
    ],
)
def test_an_override_holds_for_its_time_and_then_ends_by_itself(
    story: str, state: State, after: State, *, admits: bool
) -> None:
    breaker = play(story)
    *_, moved = breaker.force(state, 120.0, author="ada", ttl_s=60.0)
    assert (moved.after, moved.cause, moved.author, moved.ttl_s) == (state, Cause.MANUAL, "ada", 60.0)
    assert breaker.wake_at() == 180.0
    assert breaker.standing().author == "ada"
    assert isinstance(breaker.admit(130.0), Permit) is admits
    for _ in range(9):
        breaker.fail(130.0)
    assert breaker.state is state
    assert breaker.tick(179.9) == ()
    (ended,) = breaker.tick(185.0)
    assert (ended.after, ended.cause, ended.late_s) == (after, Cause.TTL, 5.0)
    assert breaker.standing().author == ""


def test_forced_open_says_how_long_and_is_not_half_trusted() -> None:
    breaker = CircuitBreaker(CONFIG)
    breaker.force(State.FORCED_OPEN, 0.0, author="ada", ttl_s=60.0)
    assert refused(breaker, 20.0) == Refusal(40.0, probing=False, reason="forced-open", generation=1)
    assert breaker.retry_after_s(20.0) == 40.0
    assert allowed(breaker, 60.0).probe


def test_metrics_only_counts_and_disabled_does_not() -> None:
    for state, calls in ((State.METRICS_ONLY, 8), (State.DISABLED, 0)):
        breaker = CircuitBreaker(BreakerConfig(failures_max=3))
        breaker.force(state, 0.0, author="ada")
        for outcome in [Outcome.FAILURE] * 6 + [Outcome.SUCCESS]:
            breaker.settle(allowed(breaker, 1.0), 1.0, outcome)
        breaker.fail(1.0)
        assert breaker.state is state
        assert breaker.counts(1.0).calls == calls
        assert breaker.totals()["failure"] == 6


def test_an_override_ends_before_a_call_that_is_slow_at_that_moment_counts() -> None:
    breaker = CircuitBreaker(BreakerConfig(failures_max=None, calls_min=1, slow_s=60.0))
    breaker.force(State.METRICS_ONLY, 0.0, author="ada", ttl_s=60.0)
    allowed(breaker, 0.0)
    assert ends(breaker.tick(60.0)) == [(State.CLOSED, Cause.TTL)]


def test_the_same_override_again_sets_a_new_limit() -> None:
    breaker = CircuitBreaker(CONFIG)
    breaker.force(State.DISABLED, 0.0, author="ada", ttl_s=60.0)
    (again,) = breaker.force(State.DISABLED, 30.0, author="bob", ttl_s=60.0)
    assert (again.before, again.after, again.seq) == (State.DISABLED, State.DISABLED, 2)
    assert breaker.wake_at() == 90.0


@pytest.mark.parametrize("story", ["", "ff", "fff", "fffw"])
def test_closing_by_hand_starts_afresh(story: str) -> None:
    breaker = play(story)
    *_, moved = breaker.force(State.CLOSED, 110.0, author="ada")
    assert (moved.after, moved.signal, moved.ttl_s) == (State.CLOSED, Signal.RESET, 0.0)
    assert (breaker.failures, breaker.standing().attempt, breaker.standing().until) == (0, 0, None)


@pytest.mark.parametrize(
    ("state", "author", "ttl_s", "said"),
    [
        (State.OPEN, "ada", 1.0, "nobody can force a breaker to be open: ask for one of forced-open"),
        (State.HALF_OPEN, "ada", 1.0, "half-open"),
        (State.DISABLED, " ", 1.0, "author"),
        (State.DISABLED, "ada", 0.0, "ttl_s"),
        (State.DISABLED, "ada", 86_401.0, "above 0 and at most 86400"),
        (State.DISABLED, "ada", float("inf"), "ttl_s"),
        (State.DISABLED, "ada", float("nan"), "ttl_s"),
    ],
)
def test_impossible_overrides_are_refused_and_change_nothing(
    state: State, author: str, ttl_s: float, said: str
) -> None:
    breaker = CircuitBreaker(CONFIG)
    with pytest.raises(ValueError, match=said):
        breaker.force(state, 0.0, author=author, ttl_s=ttl_s)
    assert breaker.standing() == CircuitBreaker(CONFIG).standing()


def test_a_new_configuration_works_from_now_on_and_is_numbered() -> None:
    breaker = play("ff")
    flight = allowed(breaker, 100.0)
    (moved,) = breaker.configure(BreakerConfig(failures_max=9, slow_s=2.0), 100.0, author="ada")
    assert (moved.signal, moved.config_version, moved.author, moved.seq) == (Signal.CONFIGURED, 2, "ada", 1)
    assert moved.before is moved.after is State.CLOSED
    breaker.settle(flight, 101.0, Outcome.FAILURE)
    assert (breaker.state, breaker.failures, breaker.generation) == (State.CLOSED, 3, 0)
    assert breaker.counts(101.0).calls == 1
    assert breaker.standing().config_version == 2


def test_a_new_configuration_does_not_change_what_was_before_it() -> None:
    breaker = CircuitBreaker(HUNG)
    for _ in range(3):
        allowed(breaker, 0.0)
    breaker.tick(1.5)
    breaker.configure(BreakerConfig(failures_max=None, calls_min=3, slow_s=1.0, cooldown_s=10.0), 1.5, author="ada")
    (moved,) = breaker.tick(4.0)
    assert (moved.cause, moved.now - moved.late_s) == (Cause.IN_FLIGHT_SLOW, 1.5)


def test_a_cooldown_under_way_stays_as_it_is() -> None:
    breaker = play("fff")
    breaker.configure(BreakerConfig(cooldown_s=1.0), 105.0, author="ada")
    assert breaker.wake_at() == 110.0


def test_fewer_probes_from_now_on_leave_some_to_be_asked() -> None:
    breaker = CircuitBreaker(BreakerConfig(failures_max=1, failure_rate=0.5, calls_min=1, probes=4, cooldown_s=1.0))
    breaker.fail(0.0)
    breaker.settle(allowed(breaker, 1.0), 1.0, Outcome.SUCCESS)
    breaker.settle(allowed(breaker, 1.0), 1.0, Outcome.FAILURE)
    breaker.configure(BreakerConfig(failures_max=1, probes=2, cooldown_s=1.0), 1.0, author="ada")
    moves = [breaker.settle(allowed(breaker, 1.0), 1.0, Outcome.SUCCESS) for _ in range(2)]
    assert [move.after for moved in moves for move in moved] == [State.CLOSED]


def test_impossible_configurations_of_a_live_breaker_change_nothing() -> None:
    breaker = CircuitBreaker(CONFIG)
    with pytest.raises(ValueError, match="author"):
        breaker.configure(CONFIG, 0.0, author="")
    with pytest.raises(ValueError, match="cooldown_jitter needs dice"):
        breaker.configure(BreakerConfig(cooldown_jitter=0.1), 0.0, author="ada")
    assert breaker.config is CONFIG
    assert breaker.standing().config_version == 1
    with pytest.raises(ValueError, match="cooldown_jitter needs dice"):
        CircuitBreaker(BreakerConfig(cooldown_jitter=0.1))


# --- Bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("now", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("story", ["", "ff", "fff", "fffw"])
def test_what_is_no_time_is_refused_and_changes_nothing(story: str, now: float) -> None:
    breaker = play(story)
    permit = allowed(breaker, 110.0) if story == "fffw" else None
    before = (breaker.standing(), breaker.in_flight, dict(breaker.totals()))
    for call in (
        breaker.admit,
        breaker.fail,
        breaker.peek,
        breaker.tick,
        breaker.counts,
        lambda at: breaker.renew(permit or Permit(), at),
        lambda at: breaker.settle(permit or Permit(), at, Outcome.SUCCESS),
    ):
        with pytest.raises(ValueError, match="now must be a finite number of seconds"):
            call(now)
    assert (breaker.standing(), breaker.in_flight, dict(breaker.totals())) == before


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1])
@pytest.mark.parametrize("name", ["took_s", "retry_after_s"])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_impossible_numbers_of_a_result_are_refused_and_the_permit_stays_valid(
    outcome: Outcome, name: str, wrong: float
) -> None:
    breaker = CircuitBreaker(CONFIG)
    permit = allowed(breaker, 0.0)
    with pytest.raises(ValueError, match=f"{name} must be a finite number of seconds"):
        breaker.settle(permit, 0.0, outcome, **{name: wrong})
    with pytest.raises(ValueError, match="retry_after_s"):
        breaker.fail(0.0, retry_after_s=-1.0)
    assert (breaker.in_flight, breaker.totals()) == (1, {})


def test_an_unknown_outcome_is_refused() -> None:
    breaker = CircuitBreaker(CONFIG)
    permit = allowed(breaker, 0.0)
    for wrong in (True, None, "splendid"):
        with pytest.raises(ValueError, match="Outcome"):
            breaker.settle(permit, 0.0, wrong)  # type: ignore[arg-type]
    assert breaker.in_flight == 1
    breaker.settle(permit, 0.0, "failure")  # type: ignore[arg-type]  # what a log or a wire says is understood
    assert breaker.failures == 1


def test_time_that_goes_back_stands_still() -> None:
    breaker = play("fff")
    assert refused(breaker, -1e9).retry_after_s == 10.0
    assert breaker.retry_after_s(-1e9) == 10.0
    assert breaker.tick(50.0) == ()
    assert breaker.tick(110.0) != ()
    probe = allowed(breaker, 20.0)
    assert probe.since == 110.0
    (moved,) = breaker.settle(probe, 0.0, Outcome.SUCCESS)
    assert moved.now == 110.0
    late = CircuitBreaker(CONFIG)
    late.tick(100.0)
    assert allowed(late, 0.0).since == 100.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failures_max", 0),
        ("failures_max", 1.5),
        ("probes", 0),
        ("probes", True),
        ("probes_max", 0),
        ("calls_min", 0),
        ("window_calls", None),
        ("in_flight_max", 0),
        ("cooldown_s", 0.0),
        ("cooldown_s", float("nan")),
        ("cooldown_max_s", 0.0),
        ("lease_s", -1.0),
        ("lease_s", float("inf")),
        ("slow_s", 0.0),
        ("window_s", 0.0),
        ("failure_rate", 0.0),
        ("failure_rate", 1.1),
        ("slow_rate", float("nan")),
        ("bad_rate", -0.5),
        ("cooldown_growth", 0.9),
        ("cooldown_growth", float("inf")),
        ("cooldown_jitter", -0.1),
        ("cooldown_jitter", 1.1),
        ("cooldown_jitter", float("nan")),
    ],
)
def test_impossible_configs_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        BreakerConfig(**{field: value})


def test_a_minimum_that_the_window_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"calls_min \(11\) is more than window_calls \(10\)"):
        BreakerConfig(window_calls=10, calls_min=11)
    assert BreakerConfig(window=Window.TIME, window_calls=10, calls_min=11).calls_min == 11


# --- The table --------------------------------------------------------------------------------------------------------
def test_the_table_holds_what_people_may_do_everywhere_and_nothing_else_by_accident() -> None:
    assert len(NEXT) == 7 + len(State) * (len(BY_HAND) + 1)
    assert {after for (_, signal), after in NEXT.items() if signal is Signal.RESET} == {State.CLOSED}
    assert all(after is state for (state, signal), after in NEXT.items() if signal is Signal.CONFIGURED)
    assert PASSING | REFUSING | {State.HALF_OPEN} == set(State)
    assert not PASSING & REFUSING

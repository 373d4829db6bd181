"""The guard as others use it: decorators, streams, blocks, judges, limits; and it judges as the bare machine does."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import random
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.adapters._telling import UNTOLD_MAX, Teller
from harness.adapters.guard import Guard, Verdict
from harness.errors import BusyError, CircuitOpenError
from harness.services.circuit_breaker import (
    BreakerConfig,
    Cause,
    CircuitBreaker,
    Outcome,
    Permit,
    Refusal,
    State,
    Transition,
)
from harness.services.concurrency_limit import ConcurrencyConfig, ConcurrencyLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class DownError(Exception):
    pass


def fail(error: BaseException | None = None) -> None:
    raise error or DownError


def in_a_row(failures_max: int = 3, **more: Any) -> BreakerConfig:
    return BreakerConfig(failures_max=failures_max, failure_rate=None, slow_rate=None, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard("g", in_a_row(), clock=clock)


def trip(guard: Guard, failures: int = 3) -> None:
    for _ in range(failures):
        with pytest.raises(DownError):
            guard.call(fail)
    assert guard.state is State.OPEN


# --- What is decorated stays what it is -------------------------------------------------------------------------------
def plain(x: int) -> int:
    """Plain."""
    return x


async def coroutine(x: int) -> int:
    """Coroutine."""
    await asyncio.sleep(0)
    return x


def generator(x: int) -> Generator[int]:
    """Generator."""
    yield x


async def async_generator(x: int) -> AsyncGenerator[int]:
    """Async generator."""
    yield x


KINDS = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
def test_a_decorated_function_keeps_its_kind_and_its_name(guard: Guard, function: Callable[..., Any]) -> None:
    guarded = guard(function)
    assert [kind(guarded) for kind in KINDS] == [kind(function) for kind in KINDS]
    assert (guarded.__name__, guarded.__doc__) == (function.__name__, function.__doc__)
    assert inspect.unwrap(guarded) is function


class Client:
    """Methods, and an object that is called."""

    async def __call__(self, x: int) -> int:
        return x

    def method(self, x: int) -> tuple[Client, int]:
        return self, x


def test_methods_partials_and_objects_are_guarded_for_what_they_are(guard: Guard) -> None:
    client = Client()
    assert guard(client.method)(1) == (client, 1)
    assert asyncio.run(_awaited(guard(functools.partial(coroutine, 2))())) == 2
    assert asyncio.run(_awaited(guard(client)(3))) == 3
    assert inspect.iscoroutinefunction(guard(client))

    class Guarded:
        @guard
        def method(self, x: int) -> tuple[object, int]:
            return self, x

        @classmethod
        @guard
        def made(cls, x: int) -> tuple[type, int]:
            return cls, x

    thing = Guarded()
    assert thing.method(4) == (thing, 4)
    assert Guarded.made(5) == (Guarded, 5)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def test_what_cannot_be_called_is_refused_at_once(guard: Guard) -> None:
    with pytest.raises(TypeError, match="not property: it goes below @classmethod and @property"):
        guard(property(plain))  # type: ignore[arg-type]  # on purpose


def test_a_plain_function_that_returns_a_coroutine_counts_when_it_is_awaited(guard: Guard) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        fail()

    for _ in range(3):
        waiting = guard.call(lambda: fails())  # noqa: PLW0108  # a plain function on purpose
        with pytest.raises(DownError):
            asyncio.run(waiting)
    assert guard.state is State.OPEN
    assert guard.totals()[Outcome.FAILURE] == 3


# --- Refusals ---------------------------------------------------------------------------------------------------------
def test_a_refusal_is_a_new_error_with_the_seconds_left(guard: Guard, clock: Clock) -> None:
    trip(guard)
    clock.now += 10
    seen = []
    for _ in range(2):
        with pytest.raises(CircuitOpenError) as refused:
            guard.call(plain, 1)
        seen.append(refused.value)
    assert seen[0] is not seen[1]
    assert [(error.name, error.retry_after_s) for error in seen] == [("g", 20.0), ("g", 20.0)]


# --- Streams ----------------------------------------------------------------------------------------------------------
def talk() -> Generator[Any, Any, str]:
    """Echo what is sent; survive one ValueError."""
    heard = yield "hello"
    while heard != "stop":
        try:
            heard = yield heard
        except ValueError as error:
            heard = yield f"caught {error}"
    return "bye"


async def async_talk() -> AsyncGenerator[Any, Any]:
    """Echo what is sent; survive one ValueError."""
    heard = yield "hello"
    while heard != "stop":
        try:
            heard = yield heard
        except ValueError as error:
            heard = yield f"caught {error}"


def test_a_guarded_generator_takes_what_is_sent_and_thrown(guard: Guard) -> None:
    stream = guard(talk)()
    assert next(stream) == "hello"
    assert stream.send("a") == "a"
    assert stream.throw(ValueError("b")) == "caught b"
    with pytest.raises(StopIteration) as end:
        stream.send("stop")
    assert end.value.value == "bye"
    assert guard.totals() == {Outcome.SUCCESS: 1}


def test_a_guarded_async_generator_takes_what_is_sent_and_thrown(guard: Guard) -> None:
    async def converse() -> None:
        stream = guard(async_talk)()
        assert await anext(stream) == "hello"
        assert await stream.asend("a") == "a"
        assert await stream.athrow(ValueError("b")) == "caught b"
        with pytest.raises(StopAsyncIteration):
            await stream.asend("stop")

    asyncio.run(converse())
    assert guard.totals() == {Outcome.SUCCESS: 1}


def test_an_error_that_is_thrown_in_and_not_caught_is_a_failure(guard: Guard) -> None:
    async def converse() -> None:
        stream = guard(async_talk)()
        await anext(stream)
        with pytest.raises(DownError):
            await stream.athrow(DownError())

    asyncio.run(converse())
    stream = guard(talk)()
    next(stream)
    with pytest.raises(DownError):
        stream.throw(DownError())
    assert guard.totals() == {Outcome.FAILURE: 2}


def test_closing_early_closes_the_inner_generator_and_proves_nothing(guard: Guard) -> None:
    closed = []

    def numbers() -> Generator[int]:
        try:
            yield from range(10)
        finally:
            closed.append("plain")

    async def async_numbers() -> AsyncGenerator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append("async")

    async def read() -> None:
        stream = guard(async_numbers)()
        await anext(stream)
        await stream.aclose()
        assert closed[-1] == "async", "at once, not when the event loop ends"

    stream = guard(numbers)()
    next(stream)
    stream.close()
    asyncio.run(read())
    assert closed == ["plain", "async"]
    assert guard.totals() == {Outcome.CANCELLED: 2}


def test_a_probe_that_streams_is_renewed_by_each_item(clock: Clock) -> None:
    guard = Guard("g", in_a_row(1, cooldown_s=30, lease_s=60), clock=clock)
    trip(guard, 1)
    clock.now += 30

    def numbers() -> Generator[int]:
        for number in range(5):
            clock.now += 50
            yield number

    assert list(guard(numbers)()) == [0, 1, 2, 3, 4]
    assert guard.state is State.CLOSED


# --- Blocks -----------------------------------------------------------------------------------------------------------
def test_a_block_is_settled_by_how_it_ends_unless_it_said_so_itself(guard: Guard) -> None:
    with guard.admit():
        pass
    with guard.admit() as lease:
        lease.settle(Outcome.IGNORED)
    with pytest.raises(DownError), guard.admit():
        fail()
    with pytest.raises(KeyboardInterrupt), guard.admit():
        raise KeyboardInterrupt
    assert guard.totals() == {
        Outcome.SUCCESS: 1,
        Outcome.IGNORED: 1,
        Outcome.FAILURE: 1,
        Outcome.CANCELLED: 1,
    }


def test_an_async_block_counts_a_cancelled_task_as_nothing(guard: Guard) -> None:
    async def hold() -> None:
        async with guard.admit() as lease:
            lease.renew()
            await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert guard.totals() == {Outcome.CANCELLED: 1}


def test_what_a_probe_calls_renews_the_probe_and_is_judged_with_it(guard: Guard, clock: Clock) -> None:
    trip(guard)
    clock.now += 30
    with guard.admit() as probe:
        clock.now += 50
        with guard.admit() as part:
            part.renew()
        clock.now += 50
        assert guard.state == "half-open", "renewed 50 s ago, with 60 s allowed"
        with pytest.raises(DownError):
            guard.call(fail)  # Part of the probe, too.
        assert probe.probe
    assert guard.state is State.CLOSED
    with guard.admit() as late:
        pass
    late.renew()  # Ended: nothing to renew.
    late.settle(Outcome.FAILURE)
    assert guard.totals().get(Outcome.FAILURE) == 3


def test_a_probe_that_ends_in_another_context_is_settled_all_the_same(guard: Guard, clock: Clock) -> None:
    trip(guard)
    clock.now += 30
    probe = contextvars.copy_context().run(guard.admit().__enter__)
    probe.__exit__(None, None, None)
    assert guard.state is State.CLOSED


# --- Judges -----------------------------------------------------------------------------------------------------------
def test_judges_know_all_five_outcomes(clock: Clock) -> None:
    def judge_error(error: Exception) -> Verdict:
        return Outcome.IGNORED if isinstance(error, KeyError) else (Outcome.THROTTLED, 120.0)

    def judge_result(status: Any) -> Verdict:
        return Outcome.SUCCESS if status < 400 else Outcome.FAILURE

    guard = Guard("g", in_a_row(2), clock=clock, judge_error=judge_error, judge_result=judge_result)
    assert [guard.call(plain, 200), guard.call(plain, 500)] == [200, 500]
    assert asyncio.run(guard.acall(coroutine, 200)) == 200
    for error in (KeyError("mine"), DownError(), DownError()):
        with pytest.raises(type(error)):
            guard.call(fail, error)
    assert guard.totals() == {
        Outcome.SUCCESS: 2,
        Outcome.FAILURE: 1,
        Outcome.IGNORED: 1,
        Outcome.THROTTLED: 2,
    }
    with pytest.raises(CircuitOpenError) as refused:
        guard.call(plain, 1)
    assert refused.value.retry_after_s == 120.0


def test_a_judge_that_raises_makes_it_a_failure_and_is_reported(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    def judge(_anything: object) -> Verdict:
        raise ZeroDivisionError("judge")

    guard = Guard("g", in_a_row(), clock=clock, judge_error=judge, judge_result=judge)
    with caplog.at_level(logging.ERROR):
        assert guard.call(plain, 1) == 1
        with pytest.raises(DownError):
            guard.call(fail)
    assert (guard.hook_errors, guard.totals()) == (2, {Outcome.FAILURE: 2})
    assert caplog.messages == ["judge of guard 'g' raised ZeroDivisionError: judge"] * 2
    assert not any(record.exc_info for record in caplog.records), "a kept traceback keeps frames"


def test_ctrl_c_in_a_judge_arrives_and_loses_no_permit(clock: Clock) -> None:
    def judge(_error: Exception) -> Verdict:
        raise KeyboardInterrupt

    guard = Guard("g", in_a_row(1), clock=clock, judge_error=judge)
    with pytest.raises(KeyboardInterrupt):
        guard.call(fail)
    assert guard.totals() == {Outcome.CANCELLED: 1}


def test_its_own_refusal_within_a_call_is_ignored_another_guard_s_is_a_failure(guard: Guard) -> None:
    for name, outcome in (("g", Outcome.IGNORED), ("other", Outcome.FAILURE)):
        with pytest.raises(CircuitOpenError):
            guard.call(fail, CircuitOpenError(name, retry_after_s=1))
        with pytest.raises(BusyError):
            guard.call(fail, BusyError(name, retry_after_s=1))
        assert guard.totals()[outcome] == 2


# --- Listeners --------------------------------------------------------------------------------------------------------
def test_a_listener_is_told_in_order_even_if_it_calls_through_the_guard(clock: Clock) -> None:
    told: list[tuple[int, State]] = []

    def listen(move: Transition) -> None:
        told.append((move.seq, move.after))
        if move.after is State.OPEN:
            clock.now += 30
            assert watched.call(plain, 1) == 1, "the probe, from within the listener"

    watched = Guard("g", in_a_row(), clock=clock, listener=listen)
    for _ in range(3):
        with pytest.raises(DownError):
            watched.call(fail)
    assert told == [(1, State.OPEN), (2, State.HALF_OPEN), (3, State.CLOSED)]
    watched.force(State.FORCED_OPEN, author="me", ttl_s=10)
    assert told[-1] == (4, State.FORCED_OPEN)
    assert watched.counts().calls == 0


def test_a_listener_that_is_too_slow_loses_the_oldest_changes_and_they_are_counted() -> None:
    heard: list[int] = []
    teller: Teller[int] = Teller("t", heard.append)
    teller.note(range(UNTOLD_MAX + 5))
    teller.tell()
    assert (teller.losses, heard) == (5, list(range(5, UNTOLD_MAX + 5)))

    def hang_up(_change: int) -> None:
        raise ZeroDivisionError("deaf")

    broken: Teller[int] = Teller("t", hang_up)
    broken.note(range(3))
    broken.tell()
    assert (broken.errors, len(broken.untold)) == (3, 0)
    deaf: Teller[int] = Teller("t", None)
    deaf.note(range(3))
    deaf.tell()
    assert not deaf.untold


def test_losses_are_none_as_long_as_the_listener_keeps_up(guard: Guard) -> None:
    assert (guard.listener_losses, guard.hook_errors) == (0, 0)


# --- Limit and record, in the same pass -------------------------------------------------------------------------------
class Places:
    """A limit that writes down what it is told."""

    def __init__(self, places: int) -> None:
        self.free = places
        self.told: list[tuple[float | None, bool]] = []

    def try_acquire(self, now: float) -> object | None:
        assert now >= 100
        if not self.free:
            return None
        self.free -= 1
        return object()

    def overdue(self, now: float) -> None:
        assert now >= 100

    def settle(self, lease: object, now: float, *, signal_s: float | None, dropped: bool) -> None:
        assert (type(lease), now >= 100) == (object, True)
        self.free += 1
        self.told.append((signal_s, dropped))


def test_the_fused_guard_asks_the_limit_and_records_in_one_pass(clock: Clock) -> None:
    places, recorded = Places(1), list[tuple[Outcome, float]]()
    judge = {DownError: Outcome.FAILURE, TimeoutError: Outcome.THROTTLED}
    guard = Guard(
        "g",
        in_a_row(),
        clock=clock,
        judge_error=lambda error: judge[type(error)],
        limit=places,
        record=lambda outcome, took_s: recorded.append((outcome, took_s)),
    )

    def takes(seconds: float, error: Exception | None = None) -> str:
        clock.now += seconds
        if error:
            raise error
        with pytest.raises(BusyError, match="'g' is busy"):
            guard.call(plain, 1)
        return "done"

    def stream() -> Generator[int]:
        clock.now += 1
        yield 1
        clock.now += 5
        yield 2

    assert guard.call(takes, 2) == "done"
    with pytest.raises(DownError):
        guard.call(takes, 3, DownError())
    with pytest.raises(TimeoutError):
        guard.call(takes, 4, TimeoutError())
    assert list(guard(stream)()) == [1, 2]
    assert asyncio.run(guard.acall(coroutine, 5)) == 5
    assert places.told == [(2.0, False), (None, False), (None, True), (1.0, False), (0.0, False)]
    assert recorded == [
        (Outcome.SUCCESS, 2.0),
        (Outcome.FAILURE, 3.0),
        (Outcome.THROTTLED, 4.0),
        (Outcome.SUCCESS, 6.0),
        (Outcome.SUCCESS, 0.0),
    ]
    assert places.free == 1


def test_a_probe_that_finds_no_place_leaves_the_probing_to_the_next(clock: Clock) -> None:
    places = Places(1)
    guard = Guard("g", in_a_row(), clock=clock, limit=places)
    trip(guard)
    clock.now += 30
    places.free = 0
    with pytest.raises(BusyError):
        guard.call(plain, 1)
    places.free = 1
    assert guard.state == "half-open"
    assert guard.call(plain, 1) == 1
    assert guard.state is State.CLOSED


def test_a_place_that_was_lost_is_taken_back_when_it_is_overdue(clock: Clock) -> None:
    limit = ConcurrencyLimit(ConcurrencyConfig(start=1, floor=1, lease_max_s=60.0))
    guard = Guard("g", in_a_row(), clock=clock, limit=limit)
    guard.admit()  # And never settled.
    with pytest.raises(BusyError):
        guard.call(plain, 1)
    clock.now += 60
    assert guard.call(plain, 1) == 1


def test_a_record_that_raises_changes_nothing(clock: Clock) -> None:
    def record(_outcome: Outcome, _took_s: float) -> None:
        raise ZeroDivisionError

    guard = Guard("g", clock=clock, record=record)
    assert guard.call(plain, 1) == 1
    assert guard.hook_errors == 1


# --- Unasked while it is calm -----------------------------------------------------------------------------------------
def test_calls_that_went_through_unasked_are_counted_and_seen_in_flight(clock: Clock) -> None:
    guard = Guard("g", BreakerConfig(failures_max=None, calls_min=3, slow_rate=0.5, slow_s=10), clock=clock)
    guard.tick()
    for _ in range(2):
        guard.call(plain, 1)
    flights = [guard.acall(_held) for _ in range(4)]
    for flight in flights:
        flight.send(None)
    assert guard.counts().calls == 2
    clock.now += 11
    guard.tick()
    assert guard.state is State.OPEN, "4 of 6 calls hang, and half of them is too much"
    for flight in flights:
        with pytest.raises(StopIteration):
            flight.send(None)
    assert guard.totals() == {Outcome.SUCCESS: 2, "late success": 4}


def test_the_oldest_call_in_flight_is_the_first_to_be_slow(clock: Clock) -> None:
    guard = Guard("g", BreakerConfig(slow_s=10), clock=clock)
    guard.tick()
    flights = []
    for _ in range(3):
        flights.append(guard.acall(_held))
        flights[-1].send(None)
        clock.now += 4
    assert guard.counts().hung == 1, "12, 8 and 4 s under way"
    clock.now += 3
    assert guard.counts().hung == 2
    for flight in flights:
        flight.close()


def test_calm_ends_by_itself_and_begins_again(clock: Clock) -> None:
    moves: list[Transition] = []
    guard = Guard("g", BreakerConfig(calls_min=1, slow_rate=0.5, slow_s=10), clock=clock, listener=moves.append)

    def takes(seconds: float) -> None:
        clock.now += seconds

    for _ in range(1000):
        guard.call(takes, 1)
    assert (guard.counts().calls, guard.totals()) == (100, {Outcome.SUCCESS: 1000})
    for _ in range(50):
        guard.call(takes, 10)
    assert [(move.after, move.cause) for move in moves] == [(State.OPEN, Cause.SLOW_RATE)]


def test_many_awaits_are_reported_in_between(clock: Clock) -> None:
    guard = Guard("g", clock=clock)
    guard.tick()

    async def many() -> None:
        for _ in range(1000):
            await guard.acall(coroutine, 1)

    asyncio.run(many())
    assert len(guard._era.good) < 1000
    assert guard.totals() == {Outcome.SUCCESS: 1000}


def test_refusals_that_nobody_was_asked_for_are_counted(guard: Guard, clock: Clock) -> None:
    trip(guard)
    for _ in range(1000):
        with pytest.raises(CircuitOpenError):
            guard.call(plain, 1)
    assert len(guard._era.refused) < 1000
    assert guard.totals()["refused"] == 1000
    clock.now += 30
    assert guard.call(plain, 1) == 1


def test_a_probe_of_one_guard_is_none_of_another(guard: Guard, clock: Clock) -> None:
    other = Guard("other", in_a_row(), clock=clock)
    trip(guard)
    clock.now += 30
    with guard.admit():
        trip(other)
        with pytest.raises(CircuitOpenError), other.admit():
            pass
        clock.now += 30
        assert guard(lambda: guard.call(plain, other.call(plain, 7)))() == 7
    assert (guard.state, other.state) == (State.CLOSED, State.CLOSED)


def test_a_call_of_an_era_that_ended_in_between_is_late_and_nobody_is_told(guard: Guard, clock: Clock) -> None:
    guard.tick()
    old = guard._era
    trip(guard)
    key = object()
    old.flying[key] = clock.now  # What another thread does that was stopped between its two steps.
    assert not clock.now < old.calm_until, "nobody goes on through an era that has ended"
    assert guard._landed(old, key, clock.now) is None
    assert not old.flying


class _Pause:
    def __await__(self) -> Generator[None]:
        yield


async def _held(error: BaseException | None = None) -> None:
    await _Pause()
    if error is not None:
        raise error


class SameAsTheMachine(RuleBasedStateMachine):
    """Whatever is called and however it ends, the guard comes to what the bare machine comes to."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        config = BreakerConfig(
            failures_max=4, window_calls=20, calls_min=6, slow_s=8, slow_rate=0.5, cooldown_s=10, lease_s=9
        )
        self.guard = Guard("g", config, clock=self.clock)
        self.machine = CircuitBreaker(config)
        self.flights: list[tuple[Callable[[], object], Permit]] = []

    def admitted(self) -> Permit | None:
        answer = self.machine.admit(self.clock.now)
        return None if isinstance(answer, Refusal) else answer

    @rule(good=st.booleans(), times=st.integers(1, 30))
    def call(self, *, good: bool, times: int) -> None:
        for _ in range(times):
            permit = self.admitted()
            try:
                self.guard.call(plain, 1) if good else self.guard.call(fail)
            except CircuitOpenError:
                assert permit is None
            except DownError:
                assert permit is not None
            if permit is not None:
                self.machine.settle(permit, self.clock.now, Outcome.SUCCESS if good else Outcome.FAILURE)

    @rule(error=st.sampled_from([None, DownError(), KeyboardInterrupt()]))
    def start(self, error: BaseException | None) -> None:
        permit = self.admitted()
        flight = self.guard.acall(_held, error)
        context = contextvars.copy_context()  # As a task has one of its own.

        def step() -> object:
            return context.run(flight.send, None)

        try:
            step()
        except CircuitOpenError:
            assert permit is None
            return
        assert permit is not None
        self.flights.append((step, permit))

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.ended(*self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1))))

    def ended(self, step: Callable[[], object], permit: Permit) -> None:
        outcome = Outcome.SUCCESS
        try:
            step()
        except DownError:
            outcome = Outcome.FAILURE
        except KeyboardInterrupt:
            outcome = Outcome.CANCELLED
        except StopIteration:
            pass
        self.machine.settle(permit, self.clock.now, outcome)

    @rule(seconds=st.sampled_from([0.5, 3.0, 7.0, 9.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def look(self) -> None:
        self.machine.tick(self.clock.now)
        assert self.guard.state is self.machine.state
        assert self.guard.counts() == self.machine.counts(self.clock.now)
        assert self.guard.totals() == self.machine.totals()

    @invariant()
    def nothing_is_left_over(self) -> None:
        # Every call that is out stands in one place; nothing else does.
        assert len(self.guard._adopted) + len(self.guard._era.flying) <= len(self.flights)

    def teardown(self) -> None:
        while self.flights:
            self.ended(*self.flights.pop())
        self.look()
        assert not self.guard._adopted
        assert not self.guard._era.flying


SameAsTheMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
TestSameAsTheMachine = SameAsTheMachine.TestCase


def test_no_call_is_lost_or_counted_twice_between_threads() -> None:
    guard = Guard("g", BreakerConfig(failures_max=None, failure_rate=None, slow_rate=None))
    calls, threads = 3_000, 8
    failed = []

    def work(seed: int) -> None:
        dice, mine = random.Random(seed), 0
        for _ in range(calls):
            if dice.random() < 0.1:
                mine += 1
                with pytest.raises(DownError):
                    guard.call(fail)
            else:
                guard.call(plain, 1)
        failed.append(mine)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    totals = guard.totals()
    assert totals[Outcome.FAILURE] == sum(failed)
    assert totals[Outcome.SUCCESS] == calls * threads - sum(failed)
    assert not guard._adopted

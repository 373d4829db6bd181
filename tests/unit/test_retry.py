"""Retry: the shells for functions with and without ``await``, on a clock of their own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import random
import sqlite3
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.adapters.classify import everything
from harness.adapters.retry import Retrying, make_recovery
from harness.core.ladder import Ladder, Rung
from harness.core.retry_budget import BudgetConfig
from harness.errors import CircuitOpenError, ConnectionLostError, Kind, StoreError
from harness.services.recovery import Policy, Recovery, RecoveryConfig

FREE = BudgetConfig(share=1.0, retries_min=100_000, tokens_max=1e9)
TWO_RUNGS = Ladder((Rung("full", "all"), Rung("less", "some"), Rung("notice", "a word")))


class Clock:
    """Sleeping moves it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)


class Stage:
    """A recovery, a clock, and one way to call: with or without ``await``."""

    def __init__(self, *, awaits: bool, policy: Policy) -> None:
        self.awaits, self.clock = awaits, Clock()
        self.recovery = Recovery(RecoveryConfig(policy=policy), everything(), dice=random.Random(7))

    def retrying(self, dependency: str = "x", **options: Any) -> Retrying:
        clock = self.clock
        return Retrying(
            self.recovery, dependency, clock=clock.read, sleep=clock.sleep, sleep_async=clock.sleep_async, **options
        )

    def play(self, retrying: Retrying, function: Callable[..., Any], *args: Any) -> Any:
        if not self.awaits:
            return retrying.run(function, *args)

        async def answer(*args: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args)

        return asyncio.run(retrying.run_async(answer, *args))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        report = self.recovery.report(self.clock.now)
        assert all(each.calls_open == 0 for each in report.dependencies), "a call that was never settled"
        return report.succeeded, report.recovered, report.failed, report.cancelled


@pytest.fixture(params=[False, True], ids=["def", "async def"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(awaits=request.param, policy=Policy(budget=FREE))


class Failing:
    """Fails so many times, each time in a new way, then gives back what it was given."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self, text: str = "done") -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return text


def test_a_call_that_works_is_made_once(stage: Stage) -> None:
    function = Failing()
    assert stage.play(stage.retrying(), function, "hi") == "hi"
    assert (function.calls, stage.clock.slept, stage.counts) == (1, [], (1, 0, 0, 0))


def test_what_is_transient_is_tried_again_after_a_pause(stage: Stage) -> None:
    function = Failing(ConnectionLostError("a"), ConnectionRefusedError("b"))
    assert stage.play(stage.retrying(), function) == "done"
    assert (function.calls, stage.counts) == (3, (1, 1, 0, 0))
    assert [0 <= seconds <= most for seconds, most in zip(stage.clock.slept, (0.5, 1.0), strict=True)] == [True, True]


@pytest.mark.parametrize(
    "error", [StoreError("full"), ZeroDivisionError("bug"), TimeoutError("perhaps"), FutureCancelledError("gone")]
)
def test_what_may_not_be_tried_again_is_raised_as_it_is(stage: Stage, error: Exception) -> None:
    function = Failing(error)
    with pytest.raises(type(error)) as raised:
        stage.play(stage.retrying(), function)
    assert raised.value is error
    assert (function.calls, stage.clock.slept) == (1, [])


def test_the_last_error_is_raised_as_it_is(stage: Stage) -> None:
    last = ConnectionLostError("third")
    function = Failing(ConnectionLostError("first"), ConnectionLostError("second"), last)
    with pytest.raises(ConnectionLostError) as raised:
        stage.play(stage.retrying(), function)
    assert raised.value is last
    assert raised.value.__context__ is None, "it has nothing to do with those before"
    assert stage.counts == (0, 0, 1, 0)


def test_a_keyed_call_is_made_again_where_it_may_have_happened(stage: Stage) -> None:
    assert stage.play(stage.retrying(keyed=True), Failing(TimeoutError())) == "done"


def test_an_open_circuit_is_waited_for_and_no_longer_than_there_is_time(stage: Stage) -> None:
    assert stage.play(stage.retrying(within_s=20.0), Failing(CircuitOpenError("x", retry_after_s=12.0))) == "done"
    (slept,) = stage.clock.slept
    assert 12.0 <= slept <= 12.5
    function = Failing(CircuitOpenError("x", retry_after_s=12.0))
    with pytest.raises(CircuitOpenError):
        stage.play(stage.retrying(within_s=10.0), function)
    assert (function.calls, len(stage.clock.slept)) == (1, 1)


@pytest.mark.parametrize("outer_first", [True, False])
def test_two_layers_do_not_multiply(stage: Stage, *, outer_first: bool) -> None:
    function = Failing(*(ConnectionLostError(str(number)) for number in range(20)))
    outer, inner = stage.retrying("outer"), stage.retrying("inner")
    if stage.awaits:

        @inner
        async def in_between_async() -> str:
            return function()

        with pytest.raises(ConnectionLostError):
            asyncio.run(outer.run_async(in_between_async))
    else:
        with pytest.raises(ConnectionLostError):
            outer.run(inner(function))
    assert function.calls == 3
    assert [each.name for each in stage.recovery.report(stage.clock.now).dependencies] == ["outer"]
    if outer_first:  # Afterwards the inner one is on its own again.
        with pytest.raises(ConnectionLostError):
            stage.play(inner, function)
        assert function.calls == 6


def test_a_task_that_outlives_its_retried_call_has_its_own_retries() -> None:
    stage = Stage(awaits=True, policy=Policy(budget=FREE))
    function = Failing(ConnectionLostError("a"), ConnectionLostError("b"))
    tasks: list[asyncio.Task[str]] = []

    async def later() -> str:
        await released.wait()

        async def call() -> str:
            return function()

        return await stage.retrying("later").run_async(call)

    async def start() -> None:
        tasks.append(asyncio.create_task(later()))

    async def play() -> str:
        await stage.retrying("starter").run_async(start)
        released.set()
        return await tasks[0]

    released = asyncio.Event()
    assert asyncio.run(play()) == "done"
    assert function.calls == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()])
def test_what_ends_a_program_passes_and_settles_the_call(error: BaseException) -> None:
    stage = Stage(awaits=False, policy=Policy())
    function = Failing(error)
    with pytest.raises(type(error)) as raised:
        stage.play(stage.retrying(keyed=True), function)
    assert raised.value is error
    assert (function.calls, stage.counts) == (1, (0, 0, 0, 1))


def test_a_task_is_cancelled_while_it_calls_and_while_it_sleeps() -> None:
    stage = Stage(awaits=True, policy=Policy())

    async def hang() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise ConnectionLostError("x")

    async def hang_s(seconds: float) -> None:
        assert seconds >= 0
        await hang()

    async def play() -> None:
        calling = asyncio.create_task(stage.retrying().run_async(hang))
        sleeping = asyncio.create_task(
            Retrying(stage.recovery, "x", clock=stage.clock.read, sleep_async=hang_s).run_async(fail)
        )
        for task in (calling, sleeping):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(play())
    assert stage.counts == (0, 0, 0, 2)
    assert stage.recovery.report(stage.clock.now).strategies[0].cancelled == 1


def test_an_interrupted_sleep_settles_the_call() -> None:
    recovery = make_recovery()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt(seconds)

    with pytest.raises(KeyboardInterrupt):
        Retrying(recovery, "x", sleep=interrupt).run(Failing(ConnectionLostError("x")))
    (standing,) = recovery.report(0.0).dependencies
    assert standing.calls_open == 0


class Big:
    """Ten megabytes that can be watched."""

    def __init__(self) -> None:
        self.bytes = bytearray(10 * 1024 * 1024)


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_nothing_of_a_failed_try_is_held_without_the_collector(stage: Stage) -> None:
    seen: list[weakref.ref[Big]] = []
    alive_asleep: list[int] = []

    def fail() -> None:
        big = Big()
        seen.append(weakref.ref(big))
        raise ConnectionLostError("x")

    def sleep(seconds: float) -> None:
        stage.clock.slept.append(seconds)
        alive_asleep.append(sum(each() is not None for each in seen))

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)
        await asyncio.sleep(0)

    retrying = Retrying(stage.recovery, "x", clock=stage.clock.read, sleep=sleep, sleep_async=sleep_async)

    async def fail_soon() -> None:
        fail()

    async def play() -> list[Big | None]:
        with contextlib.suppress(ConnectionLostError):
            await retrying.run_async(fail_soon)
        return [each() for each in seen]  # Within the task: the task itself holds on to the error that it ends with.

    with no_collector():
        if stage.awaits:
            held = asyncio.run(play())
        else:
            with contextlib.suppress(ConnectionLostError):
                retrying.run(fail)
            held = [each() for each in seen]
    assert alive_asleep == [0, 0], "held while asleep"
    assert held == [None] * 3, "held after the end"


def test_a_lower_rung_answers_with_the_same_arguments() -> None:
    for awaits in (False, True):
        stage = Stage(awaits=awaits, policy=Policy(attempts_max=1, ladder=TWO_RUNGS))

        def lower(text: str, *, awaits: bool = awaits) -> str | Awaitable[str]:
            async def soon() -> str:
                return f"{text}, roughly"

            return soon() if awaits else f"{text}, roughly"

        def no(text: str) -> str:
            raise AssertionError(text)

        retrying = stage.retrying(fallbacks={"less": lower, "notice": no})
        assert stage.play(retrying, Failing(ConnectionLostError("x")), "hi") == "hi, roughly"
        assert stage.counts == (1, 1, 0, 0)


def test_a_call_begins_on_the_rung_that_its_dependency_is_on() -> None:
    levels = Ladder((Rung("full", "all"), Rung("less", "some", 50.0, 60.0)))
    stage = Stage(awaits=False, policy=Policy(ladder=levels))
    stage.recovery.level("x", 10.0)
    function = Failing()
    assert stage.play(stage.retrying(fallbacks={"less": lambda: "less"}), function) == "less"
    assert function.calls == 0


def test_a_function_stays_itself_under_the_decorator() -> None:
    retrying = Stage(awaits=False, policy=Policy()).retrying()

    @retrying
    def greet(name: str) -> str:
        """Greet."""
        return f"hello {name}"

    @retrying
    async def greet_soon(name: str) -> str:
        return f"hello {name}"

    assert (greet("you"), greet.__name__, greet.__doc__) == ("hello you", "greet", "Greet.")
    assert asyncio.run(greet_soon("you")) == "hello you"

    def some() -> Iterator[int]:
        yield 1

    async def some_soon() -> AsyncIterator[int]:
        yield 1

    for generator in (some, some_soon):
        with pytest.raises(TypeError, match="is a generator"):
            retrying(generator)


def test_what_cannot_work_is_refused() -> None:
    recovery = Recovery(RecoveryConfig(policy=Policy(ladder=TWO_RUNGS)), everything(), dice=random.Random(1))
    with pytest.raises(ValueError, match="'x' may fall back to less, notice: fallbacks needs a function for it"):
        Retrying(recovery, "x")
    for within_s in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="within_s must be above 0"):
            Retrying(recovery, "x", within_s=within_s)


def test_threads_share_one_recovery_and_nothing_is_lost() -> None:
    recovery = make_recovery(RecoveryConfig(policy=Policy(budget=FREE)))
    turn = threading.Barrier(8)

    def work(seed: int) -> int:
        dice, well = random.Random(seed), 0
        retrying = Retrying(recovery, "x", sleep=math.sqrt)

        def call() -> None:
            if dice.random() < 0.4:
                raise ConnectionLostError("x")

        turn.wait()
        for _ in range(500):
            with contextlib.suppress(ConnectionLostError):
                retrying.run(call)
                well += 1
        return well

    with ThreadPoolExecutor(8) as pool:
        well = sum(pool.map(work, range(8)))
    report = recovery.report(1e9)
    assert (report.calls, report.succeeded, report.failed) == (4_000, well, 4_000 - well)
    assert report.dependencies[0].calls_open == 0


def test_the_errors_of_sqlite_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    known = everything().close()
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "x", isolation_level=None, timeout=0.0)) as one,
        contextlib.closing(sqlite3.connect(tmp_path / "x", isolation_level=None, timeout=0.0)) as other,
    ):
        one.execute("CREATE TABLE t (x UNIQUE)")
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as busy:
            other.execute("BEGIN IMMEDIATE")
        one.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError) as twice:
            one.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.OperationalError) as wrong:
            one.execute("SELECT * FROM nothing")
        one.execute("ROLLBACK")
        one.execute("PRAGMA page_count")
        one.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as full:
            one.execute("INSERT INTO t VALUES (zeroblob(100000))")
    told = [known.error(each.value) for each in (busy, twice, wrong, full)]
    assert [(each.kind, each.code) for each in told] == [
        (Kind.TRANSIENT, "store-busy"),
        (Kind.PERMANENT, "store-constraint"),
        (Kind.PERMANENT, "store"),
        (Kind.PERMANENT, "disk-full"),
    ]

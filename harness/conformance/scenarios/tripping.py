"""Tripping: when it opens, and what an open breaker does."""

from __future__ import annotations

import asyncio
import contextlib

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.values import Kind, scenario

LEFT_S = 20.0


@scenario(
    "N failures in a row open it, not one fewer.",
    why="Fewer cut off a dependency that hiccuped; more keep sending calls to one that is down.",
)
async def trips_after_n_failures(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=5)
    for number in range(1, 5):
        end = await stage.fail()
        stage.expect(end.called, f"call {number} was refused after {number - 1} of 5 failures")
        stage.expect_state("closed", after=f"{number} of 5 failures")
    await stage.fail()
    stage.expect_state("open", after="5 of 5 failures")


@scenario("A success begins the count of failures in a row anew.", why="Else it opens after N failures in a year.")
async def success_resets_the_count(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for _ in range(3):
        await stage.fail()
        await stage.fail()
        stage.expect((await stage.ok()).called, "a call was refused although never more than 2 of 3 failed in a row")
    stage.expect_state("closed", after="2 failures, 1 success, three times, with 3 in a row allowed")


@scenario("An open breaker refuses without calling.", why="Refusing is what it is for.")
async def open_refuses_without_calling(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    for _ in range(5):
        end = await stage.ok()
        stage.expect(not end.called, "the function was called while open")
        stage.expect(end.refused, f"no exception: {end}")


@scenario(
    "A refusal says in how many seconds to come back.",
    why="Who does not know waits too long, or hammers.",
    needs=("retry_after",),
)
async def refusal_says_when_to_come_back(stage: Stage) -> None:
    """Play it."""
    stage.make(cooldown_s=30.0)
    await stage.trip()
    stage.clock.advance(30.0 - LEFT_S)
    seconds = stage.retry_after_s(await stage.ok())
    stage.expect(
        isinstance(seconds, float) and abs(seconds - LEFT_S) <= 1.0,
        f"{LEFT_S:g} s before the end of the cooldown it says {seconds}",
    )


@scenario(
    "Failures of calls that ran at the same time add up.",
    why="Under load calls overlap; their failures are what it has to see.",
)
async def concurrent_failures_add_up(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=10)
    flights = await stage.launch(10)
    await stage.land_all(flights, DownstreamError("together"))
    called = sum(flight.end.called for flight in flights)
    stage.expect(called == len(flights), f"of 10 calls {called} were made, with 10 failures allowed")
    stage.expect_state("open", after="10 of 10 failures of calls that overlapped")


@scenario(
    "A coroutine function that is decorated counts when it fails, or the decorator refuses it.",
    why="A decorator that sees only the coroutine counts every call as a success: a breaker that is not there.",
    kinds=(Kind.TASKS,),
    spares_nobody=True,
)
async def async_failures_count(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)

    called: list[None] = []

    async def fails() -> None:
        called.append(None)
        await asyncio.sleep(0)
        raise DownstreamError("planned")

    try:
        guarded = stage.adapter.guard(stage.breaker, fails)
    except TypeError:
        return
    for _ in range(10):
        with contextlib.suppress(Exception):
            await guarded()
    stage.expect(len(called) >= stage.plan.failures_max, f"it was called {len(called)} times, with 3 failures allowed")
    stage.expect_state("open", after="10 failures of a coroutine function, with 3 allowed")


@scenario(
    "Failures in one event loop count in the next.",
    why="A worker that runs each job with asyncio.run shares the breaker of its module among all of them.",
    kinds=(Kind.TASKS,),
)
async def event_loops_share_it(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)

    called: list[None] = []

    def body() -> None:
        called.append(None)
        raise DownstreamError("planned")

    async def call() -> None:
        with contextlib.suppress(DownstreamError):
            await stage.adapter.guard(stage.breaker, stage.dress(body))()

    for _ in range(3):
        with contextlib.suppress(Exception):
            await asyncio.to_thread(asyncio.run, call())
    stage.expect(len(called) == stage.plan.failures_max, f"in 3 event loops it was called {len(called)} times")
    stage.expect_state("open", after="3 of 3 failures, each in an event loop of its own")


@scenario("Two breakers are strangers.", why="One dead dependency must not cut off the others.")
async def breakers_are_strangers(stage: Stage) -> None:
    """Play it."""
    first = stage.make()
    await stage.trip()
    second = stage.make()
    stage.expect(stage.state(second) == "closed", f"one was tripped, and the other is {stage.state(second)}")
    stage.expect((await stage.ok()).called, "one was tripped, and the other refuses")
    stage.expect(stage.state(first) == "open", f"a call through one made the other {stage.state(first)}")

"""Interruption: cancelled tasks, Ctrl-C, and what else ends the caller and not the call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.tasks import Tasks
from harness.conformance.values import Kind, scenario

if TYPE_CHECKING:
    from collections.abc import Callable

ASYNC = (Kind.TASKS,)


def _tasks(stage: Stage) -> Tasks:
    assert isinstance(stage, Tasks)
    return stage


@scenario(
    "A cancelled call raises CancelledError in the task that was cancelled.",
    why="A cancellation that is swallowed or replaced leaves timeouts, task groups and shutdown hanging.",
    kinds=ASYNC,
)
async def cancellation_arrives(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=1)
    flight = await _tasks(stage).cancelled()
    stage.expect(isinstance(flight.end.error, asyncio.CancelledError), f"{flight.end}")


@scenario(
    "Cancelled calls are no failures.",
    why="Users who close the page, or a caller's own timeout, would open it for everybody.",
    kinds=ASYNC,
)
async def cancelled_calls_are_no_failures(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for _ in range(5):
        await _tasks(stage).cancelled()
    stage.expect_state("closed", after="5 cancelled calls")


@scenario(
    "A cancelled call is no success.",
    why="Clients that give up on a dying dependency would wipe out its failures, and it would never open.",
    kinds=ASYNC,
)
async def cancelled_call_is_no_success(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    await stage.fail()
    await stage.fail()
    await _tasks(stage).cancelled()
    await stage.fail()
    stage.expect_state("open", after="failure, failure, cancellation, failure, with 3 allowed")


@scenario(
    "A cancelled probe decides nothing, and the next caller may probe.",
    why="Closing lets everybody in on no evidence; a place that is not given back refuses them for ever.",
    kinds=ASYNC,
)
async def cancelled_probe_decides_nothing(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    await _tasks(stage).cancelled()
    stage.expect(stage.state() != "closed", "a cancelled probe closed it")
    end = await stage.ok()
    stage.expect(end.called, f"after a cancelled probe {end}")


async def _passes(stage: Stage, interrupt: Callable[[], BaseException]) -> None:
    """Raise it in guarded calls: it must arrive as it is, and count for nothing."""
    stage.make(failures_max=2)
    for _ in range(4):
        error = interrupt()
        end = await stage.fail(error)
        stage.expect(end.error is error, f"{type(error).__name__} was raised, and {end}")
    stage.expect_state("closed", after=f"4 times {type(interrupt()).__name__}, with 2 failures allowed")
    await stage.fail()
    await stage.fail(interrupt())
    await stage.fail()
    stage.expect_state("open", after=f"failure, {type(interrupt()).__name__}, failure, with 2 allowed")


@scenario("KeyboardInterrupt goes through and counts for nothing.", why="Ctrl-C must end the program.")
async def keyboard_interrupt_goes_through(stage: Stage) -> None:
    """Play it."""
    await _passes(stage, KeyboardInterrupt)


@scenario("SystemExit goes through and counts for nothing.", why="sys.exit must end the program, with its code.")
async def system_exit_goes_through(stage: Stage) -> None:
    """Play it."""
    await _passes(stage, lambda: SystemExit(3))


@scenario("GeneratorExit goes through and counts for nothing.", why="It closes a generator that was abandoned.")
async def generator_exit_goes_through(stage: Stage) -> None:
    """Play it."""
    await _passes(stage, GeneratorExit)


@scenario(
    "A probe that Ctrl-C interrupts decides nothing, and the next caller may probe.",
    why="In a shell or a notebook the process lives on after Ctrl-C.",
)
async def interrupted_probe_decides_nothing(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    await stage.fail(KeyboardInterrupt())
    stage.expect(stage.state() != "closed", "an interrupted probe closed it")
    end = await stage.ok()
    stage.expect(end.called, f"after an interrupted probe {end}")


@scenario(
    "StopIteration is an error like any other.",
    why="A breaker made of generators turns it into a RuntimeError, or into success.",
    kinds=(Kind.THREADS,),
)
async def stop_iteration_is_an_error(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for _ in range(3):
        error = StopIteration("planned")
        end = await stage.fail(error)
        stage.expect(end.error is error, f"StopIteration was raised, and {end}")
    stage.expect_state("open", after="3 of 3 failures")
    stage.cool()
    await stage.fail(DownstreamError("still down"))
    stage.expect_state("open", after="a failed probe")

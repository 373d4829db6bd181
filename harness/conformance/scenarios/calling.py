"""Calling: what goes in and comes out of a guarded function, and what runs beside what."""

from __future__ import annotations

import inspect
import threading

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.values import Kind, scenario

CROWD = 20


@scenario(
    "Arguments and return values pass through as they are, an exception that is returned included.",
    why="A guarded function must be usable wherever the bare one was.",
)
async def values_pass_through(stage: Stage) -> None:
    """Play it."""
    stage.make()
    thing = object()
    end = await stage.call(lambda *args, **kwargs: (args, kwargs), 1, thing, key=thing)
    stage.expect(end.value == ((1, thing), {"key": thing}), f"(1, x, key=x) went in, and {end}")
    for value in (None, False, 0, ValueError("returned, not raised"), thing):
        end = await stage.ok(value)
        stage.expect(end.value is value, f"{value!r} was returned, and {end}")
    stage.expect_state("closed", after="good calls")


@scenario(
    "Keyword arguments may have any name.",
    why="call(self, func, *args, **kwargs) takes away the names self and func from every guarded function.",
)
async def keywords_may_have_any_name(stage: Stage) -> None:
    """Play it."""
    stage.make()
    for name in ("self", "func", "fn", "function", "f", "name", "args", "kwargs", "breaker", "cb"):
        end = await stage.call(lambda **kwargs: kwargs, **{name: 1})
        stage.expect(end.value == {name: 1}, f"{name}=1 went in, and {end}")


@scenario(
    "A decorated function keeps its name, its docstring, what it wraps, and its kind.",
    why="Frameworks look at all four: routes, command lines, test runners, dependency injection.",
)
async def metadata_is_kept(stage: Stage) -> None:
    """Play it."""
    stage.make()
    bare = stage.dress(lambda: None)
    guarded = stage.adapter.guard(stage.breaker, bare)
    for name in ("__name__", "__doc__", "__module__", "__qualname__"):
        kept = getattr(guarded, name, None)
        stage.expect(kept == getattr(bare, name), f"{name} became {kept!r}")
    stage.expect(inspect.unwrap(guarded) is bare, "__wrapped__ does not lead to the bare function")
    same = inspect.iscoroutinefunction(guarded) == inspect.iscoroutinefunction(bare)
    stage.expect(same, "inspect.iscoroutinefunction says something else than of the bare function")


@scenario(
    "The caller gets the very exception that was raised, from the call that opens it too.",
    why="The first error is the one that tells what is wrong; callers catch it by its type.",
)
async def the_original_error_arrives(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for number in range(1, 4):
        error = DownstreamError(f"failure {number}")
        end = await stage.fail(error)
        stage.expect(end.error is error, f"failure {number} of 3 was raised, and {end}")
    stage.cool()
    error = DownstreamError("the probe's")
    end = await stage.fail(error)
    stage.expect(end.error is error, f"the probe failed, and {end}")


@scenario(
    "Any number of calls may be under way while it is closed: nothing is held during a call.",
    why="A lock around the call makes one slow call everybody's wait: a breaker turns into a queue of one.",
)
async def closed_calls_overlap(stage: Stage) -> None:
    """Play it."""
    stage.make()
    flights = await stage.launch(CROWD)
    inside = sum(flight.inside for flight in flights)
    stage.expect(inside == CROWD, f"of {CROWD} callers at once {inside} ran, the others waited")
    for flight in flights:
        stage.expect((await stage.land(flight)).value == "landed", f"{flight.end}")


@scenario(
    "Its state can be read while a call is under way.",
    why="The dashboard is looked at when calls hang.",
    kinds=(Kind.THREADS,),
)
async def state_can_be_read_during_a_call(stage: Stage) -> None:
    """Play it."""
    stage.make()
    flight = await stage.launch_one("a call")
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(stage.state()), daemon=True)
    reader.start()
    reader.join(1.0)
    stage.expect(said == ["closed"], f"while a call is under way the state is {said or 'not told within 1 s'}")
    await stage.land(flight)


@scenario(
    "A guarded function may call another one through the same breaker.",
    why="A client's get_user is guarded, and so is the get_json that it uses.",
)
async def nested_calls(stage: Stage) -> None:
    """Play it."""
    stage.make()
    end = await stage.nest(lambda: "inner")
    stage.expect(end.value == "inner", f"{end}")
    stage.expect_state("closed", after="a good call within a good call")


@scenario(
    "A probe may call another function through the same breaker: it is one probe.",
    why="Else the outer call fails because the inner one is refused, and such a client never recovers.",
)
async def nested_calls_in_a_probe(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    end = await stage.nest(lambda: "inner")
    stage.expect(end.value == "inner", f"in a probe {end}")
    stage.expect_state("closed", after="a good probe that made a guarded call")

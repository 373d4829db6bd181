"""Streams: a generator is one call, from its first item to its end."""

from __future__ import annotations

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.values import scenario

STREAMS = ("streams",)


@scenario(
    "A stream that breaks in the middle is a failure.",
    why="A model that dies in the middle of every reply began each of them well.",
    needs=STREAMS,
)
async def broken_streams_count(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for _ in range(3):
        error = DownstreamError("in the middle")
        end = await stage.stream(2, error=error)
        stage.expect(end.value == [0, 1], f"2 items and an error came, and {end}")
        stage.expect(end.error is error, f"it broke in the middle, and {end}")
    stage.expect_state("open", after="3 of 3 streams broke in the middle")


@scenario("A stream passes its items on, and is one success when it ends.", why="It is one call.", needs=STREAMS)
async def whole_streams_are_one_success(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for _ in range(2):
        await stage.stream(1, error=DownstreamError("in the middle"))
        await stage.stream(1, error=DownstreamError("in the middle"))
        end = await stage.stream(20)
        stage.expect(end.value == list(range(20)), f"20 items came, and {end}")
    stage.expect_state("closed", after="2 broken streams, 1 whole one, twice, with 3 failures allowed")


@scenario("An open breaker refuses streams.", why="It is open for all of them.", needs=STREAMS)
async def open_refuses_streams(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    end = await stage.stream(2)
    stage.expect(end.refused, f"while open {end}")


@scenario("A stream that its reader closes early is no failure.", why="Users stop long replies.", needs=STREAMS)
async def closed_streams_are_no_failures(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for _ in range(5):
        end = await stage.stream(10, take=2)
        stage.expect(end.value == [0, 1] and end.error is None, f"2 of 10 items were read, and {end}")
    stage.expect_state("closed", after="5 streams that were closed early, with 3 failures allowed")


@scenario(
    "A probe that is a stream and closed early leaves room for the next one.",
    why="A place that is not given back refuses everybody for ever.",
    needs=STREAMS,
)
async def closed_probe_does_not_wedge(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    await stage.stream(10, take=2)
    end = await stage.ok()
    stage.expect(end.called, f"after a probe that was closed early {end}")

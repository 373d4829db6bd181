"""Lateness: results of calls that began before the state changed."""

from __future__ import annotations

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.values import scenario

OLD = "It began before the state changed and tells of a dependency as it was then."


@scenario("A late success does not close an open breaker.", why=OLD)
async def late_success_while_open(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.needs_overlap()
    late = await stage.launch_one("a call")
    await stage.trip()
    await stage.land(late)
    stage.expect_state("open", after="a call from before it opened succeeded")
    stage.expect(not (await stage.ok()).called, "a late success let calls through again")


@scenario(
    "A late failure does not lengthen the cooldown.", why="Stragglers would keep it open as long as they drip in."
)
async def late_failure_while_open(stage: Stage) -> None:
    """Play it."""
    stage.make(cooldown_s=30.0)
    await stage.needs_overlap()
    late = await stage.launch_one("a call")
    await stage.trip()
    stage.clock.advance(24.0)
    await stage.land(late, DownstreamError("late"))
    stage.clock.advance(12.0)
    stage.expect(
        (await stage.ok()).called, "36 s into a cooldown of 30 s it refuses: a failure after 24 s began it anew"
    )


@scenario("A late success does not close a half-open breaker.", why=OLD)
async def late_success_while_half_open(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.needs_overlap()
    late = await stage.launch_one("a call")
    await stage.trip()
    stage.cool()
    probe = await stage.launch_one("the probe")
    await stage.land(late)
    stage.expect(stage.state() != "closed", "a call from before it opened closed it while the probe was out")
    await stage.land(probe, DownstreamError("still down"))
    stage.expect_state("open", after="the probe failed")


@scenario("A late failure does not open a half-open breaker.", why=OLD)
async def late_failure_while_half_open(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.needs_overlap()
    late = await stage.launch_one("a call")
    await stage.trip()
    stage.cool()
    probe = await stage.launch_one("the probe")
    await stage.land(late, DownstreamError("late"))
    stage.expect(stage.state() != "open", "a call from before it opened opened it again while the probe was out")
    await stage.land(probe)
    stage.expect_state("closed", after="the probe succeeded")


@scenario("Late failures do not open a breaker that has recovered.", why=OLD)
async def late_failures_after_recovery(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    await stage.needs_overlap()
    late = await stage.launch(3)
    await stage.trip()
    stage.cool()
    await stage.ok()
    stage.expect_state("closed", after="a good probe")
    await stage.land_all(late, DownstreamError("late"))
    stage.expect_state("closed", after="3 calls from before it opened failed, with 3 allowed")

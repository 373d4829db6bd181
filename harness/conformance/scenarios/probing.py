"""Probing: the cooldown, the half-open state and the way back."""

from __future__ import annotations

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.values import scenario

CROWD = 50


@scenario("It refuses until the cooldown is over, and then lets a call through.", why="That is the time to recover.")
async def cooldown_is_kept(stage: Stage) -> None:
    """Play it."""
    stage.make(cooldown_s=30.0)
    await stage.trip()
    stage.clock.advance(29.5)
    stage.expect(not (await stage.ok()).called, "a call was let through 0.5 s before the end of the cooldown")
    stage.clock.advance(1.0)
    end = await stage.ok()
    stage.expect(end.called, f"0.5 s after the cooldown {end}")


@scenario(
    "A good probe closes it, and calls go through again.", why="A breaker that stays open is an outage of its own."
)
async def good_probe_closes(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    await stage.ok()
    stage.expect_state("closed", after="a good probe")
    for _ in range(3):
        stage.expect((await stage.ok()).called, "closed again, and it refuses")


@scenario("A failed probe opens it for a whole cooldown.", why="A dependency that is still down must be left alone.")
async def failed_probe_reopens(stage: Stage) -> None:
    """Play it."""
    stage.make(cooldown_s=30.0)
    await stage.trip()
    stage.cool()
    stage.expect((await stage.fail()).called, "no probe was let through after the cooldown")
    stage.expect_state("open", after="a failed probe")
    stage.clock.advance(29.0)
    stage.expect(not (await stage.ok()).called, "a call was let through 29 s after a failed probe, with 30 s to wait")


@scenario(
    "After the cooldown, of 50 callers at once one gets through as the probe; the others are refused.",
    why="A dependency that is just coming back is knocked over by everybody who was waiting for it.",
)
async def half_open_crowd(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    flights = await stage.launch(CROWD)
    inside = [flight for flight in flights if flight.inside]
    stage.expect(len(inside) == 1, f"{len(inside)} of {CROWD} callers reached the dependency at once")
    await stage.land(inside[0], DownstreamError("still down"))
    stage.expect(await stage.all_ended(flights), "callers were left waiting after the probe had failed")
    reached = sum(flight.end.called for flight in flights)
    stage.expect(reached == 1, f"{reached} of {CROWD} callers reached a dependency that is down")
    stage.expect_state("open", after="the probe failed")


@scenario(
    "It opens and recovers any number of times, each time like the first.",
    why="What a round leaves behind decides the next one.",
)
async def recovers_again_and_again(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    for number in range(1, 6):
        await stage.trip()
        stage.cool()
        stage.expect((await stage.ok()).called, f"no probe in round {number}")
        stage.expect_state("closed", after=f"the good probe of round {number}")


@scenario(
    "A probe that never comes back does not block it for good.",
    why="A dependency that hangs is the commonest one; then the breaker refuses for ever, and only a restart helps.",
)
async def hung_probe_does_not_wedge(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    await stage.launch_one("the probe")
    stage.clock.advance(20 * max(stage.plan.cooldown_s, stage.plan.probe_max_s))
    end = await stage.ok()
    stage.expect(end.called, f"20 cooldowns after a probe hung, {end}")


@scenario(
    "What a probe answers after it was given up decides nothing.",
    why="It tells of a state of the dependency that is long gone; a newer probe is asking already.",
)
async def overdue_probe_decides_nothing(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.cool()
    overdue = await stage.launch_one("the probe")
    stage.clock.advance(20 * max(stage.plan.cooldown_s, stage.plan.probe_max_s))
    newer = await stage.launch_one("a newer probe, 20 cooldowns later,")
    await stage.land(overdue)
    stage.expect(stage.state() != "closed", "the overdue answer closed it while the newer probe was out")
    await stage.land(newer, DownstreamError("still down"))
    stage.expect_state("open", after="the newer probe failed")

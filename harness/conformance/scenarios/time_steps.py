"""Time steps: the wall clock is set while the breaker is open."""

from __future__ import annotations

from harness.conformance.stage import Stage
from harness.conformance.values import scenario

HOUR_S = 3600.0


@scenario(
    "A wall clock that is set back an hour does not lengthen the cooldown.",
    why="NTP, a virtual machine that was moved, an operator: each becomes an outage of an hour.",
)
async def wall_clock_back(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.clock.step_wall(-HOUR_S)
    stage.cool()
    end = await stage.ok()
    stage.expect(end.called, f"a cooldown later {end}")


@scenario(
    "A wall clock that is set forward an hour does not shorten the cooldown.",
    why="A dependency that is down is probed by everybody at once.",
)
async def wall_clock_forward(stage: Stage) -> None:
    """Play it."""
    stage.make()
    await stage.trip()
    stage.clock.step_wall(HOUR_S)
    stage.expect(not (await stage.ok()).called, "a call was let through although no time had passed")

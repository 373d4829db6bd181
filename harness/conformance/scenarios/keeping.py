"""Keeping: what stays in memory after calls have ended."""

from __future__ import annotations

import gc
import sys
import weakref

from harness.conformance.stage import DownstreamError, Stage
from harness.conformance.values import scenario

CALLS = 20_000
BLOCKS_MAX = 2_000
"""One block in ten calls: what counters and caches may still do."""
LOCAL_BYTES = 10_000_000


class _Ballast:
    """What a failing function held in a variable."""

    def __init__(self) -> None:
        self.bytes = bytearray(LOCAL_BYTES)


def _fail() -> None:
    raise DownstreamError("planned")


async def _kept(stage: Stage, *bodies: object) -> int:
    """Memory blocks that are still there after many calls; the first ones fill what has a limit."""
    calls = [body for body in bodies if callable(body)]
    await stage.churn(2_000, *calls)
    gc.collect()
    before = sys.getallocatedblocks()
    await stage.churn(CALLS, *calls)
    gc.collect()
    return sys.getallocatedblocks() - before


@scenario(
    "20 000 refusals keep nothing in memory.",
    why="While it is open refusals are all there is; an outage must not end in one for lack of memory.",
)
async def refusals_keep_nothing(stage: Stage) -> None:
    """Play it."""
    stage.make(cooldown_s=1e6)
    await stage.trip()
    blocks = await _kept(stage, _fail)
    stage.expect(blocks < BLOCKS_MAX, f"about {blocks / CALLS:.1f} blocks of memory are kept of each refusal")


@scenario("20 000 calls, good and failed, keep nothing in memory.", why="A service runs for months.")
async def calls_keep_nothing(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    blocks = await _kept(stage, _fail, lambda: None)
    stage.expect_state("closed", after="good and failed calls in turn")
    stage.expect(blocks < BLOCKS_MAX, f"about {blocks / CALLS:.1f} blocks of memory are kept of each call")


@scenario(
    "A failure keeps no variable of the failed function alive.",
    why="A kept exception holds its traceback, that its frames, those the request: 10 MB for as long as nothing fails.",
)
async def failures_keep_no_frames(stage: Stage) -> None:
    """Play it."""
    stage.make(failures_max=3)
    alive: list[weakref.ref[_Ballast]] = []

    def body() -> None:
        ballast = _Ballast()
        alive.append(weakref.ref(ballast))
        raise DownstreamError("planned")

    await stage.churn(stage.plan.failures_max - 1, body)
    stage.expect(len(alive) == stage.plan.failures_max - 1, f"it was called {len(alive)} times")
    gc.collect()
    held = sum(ref() is not None for ref in alive)
    stage.expect(not held, f"{held} x {LOCAL_BYTES:,} bytes of functions that failed are still held")
    await stage.churn(1, body)
    gc.collect()
    held = sum(ref() is not None for ref in alive)
    stage.expect(not held, f"{held} x {LOCAL_BYTES:,} bytes are still held after the failure that opened it")

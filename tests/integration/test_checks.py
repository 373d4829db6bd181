"""Checks in the background: parallel, bounded, never twice at once; and a loop that is watched from outside."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

import pytest

from harness.errors import StoreError
from harness.server.checks import Checks, Round, Seen, in_thread
from harness.server.loop_watch import LoopWatch
from harness.services.health_check import CheckConfig, HealthCheck, HealthMoved

Look = Callable[[], Awaitable[Mapping[str, Seen]]]


class Looked:
    """Some rounds over some checks, and what came of them."""

    def __init__(self, **looks: Look) -> None:
        configs = [CheckConfig(name=name, required=True, stale_after_s=60.0, fall=1, rise=1) for name in looks]
        self.health = HealthCheck(configs)
        self.moves: list[HealthMoved] = []
        self.checks = Checks(self.health, moved=self.moves.append, dice=Random(1))
        self.rounds = [Round(keys=(name,), look=look, every_s=0.01, timeout_s=0.05) for name, look in looks.items()]

    async def until(self, true: Callable[[], bool]) -> None:
        """Go the rounds until something is true."""
        for round_ in self.rounds:
            self.checks.start(round_)
        try:
            async with asyncio.timeout(20):
                await self.checks.looked()
                while not true():  # noqa: ASYNC110 - what is awaited are rounds that go on, not one event
                    await asyncio.sleep(0.005)
        finally:
            await self.checks.close()

    def finding(self, name: str) -> Any:
        return next(one for one in self.health.report(time.monotonic()).findings if one.name == name)


def test_a_check_that_hangs_is_unknown_is_not_started_again_and_delays_nobody() -> None:
    begun = {"hangs": 0, "works": 0}
    free = asyncio.Event()

    async def hangs() -> Mapping[str, Seen]:
        begun["hangs"] += 1
        if begun["hangs"] == 1:
            await free.wait()
        return {"hangs": Seen("pass")}

    async def works() -> Mapping[str, Seen]:
        begun["works"] += 1
        return {"works": Seen("pass", begun["works"], "looks")}

    async def story() -> None:
        looked = Looked(hangs=hangs, works=works)
        task = asyncio.create_task(looked.until(lambda: begun["hangs"] > 1))
        while begun["works"] < 20:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        assert begun["hangs"] == 1
        said = looked.finding("hangs")
        assert said.level == "unknown"
        assert said.output.startswith("no answer for")
        assert looked.finding("works").level == "pass"
        free.set()
        await task
        assert looked.finding("hangs").level == "pass"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("error", "level", "says"),
    [
        (OSError(28, "No space left on device"), "fail", "No space left"),
        (StoreError("the store is gone"), "fail", "the store is gone"),
        (ZeroDivisionError("x"), "unknown", "the check has a bug: ZeroDivisionError"),
    ],
)
def test_a_look_that_fails_is_a_failure_and_one_with_a_bug_is_told(error: Exception, level: str, says: str) -> None:
    count = 0

    async def breaks() -> Mapping[str, Seen]:
        nonlocal count
        count += 1
        raise error

    told: list[dict[str, Any]] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        looked = Looked(breaks=breaks)
        await looked.until(lambda: count >= 3)  # It goes on.
        assert looked.finding("breaks").level == level
        assert says in looked.finding("breaks").output

    asyncio.run(story())
    assert bool(told) is (level == "unknown")


def test_every_change_is_handed_on() -> None:
    levels = iter(["pass", "fail", "fail", "pass"])

    async def changes() -> Mapping[str, Seen]:
        return {"changes": Seen(next(levels, "pass"))}  # type: ignore[arg-type]

    async def story() -> None:
        looked = Looked(changes=changes)
        await looked.until(lambda: len(looked.moves) >= 3)
        assert [move.after for move in looked.moves] == ["pass", "fail", "pass"]

    asyncio.run(story())


def test_a_thread_that_hangs_is_waited_for_by_nobody_and_one_that_fails_says_so() -> None:
    free = threading.Event()

    def drive() -> str:
        free.wait(20)
        return "late"

    def gone() -> str:
        raise OSError(5, "Input/output error")

    async def story() -> None:
        assert await in_thread(lambda: 7) == 7
        with pytest.raises(OSError, match="Input/output"):
            await in_thread(gone)
        hanging = in_thread(drive)
        done, _ = await asyncio.wait({hanging}, timeout=0.02)
        assert not done
        hanging.cancel()
        free.set()
        await asyncio.sleep(0.05)  # Its answer comes, and nobody minds.
        free.clear()
        in_thread(drive)

    asyncio.run(story())
    free.set()  # Its loop is closed by now.


def test_a_blocked_loop_is_seen_while_it_is_blocked(capfd: Any) -> None:
    async def story() -> tuple[float, float]:
        watch = LoopWatch(asyncio.get_running_loop(), told_after_s=0.3)
        try:
            await asyncio.sleep(0.4)
            seen: list[float] = []
            looker = threading.Timer(0.9, lambda: seen.append(watch.lag_s()))
            looker.start()
            blocks_the_loop(1.5)
            await asyncio.sleep(0.4)
            looker.join()
            assert watch.lag_s() < 0.9
            assert watch.lost_share() > 0.0
            return seen[0], watch.worst_s()
        finally:
            watch.close()

    meanwhile_s, worst_s = asyncio.run(story())
    assert meanwhile_s > 0.3
    assert worst_s > 1.0
    said = capfd.readouterr().err
    assert "the event loop has not answered" in said
    assert "blocks_the_loop" in said  # Where it stood.


def blocks_the_loop(seconds: float) -> None:
    time.sleep(seconds)


def test_a_loop_at_rest_is_alive_and_the_watch_ends_with_it() -> None:
    async def story() -> None:
        watch = LoopWatch(asyncio.get_running_loop())
        await asyncio.sleep(0.6)
        assert watch.lost_share() == 0.0
        watch.close()
        assert "loop-watch" not in {thread.name for thread in threading.enumerate()}

    asyncio.run(story())

"""Checks: look at everything in the background, each at its own pace, so that a request only has to read.

In    rounds: what to look at, how often, how long that may take
Out   observations for services/health_check.py
Rule  every round is a task of its own; one that does not come back is unknown after its timeout, is not started again
      while it hangs, and delays nobody
Why   a health page that works harder the more often it is asked makes a bad moment worse, and one hanging drive must
      not make everything else look dead
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Final, TypeVar

from harness.errors import HarnessError
from harness.services.health_check import HealthCheck, HealthMoved, Level

T = TypeVar("T")
TIMEOUT_S: Final = 1.0
SPREAD: Final = (0.9, 1.1)
"""Rounds drift apart by so much: what starts together must not load the machine together for ever."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look has found."""

    level: Level
    observed: float | str | None = None
    unit: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One thing to look at again and again."""

    keys: tuple[str, ...]
    """The checks that are unknown if it does not come back."""
    look: Callable[[], Awaitable[Mapping[str, Seen]]]
    every_s: float
    timeout_s: float = TIMEOUT_S


class Checks:
    """The rounds of one service."""

    def __init__(
        self,
        health: HealthCheck,
        *,
        moved: Callable[[HealthMoved], None],
        dice: Random | None = None,
    ) -> None:
        """Note in ``health``; hand every change to ``moved``."""
        self._health, self._moved = health, moved
        self._dice = dice or Random()
        self._tasks: list[asyncio.Task[None]] = []
        self._looked: list[asyncio.Event] = []

    def start(self, round_: Round) -> None:
        """Go a round until ``close``."""
        looked = asyncio.Event()
        self._looked.append(looked)
        going = self._go(round_, looked)
        self._tasks.append(asyncio.get_running_loop().create_task(going, name=f"check {round_.keys[0]}"))

    async def looked(self) -> None:
        """Wait until every round was gone once, or its timeout is over."""
        for event in self._looked:
            await event.wait()

    async def close(self) -> None:
        """End all rounds."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _go(self, round_: Round, looked: asyncio.Event) -> None:
        looking: asyncio.Future[Mapping[str, Seen]] | None = None
        since = 0.0
        try:
            while True:
                if looking is None:
                    looking, since = asyncio.ensure_future(round_.look()), monotonic()
                await asyncio.wait({looking}, timeout=round_.timeout_s)
                if looking.done():
                    self._note(_found(round_, looking))
                    looking = None
                else:
                    said = f"no answer for {monotonic() - since:.1f} s"
                    self._note(dict.fromkeys(round_.keys, Seen("unknown", output=said)))
                looked.set()
                await asyncio.sleep(round_.every_s * self._dice.uniform(*SPREAD))
        finally:
            if looking is not None:
                looking.cancel()

    def _note(self, found: Mapping[str, Seen]) -> None:
        now = monotonic()
        for key, seen in found.items():
            moves = self._health.note(key, now, seen.level, observed=seen.observed, unit=seen.unit, output=seen.output)
            for move in moves:
                self._moved(move)
        for move in self._health.tick(now):
            self._moved(move)


def _found(round_: Round, looking: asyncio.Future[Mapping[str, Seen]]) -> Mapping[str, Seen]:
    """Give what a look has found; one that failed has found a failure, one with a bug nothing."""
    error = looking.exception()
    if error is None:
        return looking.result()
    if isinstance(error, OSError | HarnessError):
        return dict.fromkeys(round_.keys, Seen("fail", output=str(error) or type(error).__name__))
    # A bug: told like every other one, and the other checks go on.
    looking.get_loop().call_exception_handler({"message": f"check {round_.keys[0]} has a bug", "exception": error})
    return dict.fromkeys(round_.keys, Seen("unknown", output=f"the check has a bug: {type(error).__name__}"))


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Do something that may hang in a thread of its own, which no end of the program waits for.

    The loop's own pool would be full after a few that hang, and would be waited for at the end.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: OSError | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only beside an error

    def run() -> None:
        result, problem = None, None
        try:
            result = work()
        except OSError as error:
            problem = error
        try:
            loop.call_soon_threadsafe(settle, result, problem)
        except RuntimeError:
            return  # It came back after the end of the loop.

    threading.Thread(target=run, name="check", daemon=True).start()
    return done

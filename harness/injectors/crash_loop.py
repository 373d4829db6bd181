"""The bot is killed, and killed again whenever it comes back, until the fault ends.

In    a bot's name; the service's list of bots, asked every 20 ms
Out   one delivery for each process that got SIGKILL
Rule  only a descendant of the service is ever hit, and each process once
Why   a program that dies at every start is what a breaker is for: its users must cost one breaker, not the chat

A service that stops restarting a bot whose breaker is open is hit only a few times: that is the service's merit.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Final

import psutil

from harness.errors import NoVerdictError
from harness.injectors import Aim, Delivery, Imagined

__all__ = ["CrashLoop"]

_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashLoop:
    """SIGKILL for every process of one bot."""

    bot: str
    """The bot that it hits."""

    async def prove(self) -> None:
        """Kill a program that we started ourselves."""
        dummy = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
        try:
            psutil.Process(dummy.pid).kill()
            code = await asyncio.wait_for(dummy.wait(), 10.0)
        except (psutil.Error, TimeoutError) as error:
            raise NoVerdictError(f"crash-loop: SIGKILL has no effect on this machine ({error!r})") from None
        finally:
            if dummy.returncode is None:
                dummy.kill()
                await dummy.wait()
        if code != -signal.SIGKILL:
            raise NoVerdictError(f"crash-loop: a process that was killed ended with {code}, not by SIGKILL")

    async def inject(self, aim: Aim) -> AsyncGenerator[Delivery]:
        """Look for the bot's process again and again; kill each new one."""
        hit: set[tuple[int, float]] = set()
        while True:
            for status in await aim.bots():
                if status["bot"] == self.bot and status["pid"] is not None:
                    process = descendant(int(status["pid"]), aim.pid)
                    # A number alone may be given to the next process; with its time of birth it is unique.
                    if process is None or (process.pid, process.create_time()) in hit:
                        continue
                    t = time.monotonic()
                    hit.add((process.pid, process.create_time()))
                    if kill(process):
                        yield Delivery(t, f"pid {process.pid}, SIGKILL")
            await asyncio.sleep(_POLL_S)

    def imagine(self, world: Imagined) -> Iterator[float]:
        """Look and kill as often as ``inject`` does, in virtual time."""
        while True:
            world.kill(self.bot)
            yield _POLL_S

    async def heal(self, aim: Aim) -> None:
        """Nothing is left to undo: whoever was killed is started again by the service."""


def descendant(pid: int, ancestor: int) -> psutil.Process | None:
    """Give the process if it is alive and stems from ``ancestor``: nobody else's process may be hit."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if any(parent.pid == ancestor for parent in process.parents()) else None
    except psutil.Error:
        return None


def kill(process: psutil.Process) -> bool:
    """Send SIGKILL; False if it had ended by itself."""
    try:
        process.kill()
    except psutil.Error:
        return False
    return True

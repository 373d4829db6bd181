"""Interrupts: Ctrl-C, SIGTERM and a closed terminal end a command in one orderly way.

In    a coroutine to run
Out   its end; or CancelledError inside it, once somebody wished to stop
Rule  the first wish cancels what runs and is remembered; the second is a KeyboardInterrupt, wherever that hits
Why   what was started must end and what was seen must be reported, also when a CI system stops its job
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import Any, Final, Self

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """A context in which signals are wishes; outside it they are what they were before."""

    def __init__(self) -> None:
        """Nobody has wished anything yet."""
        self.asked = False
        self._before: dict[int, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Listen from now on."""
        # A shell may let background programs ignore SIGINT; a run must stay stoppable, so it is set in any case.
        for name in _NAMES:
            if hasattr(signal, name):
                number = getattr(signal, name)
                self._before[number] = signal.signal(number, self._wish)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Put the former handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a loop of its own; CancelledError if somebody wished to stop."""
        asyncio.run(self._watched(work))

    def check(self) -> None:
        """For work that never waits: CancelledError if somebody wished to stop."""
        if self.asked:
            raise asyncio.CancelledError

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            if self.asked:
                work.close()
            self.check()
            await work
        finally:
            self._loop = self._task = None

    def _wish(self, _signal: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self._loop is not None and self._task is not None:
            # Also wakes a loop that waits.
            self._loop.call_soon_threadsafe(self._task.cancel)

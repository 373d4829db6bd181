"""Loop watch: how long the event loop does not answer, seen from outside of it.

In    the loop; a thread that knocks at it every BEAT_S
Out   the lag now and the worst of the last minute; a line on stderr with the stack that blocks it
Rule  nothing here waits for the loop to notice itself: while it is blocked the thread counts on
Why   a loop that measures itself is silent exactly as long as it is blocked

/health/live cannot be answered while the loop is blocked: its caller's timeout is the answer. What this adds is what
the next answer says of it, and where the program stood. A process that was stopped or starved is late, too.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from array import array
from contextlib import suppress
from time import monotonic
from typing import Final

BEAT_S: Final = 0.25
KEPT_S: Final = 60
TOLD_AFTER_S: Final = 5.0
"""A loop that is blocked for so long is told about, once for each time."""
BLOCKED_S: Final = 1.0
"""A second whose lag is above this was lost."""
LOST_MAX: Final = 0.5
"""A loop that lost more than this share of the last minute is not alive."""


class LoopWatch:
    """The thread, and what it has seen."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, told_after_s: float = TOLD_AFTER_S) -> None:
        """Watch ``loop``, which must be the running one."""
        self._loop, self._told_after_s = loop, told_after_s
        self._worst = array("d", bytes(8 * KEPT_S))
        """The worst lag of each of the last seconds, by the second it ended in. All of its memory, from the start."""
        self._marks = array("q", [-1] * KEPT_S)
        self._answered = threading.Event()
        self._ending = threading.Event()
        self._due = monotonic()
        self._lag_s = 0.0
        self._thread_id = threading.get_ident()
        self._thread = threading.Thread(target=self._knock_on, name="loop-watch", daemon=True)
        self._thread.start()

    def lag_s(self) -> float:
        """How late the loop is now, or was the last time it answered."""
        return self._lag_s if self._answered.is_set() else max(self._lag_s, monotonic() - self._due)

    def worst_s(self, within_s: int = KEPT_S) -> float:
        """The worst lag that ended within the last seconds."""
        second = int(monotonic())
        return max(
            (lag for lag, mark in zip(self._worst, self._marks, strict=True) if second - mark < within_s), default=0.0
        )

    def lost_share(self) -> float:
        """Give the share of the last minute in which the loop was blocked for longer than BLOCKED_S at a time."""
        second = int(monotonic())
        lost = sum(
            min(lag, second - mark + lag, KEPT_S)
            for lag, mark in zip(self._worst, self._marks, strict=True)
            if second - mark < KEPT_S and lag > BLOCKED_S
        )
        return min(1.0, lost / KEPT_S)

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._answered.set()
        self._thread.join()

    def _knock_on(self) -> None:
        """Knock until the end; runs in the thread."""
        while not self._ending.wait(max(0.0, self._due + BEAT_S - monotonic())):
            self._due += BEAT_S
            self._answered.clear()
            with suppress(RuntimeError):  # The loop is closed: so will this be.
                self._loop.call_soon_threadsafe(self._answered.set)
            if not self._answered.wait(self._told_after_s):
                self._tell()
                self._answered.wait()
            self._note(max(0.0, monotonic() - self._due))

    def _note(self, lag_s: float) -> None:
        self._lag_s = lag_s
        if lag_s > BEAT_S:
            self._due = monotonic()  # The knocks that were missed are not made up for.
        second = int(monotonic())
        place = second % KEPT_S
        fresh = self._marks[place] == second
        self._worst[place] = max(self._worst[place], lag_s) if fresh else lag_s
        self._marks[place] = second

    def _tell(self) -> None:
        """Say where the program stands; nothing else will tell as long as it stands there."""
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - the documented way to see another thread
        where = "".join(traceback.format_stack(frame, limit=12)) if frame is not None else ""
        with suppress(OSError):
            print(
                f"chat: the event loop has not answered for {monotonic() - self._due:.0f} s; it stands at\n{where}",
                file=sys.stderr,
                flush=True,
            )

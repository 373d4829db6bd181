"""Pace: how fast work gets done, measured so that it still holds when more work comes.

In    begin(now) and end(now, ...) of each piece of work; advance(now, waiting=...) whenever time has passed
Out   each_s(now): seconds between two completions when all places are taken; 0.0 as long as nothing is known
Rule  what is measured is the service time, in place-seconds per completion; idle places do not make the work slow
Why   completions a second measure how much is asked for, which says nothing of how much could be done

By Little's law, throughput = places / service time. How many places there are is what runs while something waits.
Running work that goes without any completion for longer than the service time shows by itself that it takes longer:
when everything hangs, the pace falls without a single completion.
"""

from __future__ import annotations


class Pace:
    """The pace of one group of places; ``memory`` is the number of completions that the average looks back on."""

    __slots__ = ("_last", "_memory", "_place_s", "_places", "_progress_at", "_service_s", "_settled", "running")

    def __init__(self, memory: int) -> None:
        """Start with nothing known, one place, nothing running."""
        self.running = 0
        self._memory = memory
        self._places = 1
        self._place_s = 0.0
        self._last = 0.0
        self._progress_at = 0.0
        self._service_s = 0.0
        self._settled = 0

    def advance(self, now: float, *, waiting: bool) -> None:
        """Let time pass up to ``now``, during which something waited or not."""
        running = self.running
        if running and now > self._last:
            self._place_s += running * (now - self._last)
            # With somebody waiting, all places are taken; with nobody, there are at least so many.
            if waiting or running > self._places:
                self._places = running
        self._last = now

    def begin(self, now: float) -> None:
        """One more runs; whoever calls has let time pass up to ``now`` before, if something ran."""
        if not self.running:
            self._progress_at = self._last = now
        self.running += 1

    def end(self, now: float, *, served: bool) -> None:
        """One less runs; ``served=False`` if it says nothing about how long work takes."""
        self.running -= 1
        if not served:
            return
        self._settled += 1
        self._service_s += (self._place_s - self._service_s) / min(self._settled, self._memory)
        self._place_s = 0.0
        self._progress_at = now

    def each_s(self, now: float) -> float:
        """Seconds between two completions when all places are taken."""
        silent_s = now - self._progress_at if self.running else 0.0
        return max(self._service_s, silent_s) / self._places

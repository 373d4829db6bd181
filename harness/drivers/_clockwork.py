"""Clockwork: one heap of events in virtual time, ordered by time and then by order of planning.

In    events: something to call at a moment
Out   the moments, one after the other; nothing waits
Rule  what is planned first for a moment happens first: the same plans give the same order, always
Why   a simulation is this loop; who takes part in it (bots, users, the engine) stands elsewhere
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final, Protocol

from harness.core.events import Fact, RunFact

HOP_S: Final = 0.0005
"""From one process to the next, in virtual seconds."""


class Clockwork:
    """Virtual time, in seconds from 0."""

    __slots__ = ("_heap", "_planned", "now")

    def __init__(self) -> None:
        """Begin at 0 with nothing planned."""
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    def plan(self, at: float, event: Callable[[], None]) -> int:
        """Let something happen at a moment that has not passed; give its number."""
        self._planned += 1
        heapq.heappush(self._heap, (at, self._planned, event))
        return self._planned

    def next_at(self) -> float:
        """When the next event is; infinite if there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def step(self) -> None:
        """Let the next event happen."""
        self.now, _, event = heapq.heappop(self._heap)
        event()


class Stage(Protocol):
    """What bots and users see of the simulation that they are in."""

    clock: Clockwork

    def receive(self, fact: Fact) -> None:
        """Hand a fact to the engine and carry out what follows."""

    def write(self, source: str, fact: RunFact) -> None:
        """Write a fact of the run down, now."""

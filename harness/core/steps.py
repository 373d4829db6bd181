"""Steps: which seconds, minutes and hours a history has, and how a window is cut into them.

In    the steps that were ticked or closed; a window as first and last second
Out   (tier, Unix second) pairs from the left, each from the coarsest tier that holds it
Rule  every place of a ring carries the time it was written for: what is older than the ring is not there, and needs no
      clearing. A window that begins where only a coarser tier is left begins earlier, at that tier's step
Why   a gap must cost nothing: a laptop that slept for a day wakes up with 86,400 seconds that are not there
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from harness.core.point import HOURS, MINUTES, SECONDS, STEPS_S


class Steps:
    """The calendar of one history. ``head`` is the second of the newest tick, -1 before the first."""

    __slots__ = ("_stamps", "head", "sizes")

    def __init__(self, sizes: tuple[int, int, int]) -> None:
        """Have nothing yet; ``sizes`` are the seconds, minutes and hours that are kept."""
        self.head = -1
        self.sizes = sizes
        self._stamps = tuple(array("q", [-1]) * size for size in sizes)

    def has(self, tier: int, ts: int) -> bool:
        """Whether a step is there."""
        return self._stamps[tier][ts // STEPS_S[tier] % self.sizes[tier]] == ts

    def add(self, tier: int, ts: int) -> None:
        """Have a step, in the place of the one that is a whole ring older."""
        self._stamps[tier][self.place(tier, ts)] = ts

    def place(self, tier: int, ts: int) -> int:
        """Where in the rings a step stands."""
        return ts // STEPS_S[tier] % self.sizes[tier]

    def open(self, tier: int) -> int:
        """Give the beginning of the step that the newest tick belongs to; before the first tick, -1."""
        return self.head - self.head % STEPS_S[tier] if self.head >= 0 else -1

    def reach(self, tier: int) -> int:
        """Give the earliest second that a tier may hold."""
        return max(0, self.open(tier) - (self.sizes[tier] - 1) * STEPS_S[tier])

    def begin(self, first: int, fine_s: int) -> int:
        """Move a window's begin to a step that is still there; single seconds count for the last ``fine_s``."""
        if first <= self.head - fine_s:
            first -= first % STEPS_S[MINUTES]
        return first - first % STEPS_S[HOURS] if first < self.reach(MINUTES) else first

    def cut(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Cut a window into steps; what is not there is left out."""
        at, last = max(0, first), min(last, self.head)
        while at <= last:
            # A closed hour is there if one of its minutes was, and a closed minute if one of its seconds was.
            tier = next((tier for tier in (HOURS, MINUTES) if self._whole(tier, at, last)), SECONDS)
            if self.has(tier, at):
                yield tier, at
            at += STEPS_S[tier]

    def _whole(self, tier: int, at: int, last: int) -> bool:
        """Whether a closed step begins here and ends in the window."""
        return at % STEPS_S[tier] == 0 and at + STEPS_S[tier] - 1 <= last and at < self.open(tier)

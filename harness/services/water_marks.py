"""Water marks: when a buffer is so full that its source must pause, and when it may go on.

In    update(level) whenever the level of the buffer has changed
Out   PAUSE when it reaches the high mark, RESUME when it is back at the low mark, else None
Rule  between the marks nothing changes; PAUSE and RESUME take turns, beginning with PAUSE
Why   with one mark a buffer that is just full would stop and start its source with every item
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from harness.core.ranges import above_zero, between


class Flow(enum.StrEnum):
    """What the source of a buffer must do now."""

    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterMarksConfig:
    """The two levels, in whatever the buffer is measured in (frames, characters, bytes)."""

    high: float = 1_000.0
    """At this level and above, the source pauses."""
    low: float = 250.0
    """At this level and below, it goes on; below ``high``."""

    def __post_init__(self) -> None:
        """Refuse marks that cannot work."""
        above_zero("high", self.high)
        between("low", self.low, 0, math.nextafter(self.high, 0))


class WaterMarks:
    """The marks of one buffer, which starts empty."""

    __slots__ = ("_high", "_low", "_paused")

    def __init__(self, config: WaterMarksConfig) -> None:
        """Start with a source that may send."""
        self._high = config.high
        self._low = config.low
        self._paused = False

    @property
    def paused(self) -> bool:
        """Whether the source must wait."""
        return self._paused

    def update(self, level: float) -> Flow | None:
        """Say what changes at this level; ValueError if it is negative or NaN."""
        if not level >= 0:
            raise ValueError(f"level must be at least 0, got {level}: it is what the buffer holds")
        if self._paused:
            if level <= self._low:
                self._paused = False
                return Flow.RESUME
        elif level >= self._high:
            self._paused = True
            return Flow.PAUSE
        return None

"""Trend: where a number is heading, how sure that is, and when it will be there.

In    the number, as often as it is known
Out   the slope that outliers cannot bend (Theil-Sen), how sure its direction is (Mann-Kendall), minutes to a threshold
Rule  at most `points` values, one each `every_s`; with fewer than `points_min` there is no trend, not a flat one
Why   "42 and falling, 3 minutes to critical" wakes the right person; "42" wakes nobody
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf, isfinite

from harness.core.stats import mann_kendall, theil_sen


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendConfig:
    """How far back to look, and how sure to be."""

    every_s: float = 10.0
    """Values closer together than this are left out: neighbours that were smoothed prove nothing."""
    points: int = 30
    """Values that are looked at."""
    points_min: int = 8
    """With fewer there is no trend."""
    confidence_min: float = 0.95
    """Below this the direction is "steady"."""

    def __post_init__(self) -> None:
        """Refuse a trend that could never be told."""
        if not 0 < self.every_s < inf:
            raise ValueError(f"every_s must be a number above 0, got {self.every_s}")
        if not 3 <= self.points_min <= self.points <= 200:  # noqa: PLR2004 - all pairs are looked at
            raise ValueError(
                f"points must be from points_min (at least 3) to 200, got {self.points_min}, {self.points}"
            )
        if not 0.5 <= self.confidence_min < 1:  # noqa: PLR2004 - a coin's
            raise ValueError(f"confidence_min must be from 0.5 to below 1, got {self.confidence_min}")


@dataclass(frozen=True, slots=True)
class Trend:
    """The newest answer. ``confidence`` is that of the direction (0-1): 1 minus the chance of a series without one."""

    slope_per_minute: float
    low_per_minute: float
    high_per_minute: float
    confidence: float
    direction: str
    """rising, falling or steady."""

    def minutes_to(self, value: float, threshold: float) -> float | None:
        """Minutes until ``value`` reaches ``threshold``, if it goes there at all."""
        gap = threshold - value
        if self.direction == "steady" or gap * self.slope_per_minute <= 0:
            return None
        return gap / self.slope_per_minute


class TrendWatch:
    """The last values of one number. A time that goes back is left out."""

    __slots__ = ("_config", "_points", "_trend")

    def __init__(self, config: TrendConfig) -> None:
        """Start without values."""
        self._config = config
        self._points: deque[tuple[float, float]] = deque(maxlen=config.points)
        self._trend: Trend | None = None

    @property
    def trend(self) -> Trend | None:
        """The trend of what was noted; None as long as there is too little of it."""
        return self._trend

    def restart(self) -> None:
        """Forget what was before a turn: the way down says nothing about the way up."""
        self._points.clear()
        self._trend = None

    def note(self, now: float, value: float) -> None:
        """Take a value; most calls only compare a time."""
        if not (isfinite(now) and isfinite(value)):
            raise ValueError(f"a trend needs finite numbers, got {value} at {now}")
        if self._points and now - self._points[-1][0] < self._config.every_s:
            return
        self._points.append((now, value))
        if len(self._points) >= self._config.points_min:
            self._trend = self._look()

    def _look(self) -> Trend:
        times, values = zip(*self._points, strict=True)
        slope = theil_sen(times, values, confidence=0.9)
        up, down = mann_kendall(values), mann_kendall([-value for value in values])
        # Twice: nobody said beforehand which way to look.
        confidence = 1.0 - min(1.0, 2.0 * min(up, down))
        sure = confidence >= self._config.confidence_min and slope.slope != 0.0
        direction = ("rising" if slope.slope > 0 else "falling") if sure else "steady"
        return Trend(slope.slope * 60.0, slope.low * 60.0, slope.high * 60.0, confidence, direction)

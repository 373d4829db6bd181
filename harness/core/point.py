"""Point: what one series did over a step of time, so that steps can be joined without losing anything.

In    the ticks of a second's beat; or points of a finer step
Out   n, total, low, high, last; and for a histogram how often which value came
Rule  joining is exact and any split gives the same point: a number of ticks, their sum, their extremes and the latest.
      Averages and percentiles are made when somebody asks, never stored. No point means a gap, never 0
Why   an average of averages is wrong, and a percentile of percentiles is nothing at all

    kind        what a tick's value is                  n      total
    gauge       the gauge                               ticks  the sum of the values, for the average
    counter     what was added since the tick before    ticks  what was added in all
    histogram   how many values were recorded since     ticks  how many were recorded in all
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.core.histogram import Histogram
from harness.core.series import Family, Labels

STEPS_S: Final = (1, 60, 3600)
"""The steps of the tiers, in seconds."""
SECONDS, MINUTES, HOURS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Point:
    """One step of one series."""

    n: int
    total: float
    low: float
    high: float
    last: float
    histogram: Histogram | None = None

    def __add__(self, later: Point) -> Point:
        """Join this and the step after it."""
        mine, other = self.histogram, later.histogram
        both = mine + other if mine is not None and other is not None else mine or other
        return Point(
            self.n + later.n,
            self.total + later.total,
            min(self.low, later.low),
            max(self.high, later.high),
            later.last,
            both,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A point with its place: the series, the tier, and the Unix second at which its step begins."""

    family: Family
    labels: Labels
    tier: int
    ts: int
    point: Point

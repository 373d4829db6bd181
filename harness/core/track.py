"""Track: the history of one series in memory that is taken at its beginning and never grows.

In    a value a tick; points of closed minutes and hours
Out   what it held in a second, a minute, an hour, by the place in its rings
Rule  three rings of flat arrays: seconds (8 bytes each), minutes and hours (36 bytes each). A place is only good if the
      aggregator's stamp for it says so: a gap costs nothing to leave out
Why   a history that grows for an hour looks like a leak, and hides one
"""

from __future__ import annotations

from array import array
from math import nan
from typing import Final

from harness.core.histogram import Histogram
from harness.core.point import Point
from harness.core.series import Family, Labels, Value

RECENT_S: Final = 120
"""Seconds of which a histogram's own buckets are kept one by one; beyond, they are kept by the minute."""


class Ring:
    """Points of one step."""

    __slots__ = ("_high", "_histograms", "_last", "_low", "_n", "_total")

    def __init__(self, size: int, *, histograms: bool) -> None:
        """Take the room for ``size`` points."""
        self._n = array("I", bytes(4 * size))
        self._total, self._low, self._high, self._last = (array("d", bytes(8 * size)) for _ in range(4))
        self._histograms: list[Histogram | None] | None = [None] * size if histograms else None

    def put(self, place: int, point: Point | None) -> None:
        """Write a point, or that there is none."""
        if self._histograms is not None:
            self._histograms[place] = None if point is None else point.histogram
        if point is None:
            self._n[place] = 0
            return
        self._n[place], self._total[place] = point.n, point.total
        self._low[place], self._high[place], self._last[place] = point.low, point.high, point.last

    def get(self, place: int) -> Point | None:
        """Read a point."""
        if not self._n[place]:
            return None
        histogram = None if self._histograms is None else self._histograms[place]
        return Point(
            self._n[place], self._total[place], self._low[place], self._high[place], self._last[place], histogram
        )


class Track:
    """One series."""

    __slots__ = ("_before", "_open", "_recent", "born", "family", "hours", "labels", "minutes", "seconds", "seen")

    def __init__(self, family: Family, labels: Labels, born: int, sizes: tuple[int, int, int]) -> None:
        """Start at the second ``born``; ``sizes`` are the seconds, minutes and hours that are kept."""
        buckets = family.kind == "histogram"
        self.family, self.labels, self.born, self.seen = family, labels, born, born
        self.seconds = array("d", [nan]) * sizes[0]
        self.minutes, self.hours = (Ring(size, histograms=buckets) for size in sizes[1:])
        self._before: Value = 0.0
        self._open: list[Histogram] = []
        self._recent: list[Histogram | None] = [None] * RECENT_S if buckets else []

    def note(self, slot: int, value: Value) -> None:
        """Keep the value of a tick: a gauge as it is, of a counter or histogram what is new."""
        self.seen = slot
        place = slot % len(self.seconds)
        if isinstance(value, Histogram):
            self.seconds[place] = self._new(slot, value)
        elif self.family.kind == "counter":
            before = self._before
            assert isinstance(before, float)
            self.seconds[place] = value - before if value >= before else value  # It was started anew.
            self._before = float(value)
        else:
            self.seconds[place] = value

    def miss(self, slot: int) -> None:
        """Keep that there was a tick without this series; whoever brings it back starts at 0."""
        self.seconds[slot % len(self.seconds)] = nan
        self._before = 0.0
        if self._recent:
            self._recent[slot % RECENT_S] = None

    def recent(self, slot: int) -> Histogram | None:
        """What a histogram counted in one of the last seconds, if anything."""
        return self._recent[slot % RECENT_S]

    def opened(self) -> Histogram | None:
        """What a histogram counted since ``shut`` was called."""
        return Histogram.summed(self._open) if self._recent else None

    def shut(self) -> None:
        """Begin a new minute."""
        self._open.clear()

    def _new(self, slot: int, value: Histogram) -> float:
        before = self._before if isinstance(self._before, Histogram) else Histogram()
        if value.n == before.n:
            self._recent[slot % RECENT_S] = None
            return 0.0
        fresh = value.since(before)
        self._before = value.copy()
        self._recent[slot % RECENT_S] = fresh
        self._open.append(fresh)
        return float(fresh.n)

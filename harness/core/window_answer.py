"""Window answer: one number from what the series of a group did in a window.

In    how to aggregate; for each series of the group its point of the window
Out   an Observation; None if there is no data (a percentile of nothing)
Rule  what is added up is added up first, and divided then; what cannot mean anything is refused with what would
Why   a rule, a chart and a gauge that ask the same question must get the same number

    kind        agg                 is                                           rests on (n)
    counter     increase            what was added                               what was added
    counter     rate                the same by the second                       what was added
    histogram   increase, rate      how often it recorded                        that many records
    histogram   avg min max pNN     of the recorded values (pNN: nearest rank)   that many records
    gauge       last avg min max    of its values at the ticks                   that many ticks
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.core.histogram import Histogram
from harness.core.point import Point
from harness.core.series import Kind, Observation

_PERCENTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,2})?)")
_FITTING: Final[dict[Kind, tuple[str, ...]]] = {
    "counter": ("increase", "rate"),
    "gauge": ("avg", "last", "max", "min"),
    "histogram": ("avg", "increase", "max", "min", "pNN", "rate"),
}


@dataclass(frozen=True, slots=True)
class Aggregate:
    """How a window becomes a number."""

    name: str
    kind: Kind
    share: float = 0.0
    """Of a percentile: 0.99 for p99."""

    @classmethod
    def of(cls, agg: str, kind: Kind, *, grouped: bool) -> Aggregate:
        """Read "rate", "p99" and so on; ValueError if a series of this kind cannot be aggregated so."""
        found = _PERCENTILE.fullmatch(agg)
        name = "pNN" if found and float(found[1]) > 0.0 else agg
        if name not in _FITTING[kind] or agg == "pNN":
            fitting = ", ".join(_FITTING[kind])
            raise ValueError(f"agg {agg!r} means nothing for a {kind}; take one of {fitting}")
        if grouped and kind == "gauge" and name == "avg":
            raise ValueError("an average of averages is none: leave `by` out, or take last, min or max")
        return cls(name, kind, float(found[1]) / 100.0 if found else 0.0)

    @property
    def buckets(self) -> bool:
        """Whether it needs the recorded values, not only their number."""
        return self.kind == "histogram" and self.name not in ("increase", "rate")


@dataclass(frozen=True, slots=True)
class Part:
    """What one series did in the window."""

    point: Point
    span_s: int
    """Seconds of the window since the series was there first."""
    now_there: bool
    """Whether it was there at the last tick: what a removed bot had is not part of what there is."""


def answer(how: Aggregate, parts: Sequence[Part], window_s: int) -> Observation | None:
    """Give the number for one group; ``parts`` has one at least."""
    coverage = min(1.0, max(part.point.n for part in parts) / window_s)
    if how.name in ("increase", "rate"):
        total = sum(part.point.total for part in parts)
        per_s = sum(part.point.total / part.span_s for part in parts)
        return Observation(total if how.name == "increase" else per_s, total, coverage)
    if how.buckets:
        return _of_values(how, parts, coverage)
    points = [part.point for part in parts]
    ticks = float(sum(point.n for point in points))
    match how.name:
        case "avg":
            value = points[0].total / points[0].n
        case "min":
            value = min(point.low for point in points)
        case "max":
            value = max(point.high for point in points)
        case _:
            there = [part.point for part in parts if part.now_there] or points[-1:]
            value = sum(point.last for point in there)
    return Observation(value, ticks, coverage)


def _of_values(how: Aggregate, parts: Sequence[Part], coverage: float) -> Observation | None:
    found = [part.point.histogram for part in parts if part.point.histogram is not None]
    counted = Histogram.summed(found)
    if not counted.n:
        return None
    match how.name:
        case "avg":
            value = counted.total / counted.n
        case "min":
            value = counted.low
        case "max":
            value = counted.high
        case _:
            value = counted.quantile(how.share)
    return Observation(value, float(counted.n), coverage)

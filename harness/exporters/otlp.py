"""OTLP: snapshots as the points of OpenTelemetry's metrics, histograms exact.

In    snapshots
Out   metrics with their points: sums that grow since the start, gauges, exponential histograms
Rule  a bucket goes over as it is: OTLP's index i holds (b^i, b^(i+1)], ours k holds (b^(k-1), b^k], so i = k - 1; only
      where the used buckets lie more than SPAN_MAX apart neighbours are joined first, which loses no count
Why   a histogram that is cut into other buckets on its way is two histograms, and both are guesses
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Final

from harness.core.histogram import Histogram
from harness.core.series import Family, Labels, Snapshot

SPAN_MAX: Final = 320
"""Buckets from the first used to the last, the empty ones between them included."""
UNITS: Final = {"": "1", "bytes": "By", "ratio": "1", "seconds": "s"}
"""Units as UCUM writes them."""


@dataclass(frozen=True, slots=True)
class Exponential:
    """One exponential histogram; ``offset`` is the index of the first count."""

    n: int
    total: float
    low: float
    high: float
    zeros: int
    scale: int
    offset: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One value with its labels."""

    labels: Labels
    value: float | Exponential


@dataclass(frozen=True, slots=True)
class Metric:
    """One family; its kind says whether the points are sums, gauges or histograms."""

    family: Family
    name: str
    unit: str
    points: tuple[Point, ...]


def metrics(snapshots: Iterable[Snapshot]) -> tuple[Metric, ...]:
    """Give every family that has a series; what is no number is left out."""
    made = []
    for snapshot in snapshots:
        points = tuple(
            Point(labels, _exponential(value) if isinstance(value, Histogram) else value)
            for labels, value in snapshot.series
            if isinstance(value, Histogram) or isfinite(value)
        )
        if points:
            family = snapshot.family
            # A sum needs no word that says so, and Prometheus' own receiver puts it back.
            made.append(Metric(family, family.name.removesuffix("_total"), UNITS[family.unit], points))
    return tuple(made)


def _exponential(histogram: Histogram) -> Exponential:
    while histogram.counts and max(histogram.counts) - min(histogram.counts) >= SPAN_MAX:
        histogram = histogram.coarsened(histogram.scale - 1)
    first = min(histogram.counts, default=1)
    last = max(histogram.counts, default=0)
    return Exponential(
        n=histogram.n,
        total=histogram.total,
        low=histogram.low if histogram.n else 0.0,
        high=histogram.high if histogram.n else 0.0,
        zeros=histogram.zeros,
        scale=histogram.scale,
        offset=first - 1,
        counts=tuple(histogram.counts.get(key, 0) for key in range(first, last + 1)),
    )

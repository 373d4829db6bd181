"""Histogram: how often which value came, in bounded memory, to be added up with others.

In    values of 0 or more (milliseconds, bytes), one at a time or as another histogram
Out   counts, and quantiles that are wrong by at most ``error`` of their value (1.1 % up to 320 buckets)
Rule  bucket k holds values in (b^(k-1), b^k] with b = 2^(1/32); when more than 320 buckets are in use, neighbours
      are joined (scale - 1: b becomes b squared, the error about doubles), which loses no count
Why   percentiles cannot be averaged or added; buckets can, in any order, with the same result. The buckets are those
      of OTLP's exponential histogram and of Prometheus' native one, so both exports are exact
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from harness.core.stats import rank

SCALE: Final = 5
BUCKETS_MAX: Final = 320
ZERO_MAX: Final = 1e-9
"""Values up to this count as zero."""


class Histogram:
    """Counts of values; merge two by ``+``."""

    __slots__ = ("counts", "high", "low", "n", "scale", "total", "zeros")

    def __init__(self, values: Iterable[float] = ()) -> None:
        """Count ``values``."""
        self.scale, self.zeros, self.n, self.total = SCALE, 0, 0, 0.0
        self.low, self.high = math.inf, -math.inf
        self.counts: dict[int, int] = {}
        for value in values:
            self.record(value)

    @property
    def error(self) -> float:
        """The largest share by which a quantile may differ from the value that stands there."""
        base = math.exp2(2.0**-self.scale)
        return (base - 1.0) / (base + 1.0)

    def record(self, value: float, times: int = 1) -> None:
        """Count ``value`` once, or several times."""
        if not 0.0 <= value < math.inf:
            raise ValueError(f"a histogram counts values of 0 or more, got {value}")
        if times < 1:
            raise ValueError(f"times must be 1 or more, got {times}")
        self.n += times
        self.total += value * times
        self.low, self.high = min(self.low, value), max(self.high, value)
        if value <= ZERO_MAX:
            self.zeros += times
            return
        key = math.ceil(math.log2(value) * 2.0**self.scale)
        self.counts[key] = self.counts.get(key, 0) + times
        while len(self.counts) > BUCKETS_MAX:
            self._coarsen()

    def __add__(self, other: Histogram) -> Histogram:
        """Give a new histogram that counted everything that both have counted."""
        result = self.copy()
        finer = other.copy()
        while result.scale > finer.scale:
            result._coarsen()
        while finer.scale > result.scale:
            finer._coarsen()
        for key, count in finer.counts.items():
            result.counts[key] = result.counts.get(key, 0) + count
        result.n += other.n
        result.zeros += other.zeros
        result.total += other.total
        result.low, result.high = min(self.low, other.low), max(self.high, other.high)
        while len(result.counts) > BUCKETS_MAX:
            result._coarsen()
        return result

    def __eq__(self, other: object) -> bool:
        """Tell whether both counted the same; the sums may differ by the order in which floats were added."""
        if not isinstance(other, Histogram):
            return NotImplemented
        mine = (self.scale, self.zeros, self.n, self.low, self.high, self.counts)
        return mine == (other.scale, other.zeros, other.n, other.low, other.high, other.counts)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def quantile(self, q: float) -> float:
        """Give about the value at the nearest rank of ``q``; ValueError if nothing was counted."""
        place = rank(self.n, q)
        seen = self.zeros
        if place < seen:
            return max(0.0, self.low)
        for low, high, count in self.buckets():
            seen += count
            if place < seen:
                return min(max(2.0 * low * high / (low + high), self.low), self.high)
        raise AssertionError("the counts add up to n")

    def buckets(self) -> Iterator[tuple[float, float, int]]:
        """Give every used bucket above zero as (above, up to, count), in order."""
        step = 2.0**-self.scale
        for key in sorted(self.counts):
            yield math.exp2((key - 1) * step), math.exp2(key * step), self.counts[key]

    def copy(self) -> Histogram:
        """Give one that can be changed for itself."""
        twin = Histogram()
        twin.scale, twin.zeros, twin.n, twin.total = self.scale, self.zeros, self.n, self.total
        twin.low, twin.high, twin.counts = self.low, self.high, dict(self.counts)
        return twin

    def encode(self) -> dict[str, Any]:
        """Turn it into plain JSON; ``decode`` reads it."""
        return {
            "scale": self.scale,
            "n": self.n,
            "zeros": self.zeros,
            "sum": self.total,
            "min": self.low if self.n else None,
            "max": self.high if self.n else None,
            "counts": {str(key): self.counts[key] for key in sorted(self.counts)},
        }

    @classmethod
    def decode(cls, data: Mapping[str, Any]) -> Histogram:
        """Read what ``encode`` wrote."""
        made = cls()
        made.scale, made.n, made.zeros, made.total = data["scale"], data["n"], data["zeros"], data["sum"]
        made.low = math.inf if data["min"] is None else data["min"]
        made.high = -math.inf if data["max"] is None else data["max"]
        made.counts = {int(key): count for key, count in data["counts"].items()}
        return made

    def _coarsen(self) -> None:
        """Join each two neighbours."""
        joined: dict[int, int] = {}
        for key, count in self.counts.items():
            half = (key + 1) >> 1
            joined[half] = joined.get(half, 0) + count
        self.scale -= 1
        self.counts = joined

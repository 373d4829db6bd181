"""Histogram: how often which value came, in bounded memory, to be added up with others.

In    values from 0 to 2^128 (milliseconds, bytes), one at a time or as another histogram
Out   counts, and quantiles that are wrong by at most ``error`` of their value (1.1 % up to 320 buckets)
Rule  bucket k holds values in (b^(k-1), b^k] with b = 2^(1/32); when more than 320 buckets are in use, neighbours
      are joined (scale - 1: b becomes b squared, the error about doubles), which loses no count. A power of two is
      the bound of a bucket at every scale that can occur: how many values are up to it is known exactly
Why   percentiles cannot be averaged or added; buckets can, in any order, with the same result. The buckets are those
      of OTLP's exponential histogram and of Prometheus' native one, so both exports are exact
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from harness.core.stats import rank

SCALE: Final = 5
BUCKETS_MAX: Final = 320
ZERO_MAX: Final = 1e-9
"""Values up to this count as zero."""
VALUE_MAX: Final = 2.0**128
"""Larger values are refused: between the two there are so few doublings that each keeps at least two buckets."""

_STEPS: Final = 2.0**SCALE
_frexp, _log2, _ceil = math.frexp, math.log2, math.ceil


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
        """Count ``value`` once, or several times; ValueError if it is negative, too large or no number."""
        if not 0.0 <= value <= VALUE_MAX:
            raise ValueError(f"a histogram counts values of 0 or more, up to 2^128, got {value}")
        if times < 1:
            raise ValueError(f"times must be 1 or more, got {times}")
        self.n += times
        self.total += value * times
        # Comparisons, not min() and max(): this is what every message pays for.
        if value < self.low:  # noqa: PLR1730
            self.low = value
        if value > self.high:  # noqa: PLR1730
            self.high = value
        if value <= ZERO_MAX:
            self.zeros += times
            return
        # The logarithm of the fraction alone: that of the whole number would round a value just above a power of two
        # into the bucket below.
        fraction, power = _frexp(value)
        key = _ceil(_log2(fraction) * _STEPS) + (power << SCALE)
        if self.scale != SCALE:
            key = -(-key >> (SCALE - self.scale))
        counts = self.counts
        if key in counts:
            counts[key] += times
            return
        counts[key] = times
        while len(self.counts) > BUCKETS_MAX:
            self._coarsen()

    def __add__(self, other: Histogram) -> Histogram:
        """Give a new histogram that counted everything that both have counted."""
        return Histogram.summed((self, other))

    @classmethod
    def summed(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Give one that counted everything that all of them have counted."""
        parts = list(histograms)
        made = cls()
        made.scale = min((part.scale for part in parts), default=SCALE)
        counts = made.counts
        for part in parts:
            for key, count in part.coarsened(made.scale).counts.items():
                counts[key] = counts.get(key, 0) + count
            made.n += part.n
            made.zeros += part.zeros
            made.total += part.total
            made.low, made.high = min(made.low, part.low), max(made.high, part.high)
        while len(made.counts) > BUCKETS_MAX:
            made._coarsen()
        return made

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

    def cumulative(self, bounds: Sequence[float]) -> list[int]:
        """Count the values up to each of ``bounds``, exactly; these are ascending powers of two, else ValueError."""
        counts: list[int] = []
        seen, keys, place = self.zeros, sorted(self.counts), 0
        for bound in bounds:
            fraction, power = _frexp(bound)
            if fraction != 0.5 or bound <= ZERO_MAX or self.scale < 0:  # noqa: PLR2004 - how frexp shows a power of two
                raise ValueError(f"{bound!r} is no bound of a bucket (scale {self.scale}): take powers of two")
            last = (power - 1) << self.scale
            while place < len(keys) and keys[place] <= last:
                seen += self.counts[keys[place]]
                place += 1
            counts.append(seen)
        return counts

    def since(self, earlier: Histogram) -> Histogram:
        """Give what was counted after ``earlier``, a copy of this one; all of it if it was started anew meanwhile.

        The smallest and largest value of a difference are not known: they are taken from the bounds of its buckets.
        """
        finer = earlier.coarsened(self.scale)
        made = Histogram()
        made.scale, made.zeros, made.n = self.scale, self.zeros - finer.zeros, self.n - finer.n
        old = finer.counts
        made.counts = {key: count - old.get(key, 0) for key, count in self.counts.items() if count != old.get(key)}
        gone = made.zeros < 0 or finer.scale < self.scale or not old.keys() <= self.counts.keys()
        if gone or any(count < 0 for count in made.counts.values()):
            return self.copy()
        if made.n:
            made.total = max(0.0, self.total - finer.total)
            step = 2.0**-made.scale
            top = math.exp2(max(made.counts) * step) if made.counts else ZERO_MAX
            made.low = self.low if made.zeros else max(self.low, math.exp2((min(made.counts) - 1) * step))
            made.high = max(made.low, min(self.high, top))
        return made

    def coarsened(self, scale: int) -> Histogram:
        """Give it at ``scale``, or itself if it is no finer than that."""
        if self.scale <= scale:
            return self
        twin, step = self.copy(), self.scale - scale
        twin.scale, twin.counts = scale, {}
        for key, count in self.counts.items():
            joined = -(-key >> step)
            twin.counts[joined] = twin.counts.get(joined, 0) + count
        return twin

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

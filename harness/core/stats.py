"""Statistics: percentiles, the slope that outliers cannot bend, and whether a series really grows.

In    numbers
Out   numbers; each function says which definition it follows
Rule  exact where the sample is small, a normal approximation where it is large or has ties
Why   "end is above start" calls every warm process a leak, and a fitted line follows its outliers
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist, median
from typing import Final

EXACT_MAX: Final = 40
"""Samples up to this size without ties are judged by the exact distribution."""


def percentile(ordered: Sequence[float], q: float) -> float:
    """Give the smallest value that at least the share ``q`` of all values does not exceed (nearest rank).

    ``ordered`` must be sorted and not empty. The result is always a value that was really seen; of few values a high
    percentile is the largest one.
    """
    return ordered[rank(len(ordered), q)]


def rank(n: int, q: float) -> int:
    """Give the place (from 0) of the percentile ``q`` among ``n`` sorted values."""
    if n <= 0:
        raise ValueError("a percentile needs at least one value")
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"q must be from 0 to 1, got {q}")
    # 0.07 * 100 is 7.000000000000001 in floats: without the small step back it would be rank 8.
    return max(0, math.ceil(q * n - 1e-9 * n) - 1)


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope with the interval that holds the true one with the asked confidence."""

    slope: float
    low: float
    high: float


def theil_sen(xs: Sequence[float], ys: Sequence[float], *, confidence: float = 0.98) -> Slope:
    """Give the median of the slopes of all pairs of points, with Sen's confidence interval.

    Up to 29 % of the points may be wild without bending it. Pairs with equal x are left out. The interval's ends are
    slopes of pairs, taken on the safe side (the wider one) when the level falls between two.
    """
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} x, but {len(ys)} y")
    slopes = sorted(_slopes(xs, ys))
    if not slopes:
        raise ValueError("a slope needs two points with different x")
    total = len(slopes)
    tail = (1.0 - confidence) / 2.0
    beyond = _score_beyond(len(xs), tail) if total == len(xs) * (len(xs) - 1) // 2 else _normal_beyond(xs, tail)
    # The true slope lies below the k-th smallest slope with probability P(S >= total - 2k + 2).
    k = math.floor((total - beyond) / 2.0)
    if k < 1:
        return Slope(median(slopes), -math.inf, math.inf)
    return Slope(median(slopes), slopes[k - 1], slopes[total - k])


def mann_kendall(values: Sequence[float]) -> float:
    """Give the probability that a series without a trend grows at least as clearly as this one (one-sided)."""
    n = len(values)
    if n < 2:  # noqa: PLR2004 - one value has no direction
        return 1.0
    score = sum(
        (later > earlier) - (later < earlier) for at, earlier in enumerate(values) for later in values[at + 1 :]
    )
    ties = _ties(values)
    if not ties and n <= EXACT_MAX:
        return _tail(n, score)
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18.0
    if variance <= 0:
        return 1.0  # Every value is the same.
    # The step of one corrects for the score being a whole number.
    return 1.0 - NormalDist().cdf((score - 1) / math.sqrt(variance))


def wilson(good: float, total: float, *, z: float = 1.96) -> tuple[float, float]:
    """Give the interval in which the true share lies when ``good`` of ``total`` were seen (Wilson 1927).

    ``z`` is the width in standard deviations: 1.96 for 95 %. Counts may be fractions (of windows that fade).
    """
    if not (0.0 <= good <= total < math.inf and total > 0.0):
        raise ValueError(f"a share needs 0 <= good <= total and total above 0, got {good} of {total}")
    share, weight = good / total, z * z / total
    middle = (share + weight / 2.0) / (1.0 + weight)
    reach = z / (1.0 + weight) * math.sqrt(share * (1.0 - share) / total + weight / (4.0 * total))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _slopes(xs: Sequence[float], ys: Sequence[float]) -> Iterator[float]:
    for at, (x, y) in enumerate(zip(xs, ys, strict=True)):
        for x2, y2 in zip(xs[at + 1 :], ys[at + 1 :], strict=True):
            if x2 != x:
                yield (y2 - y) / (x2 - x)


def _ties(values: Sequence[float]) -> list[int]:
    sizes: list[int] = []
    size = 1
    for before, after in pairwise(sorted(values)):
        if before == after:
            size += 1
        else:
            sizes.append(size)
            size = 1
    return [size for size in (*sizes, size) if size > 1]


@lru_cache(maxsize=EXACT_MAX)
def _inversions(n: int) -> tuple[int, ...]:
    """Count the orders of ``n`` different values by their number of inversions (Mahonian numbers)."""
    counts = [1]
    for size in range(2, n + 1):
        longer = [0] * (len(counts) + size - 1)
        for at, count in enumerate(counts):
            for more in range(size):
                longer[at + more] += count
        counts = longer
    return tuple(counts)


def _tail(n: int, score: int) -> float:
    """P(S >= score) among all orders of ``n`` different values; S = pairs - 2 * inversions."""
    most = (n * (n - 1) // 2 - score) // 2
    counts = _inversions(n)
    return sum(counts[: max(0, most + 1)]) / math.factorial(n)


def _score_beyond(n: int, tail: float) -> float:
    """Give the smallest score that is exceeded with a probability of at most ``tail``."""
    if n > EXACT_MAX:
        return NormalDist().inv_cdf(1.0 - tail) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18.0)
    pairs = n * (n - 1) // 2
    allowed, seen = tail * math.factorial(n), 0
    for inversions, count in enumerate(_inversions(n)):
        seen += count
        if seen > allowed:
            return pairs - 2 * inversions
    raise AssertionError("the whole distribution is more than any tail")


def _normal_beyond(xs: Sequence[float], tail: float) -> float:
    n = len(xs)
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in _ties(xs))) / 18.0
    return NormalDist().inv_cdf(1.0 - tail) * math.sqrt(max(0.0, variance))

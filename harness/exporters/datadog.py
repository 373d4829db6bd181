"""Datadog: snapshots as what DogStatsD and the series API take: counts since the last time, and gauges.

In    snapshots, one set after another; word when what was made of them has arrived
Out   readings: name, count or gauge, value, tags
Rule  a counter becomes what was added since the snapshot before (all of it if it was started anew); a histogram becomes
      the count, sum, largest value and percentiles of what was recorded since then, for nobody but Datadog's own agent
      understands its distributions
Why   a count that is sent twice is a lie; so is a percentile that was averaged

Names keep their words (``chat_turns_total`` is ``chat.turns``): Datadog separates by dots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

from harness.core.histogram import Histogram
from harness.core.series import Labels, Snapshot

PERCENTILES: Final = (50, 95, 99)
_TAG_UNSAFE: Final = str.maketrans({",": "_", "|": "_", "\n": "_", "#": "_"})
"""What would end a tag, or the line, in DogStatsD's format."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number for Datadog."""

    name: str
    kind: Literal["count", "gauge"]
    value: float
    tags: tuple[str, ...]


class Changes:
    """What has changed since what was sent last. As large as the snapshots; what is gone from them is forgotten."""

    __slots__ = ("_counters", "_fresh", "_histograms")

    def __init__(self) -> None:
        """Start before everything: the first readings tell all that was counted so far."""
        self._counters: dict[tuple[str, Labels], float] = {}
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._fresh = (self._counters, self._histograms)

    def sent(self) -> None:
        """Count from the last readings on; without this the next ones tell their changes as well."""
        self._counters, self._histograms = self._fresh

    def readings(self, snapshots: Iterable[Snapshot]) -> tuple[Reading, ...]:
        """Give what is to be sent now; a counter that did not move is left out."""
        counters: dict[tuple[str, Labels], float] = {}
        histograms: dict[tuple[str, Labels], Histogram] = {}
        made: list[Reading] = []
        for snapshot in snapshots:
            name = dotted(snapshot.family.name)
            for labels, value in snapshot.series:
                key, tags = (snapshot.family.name, labels), tuple(map(_tag, labels))
                if isinstance(value, Histogram):
                    histograms[key] = value.copy()
                    before = self._histograms.get(key)
                    made += _summary(name, tags, value if before is None else value.since(before))
                elif not isfinite(value):
                    continue
                elif snapshot.family.kind == "counter":
                    counters[key] = value
                    added = value - self._counters.get(key, 0.0)
                    added = value if added < 0 else added
                    if added:
                        made.append(Reading(name, "count", added, tags))
                else:
                    made.append(Reading(name, "gauge", value, tags))
        self._fresh = (counters, histograms)
        return tuple(made)


def dotted(name: str) -> str:
    """Turn a Prometheus name into Datadog's: "chat_turns_total" is "chat.turns", units stay."""
    first, _, rest = name.removesuffix("_total").partition("_")
    return f"{first}.{rest}" if rest else first


def _summary(name: str, tags: tuple[str, ...], recorded: Histogram) -> Iterator[Reading]:
    if not recorded.n:
        return
    yield Reading(f"{name}.count", "count", float(recorded.n), tags)
    yield Reading(f"{name}.sum", "count", recorded.total, tags)
    yield Reading(f"{name}.max", "gauge", recorded.high, tags)
    for percentile in PERCENTILES:
        yield Reading(f"{name}.p{percentile}", "gauge", recorded.quantile(percentile / 100), tags)


def _tag(label: tuple[str, str]) -> str:
    return f"{label[0]}:{label[1].translate(_TAG_UNSAFE)}"

"""Indicator: one number per label set, told from the series of a service: what alert rules and charts are about.

In    a metric's name, the labels that count, how the values of a window become one, what they are grouped by
Out   a frozen description; ``accepts`` and ``group`` for whoever has the series, ``promql`` in harness/exporters
Rule  an indicator that cannot mean anything (a ratio over nothing, an average of groups) is refused when it is made
Why   a chart, an alert and the rule in Prometheus must speak of the same number, so they hold the same value

A ratio is the increase of ``metric`` over the window divided by that of ``over``: 0 when only the first is missing, no
data when the second is missing or 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

from harness.core.series import Labels
from harness.errors import ScenarioError

Match = Mapping[str, tuple[str, ...]]
"""A label -> the values of which one must be there (or, in ``unless``, none)."""

COUNTED: Final = ("rate", "increase")
"""What is asked of counters: per second, and in all."""
SEEN: Final = ("last", "min", "max", "avg")
"""What is asked of gauges."""
RATIO: Final = "ratio"
PERCENTILE: Final = re.compile(r"p([1-9][0-9]?)")
METRIC: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
WINDOW_S_MAX: Final = 7 * 86_400.0
"""What the history in memory reaches back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Some series of one metric."""

    metric: str
    match: Match = field(default_factory=dict)
    unless: Match = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no series can be called."""
        check_selector(self.metric, self.match, self.unless)

    def accepts(self, labels: Labels) -> bool:
        """Whether a series with these labels counts; a label that is absent has the value ""."""
        return accepts(labels, self.match, self.unless)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """What is measured: seconds, counts, shares, in the unit of the metric."""

    metric: str
    """A name of /metrics; a histogram without its ``_bucket``."""
    match: Match = field(default_factory=dict)
    """A label -> the values that count."""
    unless: Match = field(default_factory=dict)
    """A label -> the values that do not count."""
    agg: str = "last"
    """rate (per second), increase, ratio of counters; last, min, max, avg of a gauge; p1 to p99 of a histogram."""
    window_s: float = 60.0
    """Seconds that are looked back."""
    by: tuple[str, ...] | None = None
    """Labels that stay, the rest is summed (min and max: the extreme); none given: every label set for itself."""
    over: Selector | None = None
    """What a ratio is taken of: the denominator."""

    def __post_init__(self) -> None:
        """Refuse what cannot mean anything."""
        check_selector(self.metric, self.match, self.unless)
        if self.agg not in (*COUNTED, *SEEN, RATIO) and PERCENTILE.fullmatch(self.agg) is None:
            known = ", ".join((*COUNTED, *SEEN, RATIO))
            raise ScenarioError(f"agg: {self.agg!r} is not known: choose one of {known}, or p50 to p99")
        if not (isfinite(self.window_s) and 1.0 <= self.window_s <= WINDOW_S_MAX):
            raise ScenarioError(f"window_s: must be from 1 to {WINDOW_S_MAX:g} seconds, got {self.window_s}")
        if (self.agg == RATIO) != (self.over is not None):
            said = "a ratio needs `over`" if self.agg == RATIO else f"only a ratio has `over`, not {self.agg}"
            raise ScenarioError(f"over: {said}")
        if self.agg == RATIO and self.by is None:
            raise ScenarioError("by: a ratio needs the labels that both sides share ([] for one number in all)")
        if self.agg == "avg" and self.by is not None:
            raise ScenarioError("by: an average of averages is none: leave `by` out, or take last, min or max")
        for label in self.by or ():
            if METRIC.fullmatch(label) is None:
                raise ScenarioError(f"by: {label!r} is no name of a label")

    @property
    def percentile(self) -> int | None:
        """99 for "p99"; None for everything else."""
        found = PERCENTILE.fullmatch(self.agg)
        return int(found[1]) if found else None

    def accepts(self, labels: Labels) -> bool:
        """Whether a series with these labels counts."""
        return accepts(labels, self.match, self.unless)

    def group(self, labels: Labels) -> Labels:
        """Give the label set under which a series is counted."""
        return labels if self.by is None else tuple(pair for pair in labels if pair[0] in self.by)


def accepts(labels: Labels, match: Match, unless: Match) -> bool:
    """Whether labels have one of the values of every label in ``match``, and none of those in ``unless``."""
    if not match and not unless:
        return True
    have = dict(labels)
    return all(have.get(label, "") in values for label, values in match.items()) and not any(
        have.get(label, "") in values for label, values in unless.items()
    )


def check_selector(metric: str, match: Match, unless: Match) -> None:
    """Refuse a name or a label that cannot be; ScenarioError names it."""
    if METRIC.fullmatch(metric) is None:
        raise ScenarioError(f"metric: {metric!r} is no name of a metric (letters, digits and _)")
    for where, labels in (("match", match), ("unless", unless)):
        for label, values in labels.items():
            if METRIC.fullmatch(label) is None:
                raise ScenarioError(f"{where}: {label!r} is no name of a label (letters, digits and _)")
            if not values:
                raise ScenarioError(f"{where}.{label}: needs at least one value")

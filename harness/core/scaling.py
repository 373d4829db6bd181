"""Scaling: how many bots one metric asks for, by the formula of the Kubernetes Horizontal Pod Autoscaler.

In    the target of a metric, how many bots there are, and what was measured
Out   a Proposal: the ratio to the target and a number of bots; both None if the metric is missing
Rule  ceil(bots * mean / target); nothing within the tolerance; who has not answered counts against the change
Why   the formula is small enough to be held against a table, apart from everything that holds it back

After Kubernetes' replica_calculator.go (autoscaling/v2), with the activation threshold of KEDA. Unlike there, the
answer never goes against the ratio: above the target no metric asks for fewer, below it none asks for more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.core.ranges import above_zero, at_least, whole

EXACT: Final = 1e-9
"""What floating point may be wrong by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one metric should be per bot."""

    value: float
    """The mean over the bots that is aimed at; above 0."""
    activation: float | None = None
    """At or below it this metric asks for nothing; None: it always asks."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        above_zero("value", self.value)
        if self.activation is not None:
            at_least("activation", self.activation, 0)


@dataclass(frozen=True, slots=True)
class PerBot:
    """A metric that each bot has: what the ready ones say (None: asked, no answer), and how many are not ready yet."""

    values: Sequence[float | None]
    unready: int = 0


@dataclass(frozen=True, slots=True)
class Whole:
    """A metric of all bots together, such as the expected waiting time; None if it is missing.

    ``ready`` are the bots that share it.
    """

    value: float | None
    ready: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric asks for: the ratio to its target, and how many bots. None: missing."""

    metric: str
    ratio: float | None
    wanted: int | None
    active: bool = True


def propose(name: str, target: Target, tolerance: float, current: int, reading: PerBot | Whole | None) -> Proposal:
    """Give what one metric asks for."""
    values = reading.values if isinstance(reading, PerBot) else ()
    known = [value for value in values if value is not None]
    level = reading.value if isinstance(reading, Whole) else sum(known) / len(known) if known else None
    if reading is None or level is None:
        return Proposal(name, None, None)
    ratio = level / target.value
    if target.activation is not None and level <= target.activation:
        return Proposal(name, ratio, 0, active=False)
    if isinstance(reading, Whole):
        if not current:
            return Proposal(name, ratio, ceil(ratio))
        return Proposal(name, ratio, _aim(ratio, reading.ready, tolerance, current))
    # Who has not answered counts against the change: as on target when shrinking, as idle when growing.
    missing = len(values) - len(known)
    count, total = len(known) + missing, sum(known)
    if ratio < 1:
        total += missing * target.value
    elif ratio > 1:
        count += reading.unready
    else:
        count = len(known)
    rebalanced = total / count / target.value
    if (rebalanced > 1) != (ratio > 1):
        return Proposal(name, ratio, current)
    return Proposal(name, ratio, _aim(rebalanced, count, tolerance, current))


def _aim(ratio: float, count: int, tolerance: float, current: int) -> int:
    """Give the number of bots at which the ratio would be 1; never against the direction of the ratio."""
    if abs(ratio - 1) <= tolerance + EXACT:
        return current
    aim = ceil(ratio * count)
    return max(aim, current) if ratio > 1 else min(aim, current)


def ceil(value: float) -> int:
    """Round up, but for what is only an error of floating point above a whole number."""
    return math.ceil(value - EXACT * max(1.0, value))


def floor(value: float) -> int:
    """Round down, but for what is only an error of floating point below a whole number."""
    return math.floor(value + EXACT * max(1.0, value))


def refuse(name: str, reading: PerBot | Whole, targets: Mapping[str, Target]) -> None:
    """Refuse a reading that cannot be meant."""
    if name not in targets:
        raise ValueError(f"{name!r} has no target: the metrics are {', '.join(targets)}")
    values = reading.values if isinstance(reading, PerBot) else (reading.value,)
    for value in values:
        if value is not None:
            at_least(name, value, 0)
    whole(f"{name} bots", reading.unready if isinstance(reading, PerBot) else reading.ready, 0)

"""Scoring: what a component of a health score is worth, smoothed over time, and what it adds to the whole.

In    a component's values, or its good and total cases, each with its time
Out   points from 0 to 100; contributions that add up to the score in hundredths, exactly
Rule  an unknown part counts with its last points where they pull the mean down, and as the mean where they would not
Why   data that stopped coming must not make anything look better; a score that cannot be taken apart is not believed

Smoothing: points += (1 - exp(-dt / tau)) * (new - points), which weighs by time and not by the number of values.
Shares: the counts of about the last ``samples`` cases give an interval (Wilson); the share moves only as far as that
interval forces it. So one error in ten cases is no alarm, and ten good cases are no recovery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, floor, fsum, inf, isfinite, log
from typing import Final, Literal

from harness.core.stats import wilson

FULL: Final = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of the score: ``best`` is worth 100 points and ``worst`` none, in whichever direction."""

    name: str
    weight: float
    best: float
    worst: float
    required: bool = False
    """Without it the service is not healthy, whatever the others say: its points cap the score."""
    scale: Literal["linear", "log"] = "linear"
    """Log for what people feel in ratios, such as latency: from 100 to 200 ms costs what 1 to 2 s costs."""
    unit: str = ""
    impact: str = ""
    """What users notice when it is low."""
    action: str = ""
    """What a person can do then."""

    def __post_init__(self) -> None:
        """Refuse a component that can never be judged."""
        if not self.name:
            raise ValueError("a component needs a name")
        if not 0 < self.weight < inf:
            raise ValueError(f"{self.name}: weight must be a number above 0, got {self.weight}")
        if not (isfinite(self.best) and isfinite(self.worst)) or self.best == self.worst:
            raise ValueError(
                f"{self.name}: best and worst must be two different numbers, got {self.best} and {self.worst}"
            )
        if self.scale == "log" and min(self.best, self.worst) <= 0:
            raise ValueError(f"{self.name}: a log scale needs best and worst above 0, got {self.best}, {self.worst}")

    def points(self, value: float) -> float:
        """Turn a value into points from 0 to 100."""
        best, worst = self.best, self.worst
        if self.scale == "log":
            best, worst, value = log(best), log(worst), log(max(value, min(best, worst)))
        return min(FULL, max(0.0, FULL * ((value - worst) / (best - worst))))


COMPONENTS: Final = (
    Component(
        name="latency_ms_p95",
        weight=0.30,
        best=250.0,
        worst=8_000.0,
        scale="log",
        unit="ms",
        impact="replies start late",
        action="look at the slowest bot in /api/capacity; add bots or lower its concurrency",
    ),
    Component(
        name="success_share",
        weight=0.25,
        best=0.97,
        worst=0.70,
        impact="messages end in an error",
        action="look at the failing bot's log and its breaker",
    ),
    Component(
        name="bots_available_share",
        weight=0.15,
        best=1.0,
        worst=0.0,
        impact="some bots do not answer",
        action="look at why the bots restart; launch another",
    ),
    Component(
        name="queue_share",
        weight=0.10,
        best=0.25,
        worst=1.0,
        impact="messages wait for a place",
        action="add bots, or send less",
    ),
    Component(
        name="store",
        weight=0.08,
        best=1.0,
        worst=0.0,
        required=True,
        impact="nothing can be saved, so nothing is accepted",
        action="make room on the disk or make it writable",
    ),
    Component(
        name="loop_lag_ms",
        weight=0.05,
        best=20.0,
        worst=1_000.0,
        scale="log",
        unit="ms",
        impact="everything is late",
        action="look for what blocks the event loop",
    ),
    Component(
        name="memory_share",
        weight=0.04,
        best=0.60,
        worst=0.95,
        impact="the service may be killed for its memory",
        action="look at the leak guard's findings",
    ),
    Component(
        name="cpu_share", weight=0.03, best=0.70, worst=1.0, impact="everything is slower", action="use more machines"
    ),
)
"""The chat service's: latency weighs ten times what CPU weighs, for users feel the one and not the other."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one component adds; the points of all contributions add up to the score."""

    component: str
    points: float
    """Added to the score; below 0 where a required component caps it."""
    of: float
    """What it would add at its best."""
    score: float | None
    """Its own score of 100; None if it was never known: then it does not count."""
    known: bool
    value: float | None
    unit: str


class Part:
    """What is known of one component."""

    __slots__ = ("_at", "_good", "_samples_at", "_total", "component", "confidence", "latest", "points", "value")

    def __init__(self, component: Component) -> None:
        """Start with nothing known."""
        self.component = component
        self.points: float | None = None
        """Smoothed; None as long as nothing was ever known."""
        self.latest: float | None = None
        """The points of the newest value alone; None if that was no value."""
        self.value: float | None = None
        self.confidence = 0.0
        """Of the newest value, 0-1, while it is fresh."""
        self._at = self._samples_at = -inf
        self._good = self._total = 0.0

    def known(self, now: float, stale_after_s: float) -> bool:
        """Whether there is a value, and a fresh one."""
        return self.latest is not None and now - self._at <= stale_after_s

    def lose(self) -> None:
        """Note that nobody could tell: from now on it is unknown."""
        self.latest, self.confidence = None, 0.0

    def note(self, now: float, value: float, *, tau_s: float, urgent_below: float, confidence: float = 1.0) -> None:
        """Take a value; a required one that is as good as dead is not smoothed."""
        fresh = self.component.points(value)
        if self.points is None or (self.component.required and fresh < urgent_below):
            self.points = fresh
        else:
            self.points += (1.0 - exp(-(now - self._at) / tau_s)) * (fresh - self.points)
        self.latest, self.value, self.confidence, self._at = fresh, value, confidence, now

    def share(
        self, now: float, good: float, total: float, *, samples: float, samples_min: float, fade_s: float, z: float
    ) -> tuple[float, float] | None:
        """Take cases; give the share that they prove and how sure it is, or None if they are too few."""
        kept = (1.0 - 1.0 / samples) ** total
        if self._total:
            kept *= exp(-(now - self._samples_at) / fade_s)
        self._samples_at = now
        # Of a batch larger than the memory only the proportion is kept.
        room = min(1.0, samples * (1.0 - (1.0 - 1.0 / samples) ** total) / total) if total else 0.0
        self._total = self._total * kept + total * room
        self._good = min(self._good * kept + good * room, self._total)
        if self._total < samples_min:
            return None
        low, high = wilson(self._good, self._total, z=z)
        before = self.component.best if self.value is None else self.value
        return min(high, max(low, before)), 1.0 - (high - low)


def contributions(
    parts: Sequence[Part], now: float, *, stale_after_s: float, unknown_cap: float
) -> tuple[Contribution, ...]:
    """Take the weighted mean apart, then let the worst required part cap it."""
    fresh = {part.component.name: part.known(now, stale_after_s) for part in parts}
    counted = _counted(parts, fresh)
    weights = fsum(part.component.weight for part in parts if part.component.name in counted)
    # In hundredths of a point from here on: whole numbers add up whatever their order.
    exact = {
        part.component.name: FULL * part.component.weight * counted[part.component.name] / weights
        for part in parts
        if part.component.name in counted
    }
    hundredths = _rounded(exact)
    mean, caps = sum(hundredths.values()), dict[str, int]()
    for part in parts:
        if part.component.required:
            name = part.component.name
            limit = counted.get(name, FULL) if fresh[name] else min(counted.get(name, FULL), unknown_cap)
            caps[name] = round(limit * FULL)
    worst = min(caps, key=caps.__getitem__, default="")
    if counted and worst and caps[worst] < mean:
        hundredths[worst] = hundredths.get(worst, 0) + caps[worst] - mean
    return tuple(
        Contribution(
            component=part.component.name,
            points=hundredths.get(part.component.name, 0) / FULL,
            of=FULL * part.component.weight / weights if part.component.name in counted else 0.0,
            score=counted.get(part.component.name),
            known=fresh[part.component.name],
            value=part.value,
            unit=part.component.unit,
        )
        for part in parts
    )


def total(parts: Sequence[Contribution]) -> float:
    """Add contributions up, exactly."""
    return sum(round(part.points * FULL) for part in parts) / FULL


def _counted(parts: Sequence[Part], fresh: Mapping[str, bool]) -> dict[str, float]:
    """Give the points that each part counts with; one that was never known does not count.

    The mean is the lowest that can be had by leaving unknown parts out. So losing sight of a part never raises it: a
    low one goes on pulling it down, a high one stops holding it up.
    """
    points = {part.component.name: part.points for part in parts if part.points is not None}
    weights = {part.component.name: part.component.weight for part in parts}
    known = [name for name in points if fresh[name]]
    weight, weighted = fsum(weights[name] for name in known), fsum(weights[name] * points[name] for name in known)
    for name in sorted((name for name in points if not fresh[name]), key=points.__getitem__):
        if weight and points[name] * weight >= weighted:
            break
        weight, weighted = weight + weights[name], weighted + weights[name] * points[name]
    return {name: own if fresh[name] else min(own, weighted / weight) for name, own in points.items()}


def _rounded(exact: Mapping[str, float]) -> dict[str, int]:
    """Round so that the sum is the rounded sum: what is left goes to the largest remainders."""
    rounded = {name: floor(value) for name, value in exact.items()}
    left = round(fsum(exact.values())) - sum(rounded.values())
    for name in sorted(exact, key=lambda name: rounded[name] - exact[name])[:left]:
        rounded[name] += 1
    return rounded

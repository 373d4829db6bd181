"""Health score: how well the whole is, from 0 to 100, and a level that says what follows from it.

In    observe(now, component, value), or observe_rate(now, component, good, total); evaluate(now) once a tick
Out   a Score: level, points, confidence, what each component contributes, trend, alerts, impacts and what to do
Rule  what is not known never improves the score and lowers its confidence; the worst required component caps it
Why   a mean alone hides the dead part: one component of weight 0.2 that is dead still leaves 80 points

Callers leave out what the service does to itself: messages that were shed, answered from a cache or sent as a probe.
With them in, switching features off would heal the score that switched them off.

    value --> points 0-100 --> smoothed (EWMA, irregular time) --> weighted mean --> cap --> bands --> level
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum, inf, isfinite
from typing import Literal

from harness.core.bands import Bands, BandsConfig, Level, LevelMoved
from harness.core.scoring import COMPONENTS, FULL, Component, Contribution, Part, contributions, total
from harness.core.trend import Trend, TrendConfig, TrendWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    """What is scored, and how it is smoothed."""

    components: Sequence[Component] = field(default_factory=lambda: COMPONENTS)
    """The parts of the whole, with their weights."""
    tau_s: float = 15.0
    """An observation this old counts 37 % of a new one."""
    stale_after_s: float = 30.0
    """A component that was not observed for so long is unknown."""
    samples: float = 100.0
    """A share is judged by about so many of the last cases."""
    samples_min: float = 10.0
    """With fewer it is unknown: an error rate without traffic is no evidence."""
    samples_fade_s: float = 300.0
    """Cases this old count 37 %."""
    z: float = 1.645
    """Width of the interval in which a share is believed to lie, in standard deviations (1.645: 90 %)."""
    unknown_cap: float = 60.0
    """A required component that is unknown caps the score here."""
    urgent_below: float = 10.0
    """A required component observed below this is believed at once: no smoothing, no counting."""
    forecast_min: float = 10.0
    """A threshold that the trend reaches within so many minutes is an alert."""
    bands: BandsConfig = field(default_factory=BandsConfig)
    """Where the levels begin and end."""
    trend: TrendConfig = field(default_factory=TrendConfig)
    """How far back the trend looks, and how sure it is."""

    def __post_init__(self) -> None:
        """Refuse what cannot be scored."""
        names = [component.name for component in self.components]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"components must be at least one, each name once, got {names}")
        if not 1 < self.samples < inf:
            raise ValueError(f"samples must be a number above 1, got {self.samples}")
        if not self.samples_min <= self.samples:
            raise ValueError(f"samples_min must be at most samples ({self.samples}), got {self.samples_min}")
        for name in ("tau_s", "stale_after_s", "samples_min", "samples_fade_s", "z", "forecast_min"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be a number above 0, got {getattr(self, name)}")
        for name in ("unknown_cap", "urgent_below"):
            if not 0 <= getattr(self, name) <= FULL:
                raise ValueError(f"{name} must be from 0 to 100, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Impact:
    """What users notice of a low component, and what a person can do."""

    component: str
    severity: Literal["warning", "critical"]
    impact: str
    action: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold was crossed, or will be."""

    kind: Literal["moved", "forecast", "flapping"]
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """One evaluation. ``score`` is None and ``level`` unknown until something is known."""

    level: Level
    score: float | None
    confidence: float
    worst: Level
    """The level of the worst required component alone."""
    contributions: tuple[Contribution, ...]
    trend: Trend | None
    threshold: float | None
    """Where the level would change in the direction of the trend."""
    minutes_to_threshold: float | None
    flapping: bool
    moved: LevelMoved | None
    alerts: tuple[Alert, ...]
    impacts: tuple[Impact, ...]


class HealthScore:
    """The score of one service. An earlier ``now`` counts as the latest seen."""

    __slots__ = ("_bands", "_config", "_flapping", "_now", "_parts", "_trend", "_warned")

    def __init__(self, config: ScoreConfig | None = None) -> None:
        """Start with nothing known."""
        self._config = config or ScoreConfig()
        self._parts = {component.name: Part(component) for component in self._config.components}
        self._bands = Bands(self._config.bands)
        self._trend = TrendWatch(self._config.trend)
        self._now = -inf
        self._warned = self._flapping = False

    def observe(self, now: float, component: str, value: float | None) -> None:
        """Take a component's newest value in its own unit; None says that nobody could tell."""
        part = self._part(component)
        if value is None:
            self._at(now)
            part.lose()
            return
        if not isfinite(value):
            raise ValueError(f"{component}: a value must be finite, got {value}; None says that it is unknown")
        part.note(self._at(now), value, tau_s=self._config.tau_s, urgent_below=self._config.urgent_below)

    def observe_rate(self, now: float, component: str, good: float, total: float) -> None:
        """Take the cases since the last call: the component's value is the share of the good ones.

        No cases are no evidence: what was known stays, and becomes unknown in time.
        """
        part, config = self._part(component), self._config
        if not 0 <= good <= total < inf:
            raise ValueError(f"{component}: cases need 0 <= good <= total, got {good} of {total}")
        at = self._at(now)
        proved = part.share(
            at,
            good,
            total,
            samples=config.samples,
            samples_min=config.samples_min,
            fade_s=config.samples_fade_s,
            z=config.z,
        )
        if proved is not None and total:
            share, confidence = proved
            part.note(at, share, tau_s=config.tau_s, urgent_below=config.urgent_below, confidence=confidence)

    def evaluate(self, now: float) -> Score:
        """Say how the whole stands; call it at a steady pace, for the bands count evaluations."""
        at, config = self._at(now), self._config
        parts = tuple(self._parts.values())
        shares = contributions(parts, at, stale_after_s=config.stale_after_s, unknown_cap=config.unknown_cap)
        score = total(shares) if any(share.score is not None for share in shares) else None
        moved = self._step(at, score)
        trend, threshold, minutes = self._forecast(score)
        flapping = self._bands.flapping(at)
        alerts = self._alerts(moved, score, minutes, threshold, flapping=flapping)
        weights = fsum(part.component.weight for part in parts)
        sure = fsum(part.component.weight * part.confidence for part in parts if part.known(at, config.stale_after_s))
        return Score(
            level=self._bands.level,
            score=score,
            confidence=sure / weights,
            worst=self._worst(shares),
            contributions=shares,
            trend=trend,
            threshold=threshold,
            minutes_to_threshold=minutes,
            flapping=flapping,
            moved=moved,
            alerts=alerts,
            impacts=self._impacts(shares),
        )

    def _part(self, component: str) -> Part:
        part = self._parts.get(component)
        if part is None:
            raise ValueError(f"there is no component {component!r}; there are {', '.join(self._parts)}")
        return part

    def _at(self, now: float) -> float:
        if not isfinite(now):
            raise ValueError(f"now must be a finite number of seconds, got {now}")
        self._now = max(self._now, now)
        return self._now

    def _step(self, now: float, score: float | None) -> LevelMoved | None:
        required = [part for part in self._parts.values() if part.component.required]
        if score is None or (self._bands.level == "unknown" and any(part.points is None for part in required)):
            return None  # Still starting: what is required was not looked at yet.
        known = [part for part in required if part.known(now, self._config.stale_after_s)]
        urgent = any(part.latest is not None and part.latest < self._config.urgent_below for part in known)
        moved = self._bands.step(now, score, urgent=urgent)
        if moved is not None and moved.better:
            self._trend.restart()
        self._trend.note(now, score)
        return moved

    def _forecast(self, score: float | None) -> tuple[Trend | None, float | None, float | None]:
        trend, bands = self._trend.trend, self._config.bands
        if trend is None or score is None or trend.direction == "steady":
            return trend, None, None
        threshold: float | None = None
        match self._bands.level, trend.direction:
            case "good", "falling":
                threshold = bands.degraded_below
            case "degraded", "falling":
                threshold = bands.critical_below
            case "degraded", "rising":
                threshold = bands.degraded_until
            case "critical", "rising":
                threshold = bands.critical_until
            case _:
                pass  # It is as good, or as bad, as it gets.
        return trend, threshold, None if threshold is None else trend.minutes_to(score, threshold)

    def _alerts(
        self,
        moved: LevelMoved | None,
        score: float | None,
        minutes: float | None,
        threshold: float | None,
        *,
        flapping: bool,
    ) -> tuple[Alert, ...]:
        alerts = []
        level = self._bands.level
        if moved is not None and (moved.before, moved.after) != ("unknown", "good"):
            alerts.append(Alert("moved", level, f"{moved.before} -> {moved.after} at {moved.score:.1f} points"))
        soon = minutes is not None and threshold is not None and score is not None and threshold < score
        soon = soon and minutes is not None and minutes <= self._config.forecast_min
        if soon and not self._warned:
            alerts.append(Alert("forecast", level, f"falls below {threshold:g} in about {minutes:.1f} minutes"))
        if flapping and not self._flapping:
            alerts.append(Alert("flapping", level, f"it changes too often: it stays {level} until it is calm"))
        self._warned, self._flapping = soon, flapping
        return tuple(alerts)

    def _impacts(self, shares: Sequence[Contribution]) -> tuple[Impact, ...]:
        bands = self._config.bands
        low = sorted(
            (share.score, share.component)
            for share in shares
            if share.score is not None and share.score < bands.degraded_below
        )
        return tuple(
            Impact(
                name,
                "critical" if score < bands.critical_below else "warning",
                self._parts[name].component.impact,
                self._parts[name].component.action,
            )
            for score, name in low
        )

    def _worst(self, shares: Sequence[Contribution]) -> Level:
        """Judge the worst required component by itself, without any memory."""
        bands = self._config.bands
        required = [share for share in shares if self._parts[share.component].component.required]
        if any(share.score is None or not share.known for share in required):
            return "unknown"
        lowest = min((share.score for share in required if share.score is not None), default=FULL)
        if lowest < bands.critical_below:
            return "critical"
        return "degraded" if lowest < bands.degraded_below else "good"

"""Leak guard: whether something that should come and go only comes.

In    watch(...) for each name; note(name, now, count) every few seconds
Out   a LeakMoved when a leak is found or is over; findings() with the evidence
Rule  what is judged are the lowest counts of equal spans of time: load raises the tops, a leak raises the floor;
      it must rise surely (Mann-Kendall), by enough (lower end of Sen's interval), and still rise at the end
Why   a queue, a handle or a permit that is kept for every message costs nothing in a test and everything in a month

    windows of one name     spans of      reach back     finds
    near                    30 s          12 min         a flood
    middle                  4 min         96 min         a leak of every message
    far                     32 min        12 h 48 min    a leak of every hundredth

A floor that was as high before and came down again is no leak: a wave longer than the window is found once, not daily.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, isfinite
from typing import Final, Literal

from harness.core.stats import mann_kendall, theil_sen

Severity = Literal["warning", "critical"]
Kind = Literal["grows", "kept", "full"]
HOUR_S: Final = 3_600.0
CONFIDENCE: Final = 0.98
FADE_S: Final = 7 * 86_400.0
"""How high a floor once was is forgotten within weeks: after one, 37 % of it is left."""
_SEVERITY: Final[Mapping[Severity, int]] = {"warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One count that is watched."""

    name: str
    """What is counted."""
    growth_min: float = 16.0
    """Growth over a window that is worth a word; less is what a busy service breathes."""
    share_min: float = 0.10
    """And at least this share of what it was before."""
    limit: float | None = None
    """Where it ends badly: the nearer in time, the more severe; reached is a finding by itself."""
    load: bool = False
    """It follows the load, as connections do: growth by itself is none of our business, growth towards the limit is."""
    zero: bool = False
    """It should be 0, like permits that nobody settles: anything above that stays is a finding."""

    def __post_init__(self) -> None:
        """Refuse what can never be found, or always."""
        if not self.name:
            raise ValueError("a watch needs a name")
        if not 0 < self.growth_min < inf:
            raise ValueError(f"{self.name}: growth_min must be a number above 0, got {self.growth_min}")
        if not 0 <= self.share_min < inf:
            raise ValueError(f"{self.name}: share_min must be a number from 0, got {self.share_min}")
        if self.limit is not None and not 0 < self.limit < inf:
            raise ValueError(f"{self.name}: limit must be a number above 0, got {self.limit}")
        if self.load and self.limit is None:
            raise ValueError(f"{self.name}: what follows the load needs a limit, or nothing could ever be found")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakGuardConfig:
    """How long to look, and how sure to be."""

    spans_s: tuple[float, ...] = (30.0, 240.0, 1_920.0)
    """One window each: the lowest count of so many seconds is one point."""
    points: int = 24
    """Points that a window holds."""
    points_min: int = 12
    """With fewer there is no judgement."""
    warm_up_s: float = 120.0
    """What grows this soon after the first note is a service that gets ready."""
    p_max: float = 1e-4
    """How likely a series without a trend may look like the found one. Each window is judged thousands of times."""
    kept_s: float = 30.0
    """What should be 0 may be above for so long."""
    critical_s: float = HOUR_S
    """A limit that will be reached within so many seconds makes a leak critical."""
    names_max: int = 256
    """Counts that may be watched at once."""

    def __post_init__(self) -> None:
        """Refuse a guard that could never see anything."""
        if not self.spans_s or any(not 0 < span < inf for span in self.spans_s):
            raise ValueError(f"spans_s must be numbers above 0, at least one, got {self.spans_s}")
        if not 10 <= self.points_min <= self.points <= 100:  # noqa: PLR2004 - enough to be sure; all pairs are looked at
            raise ValueError(
                f"points must be from points_min (at least 10) to 100, got {self.points_min}, {self.points}"
            )
        if not 0 < self.p_max < 1:
            raise ValueError(f"p_max must be between 0 and 1, got {self.p_max}")
        for name in ("warm_up_s", "kept_s", "critical_s"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be a number from 0, got {getattr(self, name)}")
        if self.names_max < 1:
            raise ValueError(f"names_max must be at least 1, got {self.names_max}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """What was found of one name, with what proves it."""

    name: str
    kind: Kind
    """grows: its floor rises; kept: it should be 0 and is not; full: its limit is reached."""
    severity: Severity
    value: float
    """The newest lowest count."""
    before: float
    """The one at the beginning of the window."""
    span_s: float
    per_hour: float = 0.0
    per_hour_low: float = 0.0
    """The slope, and the lower end of its 98 % interval."""
    confidence: float = 1.0
    full_in_s: float | None = None
    points: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """Say it in words."""
        span = f"{self.span_s / 60.0:.0f} min"
        match self.kind:
            case "full":
                return f"{self.name} is {self.value:g}: its limit is reached"
            case "kept":
                return f"{self.name} is {self.value:g} for {self.span_s:.0f} s and should be 0"
            case _:
                ahead = "" if self.full_in_s is None else f"; full in {self.full_in_s / 60.0:.0f} min"
                return (
                    f"{self.name} grew from {self.before:g} to {self.value:g} in {span} and does not fall back: "
                    f"{self.per_hour:+.4g} an hour (98 % sure: at least {self.per_hour_low:.4g}){ahead}"
                )


@dataclass(frozen=True, slots=True)
class LeakMoved:
    """A leak was found, got worse or better, or is over; ``seq`` counts from 1 without gaps."""

    seq: int
    name: str
    before: Severity | None
    after: Severity | None
    leak: Leak
    """The evidence: the newest one, or the last there was."""


class _Window:
    """The lowest counts of the last spans, in O(1) memory."""

    __slots__ = ("ends", "leak", "low", "peak", "points", "span_s")

    def __init__(self, span_s: float, points: int, since: float) -> None:
        self.span_s, self.ends = span_s, since + span_s
        self.low = inf
        self.peak = 0.0
        """The highest floor that lies before the window, fading."""
        self.points: deque[float] = deque(maxlen=points)
        self.leak: Leak | None = None

    def note(self, now: float, count: float) -> bool:
        """Take a count; True if that closed a span."""
        if now < self.ends:
            self.low = min(self.low, count)
            return False
        if self.low < inf:
            left = self.points[0] if len(self.points) == self.points.maxlen else 0.0
            self.peak = max(self.peak * exp(-self.span_s / FADE_S), left)
            self.points.append(self.low)
        if now >= self.ends + self.span_s:
            self.points.clear()  # A gap: what was before it cannot be laid beside what comes now.
        behind = (now - self.ends) // self.span_s
        self.ends += (behind + 1.0) * self.span_s
        self.low = count
        return True


class _Name:
    """Everything about one name."""

    __slots__ = ("above", "leak", "since", "watch", "windows")

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.since: float | None = None
        self.windows: tuple[_Window, ...] = ()
        self.above: float | None = None
        """Since when it is above 0 without a break."""
        self.leak: Leak | None = None


class LeakGuard:
    """The counts of one service. An earlier ``now`` counts as the latest seen."""

    __slots__ = ("_config", "_names", "_now", "_seq")

    def __init__(self, config: LeakGuardConfig | None = None) -> None:
        """Start without names."""
        self._config = config or LeakGuardConfig()
        self._names: dict[str, _Name] = {}
        self._now = -inf
        self._seq = 0

    def watch(self, watch: Watch) -> None:
        """Watch one more count."""
        if watch.name in self._names:
            raise ValueError(f"{watch.name!r} is watched already: forget it first")
        if len(self._names) >= self._config.names_max:
            raise ValueError(f"{self._config.names_max} names are the limit: forget one before watching {watch.name!r}")
        self._names[watch.name] = _Name(watch)

    def forget(self, name: str) -> None:
        """Watch it no more: what was counted is gone on purpose."""
        self._get(name)
        del self._names[name]

    def note(self, name: str, now: float, count: float) -> LeakMoved | None:
        """Take a count: O(1), and once a span a judgement of at most ``points`` points."""
        known = self._get(name)
        if not (isfinite(now) and 0 <= count < inf):
            raise ValueError(f"{name}: needs a finite time and a count from 0, got {count} at {now}")
        self._now = at = max(self._now, now)
        if known.since is None:
            begin = at + self._config.warm_up_s
            known.since = at
            known.windows = tuple(_Window(span, self._config.points, begin) for span in self._config.spans_s)
        if at - known.since >= self._config.warm_up_s:
            for window in known.windows:
                if window.note(at, count):
                    window.leak = self._judge(known.watch, window)
        return self._settle(known, self._at_once(known, at, count))

    def findings(self) -> tuple[Leak, ...]:
        """Give what is found now, the most severe first."""
        found = [known.leak for known in self._names.values() if known.leak is not None]
        return tuple(sorted(found, key=lambda leak: (-_SEVERITY[leak.severity], leak.name)))

    def _get(self, name: str) -> _Name:
        known = self._names.get(name)
        if known is None:
            raise KeyError(f"{name!r} is not watched: watch it first")
        return known

    def _at_once(self, known: _Name, now: float, count: float) -> Leak | None:
        """Find what needs no trend: a limit that is reached, something that should not be there at all."""
        watch = known.watch
        if count <= 0:
            known.above = None
        elif known.above is None:
            known.above = now
        if watch.limit is not None and count >= watch.limit:
            return Leak(name=watch.name, kind="full", severity="critical", value=count, before=count, span_s=0.0)
        lasts = 0.0 if known.above is None else now - known.above
        if watch.zero and known.above is not None and lasts >= self._config.kept_s:
            return Leak(name=watch.name, kind="kept", severity="warning", value=count, before=0.0, span_s=lasts)
        return None

    def _settle(self, known: _Name, at_once: Leak | None) -> LeakMoved | None:
        leaks = [leak for leak in (at_once, *(window.leak for window in known.windows)) if leak is not None]
        leak = max(leaks, key=lambda leak: _SEVERITY[leak.severity], default=None)
        before, known.leak = known.leak, leak
        was = before.severity if before is not None else None
        severity = leak.severity if leak is not None else None
        evidence = leak or before
        if was == severity or evidence is None:
            return None
        self._seq += 1
        return LeakMoved(self._seq, known.watch.name, was, severity, evidence)

    def _judge(self, watch: Watch, window: _Window) -> Leak | None:
        config, values = self._config, tuple(window.points)
        if len(values) < config.points_min:
            return None
        grown = values[-1] - values[0]
        if grown < max(watch.growth_min, watch.share_min * values[0]):
            return None
        if values[-1] < max(values) - grown / 4.0 or values[-1] < window.peak + grown / 4.0:
            return None  # It falls back, or did so before from where it is now.
        p = mann_kendall(values)
        whole = theil_sen(range(len(values)), values, confidence=CONFIDENCE)
        end = values[-max(4, len(values) // 3) :]
        late = theil_sen(range(len(end)), end, confidence=CONFIDENCE)
        if p > config.p_max or whole.low <= 0 or late.slope < whole.slope / 4.0:
            return None
        per_s = whole.slope / window.span_s
        full_in_s = None if watch.limit is None else max(0.0, watch.limit - values[-1]) / per_s
        soon = full_in_s is not None and full_in_s <= config.critical_s
        if watch.load and not soon:
            return None
        return Leak(
            name=watch.name,
            kind="grows",
            severity="critical" if soon else "warning",
            value=values[-1],
            before=values[0],
            span_s=(len(values) - 1) * window.span_s,
            per_hour=per_s * HOUR_S,
            per_hour_low=whole.low / window.span_s * HOUR_S,
            confidence=1.0 - p,
            full_in_s=full_in_s,
            points=values,
        )

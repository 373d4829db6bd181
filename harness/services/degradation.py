"""Degradation: which features are switched off while the service is not well, and in which order.

In    update(now, level) once a tick; override(...) when a person decides, release(...) when they are done
Out   the mode, whether a feature is on; a Switched or a ModeMoved for every change
Rule  off: the least critical first, one step at a time, all at once when it is critical; on: the reverse, slower;
      an unknown level changes nothing; what a person orders ends by itself
Why   a service that does less on purpose goes on doing what matters; one that does everything late does nothing

    mode           who                       what is on
    full           the level, or a person    everything
    degraded       the level, or a person    what is critical enough for the level
    maintenance    a person, for some time   only what says `in_maintenance`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Final, Literal

from harness.core.bands import Level

Mode = Literal["full", "degraded", "maintenance"]
CRITICALITY: Final[Mapping[str, int]] = {"optional": 20, "important": 60, "essential": 100}
"""The names of criticality; any whole number from 0 to 100 stands between them."""
KEPT_FROM: Final[Mapping[Level, int]] = {"good": 0, "degraded": 50, "critical": 100}
"""At each level what is at least so critical stays on."""
AUTHOR_CHARS_MAX: Final = 80
REASON_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Something that the service can do without."""

    name: str
    """What ``enabled`` is asked for."""
    criticality: str | int
    """essential, important, optional, or a number from 0 to 100 (essential)."""
    in_maintenance: bool = False
    """It stays on while people work on the service."""

    def __post_init__(self) -> None:
        """Refuse a feature without a place in the order."""
        if not self.name:
            raise ValueError("a feature needs a name")
        known = self.criticality in CRITICALITY if isinstance(self.criticality, str) else 0 <= self.criticality <= 100  # noqa: PLR2004
        if not known:
            raise ValueError(
                f"{self.name}: criticality must be {', '.join(CRITICALITY)} or from 0 to 100, got {self.criticality!r}"
            )

    @property
    def rank(self) -> int:
        """The criticality as a number."""
        return CRITICALITY[self.criticality] if isinstance(self.criticality, str) else self.criticality


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradationConfig:
    """The ladder, and how fast it is climbed. Features of one criticality are one step."""

    features: Sequence[Feature]
    """Everything that can be switched off."""
    kept_from: Mapping[Level, int] = field(default_factory=lambda: KEPT_FROM)
    """How critical a feature must be to stay on: by default 0 when good, 50 when degraded, 100 when critical."""
    off_every_s: float = 5.0
    """Between two steps down, so that the first one can help; a critical level does not wait."""
    on_every_s: float = 30.0
    """Between any step and the next one up: load comes back in portions."""
    override_max_s: float = 86_400.0
    """No order of a person holds longer: a forgotten one must end."""

    def __post_init__(self) -> None:
        """Refuse a ladder that cannot be climbed."""
        names = [feature.name for feature in self.features]
        if len(set(names)) < len(names):
            raise ValueError(f"each feature must stand once, got {names}")
        if set(self.kept_from) != set(KEPT_FROM):
            raise ValueError(f"kept_from needs {', '.join(KEPT_FROM)}, got {', '.join(self.kept_from)}")
        good, degraded, critical = (self.kept_from[level] for level in KEPT_FROM)
        if not 0 == good <= degraded <= critical <= CRITICALITY["essential"]:
            raise ValueError(f"kept_from must ascend from 0 to at most 100, got {good}, {degraded}, {critical}")
        for name in ("off_every_s", "on_every_s"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be a number from 0, got {getattr(self, name)}")
        if not 0 < self.override_max_s < inf:
            raise ValueError(f"override_max_s must be a number above 0, got {self.override_max_s}")


@dataclass(frozen=True, slots=True)
class Override:
    """What a person has ordered, and until when."""

    mode: Mode
    author: str
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Switched:
    """A feature went off or came back."""

    feature: str
    on: bool
    criticality: int
    cause: str
    """The level, "ordered", or "released"."""


@dataclass(frozen=True, slots=True)
class ModeMoved:
    """The mode changed; ``seq`` counts from 1 without gaps. ``author`` is empty unless a person has ordered it."""

    seq: int
    before: Mode
    after: Mode
    cause: str
    author: str = ""
    reason: str = ""


Change = Switched | ModeMoved


@dataclass(frozen=True, slots=True)
class DegradationReport:
    """How it stands."""

    mode: Mode
    on: tuple[str, ...]
    off: tuple[str, ...]
    """In the order in which they come back."""
    override: Override | None
    next_step_s: float | None
    """Seconds until the next step may be taken, if one is due."""


class Degradation:
    """The ladder of one service. An earlier ``now`` counts as the latest seen."""

    __slots__ = ("_config", "_level", "_mode", "_now", "_off", "_override", "_ranks", "_seq", "_shed", "_stepped")

    def __init__(self, config: DegradationConfig) -> None:
        """Start with everything on."""
        self._config = config
        self._ranks = {feature.name: feature.rank for feature in config.features}
        self._level: Level = "good"
        self._mode: Mode = "full"
        self._off: frozenset[str] = frozenset()
        self._shed = 0
        """What is less critical than this is off."""
        self._override: Override | None = None
        self._seq = 0
        self._now = self._stepped = -inf

    @property
    def mode(self) -> Mode:
        """The mode after the last call."""
        return self._mode

    def enabled(self, feature: str) -> bool:
        """Whether a feature is on; ValueError for one that nobody announced."""
        if feature not in self._ranks:
            raise ValueError(f"there is no feature {feature!r}; there are {', '.join(self._ranks)}")
        return feature not in self._off

    def update(self, now: float, level: Level) -> tuple[Change, ...]:
        """Take the newest level; step if it is time. Also ends an override that is over."""
        if level != "unknown" and level not in self._config.kept_from:
            raise ValueError(f"level must be unknown, {', '.join(self._config.kept_from)}, got {level!r}")
        self._at(now)
        if level != "unknown":
            self._level = level
        cause: str = self._level
        if self._override is not None and self._now >= self._override.until:
            self._override, cause = None, "expired"
        self._step()
        return self._settle(cause)

    def override(self, now: float, mode: Mode, *, author: str, reason: str, ttl_s: float) -> tuple[Change, ...]:
        """Let a person decide for ``ttl_s`` seconds; a new order takes the place of an earlier one."""
        if mode not in ("full", "degraded", "maintenance"):
            raise ValueError(f"mode must be full, degraded or maintenance, got {mode!r}")
        if not 0 < ttl_s <= self._config.override_max_s:
            raise ValueError(f"ttl_s must be above 0 and at most {self._config.override_max_s:g}, got {ttl_s}")
        if not 1 <= len(author.strip()) <= AUTHOR_CHARS_MAX:
            raise ValueError(f"author must have 1 to {AUTHOR_CHARS_MAX} characters: somebody must answer for it")
        if not 1 <= len(reason.strip()) <= REASON_CHARS_MAX:
            raise ValueError(f"reason must have 1 to {REASON_CHARS_MAX} characters: users are told")
        at = self._at(now)
        self._override = Override(mode, author.strip(), reason.strip(), at + ttl_s)
        return self._settle("ordered")

    def release(self, now: float, *, author: str) -> tuple[Change, ...]:
        """End an override before its time; nothing happens if there is none."""
        self._at(now)
        if self._override is None:
            return ()
        self._override = None
        return self._settle("released", author)

    def retry_after_s(self, now: float) -> float | None:
        """Seconds until maintenance ends by itself; None in another mode."""
        if self._mode != "maintenance" or self._override is None:
            return None
        return max(0.0, self._override.until - now)

    def report(self, now: float) -> DegradationReport:
        """Say how it stands."""
        order = sorted(self._ranks, key=lambda name: -self._ranks[name])
        wait = self._wait_s()
        return DegradationReport(
            mode=self._mode,
            on=tuple(name for name in order if name not in self._off),
            off=tuple(name for name in order if name in self._off),
            override=self._override,
            next_step_s=None if wait is None else max(0.0, self._stepped + wait - max(now, self._now)),
        )

    def _at(self, now: float) -> float:
        if not isfinite(now):
            raise ValueError(f"now must be a finite number of seconds, got {now}")
        self._now = max(self._now, now)
        return self._now

    # --- The ladder ---------------------------------------------------------------------------------------------------
    def _wait_s(self) -> float | None:
        """How long to wait between the last step and the next; None if no step is due."""
        target = self._target()
        if target == self._shed:
            return None
        if target < self._shed:
            return self._config.on_every_s
        return 0.0 if self._level == "critical" else self._config.off_every_s

    def _target(self) -> int:
        """The threshold of the level, as the smallest one that switches off the same features."""
        kept_from = self._config.kept_from[self._level]
        return max((rank + 1 for rank in self._ranks.values() if rank < kept_from), default=0)

    def _step(self) -> None:
        wait = self._wait_s()
        if wait is None or self._now - self._stepped < wait:
            return
        target, ranks = self._target(), sorted(set(self._ranks.values()))
        if target < self._shed:
            # Everything at the top rank of what is off comes back; what stays off is what is below it.
            top = max(rank for rank in ranks if rank < self._shed)
            self._shed = max((rank + 1 for rank in ranks if rank < top), default=0)
        elif self._level == "critical":
            self._shed = target
        else:
            self._shed = min(rank for rank in ranks if rank >= self._shed) + 1
        self._stepped = self._now

    def _settle(self, cause: str, author: str = "") -> tuple[Change, ...]:
        """Work out what is off, and say what is different from before."""
        order, off = self._override, self._wanted_off()
        back, gone = self._off - off, off - self._off
        changes: list[Change] = [
            *(Switched(name, False, self._ranks[name], cause) for name in self._sorted(gone)),
            *(Switched(name, True, self._ranks[name], cause) for name in reversed(self._sorted(back))),
        ]
        mode: Mode = order.mode if order is not None else ("degraded" if off else "full")
        if mode != self._mode:
            self._seq += 1
            who = order.author if order is not None else author
            why = order.reason if order is not None else ""
            changes.append(ModeMoved(self._seq, self._mode, mode, cause, who, why))
        self._mode, self._off = mode, off
        return tuple(changes)

    def _wanted_off(self) -> frozenset[str]:
        match self._override:
            case None:
                return frozenset(name for name, rank in self._ranks.items() if rank < self._shed)
            case Override(mode="full"):
                return frozenset()
            case Override(mode="maintenance"):
                return frozenset(feature.name for feature in self._config.features if not feature.in_maintenance)
            case _:
                return frozenset(name for name, rank in self._ranks.items() if rank < CRITICALITY["essential"])

    def _sorted(self, names: frozenset[str]) -> list[str]:
        return sorted(names, key=lambda name: (self._ranks[name], name))

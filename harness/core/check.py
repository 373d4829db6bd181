"""Check: one thing whose health is observed again and again, and when to believe what was seen.

In    observations, each with its time
Out   a level, moved only by enough observations in a row; a finding for whoever asks
Rule  worse after `fall` in a row, and then as bad as all of them agree on; better after `rise`; the first one, and the
      first one after a silence, is believed at once
Why   one lost packet is no outage, and one lucky answer is no recovery
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

Level = Literal["pass", "warn", "fail", "unknown"]
WORSE: Final[Mapping[Level, int]] = {"pass": 0, "warn": 1, "unknown": 2, "fail": 3}
"""The order of the levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """One thing that is observed, such as "store:write", or "bot:process" of the instance "echo"."""

    name: str
    """What is looked at."""
    instance: str = ""
    """Which one, if there are several of a kind."""
    required: bool
    """Without it the service cannot take messages."""
    stale_after_s: float
    """An observation older than this is unknown."""
    fall: int = 3
    """Observations in a row that must be worse before the check is."""
    rise: int = 2
    """The same for better."""
    fail_at_once: bool = False
    """One failed observation is enough: for what cannot fail by chance."""

    def __post_init__(self) -> None:
        """Refuse a check that is always stale, or never moves."""
        if not self.name:
            raise ValueError("a check needs a name, such as 'store:write'")
        if not 0 < self.stale_after_s < inf:
            raise ValueError(f"{self.name}: stale_after_s must be a number above 0, got {self.stale_after_s}")
        for field in ("fall", "rise"):
            if getattr(self, field) < 1:
                raise ValueError(f"{self.name}: {field} must be at least 1, got {getattr(self, field)}")

    @property
    def key(self) -> str:
        """Name and instance in one word: "bot:process/echo"."""
        return f"{self.name}/{self.instance}" if self.instance else self.name


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen once."""

    at: float
    level: Level
    observed: float | str | None = None
    unit: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class HealthMoved:
    """One check changed its level; ``seq`` counts those of the whole machine from 1 without gaps."""

    seq: int
    check: str
    required: bool
    before: Level
    after: Level
    observations: int
    """How many in a row have led to it; 0: none came for too long."""
    evidence: Observation | None
    """The last of them; None if nothing was ever observed."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Somebody has seen it: until when it does not count. It ends at once when the check gets worse."""

    author: str
    reason: str
    until: float
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check says now; ``age_s`` is None if nothing was ever observed."""

    name: str
    instance: str = ""
    required: bool
    level: Level
    age_s: float | None
    observed: float | str | None = None
    unit: str = ""
    output: str = ""
    mute: Mute | None = None

    @property
    def key(self) -> str:
        """Name and instance in one word."""
        return f"{self.name}/{self.instance}" if self.instance else self.name

    @property
    def counted(self) -> Level:
        """What it counts for the whole."""
        if self.mute is not None:
            return "pass"
        if self.level in ("fail", "unknown"):
            return "fail" if self.required else "warn"
        return self.level


class Check:
    """One check's level and the observations that may change it."""

    __slots__ = ("better", "config", "last", "level", "mute", "pending", "worse")

    def __init__(self, config: CheckConfig) -> None:
        """Start unknown."""
        self.config = config
        self.level: Level = "unknown"
        self.last: Observation | None = None
        self.mute: Mute | None = None
        self.worse = self.better = 0
        self.pending: Level = "unknown"
        """What all observations of the streak agree on at least."""

    def take(self, seen: Observation) -> int:
        """Count an observation; give how many in a row have changed the level, 0 if it stays."""
        config, first = self.config, self.last is None or self.level == "unknown"
        self.last = seen
        distance = WORSE[seen.level] - WORSE[self.level]
        if distance == 0:
            self.worse = self.better = 0
            return 0
        if first or (config.fail_at_once and seen.level == "fail"):
            return self._settle(seen.level, 1)
        if distance > 0:
            self.pending = seen.level if not self.worse else min(self.pending, seen.level, key=WORSE.__getitem__)
            self.worse, self.better = self.worse + 1, 0
            return self._settle(self.pending, self.worse) if self.worse >= config.fall else 0
        self.pending = seen.level if not self.better else max(self.pending, seen.level, key=WORSE.__getitem__)
        self.worse, self.better = 0, self.better + 1
        return self._settle(self.pending, self.better) if self.better >= config.rise else 0

    def expire(self) -> None:
        """Become unknown: nothing was heard for too long."""
        self._settle("unknown", 0)

    def stale(self, now: float) -> bool:
        """Whether the last observation is too old to say anything."""
        return self.last is None or now - self.last.at > self.config.stale_after_s

    def finding(self, now: float) -> Finding:
        """Say how it stands."""
        config, last = self.config, self.last
        if last is None:
            said, age = "not observed yet", None
        else:
            age = max(0.0, now - last.at)
            said = f"last observed {age:.1f} s ago" if self.stale(now) else last.output
        level: Level = "unknown" if self.stale(now) else self.level
        mute = self.mute
        if mute is not None and (now >= mute.until or WORSE[level] > WORSE[mute.level]):
            mute = None
        return Finding(
            name=config.name,
            instance=config.instance,
            required=config.required,
            level=level,
            age_s=None if age is None else round(age, 3),
            observed=None if last is None else last.observed,
            unit="" if last is None else last.unit,
            output=said,
            mute=mute,
        )

    def _settle(self, level: Level, observations: int) -> int:
        if self.mute is not None and WORSE[level] > WORSE[self.mute.level]:
            self.mute = None
        self.level = level
        self.worse = self.better = 0
        return observations

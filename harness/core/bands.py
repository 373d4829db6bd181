"""Bands: a level made of a number that trembles, without trembling itself.

In    a score from 0 to 100 each time somebody evaluates; urgent if it must not wait
Out   the level, and a LevelMoved when it changes
Rule  worse after `bad_evaluations` in a row, better after `good_evaluations` in a row and not before `dwell_s`;
      one step at a time on the way up; while it flaps it stays at the worse level; an urgent fall waits for nothing
Why   one threshold on a noisy number changes its mind two hundred times an hour, and everything behind it follows

    level       becomes worse below                        becomes better from
    good        degraded_below, critical_below             -
    degraded    critical_below                             degraded_until: good
    critical    -                                          critical_until: degraded
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite
from typing import Final, Literal

Level = Literal["unknown", "good", "degraded", "critical"]
Cause = Literal["first", "score", "urgent"]
_RANK: Final[Mapping[Level, int]] = {"unknown": -1, "good": 0, "degraded": 1, "critical": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class BandsConfig:
    """Where the levels begin and end (points of 100), and how long it takes to believe it."""

    degraded_below: float = 65.0
    """Good ends below this."""
    degraded_until: float = 75.0
    """Good begins again from here."""
    critical_below: float = 35.0
    """Critical begins below this."""
    critical_until: float = 50.0
    """Critical ends from here."""
    bad_evaluations: int = 2
    """Evaluations in a row that must agree before it gets worse."""
    good_evaluations: int = 3
    """The same before it gets better."""
    dwell_s: float = 60.0
    """A level is kept at least so long before it gets better."""
    flap_changes: int = 4
    """So many changes within the window are flapping: the last one, if it is for the better, is not made. Steps in one
    direction count as one: good, degraded, critical and all the way back is one incident, not four changes."""
    flap_window_s: float = 600.0
    """Seconds for which a change counts."""

    def __post_init__(self) -> None:
        """Refuse bands that overlap and counts that never come true."""
        edges = (0.0, self.critical_below, self.critical_until, self.degraded_below, self.degraded_until, 100.0)
        if not all(low <= high for low, high in pairwise(edges)):
            raise ValueError(
                "bands must ascend from 0 to 100: critical_below, critical_until, degraded_below, degraded_until; "
                f"got {edges[1:-1]}"
            )
        for name in ("bad_evaluations", "good_evaluations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dwell_s < inf:
            raise ValueError(f"dwell_s must be a number from 0, got {self.dwell_s}")
        if self.flap_changes < 2:  # noqa: PLR2004 - one change is news, not flapping
            raise ValueError(f"flap_changes must be at least 2, got {self.flap_changes}")
        if not 0 < self.flap_window_s < inf:
            raise ValueError(f"flap_window_s must be a number above 0, got {self.flap_window_s}")


@dataclass(frozen=True, slots=True)
class LevelMoved:
    """One change; ``seq`` counts from 1 without gaps."""

    seq: int
    before: Level
    after: Level
    cause: Cause
    score: float

    @property
    def better(self) -> bool:
        """Whether this was a step up."""
        return self.before != "unknown" and _RANK[self.after] < _RANK[self.before]


class Bands:
    """The level of one number. Time never goes back: an earlier ``now`` counts as the latest seen."""

    __slots__ = ("_bad", "_changes", "_config", "_falling", "_good", "_level", "_mildest", "_now", "_seq", "_since")

    def __init__(self, config: BandsConfig) -> None:
        """Start unknown: the first score is believed at once."""
        self._config = config
        self._level: Level = "unknown"
        self._now = self._since = -inf
        self._seq = self._bad = self._good = 0
        self._mildest: Level = "critical"
        self._falling = False
        self._changes: deque[float] = deque(maxlen=config.flap_changes)

    @property
    def level(self) -> Level:
        """The level after the last step."""
        return self._level

    @property
    def since(self) -> float:
        """When the level was reached; -inf while it is unknown."""
        return self._since

    def flapping(self, now: float) -> bool:
        """Whether it has turned so often that it must not get better now."""
        while self._changes and now - self._changes[0] >= self._config.flap_window_s:
            self._changes.popleft()
        return self._falling and len(self._changes) >= self._config.flap_changes - 1

    def step(self, now: float, score: float, *, urgent: bool = False) -> LevelMoved | None:
        """Evaluate once; two evaluations at one moment count as one."""
        if not (isfinite(now) and 0.0 <= score <= 100.0):  # noqa: PLR2004 - points of 100
            raise ValueError(f"a step needs a finite time and a score from 0 to 100, got {now} and {score}")
        if urgent:
            self._now = max(now, self._now)
            self._good = 0
            return self._move("critical", "urgent", score) if self._level != "critical" else None
        if self._level == "unknown":
            self._now = now
            self._level = "good"  # Only to be judged from: a first score has no band to leave.
            first, self._level = self._wanted(score), "unknown"
            return self._move(first, "first", score)
        if now <= self._now:
            return None
        self._now = now
        wanted = self._wanted(score)
        if _RANK[wanted] > _RANK[self._level]:
            return self._worse(wanted, score)
        self._bad, self._mildest = 0, "critical"
        if wanted == self._level:
            self._good = 0
            return None
        self._good += 1
        rested = now - self._since >= self._config.dwell_s
        if self._good < self._config.good_evaluations or not rested or self.flapping(now):
            return None
        return self._move(wanted, "score", score)

    def _worse(self, wanted: Level, score: float) -> LevelMoved | None:
        self._good = 0
        self._bad += 1
        self._mildest = min(self._mildest, wanted, key=_RANK.__getitem__)
        # All evaluations of the streak agree on the mildest of them, and on nothing more.
        return self._move(self._mildest, "score", score) if self._bad >= self._config.bad_evaluations else None

    def _wanted(self, score: float) -> Level:
        config = self._config
        if score < config.critical_below:
            return "critical"
        match self._level:
            case "good":
                return "degraded" if score < config.degraded_below else "good"
            case "critical":
                return "degraded" if score >= config.critical_until else "critical"
            case _:
                return "good" if score >= config.degraded_until else "degraded"

    def _move(self, after: Level, cause: Cause, score: float) -> LevelMoved:
        before, self._level = self._level, after
        self._seq += 1
        self._since = self._now
        self._bad = self._good = 0
        self._mildest = "critical"
        falling = _RANK[after] > _RANK[before]
        if before != "unknown" and (falling is not self._falling or not self._changes):
            self._changes.append(self._now)
        self._falling = falling
        return LevelMoved(self._seq, before, after, cause, score)

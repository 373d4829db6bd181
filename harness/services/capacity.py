"""Capacity: the hard limits of the service, held at the door.

In    note(now, ...) what is in use; admit(now, demand) before anything is taken on; change(...) a limit at run time
Out   None or one Refusal that names the limit; Changed; a Report of every limit with a recommendation
Rule  what is not known counts as full, never as free; a refused demand or change leaves everything as it was
Why   a service that takes on more than it can hold loses what it has already accepted

    bots            processes that run                          memory_bytes   memory in use by the service and its bots
    tasks_per_s     demands admitted in any second              queue_*        what waits: how many, how large, how long

A reading replaces what was known; until the next one, what was admitted is added to it. A reading that is older than
``stale_after_s`` is unknown again. ``tasks_per_s`` needs no reading: the admissions of the last second are remembered.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final

from harness.core.headroom import NAMES, Changed, Name, Report, Use, recommend
from harness.core.moments import BEGINNING, forward, spread
from harness.core.ranges import above_zero, between, whole

SECOND_S: Final = 1.0
ALLOWED_MAX: Final = 2**53
"""No limit is larger: beyond, a JSON document cannot tell every whole number from its neighbours."""
AUTHOR_CHARS_MAX: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be in use at most; None: not limited. Above 0, at most 2**53, whole numbers but for the age."""

    bots: int | None = 32
    """Bot processes that may run at once."""
    tasks_per_s: int | None = 500
    """Messages that may be taken on in any second; at most 100 000, for so many moments are remembered."""
    memory_bytes: int | None = None
    """Bytes of memory that the service and its bots may use."""
    queue_count: int | None = 10_000
    """Messages that may wait, for all bots together."""
    queue_bytes: int | None = 64_000_000
    """Bytes of those messages."""
    queue_age_s: float | None = 120.0
    """Seconds that the oldest of them may have waited; beyond, nothing more is let in behind it."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None:
                continue
            if one.name == "queue_age_s":
                above_zero(one.name, value)
            else:
                whole(one.name, value, 1)
            between(one.name, value, 0, ALLOWED_MAX)
        if self.tasks_per_s is not None:
            between("tasks_per_s", self.tasks_per_s, 1, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityConfig:
    """When a reading is too old, and when a limit is nearly reached."""

    stale_after_s: float = 10.0
    """Seconds after which a reading is unknown."""
    near: float = 0.9
    """Utilisation from which on a limit is reported as nearly reached."""
    recent_s: float = 60.0
    """Seconds for which a refusal weighs in the recommendation."""
    retry_after_s: float = 1.0
    """Seconds that a refusal names where nobody can know, before chance makes it longer."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("stale_after_s", "recent_s", "retry_after_s"):
            above_zero(name, getattr(self, name))
        between("near", self.near, 0.01, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What somebody wants to be taken on; only the limits of what is above 0 are asked, and memory always."""

    bots: int = 0
    tasks: int = 0
    queue_count: int = 0
    queue_bytes: int = 0
    memory_bytes: int = 0
    asks: tuple[tuple[Name, int], ...] = field(init=False, repr=False, compare=False)
    """Which limits are asked, in the order of ``NAMES``: found once, for the same demand is made again and again."""

    def __post_init__(self) -> None:
        """Refuse what nobody can want."""
        wants: tuple[tuple[str, Name, int], ...] = (
            ("bots", "bots", self.bots),
            ("tasks", "tasks_per_s", self.tasks),
            ("memory_bytes", "memory_bytes", self.memory_bytes),
            ("queue_count", "queue_count", self.queue_count),
            ("queue_bytes", "queue_bytes", self.queue_bytes),
        )
        for field_name, _, want in wants:
            whole(field_name, want, 0)
        asks = [(name, want) for _, name, want in wants if want or name == "memory_bytes"]
        if self.queue_count:
            asks.append(("queue_age_s", 0))
        object.__setattr__(self, "asks", tuple(asks))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The demand cannot be met; ``used`` is None if it is unknown, ``retry_after_s`` None if it never can be met."""

    limit: Name
    used: float | None
    allowed: float
    retry_after_s: float | None
    said: str


@dataclass(slots=True)
class _Reading:
    used: float = 0.0
    at: float = -math.inf


@dataclass(slots=True)
class _Refused:
    count: int = 0
    at: float = -math.inf


@dataclass(slots=True)
class _Book:
    """What is remembered of each limit."""

    readings: dict[Name, _Reading] = field(default_factory=lambda: {name: _Reading() for name in NAMES})
    refused: dict[Name, _Refused] = field(default_factory=lambda: {name: _Refused() for name in NAMES})
    changed: dict[Name, Changed] = field(default_factory=dict)


class Capacity:
    """The limits of one service."""

    __slots__ = ("_book", "_config", "_last", "_limits", "_rng", "_tasks")

    def __init__(self, limits: Limits, config: CapacityConfig, rng: random.Random) -> None:
        """Start with nothing known; ``rng`` spreads the times that refusals name."""
        self._limits = limits
        self._config = config
        self._rng = rng
        self._book = _Book()
        self._tasks: deque[float] = deque()
        self._last = BEGINNING

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits

    def note(self, now: float, readings: Mapping[Name, float]) -> None:
        """Keep readings of what is in use; ValueError, and nothing kept, if one is no number or has no limit."""
        for name, used in readings.items():
            if name not in self._book.readings or name == "tasks_per_s":
                raise ValueError(f"{name!r} is not read from outside: {', '.join(NAMES)} are limits, tasks are counted")
            if not 0 <= used < math.inf:
                raise ValueError(f"{name} in use must be a number of at least 0, got {used}")
        now = self._pass(now)
        for name, used in readings.items():
            reading = self._book.readings[name]
            reading.used, reading.at = used, now

    def admit(self, now: float, demand: Demand) -> Refusal | None:
        """Take a demand on, or say which limit it would break; the first in the order of ``NAMES``."""
        now = self._pass(now)
        limits, readings = self._limits, self._book.readings
        for name, want in demand.asks:
            allowed: float | None = getattr(limits, name)
            if allowed is not None:
                used = self._used(name, now)
                if used is None or used + want > allowed:
                    refused = self._book.refused[name]
                    refused.count, refused.at = refused.count + 1, now
                    return self._refuse(name, used, want, allowed, now)
        for name, want in demand.asks:
            readings[name].used += want
        if limits.tasks_per_s is not None:  # Else nobody asks, and nothing would bound what is remembered.
            self._tasks.extend([now] * demand.tasks)
        return None

    def change(self, now: float, limit: str, allowed: float | None, *, author: str) -> Changed:
        """Set a limit at run time; ValueError, and nothing changed, if it is unknown, impossible or has no author."""
        if limit not in NAMES:
            raise ValueError(f"there is no limit {limit!r}: the limits are {', '.join(NAMES)}")
        if not 1 <= len(author.strip()) <= AUTHOR_CHARS_MAX:
            raise ValueError(f"author must have 1 to {AUTHOR_CHARS_MAX} characters: who changes a limit says so")
        name: Name = limit
        limits = Limits(**{**asdict(self._limits), name: allowed})
        now = self._pass(now)
        changed = Changed(limit=name, before=getattr(self._limits, name), after=allowed, author=author, at=now)
        self._limits = limits
        if limits.tasks_per_s is None:
            self._tasks.clear()
        self._book.changed[name] = changed
        return changed

    def report(self, now: float) -> Report:
        """Say how full everything is, and what follows."""
        now = self._pass(now)
        uses = tuple(self._use(name, now) for name in NAMES)
        recent = {name for name in NAMES if now - self._book.refused[name].at <= self._config.recent_s}
        return Report(uses, recommend(uses, recent, self._config.near))

    # --- One limit ----------------------------------------------------------------------------------------------------
    def _pass(self, now: float) -> float:
        if not self._last <= now < math.inf:
            now = forward(now, self._last)
        self._last = now
        tasks = self._tasks
        while tasks and now - tasks[0] >= SECOND_S:
            tasks.popleft()
        return now

    def _used(self, name: Name, now: float) -> float | None:
        """Give what is in use; None if it is not known."""
        if name == "tasks_per_s":
            return float(len(self._tasks))
        reading = self._book.readings[name]
        return reading.used if now - reading.at <= self._config.stale_after_s else None

    def _refuse(self, name: Name, used: float | None, want: float, allowed: float, now: float) -> Refusal:
        if want > allowed:
            said = f"{name}: {want:g} are asked for, {allowed:g} are allowed in all: ask for less"
            return Refusal(name, used, allowed, None, said)
        wait_s = spread(self._wait_s(name, want, allowed, now), self._rng)
        said = f"{name}: {'unknown' if used is None else f'{used:g}'} of {allowed:g} in use; try again"
        return Refusal(name, used, allowed, wait_s, said)

    def _wait_s(self, name: Name, want: float, allowed: float, now: float) -> float:
        """Seconds until it may be worth another try: for tasks it is known when places come free."""
        if name != "tasks_per_s":
            return self._config.retry_after_s
        surplus = int(len(self._tasks) + want - allowed)
        return self._tasks[surplus - 1] + SECOND_S - now

    # --- The report ---------------------------------------------------------------------------------------------------
    def _use(self, name: Name, now: float) -> Use:
        used = self._used(name, now)
        allowed: float | None = getattr(self._limits, name)
        return Use(
            limit=name,
            used=used,
            allowed=allowed,
            utilisation=None if used is None or allowed is None else used / allowed,
            refused=self._book.refused[name].count,
            changed=self._book.changed.get(name),
        )

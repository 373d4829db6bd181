"""Scenario: what one run is: a cast of bots, a load, faults on a timeline, and what must hold.

In    a mapping, as a TOML file gives it, through decode.py
Out   one frozen value that every distance reads
Rule  what contradicts itself is refused here, with the path of the field, before anything starts
Why   the same file is simulated, run against real processes, and driven through a browser
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from harness.core.settings import Settings
from harness.errors import ScenarioError

Distance = Literal["simulated", "wired", "browser"]
DISTANCES: Final[tuple[Distance, ...]] = ("simulated", "wired", "browser")
SERVICE: Final = "service"
"""What a leak check calls the process that is no bot."""
SEED_MAX: Final = 2**63 - 1
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """More users for a while: they come at ``at_s``, within one think time, and send nothing after ``at_s + for_s``."""

    users: int
    """How many come."""
    at_s: float
    """When they come, in seconds from the start of the load."""
    for_s: float
    """How long they stay, in seconds."""

    def __post_init__(self) -> None:
        """Refuse a burst of nobody."""
        _range("users", self.users, 1, 10_000)
        _range("at_s", self.at_s, 0.0, 86_400)
        _range("for_s", self.for_s, 0.1, 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Closed-model users: each sends, reads the whole reply, thinks, and sends again."""

    users: int = 1
    """How many users at once."""
    say_every_s: float = 1.0
    """Mean think time between a reply and the next message, in seconds."""
    words: int = 4
    """Words in each message."""
    warm_up_s: float = 0.0
    """Messages sent before this many seconds are checked but not timed."""
    burst: Burst | None = None
    """More users for a while."""

    @property
    def users_in_all(self) -> int:
        """Users, with those of the burst; they have the highest numbers."""
        return self.users + (self.burst.users if self.burst is not None else 0)

    def stay_s(self, user: int) -> tuple[float, float]:
        """Give when a user (counted from 0) comes and goes, in seconds from the start of the load."""
        if self.burst is None or user < self.users:
            return 0.0, math.inf
        return self.burst.at_s, self.burst.at_s + self.burst.for_s

    def __post_init__(self) -> None:
        """Refuse a load that sends nothing or without end."""
        _range("users", self.users, 1, 10_000)
        _range("say_every_s", self.say_every_s, 0.0, 3600)
        _range("words", self.words, 1, 2_000)
        _range("warm_up_s", self.warm_up_s, 0.0, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """``count`` bots of one behaviour; named ``name``, or ``name-1`` to ``name-N``."""

    behaviour: str
    """A file in fake_bots/behaviours."""
    name: str = ""
    """The bot's name; the behaviour's name if left out."""
    count: int = 1
    """How many of them."""
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Fields of the behaviour."""

    def __post_init__(self) -> None:
        """Refuse names that cannot stand in a path or a metric."""
        _range("count", self.count, 1, 1_000)
        if not NAME.fullmatch(self.name or self.behaviour):
            raise ScenarioError(
                f"name: {self.name or self.behaviour!r} must be 1 to 40 of a-z, 0-9 and '-', starting with no '-'"
            )
        longest = self.names()[-1]
        if not NAME.fullmatch(longest):
            raise ScenarioError(f"name: {longest!r} has {len(longest)} characters with its number, at most 40 may be")

    def names(self) -> tuple[str, ...]:
        """Give every bot of this entry its name."""
        base = self.name or self.behaviour
        return (base,) if self.count == 1 else tuple(f"{base}-{n}" for n in range(1, self.count + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """One fault on the timeline."""

    kind: str
    """A file in harness/injectors."""
    bot: str
    """The bot that it hits."""
    at_s: float
    """When it begins, in seconds from the start of the load."""
    for_s: float
    """How long it lasts, in seconds."""

    def __post_init__(self) -> None:
        """Refuse a fault that cannot be placed."""
        _range("at_s", self.at_s, 0.0, 86_400)
        _range("for_s", self.for_s, 0.01, 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """A leak check: cycles of load, drain, collection and measurement."""

    cycles: int = 10
    """Cycles that are judged."""
    warm_up: int = 3
    """Cycles before them that are not."""
    messages: int = 200
    """Messages in each cycle."""

    def __post_init__(self) -> None:
        """Refuse what no statistics can judge."""
        _range("cycles", self.cycles, 7, 200)
        _range("warm_up", self.warm_up, 0, 100)
        _range("messages", self.messages, 10, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a figure must keep: at least ``min``, at most ``max``."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        """Refuse a bound that nothing or everything meets."""
        if self.min is None and self.max is None:
            raise ScenarioError("needs min, max or both")
        for name, value in (("min", self.min), ("max", self.max)):
            if value is not None and not math.isfinite(value):
                raise ScenarioError(f"{name}: must be a finite number, got {value:g}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ScenarioError(f"min {self.min} is above max {self.max}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One file in scenarios/."""

    name: str
    """How it is called in reports; the file's place is how it is called on the command line."""
    why: str
    """One sentence: what would be wrong in the world if this failed."""
    distances: tuple[Distance, ...] = DISTANCES
    """Where it runs unless ``--distance`` says otherwise."""
    duration_s: float = 10.0
    """How long the load lasts, in seconds."""
    seed: int = 7
    """All dice of the run are thrown from it."""
    load: Load = field(default_factory=Load)
    bots: tuple[Bot, ...] = ()
    faults: tuple[FaultPlan, ...] = ()
    service: Settings = field(default_factory=Settings)
    """Limits of the chat service that differ from its defaults."""
    memory: MemoryPlan | None = None
    """Makes the wired distance a leak check instead of a timed load."""
    expect: Mapping[str, Bound] = field(default_factory=dict)
    """Bounds on figures; ``docs/reference/figures.md`` lists them."""

    def __post_init__(self) -> None:
        """Refuse contradictions between the parts."""
        _range("duration_s", self.duration_s, 0.1, 86_400)
        if not 0 <= self.seed <= SEED_MAX:
            raise ScenarioError(f"seed: must be from 0 to {SEED_MAX}, got {self.seed}")
        if not self.name.strip() or not self.why.strip():
            raise ScenarioError("name and why must not be empty")
        if not self.distances:
            raise ScenarioError("distances: name at least one of simulated, wired, browser")
        for place, distance in enumerate(self.distances):
            if distance in self.distances[:place]:
                raise ScenarioError(f"distances[{place}]: {distance!r} is named twice")
        if not self.bots:
            raise ScenarioError("bots: a scenario needs at least one bot")
        names = self.bot_names()
        for name in names:
            if names.count(name) > 1:
                raise ScenarioError(f"bots: two bots are called {name!r}; give one of them a name")
        if self.memory is not None and SERVICE in names:
            raise ScenarioError(
                f"bots: a leak check calls the service itself {SERVICE!r}; give the bot of that name another one"
            )
        if len(names) > self.service.bots_max:
            raise ScenarioError(f"bots: {len(names)} bots, but service.bots_max is {self.service.bots_max}")
        for place, fault in enumerate(self.faults):
            if fault.bot not in names:
                raise ScenarioError(
                    f"faults[{place}].bot: no bot is called {fault.bot!r} (there are {', '.join(names)})"
                )
            if fault.at_s + fault.for_s > self.duration_s:
                raise ScenarioError(
                    f"faults[{place}]: ends after {fault.at_s + fault.for_s:g} s, but duration_s is {self.duration_s:g}"
                )
        if self.load.warm_up_s >= self.duration_s:
            raise ScenarioError(f"load.warm_up_s: {self.load.warm_up_s:g} s leaves nothing of {self.duration_s:g} s")
        burst = self.load.burst
        if burst is not None and burst.at_s + burst.for_s > self.duration_s:
            raise ScenarioError(
                f"load.burst: ends after {burst.at_s + burst.for_s:g} s, but duration_s is {self.duration_s:g}"
            )

    def bot_names(self) -> tuple[str, ...]:
        """Every bot of the cast, in order."""
        return tuple(name for bot in self.bots for name in bot.names())


def folder_of(case: str, distance: str) -> str:
    """Name the folder of a case: ``smoke/chat`` wired is "smoke.chat-wired"; no other case has the same."""
    return f"{case.replace('%', '%25').replace('.', '%2E').replace('/', '.')}-{distance}"


def _range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ScenarioError(f"{name}: must be from {low:g} to {high:g}, got {value:g}")

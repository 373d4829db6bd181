"""Roster: what the engine remembers of bots, turns and sessions. Values with state, no decisions.

In    the engine's assignments
Out   the state that the next decision starts from
Rule  only the engine writes; everything is bounded by Settings
Why   the engine reads as a list of rules when the nouns stand elsewhere
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from harness.chat.session_log import SessionLog
from harness.core.events import BotStatus, Options
from harness.services.circuit_breaker import CircuitBreaker, Permit, State
from harness.services.concurrency_limit import ConcurrencyLimit, Lease
from harness.services.recovery import Call
from harness.services.wait_queue import WaitQueue

READINESS: Final = ("online", "starting", "restarting")
"""The states of a process, the best first."""


@dataclass(slots=True)
class Turn:
    """One accepted message on its way to a reply."""

    turn: str
    cid: str
    session: str
    bot: str
    text: str
    conn: int
    since: float
    """When it was accepted."""
    begin_by: float
    """When its reply must have begun."""
    instance: str = ""
    """The process that works on it; empty while it waits."""
    asked: float = 0.0
    """When the bot was asked."""
    call: Call | None = None
    """What recovery knows of it."""
    permit: Permit | None = None
    lease: Lease | None = None
    signal_s: float | None = None
    """Seconds from the question to the first sign of an answer: how busy the bot is, whatever waits before it."""
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    first_s: float | None = None
    """Seconds from acceptance to the first token."""
    deadline: float = 0.0
    """When the bot will have been silent for too long."""
    ends: float = 0.0
    """When the whole reply must be there."""
    checkpoint: float = 0.0

    @property
    def overdue_at(self) -> float:
        """When the bot that works on it will have failed it."""
        return min(self.deadline, self.ends, self.begin_by)

    @property
    def reply(self) -> str:
        """What has arrived of the reply."""
        return "".join(self.pieces)


@dataclass(slots=True)
class Instance:
    """One process of a bot. ``state`` is one of READINESS."""

    name: str
    bot: str
    limit: ConcurrencyLimit
    state: str = "starting"
    pid: int | None = None
    deaths: int = 0
    """Deaths since the last good reply; the pause before a restart grows with each."""
    retiring: bool = False
    """It gets nothing new, and ends when it has nothing left to do."""
    in_flight: dict[str, Turn] = field(default_factory=dict)


@dataclass(slots=True)
class BotRecord:
    """One bot: its processes, its breaker, its work."""

    bot: str
    behaviour: str
    options: Options
    seed: int
    breaker: CircuitBreaker
    queue: WaitQueue[Turn]
    instances: dict[str, Instance] = field(default_factory=dict)
    restarts: int = 0
    why: str = ""
    resting: dict[str, Turn] = field(default_factory=dict)
    """Turns that failed before a word of their reply had come, until they are asked again."""
    _named: int = 0

    @property
    def state(self) -> str:
        """The best that can be said of its processes: online, starting or restarting."""
        states = {instance.state for instance in self.instances.values() if not instance.retiring}
        return next((state for state in READINESS if state in states), "restarting")

    @property
    def in_flight(self) -> int:
        """Turns that its processes work on."""
        return sum(len(instance.in_flight) for instance in self.instances.values())

    @property
    def active(self) -> list[Instance]:
        """Its processes, without those that are on their way out."""
        return [instance for instance in self.instances.values() if not instance.retiring]

    def add(self, limit: ConcurrencyLimit) -> Instance:
        """Make room for another process. The first is called like the bot; the others cannot be taken for a bot."""
        self._named += 1
        name = self.bot if self._named == 1 else f"{self.bot}~{self._named}"
        instance = self.instances[name] = Instance(name, self.bot, limit)
        return instance

    def freest(self) -> Instance | None:
        """Give the process that has a place and the least to do; None if there is no place."""
        found = None
        for instance in self.instances.values():
            if (
                instance.state == "online"
                and not instance.retiring
                and len(instance.in_flight) < instance.limit.limit
                and (found is None or len(instance.in_flight) < len(found.in_flight))
            ):
                found = instance
        return found

    def load(self, now: float) -> dict[str, object]:
        """Give how busy it is, as ``GET /api/capacity`` shows it; times in seconds."""
        active = self.active
        places = sum(instance.limit.limit for instance in active if instance.state == "online")
        return {
            "instances": len(active),
            "places": places,
            "in_flight": self.in_flight,
            "utilisation": round(self.in_flight / places, 4) if places else None,
            "queued": len(self.queue),
            "resting": len(self.resting),
            "oldest_age_s": round(self.queue.oldest_age_s(now), 3),
            "eta_s": round(self.queue.eta_s(now), 3),
        }

    def status(self, now: float, state: str = "") -> BotStatus:
        """Give the newest state as clients see it."""
        wait = self.breaker.retry_after_s(now)
        return BotStatus(
            bot=self.bot,
            behaviour=self.behaviour,
            state=state or self.state,
            breaker=self.breaker.state.value,
            retry_after_s=None if wait is None else round(wait, 3),
            pid=next((instance.pid for instance in self.instances.values()), None),
            restarts=self.restarts,
            in_flight=self.in_flight,
            queued=len(self.queue) + len(self.resting),
            why=self.why if self.state != "online" or self.breaker.state is not State.CLOSED else "",
            instances=len(self.active),
        )


@dataclass(slots=True)
class SessionRecord:
    """One session: its log, who is connected, which turns are open."""

    epoch: str
    log: SessionLog
    clients: set[int] = field(default_factory=set)
    turns: dict[str, Turn] = field(default_factory=dict)
    """By the client's id of the message."""


def dependency(bot: str) -> str:
    """Give the name under which recovery knows a bot: a bot may be called like something else that is recovered."""
    return f"bot:{bot}"

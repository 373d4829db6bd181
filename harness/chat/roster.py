"""Roster: what the engine remembers of bots, turns and sessions. Values with state, no decisions.

In    the engine's assignments
Out   the state that the next decision starts from
Rule  only the engine writes; everything is bounded by Settings
Why   the engine reads as a list of rules when the nouns stand elsewhere
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from harness.chat.session_log import SessionLog
from harness.core.events import BotStatus, Options
from harness.services.circuit_breaker import CircuitBreaker, Permit, State


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
    permit: Permit | None = None
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
    def reply(self) -> str:
        """What has arrived of the reply."""
        return "".join(self.pieces)


@dataclass(slots=True)
class BotRecord:
    """One bot: its process, its breaker, its work. ``state`` is starting, online or restarting."""

    bot: str
    behaviour: str
    options: Options
    seed: int
    breaker: CircuitBreaker
    state: str = "starting"
    pid: int | None = None
    restarts: int = 0
    deaths: int = 0
    """Deaths since the last good reply; the pause before a restart doubles with each."""
    why: str = ""
    in_flight: dict[str, Turn] = field(default_factory=dict)
    queue: deque[Turn] = field(default_factory=deque)

    def status(self, now: float, state: str = "") -> BotStatus:
        """Give the newest state as clients see it."""
        wait = self.breaker.retry_after_s(now)
        return BotStatus(
            bot=self.bot,
            behaviour=self.behaviour,
            state=state or self.state,
            breaker=self.breaker.state.value,
            retry_after_s=None if wait is None else round(wait, 3),
            pid=self.pid,
            restarts=self.restarts,
            in_flight=len(self.in_flight),
            queued=len(self.queue),
            why=self.why if self.state != "online" or self.breaker.state is not State.CLOSED else "",
        )


@dataclass(slots=True)
class SessionRecord:
    """One session: its log, who is connected, which turns are open."""

    epoch: str
    log: SessionLog
    clients: set[int] = field(default_factory=set)
    turns: dict[str, Turn] = field(default_factory=dict)
    """By the client's id of the message."""

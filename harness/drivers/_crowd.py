"""Crowd: the users of a simulation. Each sends, waits for the end of the reply, thinks, and sends again.

In    what a session is told: accepted, pieces, the end, a refusal, a failure
Out   messages to the engine; the facts that a client of the real service would write down
Rule  the habits are those of the wired users; a session has one user, and a user one open message
Why   the same facts at every distance, so that one verdict judges them all
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.core.events import (
    Accepted,
    Begin,
    ClientAcked,
    ClientJoined,
    Delta,
    End,
    Failed,
    Frame,
    GotAccepted,
    GotFailure,
    GotFirstToken,
    GotRefusal,
    GotReply,
    Publish,
    Rejected,
    Sent,
    UserSaid,
)
from harness.core.scenario import Scenario
from harness.core.texts import crc_of
from harness.drivers._clockwork import HOP_S, Stage
from harness.load.habits import Habits

SOURCE = "client"


@dataclass(slots=True)
class _User:
    """One person at one session, and what it has seen of the reply that it waits for."""

    number: int
    session: str
    bot: str
    habits: Habits
    comes_s: float
    goes_s: float
    cid: str = ""
    chars: int = 0
    pieces: list[str] = field(default_factory=list)
    seq: int = 0


class Crowd:
    """All users of one simulation; counts tell what became of their messages."""

    def __init__(self, stage: Stage, scenario: Scenario, seed: int) -> None:
        """Know who will come; nobody has said anything yet."""
        self.sent = self.answered = self.failed = 0
        self._stage, self._clock = stage, stage.clock
        self._begins = self._ends = 0.0
        self._users: dict[str, _User] = {}
        load, bots = scenario.load, scenario.bot_names()
        for number in range(load.users_in_all):
            habits = Habits(seed=seed, user=number, think_s_mean=load.say_every_s, words=load.words)
            user = _User(number, f"s{number}", bots[number % len(bots)], habits, *load.stay_s(number))
            self._users[user.session] = user

    @property
    def sessions(self) -> tuple[str, ...]:
        """Every session, in order."""
        return tuple(self._users)

    def waiting(self) -> bool:
        """Whether somebody still waits for a reply."""
        return any(user.cid for user in self._users.values())

    def come(self, begins: float, ends: float) -> None:
        """Join every session, and let everybody begin within one cycle; nobody sends from ``ends`` on."""
        self._begins, self._ends = begins, ends
        for user in self._users.values():
            self._stage.receive(ClientJoined(user.number, user.session))
            self._say_at(user, begins + user.comes_s + user.habits.start_s())

    def hear(self, act: Publish) -> None:
        """Let a user read the next frame of its session."""
        user = self._users[act.session]
        user.seq = act.seq
        frame = act.frame
        if type(frame) is not Delta:
            self._show(user, frame)
            return
        if user.chars == 0:
            self._stage.write(SOURCE, GotFirstToken(user.cid))
        user.chars += len(frame.text)
        user.pieces.append(frame.text)

    def reply(self, conn: int, frame: Frame) -> None:
        """Let a user read an answer to its connection alone."""
        self._show(self._users[f"s{conn}"], frame)

    def _say_at(self, user: _User, due: float) -> None:
        self._clock.plan(due, lambda: self._say(user, due))

    def _say(self, user: _User, intended: float) -> None:
        if self._clock.now >= min(self._ends, self._begins + user.goes_s):
            return
        user.cid, text = user.habits.message()
        user.chars, user.pieces = 0, []
        self.sent += 1
        self._stage.write(SOURCE, Sent(user.session, user.bot, user.cid, round(intended, 6), crc_of(text)))
        said = UserSaid(user.number, user.session, user.bot, user.cid, text)
        self._clock.plan(self._clock.now + HOP_S, lambda: self._stage.receive(said))

    def _show(self, user: _User, frame: Frame) -> None:
        match frame:
            case Accepted(cid):
                self._stage.write(SOURCE, GotAccepted(cid))
            case End(_, cid, _, chars):
                self.answered += 1
                crc = crc_of("".join(user.pieces))
                self._stage.write(SOURCE, GotReply(cid, chars, chars == user.chars, len(user.pieces), crc))
                self._think(user)
            case Rejected(cid, code, _, retry_after_s):
                self.failed += 1
                self._stage.write(SOURCE, GotRefusal(cid, code, retry_after_s))
                self._think(user)
            case Failed(_, cid, code):
                self.failed += 1
                self._stage.write(SOURCE, GotFailure(cid, code))
                self._think(user)
            case Begin() | _:
                pass  # That a reply begins shows with its first piece; the state of bots is for lists.

    def _think(self, user: _User) -> None:
        user.cid = ""
        self._say_at(user, self._clock.now + user.habits.think_s())
        acked = ClientAcked(user.session, user.seq)
        self._clock.plan(self._clock.now + HOP_S, lambda: self._stage.receive(acked))

"""Simulated: engine, services, bots and users in virtual time. No process, no socket, no waiting.

In    a case; everything random is thrown from its seed
Out   the same facts that the wired distance writes, with virtual seconds
Rule  one heap of events, ordered by time and then by order of planning: same seed, same journal, byte for byte
Why   thousands of messages a second: a mistake in the engine shows here within milliseconds, and can be played again

A discrete-event simulation: take the earliest event, hand its fact to the engine, carry out the acts, plan the rest.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import fake_bots
from fake_bots import Die, Fail, Hang, Heard, Keep, Raw, Say, Step, Wait, behaviours
from harness import plugins
from harness.adapters.journal import Book
from harness.chat.engine import Engine
from harness.core.events import (
    Accepted,
    Act,
    Begin,
    BotEnded,
    BotFailed,
    BotGarbled,
    BotGone,
    BotReady,
    BotSaid,
    BotStarted,
    BotWanted,
    ClientAcked,
    ClientJoined,
    Delta,
    End,
    Entry,
    Fact,
    Failed,
    FaultArmed,
    FaultDelivered,
    FaultHealed,
    Frame,
    GotAccepted,
    GotFailure,
    GotFirstToken,
    GotRefusal,
    GotReply,
    Publish,
    Record,
    Rejected,
    Reply,
    RunFact,
    SaveMessage,
    Sent,
    StartBot,
    StopBot,
    ToBot,
    TranscriptRead,
    UserSaid,
    WakeAt,
    Woke,
)
from harness.core.scenario import FaultPlan, Scenario
from harness.core.wire import read_answer
from harness.drivers import Case, Watch
from harness.errors import NoVerdictError, WireError
from harness.load.habits import Habits

__all__ = ["Simulated"]

HOP_S: Final = 0.0005
"""From one process to the next, in virtual seconds."""
BOT_START_S: Final = 0.15
"""From the start of a bot's process to its first line: what a Python program takes on a small machine."""
KILL_EVERY_S: Final = 0.02
"""How often the crash loop looks whether the bot is back."""
DRAIN_S: Final = 120.0
"""How long outstanding replies are waited for after the load has ended, in virtual seconds."""
_FLUSH: Final = 5_000


@dataclass(slots=True)
class _Process:
    """A bot's process: what it is, how often it was asked, whether it lives."""

    bot: str
    behaviour: fake_bots.Behaviour
    seed: int
    pid: int
    heard: int = 0
    alive: bool = True


@dataclass(slots=True)
class _User:
    """One person at one session: sends, waits for the end of the reply, thinks, sends again."""

    number: int
    session: str
    bot: str
    habits: Habits
    cid: str = ""
    chars: int = 0
    pieces: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The distance where no time passes."""

    async def drive(self, case: Case, book: Book, watch: Watch) -> None:
        """Play the whole case; the journal is complete when this returns."""
        watch.stage("simulating")
        world = World(case.scenario, case.seed, book)
        world.run()
        watch.counted(world.sent, world.answered, world.failed)


@dataclass(slots=True)
class World:
    """The event loop of the simulation. ``run`` plays it to its end; counts tell what happened."""

    scenario: Scenario
    seed: int
    book: Book
    now: float = 0.0
    sent: int = 0
    answered: int = 0
    failed: int = 0
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _planned: int = 0
    _wakes: dict[str, int] = field(default_factory=dict)
    _processes: dict[str, _Process] = field(default_factory=dict)
    _pids: int = 0
    _users: dict[str, _User] = field(default_factory=dict)
    _store: dict[str, SaveMessage] = field(default_factory=dict)
    _entries: list[Entry] = field(default_factory=list)
    _engine: Engine = field(init=False)
    _load_ends: float = 0.0

    def __post_init__(self) -> None:
        """Build the engine from the scenario's limits."""
        self._engine = Engine(self.scenario.service, epoch=f"s{self.seed}")

    # --- The loop ---------------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Start the bots, let the load run, drain, read the transcripts."""
        for bot in self.scenario.bots:
            for name in bot.names():
                self._receive(BotWanted(name, bot.behaviour, dict(bot.options), self.seed))
        # The load begins when the cast is there, as at the other distances.
        begins = BOT_START_S + 2 * HOP_S
        self._load_ends = begins + self.scenario.duration_s
        self._invite_users(begins)
        for plan in self.scenario.faults:
            self._plan(begins + plan.at_s, lambda plan=plan: self._arm(plan, begins))  # type: ignore[misc]
        last = self._load_ends + DRAIN_S
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= last:
            if heap[0][0] > self._load_ends and not self._outstanding():
                break
            self.now, _, event = pop(heap)
            event()
            if len(self._entries) >= _FLUSH:
                self._flush()
        self._read_transcripts()
        self._flush()

    def _outstanding(self) -> bool:
        return any(user.cid for user in self._users.values())

    def _plan(self, at: float, event: Callable[[], None]) -> int:
        self._planned += 1
        heapq.heappush(self._heap, (at, self._planned, event))
        return self._planned

    def _receive(self, fact: Fact) -> None:
        for act in self._engine.receive(fact, self.now):
            if type(act) is Publish:  # Two acts of three: the others may take the longer way.
                user = self._users[act.session]
                user.seq = act.seq
                self._show(user, act.frame)
            else:
                self._carry_out(act)

    def _carry_out(self, act: Act) -> None:
        match act:
            case Record(fact):
                self._write("service", fact)
            case SaveMessage():
                self._store[act.mid] = act
            case ToBot(bot, turn, session, text):
                self._plan(self.now + HOP_S, lambda: self._hear(bot, turn, session, text))
            case Reply(conn, frame):
                self._show(self._users[f"s{conn}"], frame)
            case WakeAt(at, key):
                number = self._plan(at, lambda: self._wake(key, number))
                self._wakes[key] = number
            case StartBot():
                self._start(act)
            case StopBot(bot):
                self._kill(bot, "signal 15 (SIGTERM)")
            case _:
                pass  # Who is subscribed and what is shown in lists has no meaning without sockets.

    def _wake(self, key: str, number: int) -> None:
        if self._wakes.get(key) == number:
            del self._wakes[key]
            self._receive(Woke(key))

    # --- Users ------------------------------------------------------------------------------------------------------
    def _invite_users(self, begins: float) -> None:
        load, bots = self.scenario.load, self.scenario.bot_names()
        for number in range(load.users):
            habits = Habits(seed=self.seed, user=number, think_s_mean=load.say_every_s, words=load.words)
            user = _User(number, f"s{number}", bots[number % len(bots)], habits)
            self._users[user.session] = user
            self._receive(ClientJoined(number, user.session, user.bot))
            first = begins + user.habits.start_s()
            self._plan(first, lambda user=user, first=first: self._say(user, first))  # type: ignore[misc]

    def _say(self, user: _User, intended: float) -> None:
        if self.now >= self._load_ends:
            return
        user.cid, text = user.habits.message()
        user.chars = user.pieces = 0
        self.sent += 1
        self._write("client", Sent(user.session, user.bot, user.cid, round(intended, 6)))
        said = UserSaid(user.number, user.session, user.bot, user.cid, text)
        self._plan(self.now + HOP_S, lambda: self._receive(said))

    def _show(self, user: _User, frame: Frame) -> None:
        """What a frame means to the person who reads it."""
        if type(frame) is Delta:
            if user.chars == 0:
                self._write("client", GotFirstToken(user.cid))
            user.chars += len(frame.text)
            user.pieces += 1
            return
        match frame:
            case Accepted(cid):
                self._write("client", GotAccepted(cid))
            case End(_, cid, _, chars):
                self.answered += 1
                self._write("client", GotReply(cid, chars, chars == user.chars, user.pieces))
                self._think(user)
            case Rejected(cid, code, _, retry_after_s):
                self.failed += 1
                self._write("client", GotRefusal(cid, code, retry_after_s))
                self._think(user)
            case Failed(_, cid, code):
                self.failed += 1
                self._write("client", GotFailure(cid, code))
                self._think(user)
            case Begin():
                pass
            case _:
                pass  # The state of bots is for lists.

    def _think(self, user: _User) -> None:
        user.cid = ""
        due = self.now + user.habits.think_s()
        seq = user.seq
        self._plan(due, lambda: self._say(user, due))
        self._receive_later(ClientAcked(user.session, seq))

    def _receive_later(self, fact: Fact) -> None:
        self._plan(self.now + HOP_S, lambda: self._receive(fact))

    # --- Bots -------------------------------------------------------------------------------------------------------
    def _start(self, act: StartBot) -> None:
        behaviour = plugins.build(behaviours, act.behaviour, act.options, f"bots.{act.bot}.options")
        self._pids += 1
        process = _Process(act.bot, behaviour, act.seed, self._pids)
        self._processes[act.bot] = process
        self._from_bot(process, HOP_S, BotStarted(act.bot, process.pid))
        self._from_bot(process, BOT_START_S, BotReady(act.bot))

    def _from_bot(self, process: _Process, after: float, fact: Fact) -> None:
        """Let a line of a bot arrive, unless the bot is dead by then."""
        self._plan(self.now + after, lambda: self._receive(fact) if process.alive else None)

    def _kill(self, bot: str, why: str) -> bool:
        process = self._processes.pop(bot, None)
        if process is None:
            return False
        process.alive = False
        self._receive_later(BotGone(bot, why))
        return True

    def _hear(self, bot: str, turn: str, session: str, text: str) -> None:
        process = self._processes.get(bot)
        if process is None:
            return
        process.heard += 1
        heard = Heard(text=text, session=session, turn=turn, nth=process.heard)
        steps = process.behaviour.hear(heard, fake_bots.dice(process.seed, heard))
        self._go_on(process, turn, iter(steps))

    def _go_on(self, process: _Process, turn: str, steps: Iterator[Step]) -> None:
        """Take steps until the bot waits; each piece arrives one hop later, in order."""
        if not process.alive:
            return
        bot = process.bot
        arrives: list[Fact] = []
        for step in steps:
            match step:
                case Say(text):
                    arrives.append(BotSaid(bot, turn, text))
                case Wait(seconds):
                    self._arrive(process, arrives)
                    self._plan(self.now + seconds, lambda: self._go_on(process, turn, steps))
                    return
                case Fail(code, message):
                    self._arrive(process, [*arrives, BotFailed(bot, turn, code, message)])
                    return
                case Die(code):
                    # What it wrote before it died is in the pipe and arrives.
                    for fact in arrives:
                        self._receive_later(fact)
                    self._kill(bot, f"exit code {code}")
                    return
                case Hang():
                    self._arrive(process, arrives)
                    return
                case Raw(data):
                    try:
                        read_answer(data)
                    except WireError as error:
                        self._receive_later(BotGarbled(bot, str(error)))
                case Keep():
                    pass  # Memory is a matter of real processes.
        self._arrive(process, [*arrives, BotEnded(bot, turn)])

    def _arrive(self, process: _Process, facts: list[Fact]) -> None:
        def arrive() -> None:
            for fact in facts:
                if process.alive:
                    self._receive(fact)

        if facts:
            self._plan(self.now + HOP_S, arrive)

    # --- Faults -----------------------------------------------------------------------------------------------------
    def _arm(self, plan: FaultPlan, begins: float) -> None:
        if plan.kind != "crash-loop":
            raise NoVerdictError(f"the fault {plan.kind!r} cannot be simulated yet; run it with --distance wired")
        self._write("fault", FaultArmed(plan.kind, plan.bot))
        self._crash(plan, begins + plan.at_s + plan.for_s, delivered=0)

    def _crash(self, plan: FaultPlan, until: float, delivered: int) -> None:
        if self.now >= until:
            self._write("fault", FaultHealed(plan.kind, plan.bot, delivered))
            return
        pid = self._processes[plan.bot].pid if plan.bot in self._processes else 0
        if self._kill(plan.bot, "signal 9 (SIGKILL)"):
            delivered += 1
            self._write("fault", FaultDelivered(plan.kind, plan.bot, f"pid {pid}, SIGKILL"))
        self._plan(min(until, self.now + KILL_EVERY_S), lambda: self._crash(plan, until, delivered))

    # --- The journal ------------------------------------------------------------------------------------------------
    def _write(self, source: str, fact: RunFact) -> None:
        self._entries.append(Entry(self.now, source, fact))

    def _flush(self) -> None:
        self.book.write_all(self._entries)
        self._entries.clear()

    def _read_transcripts(self) -> None:
        cids: dict[str, list[str]] = {session: [] for session in self._users}
        replies: dict[str, list[str]] = {session: [] for session in self._users}
        for message in self._store.values():
            (cids if message.role == "user" else replies)[message.session].append(message.cid)
        for session in self._users:
            self._write("store", TranscriptRead(session, tuple(cids[session]), tuple(replies[session])))

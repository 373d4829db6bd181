"""Simulated: engine, services, bots and users in virtual time. No process, no socket, no waiting.

In    a case; everything random is thrown from its seed
Out   the same facts that the wired distance writes, with virtual seconds
Rule  the same seed gives the same journal, byte for byte
Why   thousands of messages a second: a mistake in the engine shows here within milliseconds, and can be played again

A discrete-event simulation: take the earliest event, hand its fact to the engine, carry out the acts, plan the rest.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from harness import injectors, plugins
from harness.adapters.journal import Book
from harness.chat.engine import Engine
from harness.core.events import (
    Act,
    Began,
    BotWanted,
    Entry,
    Fact,
    FaultArmed,
    FaultDelivered,
    FaultHealed,
    Publish,
    Record,
    Reply,
    RunFact,
    SaveMessage,
    StartBot,
    StopBot,
    ToBot,
    TranscriptRead,
    WakeAt,
    Woke,
)
from harness.core.scenario import FaultPlan, Scenario
from harness.core.texts import crc_of
from harness.drivers import Case, Watch
from harness.drivers._cast import START_S, Cast
from harness.drivers._clockwork import HOP_S, Clockwork
from harness.drivers._crowd import Crowd
from harness.errors import NoVerdictError

__all__ = ["Simulated"]

DRAIN_S: Final = 120.0
"""How long outstanding replies are waited for after the load has ended, in virtual seconds."""
_FLUSH: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The distance where no time passes."""

    virtual: ClassVar[bool] = True
    """Its times are not those of the machine's clock."""

    async def drive(self, case: Case, book: Book, watch: Watch) -> None:
        """Play the whole case; the journal is complete when this returns."""
        watch.stage("simulating")
        world = World(case.scenario, case.seed, book)
        world.run()
        watch.counted(world.crowd.sent, world.crowd.answered, world.crowd.failed)


class World:
    """The engine between a cast of bots and a crowd of users."""

    def __init__(self, scenario: Scenario, seed: int, book: Book) -> None:
        """Build everybody from the scenario; nothing happens before ``run``."""
        self.clock = Clockwork()
        self.crowd = Crowd(self, scenario, seed)
        self._scenario, self._seed, self._book = scenario, seed, book
        self._engine = Engine(scenario.service, epoch=f"s{seed}", seed=seed)
        self._cast = Cast(self)
        self._wakes: dict[str, int] = {}
        self._store: dict[str, SaveMessage] = {}
        self._entries: list[Entry] = []

    def run(self) -> None:
        """Start the bots, let the load run, drain, read the transcripts."""
        with _no_collector():
            self._play()
        self._read_transcripts()
        self._flush()

    def _play(self) -> None:
        self.receive(Began())
        for bot in self._scenario.bots:
            for name in bot.names():
                self.receive(BotWanted(name, bot.behaviour, dict(bot.options), self._seed))
        # The load begins when the cast is there, as at the other distances.
        begins = START_S + 2 * HOP_S
        ends = begins + self._scenario.duration_s
        self.crowd.come(begins, ends)
        for plan in self._scenario.faults:
            self._plan_fault(plan, begins)
        clock = self.clock
        while clock.next_at() <= ends:
            clock.step()
            if len(self._entries) >= _FLUSH:
                self._flush()
        while clock.next_at() <= ends + DRAIN_S and self.crowd.waiting():
            clock.step()

    # --- The engine ---------------------------------------------------------------------------------------------------
    def receive(self, fact: Fact) -> None:
        """Hand a fact to the engine and carry out what follows."""
        for act in self._engine.receive(fact, self.clock.now):
            if type(act) is Publish:  # Two acts of three: the others may take the longer way.
                self.crowd.hear(act)
            else:
                self._carry_out(act)

    def _carry_out(self, act: Act) -> None:
        clock = self.clock
        match act:
            case Record(fact):
                self.write("service", fact)
            case SaveMessage():
                self._store[act.mid] = act
            case ToBot(bot, turn, session, text):
                clock.plan(clock.now + HOP_S, lambda: self._cast.hear(bot, turn, session, text))
            case Reply(conn, frame):
                self.crowd.reply(conn, frame)
            case WakeAt(at, key):
                number = clock.plan(at, lambda: self._wake(key, number))
                self._wakes[key] = number
            case StartBot():
                self._cast.start(act)
            case StopBot(bot):
                self._cast.end(bot, "signal 15 (SIGTERM)")
            case _:
                pass  # Who is subscribed and what is shown in lists has no meaning without sockets.

    def _wake(self, key: str, number: int) -> None:
        if self._wakes.get(key) == number:
            del self._wakes[key]
            self.receive(Woke(key))

    # --- Faults -------------------------------------------------------------------------------------------------------
    def _plan_fault(self, plan: FaultPlan, begins: float) -> None:
        fault = plugins.build(injectors, plan.kind, {"bot": plan.bot}, f"faults: {plan.kind}")
        if not hasattr(fault, "imagine"):
            raise NoVerdictError(f"the fault {plan.kind!r} cannot be simulated; run it with --distance wired")
        target = _Target(self, plan)
        ends = begins + plan.at_s + plan.for_s
        self.clock.plan(begins + plan.at_s, lambda: self._arm(fault.imagine(target), target, ends))

    def _arm(self, work: Iterator[float], target: _Target, ends: float) -> None:
        plan = target.plan
        self.write("fault", FaultArmed(plan.kind, plan.bot))
        # Planned first, so that at this moment healing comes before any further hit.
        self.clock.plan(ends, lambda: self.write("fault", FaultHealed(plan.kind, plan.bot, target.delivered)))
        self._work(work, ends)

    def _work(self, work: Iterator[float], ends: float) -> None:
        pause_s = next(work, None)
        if pause_s is not None and self.clock.now + pause_s < ends:
            self.clock.plan(self.clock.now + pause_s, lambda: self._work(work, ends))

    def kill(self, bot: str) -> int | None:
        """End a bot's process as SIGKILL does; give its number, None if there was none."""
        return self._cast.end(bot, "signal 9 (SIGKILL)")

    # --- The journal --------------------------------------------------------------------------------------------------
    def write(self, source: str, fact: RunFact) -> None:
        """Write a fact of the run down, now."""
        self._entries.append(Entry(self.clock.now, source, fact))

    def _flush(self) -> None:
        self._book.write_all(self._entries)
        self._entries.clear()

    def _read_transcripts(self) -> None:
        asked: dict[str, list[SaveMessage]] = {session: [] for session in self.crowd.sessions}
        replied: dict[str, list[SaveMessage]] = {session: [] for session in self.crowd.sessions}
        for message in self._store.values():
            if message.role == "user":
                asked[message.session].append(message)
            elif message.state == "done":
                replied[message.session].append(message)
        for session in self.crowd.sessions:
            questions, replies = asked[session], replied[session]
            read = TranscriptRead(
                session,
                tuple(message.cid for message in questions),
                tuple(message.cid for message in replies),
                tuple(crc_of(message.text) for message in questions),
                tuple(crc_of(message.text) for message in replies),
            )
            self.write("store", read)


@dataclass(slots=True)
class _Target:
    """What a fault may do to the world, and how often it did."""

    world: World
    plan: FaultPlan
    delivered: int = 0

    def kill(self, bot: str) -> None:
        """End a bot's process, if there is one."""
        pid = self.world.kill(bot)
        if pid is not None:
            self.delivered += 1
            self.world.write("fault", FaultDelivered(self.plan.kind, self.plan.bot, f"pid {pid}, SIGKILL"))


@contextmanager
def _no_collector() -> Iterator[None]:
    """Leave the cyclic collector off: a simulation makes values, not cycles, and looking for some costs a tenth."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()

"""Cast: the bots of a simulation, as processes that start, answer, wait, die and are killed in virtual time.

In    the engine's wishes (start, stop, a message to a bot); faults that kill
Out   what a real bot's process would cause: started, ready, pieces of a reply, the end, a broken line, a death
Rule  nothing of a process arrives after its death was noticed; what it wrote before it died by itself does
Why   the behaviours are the ones that real bots run; only pipes and scheduling are imagined
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import fake_bots
from fake_bots import Die, Fail, Hang, Heard, Keep, Raw, Say, Step, Wait, behaviours
from harness import plugins
from harness.core.events import (
    BotEnded,
    BotFailed,
    BotGarbled,
    BotGone,
    BotReady,
    BotSaid,
    BotStarted,
    Fact,
    StartBot,
)
from harness.core.wire import read_answer
from harness.drivers._clockwork import HOP_S, Stage
from harness.errors import WireError

START_S: Final = 0.15
"""From the start of a bot's process to its first line: what a Python program takes on a small machine."""


@dataclass(slots=True)
class _Process:
    """A bot's process: what it is, how often it was asked, whether it lives."""

    bot: str
    behaviour: fake_bots.Behaviour
    seed: int
    pid: int
    heard: int = 0
    alive: bool = True


class Cast:
    """All bots of one simulation."""

    def __init__(self, stage: Stage) -> None:
        """Begin with none."""
        self._stage, self._clock = stage, stage.clock
        self._processes: dict[str, _Process] = {}
        self._pids = 0

    def start(self, act: StartBot) -> None:
        """Start a bot's process; ScenarioError names an option that its behaviour does not have."""
        behaviour = plugins.build(behaviours, act.behaviour, act.options, f"bots.{act.bot}.options")
        self._pids += 1
        process = _Process(act.bot, behaviour, act.seed, self._pids)
        self._processes[act.bot] = process
        self._tell(process, HOP_S, BotStarted(act.bot, process.pid))
        self._tell(process, START_S, BotReady(act.bot))

    def end(self, bot: str, why: str) -> int | None:
        """End a bot's process at once; give its number, None if there is none."""
        process = self._processes.pop(bot, None)
        if process is None:
            return None
        process.alive = False
        self._later(BotGone(bot, why))
        return process.pid

    def hear(self, bot: str, turn: str, session: str, text: str) -> None:
        """Let a message reach a bot; one that has died meanwhile does not hear it."""
        process = self._processes.get(bot)
        if process is None:
            return
        process.heard += 1
        heard = Heard(text=text, session=session, turn=turn, nth=process.heard)
        self._go_on(process, turn, process.behaviour.hear(heard, fake_bots.dice(process.seed, heard)))

    def _go_on(self, process: _Process, turn: str, steps: Iterator[Step]) -> None:
        """Take steps until the bot waits; each piece arrives one hop later, in order."""
        if not process.alive:
            return
        bot = process.bot
        facts: list[Fact] = []
        for step in steps:
            match step:
                case Say(text):
                    facts.append(BotSaid(bot, turn, text))
                case Wait(seconds):
                    self._arrive(process, facts)
                    self._clock.plan(self._clock.now + seconds, lambda: self._go_on(process, turn, steps))
                    return
                case Fail(code, message):
                    self._arrive(process, [*facts, BotFailed(bot, turn, code, message)])
                    return
                case Die(code):
                    for fact in facts:  # What it wrote before it died is in the pipe and arrives.
                        self._later(fact)
                    self.end(bot, f"exit code {code}")
                    return
                case Hang():
                    self._arrive(process, facts)
                    return
                case Raw(data):
                    try:
                        read_answer(data)
                    except WireError as error:
                        facts.append(BotGarbled(bot, str(error)))
                case Keep():
                    pass  # Memory is a matter of real processes.
        self._arrive(process, [*facts, BotEnded(bot, turn)])

    def _arrive(self, process: _Process, facts: list[Fact]) -> None:
        def arrive() -> None:
            for fact in facts:
                if process.alive:
                    self._stage.receive(fact)

        if facts:
            self._clock.plan(self._clock.now + HOP_S, arrive)

    def _tell(self, process: _Process, after_s: float, fact: Fact) -> None:
        self._clock.plan(self._clock.now + after_s, lambda: self._stage.receive(fact) if process.alive else None)

    def _later(self, fact: Fact) -> None:
        self._clock.plan(self._clock.now + HOP_S, lambda: self._stage.receive(fact))

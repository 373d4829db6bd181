"""The engine keeps nothing of a message: what it holds after many is what it held after a few."""

from __future__ import annotations

import gc
import random
import sys
from collections import deque

from harness.chat.engine import Engine
from harness.core.events import (
    Act,
    Began,
    BotEnded,
    BotFailed,
    BotReady,
    BotSaid,
    BotStarted,
    BotWanted,
    ClientAcked,
    Fact,
    Record,
    StartBot,
    ToBot,
    UserCancelled,
    UserSaid,
    WakeAt,
    Woke,
)
from harness.core.settings import Settings
from harness.services.metrics import Metrics

BOTS = 3
SESSIONS = 40
STEP_S = 0.01
CODES = ("overloaded", "unavailable", "bot-failed")


class Service:
    """The engine with bots that answer, fail and are cancelled by chance, and timers that ring in virtual time."""

    def __init__(self) -> None:
        self.engine = Engine(Settings(), epoch="e", seed=7)
        self.metrics = Metrics()
        self.now = 0.0
        self.ended = 0
        self._dice = random.Random(7)
        self._timers: dict[str, float] = {}
        self._asked: deque[ToBot] = deque()
        self._number = 0
        self.feed(Began())
        for number in range(BOTS):
            self.feed(BotWanted(f"bot{number}", "echo"))

    def feed(self, fact: Fact) -> None:
        for act in self.engine.receive(fact, self.now):
            self._carry_out(act)

    def _carry_out(self, act: Act) -> None:
        match act:
            case Record(fact):
                self.metrics.record(fact)
            case WakeAt(at, key):
                self._timers[key] = at
            case ToBot():
                self._asked.append(act)
            case StartBot(bot):
                self.feed(BotStarted(bot, 1))
                self.feed(BotReady(bot))
            case _:
                pass

    def messages(self, count: int) -> None:
        for _ in range(count):
            number = self._number = self._number + 1
            self.now += STEP_S
            self._ring()
            self.feed(UserSaid(1, f"s{number % SESSIONS}", f"bot{number % BOTS}", f"c{number}", "hello"))
            while self._asked:
                self._answer(self._asked.popleft())

    def rest(self) -> None:
        """Let everything that was put off come about."""
        self.now += 130.0
        self._ring()
        while self._asked:
            self._answer(self._asked.popleft())

    def _ring(self) -> None:
        for key in [key for key, at in self._timers.items() if at <= self.now]:
            del self._timers[key]
            self.feed(Woke(key))

    def _answer(self, ask: ToBot) -> None:
        chance = self._dice.random()
        if chance < 0.06:
            code = f"odd{self._dice.randrange(10_000)}" if chance < 0.04 else self._dice.choice(CODES)
            self.feed(BotFailed(ask.bot, ask.turn, code, "no"))
        elif chance < 0.08:
            self.feed(UserCancelled(ask.session, ask.turn))
        else:
            self.feed(BotSaid(ask.bot, ask.turn, "hello "))
            self.feed(BotEnded(ask.bot, ask.turn))
            self.ended += 1
        self.feed(ClientAcked(ask.session, sys.maxsize))

    def held(self) -> int:
        """Everything that hangs on the engine and the metrics, counted."""
        gc.collect()
        return sum(1 for _ in _reached([self.engine, self.metrics]))


def _reached(roots: list[object]) -> list[object]:
    """Every container that is reached from the roots, classes and modules left out."""
    seen: dict[int, object] = {}
    todo = list(roots)
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type) or not gc.is_tracked(one) or type(one).__name__ == "module":
            continue
        if type(one).__name__ in {"function", "builtin_function_or_method"}:
            continue
        seen[id(one)] = one
        todo.extend(gc.get_referents(one))
    return list(seen.values())


def test_what_is_held_does_not_grow_with_the_messages() -> None:
    service = Service()
    service.messages(6_000)  # Codes of failures, windows and rings fill up.
    service.rest()
    before = service.held()
    service.messages(12_000)
    service.rest()
    assert service.ended > 15_000
    assert service.held() - before < 400, "something is kept for messages"


def test_one_thing_kept_for_each_message_would_be_seen() -> None:
    service = Service()
    service.messages(500)
    service.rest()
    before = service.held()
    kept = service.engine.__dict__.setdefault("kept", [])
    kept.extend([number] for number in range(1_000))
    assert service.held() - before > 900  # Something else may have gone meanwhile.

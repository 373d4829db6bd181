"""Metrics: what the service has done since it started, counted from the facts of its journal.

In    facts of the run (a turn settled, a refusal, a transition, a bot's life); functions for what only the moment knows
Out   snapshots: every family of core/families.py with its series, in a fixed order
Rule  one call for a fact feeds everything that follows from it. Labels come from closed sets (a bot's own error codes
      become "bot-error"); what a bot has is there, at 0, from its first fact; a removed bot takes its series along
Why   whoever scrapes a service for months must not make it grow; and a counter that appears with a 1 hides that 1: the
      first error of a bot would never show as an increase

For one thread: the service counts on its event loop, so no record waits for a lock. Latencies go into base-2
exponential histograms (core/histogram.py): quantiles are off by at most 1.08 %, and any two can be added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.core.events import (
    AlertMoved,
    BotSeen,
    BreakerMoved,
    LevelMoved,
    LimitMoved,
    ModeMoved,
    Refused,
    Retried,
    Scaled,
    ServiceFact,
    TurnSettled,
)
from harness.core.families import FAMILIES, LIVES, OTHER_OUTCOME, OUTCOMES, REFUSALS, TRANSITIONS
from harness.core.histogram import Histogram
from harness.core.registry import Counter, Gauge, Read, Registry
from harness.core.series import Family, Snapshot

NO_BOT: Final = "no-bot"


class _BotHandles:
    """What every reply of one bot is counted in, looked up once; everything else that starts at 0."""

    __slots__ = ("first_token", "other", "reply", "turns")

    def __init__(self, registry: Registry, bot: str) -> None:
        self.turns = {outcome: registry.counter("chat_turns_total", bot, outcome) for outcome in OUTCOMES}
        self.other = registry.counter("chat_turns_total", bot, OTHER_OUTCOME)
        self.reply: Histogram = registry.histogram("chat_reply_seconds", bot)
        self.first_token: Histogram = registry.histogram("chat_first_token_seconds", bot)
        for code in REFUSALS:
            registry.counter("chat_refused_total", bot, code)
        for before, after in TRANSITIONS:
            registry.counter("chat_breaker_transitions_total", bot, before, after)
        for what in LIVES:
            registry.counter("chat_bot_life_total", bot, what)


class Metrics:
    """Counts one service's facts."""

    __slots__ = ("_bots", "_registry", "_turns")

    def __init__(self, more: Iterable[Family] = ()) -> None:
        """Start at zero; ``more`` families stand beside those of core/families.py."""
        self._registry = Registry((*FAMILIES.values(), *more))
        self._bots: dict[str, _BotHandles] = {}
        outcomes = (*OUTCOMES, OTHER_OUTCOME)
        self._turns = {outcome: self._registry.counter("chat_service_turns_total", outcome) for outcome in outcomes}

    def record(self, fact: ServiceFact) -> None:
        """Count one fact; facts that nothing is counted of are passed over."""
        kind = type(fact)
        if kind is TurnSettled:
            self._settled(fact)  # type: ignore[arg-type]  # checked by identity: it is what every message pays for
        elif isinstance(fact, Refused):
            # A bot that is not there has no series: anybody could make up names.
            if fact.code != NO_BOT:
                self._of(fact.bot)
                self.counter("chat_refused_total", fact.bot, fact.code).add()
        elif isinstance(fact, BreakerMoved):
            self._of(fact.bot)
            self.counter("chat_breaker_transitions_total", fact.bot, fact.before, fact.after).add()
        elif isinstance(fact, BotSeen):
            self._of(fact.bot)
            self.counter("chat_bot_life_total", fact.bot, fact.what).add()
        else:
            self._decided(fact)

    def counter(self, name: str, *values: str) -> Counter:
        """Give the handle of a counter, for those who count what is no fact."""
        return self._registry.counter(name, *values)

    def gauge(self, name: str, *values: str) -> Gauge:
        """Give the handle of a gauge: ``metrics.gauge("chat_turns_limit", bot).set(8)``."""
        return self._registry.gauge(name, *values)

    def histogram(self, name: str, *values: str) -> Histogram:
        """Give the handle of a histogram."""
        return self._registry.histogram(name, *values)

    def watch(self, name: str, read: Read) -> None:
        """Ask ``read`` for a gauge's or counter's numbers whenever they are wanted: one line for a new gauge."""
        self._registry.watch(name, read)

    def forget(self, bot: str) -> None:
        """Drop what was counted for a bot that was removed."""
        self._bots.pop(bot, None)
        self._registry.forget("bot", bot)

    def collect(self) -> tuple[Snapshot, ...]:
        """Give everything, ordered by name and labels."""
        return self._registry.collect()

    def _decided(self, fact: ServiceFact) -> None:
        """Count what the machines have decided."""
        match fact:
            case Retried():
                self.counter("chat_retries_total", fact.bot, _closed(fact.code)).add()
            case LimitMoved():
                self.counter("chat_limit_changes_total", fact.bot, fact.cause).add()
            case Scaled():
                self.counter("chat_scalings_total", fact.bot, "more" if fact.after > fact.before else "fewer").add()
            case ModeMoved():
                self.counter("chat_mode_changes_total", fact.before, fact.after).add()
            case LevelMoved():
                self.counter("chat_level_changes_total", fact.before, fact.after).add()
            case AlertMoved():
                self.counter("chat_alert_changes_total", fact.rule, fact.after).add()
            case _:
                pass  # An admission is counted at its end; a switched feature is a gauge.

    def _settled(self, fact: TurnSettled) -> None:
        handles = self._bots.get(fact.bot)
        if handles is None:
            handles = self._of(fact.bot)
        outcome = fact.outcome
        handles.turns.get(outcome, handles.other).value += 1.0
        # Of their own: to add up what every bot has counted would cost an alert rule over an hour a tenth of a second.
        (self._turns.get(outcome) or self._turns[OTHER_OUTCOME]).value += 1.0
        handles.reply.record(fact.took_s)
        if fact.first_token_s is not None:
            handles.first_token.record(fact.first_token_s)

    def _of(self, bot: str) -> _BotHandles:
        handles = self._bots.get(bot)
        if handles is None:
            handles = self._bots[bot] = _BotHandles(self._registry, bot)
        return handles


def _closed(outcome: str) -> str:
    return outcome if outcome in OUTCOMES else OTHER_OUTCOME

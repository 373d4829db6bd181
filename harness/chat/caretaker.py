"""Caretaker: the rules for bots and timers: what lives, what is started again, what has been silent for too long.

In    facts about processes and timers
Out   acts, by way of the desk
Rule  one death or broken line is one failure for the breaker, however many turns it took with it;
      a bot is started again later each time, and not at all while its breaker is open
Why   a bot that keeps dying must cost its users one clear error, not a storm of restarts
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from harness.chat.desk import BUSY_RETRY_S, SWEEP, Desk
from harness.chat.roster import BotRecord, Instance, Turn, dependency
from harness.chat.steward import CARE, CARE_EVERY_S
from harness.core.breaker import BY_HAND
from harness.core.events import (
    Began,
    BotGarbled,
    BotGone,
    BotReady,
    BotSeen,
    BotStarted,
    BotUnwanted,
    BotWanted,
    BreakerForced,
    Fact,
    Felt,
    ForgetBot,
    LimitOrdered,
    ModeOrdered,
    Record,
    Scaled,
    ServiceFact,
    StopBot,
    TellAll,
    WakeAt,
    Woke,
)
from harness.services.circuit_breaker import BreakerConfig, CircuitBreaker, Outcome, State

WINDOW_CALLS: Final = 100
"""The calls to a bot that its breaker's rates are taken over."""


class Caretaker:
    """The rules; their state is on the desk."""

    def __init__(self, desk: Desk) -> None:
        """Work at this desk."""
        self._desk = desk
        self.rules: Mapping[type[Fact], Callable[[Any], None]] = {
            BotWanted: self._bot_wanted,
            BotUnwanted: self._bot_unwanted,
            BotStarted: self._bot_started,
            BotReady: self._bot_ready,
            BotGone: self._bot_gone,
            BotGarbled: self._bot_garbled,
            Began: self._began,
            Felt: self._felt,
            ModeOrdered: self._mode_ordered,
            LimitOrdered: self._limit_ordered,
            BreakerForced: self._breaker_forced,
            Woke: self._woke,
        }

    def _bot_wanted(self, fact: BotWanted) -> None:
        desk, settings = self._desk, self._desk.settings
        if fact.bot in desk.bots:
            return
        config = BreakerConfig(
            failures_max=settings.breaker_failures_max,
            cooldown_s=settings.breaker_cooldown_s,
            cooldown_growth=settings.breaker_cooldown_growth,
            cooldown_max_s=settings.breaker_cooldown_max_s,
            calls_min=settings.breaker_calls_min,
            window_calls=max(settings.breaker_calls_min, WINDOW_CALLS),
            failure_rate=settings.breaker_failure_rate,
            slow_rate=settings.breaker_slow_rate,
            slow_s=settings.breaker_slow_s,
            # Every piece of a reply renews it, and silence ends a turn before: it is for what nobody has thought of.
            lease_s=settings.reply_silence_max_s + settings.bot_start_max_s,
        )
        record = desk.enrol(fact, CircuitBreaker(config))
        desk.start(record, record.add(desk.limit()))
        desk.tell(record)

    def _bot_unwanted(self, fact: BotUnwanted) -> None:
        desk = self._desk
        record = desk.bots.pop(fact.bot, None)
        if record is None:
            return
        instances = list(record.instances.values())
        turns = [turn for instance in instances for turn in instance.in_flight.values()]
        while (turn := record.queue.take(desk.now)) is not None:
            turns.append(turn)
        for turn in (*turns, *record.queue.expired(desk.now), *record.resting.values()):
            desk.forget(turn)
            desk.fail(turn, "no-bot", f"{fact.bot} was removed")
        desk.recovery.forget(dependency(fact.bot))
        desk.steward.forget(fact.bot)
        desk.do(*(StopBot(instance.name) for instance in instances), ForgetBot(fact.bot))
        desk.do(TellAll(record.status(desk.now, state="stopped")))
        for instance in instances:
            desk.drop(record, instance)

    def _bot_started(self, fact: BotStarted) -> None:
        desk = self._desk
        instance = desk.instances.get(fact.bot)
        if instance is None or instance.retiring:
            desk.do(StopBot(fact.bot))  # Removed while it was starting.
            return
        instance.pid = fact.pid
        desk.do(Record(BotSeen(instance.bot, "started", fact.pid)))
        desk.do(WakeAt(desk.now + desk.settings.bot_start_max_s, f"start:{fact.bot}"))
        desk.tell(desk.bots[instance.bot])

    def _bot_ready(self, fact: BotReady) -> None:
        desk = self._desk
        instance = desk.instances.get(fact.bot)
        if instance is None:
            return
        record = desk.bots[instance.bot]
        instance.state = "online"
        desk.do(Record(BotSeen(instance.bot, "ready", instance.pid)))
        desk.tell(record)
        desk.dispatch(record)

    def _bot_gone(self, fact: BotGone) -> None:
        desk, settings = self._desk, self._desk.settings
        instance = desk.instances.get(fact.bot)
        if instance is None:
            return
        record = desk.bots[instance.bot]
        desk.do(Record(BotSeen(instance.bot, "gone", instance.pid, fact.why)))
        if instance.retiring and not instance.in_flight:
            desk.drop(record, instance)  # As it was told to.
            desk.tell(record)
            return
        instance.state, instance.pid, record.why = "restarting", None, fact.why
        instance.deaths += 1
        for turn in tuple(instance.in_flight.values()):
            said = f"{turn.bot} died in the middle of the reply ({fact.why}): send it again"
            desk.close(turn, "bot-gone", Outcome.CANCELLED, message=said)
        moves = record.breaker.fail(desk.now)
        if record.breaker.state is not State.OPEN:
            shortest_s, longest_s = settings.bot_restart_min_s, settings.bot_restart_max_s
            pause_s = min(longest_s, shortest_s * 2.0 ** min(instance.deaths - 1, 60))
            desk.do(WakeAt(desk.now + pause_s, f"restart:{fact.bot}"))
        if moves:
            desk.moved(record, moves, fact.why)
        else:
            desk.tell(record)

    def _bot_garbled(self, fact: BotGarbled) -> None:
        desk = self._desk
        instance = desk.instances.get(fact.bot)
        if instance is None:
            return
        record = desk.bots[instance.bot]
        # A broken line belongs to no turn: whatever the bot is working on can no longer be trusted to end.
        said = f"{instance.bot} broke the protocol: {fact.why}"
        for turn in tuple(instance.in_flight.values()):
            desk.call_off(turn)
            desk.close(turn, "bot-garbled", Outcome.CANCELLED, message=said)
        desk.moved(record, record.breaker.fail(desk.now), said)
        desk.dispatch(record)

    # --- Timers -------------------------------------------------------------------------------------------------------
    def _woke(self, fact: Woke) -> None:
        if fact.key == SWEEP:
            self._sweep()
            return
        if fact.key == CARE:
            self._care()
            return
        desk = self._desk
        what, _, name = fact.key.partition(":")
        if what == "retry":
            bot, _, turn = name.partition(":")
            if bot in desk.bots:
                desk.again(desk.bots[bot], turn)
            return
        record, instance = desk.bots.get(name), desk.instances.get(name)
        if what == "breaker" and record is not None:
            desk.cool(record)
            desk.watch_breaker(record)  # A lease that was renewed is looked at again.
        elif what == "restart" and instance is not None:
            self._restart(desk.bots[instance.bot], instance)
        elif what == "start" and instance is not None and instance.state == "starting" and instance.pid is not None:
            # One that has no number yet was started after this timer was set: it has its own time.
            desk.do(StopBot(name))  # Its end comes back as BotGone, and counts as a death.

    # --- The whole ----------------------------------------------------------------------------------------------------
    def _began(self, fact: Began) -> None:
        del fact
        self._desk.do(WakeAt(self._desk.now + CARE_EVERY_S, CARE))

    def _felt(self, fact: Felt) -> None:
        self._desk.steward.feel(fact, self._desk.now)

    def _mode_ordered(self, fact: ModeOrdered) -> None:
        # The same mode again may have another reason and another end: users are to know.
        self._told(self._desk.steward.order(fact, self._desk.now), anyhow=True)

    def _limit_ordered(self, fact: LimitOrdered) -> None:
        self._desk.do(Record(self._desk.steward.change(fact, self._desk.now)))

    def _breaker_forced(self, fact: BreakerForced) -> None:
        """Let a person decide; ValueError says what is wrong with the order, and nothing has changed."""
        desk, record = self._desk, self._desk.bots.get(fact.bot)
        if record is None:
            return  # Removed meanwhile: there is nothing left to decide about.
        try:
            state = State(fact.state)
        except ValueError:
            known = ", ".join(sorted(BY_HAND.values()))
            raise ValueError(f"state must be one of {known}, got {fact.state!r}") from None
        moves = record.breaker.force(state, desk.now, author=fact.author, ttl_s=fact.ttl_s)
        desk.moved(record, moves, f"{state.value} by {fact.author}")

    def _care(self) -> None:
        desk = self._desk
        self._told(desk.steward.care(desk.now, list(desk.bots.values())))
        for record in desk.bots.values():
            decision = desk.steward.scale(desk.now, record)
            if decision is not None:
                before = len(record.active)
                desk.scale(record, decision.wanted)
                after = len(record.active)
                if after != before:
                    held = decision.limited_by or ""
                    desk.do(Record(Scaled(record.bot, before, after, decision.reason, held)))
        desk.do(WakeAt(desk.now + CARE_EVERY_S, CARE))

    def _told(self, facts: list[ServiceFact], *, anyhow: bool = False) -> None:
        if facts or anyhow:
            self._desk.do(*map(Record, facts), TellAll(self._desk.steward.mode(self._desk.now)))

    def _restart(self, record: BotRecord, instance: Instance) -> None:
        if instance.state == "restarting" and record.breaker.state is not State.OPEN:
            record.restarts += 1
            self._desk.start(record, instance)
            self._desk.tell(record)

    def _sweep(self) -> None:
        """Fail what has taken too long, and look again when the next one can have."""
        desk, settings = self._desk, self._desk.settings
        desk.next_sweep = math.inf
        for record in desk.bots.values():
            for turn in [turn for turn in _working(record) if turn.overdue_at <= desk.now]:
                code, said = "bot-silent", f"said nothing for {settings.reply_silence_max_s:g} s"
                call = Outcome.FAILURE
                if desk.now >= turn.ends:
                    code, said = "reply-too-slow", f"had not finished after {settings.reply_max_s:g} s"
                elif desk.now < turn.deadline:
                    # Most of the time was spent in the queue: that says nothing about the bot.
                    code, said = "reply-too-late", f"had not begun after {settings.answer_within_s:g} s"
                    call = Outcome.CANCELLED
                desk.call_off(turn)
                desk.close(turn, code, call, message=f"{turn.bot} {said}: send it again")
            for turn in record.queue.expired(desk.now):
                desk.forget(turn)
                said = f"{turn.bot} is busy: the message waited {settings.answer_within_s:g} s for a place"
                desk.fail(turn, "busy", said, BUSY_RETRY_S)
        for record in desk.bots.values():
            for turn in _working(record):
                desk.sweep_at(turn.overdue_at)
            waits_until = record.queue.wake_at()
            if waits_until is not None:
                desk.sweep_at(waits_until)


def _working(record: BotRecord) -> Iterator[Turn]:
    """Give every turn that some process of the bot works on."""
    return (turn for instance in record.instances.values() for turn in instance.in_flight.values())

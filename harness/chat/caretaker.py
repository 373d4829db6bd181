"""Caretaker: the rules for bots and timers: what lives, what is started again, what has been silent for too long.

In    facts about processes and timers
Out   acts, by way of the desk
Rule  one death or broken line is one failure for the breaker, however many turns it took with it;
      a bot is started again later each time, and not at all while its breaker is open
Why   a bot that keeps dying must cost its users one clear error, not a storm of restarts
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from harness.chat.desk import BUSY_RETRY_S, SWEEP, Desk
from harness.chat.roster import BotRecord
from harness.core.events import (
    BotGarbled,
    BotGone,
    BotReady,
    BotSeen,
    BotStarted,
    BotUnwanted,
    BotWanted,
    CancelTurn,
    Fact,
    ForgetBot,
    Record,
    StopBot,
    TellAll,
    WakeAt,
    Woke,
)
from harness.services.circuit_breaker import BreakerConfig, CircuitBreaker, State


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
            Woke: self._woke,
        }

    def _bot_wanted(self, fact: BotWanted) -> None:
        desk, settings = self._desk, self._desk.settings
        if fact.bot in desk.bots:
            return
        config = BreakerConfig(
            failures_max=settings.breaker_failures_max,
            cooldown_s=settings.breaker_cooldown_s,
            # Every piece of a reply renews it, and silence ends a turn before: it is for what nobody has thought of.
            lease_s=settings.reply_silence_max_s + settings.bot_start_max_s,
        )
        record = BotRecord(fact.bot, fact.behaviour, fact.options, fact.seed, CircuitBreaker(config))
        desk.bots[fact.bot] = record
        desk.start(record)

    def _bot_unwanted(self, fact: BotUnwanted) -> None:
        desk = self._desk
        record = desk.bots.pop(fact.bot, None)
        if record is None:
            return
        for turn in (*record.in_flight.values(), *record.queue):
            desk.forget(turn)
            desk.fail(turn, "no-bot", f"{fact.bot} was removed")
        desk.do(StopBot(fact.bot), ForgetBot(fact.bot))
        desk.do(TellAll(record.status(desk.now, state="stopped")))

    def _bot_started(self, fact: BotStarted) -> None:
        desk = self._desk
        record = desk.bots.get(fact.bot)
        if record is None:
            desk.do(StopBot(fact.bot))  # Removed while it was starting.
            return
        record.pid = fact.pid
        desk.do(Record(BotSeen(fact.bot, "started", fact.pid)))
        desk.do(WakeAt(desk.now + desk.settings.bot_start_max_s, f"start:{fact.bot}"))
        desk.tell(record)

    def _bot_ready(self, fact: BotReady) -> None:
        desk = self._desk
        record = desk.bots.get(fact.bot)
        if record is None:
            return
        record.state = "online"
        desk.do(Record(BotSeen(fact.bot, "ready", record.pid)))
        desk.tell(record)
        desk.dispatch(record)

    def _bot_gone(self, fact: BotGone) -> None:
        desk, settings = self._desk, self._desk.settings
        record = desk.bots.get(fact.bot)
        if record is None:
            return
        desk.do(Record(BotSeen(fact.bot, "gone", record.pid, fact.why)))
        record.state, record.pid, record.why = "restarting", None, fact.why
        record.deaths += 1
        for turn in tuple(record.in_flight.values()):
            said = f"{fact.bot} died in the middle of the reply ({fact.why}): send it again"
            desk.close(turn, "bot-gone", ok=None, message=said)
        moves = record.breaker.fail(desk.now)
        if record.breaker.state is not State.OPEN:
            shortest_s, longest_s = settings.bot_restart_min_s, settings.bot_restart_max_s
            pause_s = min(longest_s, shortest_s * 2.0 ** min(record.deaths - 1, 60))
            desk.do(WakeAt(desk.now + pause_s, f"restart:{fact.bot}"))
        if moves:
            desk.moved(record, moves, fact.why)
        else:
            desk.tell(record)

    def _bot_garbled(self, fact: BotGarbled) -> None:
        desk = self._desk
        record = desk.bots.get(fact.bot)
        if record is None:
            return
        # A broken line belongs to no turn: whatever the bot is working on can no longer be trusted to end.
        said = f"{fact.bot} broke the protocol: {fact.why}"
        for turn in tuple(record.in_flight.values()):
            desk.forget(turn)
            assert turn.permit is not None
            record.breaker.settle(turn.permit, desk.now, ok=None)
            desk.fail(turn, "bot-garbled", said)
        desk.moved(record, record.breaker.fail(desk.now), said)
        desk.dispatch(record)

    # --- Timers -------------------------------------------------------------------------------------------------------
    def _woke(self, fact: Woke) -> None:
        if fact.key == SWEEP:
            self._sweep()
            return
        what, _, bot = fact.key.partition(":")
        record = self._desk.bots.get(bot)
        if record is None:
            return
        if what == "breaker":
            self._desk.cool(record)
            self._desk.watch_breaker(record)  # A lease that was renewed is looked at again.
        elif what == "restart":
            self._restart(record)
        elif record.state == "starting":
            self._desk.do(StopBot(bot))  # Its end comes back as BotGone, and counts as a death.

    def _restart(self, record: BotRecord) -> None:
        if record.state == "restarting" and record.breaker.state is not State.OPEN:
            record.restarts += 1
            self._desk.start(record)

    def _sweep(self) -> None:
        """Fail what has taken too long, and look again when the next one can have."""
        desk, settings = self._desk, self._desk.settings
        desk.next_sweep = math.inf
        for record in desk.bots.values():
            for turn in [turn for turn in record.in_flight.values() if min(turn.deadline, turn.ends) <= desk.now]:
                code, said = "bot-silent", f"said nothing for {settings.reply_silence_max_s:g} s"
                if desk.now >= turn.ends:
                    code, said = "reply-too-slow", f"had not finished after {settings.reply_max_s:g} s"
                desk.do(CancelTurn(turn.bot, turn.turn))
                desk.close(turn, code, ok=False, message=f"{turn.bot} {said}: send it again")
            while record.queue and record.queue[0].since + settings.queue_wait_max_s <= desk.now:
                turn = record.queue[0]
                desk.forget(turn)
                said = f"{turn.bot} is busy: the message waited {settings.queue_wait_max_s:g} s for a place"
                desk.fail(turn, "busy", said, BUSY_RETRY_S)
        for record in desk.bots.values():
            for turn in record.in_flight.values():
                desk.sweep_at(min(turn.deadline, turn.ends))
            if record.queue:
                desk.sweep_at(record.queue[0].since + settings.queue_wait_max_s)

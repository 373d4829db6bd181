"""Desk: what every rule of the chat works with: bots, sessions, open turns, and the acts that come out.

In    calls of the rules in engine.py (messages, clients) and caretaker.py (bots, breakers, timers)
Out   changed state, and acts in the order in which they must be carried out
Rule  a turn leaves every list before its end is published; its permit is settled exactly once
Why   both kinds of rules open and close turns: how that is done stands here, when it is done stands there
"""

from __future__ import annotations

import math
from typing import Final

from harness.chat.roster import BotRecord, Instance, SessionRecord, Turn
from harness.chat.session_log import SessionLog
from harness.core.events import (
    Act,
    Admitted,
    Begin,
    BreakerMoved,
    CancelTurn,
    End,
    Failed,
    LoggedFrame,
    Publish,
    Record,
    SaveMessage,
    StartBot,
    StopBot,
    TellAll,
    ToBot,
    TurnSettled,
    WakeAt,
)
from harness.core.settings import Settings
from harness.services.circuit_breaker import Permit, State, Transition

BUSY_RETRY_S: Final = 1.0
"""What to tell clients whose bot has no place: nobody knows, about so."""
SWEEP: Final = "sweep"
"""The timer at which turns that have been silent for too long are looked for."""


class Desk:
    """The state of the chat, and the moves that several rules share. ``now`` is the time of the fact at hand."""

    def __init__(self, settings: Settings, *, epoch: str) -> None:
        """Start with no bots and no sessions."""
        self.settings = settings
        self.bots: dict[str, BotRecord] = {}
        self.instances: dict[str, Instance] = {}
        """Every process of every bot, by its own name."""
        self.sessions: dict[str, SessionRecord] = {}
        self.next_sweep = math.inf
        self.acts: list[Act] = []
        self.now = 0.0
        self._epoch = epoch
        self._idle: dict[str, None] = {}
        self._turns = 0
        self._logs = 0

    def do(self, *acts: Act) -> None:
        """Add acts to what comes out."""
        self.acts.extend(acts)

    # --- Sessions -----------------------------------------------------------------------------------------------------
    def session(self, name: str) -> SessionRecord:
        """Give a session; one that is not in memory begins a log of its own epoch.

        A log that was forgotten and begun anew must not be taken for the one before, so every log has its number.
        """
        session = self.sessions.get(name)
        if session is None:
            self._logs += 1
            log = SessionLog(self.settings.log_frames_max, self.settings.log_chars_max)
            session = self.sessions[name] = SessionRecord(f"{self._epoch}.{self._logs}", log)
        return session

    def wake(self, name: str) -> None:
        """Somebody uses the session: it is not idle."""
        self._idle.pop(name, None)

    def rest(self, name: str, session: SessionRecord) -> None:
        """Keep a session that nobody uses for a while, as one of the newest so many."""
        if session.clients or session.turns:
            return
        self._idle.pop(name, None)
        self._idle[name] = None
        if len(self._idle) > self.settings.sessions_max:
            oldest = next(iter(self._idle))
            del self._idle[oldest], self.sessions[oldest]

    def publish(self, name: str, frame: LoggedFrame) -> None:
        """Number a frame and hand it to everybody in the session."""
        session = self.sessions.get(name) or self.session(name)
        self.acts.append(Publish(name, session.log.append(frame), frame))

    # --- Turns --------------------------------------------------------------------------------------------------------
    def new_turn(self) -> str:
        """Name a turn: never used before, in this life of the service or another."""
        self._turns += 1
        return f"t{self._epoch}-{self._turns}"

    def dispatch(self, record: BotRecord) -> None:
        """Hand over what waits, as far as the bot, its limit and its breaker allow."""
        while record.queue:
            instance = record.freest()
            full = instance is None or len(instance.in_flight) >= self.settings.turns_max
            if full and record.breaker.state is not State.OPEN:
                return
            decision = record.breaker.admit(self.now)
            turn = record.queue.popleft()
            if isinstance(decision, Permit):
                assert instance is not None
                self._ask(instance, turn, decision)
                continue
            # Behind a probe nothing can wait: the door lets one message in while the breaker is half-open.
            assert not decision.probing
            self.forget(turn)
            wait_s = decision.retry_after_s
            self.fail(turn, "circuit-open", unavailable(record, wait_s), round(wait_s, 3))

    def _ask(self, instance: Instance, turn: Turn, permit: Permit) -> None:
        turn.permit, turn.instance = permit, instance.name
        turn.ends = self.now + self.settings.reply_max_s
        turn.deadline = self.now + self.settings.reply_silence_max_s
        instance.in_flight[turn.turn] = turn
        self.acts.append(Record(Admitted(turn.bot, turn.turn, permit.probe)))
        self.acts.append(ToBot(instance.name, turn.turn, turn.session, turn.text))
        if permit.probe:
            self.watch_breaker(self.bots[turn.bot])
        self.sweep_at(turn.overdue_at)

    def sweep_at(self, at: float) -> None:
        """Look for overdue turns at this moment, unless that is done earlier anyway."""
        if at < self.next_sweep:
            self.next_sweep = at
            self.do(WakeAt(at, SWEEP))

    def close(self, turn: Turn, outcome: str, *, ok: bool | None, message: str = "") -> None:
        """End a turn (done, cancelled, or an error code), settle its permit and let the next one in."""
        record = self.bots[turn.bot]
        self.forget(turn)
        if outcome in ("done", "cancelled"):
            if outcome == "cancelled":
                self.call_off(turn)
            if turn.first_s is None:
                self.publish(turn.session, Begin(turn.turn, turn.cid, turn.bot))
            self.save_reply(turn, outcome)
            self.publish(turn.session, End(turn.turn, turn.cid, outcome, turn.chars))
            self._settled(turn, outcome)
        else:
            self.fail(turn, outcome, message)
        if turn.permit is not None:
            self.moved(record, record.breaker.settle(turn.permit, self.now, ok=ok), message)
        self.dispatch(record)

    def fail(self, turn: Turn, code: str, message: str, retry_after_s: float | None = None) -> None:
        """Tell the session that a turn it waits for has failed; what arrived of the reply is kept."""
        self.save_reply(turn, "failed", message)
        self.publish(turn.session, Failed(turn.turn, turn.cid, code, message, retry_after_s))
        self._settled(turn, code)

    def forget(self, turn: Turn) -> None:
        """Take a turn off every list."""
        instance, record = self.instances.get(turn.instance), self.bots.get(turn.bot)
        if instance is not None:
            instance.in_flight.pop(turn.turn, None)
            self._let_go(instance)
        elif record is not None and turn in record.queue:
            record.queue.remove(turn)
        session = self.sessions[turn.session]
        session.turns.pop(turn.cid, None)
        self.rest(turn.session, session)

    def call_off(self, turn: Turn) -> None:
        """Tell the bot that nobody waits for this reply any more, if it has been asked."""
        if turn.instance:
            self.acts.append(CancelTurn(turn.instance, turn.turn))

    def save_reply(self, turn: Turn, state: str, error: str = "") -> None:
        """Keep what has arrived of a reply."""
        self.acts.append(SaveMessage(turn.turn, turn.session, "bot", turn.cid, turn.reply, state, error))

    def _settled(self, turn: Turn, outcome: str) -> None:
        took_s = round(self.now - turn.since, 6)
        self.acts.append(Record(TurnSettled(turn.bot, turn.turn, outcome, took_s, turn.first_s)))

    # --- Bots and breakers --------------------------------------------------------------------------------------------
    def start(self, record: BotRecord, instance: Instance) -> None:
        """Start a process of a bot."""
        instance.state = "starting"
        self.instances[instance.name] = instance
        self.do(StartBot(instance.name, record.behaviour, record.options, record.seed))

    def scale(self, record: BotRecord, wanted: int) -> None:
        """Let a bot have so many processes; what one of them works on is finished before it ends."""
        for instance in record.instances.values():
            if instance.retiring and instance.in_flight and len(record.active) < wanted:
                instance.retiring = False  # Asked to stay before it had gone.
        while len(record.active) < wanted:
            self.start(record, record.add())
        for instance in record.active[wanted:]:
            instance.retiring = True
            self._let_go(instance)
        self.tell(record)
        self.dispatch(record)

    def drop(self, record: BotRecord, instance: Instance) -> None:
        """Forget a process that is gone for good."""
        del record.instances[instance.name], self.instances[instance.name]

    def _let_go(self, instance: Instance) -> None:
        """End a process that was on its way out and has nothing left to do."""
        if not instance.retiring or instance.in_flight:
            return
        if instance.state == "restarting":  # There is no process whose end could be waited for.
            self.drop(self.bots[instance.bot], instance)
        else:
            self.do(StopBot(instance.name))

    def tell(self, record: BotRecord) -> None:
        """Show everybody the newest state of a bot."""
        self.do(TellAll(record.status(self.now)))

    def cool(self, record: BotRecord) -> None:
        """Let time pass for a bot's breaker."""
        self.moved(record, record.breaker.tick(self.now), record.why)

    def moved(self, record: BotRecord, moves: tuple[Transition, ...], why: str) -> None:
        """Carry the changes of a breaker's state through: write down, tell, wake in time, start, let in."""
        if not moves:
            return
        for move in moves:
            moved = BreakerMoved(
                bot=record.bot,
                seq=move.seq,
                before=move.before.value,
                after=move.after.value,
                cause=move.cause.value,
                failures=move.failures,
                cooldown_s=self.settings.breaker_cooldown_s,
            )
            self.do(Record(moved))
        record.why = why
        self.watch_breaker(record)
        self.dispatch(record)  # Before telling: opening empties the queue, closing fills the places.
        waiting = [instance for instance in record.active if instance.state == "restarting"]
        # No restarts while open: the cooldown is also the bot's. A probe needs somebody to talk to; proven, all return.
        if record.breaker.state is State.HALF_OPEN:
            waiting = waiting[:1] if record.state == "restarting" else []
        elif record.breaker.state is State.OPEN:
            waiting = []
        for instance in waiting:
            record.restarts += 1
            self.start(record, instance)
        self.tell(record)

    def watch_breaker(self, record: BotRecord) -> None:
        """Be woken when time moves a bot's breaker."""
        wake = record.breaker.wake_at()
        if wake is not None:
            self.do(WakeAt(wake, f"breaker:{record.bot}"))


def unavailable(record: BotRecord, wait_s: float) -> str:
    """Say why an open breaker refuses, and for how long."""
    why = f" ({record.why})" if record.why else ""
    return f"Bot Unavailable (recovering): {record.bot} kept failing{why}; it is tried again in {wait_s:.1f} s"

"""Desk: what every rule of the chat works with: bots, sessions, open turns, and the acts that come out.

In    calls of the rules in engine.py (messages, clients) and caretaker.py (bots, breakers, timers)
Out   changed state, and acts in the order in which they must be carried out
Rule  a turn leaves every list before its end is published; its permit is settled exactly once
Why   both kinds of rules open and close turns: how that is done stands here, when it is done stands there
"""

from __future__ import annotations

import math
import random
from typing import Final

from harness.chat.roster import READINESS, BotRecord, Instance, SessionRecord, Turn
from harness.chat.session_log import SessionLog
from harness.chat.steward import Steward
from harness.core.events import (
    Act,
    Admitted,
    Begin,
    BotWanted,
    BreakerMoved,
    CancelTurn,
    End,
    Failed,
    LimitMoved,
    LoggedFrame,
    Publish,
    Record,
    Rejected,
    Retried,
    SaveMessage,
    StartBot,
    StopBot,
    TellAll,
    ToBot,
    TurnSettled,
    UserSaid,
    WakeAt,
)
from harness.core.settings import Settings
from harness.services.circuit_breaker import CircuitBreaker, Outcome, Permit, State, Transition
from harness.services.concurrency_limit import ConcurrencyConfig, ConcurrencyLimit, Kind
from harness.services.rate_limit import TokenBucketConfig, TokenBuckets
from harness.services.recovery import Recovery, Retry
from harness.services.wait_queue import Priority, Refusal, WaitQueue, WaitQueueConfig

BUSY_RETRY_S: Final = 1.0
"""What to tell clients whose bot has no place: nobody knows, about so."""
DROPPED: Final = frozenset({"bot-silent", "overloaded", "throttled"})
"""Ends of a turn that say: the bot had too much to do."""
UNHEARD: Final = frozenset({"bot-silent", "bot-garbled", "reply-too-late", "reply-too-slow", "reply-too-long"})
"""Ends of a turn that the service has set: the bot may not know of it yet, and speak on."""
SWEEP: Final = "sweep"
"""The timer at which turns that have been silent for too long are looked for."""


class Desk:
    """The state of the chat, and the moves that several rules share. ``now`` is the time of the fact at hand."""

    def __init__(self, settings: Settings, *, epoch: str, rng: random.Random, recovery: Recovery) -> None:
        """Start with no bots and no sessions."""
        self.settings, self.rng, self.recovery = settings, rng, recovery
        self.steward = Steward(settings, rng)
        bucket = TokenBucketConfig(rate_per_s=settings.session_rate_per_s, burst=settings.session_burst)
        self.pace = TokenBuckets(bucket)
        """How fast each session may send."""
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

    @property
    def idle(self) -> int:
        """How many sessions are kept for clients that may come back."""
        return len(self._idle)

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
        queue = record.queue
        if queue:
            self.cool(record)
        while queue:
            refusal = record.breaker.peek(self.now)
            if refusal is not None and refusal.probing:
                return  # What is tried again may wait behind a probe; the door lets nothing else in meanwhile.
            instance = record.freest()
            if instance is None and refusal is None:
                return
            turn = queue.take(self.now)
            if turn is None:
                return  # All whose time is not up have been asked.
            if refusal is not None:
                queue.settled(self.now, served=False)
                self.forget(turn)
                wait_s = refusal.retry_after_s
                self.fail(turn, "circuit-open", unavailable(record, wait_s), round(wait_s, 3))
                continue
            assert instance is not None
            self.ask(record, instance, turn)

    def ask(self, record: BotRecord, instance: Instance, turn: Turn) -> None:
        """Hand a turn over; the process has a place, and the breaker has just been asked."""
        permit = record.breaker.admit(self.now)
        assert isinstance(permit, Permit)
        turn.permit, turn.instance, turn.asked = permit, instance.name, self.now
        turn.lease = instance.limit.try_acquire(self.now)
        turn.ends = self.now + self.settings.reply_max_s
        turn.deadline = self.now + self.settings.reply_silence_max_s
        instance.in_flight[turn.turn] = turn
        self.acts.append(Record(Admitted(turn.bot, turn.turn, permit.probe)))
        self.acts.append(ToBot(instance.name, turn.turn, turn.session, turn.text))
        if permit.probe:
            self.watch_breaker(record)
        self.sweep_at(turn.overdue_at)

    def sweep_at(self, at: float) -> None:
        """Look for overdue turns at this moment, unless that is done earlier anyway."""
        if at < self.next_sweep:
            self.next_sweep = at
            self.do(WakeAt(at, SWEEP))

    def close(self, turn: Turn, outcome: str, call: Outcome, *, message: str = "") -> None:
        """End a turn (done, cancelled, or an error code), settle its permit and let the next one in.

        One that failed before a word of its reply had come may be asked again instead.
        """
        record = self.bots[turn.bot]
        if outcome == "done" and turn.signal_s is None:
            turn.signal_s = self.now - turn.asked
        permit, signal_s = turn.permit, turn.signal_s
        self.forget(turn, served=call is not Outcome.CANCELLED and outcome not in DROPPED, dropped=outcome in DROPPED)
        if outcome in ("done", "cancelled"):
            if outcome == "cancelled":
                self.call_off(turn)
            if turn.first_s is None:
                self.publish(turn.session, Begin(turn.turn, turn.cid, turn.bot))
            self.save_reply(turn, outcome)
            self.publish(turn.session, End(turn.turn, turn.cid, outcome, turn.chars))
            self._settled(turn, outcome)
            self._recovered(turn, done=outcome == "done")
        elif not self._try_again(record, turn, outcome):
            self.fail(turn, outcome, message)
        if permit is not None:
            # A call is slow until its first piece, not for as long as the text is.
            self.moved(record, record.breaker.settle(permit, self.now, call, took_s=signal_s), message)
        self.dispatch(record)

    def _try_again(self, record: BotRecord, turn: Turn, code: str) -> bool:
        """Ask recovery whether a turn is worth another try, and let it rest until then."""
        if turn.first_s is not None or turn.call is None or not self.steward.enabled("retries"):
            return False
        if code in UNHEARD:
            return False  # What it still says of this try would be taken for the answer to the next.
        decision = self.recovery.decide(turn.call, self.recovery.classifier.code(code), self.now)
        if not isinstance(decision, Retry):
            turn.call = None  # Given up, and counted.
            return False
        turn.instance, turn.permit, turn.lease, turn.signal_s = "", None, None, None
        record.resting[turn.turn] = turn
        self.sessions[turn.session].turns[turn.cid] = turn
        self.wake(turn.session)
        self.do(Record(Retried(turn.bot, turn.turn, code, decision.attempt, round(decision.delay_s, 6))))
        self.do(WakeAt(self.now + decision.delay_s, f"retry:{turn.bot}:{turn.turn}"))
        return True

    def again(self, record: BotRecord, name: str) -> None:
        """Let a turn that has rested wait for a place again."""
        turn = record.resting.pop(name, None)
        if turn is None:
            return
        queued = record.queue.offer(
            turn, self.now, size=len(turn.text), priority=Priority.RETRY, deadline=turn.begin_by
        )
        if isinstance(queued, Refusal):
            self.forget(turn)
            self.fail(turn, "busy", crowded(record, queued), queued.retry_after_s)
            return
        self.dispatch(record)
        if record.queue:
            self.sweep_at(turn.begin_by)

    def _recovered(self, turn: Turn, *, done: bool) -> None:
        assert turn.call is not None
        if done:
            self.recovery.succeeded(turn.call, self.now)
        else:
            self.recovery.abandon(turn.call, self.now)
        turn.call = None

    def fail(self, turn: Turn, code: str, message: str, retry_after_s: float | None = None) -> None:
        """Tell the session that a turn it waits for has failed; what arrived of the reply is kept."""
        self.given_up(turn, code)
        self.save_reply(turn, "failed", message)
        self.publish(turn.session, Failed(turn.turn, turn.cid, code, message, retry_after_s))
        self._settled(turn, code)

    def given_up(self, turn: Turn, code: str) -> None:
        """Count a turn that is not tried any more, for a reason of the service itself."""
        if turn.call is not None:
            self.recovery.give_up(turn.call, self.recovery.classifier.code(code), self.now, reason=code)
            turn.call = None

    def forget(self, turn: Turn, *, served: bool = False, dropped: bool = False) -> None:
        """Take a turn off every list and give its place back.

        ``served``: the bot has ended it, which shows how fast work is done; ``dropped``: the bot had too much to do.
        """
        instance, record = self.instances.get(turn.instance), self.bots.get(turn.bot)
        if instance is not None:
            del instance.in_flight[turn.turn]
            assert turn.lease is not None
            moved = instance.limit.settle(turn.lease, self.now, signal_s=turn.signal_s, dropped=dropped)
            if moved is not None:
                self.do(Record(LimitMoved(turn.bot, instance.name, moved.before, moved.after, moved.cause)))
            if record is not None:
                record.queue.settled(self.now, served=served)
            if instance.retiring:
                self._let_go(instance)
        elif record is not None and record.resting.pop(turn.turn, None) is None:
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
        if turn.permit is None or not turn.permit.probe:
            self.steward.settled(outcome, turn.first_s)

    def over_capacity(self, fact: UserSaid, *, waits: bool) -> Rejected | None:
        """Refuse what would be more than the whole service can hold; ``waits``: there is no place for it yet."""
        refusal = self.steward.admit(self.now, self.bots.values(), chars=len(fact.text), waits=waits)
        if refusal is None:
            return None
        wait_s = refusal.retry_after_s
        said = f"the service is full ({refusal.said})"
        return Rejected(fact.cid, "over-capacity", said, None if wait_s is None else round(wait_s, 3))

    # --- Bots and breakers --------------------------------------------------------------------------------------------
    def enrol(self, fact: BotWanted, breaker: CircuitBreaker) -> BotRecord:
        """Know a bot from now on, with its queue."""
        settings = self.settings
        waiting = WaitQueueConfig(
            count_max=settings.queue_max, size_max=settings.queue_chars_max, age_max_s=settings.answer_within_s
        )
        queue = WaitQueue[Turn](waiting, self.rng)
        record = BotRecord(fact.bot, fact.behaviour, fact.options, fact.seed, breaker, queue)
        self.bots[fact.bot] = record
        return record

    def limit(self) -> ConcurrencyLimit:
        """Give a new process its limit: it starts at the most, and comes down if the bot answers ever more slowly."""
        most = self.settings.turns_max
        least = min(self.settings.turns_min, most)
        kind: Kind = "gradient" if least < most else "fixed"
        return ConcurrencyLimit(ConcurrencyConfig(kind=kind, start=most, floor=least, ceiling=most))

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
        while len(record.active) < wanted and self.steward.room(self.now):
            self.start(record, record.add(self.limit()))
        # Whoever is not there goes first: the last that answers must not go while another waits to be started again.
        for instance in sorted(record.active, key=lambda one: READINESS.index(one.state))[wanted:]:
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
        moves = record.breaker.tick(self.now)
        if moves:
            self.moved(record, moves, record.why)

    def moved(self, record: BotRecord, moves: tuple[Transition, ...], why: str) -> None:
        """Carry the changes of a breaker's state through: write down, tell, wake in time, start, let in."""
        if not moves:
            return
        for move in moves:
            self.do(Record(_told(record.bot, move, why)))
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


def _told(bot: str, move: Transition, why: str) -> BreakerMoved:
    """Write a change of a breaker down, with all that led to it."""
    counts = move.counts
    return BreakerMoved(
        bot=bot,
        seq=move.seq,
        before=move.before.value,
        after=move.after.value,
        cause=move.cause.value,
        failures=move.failures,
        cooldown_s=move.cooldown_s,
        signal=move.signal.value,
        late_s=move.late_s,
        generation=move.generation,
        calls=counts.calls,
        failed=counts.failed,
        slow=counts.slow,
        hung=counts.hung,
        failure_rate=counts.failure_rate,
        slow_rate=counts.slow_rate,
        attempt=move.attempt,
        ttl_s=move.ttl_s,
        author=move.author,
        config_version=move.config_version,
        why=why,
    )


def crowded(record: BotRecord, refusal: Refusal) -> str:
    """Say why a queue takes no more, and when it may."""
    match refusal.reason:
        case "wait":
            why = f"a new message would wait about {refusal.eta_s:.0f} s"
        case "size" | "too-large":
            why = "the messages that wait for it are too long in all"
        case "expired":
            why = "the time in which it should have begun to answer is over"
        case _:
            why = f"{len(record.queue)} messages are waiting"
    when = f"in {refusal.retry_after_s:.1f} s" if refusal.retry_after_s is not None else "later"
    return f"{record.bot} is busy: {why}; try again {when}"


def unavailable(record: BotRecord, wait_s: float) -> str:
    """Say why an open breaker refuses, and for how long."""
    if record.breaker.state is State.FORCED_OPEN:
        return f"Bot Unavailable: {record.bot} takes no messages ({record.why}); it is tried again in {wait_s:.1f} s"
    why = f" ({record.why})" if record.why else ""
    return f"Bot Unavailable (recovering): {record.bot} kept failing{why}; it is tried again in {wait_s:.1f} s"

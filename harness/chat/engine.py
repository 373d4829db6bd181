"""Engine: the path of a message. One fact in, its acts out.

In    receive(fact, now): what happened, and when on a monotonic clock (seconds)
Out   acts, in the order in which they must be carried out
Rule  nothing here reads a clock, sleeps, logs or awaits; every queue is bounded; every permit is settled
Why   the same code runs behind port 8000 and in a simulation of thousands of messages a second

    UserSaid   refused at the door (breaker open, queue full, too long), or saved, accepted, and asked of the bot
    BotSaid    published to the session, token by token; saved at intervals
    BotEnded   saved, published, the permit settled: the breaker learns
    BotGone    what it was working on fails with a clear error; it is started again, later each time;
               one death is one failure for the breaker, however many turns it took with it
    Woke       a bot fell silent, a breaker has cooled down, a restart is due
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from harness.chat.roster import BotRecord, SessionRecord, Turn
from harness.chat.session_log import SessionLog
from harness.core.events import (
    Accepted,
    Act,
    Admitted,
    Begin,
    BotEnded,
    BotFailed,
    BotGarbled,
    BotGone,
    BotReady,
    BotSaid,
    BotSeen,
    BotStarted,
    BotStatus,
    BotUnwanted,
    BotWanted,
    BreakerMoved,
    CancelTurn,
    ClientAcked,
    ClientJoined,
    ClientLeft,
    Delta,
    End,
    Fact,
    Failed,
    ForgetBot,
    LoggedFrame,
    Publish,
    Record,
    Refused,
    Rejected,
    Reply,
    SaveFailed,
    SaveMessage,
    StartBot,
    StopBot,
    TellAll,
    ToBot,
    TurnSettled,
    UserCancelled,
    UserSaid,
    WakeAt,
    Welcome,
    Woke,
)
from harness.core.settings import Settings
from harness.services.circuit_breaker import BreakerConfig, CircuitBreaker, Permit, State, Transition

QUESTION: Final = ".q"
"""A message's id is its turn's id with this behind it, so that each can be told from the other."""
_PROBING_RETRY_S: Final = 0.5
"""What to tell clients that are refused because a probe is under way: nobody knows, soon."""
_SWEEP: Final = "sweep"


class Engine:
    """Everything that the chat service decides. ``epoch`` is different at every start: it makes ids unique."""

    def __init__(self, settings: Settings, *, epoch: str) -> None:
        """Start with no bots and no sessions."""
        self._settings = settings
        self._epoch = epoch
        self._bots: dict[str, BotRecord] = {}
        self._sessions: dict[str, SessionRecord] = {}
        self._idle: dict[str, None] = {}
        self._turns = 0
        self._logs = 0
        self._sweeping = False
        self._acts: list[Act] = []
        self._now = 0.0
        self._rules: dict[type[Fact], Callable[[Any], None]] = {
            UserSaid: self._user_said,
            BotSaid: self._bot_said,
            BotEnded: self._bot_ended,
            ClientAcked: self._client_acked,
            BotWanted: self._bot_wanted,
            BotUnwanted: self._bot_unwanted,
            BotStarted: self._bot_started,
            BotReady: self._bot_ready,
            BotGone: self._bot_gone,
            BotFailed: self._bot_failed,
            BotGarbled: self._bot_garbled,
            ClientJoined: self._client_joined,
            ClientLeft: self._client_left,
            UserCancelled: self._user_cancelled,
            SaveFailed: self._save_failed,
            Woke: self._woke,
        }

    def receive(self, fact: Fact, now: float) -> list[Act]:
        """Decide what follows from a fact; ``now`` never goes back."""
        self._acts, self._now = [], now
        self._rules[type(fact)](fact)
        return self._acts

    def statuses(self, now: float) -> list[BotStatus]:
        """Give the newest state of every bot."""
        return [record.status(now) for record in self._bots.values()]

    # --- Users ------------------------------------------------------------------------------------------------------
    def _user_said(self, fact: UserSaid) -> None:
        session = self._session(fact.session)
        live = session.turns.get(fact.cid)
        if live is not None or fact.known is not None:
            turn = live.turn if live is not None else (fact.known or "").removesuffix(QUESTION)
            self._do(Reply(fact.conn, Accepted(fact.cid, turn + QUESTION, turn, fact.text)))
            return
        record = self._bots.get(fact.bot)
        refusal = self._door(fact, record)
        if refusal is not None:
            self._do(Reply(fact.conn, refusal), Record(Refused(fact.bot, fact.cid, refusal.code)))
            return
        assert record is not None
        self._turns += 1
        name = f"t{self._epoch}-{self._turns}"
        turn_ = Turn(name, fact.cid, fact.session, fact.bot, fact.text, fact.conn, self._now)
        session.turns[fact.cid] = turn_
        mid = name + QUESTION
        self._do(SaveMessage(mid, fact.session, "user", fact.cid, fact.text, "accepted"))
        self._publish(fact.session, Accepted(fact.cid, mid, name, fact.text))
        record.queue.append(turn_)
        self._dispatch(record)

    def _door(self, fact: UserSaid, record: BotRecord | None) -> Rejected | None:
        """Refuse what cannot be taken; the sender keeps the text."""
        limit = self._settings.text_chars_max
        if not fact.text.strip():
            return Rejected(fact.cid, "empty", "the message is empty: write something")
        if len(fact.text) > limit:
            said = (
                f"the message has {len(fact.text):,} characters, the limit is {limit:,}: shorten it or send it in parts"
            )
            return Rejected(fact.cid, "too-long", said)
        if record is None:
            return Rejected(fact.cid, "no-bot", f"there is no bot {fact.bot!r} any more: launch it again")
        self._cool(record)
        refusal = record.breaker.peek(self._now)
        if refusal is not None and not refusal.probing:
            wait = refusal.retry_after_s
            return Rejected(fact.cid, "circuit-open", self._unavailable(record, wait), round(wait, 3))
        if record.breaker.state is State.HALF_OPEN and (refusal is not None or record.queue):
            said = f"Bot Unavailable (recovering): another message is testing {fact.bot} right now; try again"
            return Rejected(fact.cid, "circuit-open", said, _PROBING_RETRY_S)
        if len(record.queue) >= self._settings.queue_max:
            said = f"{fact.bot} is busy: {len(record.queue)} messages are waiting; try again"
            return Rejected(fact.cid, "busy", said, 1.0)
        return None

    def _user_cancelled(self, fact: UserCancelled) -> None:
        for turn in self._session(fact.session).turns.values():
            if turn.turn == fact.turn:
                self._close(turn, "cancelled", ok=None)
                return

    # --- Clients ----------------------------------------------------------------------------------------------------
    def _client_joined(self, fact: ClientJoined) -> None:
        session = self._session(fact.session)
        session.clients.add(fact.conn)
        self._idle.pop(fact.session, None)
        missed = session.log.since(fact.last_seq) if fact.epoch == session.epoch else None
        record = self._bots.get(fact.bot)
        self._do(
            Welcome(
                conn=fact.conn,
                session=fact.session,
                epoch=session.epoch,
                head_seq=session.log.head,
                recovered=missed is not None,
                replay=missed or (),
                partials={turn.turn: turn.reply for turn in session.turns.values() if turn.first_s is not None},
                status=None if record is None else record.status(self._now),
            )
        )

    def _client_left(self, fact: ClientLeft) -> None:
        session = self._sessions.get(fact.session)
        if session is not None:
            session.clients.discard(fact.conn)
            self._rest(fact.session, session)

    def _client_acked(self, fact: ClientAcked) -> None:
        session = self._sessions.get(fact.session)
        if session is not None:
            session.log.trim(fact.seq)

    # --- What bots say ----------------------------------------------------------------------------------------------
    def _bot_said(self, fact: BotSaid) -> None:
        record, turn = self._working(fact.bot, fact.turn)
        if record is None or turn is None:
            return  # Cancelled, timed out, or from before a restart: nobody waits for it.
        if not fact.text:
            return
        if turn.first_s is None:
            turn.first_s = self._now - turn.since
            turn.checkpoint = self._now + self._settings.checkpoint_s
            self._publish(turn.session, Begin(turn.turn, turn.cid, turn.bot))
        at = turn.chars
        turn.pieces.append(fact.text)
        turn.chars += len(fact.text)
        turn.deadline = self._now + self._settings.reply_silence_max_s
        if self._now >= turn.checkpoint:
            turn.checkpoint = self._now + self._settings.checkpoint_s
            turn.pieces = [turn.reply]
            self._save_reply(turn, "streaming")
        self._publish(turn.session, Delta(turn.turn, at, fact.text))

    def _bot_ended(self, fact: BotEnded) -> None:
        record, turn = self._working(fact.bot, fact.turn)
        if record is None or turn is None:
            return
        record.deaths = 0
        self._close(turn, "done", ok=True)

    def _bot_failed(self, fact: BotFailed) -> None:
        _, turn = self._working(fact.bot, fact.turn)
        if turn is not None:
            self._close(turn, fact.code, ok=False, message=f"{fact.bot}: {fact.message}")

    def _bot_garbled(self, fact: BotGarbled) -> None:
        record = self._bots.get(fact.bot)
        if record is None:
            return
        # A broken line belongs to no turn: whatever the bot is working on can no longer be trusted to end.
        said = f"{fact.bot} broke the protocol: {fact.why}"
        for turn in tuple(record.in_flight.values()):
            self._forget(turn)
            assert turn.permit is not None
            record.breaker.settle(turn.permit, self._now, ok=None)
            self._fail(turn, "bot-garbled", said)
        self._moved(record, record.breaker.fail(self._now), said)
        self._dispatch(record)

    # --- The life of a bot ------------------------------------------------------------------------------------------
    def _bot_wanted(self, fact: BotWanted) -> None:
        if fact.bot in self._bots:
            return
        config = BreakerConfig(
            failures_max=self._settings.breaker_failures_max,
            cooldown_s=self._settings.breaker_cooldown_s,
            lease_s=self._settings.reply_silence_max_s + self._settings.bot_start_max_s,
        )
        record = BotRecord(fact.bot, fact.behaviour, fact.options, fact.seed, CircuitBreaker(config))
        self._bots[fact.bot] = record
        self._start(record)

    def _bot_unwanted(self, fact: BotUnwanted) -> None:
        record = self._bots.pop(fact.bot, None)
        if record is None:
            return
        for turn in (*record.in_flight.values(), *record.queue):
            self._forget(turn)
            self._fail(turn, "no-bot", f"{fact.bot} was removed")
        self._do(StopBot(fact.bot), ForgetBot(fact.bot))
        self._do(TellAll(record.status(self._now, state="stopped")))

    def _bot_started(self, fact: BotStarted) -> None:
        record = self._bots.get(fact.bot)
        if record is None:
            self._do(StopBot(fact.bot))  # Removed while it was starting.
            return
        record.pid = fact.pid
        self._do(Record(BotSeen(fact.bot, "started", fact.pid)))
        self._do(WakeAt(self._now + self._settings.bot_start_max_s, f"start:{fact.bot}"))
        self._tell(record)

    def _bot_ready(self, fact: BotReady) -> None:
        record = self._bots.get(fact.bot)
        if record is None:
            return
        record.state = "online"
        self._do(Record(BotSeen(fact.bot, "ready", record.pid)))
        self._tell(record)
        self._dispatch(record)

    def _bot_gone(self, fact: BotGone) -> None:
        record = self._bots.get(fact.bot)
        if record is None:
            return
        self._do(Record(BotSeen(fact.bot, "gone", record.pid, fact.why)))
        record.state, record.pid, record.why = "restarting", None, fact.why
        record.deaths += 1
        for turn in tuple(record.in_flight.values()):
            said = f"{fact.bot} died in the middle of the reply ({fact.why}): send it again"
            self._close(turn, "bot-gone", ok=None, message=said)
        moves = record.breaker.fail(self._now)
        if record.breaker.state is not State.OPEN:
            shortest, longest = self._settings.bot_restart_min_s, self._settings.bot_restart_max_s
            pause = min(longest, shortest * 2.0 ** min(record.deaths - 1, 60))
            self._do(WakeAt(self._now + pause, f"restart:{fact.bot}"))
        if moves:
            self._moved(record, moves, fact.why)
        else:
            self._tell(record)

    def _start(self, record: BotRecord) -> None:
        record.state = "starting"
        self._do(StartBot(record.bot, record.behaviour, record.options, record.seed))
        self._tell(record)

    # --- Timers -----------------------------------------------------------------------------------------------------
    def _woke(self, fact: Woke) -> None:
        if fact.key == _SWEEP:
            self._sweep()
            return
        what, _, bot = fact.key.partition(":")
        record = self._bots.get(bot)
        if record is None:
            return
        if what == "breaker":
            self._cool(record)
        elif what == "restart":
            if record.state == "restarting" and record.breaker.state is not State.OPEN:
                record.restarts += 1
                self._start(record)
        elif record.state == "starting":
            self._do(StopBot(bot))  # Its end comes back as BotGone, and counts as a death.

    def _sweep(self) -> None:
        """Fail what has been silent for too long, and look again when the next one can be."""
        limit = self._settings.reply_silence_max_s
        for record in self._bots.values():
            for turn in [turn for turn in record.in_flight.values() if turn.deadline <= self._now]:
                said = f"{turn.bot} said nothing for {limit:g} s: send it again"
                self._do(CancelTurn(turn.bot, turn.turn))
                self._close(turn, "bot-silent", ok=False, message=said)
        deadlines = [turn.deadline for record in self._bots.values() for turn in record.in_flight.values()]
        self._sweeping = bool(deadlines)
        if deadlines:
            self._do(WakeAt(min(deadlines), _SWEEP))

    # --- The breaker ------------------------------------------------------------------------------------------------
    def _cool(self, record: BotRecord) -> None:
        moves = record.breaker.tick(self._now)
        if moves:
            self._moved(record, moves, record.why)

    def _moved(self, record: BotRecord, moves: tuple[Transition, ...], why: str) -> None:
        for move in moves:
            moved = BreakerMoved(
                bot=record.bot,
                seq=move.seq,
                before=move.before.value,
                after=move.after.value,
                cause=move.cause.value,
                failures=move.failures,
                cooldown_s=self._settings.breaker_cooldown_s,
            )
            self._do(Record(moved))
        if not moves:
            return
        record.why = why
        wake = record.breaker.wake_at()
        if wake is not None:
            self._do(WakeAt(wake, f"breaker:{record.bot}"))
        if record.breaker.state is State.HALF_OPEN and record.state == "restarting":
            # No restarts while open: the cooldown is also the bot's. The probe needs somebody to talk to.
            record.restarts += 1
            self._start(record)
        else:
            self._tell(record)
        self._dispatch(record)

    def _unavailable(self, record: BotRecord, wait_s: float) -> str:
        why = f" ({record.why})" if record.why else ""
        return f"Bot Unavailable (recovering): {record.bot} kept failing{why}; it is tried again in {wait_s:.1f} s"

    # --- Turns ------------------------------------------------------------------------------------------------------
    def _dispatch(self, record: BotRecord) -> None:
        """Hand over what waits, as far as the bot, its limit and its breaker allow."""
        while record.queue and (record.state == "online" or record.breaker.state is State.OPEN):
            if len(record.in_flight) >= self._settings.turns_max:
                return
            decision = record.breaker.admit(self._now)
            turn = record.queue.popleft()
            if isinstance(decision, Permit):
                self._ask(record, turn, decision)
                continue
            # Behind a probe nothing can wait: the door lets one message in while the breaker is half-open.
            assert not decision.probing
            self._forget(turn)
            wait = decision.retry_after_s
            self._fail(turn, "circuit-open", self._unavailable(record, wait), round(wait, 3))

    def _ask(self, record: BotRecord, turn: Turn, permit: Permit) -> None:
        turn.permit = permit
        turn.deadline = self._now + self._settings.reply_silence_max_s
        record.in_flight[turn.turn] = turn
        self._do(Record(Admitted(turn.bot, turn.turn, permit.probe)))
        self._do(ToBot(turn.bot, turn.turn, turn.session, turn.text))
        if permit.probe:
            wake = record.breaker.wake_at()
            assert wake is not None
            self._do(WakeAt(wake, f"breaker:{record.bot}"))
        if not self._sweeping:
            self._sweeping = True
            self._do(WakeAt(turn.deadline, _SWEEP))

    def _close(self, turn: Turn, outcome: str, *, ok: bool | None, message: str = "") -> None:
        """End a turn: done, cancelled, or an error code; settle its permit and let the next one in."""
        record = self._bots[turn.bot]
        self._forget(turn)
        if outcome in ("done", "cancelled"):
            if outcome == "cancelled":
                self._do(CancelTurn(turn.bot, turn.turn))
            if turn.first_s is None:
                self._publish(turn.session, Begin(turn.turn, turn.cid, turn.bot))
            self._save_reply(turn, outcome)
            self._publish(turn.session, End(turn.turn, turn.cid, outcome, turn.chars))
            self._settled(turn, outcome)
        else:
            self._fail(turn, outcome, message)
        if turn.permit is not None:
            moves = record.breaker.settle(turn.permit, self._now, ok=ok)
            if moves:
                self._moved(record, moves, message)
        self._dispatch(record)

    def _fail(self, turn: Turn, code: str, message: str, retry_after_s: float | None = None) -> None:
        self._save_reply(turn, "failed", message)
        self._publish(turn.session, Failed(turn.turn, turn.cid, code, message, retry_after_s))
        self._settled(turn, code)

    def _settled(self, turn: Turn, outcome: str) -> None:
        took = self._now - turn.since
        self._do(Record(TurnSettled(turn.bot, turn.turn, outcome, round(took, 6), turn.first_s)))

    def _forget(self, turn: Turn) -> None:
        """Take a turn off every list."""
        record = self._bots.get(turn.bot)
        if record is not None and record.in_flight.pop(turn.turn, None) is None and turn in record.queue:
            record.queue.remove(turn)
        session = self._sessions[turn.session]
        session.turns.pop(turn.cid, None)
        self._rest(turn.session, session)

    def _save_reply(self, turn: Turn, state: str, error: str = "") -> None:
        self._do(SaveMessage(turn.turn, turn.session, "bot", turn.cid, turn.reply, state, error))

    def _save_failed(self, fact: SaveFailed) -> None:
        said = f"the message could not be saved ({fact.why}): nothing of it was kept, send it again later"
        session = self._session(fact.session)
        turn = session.turns.get(fact.cid)
        accepting = fact.turn.endswith(QUESTION)
        if turn is not None:
            record = self._bots[turn.bot]
            self._forget(turn)
            if turn.permit is not None:
                self._do(CancelTurn(turn.bot, turn.turn))
                self._moved(record, record.breaker.settle(turn.permit, self._now, ok=None), "")
            if accepting:
                self._do(Reply(turn.conn, Rejected(fact.cid, "not-saved", said)))
        name = fact.turn.removesuffix(QUESTION)
        self._publish(fact.session, Failed(name, fact.cid, "not-saved", said))

    def _working(self, bot: str, turn: str) -> tuple[BotRecord | None, Turn | None]:
        record = self._bots.get(bot)
        return record, None if record is None else record.in_flight.get(turn)

    # --- Sessions and acts ------------------------------------------------------------------------------------------
    def _session(self, name: str) -> SessionRecord:
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = SessionRecord(
                self._fresh_epoch(), SessionLog(self._settings.log_frames_max)
            )
        return session

    def _fresh_epoch(self) -> str:
        """Number the logs: one that was forgotten and begun anew must not be taken for the one before."""
        self._logs += 1
        return f"{self._epoch}.{self._logs}"

    def _rest(self, name: str, session: SessionRecord) -> None:
        """Keep a session that nobody uses for a while, as one of the newest so many."""
        if session.clients or session.turns:
            return
        self._idle.pop(name, None)
        self._idle[name] = None
        if len(self._idle) > self._settings.sessions_max:
            oldest = next(iter(self._idle))
            del self._idle[oldest], self._sessions[oldest]

    def _publish(self, name: str, frame: LoggedFrame) -> None:
        session = self._sessions.get(name) or self._session(name)
        self._acts.append(Publish(name, session.log.append(frame), frame))

    def _tell(self, record: BotRecord) -> None:
        self._do(TellAll(record.status(self._now)))

    def _do(self, *acts: Act) -> None:
        self._acts.extend(acts)

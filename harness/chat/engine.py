"""Engine: the path of a message. One fact in, its acts out.

In    receive(fact, now): what happened, and when on a monotonic clock (seconds)
Out   acts, in the order in which they must be carried out
Rule  nothing here reads a clock, sleeps, logs or awaits; every queue is bounded; every permit is settled
Why   the same code runs behind port 8000 and in a simulation of thousands of messages a second

    UserSaid   refused at the door (breaker open, queue full, too long), or saved, accepted, and asked of the bot
    BotSaid    published to the session, token by token; saved at intervals
    BotEnded   saved, published, the permit settled: the breaker learns
    BotGone    and whatever else happens to bots, and timers: caretaker.py
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Final

from harness.chat.caretaker import Caretaker
from harness.chat.census import census
from harness.chat.desk import DROPPED, Desk, crowded, unavailable
from harness.chat.gauges import READ, Numbers
from harness.chat.roster import BotRecord, Turn, dependency
from harness.core.events import (
    Accepted,
    Act,
    Begin,
    BotEnded,
    BotFailed,
    BotSaid,
    BotStatus,
    ClientAcked,
    ClientJoined,
    ClientLeft,
    Delta,
    Fact,
    Failed,
    Recalled,
    Record,
    Refused,
    Rejected,
    Reply,
    SaveFailed,
    SaveMessage,
    ServiceMode,
    UserCancelled,
    UserSaid,
    Welcome,
)
from harness.core.failures import standard
from harness.core.moments import spread
from harness.core.settings import Settings
from harness.services.circuit_breaker import Outcome, State
from harness.services.health_score import Score
from harness.services.recovery import Policy, Recovery, RecoveryConfig
from harness.services.wait_queue import Priority, Queued, Refusal

QUESTION: Final = ".q"
"""A message's id is its turn's id with this behind it, so that each can be told from the other."""
OWN_CODES: Final = frozenset(
    {"done", "cancelled", "circuit-open", "busy", "no-bot", "not-saved", "bot-gone", "bot-silent", "bot-garbled"}
    | {"reply-too-late", "reply-too-long", "reply-too-slow"}
)
"""What only the service itself says of a turn."""
NOBODY: Final = 0
"""The connection of a message whose sender is not there (connections count from 1)."""
_PROBING_RETRY_S: Final = 0.5
"""What to tell clients that are refused because a probe is under way: nobody knows, soon."""


class Engine:
    """Everything that the chat service decides. ``epoch`` is different at every start: it makes ids unique."""

    def __init__(self, settings: Settings, *, epoch: str, seed: int = 0, recovery: Recovery | None = None) -> None:
        """Start with no bots and no sessions; waits that are spread by chance are thrown from ``seed``.

        ``recovery`` decides about turns that fail; who gives one shares its figures with other things that fail.
        """
        self._settings = settings
        dice = random.Random(seed)
        recovery = recovery or Recovery(recovery_of(settings), standard(), dice=dice)
        self._desk = Desk(settings, epoch=epoch, rng=dice, recovery=recovery)
        self._rules: dict[type[Fact], Callable[[Any], None]] = {
            UserSaid: self._user_said,
            Recalled: self._recalled,
            UserCancelled: self._user_cancelled,
            BotSaid: self._bot_said,
            BotEnded: self._bot_ended,
            BotFailed: self._bot_failed,
            ClientAcked: self._client_acked,
            ClientJoined: self._client_joined,
            ClientLeft: self._client_left,
            SaveFailed: self._save_failed,
            **Caretaker(self._desk).rules,
        }

    def receive(self, fact: Fact, now: float) -> list[Act]:
        """Decide what follows from a fact; ``now`` never goes back."""
        desk = self._desk
        desk.acts, desk.now = [], now
        self._rules[type(fact)](fact)
        return desk.acts

    def statuses(self, now: float) -> list[BotStatus]:
        """Give the newest state of every bot."""
        return [record.status(now) for record in self._desk.bots.values()]

    def mode(self, now: float) -> ServiceMode:
        """Give how the whole is, as clients see it."""
        return self._desk.steward.mode(now)

    def capacity(self, now: float) -> dict[str, object]:
        """Give the document of ``GET /api/capacity``: the limits of the whole, and each bot's."""
        desk = self._desk
        desk.steward.look(now, desk.bots.values())
        bots = {record.bot: record.load(now) for record in desk.bots.values()}
        return {**desk.steward.capacity.report(now).as_json(now), "bots": bots}

    @property
    def score(self) -> Score | None:
        """The newest health score; None before the first tick."""
        return self._desk.steward.score

    def enabled(self, feature: str) -> bool:
        """Whether a feature of the service is on."""
        return self._desk.steward.enabled(feature)

    @property
    def recovery(self) -> Recovery:
        """What decides about failures, with its figures."""
        return self._desk.recovery

    def gauge(self, name: str, now: float) -> Numbers:
        """Give the numbers of one gauge of chat/gauges.py."""
        return READ[name](self._desk, now)

    def census(self, now: float) -> dict[str, int]:
        """Count what comes and goes."""
        return census(self._desk, now)

    # --- Users --------------------------------------------------------------------------------------------------------
    def _user_said(self, fact: UserSaid) -> None:
        desk = self._desk
        session = desk.session(fact.session)
        live = session.turns.get(fact.cid)
        if live is not None or fact.known is not None:
            name = live.turn if live is not None else (fact.known or "").removesuffix(QUESTION)
            text = live.text if live is not None else fact.text
            desk.do(Reply(fact.conn, Accepted(fact.cid, name + QUESTION, name, text)))
            return
        record = desk.bots.get(fact.bot)
        if record is not None:
            desk.cool(record)
        instance = None if record is None or record.queue else record.freest()
        refusal = self._door(fact, record, waits=instance is None)
        if refusal is not None:
            desk.do(Reply(fact.conn, refusal), Record(Refused(fact.bot, fact.cid, refusal.code)))
            return
        assert record is not None
        name = desk.new_turn()
        mid = name + QUESTION
        within = desk.now + self._settings.answer_within_s
        turn = Turn(name, fact.cid, fact.session, fact.bot, fact.text, fact.conn, desk.now, within)
        queued: Queued | Refusal | None
        if instance is not None:  # There is nothing to wait for, however slow the bot has been lately.
            queued = record.queue.pass_by(desk.now, size=len(fact.text))
        else:
            queued = record.queue.offer(turn, desk.now, size=len(fact.text), deadline=within)
        if isinstance(queued, Refusal):
            busy = Rejected(fact.cid, "busy", crowded(record, queued), _rounded(queued.retry_after_s))
            desk.do(Reply(fact.conn, busy), Record(Refused(fact.bot, fact.cid, busy.code)))
            return
        session.turns[fact.cid] = turn
        turn.call = desk.recovery.begin(dependency(fact.bot), desk.now, deadline=within, keyed=True)
        desk.wake(fact.session)
        desk.do(SaveMessage(mid, fact.session, "user", fact.cid, fact.text, "accepted"))
        desk.publish(fact.session, Accepted(fact.cid, mid, name, fact.text))
        if instance is not None:
            desk.ask(record, instance, turn)
            return
        desk.dispatch(record)
        desk.sweep_at(within)

    def _door(self, fact: UserSaid, record: BotRecord | None, *, waits: bool) -> Rejected | None:
        """Refuse what cannot be taken; the sender keeps the text. ``waits``: the bot has no place for it yet."""
        desk, limit = self._desk, self._settings.text_chars_max
        if not fact.text.strip():
            return Rejected(fact.cid, "empty", "the message is empty: write something")
        if len(fact.text) > limit:
            said = f"the message has {len(fact.text):,} characters, the limit is {limit:,}: send it in parts"
            return Rejected(fact.cid, "too-long", said)
        if record is None:
            return Rejected(fact.cid, "no-bot", f"there is no bot {fact.bot!r} any more: launch it again")
        if not desk.steward.enabled("messages"):
            return desk.steward.closed(fact.cid, desk.now)
        wait_s = desk.pace.take(desk.now, fact.session)
        if wait_s > 0:
            wait_s = spread(wait_s, desk.rng)
            said = f"you are sending faster than {self._settings.session_rate_per_s:g} messages a second: slow down"
            return Rejected(fact.cid, "rate-limited", said, _rounded(wait_s))
        refusal = record.breaker.peek(desk.now)
        if refusal is not None and not refusal.probing:
            wait_s = refusal.retry_after_s
            return Rejected(fact.cid, "circuit-open", unavailable(record, wait_s), round(wait_s, 3))
        if record.breaker.state is State.HALF_OPEN and (refusal is not None or record.queue):
            said = f"Bot Unavailable (recovering): another message is testing {fact.bot} right now; try again"
            return Rejected(fact.cid, "circuit-open", said, _PROBING_RETRY_S)
        # Last of all: what was refused for another reason must not use up what the others may take.
        return desk.over_capacity(fact, waits=waits)

    def _recalled(self, fact: Recalled) -> None:
        """Let a message wait again that was accepted before a restart; without its bot it ends with a clear error."""
        desk = self._desk
        since = desk.now - fact.waited_s
        within = since + self._settings.answer_within_s
        turn = Turn(fact.turn, fact.cid, fact.session, fact.bot, fact.text, NOBODY, since, within)
        desk.session(fact.session).turns[fact.cid] = turn
        desk.wake(fact.session)
        record = desk.bots.get(fact.bot)
        if record is None:
            desk.forget(turn)
            desk.fail(turn, "no-bot", f"there is no bot {fact.bot!r} any more: launch it again")
            return
        record.queue.restore(turn, desk.now, size=len(fact.text), priority=Priority.SYSTEM, deadline=within)
        turn.call = desk.recovery.begin(dependency(fact.bot), desk.now, deadline=within, keyed=True)
        desk.sweep_at(within)
        desk.dispatch(record)

    def _user_cancelled(self, fact: UserCancelled) -> None:
        for turn in self._desk.session(fact.session).turns.values():
            if turn.turn == fact.turn:
                self._desk.close(turn, "cancelled", Outcome.CANCELLED)
                return

    # --- Clients ------------------------------------------------------------------------------------------------------
    def _client_joined(self, fact: ClientJoined) -> None:
        desk = self._desk
        session = desk.session(fact.session)
        session.clients.add(fact.conn)
        desk.wake(fact.session)
        missed = session.log.since(fact.last_seq) if fact.epoch == session.epoch else None
        desk.do(
            Welcome(
                conn=fact.conn,
                session=fact.session,
                epoch=session.epoch,
                head_seq=session.log.head,
                recovered=missed is not None,
                replay=missed or (),
                partials={turn.turn: turn.reply for turn in session.turns.values() if turn.first_s is not None},
            )
        )

    def _client_left(self, fact: ClientLeft) -> None:
        session = self._desk.sessions.get(fact.session)
        if session is not None:
            session.clients.discard(fact.conn)
            self._desk.rest(fact.session, session)

    def _client_acked(self, fact: ClientAcked) -> None:
        session = self._desk.sessions.get(fact.session)
        if session is not None:
            session.log.trim(fact.seq)

    # --- Replies ------------------------------------------------------------------------------------------------------
    def _bot_said(self, fact: BotSaid) -> None:
        turn = self._working(fact.bot, fact.turn)
        if turn is None or not fact.text:
            return  # Cancelled, timed out, or from before a restart: nobody waits for it.
        desk, settings, text = self._desk, self._settings, fact.text
        now, at = desk.now, turn.chars
        chars = at + len(text)
        if chars > settings.reply_chars_max:
            said = f"{turn.bot} said more than {settings.reply_chars_max:,} characters and was stopped"
            desk.call_off(turn)
            desk.close(turn, "reply-too-long", Outcome.FAILURE, message=said)
            return
        if turn.first_s is None:
            turn.first_s, turn.signal_s = now - turn.since, now - turn.asked
            turn.begin_by = math.inf
            turn.checkpoint = now + settings.checkpoint_s
            desk.publish(turn.session, Begin(turn.turn, turn.cid, turn.bot))
        turn.pieces.append(text)
        turn.chars = chars
        turn.deadline = now + settings.reply_silence_max_s
        assert turn.permit is not None
        desk.bots[turn.bot].breaker.renew(turn.permit, now)
        if now >= turn.checkpoint and desk.steward.enabled("checkpoints"):
            turn.checkpoint = now + settings.checkpoint_s
            turn.pieces = [turn.reply]
            desk.save_reply(turn, "streaming")
        desk.publish(turn.session, Delta(turn.turn, at, text))

    def _bot_ended(self, fact: BotEnded) -> None:
        turn = self._working(fact.bot, fact.turn)
        if turn is not None:
            self._desk.instances[fact.bot].deaths = 0
            self._desk.close(turn, "done", Outcome.SUCCESS)

    def _bot_failed(self, fact: BotFailed) -> None:
        turn = self._working(fact.bot, fact.turn)
        if turn is not None:
            # A bot may say anything, but not in the name of the service.
            code = "bot-failed" if fact.code in OWN_CODES else fact.code
            call = Outcome.THROTTLED if code in DROPPED else Outcome.FAILURE
            self._desk.close(turn, code, call, message=f"{turn.bot}: {fact.message}")

    def _working(self, instance: str, turn: str) -> Turn | None:
        found = self._desk.instances.get(instance)
        return None if found is None else found.in_flight.get(turn)

    def _save_failed(self, fact: SaveFailed) -> None:
        desk = self._desk
        session = desk.session(fact.session)
        name = fact.turn.removesuffix(QUESTION)
        turn = session.turns.get(fact.cid)
        record = None if turn is None else desk.bots[turn.bot]
        if turn is not None and record is not None:
            desk.forget(turn)
            desk.given_up(turn, "not-saved")
            if turn.permit is not None:
                desk.call_off(turn)
                desk.moved(record, record.breaker.settle(turn.permit, desk.now, Outcome.CANCELLED), "")
        said = f"the reply could not be saved ({fact.why}): your message is kept, send it again later"
        if fact.turn.endswith(QUESTION):
            said = f"the message could not be saved ({fact.why}): nothing of it was kept, send it again later"
            session.log.blank(name)
        if turn is not None and fact.turn.endswith(QUESTION):
            desk.do(Reply(turn.conn, Rejected(fact.cid, "not-saved", said)))
        else:
            desk.publish(fact.session, Failed(name, fact.cid, "not-saved", said))
        desk.rest(fact.session, session)  # It may have come into memory for this alone.
        if record is not None:
            desk.dispatch(record)


def recovery_of(settings: Settings) -> RecoveryConfig:
    """Give what the chat's settings say about trying again."""
    return RecoveryConfig(policy=Policy(attempts_max=settings.attempts_max))


def _rounded(wait_s: float | None) -> float | None:
    """Give seconds as clients read them."""
    return None if wait_s is None else round(wait_s, 3)

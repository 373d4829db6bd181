"""Service: the pump. Facts go into the engine, its acts are carried out, and what must be kept is kept first.

In    handle(fact), from sockets, bots, timers and the HTTP interface, all on one event loop
Out   acts carried out in exactly the order in which the engine gave them
Rule  an act that follows a save waits until that save is on disk; while nothing waits, acts are carried out at once
Why   "accepted" must mean saved, also when the power fails in the next millisecond

Bots that are wanted or not are kept by whoever asked (http.py), before the engine hears of it: one path, in order. The
engine's ForgetBot is done already; written once more, and later, it would take away a bot that came back meanwhile.

    handle --> engine --> batch of acts --+-- nothing to save, nothing waiting --> carried out now
                                          +-- else --> queue --> one commit for all that wait --> carried out in order

A batch that cannot be saved loses what concerns its unsaved messages; everything else in it (timers, restarts,
transitions) still happens, and the engine is told with SaveFailed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from harness.adapters.breaker_log import BreakerLog
from harness.adapters.journal import Book
from harness.adapters.retry import make_recovery
from harness.adapters.sqlite import Row, Store
from harness.chat.engine import QUESTION, Engine
from harness.chat.gauges import Numbers
from harness.chat.steward import CARE, CARE_EVERY_S
from harness.core.events import (
    Act,
    Admitted,
    BotStatus,
    BreakerMoved,
    CancelTurn,
    Delta,
    Fact,
    ForgetBot,
    Publish,
    Record,
    Reply,
    SaveFailed,
    SaveMessage,
    ServiceFact,
    ServiceMode,
    StartBot,
    StopBot,
    TellAll,
    ToBot,
    TurnSettled,
    WakeAt,
    Welcome,
    Woke,
)
from harness.core.settings import Settings
from harness.core.wire import Ask, Cancel
from harness.errors import StoreError
from harness.server import readings
from harness.server.bots import Bots
from harness.server.hub import Hub
from harness.server.recent import recent
from harness.services.health_score import Score
from harness.services.metrics import Metrics
from harness.services.recovery import Recovery

SOURCE: Final = "service"
TRUST_S: Final = 5.0
"""A store that refused something is not trusted again before this long."""
CROWDED: Final = 2_000
"""Batches waiting for the store at which nobody is listened to any more until half of them are through."""


@dataclass(slots=True)
class _Batch:
    """The acts of one fact, and whether what they save is on disk."""

    acts: Sequence[Act]
    at: float
    rows: list[Row] = field(default_factory=list)
    saved: bool = False
    why: str = ""


class Service:
    """The chat service behind port 8000, without its sockets' and processes' own machinery."""

    def __init__(
        self,
        *,
        settings: Settings,
        epoch: str,
        store: Store,
        breaker_log: BreakerLog,
        journal: Book | None,
        recovery: Recovery | None = None,
    ) -> None:
        """Start with no bots; ``connect`` must be called before the first fact."""
        self.settings, self.store = settings, store
        self.recovery = recovery or make_recovery()
        """What is tried again, where and how often that helps: one for everything in this process."""
        self.epoch = epoch
        self.hub = Hub()
        self.metrics = Metrics()
        self.not_saved = 0
        self._refused_at = -TRUST_S
        self.saved_at = monotonic()
        """When the store last kept something."""
        self.store_problem = ""
        self.loop_lag_s = 0.0
        self._engine = Engine(settings, epoch=epoch, seed=secrets.randbits(63), recovery=self.recovery)
        self._bots: Bots | None = None
        self._breaker_log, self._journal = breaker_log, journal
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Batch] = deque()
        self._unsaved: list[_Batch] = []
        self._committing: list[_Batch] = []
        self._void: set[str] = set()
        """Turns whose message was refused by the store; batches that were decided before may still ask for them."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False
        self._unwritten = False
        self._rules: dict[type[Act], Callable[[Any, float], None]] = {
            Publish: self._publish,
            Record: self._record,
            ToBot: self._to_bot,
            SaveMessage: self._kept,
            ForgetBot: self._forgotten,
            Reply: self._reply,
            WakeAt: self._wake_at,
            CancelTurn: self._cancel_turn,
            TellAll: self._tell_all,
            Welcome: self._welcome,
            StartBot: self._start_bot,
            StopBot: self._stop_bot,
        }
        readings.watch(self)

    def connect(self, bots: Bots) -> None:
        """Know the processes; they in turn hand their facts to ``handle``."""
        self._bots = bots

    def note(self, fact: ServiceFact) -> None:
        """Write down a fact that did not come from the engine."""
        self._record(Record(fact), monotonic())

    # --- The pump -----------------------------------------------------------------------------------------------------
    def handle(self, fact: Fact) -> None:
        """Let the engine decide, and carry out what it says."""
        if self._closed:
            return
        now = monotonic()
        acts = self._engine.receive(fact, now)
        rows: list[Row] = [act for act in acts if isinstance(act, SaveMessage)]
        if not rows and not self._queue:
            self._carry_out(acts, now)
            return
        batch = _Batch(acts, now, rows, saved=not rows)
        self._queue.append(batch)
        self._empty.clear()
        if rows:
            self._unsaved.append(batch)
            self._commit()
        if len(self._queue) >= CROWDED and self._room.is_set():
            self._room.clear()
            self._running.pause(paused=True)

    async def room(self) -> None:
        """Wait until the service is not crowded."""
        await self._room.wait()

    async def save(self, *rows: Row) -> None:
        """Keep rows that no fact asked for; StoreError if that cannot be."""
        done: asyncio.Future[StoreError | None] = self._loop.create_future()

        def settle(problem: StoreError | None) -> None:
            if not done.cancelled():
                done.set_result(problem)

        def tell(problems: list[StoreError | None]) -> None:
            self._loop.call_soon_threadsafe(settle, problems[0])

        self.store.save([rows], tell)
        problem = await done
        self._judge_store(problem)
        if problem is not None:
            raise problem

    def statuses(self) -> list[BotStatus]:
        """Give the newest state of every bot."""
        return self._engine.statuses(monotonic())

    def mode(self) -> ServiceMode:
        """Give how the whole is, as clients see it."""
        return self._engine.mode(monotonic())

    def capacity(self) -> dict[str, object]:
        """Give the document of ``GET /api/capacity``."""
        return self._engine.capacity(monotonic())

    def score(self) -> Score | None:
        """Give the newest health score; None before the first tick."""
        return self._engine.score

    def enabled(self, feature: str) -> bool:
        """Whether a feature of the service is on."""
        return self._engine.enabled(feature)

    def bot_pids(self) -> list[int]:
        """Give the process ids of all bots that run."""
        return self._running.pids()

    def bot_busy(self, bot: str) -> bool:
        """Whether a process of this name is there, be it the last moments of one that was removed."""
        return self._running.busy(bot)

    @property
    def waiting(self) -> int:
        """Batches of acts that wait for the store."""
        return len(self._queue)

    def gauge(self, name: str) -> Numbers:
        """Give the numbers of one gauge of the engine's."""
        return self._engine.gauge(name, monotonic())

    def census(self) -> dict[str, int]:
        """Count what comes and goes."""
        return {
            **self._engine.census(monotonic()),
            "batches_waiting": len(self._queue),
            "timers": len(self._timers),
            "sockets": len(self.hub.connections),
            "frames_waiting": sum(connection.waiting for connection in self.hub.connections.values()),
            "bot_processes": self._running.processes(),
        }

    async def close(self, *, drain_max_s: float = 5.0) -> None:
        """Finish the commits, then hear nothing more. What still streams stays "streaming": the next start ends it."""
        try:
            async with asyncio.timeout(drain_max_s):
                await self._empty.wait()
        except TimeoutError:
            _complain(f"{len(self._queue)} batches were not saved in {drain_max_s:g} s")
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    @property
    def _running(self) -> Bots:
        assert self._bots is not None
        return self._bots

    # --- Commits ------------------------------------------------------------------------------------------------------
    def _commit(self) -> None:
        """Hand everything that waits to the writer at once, unless it is at work already."""
        if self._committing or not self._unsaved:
            return
        self._committing, self._unsaved = self._unsaved, []
        self.store.save([batch.rows for batch in self._committing], self._saved_elsewhere)

    def _saved_elsewhere(self, problems: list[StoreError | None]) -> None:
        self._loop.call_soon_threadsafe(self._saved, problems)

    def _saved(self, problems: list[StoreError | None]) -> None:
        batches, self._committing = self._committing, []
        for batch, problem in zip(batches, problems, strict=True):
            batch.saved, batch.why = True, str(problem or "")
        self._judge_store(next(filter(None, problems), None))
        self._commit()  # The writer starts on the next group while this one is carried out.
        self._release()

    def _release(self) -> None:
        queue = self._queue
        while queue and queue[0].saved:
            batch = queue.popleft()
            if batch.why:
                self._carry_out_unsaved(batch)
            else:
                self._carry_out(batch.acts, batch.at)
        if not self._room.is_set() and len(queue) < CROWDED // 2:
            self._room.set()
            self._running.pause(paused=False)
        if not queue:
            self._void.clear()
            self._empty.set()

    def _judge_store(self, problem: StoreError | None) -> None:
        if problem is not None:
            if not self.store_problem:
                _complain(f"nothing can be saved: {problem}; make room or make it writable")
            self.not_saved += 1
            self._refused_at = monotonic()
        else:
            self.saved_at = monotonic()
            # Something small may still find room where a message did not.
            if self.saved_at - self._refused_at < TRUST_S:
                return
        self.store_problem = str(problem or "")

    def _carry_out(self, acts: Sequence[Act], at: float) -> None:
        rules = self._rules
        for act in acts:
            rules[type(act)](act, at)

    def _carry_out_unsaved(self, batch: _Batch) -> None:
        """Carry out what does not depend on the rows that were refused, then tell the engine which these were."""
        refused = [row for row in batch.rows if isinstance(row, SaveMessage)]
        turns = {row.mid.removesuffix(QUESTION) for row in refused}
        for act in batch.acts:
            turn = _turn_of(act)
            if turn is None or turn not in turns:
                self._carry_out((act,), batch.at)
            elif isinstance(act, Publish):
                # Its number is spent: an empty piece takes its place, or clients would look for what they missed.
                self.hub.publish(act.session, act.seq, Delta(turn, 0, ""))
        self._void.update(row.mid.removesuffix(QUESTION) for row in refused if row.mid.endswith(QUESTION))
        for row in refused:
            self.handle(SaveFailed(row.session, row.cid, row.mid, batch.why))

    # --- Acts ---------------------------------------------------------------------------------------------------------
    def _kept(self, act: SaveMessage, at: float) -> None:
        """Nothing is left to do: it is on disk, or it is not and SaveFailed follows."""

    def _forgotten(self, act: ForgetBot, at: float) -> None:
        """Nothing is left to do: who said that the bot is unwanted has seen to it."""

    def _publish(self, act: Publish, at: float) -> None:
        del at
        self.hub.publish(act.session, act.seq, act.frame)

    def _reply(self, act: Reply, at: float) -> None:
        del at
        self.hub.reply(act.conn, act.frame)

    def _tell_all(self, act: TellAll, at: float) -> None:
        del at
        status = act.status
        if isinstance(status, BotStatus) and status.state == "stopped":
            self.metrics.forget(status.bot)
        self.hub.tell_all(status)

    def _to_bot(self, act: ToBot, at: float) -> None:
        del at
        if act.turn not in self._void:
            self._running.say(act.bot, Ask(act.turn, act.session, act.text))

    def _cancel_turn(self, act: CancelTurn, at: float) -> None:
        del at
        self._running.say(act.bot, Cancel(act.turn))

    def _start_bot(self, act: StartBot, at: float) -> None:
        del at
        self._running.start(act)

    def _stop_bot(self, act: StopBot, at: float) -> None:
        del at
        self._running.stop(act.bot)

    def _record(self, act: Record, at: float) -> None:
        fact = act.fact
        self.metrics.record(fact)
        problem: OSError | None = None
        try:
            if self._journal is not None:
                self._journal.write(at, SOURCE, fact)
        except OSError as error:
            problem = error
        try:
            if isinstance(fact, BreakerMoved):
                self._breaker_log.write(at, fact)
        except OSError as error:  # One that cannot be written must not cost the other.
            problem = error
        if problem is not None and not self._unwritten:
            _complain(f"facts cannot be written down ({problem}); the first one: {fact}")
        self._unwritten = problem is not None

    def _wake_at(self, act: WakeAt, at: float) -> None:
        del at
        self._ring_at(act.key, act.at)

    def _ring_at(self, key: str, at: float) -> None:
        earlier = self._timers.pop(key, None)
        if earlier is not None:
            earlier.cancel()
        # uvloop's own clock is a number of milliseconds, taken once a round: only differences of ours go in.
        self._timers[key] = self._loop.call_later(max(0.0, at - monotonic()), self._ring, key, at)

    def _ring(self, key: str, at: float) -> None:
        if monotonic() < at:
            self._ring_at(key, at)  # Rounded down to a millisecond: the engine would find it too early.
            return
        del self._timers[key]
        if key == CARE:
            # There is a next tick whatever becomes of this one; the engine's own wish for it takes its place.
            self._ring_at(CARE, monotonic() + CARE_EVERY_S)
        self.handle(Woke(key))

    def _welcome(self, act: Welcome, at: float) -> None:
        del at
        connection = self.hub.connections.get(act.conn)
        if connection is None or connection.session != act.session:
            return  # Gone, or gone on to another session, while this waited for the store.
        try:
            messages, more = (None, False) if act.recovered else recent(self.store, act)
        except StoreError as error:
            connection.close(1011, f"the store cannot be read: {error}"[:120])
            return
        connection.welcome(
            session=act.session,
            epoch=act.epoch,
            head_seq=act.head_seq,
            recovered=act.recovered,
            messages=messages,
            more=more,
            settings=self.settings,
            statuses=self.statuses(),
            mode=self.mode(),
        )
        self.hub.listen(connection, act.session)
        connection.replay(act.replay)


def _complain(words: str) -> None:
    """Tell the operator; where the disk is full, that may be impossible too."""
    with contextlib.suppress(OSError):
        print(f"chat: {words}", file=sys.stderr, flush=True)


def _turn_of(act: Act) -> str | None:
    """Give the turn that an act is about, if it is about one."""
    match act:
        case SaveMessage():
            return act.mid.removesuffix(QUESTION)
        case Publish():
            return act.frame.turn
        case ToBot():
            return act.turn
        case Record(fact=(Admitted() | TurnSettled()) as fact):
            return fact.turn
        case _:
            return None

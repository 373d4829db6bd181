"""The whole engine, in any order of facts: several bots and processes, retries, a store that stalls and refuses.

Around the engine stands a shell like the real one: what follows a save waits for it, timers ring, processes are born
late, ignore what they are told, speak of turns that nobody waits for any more, and die.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.chat.engine import QUESTION, Engine
from harness.chat.roster import BotRecord, Turn, dependency
from harness.core.events import (
    Accepted,
    Act,
    Admitted,
    Began,
    BotEnded,
    BotFailed,
    BotGarbled,
    BotGone,
    BotReady,
    BotSaid,
    BotStarted,
    BotUnwanted,
    BotWanted,
    BreakerForced,
    ClientJoined,
    ClientLeft,
    Delta,
    End,
    Fact,
    Failed,
    Felt,
    LimitOrdered,
    ModeOrdered,
    Publish,
    Recalled,
    Record,
    Rejected,
    Reply,
    SaveFailed,
    SaveMessage,
    StartBot,
    StopBot,
    ToBot,
    TurnSettled,
    UserCancelled,
    UserSaid,
    WakeAt,
    Woke,
)
from harness.core.settings import Settings
from harness.services.circuit_breaker import State

BOTS = ("a", "b")
FORCED = ("forced-open", "disabled", "metrics-only", "closed")
SESSIONS = ("s", "t", "u")
SETTINGS = Settings(
    breaker_failures_max=3,
    breaker_cooldown_s=6.0,
    breaker_calls_min=6,
    breaker_slow_s=4.0,
    reply_silence_max_s=5.0,
    reply_max_s=20.0,
    answer_within_s=12.0,
    turns_max=2,
    turns_min=1,
    queue_max=4,
    queue_chars_max=60,
    waiting_max=6,
    tasks_per_s_max=8,
    bots_max=5,
    session_rate_per_s=4.0,
    session_burst=8,
    text_chars_max=20,
    reply_chars_max=60,
    sessions_max=1,
    log_frames_max=50,
    checkpoint_s=1.0,
    bot_start_max_s=4.0,
    bot_restart_min_s=0.5,
    bot_restart_max_s=3.0,
    attempts_max=3,
    instances_max=3,
    scale_down_window_s=3.0,
)
LONG_S = 60.0
"""Longer than any turn may take."""


@dataclass(slots=True)
class Process:
    """A bot's process: ``asks`` are the turns that it was asked, as often as it was, and how far each answer is."""

    ready: bool = False
    stopping: bool = False
    asks: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """Acts that wait for the store."""

    acts: list[Act]
    refused: bool = False
    saved: bool = False


class Shell:
    """What carries the engine's acts out, in memory: a pump, timers, processes."""

    def __init__(self) -> None:
        self.engine = Engine(SETTINGS, epoch="e", seed=5)
        self.now = 100.0
        self.timers: dict[str, float] = {}
        self.queue: deque[Batch] = deque()
        self.stalled = self.refusing = False
        self.processes: dict[str, Process] = {}
        self.unborn: Counter[str] = Counter()
        self.void: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.saved: dict[str, SaveMessage] = {}
        self.since: dict[str, float] = {}
        self.recalled: set[str] = set()
        self.rejected: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.settled: Counter[str] = Counter()
        self.heard: dict[str, str] = {}
        self.conns: dict[str, int] = {}
        self.cids = 0

    # --- The pump -----------------------------------------------------------------------------------------------------
    def do(self, fact: Fact) -> None:
        acts = self.engine.receive(fact, self.now)
        for act in acts:
            self._decided(act)
        rows = [act for act in acts if isinstance(act, SaveMessage)]
        if not rows and not self.queue:
            self._carry_out(acts)
            return
        refused = bool(rows) and self.refusing
        self.queue.append(Batch(acts, refused, saved=not rows or not self.stalled))
        self.release()

    def release(self) -> None:
        while self.queue and self.queue[0].saved:
            batch = self.queue.popleft()
            if not batch.refused:
                self._carry_out(batch.acts)
                continue
            rows = [act for act in batch.acts if isinstance(act, SaveMessage)]
            turns = {row.mid.removesuffix(QUESTION) for row in rows}
            self._carry_out([act for act in batch.acts if _turn_of(act) not in turns])
            self.void.update(row.mid.removesuffix(QUESTION) for row in rows if row.mid.endswith(QUESTION))
            for row in rows:
                self.do(SaveFailed(row.session, row.cid, row.mid, "disk full"))

    def go_on(self) -> None:
        self.stalled = False
        for batch in self.queue:
            batch.saved = True
        self.release()

    def _decided(self, act: Act) -> None:
        """What the engine has said, whether or not it is carried out yet."""
        match act:
            case Publish(frame=Accepted(turn=turn)):
                self.since[turn] = self.now
            case Publish(frame=End(turn=turn, chars=chars)):
                self.ended[turn] += 1
                assert chars == len(self.heard.get(turn, ""))
            case Publish(frame=Failed(turn=turn, code=code)):
                # Of a turn that has ended already one can still hear that its end could not be saved.
                if code != "not-saved" or not self.ended[turn]:
                    self.ended[turn] += 1
            case Publish(frame=Delta(turn, at, text)):
                assert at == len(self.heard.get(turn, ""))
                self.heard[turn] = self.heard.get(turn, "") + text
            case Reply(frame=Rejected(cid=cid, code="not-saved")):
                self.rejected.add(cid)
            case Record(fact=TurnSettled(turn=turn)):
                self.settled[turn] += 1
            case _:
                pass

    def _carry_out(self, acts: list[Act]) -> None:
        for act in acts:
            match act:
                case WakeAt(at, key):
                    self.timers[key] = at
                case SaveMessage(mid=mid):
                    self.saved[mid] = act
                case StartBot(bot=name):
                    assert name not in self.processes or self.processes[name].stopping, "two processes of one name"
                    self.unborn[name] += 1
                    assert self.unborn[name] == 1, "started twice"
                case StopBot(bot=name):
                    if name in self.processes:
                        self.processes[name].stopping = True
                case ToBot(bot=name, turn=turn):
                    if turn in self.void:
                        continue
                    assert turn + QUESTION in self.saved or turn in self.recalled, "asked before it was saved"
                    self.asked[turn] += 1
                    process = self.processes.get(name)
                    if process is not None and not process.stopping:
                        process.asks.append((turn, self.asked[turn], 0))
                case _:
                    pass

    # --- Time ---------------------------------------------------------------------------------------------------------
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and min(self.timers.values()) <= end:
            key = min(self.timers, key=lambda name: self.timers[name])
            self.now = max(self.now, self.timers.pop(key))
            self.do(Woke(key))
        self.now = end

    # --- Processes ----------------------------------------------------------------------------------------------------
    def born(self, name: str, *, alive: bool = True) -> None:
        del self.unborn[name]
        if alive:
            self.processes[name] = Process()
            self.do(BotStarted(name, 7))
        else:
            self.do(BotGone(name, "cannot start"))

    def ready(self, name: str) -> None:
        self.processes[name].ready = True
        self.do(BotReady(name))

    def die(self, name: str) -> None:
        del self.processes[name]
        self.do(BotGone(name, "signal 9"))

    def answer(self, name: str, place: int, how: str) -> None:
        """Let a process go on with one of the turns that it was asked, whether or not somebody waits for it."""
        process = self.processes[name]
        turn, attempt, piece = process.asks[place % len(process.asks)]
        process.asks.remove((turn, attempt, piece))
        match how:
            case "say":
                process.asks.append((turn, attempt, piece + 1))
                self.do(BotSaid(name, turn, f"{attempt}.{piece};"))
            case "end":
                self.do(BotEnded(name, turn))
            case _:
                self.do(BotFailed(name, turn, how, "no"))

    def settle_down(self) -> None:
        """Let everything that is under way come to its end: the store saves, processes come up, end, and answer."""
        self.refusing = False
        self.go_on()
        for _ in range(40):
            for name in list(self.unborn):
                self.born(name)
            for name, process in list(self.processes.items()):
                if process.stopping:
                    self.die(name)
                elif not process.ready:
                    self.ready(name)
                while name in self.processes and self.processes[name].asks:
                    self.answer(name, 0, "end")
            self.wait(LONG_S / 20)


def _turn_of(act: Act) -> str | None:
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


class EngineWalk(RuleBasedStateMachine):
    """Nothing that was accepted is lost, doubled or left; whatever was taken is given back."""

    def __init__(self) -> None:
        super().__init__()
        self.shell = Shell()
        self.desk = self.shell.engine._desk

    @initialize()
    def begin(self) -> None:
        self.shell.do(Began())
        for bot in BOTS:
            self.shell.do(BotWanted(bot, "echo"))
            self.shell.born(bot)
            self.shell.ready(bot)

    # --- What happens -------------------------------------------------------------------------------------------------
    @rule(bot=st.sampled_from(BOTS), session=st.sampled_from(SESSIONS), count=st.integers(1, 4))
    def say(self, bot: str, session: str, count: int) -> None:
        self.join(session)
        for _ in range(count):
            self.shell.cids += 1
            self.shell.do(UserSaid(self.shell.conns[session], session, bot, f"c{self.shell.cids}", "hello there"))

    @rule(session=st.sampled_from(SESSIONS))
    def join(self, session: str) -> None:
        if session not in self.shell.conns:
            self.shell.conns[session] = len(self.shell.conns) + 1
            self.shell.do(ClientJoined(self.shell.conns[session], session))

    @rule(session=st.sampled_from(SESSIONS))
    def leave(self, session: str) -> None:
        conn = self.shell.conns.pop(session, None)
        if conn is not None:
            self.shell.do(ClientLeft(conn, session))

    @rule(place=st.integers(0, 30))
    def cancel(self, place: int) -> None:
        turns = list(self.turns())
        if turns:
            turn = turns[place % len(turns)]
            self.join(turn.session)
            self.shell.do(UserCancelled(turn.session, turn.turn))

    @rule(bot=st.sampled_from(BOTS), waited_s=st.floats(0.0, 11.0))
    def recall(self, bot: str, waited_s: float) -> None:
        shell = self.shell
        shell.cids += 1
        turn = f"tx-{shell.cids}"
        shell.since[turn] = shell.now - waited_s
        shell.recalled.add(turn)
        shell.do(Recalled("old", bot, f"c{shell.cids}", turn, "still there?", waited_s))

    @rule(place=st.integers(0, 30), alive=st.booleans())
    def born(self, place: int, alive: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        names = sorted(self.shell.unborn)
        if names:
            self.shell.born(names[place % len(names)], alive=alive)

    @rule(place=st.integers(0, 30))
    def ready(self, place: int) -> None:
        names = sorted(name for name, process in self.shell.processes.items() if not process.ready)
        if names:
            self.shell.ready(names[place % len(names)])

    @rule(place=st.integers(0, 30))
    def die(self, place: int) -> None:
        names = sorted(self.shell.processes)
        if names:
            self.shell.die(names[place % len(names)])

    @rule(
        process=st.integers(0, 30),
        ask=st.integers(0, 30),
        how=st.sampled_from(["say", "say", "say", "end", "end", "overloaded", "timeout", "odd", "bad-request"]),
    )
    def answer(self, process: int, ask: int, how: str) -> None:
        names = sorted(name for name, one in self.shell.processes.items() if one.asks)
        if names:
            self.shell.answer(names[process % len(names)], ask, how)

    @rule(place=st.integers(0, 30))
    def garble(self, place: int) -> None:
        names = sorted(self.shell.processes)
        if names:
            self.shell.do(BotGarbled(names[place % len(names)], "not JSON"))

    @rule(bot=st.sampled_from(BOTS))
    def remove(self, bot: str) -> None:
        self.shell.do(BotUnwanted(bot))

    @rule(bot=st.sampled_from(BOTS))
    def launch(self, bot: str) -> None:
        """As the HTTP interface does: not as long as a process of that name is still ending."""
        waiting = {act.bot for batch in self.shell.queue for act in batch.acts if isinstance(act, StartBot)}
        names = {*self.shell.processes, *self.shell.unborn, *waiting}
        if bot in self.desk.bots or not any(name == bot or name.startswith(f"{bot}~") for name in names):
            self.shell.do(BotWanted(bot, "echo"))

    @rule(stalled=st.booleans(), refusing=st.booleans())
    def store(self, stalled: bool, refusing: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        self.shell.refusing = refusing
        if stalled:
            self.shell.stalled = True
        else:
            self.shell.go_on()

    @rule(mode=st.sampled_from(["auto", "full", "degraded", "maintenance"]), ttl_s=st.floats(0.5, 5.0))
    def order(self, mode: str, ttl_s: float) -> None:
        self.shell.do(ModeOrdered(mode, "ada", "a walk", ttl_s))

    @rule(bot=st.sampled_from(BOTS), state=st.sampled_from(FORCED), ttl_s=st.floats(0.5, 5.0))
    def force(self, bot: str, state: str, ttl_s: float) -> None:
        if bot in self.desk.bots:
            self.shell.do(BreakerForced(bot, state, "ada", ttl_s))

    @rule(limit=st.sampled_from(["bots", "queue_count", "tasks_per_s"]), allowed=st.integers(1, 8))
    def limit(self, limit: str, allowed: int) -> None:
        self.shell.do(LimitOrdered(limit, allowed, "ada"))

    @rule(store_ok=st.booleans(), lag_s=st.floats(0.0, 2.0))
    def feel(self, store_ok: bool, lag_s: float) -> None:  # noqa: FBT001 - drawn by Hypothesis
        self.shell.do(Felt(store_ok, lag_s, 1_000_000, 0.3))

    @precondition(lambda self: not self.shell.stalled)
    @rule(seconds=st.floats(0.0, 4.0))
    def time_passes(self, seconds: float) -> None:
        self.shell.wait(seconds)

    # --- What always holds --------------------------------------------------------------------------------------------
    def turns(self) -> Iterator[Turn]:
        return (turn for session in self.desk.sessions.values() for turn in session.turns.values())

    def working(self, record: BotRecord) -> list[Turn]:
        return [turn for instance in record.instances.values() for turn in instance.in_flight.values()]

    @invariant()
    def every_accepted_turn_is_open_or_has_ended_once(self) -> None:
        shell = self.shell
        still = {turn.turn for turn in self.turns()}
        assert all(count == 1 for count in shell.ended.values()), shell.ended
        assert all(count == 1 for count in shell.settled.values()), shell.settled
        assert not still & set(shell.ended)

    @invariant()
    def every_open_turn_stands_in_one_place(self) -> None:
        for bot, record in self.desk.bots.items():
            mine = [turn for turn in self.turns() if turn.bot == bot]
            working = self.working(record)
            for turn in mine:
                places = (turn in record.queue) + (turn.turn in record.resting) + any(one is turn for one in working)
                assert places == 1, (turn, places)
            assert len(mine) == len(working) + len(record.queue) + len(record.resting)
        assert all(turn.bot in self.desk.bots for turn in self.turns())

    @invariant()
    def what_is_taken_is_counted_once(self) -> None:
        report = self.shell.engine.recovery.report(self.shell.now)
        calls = {each.name: each.calls_open for each in report.dependencies}
        for bot, record in self.desk.bots.items():
            working = self.working(record)
            assert record.queue.running == len(working) == record.in_flight
            for instance in record.instances.values():
                assert instance.limit.in_flight == len(instance.in_flight) <= SETTINGS.turns_max
                assert self.desk.instances[instance.name] is instance
            fresh = [turn for turn in working if turn.permit and turn.permit.generation == record.breaker.generation]
            assert record.breaker.in_flight == len(fresh)
            assert all(turn.permit is not None and turn.lease is not None for turn in working)
            assert calls.get(dependency(bot), 0) == len([turn for turn in self.turns() if turn.bot == bot])
            assert all(turn.call is not None and not turn.call.over for turn in self.turns())
        assert len(self.desk.instances) == sum(len(record.instances) for record in self.desk.bots.values())

    @invariant()
    def nothing_rests_without_a_timer(self) -> None:
        planned = {act.key for batch in self.shell.queue for act in batch.acts if isinstance(act, WakeAt)}
        for record in self.desk.bots.values():
            for name in record.resting:
                key = f"retry:{record.bot}:{name}"
                assert key in self.shell.timers or key in planned
        assert not self.shell.timers or {"care"} & {*self.shell.timers, *planned}

    @invariant()
    def every_turn_ends_in_its_time(self) -> None:
        if not self.shell.queue:
            longest_s = SETTINGS.answer_within_s + SETTINGS.reply_max_s
            assert all(self.shell.now - turn.since <= longest_s for turn in self.turns())

    @invariant()
    def a_reply_is_of_one_attempt_and_whole(self) -> None:
        for turn, text in self.shell.heard.items():
            attempts = {piece.split(".")[0] for piece in text.split(";")[:-1]}
            assert len(attempts) <= 1, (turn, text)
            pieces = [int(piece.split(".")[1]) for piece in text.split(";")[:-1]]
            assert pieces == list(range(len(pieces))), (turn, text)

    @invariant()
    def sessions_are_used_or_idle(self) -> None:
        count = self.shell.engine.census(self.shell.now)
        assert count["sessions_abandoned"] == 0
        assert count["turns_overdue"] == 0 or self.shell.queue
        assert self.desk.idle <= SETTINGS.sessions_max

    def teardown(self) -> None:
        """In the end everything has an outcome, every process is one that is wanted, and a bot that is well answers."""
        shell = self.shell
        shell.settle_down()
        assert not list(self.turns())
        for turn in shell.since:
            rejected = turn not in shell.ended and turn not in shell.recalled
            assert shell.ended[turn] == 1 or (rejected and shell.rejected), turn
        assert set(shell.processes) == set(self.desk.instances), (shell.processes, self.desk.instances)
        for name, record in self.desk.bots.items():
            for _ in range(3):
                shell.do(ModeOrdered("auto", "ada"))
                shell.do(LimitOrdered("queue_count", 6, "ada"))
                shell.do(LimitOrdered("tasks_per_s", 8, "ada"))
                shell.do(Felt(store_ok=True, loop_lag_s=0.0, memory_bytes=1_000))
                shell.do(UserSaid(99, "s", name, f"last {name} {_}", "hello"))
                shell.settle_down()
            assert record.breaker.state is State.CLOSED
            assert all(instance.state == "online" for instance in record.instances.values()), record
            assert record.in_flight == 0
        super().teardown()


TestEngineWalk = EngineWalk.TestCase
TestEngineWalk.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)

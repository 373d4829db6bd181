"""The path of a message, fact by fact: what the engine refuses, saves, publishes, asks and settles."""

from __future__ import annotations

from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.chat.engine import QUESTION, Engine
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
    Recalled,
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

A = TypeVar("A")
SETTINGS = Settings(
    breaker_failures_max=2,
    breaker_cooldown_s=10.0,
    reply_silence_max_s=5.0,
    reply_max_s=40.0,
    answer_within_s=30.0,
    turns_max=2,
    queue_max=2,
    text_chars_max=20,
    reply_chars_max=30,
    sessions_max=2,
    log_frames_max=50,
    checkpoint_s=1.0,
    bot_start_max_s=4.0,
    bot_restart_min_s=1.0,
    bot_restart_max_s=3.0,
    attempts_max=1,
)


class Chat:
    """An engine with a store, timers and a log of acts: what the shell would do, in memory."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.engine = Engine(settings, epoch="e")
        self.now = 100.0
        self.timers: dict[str, float] = {}
        self.store: dict[str, SaveMessage] = {}
        self.frames: list[tuple[int, LoggedFrame]] = []
        self.acts: list[Act] = []
        self.cids = 0

    def do(self, fact: Fact) -> list[Act]:
        acts = self.engine.receive(fact, self.now)
        self.acts.extend(acts)
        for act in acts:
            if isinstance(act, WakeAt):
                self.timers[act.key] = act.at
            elif isinstance(act, SaveMessage):
                self.store[act.mid] = act
            elif isinstance(act, Publish):
                self.frames.append((act.seq, act.frame))
        return acts

    def wait(self, seconds: float) -> None:
        """Let time pass and every timer ring at its moment."""
        end = self.now + seconds
        while self.timers and min(self.timers.values()) <= end:
            key = min(self.timers, key=lambda name: self.timers[name])
            self.now = max(self.now, self.timers.pop(key))
            self.do(Woke(key))
        self.now = end

    def launch(self, bot: str = "a") -> None:
        self.do(BotWanted(bot, "echo"))
        self.do(BotStarted(bot, 7))
        self.do(BotReady(bot))

    def say(self, cid: str = "", text: str = "hi", bot: str = "a", session: str = "s") -> list[Act]:
        self.cids += 1
        return self.do(UserSaid(1, session, bot, cid or f"c{self.cids}", text))

    def asked(self, text: str = "hi") -> str:
        """Send a message that reaches the bot; give its turn."""
        return only(self.say(text=text), ToBot).turn

    def die(self, bot: str = "a", why: str = "exit code 3") -> list[Act]:
        return self.do(BotGone(bot, why))

    def status(self, bot: str = "a") -> BotStatus:
        return next(status for status in self.engine.statuses(self.now) if status.bot == bot)

    def trip(self) -> None:
        for _ in range(SETTINGS.breaker_failures_max):
            self.do(BotGarbled("a", "not JSON"))


def of(acts: list[Act], kind: type[A]) -> list[A]:
    return [act for act in acts if isinstance(act, kind)]


def only(acts: list[Act], kind: type[A]) -> A:
    found = of(acts, kind)
    assert len(found) == 1, acts
    return found[0]


def recorded(acts: list[Act], kind: type[A]) -> list[A]:
    return [act.fact for act in of(acts, Record) if isinstance(act.fact, kind)]


def frames(acts: list[Act], kind: type[A]) -> list[A]:
    return [act.frame for act in of(acts, Publish) if isinstance(act.frame, kind)]


@pytest.fixture
def chat() -> Chat:
    chat = Chat()
    chat.launch()
    return chat


# --- A message that goes well ---------------------------------------------------------------------------------------
def test_it_is_saved_before_it_is_accepted_and_accepted_before_it_is_asked(chat: Chat) -> None:
    acts = chat.say("c1", "hello")
    kinds = [type(act) for act in acts]
    assert kinds.index(SaveMessage) < kinds.index(Publish) < kinds.index(ToBot)
    saved = only(acts, SaveMessage)
    assert (saved.role, saved.cid, saved.text, saved.state) == ("user", "c1", "hello", "accepted")
    assert frames(acts, Accepted) == [Accepted("c1", saved.mid, only(acts, ToBot).turn, "hello")]
    assert recorded(acts, Admitted) == [Admitted("a", only(acts, ToBot).turn, probe=False)]


def test_a_reply_streams_and_is_saved_before_its_end_is_told(chat: Chat) -> None:
    turn = chat.asked()
    first = chat.do(BotSaid("a", turn, "he"))
    assert frames(first, Begin) == [Begin(turn, "c1", "a")]
    assert frames(first, Delta) == [Delta(turn, 0, "he")]
    assert frames(chat.do(BotSaid("a", turn, "llo")), Delta) == [Delta(turn, 2, "llo")]
    acts = chat.do(BotEnded("a", turn))
    kinds = [type(act) for act in acts]
    assert kinds.index(SaveMessage) < kinds.index(Publish)
    assert (chat.store[turn].text, chat.store[turn].state) == ("hello", "done")
    assert frames(acts, End) == [End(turn, "c1", "done", 5)]
    assert recorded(acts, TurnSettled)[0].outcome == "done"
    assert [seq for seq, _ in chat.frames] == list(range(1, len(chat.frames) + 1))


def test_an_empty_reply_still_begins_and_ends(chat: Chat) -> None:
    turn = chat.asked()
    assert chat.do(BotSaid("a", turn, "")) == []
    acts = chat.do(BotEnded("a", turn))
    assert frames(acts, Begin)
    assert frames(acts, End) == [End(turn, "c1", "done", 0)]


def test_a_long_reply_is_saved_while_it_streams(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotSaid("a", turn, "one "))
    assert turn not in chat.store
    chat.wait(1.0)
    chat.do(BotSaid("a", turn, "two"))
    assert (chat.store[turn].text, chat.store[turn].state) == ("one two", "streaming")


def test_a_bot_that_talks_is_not_silent(chat: Chat) -> None:
    turn = chat.asked()
    for _ in range(4):
        chat.wait(4.0)
        chat.do(BotSaid("a", turn, "x"))
    chat.do(BotEnded("a", turn))
    chat.wait(60.0)
    assert chat.store[turn].state == "done"


# --- Refused at the door --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "bot", "code"),
    [(" \n", "a", "empty"), ("x" * 21, "a", "too-long"), ("hi", "nobody", "no-bot")],
)
def test_what_cannot_be_taken_is_refused_and_not_saved(chat: Chat, text: str, bot: str, code: str) -> None:
    acts = chat.say("c1", text, bot)
    frame = only(acts, Reply).frame
    assert isinstance(frame, Rejected)
    assert frame.code == code
    assert recorded(acts, Refused) == [Refused(bot, "c1", code)]
    assert chat.store == {}


def test_a_full_queue_refuses_and_the_places_behind_it_are_filled_in_order(chat: Chat) -> None:
    turns = [only(chat.say(f"c{n}"), ToBot).turn for n in (1, 2)]
    assert of(chat.say("c3"), ToBot) == []
    assert chat.status().queued == 1
    chat.say("c4")
    refused = only(chat.say("c5"), Reply).frame
    assert isinstance(refused, Rejected)
    assert refused.code == "busy"
    assert refused.retry_after_s is not None
    assert "2 messages are waiting; try again in" in refused.message
    acts = chat.do(BotEnded("a", turns[0]))
    assert chat.store[only(acts, ToBot).turn + QUESTION].cid == "c3"


def test_the_same_cid_again_is_accepted_once(chat: Chat) -> None:
    turn = only(chat.say("c1"), ToBot).turn
    again = chat.say("c1", "other words")
    assert only(again, Reply).frame == Accepted("c1", turn + QUESTION, turn, "hi")
    assert len(again) == 1


def test_a_cid_that_the_store_knows_is_accepted_again_with_its_ids(chat: Chat) -> None:
    acts = chat.do(UserSaid(1, "s", "a", "old", "hi", known="tx-9" + QUESTION))
    assert acts == [Reply(1, Accepted("old", "tx-9" + QUESTION, "tx-9", "hi"))]


# --- What goes wrong with a bot -------------------------------------------------------------------------------------
def test_a_bot_may_give_up_with_its_own_words(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotSaid("a", turn, "well"))
    acts = chat.do(BotFailed("a", turn, "overloaded", "too much"))
    assert frames(acts, Failed) == [Failed(turn, "c1", "overloaded", "a: too much")]
    assert (chat.store[turn].text, chat.store[turn].state, chat.store[turn].error) == ("well", "failed", "a: too much")


def test_a_bot_cannot_speak_in_the_name_of_the_service(chat: Chat) -> None:
    for code in ("circuit-open", "done"):
        assert frames(chat.do(BotFailed("a", chat.asked(), code, "m")), Failed)[0].code == "bot-failed"


def test_death_fails_what_is_in_flight_and_counts_once(chat: Chat) -> None:
    chat.asked()
    chat.asked()
    acts = chat.die()
    assert [frame.code for frame in frames(acts, Failed)] == ["bot-gone", "bot-gone"]
    assert chat.status().breaker == "closed"
    assert chat.status().state == "restarting"
    assert recorded(acts, BotSeen) == [BotSeen("a", "gone", 7, "exit code 3")]


def test_restarts_come_later_each_time_until_a_reply_succeeds() -> None:
    chat = Chat(Settings(breaker_failures_max=100, bot_restart_min_s=1.0, bot_restart_max_s=3.0))
    chat.launch()
    pauses = []
    for _ in range(4):
        chat.die()
        pauses.append(chat.timers["restart:a"] - chat.now)
        chat.wait(pauses[-1])
        chat.do(BotStarted("a", 8))
        chat.do(BotReady("a"))
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    chat.do(BotEnded("a", chat.asked()))
    chat.die()
    assert chat.timers["restart:a"] - chat.now == 1.0
    assert chat.status().restarts == 4


def test_messages_to_a_bot_that_starts_wait_for_it() -> None:
    chat = Chat()
    chat.do(BotWanted("a", "echo"))
    assert of(chat.say(), ToBot) == []
    chat.do(BotStarted("a", 7))
    assert of(chat.do(BotReady("a")), ToBot)


def test_a_bot_that_never_says_ready_is_stopped_and_started_again() -> None:
    chat = Chat()
    chat.do(BotWanted("a", "echo"))
    chat.do(BotStarted("a", 7))
    chat.acts.clear()
    chat.wait(4.0)
    assert of(chat.acts, StopBot) == [StopBot("a")]
    chat.die(why="signal 15 (SIGTERM)")
    chat.wait(1.0)
    assert of(chat.acts, StartBot)


def test_silence_fails_the_turn_and_cancels_it(chat: Chat) -> None:
    turn = chat.asked()
    chat.wait(3.0)
    later = chat.asked()
    chat.acts.clear()
    chat.wait(2.0)
    assert of(chat.acts, CancelTurn) == [CancelTurn("a", turn)]
    assert [frame.code for frame in frames(chat.acts, Failed)] == ["bot-silent"]
    assert chat.status().in_flight == 1
    chat.wait(3.0)
    assert chat.store[later].state == "failed"


def test_a_reply_that_never_comes_to_an_end_is_ended(chat: Chat) -> None:
    turn = chat.asked()
    for _ in range(12):
        chat.wait(4.0)
        chat.do(BotSaid("a", turn, "x"))
    assert chat.store[turn].state == "failed"
    assert [frame.code for frame in frames(chat.acts, Failed)] == ["reply-too-slow"]


def test_a_message_that_waits_too_long_is_handed_back(chat: Chat) -> None:
    turns = [chat.asked(), chat.asked()]
    chat.say("waiting")
    for _ in range(8):
        chat.wait(4.0)
        for turn in turns:
            chat.do(BotSaid("a", turn, "x"))
    assert [(frame.cid, frame.code, frame.retry_after_s) for frame in frames(chat.acts, Failed)] == [
        ("waiting", "busy", 1.0)
    ]


def test_a_message_to_a_bot_that_does_not_start_is_handed_back() -> None:
    chat = Chat(Settings(answer_within_s=3.0, bot_start_max_s=100.0))
    chat.do(BotWanted("a", "echo"))
    chat.say("waiting")
    chat.wait(3.0)
    assert [frame.code for frame in frames(chat.acts, Failed)] == ["busy"]


def test_the_time_to_start_is_that_of_this_start_and_not_of_an_earlier_one(chat: Chat) -> None:
    chat.die()
    chat.wait(1.0)
    assert chat.do(Woke("start:a")) == []  # Of the first process; the second one is not even there.
    chat.do(BotStarted("a", 8))
    assert of(chat.do(Woke("start:a")), StopBot) == [StopBot("a")]


def test_a_reply_that_begins_too_late_says_nothing_about_its_bot() -> None:
    chat = Chat(Settings(answer_within_s=4.0, reply_silence_max_s=5.0, bot_start_max_s=9.0, breaker_failures_max=1))
    chat.do(BotWanted("a", "echo"))
    chat.say()
    chat.wait(2.0)
    chat.do(BotStarted("a", 7))
    chat.do(BotReady("a"))
    chat.wait(2.0)
    assert [frame.code for frame in frames(chat.acts, Failed)] == ["reply-too-late"]
    assert chat.status().breaker == "closed"


def test_a_broken_line_fails_what_is_in_flight_and_counts_once(chat: Chat) -> None:
    chat.asked()
    chat.asked()
    acts = chat.do(BotGarbled("a", "not UTF-8"))
    assert [frame.message for frame in frames(acts, Failed)] == ["a broke the protocol: not UTF-8"] * 2
    assert chat.status().breaker == "closed"
    chat.do(BotGarbled("a", "not UTF-8"))
    assert chat.status().breaker == "open"


def test_a_broken_line_lets_the_queue_in_afterwards(chat: Chat) -> None:
    for _ in range(3):
        chat.say()
    assert len(of(chat.do(BotGarbled("a", "x")), ToBot)) == 1


def test_late_words_of_a_finished_turn_are_dropped(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotEnded("a", turn))
    for fact in (BotSaid("a", turn, "x"), BotEnded("a", turn), BotFailed("a", turn, "c", "m"), BotSaid("b", turn, "x")):
        assert chat.do(fact) == []


def test_a_bot_that_never_stops_is_stopped_and_what_it_said_is_kept(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotSaid("a", turn, "x" * 30))
    acts = chat.do(BotSaid("a", turn, "y"))
    assert of(acts, CancelTurn) == [CancelTurn("a", turn)]
    assert frames(acts, Failed)[0].code == "reply-too-long"
    assert (chat.store[turn].text, chat.store[turn].state) == ("x" * 30, "failed")


# --- The breaker ----------------------------------------------------------------------------------------------------
def test_open_refuses_at_once_with_the_time_left(chat: Chat) -> None:
    chat.trip()
    chat.wait(4.0)
    frame = only(chat.say(), Reply).frame
    assert isinstance(frame, Rejected)
    assert (frame.code, frame.retry_after_s) == ("circuit-open", 6.0)
    assert frame.message.startswith("Bot Unavailable (recovering): a kept failing")
    assert chat.status().retry_after_s == 6.0


def test_opening_fails_what_was_queued(chat: Chat) -> None:
    for _ in range(3):
        chat.say("")
    chat.do(BotGone("a", "signal 9"))
    chat.wait(1.0)
    chat.do(BotStarted("a", 8))
    acts = chat.die()
    assert [frame.code for frame in frames(acts, Failed)] == ["circuit-open"]
    told = of(acts, TellAll)[-1].status
    assert isinstance(told, BotStatus)
    assert (told.breaker, told.queued) == ("open", 0)
    assert [move.after for move in recorded(acts, BreakerMoved)] == ["open"]


def test_what_an_open_breaker_takes_out_of_the_queue_is_over(chat: Chat) -> None:
    for number in (1, 2, 3):
        chat.say(f"c{number}")
    waiting = next(frame.turn for _, frame in reversed(chat.frames) if isinstance(frame, Accepted))
    chat.die()
    chat.wait(1.0)
    chat.die()
    assert [frame.code for _, frame in chat.frames if isinstance(frame, Failed) and frame.turn == waiting] == [
        "circuit-open"
    ]
    assert chat.engine.census(chat.now)["turns_open"] == 0
    assert chat.do(UserCancelled("s", waiting)) == []  # Nobody is told of a second end.


def test_no_restart_while_open_and_exactly_one_probe_after_it(chat: Chat) -> None:
    chat.die()
    chat.wait(1.0)
    chat.die()
    chat.acts.clear()
    chat.wait(9.9)
    assert of(chat.acts, StartBot) == []
    chat.wait(0.1)
    assert of(chat.acts, StartBot)
    chat.do(BotStarted("a", 9))
    chat.say("p1")
    refused = only(chat.say("p2"), Reply).frame
    assert isinstance(refused, Rejected)
    assert "testing" in refused.message
    acts = chat.do(BotReady("a"))
    assert recorded(acts, Admitted)[0].probe
    refused = only(chat.say("p3"), Reply).frame
    assert isinstance(refused, Rejected)
    assert refused.retry_after_s == 0.5
    turn = only(acts, ToBot).turn
    moves = recorded(chat.do(BotEnded("a", turn)), BreakerMoved)
    assert [(move.before, move.after, move.cause) for move in moves] == [("half-open", "closed", "probe-ok")]
    assert of(chat.say("p4"), ToBot)


def test_a_bad_probe_opens_it_again(chat: Chat) -> None:
    chat.trip()
    chat.wait(10.0)
    assert chat.status().breaker == "half-open"
    turn = chat.asked()
    moves = recorded(chat.do(BotFailed("a", turn, "c", "m")), BreakerMoved)
    assert [(move.signal, move.cause) for move in moves] == [("relapsed", "probe-failed")]


def test_a_probe_that_hangs_is_failed_by_silence(chat: Chat) -> None:
    chat.trip()
    chat.wait(10.0)
    chat.asked()
    chat.wait(5.0)
    assert chat.status().breaker == "open"


def test_a_probe_that_answers_slowly_closes_it(chat: Chat) -> None:
    chat.trip()
    chat.wait(10.0)
    turn = chat.asked()
    for _ in range(9):  # Longer than silence and start together, a piece every four seconds.
        chat.wait(4.0)
        chat.do(BotSaid("a", turn, "x"))
    chat.do(BotEnded("a", turn))
    assert chat.status().breaker == "closed"


def test_the_first_say_after_the_cooldown_is_the_probe_even_before_the_timer(chat: Chat) -> None:
    chat.trip()
    chat.now += 10.0
    assert recorded(chat.say(), Admitted)[0].probe


def test_transitions_are_numbered_without_gaps(chat: Chat) -> None:
    chat.trip()
    chat.wait(10.0)
    chat.do(BotEnded("a", chat.asked()))
    assert [move.seq for move in recorded(chat.acts, BreakerMoved)] == [1, 2, 3]


# --- Users change their mind ----------------------------------------------------------------------------------------
def test_cancelling_keeps_what_arrived_and_proves_nothing(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotSaid("a", turn, "half"))
    acts = chat.do(UserCancelled("s", turn))
    assert of(acts, CancelTurn) == [CancelTurn("a", turn)]
    assert (chat.store[turn].text, chat.store[turn].state) == ("half", "cancelled")
    assert frames(acts, End) == [End(turn, "c1", "cancelled", 4)]
    assert chat.do(UserCancelled("s", turn)) == []


def test_a_waiting_message_can_be_cancelled(chat: Chat) -> None:
    for _ in range(3):
        chat.say()
    waiting = next(frame.turn for _, frame in reversed(chat.frames) if isinstance(frame, Accepted))
    chat.do(UserCancelled("s", waiting))
    assert chat.status().queued == 0
    assert chat.store[waiting].state == "cancelled"


# --- Bots come and go -----------------------------------------------------------------------------------------------
def test_wanting_a_bot_twice_is_once(chat: Chat) -> None:
    assert chat.do(BotWanted("a", "echo")) == []


def test_removing_a_bot_fails_its_turns_and_forgets_it(chat: Chat) -> None:
    for _ in range(3):
        chat.say()
    acts = chat.do(BotUnwanted("a"))
    assert [frame.code for frame in frames(acts, Failed)] == ["no-bot"] * 3
    assert of(acts, StopBot) == [StopBot("a")]
    assert of(acts, ForgetBot) == [ForgetBot("a")]
    told = of(acts, TellAll)[-1].status
    assert isinstance(told, BotStatus)
    assert told.state == "stopped"
    assert chat.engine.statuses(chat.now) == []


def test_facts_about_removed_bots_are_harmless(chat: Chat) -> None:
    chat.do(BotUnwanted("a"))
    assert chat.do(BotStarted("a", 9)) == [StopBot("a")]
    for fact in (BotReady("a"), BotGone("a", "x"), BotGarbled("a", "x"), BotUnwanted("a"), Woke("restart:a")):
        assert chat.do(fact) == []


def test_a_timer_that_has_lost_its_reason_does_nothing(chat: Chat) -> None:
    for key in ("restart:a", "start:a", "breaker:a"):
        assert chat.do(Woke(key)) == []
    assert chat.do(Woke("sweep")) == []


# --- What an earlier life has left ----------------------------------------------------------------------------------
def test_a_message_of_an_earlier_life_is_asked_under_its_own_name(chat: Chat) -> None:
    acts = chat.do(Recalled("s", "a", "old", "tx-1", "still there?", 5.0))
    assert only(acts, ToBot) == ToBot("a", "tx-1", "s", "still there?")
    assert of(acts, SaveMessage) == []
    assert only(chat.say("old"), Reply).frame == Accepted("old", "tx-1" + QUESTION, "tx-1", "still there?")
    settled = recorded(chat.do(BotEnded("a", "tx-1")), TurnSettled)
    assert settled[0].took_s == 5.0


def test_its_wait_goes_on_where_it_was(chat: Chat) -> None:
    for _ in range(2):
        chat.asked()
    chat.do(Recalled("s", "a", "old", "tx-1", "hi", 28.0))
    chat.acts.clear()
    chat.wait(2.0)
    assert [(frame.cid, frame.code) for frame in frames(chat.acts, Failed)] == [("old", "busy")]


def test_its_session_is_kept_until_it_ends_also_if_it_was_idle_before(chat: Chat) -> None:
    chat.do(Recalled("s", "gone", "older", "tx-0", "hi", 1.0))
    turn = only(chat.do(Recalled("s", "a", "old", "tx-1", "hi", 1.0)), ToBot).turn
    for number, name in enumerate(("s1", "s2", "s3")):
        chat.do(ClientJoined(number, name))
        chat.do(ClientLeft(number, name))
    assert frames(chat.do(BotEnded("a", turn)), End)
    assert chat.engine.census(chat.now)["sessions_abandoned"] == 0


def test_without_its_bot_it_ends_with_a_clear_error(chat: Chat) -> None:
    acts = chat.do(Recalled("s", "", "old", "tx-1", "hi", 1.0))
    assert [frame.code for frame in frames(acts, Failed)] == ["no-bot"]


# --- Clients --------------------------------------------------------------------------------------------------------
def test_a_new_client_gets_what_is_stored_and_what_streams(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotSaid("a", turn, "so far"))
    welcome = only(chat.do(ClientJoined(5, "s")), Welcome)
    assert not welcome.recovered
    assert welcome.partials == {turn: "so far"}
    assert welcome.head_seq == len(chat.frames)


def test_a_client_that_comes_back_gets_exactly_what_it_missed(chat: Chat) -> None:
    epoch = only(chat.do(ClientJoined(5, "s")), Welcome).epoch
    chat.do(BotEnded("a", chat.asked()))
    welcome = only(chat.do(ClientJoined(6, "s", epoch, 1)), Welcome)
    assert welcome.recovered
    assert welcome.replay == tuple(chat.frames[1:])


def test_what_was_acknowledged_or_is_of_another_epoch_cannot_be_recovered(chat: Chat) -> None:
    epoch = only(chat.do(ClientJoined(5, "s")), Welcome).epoch
    chat.do(BotEnded("a", chat.asked()))
    chat.do(ClientAcked("s", 2))
    assert not only(chat.do(ClientJoined(6, "s", epoch, 1)), Welcome).recovered
    assert not only(chat.do(ClientJoined(7, "s", "other", 2)), Welcome).recovered
    assert chat.do(ClientAcked("nobody", 2)) == []


def test_idle_sessions_are_forgotten_oldest_first_and_their_log_begins_a_new_epoch(chat: Chat) -> None:
    epochs = {}
    for number, name in enumerate(("s1", "s2", "s3")):
        epochs[name] = only(chat.do(ClientJoined(number, name)), Welcome).epoch
        chat.do(ClientLeft(number, name))
    assert only(chat.do(ClientJoined(9, "s2", epochs["s2"], 0)), Welcome).recovered
    assert not only(chat.do(ClientJoined(9, "s1", epochs["s1"], 0)), Welcome).recovered
    assert chat.do(ClientLeft(9, "never")) == []


def test_a_session_with_an_open_turn_is_kept_until_it_ends(chat: Chat) -> None:
    epoch = only(chat.do(ClientJoined(1, "s")), Welcome).epoch
    turn = chat.asked()
    chat.do(ClientLeft(1, "s"))
    for number, name in enumerate(("s1", "s2", "s3")):
        chat.do(ClientJoined(number, name))
        chat.do(ClientLeft(number, name))
    chat.do(BotEnded("a", turn))
    assert only(chat.do(ClientJoined(2, "s", epoch, 1)), Welcome).recovered


# --- The store refuses ----------------------------------------------------------------------------------------------
def test_a_message_that_could_not_be_saved_is_handed_back(chat: Chat) -> None:
    acts = chat.say("c1")
    turn = only(acts, ToBot).turn
    back = chat.do(SaveFailed("s", "c1", turn + QUESTION, "disk full"))
    frame = only(back, Reply).frame
    assert isinstance(frame, Rejected)
    assert frame.code == "not-saved"
    assert "disk full" in frame.message
    assert frames(back, Failed) == []
    epoch = only(chat.do(ClientJoined(5, "s")), Welcome).epoch
    replay = only(chat.do(ClientJoined(6, "s", epoch, 0)), Welcome).replay
    assert [frame for _, frame in replay] == [Delta(turn, 0, "")]  # The number is spent; nobody waits for a reply.
    assert chat.status().in_flight == 0


def test_a_failed_save_lets_the_next_one_in(chat: Chat) -> None:
    turns = [chat.asked(), chat.asked()]
    chat.say("c3")
    assert len(of(chat.do(SaveFailed("s", "c1", turns[0], "disk full")), ToBot)) == 1


def test_a_waiting_message_that_could_not_be_saved_leaves_the_queue(chat: Chat) -> None:
    for number in (1, 2, 3):
        chat.say(f"c{number}")
    waiting = next(frame.turn for _, frame in reversed(chat.frames) if isinstance(frame, Accepted))
    chat.do(SaveFailed("s", "c3", waiting + QUESTION, "disk full"))
    assert chat.status().queued == 0


def test_a_reply_that_could_not_be_saved_fails_openly(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotEnded("a", turn))
    (frame,) = frames(chat.do(SaveFailed("s", "c1", turn, "disk full")), Failed)
    assert frame.code == "not-saved"
    assert "your message is kept" in frame.message


def test_a_streaming_reply_that_could_not_be_saved_is_cancelled(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotSaid("a", turn, "x"))
    acts = chat.do(SaveFailed("s", "c1", turn, "disk full"))
    assert of(acts, CancelTurn) == [CancelTurn("a", turn)]
    assert of(acts, Reply) == []


def test_a_message_that_was_not_saved_and_has_failed_meanwhile_is_not_called_kept(chat: Chat) -> None:
    turn = chat.asked()
    chat.die()
    (frame,) = frames(chat.do(SaveFailed("s", "c1", turn + QUESTION, "disk full")), Failed)
    assert "nothing of it was kept" in frame.message


def test_a_session_that_is_told_of_a_failed_save_is_not_kept_for_ever(chat: Chat) -> None:
    turn = chat.asked()
    chat.do(BotEnded("a", turn))
    for name in ("s1", "s2", "s3"):
        chat.do(ClientJoined(1, name))
        chat.do(ClientLeft(1, name))
    chat.do(SaveFailed("s", "c1", turn, "disk full"))
    assert chat.engine.census(chat.now) == {
        "turns_open": 0,
        "turns_overdue": 0,
        "sessions_abandoned": 0,
        "processes_wanted": 1,
    }


# --- Any order of facts ---------------------------------------------------------------------------------------------
class ChatWalk(RuleBasedStateMachine):
    """Whatever happens in whatever order: nothing accepted is forgotten, nothing is told twice, bounds hold."""

    def __init__(self) -> None:
        super().__init__()
        self.chat = Chat()
        self.alive = False
        self.breaker = "closed"
        self.asked: list[str] = []

    def done(self, acts: list[Act]) -> None:
        for act in acts:
            match act:
                case StartBot():
                    self.alive = True
                    self.done(self.chat.do(BotStarted("a", 5)))
                case StopBot() if self.alive:
                    self.alive = False
                    self.done(self.chat.do(BotGone("a", "stopped")))
                case Record(BreakerMoved(after=after)):
                    self.breaker = after
                case ToBot(_, turn):
                    assert self.alive
                    assert self.breaker != "open"
                    self.asked.append(turn)
                case _:
                    pass

    def do(self, fact: Fact) -> None:
        self.done(self.chat.do(fact))

    @rule()
    def launch(self) -> None:
        self.do(BotWanted("a", "echo"))

    @precondition(lambda self: self.alive)
    @rule()
    def ready(self) -> None:
        self.do(BotReady("a"))

    @precondition(lambda self: self.alive)
    @rule()
    def death(self) -> None:
        self.alive = False
        self.do(BotGone("a", "exit code 1"))

    @rule(text=st.sampled_from(["hi", "", "x" * 30]), session=st.sampled_from(["s", "t"]))
    def say(self, text: str, session: str) -> None:
        self.done(self.chat.say(text=text, session=session))

    @precondition(lambda self: self.alive and self.asked)
    @rule(data=st.data(), what=st.sampled_from(["say", "end", "fail", "garble", "cancel"]))
    def bot(self, data: st.DataObject, what: str) -> None:
        turn = data.draw(st.sampled_from(self.asked))
        facts: dict[str, Fact] = {
            "say": BotSaid("a", turn, "word "),
            "end": BotEnded("a", turn),
            "fail": BotFailed("a", turn, "c", "m"),
            "garble": BotGarbled("a", "x"),
            "cancel": UserCancelled("s", turn),
        }
        self.do(facts[what])

    @rule(seconds=st.floats(0.0, 12.0))
    def time_passes(self, seconds: float) -> None:
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        end = self.chat.now + seconds
        while self.chat.timers and min(self.chat.timers.values()) <= end:
            key = min(self.chat.timers, key=lambda name: self.chat.timers[name])
            self.chat.now = max(self.chat.now, self.chat.timers.pop(key))
            self.do(Woke(key))
        self.chat.now = end

    def silence(self) -> None:
        """Nothing happens for long enough that every deadline has passed."""
        self.wait(200.0)

    @invariant()
    def bounds_hold(self) -> None:
        for status in self.chat.engine.statuses(self.chat.now):
            assert status.in_flight <= SETTINGS.turns_max
            assert status.queued <= SETTINGS.queue_max

    @invariant()
    def every_accepted_message_is_open_or_ended_once(self) -> None:
        accepted = [frame.turn for _, frame in self.chat.frames if isinstance(frame, Accepted)]
        ended = [frame.turn for _, frame in self.chat.frames if isinstance(frame, End | Failed)]
        assert len(ended) == len(set(ended))
        assert set(ended) <= set(accepted)
        statuses = self.chat.engine.statuses(self.chat.now)
        assert len(accepted) - len(ended) == sum(status.in_flight + status.queued for status in statuses)

    @invariant()
    def replies_are_whole(self) -> None:
        length: dict[str, int] = {}
        for _, frame in self.chat.frames:
            if isinstance(frame, Delta):
                assert frame.at == length.get(frame.turn, 0)
                length[frame.turn] = frame.at + len(frame.text)
            elif isinstance(frame, End):
                assert frame.chars == length.get(frame.turn, 0) == len(self.chat.store[frame.turn].text)

    def teardown(self) -> None:
        """In the end everything that was accepted has an answer or a clear error."""
        self.silence()
        if self.alive:
            self.ready()
        self.silence()
        self.every_accepted_message_is_open_or_ended_once()
        accepted = {frame.turn for _, frame in self.chat.frames if isinstance(frame, Accepted)}
        ended = {frame.turn for _, frame in self.chat.frames if isinstance(frame, End | Failed)}
        assert accepted == ended
        super().teardown()


TestChatWalk = ChatWalk.TestCase
TestChatWalk.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)

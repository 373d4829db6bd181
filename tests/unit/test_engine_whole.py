"""What the engine does about the whole: retries, capacity, the health score's mode, processes of a bot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.core.events import (
    Accepted,
    Act,
    Began,
    BotEnded,
    BotFailed,
    BotGarbled,
    BotGone,
    BotReady,
    BotSaid,
    BotStarted,
    BotStatus,
    BotUnwanted,
    BotWanted,
    BreakerForced,
    BreakerMoved,
    CapacityChanged,
    End,
    Failed,
    FeatureSwitched,
    Felt,
    LevelMoved,
    LimitMoved,
    LimitOrdered,
    ModeMoved,
    ModeOrdered,
    Rejected,
    Reply,
    Retried,
    SaveMessage,
    Scaled,
    ServiceMode,
    StartBot,
    StopBot,
    TellAll,
    ToBot,
    UserCancelled,
    Woke,
)
from harness.core.settings import Settings
from harness.errors import ScenarioError
from tests.unit.test_engine import SETTINGS, Chat, frames, of, only, recorded

CALM = replace(SETTINGS, attempts_max=3, breaker_failures_max=50, queue_max=100, turns_max=10, answer_within_s=100.0)


def chat_with(**changes: Any) -> Chat:
    chat = Chat(replace(CALM, **changes))
    chat.launch()
    return chat


def rejected(acts: list[Act]) -> Rejected:
    frame = only(acts, Reply).frame
    assert isinstance(frame, Rejected)
    return frame


def come_back(chat: Chat) -> list[Act]:
    chat.wait(1.0)
    chat.do(BotStarted("a", 8))
    return chat.do(BotReady("a"))


# --- Trying again ---------------------------------------------------------------------------------------------------
def test_a_turn_whose_bot_died_before_a_word_is_asked_again_under_its_name() -> None:
    chat = chat_with()
    turn = chat.asked()
    acts = chat.die()
    assert frames(acts, Failed) == []
    (retried,) = recorded(acts, Retried)
    assert (retried.turn, retried.code, retried.attempt) == (turn, "bot-gone", 2)
    assert chat.status().queued == 1
    assert [act.turn for act in of(come_back(chat), ToBot)] == [turn]
    assert frames(chat.do(BotEnded("a", turn)), End)
    report = chat.engine.recovery.report(chat.now)
    assert (report.recovered, report.failed) == (1, 0)


def test_a_turn_of_which_something_was_read_is_not_asked_again() -> None:
    chat = chat_with()
    turn = chat.asked()
    chat.do(BotSaid("a", turn, "half"))
    assert [frame.code for frame in frames(chat.die(), Failed)] == ["bot-gone"]


def test_a_turn_of_which_its_bot_may_still_speak_is_not_asked_again() -> None:
    chat = chat_with()
    turn = chat.asked()
    acts = chat.do(BotGarbled("a", "something printed this"))
    assert [frame.code for frame in frames(acts, Failed)] == ["bot-garbled"]
    chat.wait(1.0)
    # What comes now is the rest of an answer: it must not be taken for a whole one.
    assert chat.do(BotSaid("a", turn, "second half")) == []
    assert chat.do(BotEnded("a", turn)) == []


def test_it_is_not_tried_more_often_than_allowed() -> None:
    chat = chat_with(attempts_max=2)
    turn = chat.asked()
    first = chat.do(BotFailed("a", turn, "overloaded", "later please"))
    assert recorded(first, Retried)
    chat.wait(1.0)
    assert [frame.code for frame in frames(chat.do(BotFailed("a", turn, "overloaded", "no")), Failed)] == ["overloaded"]
    assert chat.engine.recovery.report(chat.now).given_up == {"attempts": 1}


def test_a_failure_that_would_come_again_is_told_at_once() -> None:
    chat = chat_with()
    assert frames(chat.do(BotFailed("a", chat.asked(), "bad-question", "what?")), Failed)
    report = chat.engine.recovery.report(chat.now)
    assert report.unknown == 1


def test_retries_are_a_small_share_of_the_calls() -> None:
    chat = chat_with()
    turns = [chat.asked() for _ in range(10)]
    acts = [act for turn in turns for act in chat.do(BotFailed("a", turn, "overloaded", "no"))]
    assert len(recorded(acts, Retried)) < 6
    assert len(recorded(acts, Retried)) + len(frames(acts, Failed)) == 10


def test_a_resting_turn_can_be_cancelled_or_lose_its_bot() -> None:
    chat = chat_with()
    one, two = chat.asked(), chat.asked()
    for turn in (one, two):
        chat.do(BotFailed("a", turn, "overloaded", "no"))
    assert frames(chat.do(UserCancelled("s", one)), End)[0].state == "cancelled"
    assert chat.do(Woke(f"retry:a:{one}")) == []
    assert [frame.turn for frame in frames(chat.do(BotUnwanted("a")), Failed)] == [two]
    assert chat.do(Woke(f"retry:a:{two}")) == []


def test_a_resting_turn_for_which_there_is_no_room_any_more_fails_openly() -> None:
    chat = chat_with(queue_max=5, turns_max=1)
    turn = chat.asked()
    chat.do(BotFailed("a", turn, "overloaded", "no"))
    for _ in range(5):
        chat.say()
    chat.wait(4.0)
    assert [frame.code for frame in frames(chat.acts, Failed) if frame.turn == turn] == ["busy"]


def test_a_resting_turn_waits_behind_a_probe() -> None:
    chat = chat_with(breaker_failures_max=2, breaker_cooldown_s=0.2, turns_max=5)
    turn = chat.asked()
    chat.do(BotFailed("a", turn, "overloaded", "no"))
    chat.do(BotFailed("a", chat.asked(), "bad", "no"))
    chat.now += 0.2
    probe = chat.asked()
    chat.acts.clear()
    chat.do(Woke(f"retry:a:{turn}"))
    assert of(chat.acts, ToBot) == []
    assert [act.turn for act in of(chat.do(BotEnded("a", probe)), ToBot)] == [turn]


def test_a_resting_turn_whose_time_is_over_when_it_wakes_fails_openly() -> None:
    chat = chat_with(answer_within_s=10.0)
    turn = chat.asked()
    chat.do(BotFailed("a", turn, "overloaded", "no"))
    chat.now += 10.0
    (failed,) = frames(chat.do(Woke(f"retry:a:{turn}")), Failed)
    assert (failed.code, failed.retry_after_s) == ("busy", None)
    assert "should have begun to answer is over; try again later" in failed.message


# --- Pace and capacity ----------------------------------------------------------------------------------------------
def test_a_session_that_sends_too_fast_is_told_when_to_go_on() -> None:
    chat = chat_with(session_rate_per_s=2.0, session_burst=2)
    chat.say()
    chat.say()
    refused = rejected(chat.say())
    assert refused.code == "rate-limited"
    assert refused.retry_after_s is not None
    assert of(chat.say(session="other"), ToBot)
    chat.wait(refused.retry_after_s)
    assert of(chat.say(), ToBot)


def test_a_bot_that_could_not_answer_in_time_refuses_at_the_door() -> None:
    chat = chat_with(turns_max=1, answer_within_s=10.0)
    for _ in range(3):
        turn = chat.asked()
        chat.wait(3.0)
        chat.do(BotSaid("a", turn, "x"))
        chat.do(BotEnded("a", turn))
    chat.asked()
    assert of(chat.say(), SaveMessage)
    refused = rejected(chat.say())
    assert refused.code == "busy"
    assert "would wait about 9 s" in refused.message


def test_a_bot_that_answers_ever_more_slowly_gets_fewer_turns_at_once() -> None:
    chat = chat_with(turns_max=20, session_burst=10_000, session_rate_per_s=10_000.0)
    for seconds in (0.1, 2.0):
        for _ in range(10):
            turns = [chat.asked() for _ in range(8)]
            chat.wait(seconds)
            for turn in turns:
                chat.do(BotSaid("a", turn, "x"))
                chat.do(BotEnded("a", turn))
    moved = recorded(chat.acts, LimitMoved)
    assert (moved[0].before, moved[0].cause) == (20, "queueing")
    assert moved[0].after < 20


def test_messages_that_are_too_long_in_all_are_refused_at_the_door() -> None:
    chat = chat_with(turns_max=1, queue_chars_max=20)
    chat.say(text="x" * 15)
    chat.say(text="x" * 15)
    refused = rejected(chat.say(text="x" * 15))
    assert refused.code == "busy"
    assert "the messages that wait for it are too long in all" in refused.message


def test_a_place_that_comes_after_their_time_finds_nobody() -> None:
    chat = Chat(replace(CALM, answer_within_s=5.0))
    chat.do(BotWanted("a", "echo"))
    chat.say()
    chat.now += 5.0
    assert of(chat.do(BotReady("a")), ToBot) == []
    chat.do(Woke("sweep"))
    assert [frame.code for frame in frames(chat.acts, Failed)] == ["busy"]


def test_the_whole_takes_only_so_many_messages_a_second() -> None:
    chat = chat_with(tasks_per_s_max=2)
    chat.say()
    chat.say()
    refused = rejected(chat.say())
    assert (refused.code, refused.message) == (
        "over-capacity",
        "the service is full (tasks_per_s: 2 of 2 in use; try again)",
    )
    chat.wait(1.0)
    assert of(chat.say(), ToBot)


def test_what_an_open_breaker_refuses_uses_up_nothing_of_the_whole() -> None:
    chat = chat_with(tasks_per_s_max=1, breaker_failures_max=1)
    chat.launch("b")
    chat.do(BotGone("a", "exit code 1"))
    assert [rejected(chat.say()).code for _ in range(3)] == ["circuit-open"] * 3
    assert of(chat.say(bot="b", session="t"), ToBot)


def test_what_waits_is_limited_for_all_bots_together_and_a_limit_can_be_changed() -> None:
    chat = chat_with(turns_max=1, waiting_max=1)
    chat.say()
    chat.say()
    assert rejected(chat.say()).code == "over-capacity"
    acts = chat.do(LimitOrdered("queue_count", 5, "ada"))
    assert recorded(acts, CapacityChanged) == [CapacityChanged("queue_count", 1, 5, "ada")]
    assert of(chat.say(), SaveMessage)
    with pytest.raises(ValueError, match="there is no limit 'cows'"):
        chat.do(LimitOrdered("cows", 5, "ada"))


def test_memory_that_is_full_refuses_and_memory_that_nobody_reads_any_more_too() -> None:
    chat = chat_with(memory_bytes_max=100)
    chat.do(Felt(store_ok=True, loop_lag_s=0.0, memory_bytes=101))
    assert "memory_bytes: 101 of 100" in rejected(chat.say()).message
    chat.do(Felt(store_ok=True, loop_lag_s=0.0, memory_bytes=50))
    assert of(chat.say(), ToBot)
    chat.wait(11.0)
    assert "memory_bytes: unknown" in rejected(chat.say()).message


def test_a_limit_of_memory_that_a_person_has_set_is_not_overruled_by_the_settings() -> None:
    chat = chat_with(memory_bytes_max=100)
    chat.do(LimitOrdered("memory_bytes", 1_000, "ada"))
    chat.do(Felt(store_ok=True, loop_lag_s=0.0, memory_bytes=900))
    assert of(chat.say(), ToBot)
    chat.do(LimitOrdered("memory_bytes", None, "ada"))
    chat.do(Began())
    chat.wait(2.0)
    score = chat.engine.score
    assert score is not None
    assert {part.component: part.value for part in score.contributions}["memory_share"] == 0.0


def test_the_report_says_how_full_everything_is() -> None:
    chat = chat_with(turns_max=2)
    for _ in range(3):
        chat.say()
    report = chat.engine.capacity(chat.now)
    bots = report["bots"]
    assert isinstance(bots, dict)
    assert bots["a"]["queued"] == 1
    assert (bots["a"]["places"], bots["a"]["in_flight"], bots["a"]["utilisation"]) == (2, 2, 1.0)


@pytest.mark.parametrize(("name", "value"), [("instance_utilisation", 1.5), ("tasks_per_s_max", 200_000)])
def test_settings_that_cannot_work_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ScenarioError, match=name):
        Settings(**{name: value})


# --- The mode -------------------------------------------------------------------------------------------------------
def test_a_service_that_gets_sick_switches_off_what_is_missed_least_and_back_on_when_it_is_well() -> None:
    chat = chat_with()
    chat.do(Began())
    chat.do(Felt(store_ok=True, loop_lag_s=0.0, memory_bytes=1_000, cpu_share=0.1))
    for _ in range(5):
        chat.do(BotEnded("a", chat.asked()))
        chat.wait(1.0)
    assert chat.engine.mode(chat.now).level == "good"
    assert chat.engine.score is not None
    assert chat.engine.score.level == "good"
    for _ in range(20):
        chat.do(Felt(store_ok=False, loop_lag_s=0.0, memory_bytes=1_000))
        chat.wait(1.0)
    assert chat.engine.mode(chat.now).level == "critical"
    assert not chat.engine.enabled("retries")
    assert chat.engine.enabled("messages")
    moved = recorded(chat.acts, LevelMoved)[-1]
    assert (moved.after, moved.worst) == ("critical", "store")
    assert recorded(chat.acts, ModeMoved)[0].after == "degraded"
    told = of(chat.acts, TellAll)[-1].status
    assert isinstance(told, ServiceMode)
    assert "retries" in told.off
    for _ in range(400):
        chat.do(Felt(store_ok=True, loop_lag_s=0.0, memory_bytes=1_000, cpu_share=0.1))
        chat.do(BotEnded("a", chat.asked()))
        chat.wait(1.0)
    assert chat.engine.mode(chat.now).mode == "full"
    assert recorded(chat.acts, FeatureSwitched)[-1].on


def test_replies_that_start_late_cost_points_and_no_bots_cost_none() -> None:
    chat = Chat(CALM)
    chat.do(Began())
    chat.wait(2.0)
    assert chat.engine.score is not None
    assert chat.engine.score.score is None  # Nothing was ever known.
    chat.launch()
    turn = chat.asked()
    chat.wait(4.0)
    chat.do(BotSaid("a", turn, "x"))
    chat.do(BotEnded("a", turn))
    chat.wait(2.0)
    (latency,) = [part for part in chat.engine.score.contributions if part.component == "latency_ms_p95"]
    assert latency.value == 4_000.0
    assert latency.points < latency.of / 2


def test_without_retries_a_failure_is_told_at_once() -> None:
    chat = chat_with()
    chat.do(ModeOrdered("degraded", "ada", "we save our strength"))
    assert frames(chat.do(BotFailed("a", chat.asked(), "overloaded", "no")), Failed)


def test_maintenance_refuses_messages_with_its_reason_and_ends_by_itself() -> None:
    chat = chat_with()
    chat.do(Began())
    acts = chat.do(ModeOrdered("maintenance", "ada", "new disks", 60.0))
    moved = recorded(acts, ModeMoved)[0]
    assert (moved.after, moved.author, moved.reason) == ("maintenance", "ada", "new disks")
    refused = rejected(chat.say())
    assert (refused.code, refused.retry_after_s) == ("maintenance", 60.0)
    assert "new disks" in refused.message
    chat.wait(61.0)
    assert of(chat.say(), ToBot)
    chat.do(ModeOrdered("maintenance", "ada", "again", 600.0))
    told = only(chat.do(ModeOrdered("maintenance", "ada", "longer than that", 60.0)), TellAll).status
    assert isinstance(told, ServiceMode)
    assert (told.why, told.retry_after_s) == ("longer than that", 60.0)
    chat.do(ModeOrdered("auto", "ada"))
    assert of(chat.say(), ToBot)
    with pytest.raises(ValueError, match="mode must be full, degraded, maintenance or auto"):
        chat.do(ModeOrdered("fast", "ada", "please"))
    with pytest.raises(ValueError, match="author"):
        chat.do(ModeOrdered("full", " ", "please"))


def test_while_checkpoints_are_off_a_reply_is_saved_at_its_end_only() -> None:
    chat = chat_with()
    chat.do(ModeOrdered("degraded", "ada", "slow disk"))
    turn = chat.asked()
    for _ in range(4):
        chat.do(BotSaid("a", turn, "x"))
        chat.wait(2.0)
    assert turn not in chat.store
    chat.do(BotEnded("a", turn))
    assert chat.store[turn].text == "xxxx"


# --- A breaker by hand ----------------------------------------------------------------------------------------------
def test_a_breaker_that_is_forced_open_refuses_until_its_time_is_up_and_a_probe_decides() -> None:
    chat = chat_with(turns_max=1, turns_min=1)
    working = chat.asked()
    (waits,) = frames(chat.say(), Accepted)
    acts = chat.do(BreakerForced("a", "forced-open", "ada", 60.0))
    (moved,) = recorded(acts, BreakerMoved)
    assert (moved.after, moved.cause, moved.author, moved.ttl_s) == ("forced-open", "manual", "ada", 60.0)
    told = of(acts, TellAll)[-1].status
    assert isinstance(told, BotStatus)
    assert (told.breaker, told.retry_after_s, told.why) == ("forced-open", 60.0, "forced-open by ada")
    assert [(frame.turn, frame.code) for frame in frames(acts, Failed)] == [(waits.turn, "circuit-open")]
    refused = rejected(chat.say())
    assert (refused.code, refused.retry_after_s) == ("circuit-open", 60.0)
    assert "by ada" in refused.message
    assert frames(chat.do(BotEnded("a", working)), End)  # What it works on is finished.
    assert chat.status().breaker == "forced-open"
    chat.wait(60.0)
    assert recorded(chat.acts, BreakerMoved)[-1].cause == "ttl"
    assert chat.status().breaker == "half-open"
    chat.do(BotEnded("a", chat.asked()))
    assert chat.status().breaker == "closed"


@pytest.mark.parametrize("state", ["disabled", "metrics-only"])
def test_a_breaker_that_is_out_of_office_lets_everything_through_for_a_while(state: str) -> None:
    chat = chat_with(breaker_failures_max=1, attempts_max=1)
    chat.do(Began())
    chat.do(BreakerForced("a", state, "ada", 60.0))
    for _ in range(5):
        chat.do(BotFailed("a", chat.asked(), "bot-failed", "no"))
    status = chat.status()
    assert (status.breaker, status.retry_after_s) == (state, None)
    chat.wait(60.0)
    assert chat.status().breaker == "closed"
    chat.do(BotFailed("a", chat.asked(), "bot-failed", "no"))
    assert chat.status().breaker == "open"


def test_a_person_closes_an_open_breaker_and_its_bot_comes_back() -> None:
    chat = chat_with(breaker_failures_max=1, attempts_max=1)
    chat.die()
    assert chat.status().breaker == "open"
    acts = chat.do(BreakerForced("a", "closed", "ada"))
    assert [act.bot for act in of(acts, StartBot)] == ["a"]
    assert chat.status().breaker == "closed"


def test_a_bot_that_dies_while_forced_open_is_started_again() -> None:
    chat = chat_with()
    chat.do(BreakerForced("a", "forced-open", "ada", 600.0))
    chat.die()
    chat.wait(10.0)
    assert of(chat.acts, StartBot)[-1].bot == "a"
    assert chat.status().restarts == 1


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (BreakerForced("a", "ajar", "ada"), "state must be one of closed, disabled, forced-open, metrics-only"),
        (BreakerForced("a", "half-open", "ada"), "nobody can force a breaker to be half-open"),
        (BreakerForced("a", "forced-open", " "), "author"),
        (BreakerForced("a", "forced-open", "ada", float("nan")), "ttl_s"),
        (BreakerForced("a", "forced-open", "ada", 0.0), "ttl_s"),
    ],
)
def test_an_impossible_order_to_a_breaker_changes_nothing(order: BreakerForced, says: str) -> None:
    chat = chat_with()
    before = chat.status()
    with pytest.raises(ValueError, match=says):
        chat.do(order)
    assert chat.status() == before
    assert chat.do(BreakerForced("nobody", "forced-open", "ada")) == []


def test_a_bot_whose_breaker_is_forced_open_is_not_available_one_that_is_disabled_is() -> None:
    chat = chat_with()
    chat.do(Began())
    for state, share in (("forced-open", 0.0), ("disabled", 1.0)):
        chat.do(BreakerForced("a", state, "ada", 600.0))
        chat.wait(1.0)
        score = chat.engine.score
        assert score is not None
        (part,) = (part for part in score.contributions if part.component == "bots_available_share")
        assert part.value == share, state


# --- Processes of a bot ---------------------------------------------------------------------------------------------
def grown(**changes: Any) -> Chat:
    """A bot with one process whose places are all taken, one tick later."""
    chat = chat_with(instances_max=3, turns_max=2, scale_down_window_s=5.0, **changes)
    chat.do(Began())
    chat.asked()
    chat.asked()
    chat.wait(1.0)
    return chat


def test_a_bot_whose_places_are_taken_gets_another_process() -> None:
    chat = grown()
    assert recorded(chat.acts, Scaled) == [Scaled("a", 1, 2, "above-target", "")]
    assert of(chat.acts, StartBot)[-1].bot == "a~2"
    chat.do(BotStarted("a~2", 9))
    waiting = chat.say()
    assert of(waiting, ToBot) == []
    assert [act.bot for act in of(chat.do(BotReady("a~2")), ToBot)] == ["a~2"]
    assert chat.status().instances == 2
    assert chat.status().in_flight == 3


def test_a_process_too_many_finishes_its_work_and_ends() -> None:
    chat = grown()
    chat.do(BotStarted("a~2", 9))
    chat.do(BotReady("a~2"))
    turn = only(chat.say(), ToBot)
    assert turn.bot == "a~2"
    for first in [act for act in of(chat.acts, ToBot) if act.bot == "a"]:
        chat.do(BotEnded("a", first.turn))
    chat.acts.clear()
    for _ in range(130):
        chat.wait(1.0)
        if chat.status().in_flight:
            chat.do(BotSaid("a~2", turn.turn, "x"))
        if recorded(chat.acts, Scaled):
            break
    (scaled,) = recorded(chat.acts, Scaled)
    assert (scaled.before, scaled.after) == (2, 1)
    assert of(chat.acts, StopBot) == []
    acts = chat.do(BotEnded("a~2", turn.turn))
    assert of(acts, StopBot) == [StopBot("a~2")]
    chat.do(BotGone("a~2", "exit code 0"))
    assert chat.do(BotSaid("a~2", turn.turn, "late")) == []
    assert chat.status().breaker == "closed"


def test_the_process_too_many_is_not_the_last_one_that_answers() -> None:
    chat = grown(breaker_failures_max=2, breaker_cooldown_s=1.0, attempts_max=1)
    chat.do(BotStarted("a~2", 9))
    chat.do(BotReady("a~2"))
    chat.die()
    chat.do(BotGarbled("a~2", "x"))
    assert chat.status().breaker == "open"  # So "a" is not started again, and nobody asks for anything.
    chat.acts.clear()
    chat.wait(300.0)
    assert recorded(chat.acts, Scaled)
    assert chat.status().instances == 1
    assert of(chat.say(), ToBot)[0].bot == "a~2"


def test_a_process_on_its_way_out_stays_if_it_is_wanted_again() -> None:
    chat = grown()
    chat.do(BotStarted("a~2", 9))
    chat.do(BotReady("a~2"))
    turn = only(chat.say(), ToBot).turn
    desk = chat.engine._desk
    desk.scale(desk.bots["a"], 1)
    assert chat.status().instances == 1
    chat.acts.clear()
    chat.wait(1.0)
    assert recorded(chat.acts, Scaled)
    assert (chat.status().instances, of(chat.acts, StartBot)) == (2, [])
    assert of(chat.do(BotEnded("a~2", turn)), StopBot) == []


def test_no_process_beyond_the_limit_of_the_whole() -> None:
    chat = grown(bots_max=1)
    assert recorded(chat.acts, Scaled) == []
    assert chat.status().instances == 1


def test_the_death_of_one_process_costs_the_turns_of_that_one() -> None:
    chat = grown(attempts_max=1)
    chat.do(BotStarted("a~2", 9))
    chat.do(BotReady("a~2"))
    turn = only(chat.say(), ToBot).turn
    acts = chat.do(BotGone("a~2", "signal 9"))
    assert [frame.turn for frame in frames(acts, Failed)] == [turn]
    assert chat.status().state == "online"
    assert chat.status().in_flight == 2
    chat.acts.clear()
    chat.wait(1.0)
    assert of(chat.acts, StartBot)[0].bot == "a~2"


def test_removing_a_bot_ends_all_its_processes() -> None:
    chat = grown()
    acts = chat.do(BotUnwanted("a"))
    assert {act.bot for act in of(acts, StopBot)} == {"a", "a~2"}
    assert chat.do(BotStarted("a~2", 9)) == [StopBot("a~2")]

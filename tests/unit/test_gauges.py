"""What is seen of the engine's machines, read from the engine itself."""

from __future__ import annotations

import math

from harness.chat.engine import Engine
from harness.chat.gauges import READ, Numbers
from harness.core.breaker import State
from harness.core.events import Began, BotReady, BotStarted, BotWanted, ClientJoined, UserSaid
from harness.core.families import FAMILIES
from harness.core.settings import Settings
from harness.server.readings import BREAKER_VALUES


def numbers(engine: Engine, now: float) -> dict[str, Numbers]:
    return {name: engine.gauge(name, now) for name in READ}


def began() -> Engine:
    return Engine(Settings(turns_max=1), epoch="e")


def test_every_gauge_is_declared_with_as_many_labels_as_it_gives() -> None:
    engine = began()
    engine.receive(BotWanted("echo", "echo", {}, 0), 0.0)
    for name, found in numbers(engine, 1.0).items():
        family = FAMILIES[name]
        assert family.kind == "gauge"
        keys = list(found) if not isinstance(found, (int, float)) else [()]
        assert keys, name
        assert {len(key) for key in keys} == {len(family.labels)}


def test_a_bot_that_works_and_one_message_that_waits() -> None:
    engine = began()
    before = numbers(engine, 0.0)
    assert before["chat_turns_limit"] == {}
    assert math.isnan(before["chat_health_score"])  # type: ignore[arg-type]  # it is one number
    for fact in (Began(), BotWanted("echo", "echo", {}, 0), BotStarted("echo", 7), BotReady("echo")):
        engine.receive(fact, 0.0)
    engine.receive(ClientJoined(1, "s", None, 0), 0.0)
    engine.receive(UserSaid(1, "s", "echo", "c1", "hi"), 1.0)
    engine.receive(UserSaid(1, "s", "echo", "c2", "hi"), 2.0)
    found = numbers(engine, 5.0)
    assert found["chat_bot_processes"] == {("echo",): 1}
    assert found["chat_turns_limit"] == {("echo",): 1}
    assert found["chat_turns_resting"] == {("echo",): 0}
    assert found["chat_queue_age_seconds"] == {("echo",): 3.0}
    assert found["chat_mode"] == 0.0
    features = found["chat_feature_on"]
    assert isinstance(features, dict)
    assert features["messages",] == 1


def test_every_state_of_a_breaker_has_a_value_and_only_those_that_refuse_are_high() -> None:
    assert set(BREAKER_VALUES) == set(State)
    assert {state for state, value in BREAKER_VALUES.items() if value >= 2} == {State.OPEN, State.FORCED_OPEN}

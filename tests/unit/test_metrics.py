"""What the metrics count, and that they stay bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.chat.engine import OWN_CODES
from harness.core.events import (
    Admitted,
    AlertMoved,
    BotSeen,
    BreakerMoved,
    FeatureSwitched,
    LevelMoved,
    LimitMoved,
    ModeMoved,
    Refused,
    Retried,
    Scaled,
    TurnSettled,
)
from harness.core.families import OTHER_OUTCOME, OUTCOMES
from harness.core.histogram import Histogram
from harness.core.series import Family, Labels, Value
from harness.services.metrics import Metrics


def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], Value]:
    """Label values to value, of one family."""
    (found,) = [snapshot for snapshot in metrics.collect() if snapshot.family.name == name]
    return {tuple(value for _, value in labels): value for labels, value in found.series}


def moved(metrics: Metrics, name: str) -> dict[tuple[str, ...], Value]:
    """Those that are not 0."""
    return {labels: value for labels, value in values(metrics, name).items() if value}


def observations(metrics: Metrics, name: str, bot: str) -> int:
    found = values(metrics, name)[(bot,)]
    assert isinstance(found, Histogram)
    return found.n


def test_each_fact_counts_where_it_belongs() -> None:
    metrics = Metrics()
    metrics.record(Admitted("echo", "t1", probe=False))
    metrics.record(TurnSettled("echo", "t1", "done", 0.2, 0.1))
    metrics.record(TurnSettled("echo", "t2", "bot-gone", 0.2, None))
    metrics.record(TurnSettled("echo", "t3", "whatever the bot says", 0.2, None))
    metrics.record(Refused("echo", "c1", "busy"))
    metrics.record(Refused("echo", "c2", "busy"))
    metrics.record(Refused("made-up", "c3", "no-bot"))
    metrics.record(BreakerMoved("echo", 1, "closed", "open", "tripped", 5, 30.0))
    metrics.record(BotSeen("echo", "started", 7))
    assert moved(metrics, "chat_turns_total") == {
        ("echo", "done"): 1,
        ("echo", "bot-gone"): 1,
        ("echo", OTHER_OUTCOME): 1,
    }
    assert moved(metrics, "chat_refused_total") == {("echo", "busy"): 2}
    assert moved(metrics, "chat_breaker_transitions_total") == {("echo", "closed", "open"): 1}
    assert moved(metrics, "chat_bot_life_total") == {("echo", "started"): 1}
    assert observations(metrics, "chat_reply_seconds", "echo") == 3
    assert observations(metrics, "chat_first_token_seconds", "echo") == 1


def test_what_the_machines_decided_is_counted() -> None:
    metrics = Metrics()
    for fact in (
        Retried("echo", "t", "bot-gone", 1, 0.5),
        Retried("echo", "t", "a word of the bot's own", 2, 0.5),
        LimitMoved("echo", "echo~2", 8, 4, "dropped"),
        Scaled("echo", 1, 3, "queue"),
        Scaled("echo", 3, 2, "idle"),
        ModeMoved(1, "full", "maintenance", "ordered"),
        LevelMoved("good", "degraded", 60.0, "latency"),
        AlertMoved("slow", {"bot": "echo"}, "pending", "firing", "held", 2.0, "page"),
        FeatureSwitched("retries", on=False, cause="level"),
    ):
        metrics.record(fact)
    assert moved(metrics, "chat_retries_total") == {("echo", "bot-gone"): 1, ("echo", OTHER_OUTCOME): 1}
    assert moved(metrics, "chat_limit_changes_total") == {("echo", "dropped"): 1}
    assert moved(metrics, "chat_scalings_total") == {("echo", "more"): 1, ("echo", "fewer"): 1}
    assert moved(metrics, "chat_mode_changes_total") == {("full", "maintenance"): 1}
    assert moved(metrics, "chat_level_changes_total") == {("good", "degraded"): 1}
    assert moved(metrics, "chat_alert_changes_total") == {("slow", "firing"): 1}
    metrics.forget("echo")
    assert moved(metrics, "chat_retries_total") == {}


def test_every_end_that_the_service_speaks_of_has_its_outcome() -> None:
    assert set(OUTCOMES) == OWN_CODES


def test_what_nobody_declared_at_the_start_is_counted_from_its_first_time() -> None:
    metrics = Metrics()
    metrics.record(Refused("echo", "c1", "maintenance"))
    metrics.record(BreakerMoved("echo", 1, "closed", "forced-open", "ordered", 0, 30.0))
    assert moved(metrics, "chat_refused_total") == {("echo", "maintenance"): 1}
    assert moved(metrics, "chat_breaker_transitions_total") == {("echo", "closed", "forced-open"): 1}


def test_a_bot_has_its_series_at_zero_before_anything_goes_wrong() -> None:
    metrics = Metrics()
    metrics.record(BotSeen("echo", "started", 7))
    assert values(metrics, "chat_turns_total") == {("echo", outcome): 0 for outcome in (*OUTCOMES, OTHER_OUTCOME)}
    assert values(metrics, "chat_refused_total")[("echo", "busy")] == 0
    assert observations(metrics, "chat_reply_seconds", "echo") == 0


def test_a_removed_bot_takes_its_series_along() -> None:
    metrics = Metrics()
    for number in range(200):
        metrics.record(TurnSettled(f"bot-{number}", "t", "done", 0.1, None))
        metrics.forget(f"bot-{number}")
    metrics.forget("never there")
    left = {snapshot.family.name: snapshot.series for snapshot in metrics.collect() if snapshot.series}
    assert set(left) == {"chat_service_turns_total"}, "what all bots did together stays"
    assert dict(left["chat_service_turns_total"])[(("outcome", "done"),)] == 200


def test_a_bot_that_comes_back_starts_at_zero() -> None:
    metrics = Metrics()
    metrics.record(TurnSettled("echo", "t", "done", 0.1, None))
    metrics.forget("echo")
    metrics.record(TurnSettled("echo", "t", "done", 0.1, None))
    assert moved(metrics, "chat_turns_total") == {("echo", "done"): 1}


def test_more_bots_than_there_is_room_for_are_counted_together_and_that_is_counted() -> None:
    metrics = Metrics()
    for number in range(60):
        metrics.record(TurnSettled(f"bot-{number}", "t", "done", 0.1, None))
    reply = values(metrics, "chat_reply_seconds")
    assert len(reply) == 51
    assert sum(found.n for found in reply.values() if isinstance(found, Histogram)) == 60
    assert values(metrics, "chat_metrics_overflow_total")[("chat_reply_seconds",)] == 10


@given(st.lists(st.text(max_size=5), max_size=50))
def test_the_labels_are_a_closed_set_whatever_bots_say(codes: list[str]) -> None:
    metrics = Metrics()
    for code in codes:
        metrics.record(TurnSettled("echo", "t", f"x{code}", 0.1, None))
    assert moved(metrics, "chat_turns_total") == ({("echo", OTHER_OUTCOME): len(codes)} if codes else {})


def test_series_are_in_order_and_alike_for_alike_facts() -> None:
    one, two = Metrics(), Metrics()
    facts = [TurnSettled("b", "t", "done", 0.1, None), TurnSettled("a", "t", "cancelled", 0.1, 0.05)]
    for fact in facts:
        one.record(fact)
    for fact in reversed(facts):
        two.record(fact)
    assert one.collect() == two.collect()
    names = [snapshot.family.name for snapshot in one.collect()]
    assert names == sorted(names)
    labels: list[Labels] = [labels for snapshot in one.collect()[-3:] for labels, _ in snapshot.series]
    assert labels == sorted(labels)


def test_anybody_can_count_what_is_no_fact() -> None:
    metrics = Metrics([Family(name="more_seconds", kind="histogram", help="More.", unit="seconds")])
    metrics.counter("chat_not_saved_total").add(2)
    metrics.gauge("chat_turns_queued", "echo").set(3)
    metrics.histogram("more_seconds").record(0.5)
    metrics.watch("chat_sockets", lambda: 9)
    assert values(metrics, "chat_not_saved_total") == {(): 2}
    assert values(metrics, "chat_turns_queued") == {("echo",): 3}
    assert values(metrics, "more_seconds") == {(): Histogram([0.5])}
    assert values(metrics, "chat_sockets") == {(): 9}

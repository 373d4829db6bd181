"""What the metrics count, and that they stay bounded."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.core.events import Admitted, BotSeen, BotStatus, BreakerMoved, Refused, TurnSettled
from harness.services.metrics import OTHER_OUTCOME, Gauges, Histogram, Metrics, Sample

STATUS = BotStatus("echo", "echo", "online", "half-open", 1.5, 7, 2, 3, 4, "")


def values(metrics: Metrics, name: str, gauges: Gauges | None = None) -> dict[tuple[str, ...], float]:
    """Label values to value, of one series."""
    (series,) = [series for series in metrics.series(gauges or Gauges()) if series.name == name]
    return {
        (*(value for _, value in sample.labels), *filter(None, [sample.suffix])): sample.value
        for sample in series.samples
    }


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
    assert values(metrics, "chat_turns_total") == {
        ("echo", "done"): 1,
        ("echo", "bot-gone"): 1,
        ("echo", OTHER_OUTCOME): 1,
    }
    assert values(metrics, "chat_refused_total") == {("echo", "busy"): 2}
    assert values(metrics, "chat_breaker_transitions_total") == {("echo", "closed", "open"): 1}
    assert values(metrics, "chat_bot_life_total") == {("echo", "started"): 1}
    assert values(metrics, "chat_reply_seconds")["echo", "_count"] == 3
    assert values(metrics, "chat_first_token_seconds")["echo", "_count"] == 1


def test_gauges_show_the_moment() -> None:
    gauges = Gauges(statuses=[STATUS], sockets=9, unsaved=2, loop_lag_s=0.25, uptime_s=12.5, not_saved=1)
    metrics = Metrics()
    assert values(metrics, "chat_bots", gauges) == {("starting",): 0, ("online",): 1, ("restarting",): 0}
    assert values(metrics, "chat_breaker_state", gauges) == {("echo",): 1}
    assert values(metrics, "chat_turns_in_flight", gauges) == {("echo",): 3}
    assert values(metrics, "chat_turns_queued", gauges) == {("echo",): 4}
    assert values(metrics, "chat_bot_restarts", gauges) == {("echo",): 2}
    assert values(metrics, "chat_sockets", gauges) == {(): 9}
    assert values(metrics, "chat_unsaved_batches", gauges) == {(): 2}
    assert values(metrics, "chat_not_saved_total", gauges) == {(): 1}
    assert values(metrics, "chat_loop_lag_seconds", gauges) == {(): 0.25}
    assert values(metrics, "chat_uptime_seconds", gauges) == {(): 12.5}


def test_a_removed_bot_takes_its_series_along() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.record(TurnSettled(f"bot-{number}", "t", "done", 0.1, None))
        metrics.forget(f"bot-{number}")
    metrics.forget("never there")
    assert values(metrics, "chat_turns_total") == {}


@given(st.lists(st.text(max_size=5), max_size=50))
def test_the_labels_are_a_closed_set_whatever_bots_say(codes: list[str]) -> None:
    metrics = Metrics()
    for code in codes:
        metrics.record(TurnSettled("echo", "t", f"x{code}", 0.1, None))
    assert values(metrics, "chat_turns_total") == ({("echo", OTHER_OUTCOME): len(codes)} if codes else {})


def test_series_are_in_order_and_alike_for_alike_facts() -> None:
    one, two = Metrics(), Metrics()
    facts = [TurnSettled("b", "t", "done", 0.1, None), TurnSettled("a", "t", "cancelled", 0.1, 0.05)]
    for fact in facts:
        one.record(fact)
    for fact in reversed(facts):
        two.record(fact)
    assert one.series(Gauges()) == two.series(Gauges())
    names = [series.name for series in one.series(Gauges())]
    assert names == sorted(names)


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.record(value)
    assert list(histogram.samples((("bot", "b"),))) == [
        Sample((("bot", "b"), ("le", "1")), 2, "_bucket"),
        Sample((("bot", "b"), ("le", "2")), 4, "_bucket"),
        Sample((("bot", "b"), ("le", "+Inf")), 5, "_bucket"),
        Sample((("bot", "b"),), 14.0, "_sum"),
        Sample((("bot", "b"),), 5, "_count"),
    ]


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_buckets_never_fall_and_end_at_the_count(found: list[float]) -> None:
    histogram = Histogram()
    for value in found:
        histogram.record(value)
    buckets = [sample.value for sample in histogram.samples(()) if sample.suffix == "_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == len(found)
    for bound, count in zip(histogram.bounds, buckets, strict=False):
        assert count == sum(value <= bound for value in found)


def test_the_reference_page_names_every_metric_with_its_labels() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "serve.md").read_text("utf-8")
    metrics = Metrics()
    for series in metrics.series(Gauges()):
        assert f"`{series.name}`" in page, series.name

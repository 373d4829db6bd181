"""Messages per minute and error ratios, of each bot and of all, from the one record of each turn."""

from __future__ import annotations

import math

import pytest

from harness.chat.traffic import Traffic, latency, traffic
from harness.core.events import TurnSettled
from harness.services.aggregator import Aggregator
from harness.services.metrics import Metrics

START = 1_800_000_000


def test_figures_of_each_bot_and_of_all() -> None:
    metrics, aggregator = Metrics(), Aggregator()
    for second in range(120):
        if second >= 60:  # Before, there was nothing: the last minute is full of it.
            metrics.record(TurnSettled("good", "t", "done", 0.1, None))
            metrics.record(TurnSettled("bad", "t", "bot-gone" if second % 2 else "cancelled", 2.0, None))
        aggregator.tick(START + second, metrics.collect())
    found = traffic(aggregator, START + 119)
    assert found == {
        "good": Traffic(messages_per_minute=60.0, error_ratio=0.0),
        "bad": Traffic(messages_per_minute=60.0, error_ratio=0.5),
        "": Traffic(messages_per_minute=120.0, error_ratio=0.25),
    }
    seconds = latency(aggregator, START + 119)
    assert seconds["good"]["p99"] == pytest.approx(0.1, rel=0.011)
    assert seconds[""]["p50"] == pytest.approx(0.1, rel=0.011)
    assert seconds[""]["p95"] == pytest.approx(2.0, rel=0.011)


def test_nobody_said_anything() -> None:
    nothing = traffic(Aggregator(), START)
    assert nothing[""].messages_per_minute == 0.0
    assert math.isnan(nothing[""].error_ratio)
    assert latency(Aggregator(), START) == {}
    metrics, aggregator = Metrics(), Aggregator()
    metrics.record(TurnSettled("echo", "t", "done", 0.1, None))
    aggregator.tick(START, metrics.collect())
    aggregator.tick(START + 100, metrics.collect())
    assert math.isnan(traffic(aggregator, START + 100)["echo"].error_ratio)

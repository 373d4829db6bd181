"""What one record costs, beside prometheus_client in the same run; and a tick, a scrape.

Run it: .venv/bin/pytest tests/perf/test_metrics_speed.py
"""

from __future__ import annotations

import random
import statistics
import timeit
from collections.abc import Callable

import prometheus_client
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.core.events import TurnSettled
from harness.core.series import SECONDS_BOUNDS
from harness.exporters import openmetrics, prometheus
from harness.services.aggregator import Aggregator
from harness.services.metrics import Metrics

DICE = random.Random(7)
VALUES = tuple(DICE.lognormvariate(-1.0, 1.0) for _ in range(1_000))
BOTS = 32


def our_handle() -> Callable[[float], None]:
    return Metrics().histogram("chat_reply_seconds", "echo").record


def their_handle() -> Callable[[float], None]:
    registry = prometheus_client.CollectorRegistry()
    family = prometheus_client.Histogram("x", "X.", ["bot"], registry=registry, buckets=SECONDS_BOUNDS)
    return family.labels("echo").observe


def over_values(record: Callable[[float], None]) -> None:
    for value in VALUES:
        record(value)


def busy() -> Metrics:
    """As many bots as may run, each with everything it can have."""
    metrics = Metrics()
    for number in range(BOTS):
        for value in VALUES[:200]:
            metrics.record(TurnSettled(f"bot-{number}", "t", "done", value, value / 4))
    return metrics


@pytest.mark.parametrize("make", [our_handle, their_handle])
def test_a_thousand_records(benchmark: BenchmarkFixture, make: Callable[[], Callable[[float], None]]) -> None:
    benchmark.group = "1,000 histogram records"
    benchmark(over_values, make())


def test_a_record_costs_no_more_than_that_of_prometheus_client(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = our_handle(), their_handle()
    pairs = [
        (timeit.timeit(lambda: over_values(ours), number=3), timeit.timeit(lambda: over_values(theirs), number=3))
        for _ in range(31)
    ]
    ratio = statistics.median(mine / peer for mine, peer in pairs)
    nanoseconds = [statistics.median(column) / 3 / len(VALUES) * 1e9 for column in zip(*pairs, strict=True)]
    with capsys.disabled():
        print(
            f"\none record: ours {nanoseconds[0]:.0f} ns, prometheus_client {nanoseconds[1]:.0f} ns, ratio {ratio:.2f}"
        )
    assert ratio <= 1.0


def test_a_settled_turn(benchmark: BenchmarkFixture) -> None:
    """Counts its outcome and both latencies."""
    metrics = Metrics()
    benchmark(metrics.record, TurnSettled("echo", "t", "done", 0.7, 0.1))


def test_a_tick_of_32_bots(benchmark: BenchmarkFixture) -> None:
    metrics, aggregator, now = busy(), Aggregator(), [1_800_000_000.0]

    def tick() -> None:
        now[0] += 1.0
        metrics.record(TurnSettled("bot-0", "t", "done", 0.7, 0.1))
        aggregator.tick(now[0], metrics.collect())

    benchmark(tick)
    benchmark.extra_info["series"] = aggregator.series


@pytest.mark.parametrize("kind", [prometheus, openmetrics])
def test_a_scrape_of_32_bots(benchmark: BenchmarkFixture, kind: object) -> None:
    metrics = busy()
    render = prometheus.render if kind is prometheus else openmetrics.render
    benchmark.extra_info["bytes"] = len(benchmark(lambda: render(metrics.collect())))


def test_a_scrape_of_32_bots_by_prometheus_client(benchmark: BenchmarkFixture) -> None:
    """The same two histograms of 32 bots, and as many counters as ours has."""
    registry = prometheus_client.CollectorRegistry()
    for name in ("reply", "first_token"):
        family = prometheus_client.Histogram(name, "X.", ["bot"], registry=registry, buckets=SECONDS_BOUNDS)
        for number in range(BOTS):
            family.labels(f"bot-{number}").observe(0.5)
    counter = prometheus_client.Counter("turns", "X.", ["bot", "outcome"], registry=registry)
    for number in range(BOTS * 22):
        counter.labels(f"bot-{number // 22}", str(number % 22)).inc()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    benchmark(prometheus_client.generate_latest, registry)

"""What a good call costs: admitting and settling it here, and the whole guarded call of the cheapest peer.

Run it: .venv/bin/pytest tests/perf/test_breaker_speed.py
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.services.circuit_breaker import BreakerConfig, CircuitBreaker, Outcome, Permit, Window

SUCCESS = Outcome.SUCCESS
CALLS = 20_000


def ours(config: BreakerConfig) -> Callable[[], None]:
    breaker = CircuitBreaker(config)

    def play() -> None:
        for _ in range(CALLS):
            permit = breaker.admit(7.0)
            assert isinstance(permit, Permit)
            breaker.settle(permit, 7.0, SUCCESS)

    return play


def peer() -> Callable[[], None]:
    plain: Any = lambda: None  # noqa: E731
    guard: Any = importlib.import_module("circuitbreaker").circuit  # it has no types
    call = guard(plain)

    def play() -> None:
        for _ in range(CALLS):
            call()

    return play


WAYS: dict[str, Callable[[], Callable[[], None]]] = {
    "a window of calls": lambda: ours(BreakerConfig()),
    "a window of time": lambda: ours(BreakerConfig(window=Window.TIME)),
    "circuitbreaker": peer,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_good_call(benchmark: BenchmarkFixture, way: str) -> None:
    benchmark.pedantic(WAYS[way](), rounds=20, warmup_rounds=2)  # type: ignore[no-untyped-call]
    stats: Any = benchmark.stats
    benchmark.extra_info["ns_per_call"] = round(stats.stats.median * 1e9 / CALLS)


def test_a_good_call_costs_no_more_than_that_of_the_cheapest_peer(capsys: pytest.CaptureFixture[str]) -> None:
    plays = {name: way() for name, way in WAYS.items()}
    took: dict[str, list[int]] = {name: [] for name in plays}
    for _ in range(21):  # Taken in turns, so that a machine that slows down slows all of them down.
        for name, play in plays.items():
            began = perf_counter_ns()
            play()
            took[name].append(perf_counter_ns() - began)
    median = {name: statistics.median(each) / CALLS for name, each in took.items()}
    with capsys.disabled():
        print("\n" + ", ".join(f"{name}: {ns:.0f} ns" for name, ns in median.items()))
    assert median["a window of calls"] <= 1.2 * median["circuitbreaker"]
    assert median["a window of time"] <= 1.2 * median["circuitbreaker"]

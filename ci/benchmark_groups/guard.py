"""Benchmarks of the guard: a closed breaker, sync and async; a refusal; breaker, limit and record together."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiobreaker
import circuitbreaker
import interlock
import prometheus_client
import purgatory
import pybreaker

from harness.adapters.guard import Guard
from harness.core.histogram import Histogram
from harness.services.circuit_breaker import BreakerConfig, Outcome
from harness.services.concurrency_limit import ConcurrencyConfig, ConcurrencyLimit

Case = Callable[[int], object]
COOLDOWN_S = 3600


def groups() -> list[tuple[str, str, Mapping[str, Case]]]:
    """All of them."""
    logging.getLogger("interlock").disabled = True
    return [
        ("A closed breaker, a plain function", "Decorators around a function that does nothing.", closed()),
        ("A closed breaker, a coroutine function", "Awaited in a coroutine; nothing suspends.", closed_async()),
        ("A refusal by an open breaker", "With the exception that is raised and caught.", open_refusals()),
        ("Breaker, limit and record in one pass", FUSED, fused()),
    ]


FUSED = (
    "The fused guard with our concurrency limit and a latency histogram; against it the cheapest and the most correct "
    "peer, each with a `BoundedSemaphore` and a `prometheus_client` histogram around it: a fixed limit, not an "
    "adaptive one, and, around circuitbreaker, a breaker that takes no lock and reads no clock."
)


def closed() -> Mapping[str, Case]:
    """One good call."""
    guard = Guard("ours")
    guard.tick()
    return {
        "bare call": _times(nothing),
        "`functools.wraps` around it": _times(_wrapped(nothing)),
        "**guard, decorated**": _times(guard(nothing)),
        "**guard.call**": _times(functools.partial(guard.call, nothing)),
        "circuitbreaker": _times(circuitbreaker.CircuitBreaker(name="closed")(nothing)),
        "purgatory": _times(purgatory.SyncCircuitBreakerFactory()("closed")(nothing)),
        "aiobreaker": _times(aiobreaker.CircuitBreaker()(nothing)),
        "pybreaker": _times(pybreaker.CircuitBreaker()(nothing)),
        "interlock-cb": _times(interlock.CircuitBreaker(name="closed")(nothing)),
    }


def closed_async() -> Mapping[str, Case]:
    """One good await."""
    guard = Guard("ours")
    guard.tick()
    return {
        "bare await": _awaits(nothing_async),
        "**guard, decorated**": _awaits(guard(nothing_async)),
        "circuitbreaker": _awaits(circuitbreaker.CircuitBreaker(name="async")(nothing_async)),
        "purgatory": _awaits(purgatory.AsyncCircuitBreakerFactory()("async")(nothing_async)),
        "aiobreaker": _awaits(aiobreaker.CircuitBreaker()(nothing_async)),
        "interlock-cb": _awaits(interlock.CircuitBreaker(name="async")(nothing_async)),
    }


def open_refusals() -> Mapping[str, Case]:
    """One refusal."""
    one_minute = dt.timedelta(seconds=COOLDOWN_S)
    breakers = {
        "**guard**": Guard("ours", BreakerConfig(failures_max=1, cooldown_s=COOLDOWN_S, cooldown_max_s=COOLDOWN_S)),
        "circuitbreaker": circuitbreaker.CircuitBreaker(1, COOLDOWN_S, name="open"),
        "purgatory": purgatory.SyncCircuitBreakerFactory(1, COOLDOWN_S)("open"),
        "aiobreaker": aiobreaker.CircuitBreaker(1, one_minute),
        "pybreaker": pybreaker.CircuitBreaker(1, COOLDOWN_S),
        "interlock-cb": interlock.CircuitBreaker(
            name="open", config=interlock.Config(minimum_number_of_calls=1, wait_duration_in_open=COOLDOWN_S)
        ),
    }
    return {name: _refusals(breaker(fails)) for name, breaker in breakers.items()}


def fused() -> Mapping[str, Case]:
    """One good call with everything around it."""
    histogram = Histogram()

    def record(_outcome: Outcome, took_s: float) -> None:
        histogram.record(took_s)

    limit = ConcurrencyLimit(ConcurrencyConfig(kind="gradient"))
    ours = Guard("ours", limit=limit, record=record)
    return {
        "bare call": _times(nothing),
        "**fused guard**": _times(ours(nothing)),
        "circuitbreaker + semaphore + prometheus": _times(_stacked(circuitbreaker.CircuitBreaker(name="stack"), "a")),
        "interlock-cb + semaphore + prometheus": _times(_stacked(interlock.CircuitBreaker(name="stack"), "b")),
    }


def nothing() -> None:
    """Do nothing."""


async def nothing_async() -> None:
    """Do nothing, in a coroutine."""


def fails() -> None:
    """Fail."""
    raise ConnectionError


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def _stacked(breaker: Any, name: str) -> Callable[[], Any]:
    registry = prometheus_client.CollectorRegistry()
    seconds = prometheus_client.Histogram(name, "Seconds.", registry=registry)
    places, guarded = threading.BoundedSemaphore(16), breaker(nothing)

    def call() -> Any:
        with places, seconds.time():
            return guarded()

    return call


def _times(function: Callable[[], Any]) -> Case:
    def case(times: int) -> None:
        for _ in itertools.repeat(None, times):
            function()

    return case


def _awaits(function: Callable[[], Awaitable[Any]]) -> Case:
    async def loop(times: int) -> None:
        for _ in itertools.repeat(None, times):
            await function()

    def case(times: int) -> None:
        with contextlib.suppress(StopIteration):
            loop(times).send(None)

    return case


def _refusals(guarded: Callable[[], Any]) -> Case:
    for _ in range(2):  # The first one opens it.
        with contextlib.suppress(Exception):
            guarded()

    def case(times: int) -> None:
        for _ in itertools.repeat(None, times):
            try:  # noqa: SIM105  # suppress costs more than what is measured
                guarded()
            except Exception:  # noqa: BLE001, S110  # each peer has a refusal of its own
                pass

    return case

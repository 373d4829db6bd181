"""What a call costs that is ready to be tried again, and need not be: beside the bare call and an empty wrapper.

Run it: .venv/bin/pytest tests/perf/test_recovery_speed.py
"""

from __future__ import annotations

import functools
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.adapters.classify import everything
from harness.adapters.retry import Retrying, make_recovery
from harness.core.classifier import Failure
from harness.core.failures import standard
from harness.core.retry_budget import BudgetConfig
from harness.errors import Kind
from harness.services.recovery import Policy, Recovery, RecoveryConfig, Retry

CALLS = 2_000
ROUNDS = 15
FREE = Policy(budget=BudgetConfig(share=1.0, retries_min=10**9, tokens_max=1e12), attempts_max=10**9)


def work() -> int:
    return 1


def wrapped(function: Callable[[], int]) -> Callable[[], int]:
    @functools.wraps(function)
    def through(*args: Any, **kwargs: Any) -> int:
        return function(*args, **kwargs)

    return through


async def work_async() -> int:
    return 1


def wrapped_async(function: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(function)
    async def through(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return through


def drive(function: Callable[[], Any]) -> Callable[[], None]:
    """Run a coroutine function that never waits, without a loop that would cost more than what is measured."""

    def run() -> None:
        try:
            function().send(None)
        except StopIteration:
            return

    return run


def ns_a_call(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median of interleaved rounds: what else the machine does meets all of them alike."""
    took: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            began = time.thread_time_ns()
            for _ in range(CALLS):
                function()
            took[name].append((time.thread_time_ns() - began) / CALLS)
    return {name: statistics.median(values) for name, values in took.items()}


@pytest.mark.parametrize("awaits", [False, True], ids=["def", "async def"])
def test_a_call_that_works(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], *, awaits: bool) -> None:
    retrying = Retrying(make_recovery(), "x")
    if awaits:
        ready = drive(retrying(work_async))
        ns = ns_a_call({"bare": drive(work_async), "wrapper": drive(wrapped_async(work_async)), "retrying": ready})
    else:
        ready = retrying(work)  # type: ignore[assignment]
        ns = ns_a_call({"bare": work, "wrapper": wrapped(work), "retrying": ready})
    benchmark(ready)
    ratio = ns["retrying"] / ns["wrapper"]
    benchmark.extra_info.update({**ns, "ratio_to_wrapper": round(ratio, 1)})
    with capsys.disabled():
        print(
            f"\n{', '.join(f'{name} {value:,.0f} ns' for name, value in ns.items())}: {ratio:.1f} x the empty wrapper"
        )
    assert ratio < 60, "stamina and tenacity are at more than a hundred"


def test_a_decision(benchmark: BenchmarkFixture) -> None:
    """The machine alone: one failure of a call under way, with the retry that it grants."""
    machine = Recovery(RecoveryConfig(policy=FREE), standard(), dice=random.Random(7))
    call, failure = machine.begin("x", 0.0), Failure(Kind.TRANSIENT, "gone")

    def decide() -> None:
        assert isinstance(machine.decide(call, failure, 1.0), Retry)

    benchmark(decide)


def test_recognising_an_error(benchmark: BenchmarkFixture) -> None:
    known, error = everything().close(), ConnectionResetError(104, "reset")
    assert benchmark(known.error, error).kind is Kind.AMBIGUOUS

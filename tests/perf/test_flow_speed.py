"""What flow control and capacity cost on the way of each message; as a multiple of one plain method call.

Run it: .venv/bin/pytest tests/perf/test_flow_speed.py --benchmark-columns=median,iqr,ops
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count
from timeit import Timer

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.core.scaling import PerBot, Target
from harness.services.autoscaler import Autoscaler, ScalerConfig
from harness.services.capacity import Capacity, CapacityConfig, Demand, Limits
from harness.services.concurrency_limit import ConcurrencyConfig, ConcurrencyLimit
from harness.services.rate_limit import TokenBucket, TokenBucketConfig, TokenBuckets
from harness.services.wait_queue import WaitQueue, WaitQueueConfig
from harness.services.water_marks import WaterMarks, WaterMarksConfig

FAST = TokenBucketConfig(rate_per_s=1e9, burst=1e6)


class Item:
    """A message."""


class Plain:
    """What everything is compared with: one call that changes one number."""

    def __init__(self) -> None:
        self.number = 0

    def add(self) -> None:
        """Count."""
        self.number += 1


def clock() -> Iterator[float]:
    """Give moments a millisecond apart."""
    return (number / 1000 for number in count())


def bucket() -> Callable[[], object]:
    """One token."""
    made, now = TokenBucket(FAST), clock()
    return lambda: made.take(next(now))


def buckets() -> Callable[[], object]:
    """One token of one of a thousand sessions."""
    made, now = TokenBuckets(FAST), clock()
    keys = [f"session {number}" for number in range(1_000)]
    numbers = count()
    return lambda: made.take(next(now), keys[next(numbers) % 1_000])


def fixed() -> Callable[[], object]:
    """A lease and its end, with a limit that stays."""
    return _limit("fixed")


def gradient() -> Callable[[], object]:
    """A lease and its end, with a limit that is found."""
    return _limit("gradient")


def _limit(kind: str) -> Callable[[], object]:
    made, now = ConcurrencyLimit(ConcurrencyConfig(kind=kind)), clock()  # type: ignore[arg-type]

    def call() -> None:
        lease = made.try_acquire(next(now))
        assert lease is not None
        made.settle(lease, next(now), signal_s=0.25)

    return call


def queue_empty() -> Callable[[], object]:
    """In, out and done, with nobody else waiting."""
    return _queue(0)


def queue_full() -> Callable[[], object]:
    """In, out and done, with ten thousand others waiting."""
    return _queue(10_000)


def _queue(waiting: int) -> Callable[[], object]:
    made = WaitQueue[Item](WaitQueueConfig(count_max=20_000, age_max_s=1e9), random.Random(1))
    now = clock()
    for _ in range(waiting):
        made.offer(Item(), 0.0)

    def call() -> None:
        made.offer(Item(), next(now), size=100)
        made.take(next(now))
        made.settled(next(now))

    return call


def door() -> Callable[[], object]:
    """One message against the limits of the whole."""
    made, now = Capacity(Limits(tasks_per_s=2_000), CapacityConfig(stale_after_s=1e9), random.Random(1)), clock()
    made.note(0.0, {"bots": 0, "memory_bytes": 0, "queue_count": 0, "queue_bytes": 0, "queue_age_s": 0})
    demand = Demand(tasks=1)

    def call() -> None:
        assert made.admit(next(now), demand) is None

    return call


def marks() -> Callable[[], object]:
    """One change of a buffer's level."""
    made = WaterMarks(WaterMarksConfig())
    return lambda: made.update(500)


def scaler() -> Callable[[], object]:
    """One decision for eight bots, with a history of five minutes."""
    made, now = Autoscaler(ScalerConfig(targets={"load": Target(value=10)})), count()
    return lambda: made.decide(float(next(now)), 8, {"load": PerBot([float(next(now) % 20)] * 8)})


PATHS = [bucket, buckets, fixed, gradient, queue_empty, queue_full, door, marks, scaler]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_price(benchmark: BenchmarkFixture, path: Callable[[], Callable[[], object]]) -> None:
    benchmark(path())
    if benchmark.stats is not None:
        benchmark.extra_info["times a plain call"] = round(benchmark.stats.stats.median / _price(Plain().add), 1)


def test_a_full_queue_is_not_slower_than_an_empty_one() -> None:
    """The price must not depend on how many wait; what is measured side by side is held to a ratio."""
    assert _price(queue_full()) < 5 * _price(queue_empty())


def _price(call: Callable[[], object]) -> float:
    """Seconds for one call: the best of many short rounds, for the machine has other things to do."""
    rounds = Timer(call).repeat(repeat=30, number=500)
    return min(rounds) / 500

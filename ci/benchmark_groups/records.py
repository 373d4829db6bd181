"""Benchmarks of one record: a number into a histogram, ours beside that of ``prometheus_client``."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping

import prometheus_client

from harness.core.series import SECONDS_BOUNDS
from harness.services.metrics import Metrics

Case = Callable[[int], object]
VALUES = tuple(random.Random(7).lognormvariate(-1.0, 1.0) for _ in range(1_000))
RECORD = (
    "A time in seconds into a series that is there already, both with the same buckets; ours gives percentiles with a "
    "stated error besides."
)


def groups() -> list[tuple[str, str, Mapping[str, Case]]]:
    """The only one."""
    return [("One record into a histogram", RECORD, records())]


def records() -> Mapping[str, Case]:
    """Values of a reply's times, one after the other."""
    theirs = prometheus_client.Histogram(
        "reply_seconds", "R.", ["bot"], registry=prometheus_client.CollectorRegistry(), buckets=SECONDS_BOUNDS
    )
    return {
        "**record**": _each(Metrics().histogram("chat_reply_seconds", "echo").record),
        "prometheus_client, `Histogram.observe`": _each(theirs.labels("echo").observe),
    }


def _each(record: Callable[[float], None]) -> Case:
    def case(times: int) -> None:
        for value in itertools.islice(itertools.cycle(VALUES), times):
            record(value)

    return case

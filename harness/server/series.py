"""Series: the answer to GET /api/series: one metric over a span of time, from memory and disk together.

In    a name of core/families.py, a span in Unix seconds, a step
Out   for each series the steps that have data, as columns; a step without data is not there
Rule  the coarsest tier whose step is at most 1/1500 of the span, or the next finer one that still has data; an answer
      holds at most POINTS_MAX points, and a span that would give more gets a longer step
Why   a chart is about 1,500 points wide: more would be read, sent and thrown away
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from harness.core.families import FAMILIES
from harness.core.point import HOURS, MINUTES, SECONDS, STEPS_S, Point, Row
from harness.core.series import Labels
from harness.core.track import RECENT_S
from harness.server.recorder import Recorder

WIDTH: Final = 1_500
POINTS_MAX: Final = 50_000
BREATH: Final = 2_000
"""Rows that are read from memory before others get their turn on the event loop."""
QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What is asked for: from ``first`` to ``last`` (Unix seconds); step 0: the fitting one."""

    name: str
    first: int
    last: int
    step: int = 0


async def answer(recorder: Recorder, span: Span) -> dict[str, Any]:
    """Give the columns of every series; ValueError if ``step`` is too short for the span, StoreError from the disk."""
    family = FAMILIES[span.name]
    store, memory = recorder.store, recorder.aggregator
    known = memory.count(span.name)
    if store is not None:
        known = max(known, await asyncio.to_thread(store.series, span.name))
    tier, step = _fitting(span, max(1, known), recorder, histogram=family.kind == "histogram")
    first, edge = span.first - span.first % step, memory.reach(tier)
    rows: list[Row] = []
    if store is not None and tier != SECONDS and first < edge:
        rows = await asyncio.to_thread(store.read, tier, first, min(span.last, edge - 1), span.name, 4 * POINTS_MAX)
    for number, row in enumerate(memory.rows(span.name, tier, max(first, edge), span.last)):
        rows.append(row)
        if number % BREATH == 0:
            await asyncio.sleep(0)
    series = await asyncio.to_thread(_columns, rows, step, histogram=family.kind == "histogram")
    return {
        "name": family.name,
        "kind": family.kind,
        "unit": family.unit,
        "from": first,
        "to": span.last,
        "step": step,
        "series": series,
    }


def _fitting(span: Span, series: int, recorder: Recorder, *, histogram: bool) -> tuple[int, int]:
    """Choose the tier to read and the step to give; ValueError if there would be too many points."""
    length = max(1, span.last - span.first)
    points = max(1, POINTS_MAX // series)
    shortest = -(-length // points)
    if span.step and span.step < shortest:
        raise ValueError(f"{series} series over {length} s have too many points: take a step of {shortest} or more")
    wanted = span.step or max(length // WIDTH, shortest)
    seconds_from = recorder.now() - RECENT_S if histogram else recorder.aggregator.reach(SECONDS)
    there = [tier for tier in (SECONDS, MINUTES, HOURS) if tier != SECONDS or span.first >= seconds_from]
    tier = max((tier for tier in there if STEPS_S[tier] <= wanted), default=there[0])
    unit = STEPS_S[tier]
    return tier, -(-max(span.step or shortest, unit) // unit) * unit


def _columns(rows: Iterable[Row], step: int, *, histogram: bool) -> list[dict[str, Any]]:
    steps: dict[Labels, dict[int, Point]] = {}
    for row in rows:
        points = steps.setdefault(row.labels, {})
        ts = row.ts - row.ts % step
        before = points.get(ts)
        points[ts] = row.point if before is None else before + row.point
    write = _histogram_columns if histogram else _plain_columns
    return [
        {"labels": dict(labels), "at": list(points), **write(list(points.values()))}
        for labels, points in sorted(steps.items())
    ]


def _plain_columns(points: list[Point]) -> dict[str, list[Any]]:
    return {
        "n": [point.n for point in points],
        "sum": [point.total for point in points],
        "min": [point.low for point in points],
        "max": [point.high for point in points],
        "last": [point.last for point in points],
    }


def _histogram_columns(points: list[Point]) -> dict[str, list[Any]]:
    found = [point.histogram if point.histogram is not None and point.histogram.n else None for point in points]
    return {
        "n": [point.n for point in points],
        "count": [int(point.total) for point in points],
        "sum": [None if one is None else one.total for one in found],
        "min": [None if one is None else one.low for one in found],
        "max": [None if one is None else one.high for one in found],
        **{name: [None if one is None else one.quantile(q) for one in found] for name, q in QUANTILES},
    }

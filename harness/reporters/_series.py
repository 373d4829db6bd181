"""Series: what happened in a case, cut into equal slices of time, for charts.

In    a Story
Out   for each slice the messages by fate and the response times; the states of breakers; the faults
Rule  at most 60 slices whatever the journal's size; an empty slice is a gap, never a zero response time
Why   a chart of 100,000 facts must stay a small piece of a page
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from harness.core.stats import percentile
from harness.core.story import FATES, Fate, Story

SLICES_MAX: Final = 60
SLICES_MIN: Final = 20
MESSAGES_A_SLICE: Final = 8
"""On average; with fewer the percentiles of a slice are single messages, and the chart is noise."""
_WIDTHS_S: Final = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """Equal slices from ``start``; every list has one item a slice."""

    start: float
    end: float
    width_s: float
    counts: dict[Fate, list[int]]
    """Messages by the moment when their fate was known; unanswered ones by the moment when they were sent."""
    p50_ms: list[float | None]
    p95_ms: list[float | None]

    def __len__(self) -> int:
        """How many slices."""
        return len(self.p50_ms)

    def times(self) -> list[tuple[float, float]]:
        """From when to when each slice lasts."""
        return [(self.start + n * self.width_s, self.start + (n + 1) * self.width_s) for n in range(len(self))]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in which something held: "open", "crash-loop"."""

    start: float
    end: float
    what: str


def slices(story: Story) -> Slices | None:
    """Cut a case; None if no message was sent."""
    began = story.load_began()
    if began is None:
        return None
    ends = _last_moment(story, began)
    most = min(SLICES_MAX, max(SLICES_MIN, len(story.messages) // MESSAGES_A_SLICE))
    width = next((w for w in _WIDTHS_S if (ends - began) / w < most - 1), _WIDTHS_S[-1])
    start = began // width * width
    count = min(10 * SLICES_MAX, int((ends - start) / width) + 1)
    counts: dict[Fate, list[int]] = {fate: [0] * count for fate in FATES}
    times: list[list[float]] = [[] for _ in range(count)]
    for message in story.sent():
        assert message.sent is not None, "sent() gives sent messages only"
        settled = message.settled
        at = min(count - 1, max(0, int(((message.sent if settled is None else settled) - start) / width)))
        counts[message.fate][at] += 1
        if message.replied is not None and message.intended is not None:
            times[at].append((message.replied - message.intended) * 1000.0)
    for each in times:
        each.sort()
    return Slices(
        start=start,
        end=start + count * width,
        width_s=width,
        counts=counts,
        p50_ms=[percentile(each, 0.5) if each else None for each in times],
        p95_ms=[percentile(each, 0.95) if each else None for each in times],
    )


def breaker_spans(story: Story, start: float, end: float) -> dict[str, list[Span]]:
    """Each breaker's states from start to end; breakers that never moved are left out."""
    lanes: dict[str, list[Span]] = {}
    for bot in sorted(story.calls):
        moves = story.moves(bot)
        if not moves:
            continue
        changes = [(start, moves[0][1].before), *((t, move.after) for t, move in moves), (max(end, moves[-1][0]), "")]
        lanes[bot] = [Span(t, until, state) for (t, state), (until, _) in pairwise(changes)]
    return lanes


def fault_spans(story: Story, end: float) -> list[tuple[str, Span]]:
    """Each fault as (bot, span), from its first hit (or its arming) to its end."""
    return [
        (fault.bot, Span(fault.hits[0] if fault.hits else fault.armed, fault.healed or end, fault.kind))
        for fault in story.faults
    ]


def _last_moment(story: Story, began: float) -> float:
    moments: list[float] = [began + 0.001]
    moments.extend(_present(message.settled for message in story.messages.values()))
    moments.extend(_present(message.sent for message in story.messages.values()))
    moments.extend(t for calls in story.calls.values() for t, _ in calls[-1:])
    moments.extend(_present(fault.healed for fault in story.faults))
    return max(moments)


def _present(times: Iterable[float | None]) -> Iterable[float]:
    return (time for time in times if time is not None)

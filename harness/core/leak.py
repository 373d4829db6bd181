"""Leak: whether a process keeps something for every message it handles.

In    counters after each cycle of load, drain and collection, over the number of messages so far
Out   one LeakVerdict for each process and counter
Rule  a leak needs all three: the counter grows (Mann-Kendall, p below 0.01), by more than its floor for each message
      (the lower end of the 98 % interval of the Theil-Sen slope), and has not levelled off (the second half grows at
      more than half of the whole slope). Resident memory is shown and never judged: it grows in healthy processes
Why   each condition alone calls healthy processes leaky: a warm-up grows, a cache fills, an allocator keeps pages
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.core.events import MemorySampled
from harness.core.stats import Slope, mann_kendall, theil_sen

FLOORS: Final[Mapping[str, float]] = {
    "blocks": 0.02,
    "objects": 0.02,
    "heap_bytes": 8.0,
    "handles": 0.01,
    "tasks": 0.01,
    "threads": 0.01,
}
"""What a counter may grow for each message: below this a slope cannot be told from creep."""
CYCLES_MIN: Final = 7
"""With fewer cycles no series can be significant at the levels used here."""
P_MAX: Final = 0.01
CONFIDENCE: Final = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakVerdict:
    """One counter of one process."""

    subject: str
    counter: str
    slope_per_message: float
    low: float
    high: float
    """The slope and the ends of its 98 % interval."""
    p: float
    """How likely a series without a trend looks like this one."""
    floor: float | None
    """The growth that is still no leak; None: this counter is shown, but never judged."""
    plateau: bool
    """It grew, but levelled off: a cache that filled, a pool that warmed up."""
    leaking: bool
    messages: tuple[int, ...]
    values: tuple[int, ...]
    """The judged cycles: messages so far, and the counter."""

    @property
    def text(self) -> str:
        """Say the finding in words."""
        grows = f"{self.slope_per_message:+.4g} a message (98 % sure: {self.low:.4g} to {self.high:.4g})"
        if self.floor is None:
            return f"{grows}; shown, never judged"
        if self.leaking:
            return f"leaks: {grows}, may grow by {self.floor:g}"
        return f"levelled off: {grows}" if self.plateau else f"no leak: {grows}"


def judge_leaks(samples: Sequence[MemorySampled], *, cycles: int) -> tuple[LeakVerdict, ...]:
    """Judge the last ``cycles`` samples of every process; a process with too few of them has no verdict."""
    found: list[LeakVerdict] = []
    for subject in dict.fromkeys(sample.subject for sample in samples):
        own = [sample for sample in samples if sample.subject == subject][-cycles:]
        if len(own) < CYCLES_MIN:
            continue
        for counter in own[0].counters:
            points = [(s.messages, s.counters[counter]) for s in own if counter in s.counters]
            if len(points) >= CYCLES_MIN and len({messages for messages, _ in points}) > 1:
                found.append(_judge(subject, counter, points))
    return tuple(found)


def _judge(subject: str, counter: str, points: Sequence[tuple[int, int]]) -> LeakVerdict:
    messages, values = tuple(m for m, _ in points), tuple(v for _, v in points)
    whole = theil_sen(messages, values, confidence=CONFIDENCE)
    p = mann_kendall(values)
    floor = FLOORS.get(counter)
    limit = math.inf if floor is None else floor
    grows = p < P_MAX and whole.low > limit
    plateau = grows and _second_half(messages, values).slope <= whole.slope / 2.0
    return LeakVerdict(
        subject=subject,
        counter=counter,
        slope_per_message=whole.slope,
        low=whole.low,
        high=whole.high,
        p=p,
        floor=floor,
        plateau=plateau,
        leaking=grows and not plateau,
        messages=messages,
        values=values,
    )


def _second_half(messages: Sequence[int], values: Sequence[int]) -> Slope:
    half = len(messages) // 2
    return theil_sen(messages[half:], values[half:], confidence=CONFIDENCE)

"""Leak: whether a process keeps something for every message it handles.

In    counters after each cycle of load, drain and collection, over the number of messages so far
Out   one LeakVerdict for each process and counter; or why the cycles prove nothing
Rule  a leak needs all three: the counter grows (Mann-Kendall, p below 0.01), by more than its floor for each message
      (the lower end of the 98 % interval of the Theil-Sen slope), and goes on growing: its second half, too, is above
      the floor. Resident memory is shown and never judged: it grows in healthy processes
Why   each condition alone calls healthy processes leaky: a warm-up grows, a cache fills, an allocator keeps pages

    the second half, by its own slope and interval      is
    the whole interval is at or below the floor         levelled off
    the whole interval is above the floor               a leak, however much faster the beginning was
    above the floor, and not much slower than before    a leak
    at or below the floor, but the interval reaches up  still settling: no leak was seen
    above the floor, but slower than half of the whole  unclear: no verdict, more warm-up or more cycles settle it
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

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
HALF_MIN: Final = 5
"""The second half has at least so many points, for fewer have no interval."""
P_MAX: Final = 0.01
CONFIDENCE: Final = 0.98
ANSWERED_MIN: Final = 0.95
"""What was refused or failed leaves nothing behind that a reply would have left."""

Trend = Literal["steady", "leaking", "levelled off", "settling", "unclear"]


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
    trend: Trend
    """What it does; ``plateau`` and ``leaking`` are two of these. Unclear: whether it leaks cannot be told."""
    late_slope: float
    late_low: float
    late_high: float
    """The slope of the second half alone, and the ends of its interval."""
    messages: tuple[int, ...]
    values: tuple[int, ...]
    """The judged cycles: messages so far, and the counter."""

    @property
    def text(self) -> str:
        """Say the finding in words."""
        grows = f"{self.slope_per_message:+.4g} a message (98 % sure: {self.low:.4g} to {self.high:.4g})"
        if self.floor is None:
            return f"{grows}; shown, never judged"
        late = f"in the second half {self.late_slope:+.4g} ({self.late_low:.4g} to {self.late_high:.4g})"
        match self.trend:
            case "leaking":
                return f"leaks: {grows}, may grow by {self.floor:g}"
            case "levelled off":
                return f"levelled off: {grows}, {late}"
            case "settling":
                return f"no leak, but still settling: {grows}, {late}"
            case "unclear":
                return f"unclear: {grows}, {late}, may grow by {self.floor:g}; raise memory.warm_up or memory.cycles"
        return f"no leak: {grows}"


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


def unjudgeable(samples: Sequence[MemorySampled], *, subjects: Sequence[str], cycles: int) -> str:
    """Say why the judged cycles prove nothing about the cast; empty if they do.

    ``subjects`` are the service and every bot: each must be in every cycle, as one and the same process, and have
    answered nearly everything in between.
    """
    for subject in subjects:
        own = {sample.cycle: sample for sample in samples if sample.subject == subject and sample.cycle >= 0}
        seen = sum(cycle in own for cycle in range(cycles))
        if seen < cycles:
            return f"{subject} was measured in {seen} of {cycles} cycles"
        judged = [own[cycle] for cycle in range(cycles)]
        if len({sample.pid for sample in judged}) > 1:
            return f"{subject} was started again between the cycles: what it kept went with the process before"
        first, last = judged[0], judged[-1]
        messages = last.messages - first.messages
        if messages <= 0:
            return f"{subject} got no message after the first cycle"
        # None: a journal of a version that did not count them.
        answered = messages if first.answered is None or last.answered is None else last.answered - first.answered
        if answered < ANSWERED_MIN * messages:
            return (
                f"of {messages} messages to {subject} only {answered} were answered; "
                f"a leak check needs {ANSWERED_MIN:.0%} of them"
            )
    return ""


def unclear(verdicts: Sequence[LeakVerdict]) -> str:
    """Name the counter of which nobody can say whether it leaks; empty if there is none, or a leak beside it."""
    if any(verdict.leaking for verdict in verdicts):
        return ""
    return next((f"{one.subject} {one.counter} {one.text}" for one in verdicts if one.trend == "unclear"), "")


def _judge(subject: str, counter: str, points: Sequence[tuple[int, int]]) -> LeakVerdict:
    messages, values = tuple(m for m, _ in points), tuple(v for _, v in points)
    whole = theil_sen(messages, values, confidence=CONFIDENCE)
    p = mann_kendall(values)
    floor = FLOORS.get(counter)
    limit = math.inf if floor is None else floor
    late = _second_half(messages, values)
    trend = _trend(whole, late, limit) if p < P_MAX and whole.low > limit else "steady"
    return LeakVerdict(
        subject=subject,
        counter=counter,
        slope_per_message=whole.slope,
        low=whole.low,
        high=whole.high,
        p=p,
        floor=floor,
        plateau=trend == "levelled off",
        leaking=trend == "leaking",
        trend=trend,
        late_slope=late.slope,
        late_low=late.low,
        late_high=late.high,
        messages=messages,
        values=values,
    )


def _trend(whole: Slope, late: Slope, floor: float) -> Trend:
    """Tell what something does that has surely grown."""
    if late.high <= floor:
        return "levelled off"
    if late.low > floor:
        return "leaking"
    if late.slope <= floor:
        return "settling"
    # Not sure by itself. Who did not even slow down is what the whole series says; who did may stop, or may not.
    return "leaking" if late.slope > whole.slope / 2.0 else "unclear"


def _second_half(messages: Sequence[int], values: Sequence[int]) -> Slope:
    half = min(len(messages) // 2, len(messages) - HALF_MIN)
    if len(set(messages[half:])) == 1:
        return Slope(0.0, -math.inf, math.inf)
    return theil_sen(messages[half:], values[half:], confidence=CONFIDENCE)

"""Bounds: a figure against what it must keep, in words that a person understands.

In    a figure, its bound, its value and the evidence behind it
Out   a Finding: "messages_lost is 2, must be at most 0: u3-17 (session s3), u4-2 (session s4)"
Rule  the words never contradict the outcome: digits are added until value and limit read differently
Why   the first line of a failed run is all that most people read
"""

from __future__ import annotations

import math
from typing import Final

from harness.core.figures import Figure
from harness.core.measures import Measures
from harness.core.scenario import Bound
from harness.core.verdict import Finding, Outcome

EVIDENCE_MAX: Final = 5
_SPOKEN: Final = frozenset({"ms", "s", "1/s"})


def held(figure: Figure, bound: Bound, value: float, measures: Measures) -> Finding:
    """Hold a figure against its bound."""
    low, high = bound.min, bound.max
    holds = (low is None or value >= low) and (high is None or value <= high)
    evidence = measures.evidence.get(figure.name, ())
    text = f"{figure.name} {_against(figure, bound, value)}"
    samples = measures.samples.get(figure.name, 0)
    if samples and not figure.name.endswith("max") and samples * (1 - int(figure.name[-2:]) / 100) < 1:
        text += " (of one value)" if samples == 1 else f" (of only {samples} values: it is the largest)"
    # Evidence belongs to a broken limit; for a bound from below that broke, what is missing cannot be named.
    if evidence and ((not holds and high is not None and value > high) or (holds and figure.memory)):
        shown, more = ", ".join(evidence[:EVIDENCE_MAX]), len(evidence) - EVIDENCE_MAX
        text += f": {shown}" + (f" and {more} more" if more > 0 else "")
    return Finding(
        figure=figure.name,
        text=text,
        outcome=Outcome.PASS if holds else Outcome.FAIL,
        bound=bound,
        value=value,
        evidence=evidence[:EVIDENCE_MAX],
    )


def _against(figure: Figure, bound: Bound, value: float) -> str:
    unit = f" {figure.unit}" if figure.unit in _SPOKEN else ""
    low, high = bound.min, bound.max
    # 812.3 against a limit of 812 must not read "is 812, must be at most 812".
    exact = any(limit is not None and value != limit and _seen(value) == _seen(limit) for limit in (low, high))
    told = "never happened" if math.isinf(value) else f"is {repr(value) if exact else number(value)}{unit}"
    if low is not None and high is not None:
        must = f"{number(low)}{unit}" if low == high else f"from {number(low)} to {number(high)}{unit}"
        return f"{told}, must be {must}"
    if high is not None:
        return f"{told}, must be at most {number(high)}{unit}"
    assert low is not None, "a bound has at least one side"
    return f"{told}, must be at least {number(low)}{unit}"


def _seen(value: float) -> float:
    """The value that a reader of ``number`` sees."""
    return value if math.isinf(value) else float(number(value).replace(",", ""))


def number(value: float) -> str:
    """Write a number as short as it can be without misleading."""
    if math.isinf(value):
        return "never"
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 1_000:  # noqa: PLR2004 - three or four digits say enough
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004

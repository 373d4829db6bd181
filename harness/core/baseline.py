"""Baseline: the reviewed figures of an earlier run, and what has changed since.

In    a verdict; for a comparison also a baseline (plain JSON, schema 1)
Out   ``baseline_of``: the mapping to keep; ``compare``: one Row for each figure, and what it all means
Rule  only what repeats may fail: figures that unchanged code gives again (in simulated time all of them, elsewhere
      counts such as lost messages). Other timings are shown and never judged: one run cannot tell noise from change.
      Only when one is at least twice as bad the comparison says so, as inconclusive. A figure that repeats and changed
      without being better or worse is no verdict either: somebody must look
Why   a stored time with a narrow limit fails unchanged builds on a busy machine, and teaches people to look away
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from harness.core.events import MachineSeen
from harness.core.figures import FIGURES, Figure
from harness.core.scenario import Scenario
from harness.core.verdict import CaseVerdict, Outcome, Verdict
from harness.errors import EXIT_FAILED, EXIT_NO_VERDICT, EXIT_PASS, NoVerdictError

SCHEMA: Final = 1
WIDE: Final = 2.0
"""A timing this many times worse than its baseline is more than the usual noise, and still no proof."""
SAME_SHARE: Final = 1e-6
"""Repeated values may differ by this share: floats, not behaviour."""


class Change(StrEnum):
    """What became of one figure."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"
    CHANGED = "changed"
    NOT_JUDGED = "not judged"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"
    NO_BASELINE = "no baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one case."""

    case: str
    distance: str
    figure: str
    base: float | None
    now: float | None
    change_percent: float | None
    """How far ``now`` is from ``base``; None if either is missing, or base is 0."""
    change: Change
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A run against a baseline."""

    rows: tuple[Row, ...]
    outcome: Outcome
    exit_code: int
    reasons: tuple[str, ...]
    """Why it is not a plain pass, in words."""


def baseline_of(verdict: Verdict) -> dict[str, Any]:
    """Turn a run that passed into a baseline; NoVerdictError if it did not."""
    for case in verdict.cases:
        if case.outcome is not Outcome.PASS:
            raise NoVerdictError(
                f"{verdict.run} cannot become a baseline: {case.title()} is {case.outcome}, not pass ({case.why()})"
            )
    if not verdict.cases:
        raise NoVerdictError(f"{verdict.run} cannot become a baseline: it holds no case")
    return {
        "schema": SCHEMA,
        "run": verdict.run,
        "machine": machine_of(verdict.machine),
        "cases": {
            case.title(): {
                "case": case.case,
                "distance": case.distance,
                "seed": case.seed,
                "scenario": digest(case.scenario),
                "figures": {name: _plain(value) for name, value in case.figures.items()},
            }
            for case in verdict.cases
        },
    }


def compare(verdict: Verdict, baseline: Mapping[str, Any]) -> Comparison:
    """Hold every figure of a run against its baseline."""
    if baseline.get("schema") != SCHEMA:
        reason = f"the baseline has schema {baseline.get('schema')!r}, this version reads {SCHEMA}"
        return Comparison(rows=(), outcome=Outcome.NO_VERDICT, exit_code=EXIT_NO_VERDICT, reasons=(reason,))
    here = machine_of(verdict.machine)
    rows: list[Row] = []
    reasons: list[str] = []
    for case in verdict.cases:
        if case.outcome is Outcome.ERROR or case.outcome is Outcome.NO_VERDICT:
            reasons.append(f"{case.title()} has no verdict of its own: {case.why()}")
            continue
        base = baseline.get("cases", {}).get(case.title())
        problem = _incomparable(case, base)
        if problem:
            reasons.append(f"{case.title()}: {problem}")
        # A baseline that was put together may hold cases of several machines; each says of which one.
        there = (base or {}).get("machine", baseline.get("machine"))
        if here != there and (moved := f"another machine: {_told(there)} then, {_told(here)} now") not in reasons:
            reasons.append(moved)
        rows.extend(_rows(case, base, comparable=not problem, same_machine=here == there))
    known = {case.title() for case in verdict.cases}
    reasons.extend(
        f"{title} is in the baseline, but not in this run" for title in baseline.get("cases", {}) if title not in known
    )
    return _sum_up(tuple(rows), reasons)


def machine_of(machine: MachineSeen | None) -> dict[str, Any] | None:
    """Give what must be the same for two runs to be comparable: system, processor, cores and Python's minor version."""
    if machine is None:
        return None
    return {
        "system": machine.system,
        "cpu": machine.cpu,
        "cores": machine.cores,
        "python": ".".join(machine.python.split(".")[:2]),
    }


def digest(scenario: Scenario | None) -> str:
    """Give a fingerprint of what a scenario does; its words and its bounds do not count."""
    if scenario is None:
        return ""
    data = asdict(scenario)
    for name in ("name", "why", "expect", "distances", "seed"):
        del data[name]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _incomparable(case: CaseVerdict, base: Mapping[str, Any] | None) -> str:
    if base is None:
        return "no baseline"
    if base["scenario"] != digest(case.scenario):
        return "the scenario has changed since the baseline"
    if base["seed"] != case.seed:
        return f"seed {case.seed}, the baseline has {base['seed']}"
    return ""


def _rows(case: CaseVerdict, base: Mapping[str, Any] | None, *, comparable: bool, same_machine: bool) -> Iterator[Row]:
    then: Mapping[str, float | None] = base["figures"] if base else {}
    for name, figure in FIGURES.items():
        if name not in case.figures and name not in then:
            continue
        old = _read(then[name]) if name in then else None
        new = case.figures.get(name)
        if base is None:
            change, why = Change.NO_BASELINE, ""
        elif not comparable:
            change, why = Change.NOT_COMPARABLE, ""
        else:
            change, why = _change(figure, case.distance, old, new, same_machine=same_machine)
        yield Row(
            case=case.case,
            distance=case.distance,
            figure=name,
            base=old,
            now=new,
            change_percent=_percent(old, new),
            change=change,
            why=why,
        )


def _change(
    figure: Figure, distance: str, old: float | None, new: float | None, *, same_machine: bool
) -> tuple[Change, str]:
    repeats = figure.repeats == "everywhere" or distance == "simulated"
    if old is None:
        return Change.NO_BASELINE, "the baseline has no such figure"
    if new is None:
        return (Change.WORSE if repeats else Change.INCONCLUSIVE), "it was measured then, and is missing now"
    if not repeats and not same_machine:
        return Change.NOT_COMPARABLE, "another machine"
    if _near(old, new, figure.margin):
        return Change.SAME, ""
    if figure.better == "none":
        if repeats:
            return Change.CHANGED, "unchanged code gives the same again"
        return Change.NOT_JUDGED, "one run cannot tell noise from change"
    worse = (new > old) == (figure.better == "lower")
    if repeats or figure.repeats == "machine":
        return (Change.WORSE if worse else Change.BETTER), ""
    if worse and _times(old, new) >= WIDE:
        return Change.INCONCLUSIVE, f"at least {WIDE:g} times as bad; run both versions side by side to know"
    return Change.NOT_JUDGED, "one run cannot tell noise from change"


def _sum_up(rows: tuple[Row, ...], reasons: list[str]) -> Comparison:
    for row in rows:
        if row.change in {Change.WORSE, Change.CHANGED, Change.INCONCLUSIVE}:
            told = f"{row.figure} was {_short(row.base)}, is {_short(row.now)}"
            reasons.append(f"{row.case} {row.distance}: {row.change}: {told}" + (f" ({row.why})" if row.why else ""))
    if any(row.change is Change.WORSE for row in rows):
        outcome, code = Outcome.FAIL, EXIT_FAILED
    elif reasons or not rows:
        outcome, code = Outcome.NO_VERDICT, EXIT_NO_VERDICT
    else:
        outcome, code = Outcome.PASS, EXIT_PASS
    # The reason that decides comes first.
    reasons.sort(key=lambda reason: f": {Change.WORSE}:" not in reason)
    return Comparison(rows=rows, outcome=outcome, exit_code=code, reasons=tuple(reasons))


def _near(old: float, new: float, margin: float) -> bool:
    if math.isinf(old) or math.isinf(new):
        return old == new
    return abs(new - old) <= max(margin, SAME_SHARE * abs(old))


def _times(old: float, new: float) -> float:
    low, high = sorted((abs(old), abs(new)))
    return math.inf if low == 0 else high / low


def _percent(old: float | None, new: float | None) -> float | None:
    if old is None or new is None or old == 0 or math.isinf(old) or math.isinf(new):
        return None
    return (new - old) / abs(old) * 100.0


def _plain(value: float) -> float | None:
    """JSON knows no infinity: what never happened is null."""
    return None if math.isinf(value) else value


def _read(value: float | None) -> float:
    return math.inf if value is None else value


def _short(value: float | None) -> str:
    if value is None:
        return "missing"
    return "never" if math.isinf(value) else f"{value:,.6g}"


def _told(machine: Mapping[str, Any] | None) -> str:
    if not machine:
        return "an unknown machine"
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"

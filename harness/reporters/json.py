"""JSON: the whole verdict for programs, schema 1 (docs/reference/report.schema.json)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from harness.core.events import Entry
from harness.core.figures import FIGURES
from harness.core.leak import LeakVerdict
from harness.core.scenario import Bound
from harness.core.verdict import CaseVerdict, Finding, Verdict

__all__ = ["Json"]

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Json:
    """Every case with its findings, figures, histogram of response times and leak verdicts."""

    indent: int = 1
    """Spaces a level is moved in; 0 writes a line for each value without any."""

    def render(self, verdict: Verdict, _entries: Sequence[Entry]) -> Mapping[str, bytes]:
        """Give ``report.json``: ASCII, so no reader can get its encoding wrong."""
        text = json.dumps(_report(verdict), indent=self.indent, allow_nan=False)
        return {"report.json": text.encode("ascii") + b"\n"}


def _report(verdict: Verdict) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "run": verdict.run,
        "outcome": str(verdict.outcome),
        "exit_code": verdict.exit_code,
        "title": verdict.title(),
        "machine": None if verdict.machine is None else asdict(verdict.machine),
        "notes": list(verdict.notes),
        "cases": [_case(case) for case in verdict.cases],
    }


def _case(case: CaseVerdict) -> dict[str, Any]:
    return {
        "case": case.case,
        "distance": case.distance,
        "seed": case.seed,
        "name": "" if case.scenario is None else case.scenario.name,
        "why_it_matters": "" if case.scenario is None else case.scenario.why,
        "outcome": str(case.outcome),
        "exit_code": case.exit_code,
        "reason": case.why(),
        "problem": case.problem,
        "duration_s": round(case.duration_s, 6),
        "findings": [_finding(finding) for finding in case.findings],
        "figures": {
            name: {"value": _finite(value), "unit": FIGURES[name].unit, "better": FIGURES[name].better}
            for name, value in case.figures.items()
        },
        "response_ms": None if case.response is None else case.response.encode(),
        "leaks": [_leak(leak) for leak in case.leaks],
        "culprits": [asdict(culprit) for culprit in case.culprits],
        "notes": list(case.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "figure": finding.figure,
        "outcome": None if finding.outcome is None else str(finding.outcome),
        "text": finding.text,
        "bound": None if finding.bound is None else _bound(finding.bound),
        "value": None if finding.value is None else _finite(finding.value),
        "evidence": list(finding.evidence),
    }


def _bound(bound: Bound) -> dict[str, float | None]:
    return {"min": _finite(bound.min), "max": _finite(bound.max)}


def _leak(leak: LeakVerdict) -> dict[str, Any]:
    data = asdict(leak)
    return {name: _finite(value) if isinstance(value, float) else value for name, value in data.items()}


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity: what never happened, and the open end of an interval, are null."""
    return None if value is None or not math.isfinite(value) else value

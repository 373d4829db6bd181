"""JUnit: the verdict for CI tools; one test case for each case of the run, in junit.xml.

A failed case is a ``failure``, one that could not be carried out an ``error``, one without a verdict is ``skipped``
with its reason: tools show all three apart. The exit code stays the judge: a run without a verdict ends with 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from harness.core.events import Entry
from harness.core.verdict import CaseVerdict, Outcome, Verdict
from harness.reporters._words import SIGNS, clean, figure_text, one_line

__all__ = ["Junit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Junit:
    """XML as Jenkins, GitLab, GitHub actions and others read it."""

    suite: str = "harness"
    """The name under which tools list the run."""

    def render(self, verdict: Verdict, _entries: Sequence[Entry]) -> Mapping[str, bytes]:
        """Give ``junit.xml``: well-formed whatever stands in the messages."""
        return {"junit.xml": ("\n".join(self._lines(verdict)) + "\n").encode("utf-8")}

    def _lines(self, verdict: Verdict) -> Iterator[str]:
        counts = (
            f'tests="{len(verdict.cases)}" failures="{verdict.count(Outcome.FAIL)}" '
            f'errors="{verdict.count(Outcome.ERROR)}" skipped="{verdict.count(Outcome.NO_VERDICT)}" '
            f'time="{sum(case.duration_s for case in verdict.cases):.3f}"'
        )
        yield '<?xml version="1.0" encoding="UTF-8"?>'
        yield f'<testsuites name="{_attribute(self.suite)}" {counts}>'
        yield f' <testsuite name="{_attribute(f"{self.suite} {verdict.run}")}" {counts}>'
        if verdict.machine is not None:
            yield "  <properties>"
            for name in ("harness", "python", "system", "cpu", "cores", "memory_mb"):
                value = _attribute(getattr(verdict.machine, name))
                yield f'   <property name="machine.{name}" value="{value}"/>'
            yield "  </properties>"
        for case in verdict.cases:
            yield from _case(case)
        yield " </testsuite>"
        yield "</testsuites>"


def _case(case: CaseVerdict) -> Iterator[str]:
    classname = _attribute(case.case.replace("/", "."))
    yield f'  <testcase classname="{classname}" name="{_attribute(case.distance)}" time="{case.duration_s:.3f}">'
    findings = "\n".join(f"{SIGNS[finding.outcome]} {one_line(finding.text)}" for finding in case.findings)
    why = _attribute(case.why())
    match case.outcome:
        case Outcome.FAIL:
            yield f'   <failure type="fail" message="{why}">{_text(findings)}</failure>'
        case Outcome.ERROR:
            yield f'   <error type="exit-code-{case.exit_code}" message="{why}">{_text(case.problem)}</error>'
        case Outcome.NO_VERDICT:
            yield f'   <skipped message="no verdict: {why}"/>'
        case Outcome.PASS:
            pass
    figures = "\n".join(f"{name}: {figure_text(name, value)}" for name, value in case.figures.items())
    notes = "\n".join(f"note: {one_line(note)}" for note in case.notes)
    told = "\n\n".join(part for part in (f"seed {case.seed}", findings, figures, notes) if part)
    yield f"   <system-out>{_text(told)}</system-out>"
    yield "  </testcase>"


def _attribute(text: object) -> str:
    return escape(one_line(text), quote=True)


def _text(text: object) -> str:
    return escape(clean(text), quote=False)

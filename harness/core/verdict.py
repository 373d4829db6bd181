"""Verdict: the values in which a judgement is handed on.

In    nothing: this file only names things
Out   Verdict -> CaseVerdict -> Finding, all frozen
Rule  every finding carries its words: whoever shows it adds nothing and guesses nothing
Why   console, HTML, JSON, Markdown and JUnit say the same thing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from harness.core.events import AllocatorFound, MachineSeen
from harness.core.histogram import Histogram
from harness.core.leak import LeakVerdict
from harness.core.scenario import Bound, Scenario


class Outcome(StrEnum):
    """How a case, a finding or a whole run ended."""

    PASS = "pass"  # noqa: S105  # a result, not a password
    FAIL = "fail"
    NO_VERDICT = "no-verdict"
    ERROR = "error"


HEADS: Final = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.NO_VERDICT: "no verdict",
    Outcome.ERROR: "error",
}
"""Outcomes as they stand in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    figure: str
    """The figure's name; "" for what no figure says (a fault that was not delivered)."""
    text: str
    """The whole finding in words: value, bound and the smallest evidence."""
    outcome: Outcome | None
    """None: listed for the reader, weighs nothing."""
    bound: Bound | None = None
    value: float | None = None
    """``inf`` means that it never happened before the case ended."""
    evidence: tuple[str, ...] = ()
    """The first few culprits: message ids, transitions, steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVerdict:
    """One scenario at one distance."""

    case: str
    """How the scenario is called on the command line."""
    distance: str
    seed: int
    outcome: Outcome
    exit_code: int
    scenario: Scenario | None
    """None: the journal holds a scenario that this version cannot read."""
    problem: str = ""
    """Why the case could not be carried out, in the words of whoever noticed."""
    findings: tuple[Finding, ...] = ()
    """What matters most first: failed, without verdict, passed, neutral."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Every figure that could be computed, in the order of ``FIGURES``."""
    notes: tuple[str, ...] = ()
    leaks: tuple[LeakVerdict, ...] = ()
    culprits: tuple[AllocatorFound, ...] = ()
    response: Histogram | None = None
    """The response times (ms) after the warm-up, to be added up or compared elsewhere."""
    duration_s: float = 0.0
    """From start to end of the case; at the simulated distance these are virtual seconds."""

    def title(self) -> str:
        """What people call it: scenario and distance."""
        return f"{self.case} {self.distance}"

    def why(self) -> str:
        """The one sentence that explains the outcome."""
        if self.problem:
            return self.problem
        if self.findings and self.findings[0].outcome not in (None, Outcome.PASS):
            broken = sum(finding.outcome is Outcome.FAIL for finding in self.findings)
            return self.findings[0].text + (f" (and {broken - 1} more)" if broken > 1 else "")
        held = sum(finding.outcome is Outcome.PASS for finding in self.findings)
        return f"all {held} expectations held" if held > 1 else "its expectation held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One run: all its cases, in the order in which they ran."""

    run: str
    machine: MachineSeen | None
    cases: tuple[CaseVerdict, ...]
    outcome: Outcome
    exit_code: int
    notes: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """How many cases ended like this."""
        return sum(case.outcome is outcome for case in self.cases)

    def title(self) -> str:
        """The verdict in one line: "passed: 6 cases", "failed: 1 of 6 cases failed, 1 without a verdict"."""
        total = len(self.cases)
        if not total:
            return "no verdict: the journal holds no case"
        if self.outcome is Outcome.PASS:
            return "passed: " + ("the only case" if total == 1 else f"all {total} cases")
        words = (
            (Outcome.FAIL, "failed"),
            (Outcome.ERROR, "could not be carried out"),
            (Outcome.NO_VERDICT, "without a verdict"),
        )
        parts = [(self.count(outcome), text) for outcome, text in words if self.count(outcome)]
        (number, text), *rest = parts
        head = f"{HEADS[self.outcome]}: {number} of {total} {'case' if total == 1 else 'cases'}"
        if self.outcome is Outcome.ERROR:
            head += f" {text}"
        elif self.outcome is Outcome.NO_VERDICT:
            head += " proves nothing" if number == 1 else " prove nothing"
        return head + "".join(f", {number} {text}" for number, text in rest)

"""Console: the verdict for a terminal, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from harness.core.events import Entry
from harness.core.verdict import CaseVerdict, Outcome, Verdict
from harness.reporters._words import HEADS_WIDTH, WORDS, lasted, one_line, summary, worst_first

__all__ = ["Console"]

_COLUMNS: Final = 100
_NAME_MAX: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Plain text: one case a line, the worst first, then the verdict."""

    notes_max: int = 5
    """Remarks that are shown; all of them stand in the other reports."""

    def render(self, verdict: Verdict, _entries: Sequence[Entry]) -> Mapping[str, bytes]:
        """Give ``summary.txt``."""
        return {"summary.txt": ("\n".join(self._lines(verdict)) + "\n").encode()}

    def _lines(self, verdict: Verdict) -> Iterator[str]:
        cases = worst_first(verdict)
        width = min(_NAME_MAX, max((len(one_line(case.title())) for case in cases), default=0))
        for case in cases:
            yield from _case(case, width)
        notes = [*verdict.notes, *(f"{case.title()}: {note}" for case in verdict.cases for note in case.notes)]
        for note in notes[: self.notes_max]:
            yield from _hung("note  ", one_line(note))
        if len(notes) > self.notes_max:
            yield f"note  {len(notes) - self.notes_max} more in report.md"
        if cases:
            yield ""
        yield from wrap(one_line(verdict.title()), _COLUMNS)


def _case(case: CaseVerdict, width: int) -> Iterator[str]:
    word = WORDS[case.outcome] if case.outcome is Outcome.PASS else WORDS[case.outcome].upper()
    name = one_line(case.title())
    head = f"{word:<{HEADS_WIDTH}}  {name:<{width}}  "
    if len(name) > width:
        yield from _hung(f"{word:<{HEADS_WIDTH}}  ", name)
        head = " " * (HEADS_WIDTH + width + 4)
    yield from _hung(head, summary(case))
    if case.outcome is not Outcome.PASS:
        for finding in [finding for finding in case.findings if finding.outcome is case.outcome][1:4]:
            if not case.problem:
                yield from _hung(" " * len(head), one_line(finding.text))
        yield from _hung(" " * len(head), f"({lasted(case)}, seed {case.seed})")


def _hung(head: str, text: str) -> Iterator[str]:
    lines = wrap(text, max(20, _COLUMNS - len(head)), break_long_words=True) or [""]
    yield (head + lines[0]).rstrip()
    for line in lines[1:]:
        yield " " * len(head) + line

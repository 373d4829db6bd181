"""HTML: the whole run on one page that needs nothing else: no network, no script; charts are drawn in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.core import story as stories
from harness.core.events import Entry
from harness.core.scenario import folder_of
from harness.core.story import Story
from harness.core.verdict import CaseVerdict, Outcome, Verdict
from harness.reporters import _sections as sections
from harness.reporters._charts import text
from harness.reporters._style import CSS, PATTERNS
from harness.reporters._timeline import distribution, timeline
from harness.reporters._words import SIGNS, machine_rows, main_figures, one_line, worst_first

__all__ = ["Html"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Html:
    """Verdict, cases, charts over time, memory, browser steps with their pictures, the machine."""

    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """PNG files by their path in the run's folder, or by the name that a step gives."""

    def render(self, verdict: Verdict, entries: Sequence[Entry]) -> Mapping[str, bytes]:
        """Give ``report.html``."""
        told = stories.read(entries).stories
        # The same journal gives as many stories as cases; a verdict shown alone has no charts.
        by_case = dict(zip(map(id, verdict.cases), told, strict=False)) if len(told) == len(verdict.cases) else {}
        return {"report.html": "".join(self._page(verdict, by_case)).encode("utf-8")}

    def _page(self, verdict: Verdict, by_case: Mapping[int, Story]) -> Iterator[str]:
        cases = worst_first(verdict)
        yield (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
            'img-src data:"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{SIGNS[verdict.outcome]} {text(one_line(verdict.run))}</title><style>{CSS}</style></head><body>"
            f"{PATTERNS}<main>"
        )
        yield _head(verdict, cases)
        yield _table(cases)
        for number, case in enumerate(cases, start=1):
            yield self._case(case, by_case.get(id(case)), f"case-{number}")
        yield _foot(verdict)
        yield "</main></body></html>\n"

    def _case(self, case: CaseVerdict, story: Story | None, name: str) -> str:
        parts = [f'<section class=case id="{name}">', sections.head(case), sections.findings(case)]
        if story is not None:
            parts.append(sections.browser(case, story, self._picture))
            parts.append(timeline(story, name))
        if case.distance != "browser":
            parts.append(distribution(case.response, name))
        parts.append(sections.memory(case, name))
        if story is not None:
            parts.append(sections.generator(story, name))
        parts.append("</section>\n")
        return "".join(parts)

    def _picture(self, case: CaseVerdict, name: str) -> bytes | None:
        """Find a picture by its path in the run's folder, in the case's folder, or by its name alone."""
        folder = f"cases/{folder_of(case.case, case.distance)}/"
        for path in (name, folder + name, folder + name.rpartition("/")[2]):
            if path in self.pictures:
                return self.pictures[path]
        return None


def _head(verdict: Verdict, cases: Sequence[CaseVerdict]) -> str:
    word, _, rest = verdict.title().partition(": ")
    notes = "".join(f"<p><small>Note: {text(one_line(note))}</small></p>" for note in verdict.notes)
    worst = ""
    if cases and verdict.outcome is not Outcome.PASS:
        first = cases[0]
        worst = f"<p>{text(one_line(first.title()))}: {text(one_line(first.why()))}</p>"
    return (
        f'<header><h1><span class="sign {sections.css(verdict.outcome)}">{SIGNS[verdict.outcome]} '
        f"{text(word.capitalize())}</span>: {text(rest)}</h1>{worst}"
        f"<p class=soft><small>Run <code>{text(one_line(verdict.run))}</code>, exit code {verdict.exit_code}"
        "</small></p>"
        f"{notes}</header>"
    )


def _table(cases: Sequence[CaseVerdict]) -> str:
    if not cases:
        return "<p>The journal holds no case.</p>"
    rows = "".join(
        f"<tr><td>{sections.sign(case.outcome)}</td>"
        f'<td><a href="#case-{number}">{text(one_line(case.case))}</a></td><td>{text(case.distance)}</td>'
        f"<td>{_seen(case)}</td></tr>"
        for number, case in enumerate(cases, start=1)
    )
    return (
        '<table class="cases stack"><thead><tr><th>outcome<th>scenario<th>distance<th>why, or what was seen</thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _seen(case: CaseVerdict) -> str:
    seen = ", ".join(f"{label} {value}" for label, value in main_figures(case))
    if case.outcome is Outcome.PASS:
        return text(seen or case.why())
    return f"{text(one_line(case.why()))}" + (f"<br><small>{text(seen)}</small>" if seen else "")


def _foot(verdict: Verdict) -> str:
    rows = "".join(f"<dt>{label}</dt><dd>{text(value)}</dd>" for label, value in machine_rows(verdict))
    return (
        f"<h3>The machine</h3><dl class=plain>{rows}</dl>"
        "<h3>How to read this</h3>"
        "<p>A run is its journal of facts; this page only reads it. <b>pass</b>: everything that was asked for held. "
        "<b>fail</b>: something is provably broken. <b>no verdict</b>: the run proves nothing, for example because a "
        "fault was not delivered or the load generator was overloaded; it is never counted as passed. "
        "<b>error</b>: the case could not be carried out.</p>"
        "<p>Response times count from the moment a message was <i>meant</i> to be sent, so a stall that kept users "
        "from sending is not hidden. A p95 of 80 ms: 95 % of the replies took no longer. Times of one run on one "
        "machine say little about another; counts such as lost messages mean the same everywhere. Simulated cases run "
        "in virtual time: the same seed gives the same journal, byte for byte.</p>"
        "<p>Everything is in <code>journal.jsonl</code> beside this page, for programs in <code>report.json</code>.</p>"
    )

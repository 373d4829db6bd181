"""Markdown: the verdict for a pull request or a CI summary page, in report.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.core.events import Entry
from harness.core.figures import FIGURES
from harness.core.verdict import CaseVerdict, Outcome, Verdict
from harness.reporters._words import (
    SIGNS,
    WORDS,
    figure_text,
    lasted,
    machine_rows,
    main_figures,
    one_line,
    worst_first,
)

__all__ = ["Markdown"]

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+!|~>@-])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Markdown:
    """A table of the cases, then each case; sections are left out before the verdict is."""

    bytes_max: int = 60_000
    """GitHub takes 65,536 characters in a comment, and 1 MiB in a job summary."""

    def render(self, verdict: Verdict, _entries: Sequence[Entry]) -> Mapping[str, bytes]:
        """Give ``report.md``."""
        cases = worst_first(verdict)
        text = "\n".join(_head(verdict, cases)) + "\n"
        left = len(cases)
        for case in cases:
            section = "\n".join(_section(case)) + "\n"
            if len((text + section).encode()) > self.bytes_max:
                text += f"\n{left} more cases are in report.html and report.json: this page has a limit of size.\n"
                break
            text, left = text + section, left - 1
        return {"report.md": _within(text + "\n".join(_tail(verdict)) + "\n", self.bytes_max)}


def _head(verdict: Verdict, cases: Sequence[CaseVerdict]) -> Iterator[str]:
    sign = SIGNS[verdict.outcome]
    yield f"# {sign} {_plain(verdict.title())}"
    yield ""
    yield f"Run {_code(verdict.run)}."
    yield ""
    if cases:
        yield "| | scenario | distance | why, or what was seen |"
        yield "|---|---|---|---|"
    for case in cases:
        seen = "; ".join(f"{label} {text}" for label, text in main_figures(case))
        told = (
            seen
            if case.outcome is Outcome.PASS
            else f"**{_plain(case.why())}**" + (f"<br>{_plain(seen)}" if seen else "")
        )
        word = f"{SIGNS[case.outcome]} {WORDS[case.outcome]}"
        yield f"| {word} | {_plain(case.case)} | {_plain(case.distance)} | {told} |"
    for note in verdict.notes:
        yield f"\n> {_plain(note)}"


def _section(case: CaseVerdict) -> Iterator[str]:
    yield ""
    yield f"## {SIGNS[case.outcome]} {_plain(case.title())}: {WORDS[case.outcome]}"
    yield ""
    if case.scenario is not None:
        yield f"{_plain(case.scenario.name)}: {_plain(case.scenario.why)}"
    yield f"Seed {case.seed}, {lasted(case)}."
    yield ""
    if case.problem:
        yield f"- {SIGNS[case.outcome]} {_plain(case.problem)}"
    for finding in case.findings:
        yield f"- {SIGNS[finding.outcome]} {_plain(finding.text)}"
    for leak in case.leaks:
        if leak.leaking:
            yield f"- {_plain(leak.subject)}: {_plain(leak.counter)} {_plain(leak.text)}"
    for culprit in case.culprits[:10]:
        rate = f"{culprit.allocations_per_message:.3g} allocations, {culprit.bytes_per_message:,.0f} bytes a message"
        yield f"- {_code(culprit.where)} in {_plain(culprit.subject)}: {rate}"
    for note in case.notes:
        yield f"- note: {_plain(note)}"
    if case.figures:
        yield ""
        yield "<details><summary>All figures</summary>"
        yield ""
        yield "| figure | value | meaning |"
        yield "|---|---:|---|"
        for name, value in case.figures.items():
            yield f"| {name} | {figure_text(name, value)} | {FIGURES[name].what} |"
        yield ""
        yield "</details>"


def _tail(verdict: Verdict) -> Iterator[str]:
    yield ""
    yield "; ".join(f"{label}: {_plain(text)}" for label, text in machine_rows(verdict))


def _plain(text: object) -> str:
    """Make a text from outside harmless: no markup, no HTML, no table cell, no mention of a person."""
    line = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return (
        _SPECIAL.sub(r"\\\1", line)
        .replace("\\@", "@\u200b")
        .replace("\\-", "-")
        .replace("\\(", "(")
        .replace("\\)", ")")
    )


def _code(text: object) -> str:
    line = one_line(text).replace("`", "'").replace("|", "\\|")
    return f"`{line}`"


def _within(text: str, bytes_max: int) -> bytes:
    """The verdict comes first, so a cut at the end never hides it."""
    raw = text.encode()
    if len(raw) <= bytes_max:
        return raw
    return raw[: bytes_max - 40].decode(errors="ignore").encode() + b"\n\n(cut: see report.html)\n"

"""Words: how outcomes, figures and cases are written, the same in every report.

In    values of a verdict
Out   plain text, free of what no format can hold
Rule  text from outside (a bot's words, a scenario's name) goes through ``clean`` before it is escaped
Why   one run must not read differently in two reports
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from harness.core.bounds import number
from harness.core.figures import FIGURES
from harness.core.verdict import CaseVerdict, Outcome, Verdict

WORDS: Final = {
    Outcome.PASS: "pass",
    Outcome.FAIL: "fail",
    Outcome.NO_VERDICT: "no verdict",
    Outcome.ERROR: "error",
    None: "not judged",
}
HEADS_WIDTH: Final = max(len(word) for word in WORDS.values())
SIGNS: Final = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.NO_VERDICT: "?", Outcome.ERROR: "!", None: "\N{EN DASH}"}
"""A second sign beside colour: for those who see none, and for print."""
_WEIGHT: Final = (Outcome.FAIL, Outcome.ERROR, Outcome.NO_VERDICT, Outcome.PASS)
# What XML 1.0 cannot hold (it has no escape for it), lone surrogates (UTF-8 cannot), and marks that turn text around.
_UNFIT: Final = re.compile(
    "[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def clean(text: object) -> str:
    """Replace every character that a report cannot or should not hold by the sign for that (U+FFFD)."""
    return _UNFIT.sub("\ufffd", str(text).replace("\r\n", "\n"))


def one_line(text: object) -> str:
    """Clean a text and put it on one line."""
    return " ".join(clean(text).split())


def worst_first(verdict: Verdict) -> list[CaseVerdict]:
    """Sort the cases by how much they matter, otherwise as they ran."""
    return sorted(verdict.cases, key=lambda case: _WEIGHT.index(case.outcome))


def figure_text(name: str, value: float) -> str:
    """Write a figure with its unit: "812 ms", "1,273 messages", "0.42 of a core"."""
    if math.isinf(value):
        return "never"
    unit = FIGURES[name].unit if name in FIGURES else ""
    return f"{number(value)} {unit}".rstrip()


def seconds(value: float) -> str:
    """Write a duration: "0.42 s", "12.3 s", "2 min 5 s"."""
    if value < 1:
        return f"{value:.2g} s"
    if value < 60:  # noqa: PLR2004 - a minute
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def lasted(case: CaseVerdict) -> str:
    """How long a case took; simulated seconds are called what they are."""
    return f"{seconds(case.duration_s)} of virtual time" if case.distance == "simulated" else seconds(case.duration_s)


def main_figures(case: CaseVerdict) -> list[tuple[str, str]]:
    """The few figures that tell most about a case, as (label, text)."""
    figures = case.figures
    told: list[tuple[str, str]] = []
    if figures.get("messages_sent"):
        told.append(("answered", f"{number(figures['messages_answered'])} of {number(figures['messages_sent'])}"))
    bad = ("refused", "failed", "unanswered", "lost", "doubled")
    told.extend((word, number(figures[f"messages_{word}"])) for word in bad if figures.get(f"messages_{word}"))
    if "response_ms_p50" in figures and case.distance != "browser":
        told.append(("reply p50", figure_text("response_ms_p50", figures["response_ms_p50"])))
        told.append(("reply p95", figure_text("response_ms_p95", figures["response_ms_p95"])))
    if figures.get("breaker_opened"):
        told.append(("breaker opened", _times(figures["breaker_opened"])))
    if "recovery_s" in figures:
        told.append(("recovered after", figure_text("recovery_s", figures["recovery_s"])))
    if "leaks_found" in figures:
        leaking = dict.fromkeys(leak.subject for leak in case.leaks if leak.leaking)
        told.append(("leak in", one_line(", ".join(leaking))) if leaking else ("leaks", "none"))
        if "blocks_per_message" in figures:
            told.append(("blocks kept a message", number(figures["blocks_per_message"])))
    if "steps_done" in figures:
        total = figures["steps_done"] + figures["steps_failed"]
        told.append(("steps", f"{number(figures['steps_done'])} of {number(total)} worked"))
    if "page_reply_ms_p50" in figures:
        told.append(("reply on the page", figure_text("page_reply_ms_p50", figures["page_reply_ms_p50"])))
    return told


def summary(case: CaseVerdict) -> str:
    """The reason if there is one, else the main figures: one line."""
    if case.outcome is not Outcome.PASS:
        return one_line(case.why())
    return ", ".join(f"{label} {text}" for label, text in main_figures(case)) or one_line(case.why())


def machine_rows(verdict: Verdict) -> list[tuple[str, str]]:
    """The machine of a run, as (label, text)."""
    seen = verdict.machine
    if seen is None:
        return [("machine", "unknown: the journal does not say")]
    return [
        ("processor", one_line(seen.cpu)),
        ("cores", str(seen.cores)),
        ("memory", f"{seen.memory_mb:,} MB"),
        ("system", one_line(seen.system)),
        ("Python", one_line(seen.python)),
        ("harness", one_line(seen.harness)),
    ]


def few(items: Iterable[str], most: int) -> str:
    """Name the first few and say how many more there are."""
    named = list(items)
    more = len(named) - most
    return ", ".join(named[:most]) + (f" and {more} more" if more > 0 else "")


def _times(value: float) -> str:
    return "once" if value == 1 else f"{number(value)} times"

"""Sections: the parts of a case in the HTML report that are not over time: findings, memory, browser, generator.

In    a CaseVerdict and its Story
Out   HTML; "" where there is nothing to tell
Rule  all text is escaped on its way in; what failed comes first
Why   whoever opens a red report wants the reason, then the evidence, then everything else
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final

from harness.core.bounds import number
from harness.core.events import Stepped
from harness.core.figures import FIGURES
from harness.core.leak import LeakVerdict
from harness.core.story import Story
from harness.core.verdict import CaseVerdict, Outcome
from harness.reporters._charts import Chart, Scale, scale_for, text, time_ticks
from harness.reporters._words import SIGNS, WORDS, figure_text, lasted, main_figures, one_line

COUNTERS: Final = {
    "blocks": "memory blocks",
    "objects": "Python objects",
    "heap_bytes": "heap in use",
    "handles": "open handles",
    "tasks": "tasks",
    "threads": "threads",
    "rss_bytes": "resident memory",
}
MEMORY: Final = (
    "<h3>Memory</h3><p class=soft><small>After each cycle of load, with nothing in flight and after a collection, over "
    "the messages so far. A leak grows by more than its limit for each message, surely (98 %), and does not level "
    "off.</small></p>"
)
STEPS_MAX: Final = 60
CULPRITS_MAX: Final = 20


def sign(outcome: Outcome | None) -> str:
    """Show an outcome by a sign, a word and a colour."""
    return f'<span class="sign {css(outcome)}">{SIGNS[outcome]} {WORDS[outcome]}</span>'


def css(outcome: Outcome | None) -> str:
    """Name the class of an outcome."""
    return "not-judged" if outcome is None else str(outcome)


def head(case: CaseVerdict) -> str:
    """Title, purpose, reason and main figures of a case."""
    why = f"<p>{text(one_line(case.scenario.why))}</p>" if case.scenario else ""
    name = f"{text(one_line(case.scenario.name))}, " if case.scenario else ""
    because = ""
    if case.outcome is not Outcome.PASS:
        because = f'<p class="because {case.outcome}"><span>{text(one_line(case.why()))}</span></p>'
    told = "".join(f"<div><dt>{text(label)}</dt><dd>{text(value)}</dd></div>" for label, value in main_figures(case))
    return (
        f"<header><h2>{sign(case.outcome)} {text(one_line(case.case))} "
        f"<span class=soft>{text(one_line(case.distance))}</span></h2>"
        f"{why}<p class=soft><small>{name}seed {case.seed}, {text(lasted(case))}</small></p></header>{because}"
        + (f"<dl class=key>{told}</dl>" if told else "")
    )


def findings(case: CaseVerdict) -> str:
    """Everything that was looked at, with what it means; then every figure."""
    items = "".join(
        f"<li>{_mark(finding.outcome)}"
        f"<span><span class=code>{text(one_line(finding.text))}</span>{_meaning(finding.figure)}</span></li>"
        for finding in case.findings
    )
    notes = "".join(f"<p><small>Note: {text(one_line(note))}</small></p>" for note in case.notes)
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td class=n>{text(figure_text(name, value))}</td>"
        f"<td>{text(FIGURES[name].what)}</td></tr>"
        for name, value in case.figures.items()
    )
    figures = (
        f"<details><summary>All {len(case.figures)} figures</summary><table class=stack><thead><tr><th>figure"
        f"<th class=n>value<th>meaning</thead><tbody>{rows}</tbody></table></details>"
        if rows
        else ""
    )
    shown = f"<h3>What was checked</h3><ul class=findings>{items}</ul>" if items else ""
    return f"{shown}{notes}{figures}"


def memory(case: CaseVerdict, name: str) -> str:
    """Every counter of every process, the leaking ones first, and the lines that keep allocating."""
    if not case.leaks:
        return ""
    parts = [MEMORY]
    worst_first = sorted(case.leaks, key=lambda leak: not leak.leaking)
    for place, subject in enumerate(dict.fromkeys(leak.subject for leak in worst_first)):
        own = sorted((leak for leak in case.leaks if leak.subject == subject), key=lambda leak: not leak.leaking)
        leaking = any(leak.leaking for leak in own)
        word = '<span class="sign fail">leaks</span>' if leaking else '<span class="sign pass">no leak</span>'
        moving = [leak for leak in own if len(set(leak.values)) > 1]
        cards = "".join(_card(leak, f"{name}-m{place}-{n}") for n, leak in enumerate(moving))
        still = ", ".join(
            f"{_called(leak)} {_amount(leak.counter, leak.values[0])}" for leak in own if leak not in moving
        )
        same = f"<p class=soft><small>The same in every cycle: {text(still)}.</small></p>" if still else ""
        parts.append(f"<h4>{text(one_line(subject))}: {word}</h4><div class=cards>{cards}</div>{same}{_samples(own)}")
    rows = "".join(
        f"<tr><td><code>{text(one_line(culprit.where))}</code></td>"
        f"<td data-label=in>{text(one_line(culprit.subject))}</td>"
        f'<td class=n data-label="allocations a message">{culprit.allocations_per_message:.3g}</td>'
        f'<td class=n data-label="bytes a message">{culprit.bytes_per_message:,.1f}</td></tr>'
        for culprit in case.culprits[:CULPRITS_MAX]
    )
    if rows:
        parts.append(
            "<h4>Lines that keep allocating</h4><table class=stack><thead><tr><th>line<th>in<th class=n>allocations a "
            f"message<th class=n>bytes a message</thead><tbody>{rows}</tbody></table>"
        )
    return "".join(parts)


def browser(case: CaseVerdict, story: Story, picture: Callable[[CaseVerdict, str], bytes | None]) -> str:
    """The steps with their durations, and the pictures that were taken."""
    if not story.steps:
        return ""
    steps = [step for _, step in story.steps]
    longest = max(1.0, *(step.took_ms for step in steps))
    items = "".join(_step(step, longest) for step in steps[:STEPS_MAX])
    more = f"<p class=soft>{len(steps) - STEPS_MAX} more in journal.jsonl.</p>" if len(steps) > STEPS_MAX else ""
    taken = "".join(_pictures(case, steps, picture))
    return f"<h3>In the browser</h3><ol class=steps>{items}</ol>{more}" + (
        f"<div class=pictures>{taken}</div>" if taken else ""
    )


def generator(story: Story, name: str) -> str:
    """How late and how busy the load generator was."""
    if not story.generator:
        return ""
    late = [(t, seen.lag_ms_p99) for t, seen in story.generator]
    busy = [(t, seen.cpu_share * 100.0) for t, seen in story.generator]
    worst, most = max(lag for _, lag in late), max(share for _, share in busy)
    finding = f"It woke at most {number(worst)} ms late (p99 of a second) and used at most {most:.0f} % of a core."
    x = Scale(late[0][0], max(late[-1][0], late[0][0] + 1.0))
    drawings = []
    for points, title, part in ((late, "lateness, ms", "late"), (busy, "processor, % of a core", "busy")):
        chart = Chart(f"Load generator: {title}", finding, x, height=80, name=f"{name}-{part}")
        y = scale_for(value for _, value in points)
        chart.y_axis(y)
        chart.line("p50", y, [*points])
        chart.x_axis(time_ticks(x, 3))
        drawings.append(f"<div class=card><h4>{title}</h4><div class=plot>{chart.svg()}</div></div>")
    return (
        f"<h3>The load generator itself</h3><div class=cards>{''.join(drawings)}</div>"
        f"<p class=soft><small>{text(finding)} A generator that is late or busy measures itself; such a run has no "
        "verdict.</small></p>"
    )


def _mark(outcome: Outcome | None) -> str:
    word = WORDS[outcome]
    return f'<span class="sign {css(outcome)}" role="img" aria-label="{word}" title="{word}">{SIGNS[outcome]}</span>'


def _meaning(figure: str) -> str:
    return f"<span class=what>{text(FIGURES[figure].what)}</span>" if figure in FIGURES else ""


def _card(leak: LeakVerdict, name: str) -> str:
    title = _called(leak)
    x = Scale(float(min(leak.messages)), float(max(leak.messages)))
    low, high = min(leak.values), max(leak.values)
    room = max(high - low, abs(high) * 0.001, 1.0)
    y = Scale(low - room * 0.1, high + room * 0.1)
    chart = Chart(f"{leak.subject}: {title}", leak.text, x, height=72, name=name)
    middle_x, middle_y = _middle(leak.messages), _middle(leak.values)
    ends = [(at, middle_y + leak.slope_per_message * (at - middle_x)) for at in (x.low, x.high)]
    chart.line("fit", y, ends)
    kind = "leak" if leak.leaking else "calm" if leak.floor is not None else "shown"
    chart.dots(kind, y, [(float(m), float(v)) for m, v in zip(leak.messages, leak.values, strict=True)])
    chart.x_axis([(x.low, f"{leak.messages[0]:,}"), (x.high, f"{leak.messages[-1]:,} messages")])
    verdict: str = "leaks" if leak.leaking else "no leak" if leak.trend == "steady" else leak.trend
    if leak.floor is None:
        verdict, limit = "shown, never judged", ""
    else:
        limit = f", limit {leak.floor:g}"
    interval = f"{_rate(leak.low)} to {_rate(leak.high)}"
    first, last = (_amount(leak.counter, value) for value in (leak.values[0], leak.values[-1]))
    return (
        f'<div class="card{" leaks" if leak.leaking else ""}"><h4>{text(title)}: {verdict}</h4>{chart.svg()}'
        f"<p>{_rate(leak.slope_per_message)} a message{limit}</p>"
        f"<p class=soft>98 % sure: {interval}; from {first} to {last}</p></div>"
    )


def _called(leak: LeakVerdict) -> str:
    return COUNTERS.get(leak.counter, one_line(leak.counter))


def _samples(leaks: list[LeakVerdict]) -> str:
    cycles = len(leaks[0].values)
    heads = "".join(f"<th class=n>{text(_called(leak))}" for leak in leaks)
    rows = "".join(
        f"<tr><td class=n>{leaks[0].messages[at]:,}</td>"
        + "".join(f"<td class=n>{leak.values[at]:,}</td>" if at < len(leak.values) else "<td></td>" for leak in leaks)
        + "</tr>"
        for at in range(cycles)
    )
    return (
        f"<details><summary>Numbers of {cycles} cycles</summary><table><thead><tr><th class=n>messages"
        f"{heads}</thead><tbody>{rows}</tbody></table></details>"
    )


def _step(step: Stepped, longest: float) -> str:
    outcome = Outcome.PASS if step.ok else Outcome.FAIL
    detail = f"<br><small>{text(one_line(step.detail))}</small>" if step.detail else ""
    width = max(0.0, min(1.0, step.took_ms / longest)) if math.isfinite(step.took_ms) else 1.0
    return (
        f"<li>{_mark(outcome)}"
        f"<span>{text(one_line(step.step))}{detail}</span><span class=took>{number(step.took_ms)} ms</span>"
        f'<span class=bar style="width:{width:.1%}"></span></li>'
    )


def _pictures(
    case: CaseVerdict, steps: list[Stepped], picture: Callable[[CaseVerdict, str], bytes | None]
) -> Iterator[str]:
    for step in steps:
        if not step.picture:
            continue
        words = one_line(step.step)
        image = picture(case, step.picture)
        if image is None:
            yield f"<p class=soft>{text(words)}: {text(one_line(step.picture))} is not in this report.</p>"
        else:
            data = b64encode(image).decode("ascii")
            yield (
                f'<figure><img alt="{text(f"The page after the step: {words}")}" src="data:image/png;base64,{data}">'
                f"<figcaption>{text(words)}</figcaption></figure>"
            )


def _middle(values: tuple[int, ...]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0


def _amount(counter: str, value: float) -> str:
    return f"{value / 1_048_576:,.2f} MiB" if counter.endswith("bytes") else f"{value:,.0f}"


def _rate(value: float) -> str:
    if math.isinf(value):
        return "unknown"
    if abs(value) < 5e-4:  # noqa: PLR2004 - a twentieth of the smallest limit
        return "0"
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3g}"  # noqa: PLR2004 - three digits say enough

"""Timeline: one case over time: its faults, breakers, messages and response times on the same axis.

In    a Story
Out   HTML with drawings and their tables
Rule  every drawing has its finding in words, and its numbers in a table that opens on demand
Why   a cause and what it did must stand above one another, or nobody sees that they belong together
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from harness.core.bounds import number
from harness.core.histogram import Histogram
from harness.core.story import FATES, Fate, Story
from harness.reporters._charts import Block, Chart, Scale, lane, scale_for, text, ticks, time_ticks
from harness.reporters._series import Slices, Span, breaker_spans, fault_spans, slices
from harness.reporters._words import few, one_line

BY_HAND: Final = {
    "forced-open": "forced-open: refused by hand",
    "disabled": "disabled: unjudged by hand",
    "metrics-only": "metrics-only: counted by hand, not judged",
}
"""States that people bring a breaker to; they are explained only where they were."""
MOVES_MAX: Final = 60
LANES_MAX: Final = 12
COLUMNS_MAX: Final = 40
COLUMNS_MIN: Final = 4
"""With fewer all replies took about the same time, which one figure says better than a drawing."""
MESSAGES_MIN: Final = 10
"""Fewer messages make no course over time; the figures say all there is."""


def timeline(story: Story, name: str) -> str:
    """Draw everything that has a time; "" if there is nothing to draw."""
    cut = slices(story)
    if cut is None:
        return ""
    x = Scale(cut.start, cut.end)
    faults = fault_spans(story, cut.end)
    shades = [Block(span.start, span.end, "shade") for _, span in faults]
    parts = [*_fault_lanes(faults, x, name), *_breaker_lanes(story, cut, x, shades, name)]
    if len(story.sent()) >= MESSAGES_MIN:
        parts.extend((_messages(cut, x, shades, name), _responses(cut, x, shades, name), _table(cut)))
    if not parts:
        return ""
    words = _axis_words(story, shaded=bool(shades))
    return f"<h3>Over time</h3><p class=soft><small>{words}</small></p>{''.join(parts)}"


def distribution(response: Histogram | None, name: str) -> str:
    """Draw how the response times are spread; "" if there are too few."""
    if response is None or response.n < 10 or not response.counts:  # noqa: PLR2004 - no shape with fewer
        return ""
    columns = _columns(response)
    if len(columns) < COLUMNS_MIN:
        return ""
    top = max(count for _, _, count in columns)
    ranks = [(label, response.quantile(q)) for label, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))]
    told = ", ".join(f"{label} {number(value)} ms" for label, value in ranks)
    finding = f"{response.n:,} replies: {told}, the slowest {number(response.high)} ms."
    x = Scale(columns[0][0], columns[-1][1], log=True)
    chart = Chart("How the response times are spread", finding, x, height=130, name=f"{name}-spread")
    y = Scale(0.0, top * 1.25)
    chart.y_axis(y)
    chart.bars(y, [(low, high) for low, high, _ in columns], [("answered", [float(n) for _, _, n in columns])])
    chart.x_axis(ticks(x, x.ticks(6), lambda value: f"{value:,.10g}", "ms"))
    for row, (label, value) in enumerate(ranks):
        chart.mark(value, label, row)
    rows = "".join(
        f"<tr><td class=n>{number(low)} to {number(high)}</td><td class=n>{count:,}</td></tr>"
        for low, high, count in columns
    )
    return (
        f"<h3>Response times</h3><h4>Replies by response time</h4>"
        f"<figure class=plot>{chart.svg()}<figcaption>{text(finding)} The axis is logarithmic; "
        f"these percentiles are off by at most {response.error:.1%}.</figcaption></figure>"
        f"<details><summary>Numbers</summary><table><thead><tr><th class=n>ms<th class=n>replies</thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _axis_words(story: Story, *, shaded: bool) -> str:
    kind = "virtual seconds" if story.distance == "simulated" else "seconds"
    return f"In {kind} since the case began." + (" Shaded: while a fault was at work." if shaded else "")


def _fault_lanes(faults: Sequence[tuple[str, Span]], x: Scale, name: str) -> Iterator[str]:
    for place, (bot, span) in enumerate(faults[:LANES_MAX]):
        title = f"fault {span.what} on {bot}"
        finding = f"from {span.start:.2f} s to {span.end:.2f} s"
        block = Block(span.start, span.end, "fault", one_line(span.what))
        drawn = lane(title, finding, x, [block], name=f"{name}-f{place}")
        yield f"<div class=plot><p class=lane-name>{text(title)}, {finding}</p>{drawn}</div>"


def _breaker_lanes(story: Story, cut: Slices, x: Scale, shades: Sequence[Block], name: str) -> Iterator[str]:
    lanes = breaker_spans(story, cut.start, cut.end)
    for place, (bot, spans) in enumerate(list(lanes.items())[:LANES_MAX]):
        blocks = [Block(span.start, span.end, *_state(span.what)) for span in spans]
        open_s = sum(span.end - span.start for span in spans if span.what in {"open", "forced-open"})
        ends = spans[-1].what
        finding = f"open for {open_s:.2f} s in all, {ends} at the end"
        drawn = lane(f"breaker of {bot}", finding, x, blocks, name=f"{name}-b{place}", shades=shades)
        yield f"<div class=plot><p class=lane-name>breaker of {text(bot)}: {text(finding)}</p>{drawn}</div>"
    still = [bot for bot in story.calls if bot not in lanes]
    if lanes:
        yield _legend(
            (
                *(("closed", "closed"), ("open", "open: calls fail at once"), ("half-open", "half-open: one try")),
                *(
                    (state, words)
                    for state, words in BY_HAND.items()
                    if any(_was(spans, state) for spans in lanes.values())
                ),
            ),
            "lane",
        )
        yield _moves(story)
        if still:
            yield f"<p class=soft><small>Never left closed: {text(few(still, 8))}.</small></p>"


def _state(what: str) -> tuple[str, str]:
    """The class and the words of a breaker's state; a state that cannot be is shown, not trusted."""
    if what == "closed":
        return "closed", ""
    return (what, what) if what in {"open", "half-open", *BY_HAND} else ("odd", one_line(what))


def _was(spans: Sequence[Span], state: str) -> bool:
    return any(span.what == state for span in spans)


def _moves(story: Story) -> str:
    moves = sorted(((t, fact) for bot in story.calls for t, fact in story.moves(bot)), key=lambda move: move[0])
    rows = "".join(
        f"<tr><td class=n>{t:.3f}</td><td>{text(one_line(fact.bot))}</td><td class=n>{fact.seq}</td>"
        f"<td>{text(fact.before)} → {text(fact.after)}</td><td>{text(one_line(fact.cause))}</td></tr>"
        for t, fact in moves[:MOVES_MAX]
    )
    more = f"<p class=soft>{len(moves) - MOVES_MAX} more in journal.jsonl.</p>" if len(moves) > MOVES_MAX else ""
    return (
        f"<details><summary>{len(moves)} transitions</summary><table><thead><tr><th class=n>s<th>bot<th class=n>seq"
        f"<th>from, to<th>cause</thead><tbody>{rows}</tbody></table>{more}</details>"
    )


def _messages(cut: Slices, x: Scale, shades: Sequence[Block], name: str) -> str:
    rates = {fate: [count / cut.width_s for count in cut.counts[fate]] for fate in FATES}
    totals = {fate: sum(cut.counts[fate]) for fate in FATES}
    finding = ", ".join(f"{totals[fate]:,} {fate}" for fate in FATES if totals[fate]) or "no message had a fate"
    y = scale_for(sum(each) for each in zip(*rates.values(), strict=True))
    chart = Chart("Messages a second by what became of them", finding, x, name=f"{name}-messages")
    for shade in shades:
        chart.shade(shade.start, shade.end)
    chart.y_axis(y)
    chart.bars(y, cut.times(), [(fate, rates[fate]) for fate in FATES])
    chart.x_axis(time_ticks(x))
    return (
        f"<h4>Messages a second</h4>{_legend([(fate, f'{fate} {totals[fate]:,}') for fate in FATES if totals[fate]])}"
        f"<figure class=plot>{chart.svg()}</figure>"
    )


def _responses(cut: Slices, x: Scale, shades: Sequence[Block], name: str) -> str:
    slow = [(value, at) for value, (at, _) in zip(cut.p95_ms, cut.times(), strict=True) if value is not None]
    if not slow:
        return ""
    worst, when = max(slow)
    finding = f"The worst p95 of a slice was {number(worst)} ms, at {when:g} s."
    y = scale_for([value for value in (*cut.p50_ms, *cut.p95_ms) if value is not None], may_log=True)
    chart = Chart("Response time, half and 95 % of the replies", finding, x, name=f"{name}-response")
    for shade in shades:
        chart.shade(shade.start, shade.end)
    chart.y_axis(y)
    middles = [(start + end) / 2 for start, end in cut.times()]
    chart.line("p95", y, list(zip(middles, cut.p95_ms, strict=True)))
    chart.line("p50", y, list(zip(middles, cut.p50_ms, strict=True)))
    chart.x_axis(time_ticks(x))
    kind = ", logarithmic axis" if y.log else ""
    return (
        f"<h4>Response time, ms{kind}</h4>{_legend((('p50', 'p50: half of the replies'), ('p95', 'p95')), 'line')}"
        f"<figure class=plot>{chart.svg()}<figcaption>{text(finding)} From the moment a message was meant to be sent "
        "to its whole reply, drawn where the reply came.</figcaption></figure>"
    )


def _table(cut: Slices) -> str:
    rows: list[str] = []
    for place, (start, _) in enumerate(cut.times()):
        counts = "".join(f"<td class=n>{cut.counts[fate][place] or ''}</td>" for fate in FATES)
        rows.append(
            f"<tr><td class=n>{start:g}</td>{counts}<td class=n>{_ms(cut.p50_ms[place])}</td>"
            f"<td class=n>{_ms(cut.p95_ms[place])}</td></tr>"
        )
    heads = "".join(f"<th class=n>{fate}" for fate in FATES)
    return (
        f"<details><summary>Numbers of both charts, every {cut.width_s:g} s</summary><table><thead><tr>"
        f"<th class=n>from s{heads}<th class=n>p50 ms<th class=n>p95 ms</thead><tbody>{''.join(rows)}</tbody></table>"
        "</details>"
    )


def _legend(items: Sequence[tuple[str, str]] | Sequence[tuple[Fate, str]], kind: str = "bar") -> str:
    swatches = "".join(f"<li>{_swatch(css, kind)}{text(words)}</li>" for css, words in items)
    return f"<ul class=legend>{swatches}</ul>"


def _swatch(css: str, kind: str) -> str:
    if kind == "line":
        return f'<svg viewBox="0 0 18 10" aria-hidden="true"><path class="line {css}" d="M0 5H18"/></svg>'
    y, height = (3, 4) if css == "closed" else (0, 10)
    holder = ' class="lane"' if kind == "lane" else ""
    shape = f'<rect class="{css}" y="{y}" width="18" height="{height}"/>'
    return f'<svg{holder} viewBox="0 0 18 10" aria-hidden="true">{shape}</svg>'


def _columns(response: Histogram) -> list[tuple[float, float, int]]:
    """Join buckets into columns of one width on a logarithmic axis."""
    first, last = min(response.counts), max(response.counts)
    joined = 1
    while (last - first + 1) / joined > COLUMNS_MAX:
        joined *= 2
    base = math.exp2(2.0**-response.scale)
    sums: dict[int, int] = {}
    for key in response.counts:
        sums[(key - 1) // joined] = sums.get((key - 1) // joined, 0) + response.counts[key]
    return [
        (base ** (group * joined), base ** ((group + 1) * joined), sums.get(group, 0))
        for group in range(min(sums), max(sums) + 1)
    ]


def _ms(value: float | None) -> str:
    return "" if value is None else number(value)

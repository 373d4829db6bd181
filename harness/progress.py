"""Progress: how a run stands, for a person at a terminal, and as plain lines for a log.

In    a ``Standing`` for every change
Out   a live display (rich) with the current case, its time left, counts, what is done and what failed; or lines
Rule  it shows and decides nothing; the display is gone when it is closed, the lines stay
Why   whoever waits wants to know for how long, and whether it is worth waiting
"""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.adapters.status import MARKS, Current, Finished, Standing
from harness.core.baseline import Change, Comparison, Row

COUNTS_EVERY_S: Final = 10.0
"""Between two plain lines that tell nothing but counts."""
MATTERS: Final = (Change.WORSE, Change.INCONCLUSIVE, Change.BETTER)
STYLES: Final = {"passed": "green", "failed": "red", "no verdict": "yellow"}


class Plain:
    """One line for each thing that happens, for logs and pipes."""

    def __init__(self, out: TextIO | None = None) -> None:
        """Write to ``out``, or to standard output."""
        self._out = out or sys.stdout
        self._began_s = time.monotonic()
        self._said: set[tuple[str, ...]] = set()
        self._done = 0
        self._counted_s = self._began_s

    def changed(self, standing: Standing) -> None:
        """Say what is new."""
        for case in standing.done[self._done :]:
            self._line(f"{MARKS[case.result]} {case.case} {case.distance}: {case.result} in {case.took_s:.1f} s")
            for why in case.why:
                self._line(f"     {why}")
        self._done = len(standing.done)
        if standing.current is not None:
            self._current(standing.current, standing)

    def close(self) -> None:
        """Nothing is held open."""

    def _current(self, current: Current, standing: Standing) -> None:
        title = f"{current.case} {current.distance}"
        if self._new(title):
            place = f"{len(standing.done) + 1} of {standing.total}"
            self._line(f"▶ {title} ({place}, about {current.expected_s:.0f} s)")
            self._counted_s = time.monotonic()
        if self._new(title, current.stage):
            self._line(f"  {current.stage}")
        if current.sent and time.monotonic() - self._counted_s >= COUNTS_EVERY_S:
            self._counted_s = time.monotonic()
            self._line(f"  {_counts(current)}")

    def _new(self, *words: str) -> bool:
        new = words not in self._said
        self._said.add(words)
        return new

    def _line(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_s:6.1f} s  {text}", file=self._out, flush=True)


class Live:
    """The display of a terminal; it follows the clock by itself between two changes."""

    def __init__(self, console: Console | None = None) -> None:
        """Begin to draw."""
        self._standing: Standing | None = None
        self._live = RichLive(
            console=console or Console(), get_renderable=self._draw, refresh_per_second=8, transient=True
        )
        self._live.start()

    def changed(self, standing: Standing) -> None:
        """Keep the standing; the display's own thread draws it."""
        self._standing = standing

    def close(self) -> None:
        """Stop drawing and leave the terminal as it was."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        standing = self._standing
        return Text("") if standing is None else display(standing, time.monotonic())


def display(standing: Standing, now: float) -> RenderableType:
    """Draw a standing as it is at ``now`` (monotonic)."""
    done = Table.grid(padding=(0, 2))
    for case in standing.done:
        done.add_row(*_row(case))
    parts: list[RenderableType] = [Text(f"{standing.run}: {len(standing.done)} of {standing.total} done", "bold"), done]
    if standing.current is not None:
        parts.append(_now(standing.current, now))
    if standing.waiting:
        parts.append(Text(f"next: {standing.waiting[0]}  ({len(standing.waiting)} waiting)", "dim"))
    return Group(*parts)


def _row(case: Finished) -> tuple[RenderableType, ...]:
    style = STYLES[case.result]
    return (
        Text(MARKS[case.result], style),
        Text(f"{case.case} {case.distance}"),
        Text(f"{case.took_s:.1f} s", "dim"),
        Text("; ".join(case.why), style, overflow="fold"),
    )


def _now(current: Current, now: float) -> RenderableType:
    left_s = current.left_s(now)
    passed_s = now - current.began_s
    # Late is late: a bar that stands at its end and still claims seconds would be a lie.
    left = f"{left_s:.0f} s left" if left_s > 0 else f"{passed_s - current.expected_s:.0f} s longer than expected"
    line = Table.grid(padding=(0, 2))
    line.add_row(
        Text(f"▶ {current.case} {current.distance}", "bold cyan"),
        ProgressBar(total=current.expected_s, completed=min(passed_s, current.expected_s), width=24),
        Text(left),
    )
    return Group(line, Text(f"  {current.stage}"), Text(f"  {_counts(current)}"))


def _counts(current: Current) -> str:
    return f"{current.sent} sent, {current.answered} answered, {current.failed} failed"


def comparison(found: Comparison) -> str:
    """Write each figure with its change, what matters first, then the verdict and its reasons."""
    lines = []
    for row in sorted(found.rows, key=lambda row: row.change not in MATTERS):
        was, now = _value(row.base), _value(row.now)
        percent = "" if row.change_percent is None else f"{row.change_percent:+.1f} %"
        lines.append(
            f"{row.case} {row.distance:<10} {row.figure:<24} {was:>12} -> {now:>12} {percent:>10}  {_told(row)}"
        )
    lines += [f"  {reason}" for reason in found.reasons]
    return "\n".join([*lines, f"comparison: {found.outcome}"])


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:,.6g}"


def _told(row: Row) -> str:
    return f"{row.change} ({row.why})" if row.why else str(row.change)

"""Board: what the dashboard's panels show, kept ready: one column of values every few seconds.

In    note(now, answers to ``questions``) from a clock
Out   ``columns``: for every panel its lines, each with one value for each moment, None where there was none
Rule  columns and lines are bounded; a request only reads, however many look on
Why   a dashboard that works harder the more people look at it makes an incident worse
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

from harness.core.dashboard import Dashboard, Target
from harness.core.indicator import Indicator
from harness.core.series import Labels, Observation

COLUMNS_MAX: Final = 720
LINES_MAX: Final = 50
"""Lines of one target; label sets beyond that are not drawn."""
Place = tuple[str, int]
"""A panel's id, and the number of its target."""
Answers = Mapping[Place, Mapping[Labels, Observation]]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel; as many values as the board has moments."""

    name: str
    labels: Labels
    values: tuple[float | None, ...]


class Board:
    """The values of one dashboard."""

    __slots__ = ("_at", "_lines", "dashboard", "step_s")

    def __init__(self, dashboard: Dashboard) -> None:
        """Start empty."""
        self.dashboard = dashboard
        self.step_s = max(dashboard.refresh_s, -(-dashboard.range_s // COLUMNS_MAX))
        """Seconds from one column to the next."""
        columns = max(2, dashboard.range_s // self.step_s)
        self._at: deque[float] = deque(maxlen=columns)
        self._lines: dict[Place, dict[Labels, deque[float | None]]] = {
            (panel.id, number): {} for panel in dashboard.panels() for number in range(len(panel.targets))
        }

    @property
    def moments(self) -> tuple[float, ...]:
        """When the columns were made, oldest first."""
        return tuple(self._at)

    def due(self, now: float) -> bool:
        """Whether it is time for another column."""
        return not self._at or now - self._at[-1] >= self.step_s

    def questions(self) -> Iterator[tuple[Place, Indicator]]:
        """Give what has to be asked for a column."""
        for panel in self.dashboard.panels():
            for number, target in enumerate(panel.targets):
                yield (panel.id, number), target.local

    def note(self, now: float, answers: Answers) -> None:
        """Add a column; a moment that was missed stays a gap."""
        if self._at and now - self._at[-1] >= 2 * self.step_s:
            self._add(self._at[-1] + self.step_s, {})
        self._add(now, answers)

    def columns(self) -> Mapping[str, tuple[Line, ...]]:
        """Give the lines of every panel."""
        found: dict[str, tuple[Line, ...]] = {}
        for panel in self.dashboard.panels():
            lines = [
                Line(_called(target, labels), labels, tuple(values))
                for number, target in enumerate(panel.targets)
                for labels, values in sorted(self._lines[panel.id, number].items())
            ]
            found[panel.id] = tuple(lines)
        return found

    def _add(self, at: float, answers: Answers) -> None:
        before = len(self._at)
        self._at.append(at)
        for place, lines in self._lines.items():
            self._extend(lines, answers.get(place, {}), before)

    def _extend(
        self, lines: dict[Labels, deque[float | None]], told: Mapping[Labels, Observation], before: int
    ) -> None:
        for labels in told:
            if labels not in lines and len(lines) < LINES_MAX:
                lines[labels] = deque([None] * before, maxlen=self._at.maxlen)
        for labels, values in tuple(lines.items()):
            value = told[labels].value if labels in told else None
            values.append(value if value is not None and isfinite(value) else None)
            if all(one is None for one in values):
                del lines[labels]  # It has left the picture.


def _called(target: Target, labels: Labels) -> str:
    name = target.legend
    for label, value in labels:
        name = name.replace(f"{{{{{label}}}}}", value)
    return name or ", ".join(f"{label}={value}" for label, value in labels) or target.local.metric

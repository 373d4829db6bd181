"""Dashboard: what is shown of a service, in which order, and beyond which value it is coloured.

In    rows of panels, as they stand in a file
Out   a frozen value for the built-in page and for the exporters of dashboards
Rule  ids are unique, every panel asks for something; what cannot be drawn is refused when it is made
Why   one description, so that the page here and the dashboard in Grafana show the same
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

from harness.core.indicator import Indicator
from harness.errors import ScenarioError

VERSION: Final = 1
PANELS_MAX: Final = 60
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From here on a value is no longer well; with ``below``: up to here."""

    value: float
    level: Literal["warn", "bad"] = "bad"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not isfinite(self.value):
            raise ScenarioError(f"threshold: must be a finite number, got {self.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One question of a panel; one line for every label set of its answer."""

    local: Indicator
    """What the service itself answers."""
    legend: str = ""
    """What a line is called; ``{{label}}`` stands for the value of a label. Empty: all its labels."""
    expr: str = ""
    """What Prometheus is asked; empty: what follows from ``local``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart or number."""

    id: str
    title: str
    type: Literal["timeseries", "stat", "state", "table"] = "timeseries"
    unit: Literal["count", "per-second", "seconds", "ratio", "bytes", "state"] = "count"
    help: str = ""
    """What it shows and what to make of it, in a sentence."""
    states: tuple[str, ...] = ()
    """For values 0, 1, 2 ...: what they mean."""
    thresholds: tuple[Threshold, ...] = ()
    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        if _ID.fullmatch(self.id) is None:
            raise ScenarioError(f"id: {self.id!r} must be 1 to 60 of a-z, 0-9 and '-', starting with a letter or digit")
        if not self.targets:
            raise ScenarioError(f"panel {self.id!r}: targets: needs at least one")
        if (self.type == "state") != bool(self.states):
            raise ScenarioError(f"panel {self.id!r}: states: belong to a panel of type state, and to no other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """All of it."""

    version: Literal[1] = 1
    title: str
    refresh_s: int = 5
    """How often the page asks again."""
    range_s: int = 900
    """How far back the charts go."""
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        """Refuse what no page can show."""
        panels = list(self.panels())
        ids = [panel.id for panel in panels]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ScenarioError(f"two panels are called {twice[0]!r}: give one of them another id")
        if not 1 <= len(panels) <= PANELS_MAX:
            raise ScenarioError(f"rows: must have from 1 to {PANELS_MAX} panels in all, got {len(panels)}")
        if not 1 <= self.refresh_s <= self.range_s:
            raise ScenarioError(f"refresh_s: must be from 1 to range_s ({self.range_s}), got {self.refresh_s}")

    def panels(self) -> Iterator[Panel]:
        """Give every panel, row by row."""
        for row in self.rows:
            yield from row.panels

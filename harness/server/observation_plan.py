"""Observation plan: which alerts there are and what the dashboard shows, read from two TOML files.

In    files that somebody wrote, or none: then those that lie beside this module
Out   alert rules and a dashboard
Rule  a file that cannot be read or used stops the start, with one line that names the file and the place in it
Why   a misspelt rule must not be found out by the incident that it should have told of
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.core.alert_rule import AlertRule
from harness.core.dashboard import Dashboard
from harness.core.decode import decode
from harness.core.families import FAMILIES
from harness.core.indicator import Indicator, Selector
from harness.errors import ScenarioError

T = TypeVar("T")
ALERTS: Final = Path(__file__).with_name("alerts.toml")
DASHBOARD: Final = Path(__file__).with_name("dashboard.toml")
RULES_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """What a file of rules holds."""

    rules: tuple[AlertRule, ...] = ()

    def __post_init__(self) -> None:
        """Keep the work of one tick bounded."""
        if len(self.rules) > RULES_MAX:
            raise ScenarioError(f"rules: at most {RULES_MAX}, got {len(self.rules)}")


def alert_rules(path: Path | None = None) -> tuple[AlertRule, ...]:
    """Read the rules; ScenarioError names file and place."""
    place = path or ALERTS
    rules = _read(_Rules, place).rules
    for number, rule in enumerate(rules):
        _known(rule.of, f"{place}: $.rules[{number}]")
    return rules


def dashboard(path: Path | None = None) -> Dashboard:
    """Read the dashboard; ScenarioError names file and place."""
    place = path or DASHBOARD
    made = _read(Dashboard, place)
    for panel in made.panels():
        for target in panel.targets:
            _known(target.local, f"{place}: panel {panel.id!r}")
    return made


def _read(cls: type[T], path: Path) -> T:
    try:
        data: Any = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: is not TOML: {error}") from None
    try:
        return decode(cls, data)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None


def _known(of: Indicator, where: str) -> None:
    """Refuse what the service does not count: it would be silent for ever."""
    asked: list[Indicator | Selector] = [of] if of.over is None else [of, of.over]
    for chosen in asked:
        family = FAMILIES.get(chosen.metric)
        if family is None:
            raise ScenarioError(f"{where}: there is no metric {chosen.metric!r}; /metrics lists what there is")
        _fits(of, chosen, where)


def _fits(of: Indicator, chosen: Indicator | Selector, where: str) -> None:
    family = FAMILIES[chosen.metric]
    wanted = "histogram" if of.percentile else "counter" if of.agg in ("rate", "increase", "ratio") else "gauge"
    if family.kind != wanted:
        raise ScenarioError(f"{where}: {of.agg} is asked of a {wanted}, and {chosen.metric} is a {family.kind}")
    for label in (*chosen.match, *chosen.unless, *(of.by or ())):
        if label not in family.labels:
            known = ", ".join(family.labels) or "none"
            raise ScenarioError(f"{where}: {chosen.metric} has no label {label!r} (it has: {known})")

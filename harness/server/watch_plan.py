"""Watch plan: which alerts there are, what the dashboard shows, where metrics are pushed to; and the start of it all.

In    files that somebody wrote, or none: then those that lie beside this module; the words of ``--export``
Out   alert rules, a dashboard, places to push to; a watcher at work
Rule  a file that cannot be read or used stops the start, with one line that names the file and the place in it
Why   a misspelt rule must not be found out by the incident that it should have told of
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.adapters.line_file import LineFile
from harness.core.alert_rule import AlertRule
from harness.core.dashboard import Dashboard
from harness.core.decode import decode
from harness.core.families import FAMILIES
from harness.core.indicator import Indicator, Selector
from harness.errors import ScenarioError
from harness.server.pushing import Sink, push_on, sinks
from harness.server.service import Service
from harness.server.startup import opened
from harness.server.watcher import LOG_NAME, History, Watcher, open_watcher

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """What ``serve`` was asked to look at and to tell."""

    rules: tuple[AlertRule, ...]
    dashboard: Dashboard
    sinks: tuple[Sink, ...]


def watch_plan(alerts: Path | None, shown: Path | None, export: Sequence[str]) -> WatchPlan:
    """Read everything that can be wrong before anything starts."""
    return WatchPlan(rules=alert_rules(alerts), dashboard=dashboard(shown), sinks=sinks(export))


async def watch(
    plan: WatchPlan, service: Service, history: History, *, state_dir: Path, logs: Path, stack: AsyncExitStack
) -> Watcher:
    """Start to look and to push, until ``stack`` is left."""
    log = opened(lambda: LineFile(logs / LOG_NAME), "--bot-logs")
    stack.callback(log.close)
    watcher = Watcher(
        history, plan.rules, plan.dashboard, state_dir=state_dir, log=log, record=service.note, complain=_complain
    )
    await open_watcher(watcher, stack)
    await push_on(plan.sinks, service.metrics, stack, _complain)
    return watcher


def _complain(words: str) -> None:
    """Tell the operator; where the disk is full, that may be impossible too."""
    with suppress(OSError):
        print(f"chat: {words}", file=sys.stderr, flush=True)


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

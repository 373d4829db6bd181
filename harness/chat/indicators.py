"""Indicators: put the questions of alert rules and panels to the history of the service.

In    an aggregator; indicators
Out   for each label set, what the indicator says; ``Looker`` asks for many rules, each at its own pace
Rule  a long window is asked for more rarely than a short one: a sixtieth of it may pass before it is asked for again
Why   a number over six hours does not change within a second, and to add it up anew each second would stall replies
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.core.alert_rule import AlertRule
from harness.core.indicator import Indicator
from harness.core.series import Labels, Observation
from harness.services.aggregator import Aggregator
from harness.services.alerts import Observations

PACE = 60.0
"""The share of its window, as 1/PACE, after which an indicator is asked for again."""


def ask(aggregator: Aggregator, of: Indicator, now: float) -> Mapping[Labels, Observation]:
    """Ask for one indicator; label sets without data are not in the answer."""
    if of.over is None:
        return aggregator.query(of.metric, of.match, of.agg, of.window_s, now, unless=of.unless, by=of.by)
    over = of.over
    below = aggregator.query(over.metric, over.match, "increase", of.window_s, now, unless=over.unless, by=of.by)
    above = aggregator.query(of.metric, of.match, "increase", of.window_s, now, unless=of.unless, by=of.by)
    return {labels: _share(above.get(labels), whole) for labels, whole in below.items() if whole.value > 0}


def _share(part: Observation | None, whole: Observation) -> Observation:
    return Observation(0.0 if part is None else part.value / whole.value, whole.n, whole.coverage)


class Looker:
    """Remembers what each rule was told last."""

    __slots__ = ("_rules", "_told")

    def __init__(self, rules: Iterable[AlertRule]) -> None:
        """Ask for these rules."""
        self._rules = tuple(rules)
        self._told: dict[str, tuple[float, Mapping[Labels, Observation]]] = {}

    def due(self, now: float) -> tuple[AlertRule, ...]:
        """Give the rules that should be asked for again."""
        return tuple(rule for rule in self._rules if self._is_due(rule, now))

    def ask(self, rule: AlertRule, aggregator: Aggregator, now: float) -> None:
        """Ask for one of them: a piece of work after which others may have their turn."""
        self._told[rule.id] = now, rule.least(ask(aggregator, of, now) for of in rule.indicators)

    def told(self) -> Observations:
        """Give what every rule goes by, some of it from a moment ago."""
        return {name: told for name, (_, told) in self._told.items()}

    def _is_due(self, rule: AlertRule, now: float) -> bool:
        told = self._told.get(rule.id)
        return told is None or now - told[0] >= min(of.window_s for of in rule.indicators) / PACE

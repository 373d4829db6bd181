"""Alert words: why an alert is in its state, in a sentence for whoever looks.

In    a rule; an alert, or what the last step made of the rule
Out   a sentence
Rule  it names the number, the threshold and what would have to happen for the state to change
Why   "firing" alone sends people to the code; the reason sends them to the cause
"""

from __future__ import annotations

from typing import Final

from harness.core.alert_rule import COMPARE, AlertRule
from harness.services.alerts import Alert, State, Verdict

SAID: Final = {">": "above", ">=": "at or above", "<": "below", "<=": "at or below"}
MINUTE_S: Final = 60
HOUR_S: Final = 3600


def reason(rule: AlertRule, alert: Alert) -> str:
    """Say why one label set is where it is."""
    words = _missing(rule, alert) if alert.rule != rule.id else _present(rule, alert)
    if alert.frozen and alert.rule == rule.id:
        words += f" There has been no data for {span(alert.silence_s)}: the state is kept as it was."
    return words


def rest(rule: AlertRule, verdict: Verdict | None) -> str:
    """Say why a rule without an active alert is at rest."""
    if verdict is None:
        return "It has not been looked at yet."
    if verdict.seen == 0:
        return "There is nothing to measure yet."
    if verdict.worst is None:
        events = f"{rule.min_count:g} events and " if rule.min_count else ""
        history = span(rule.coverage_min * rule.of.window_s)
        return f"There is too little to judge by yet: it takes {events}{history} of history."
    return f"{number(verdict.worst)} is not {SAID[rule.op]} {number(rule.threshold)}."


def number(value: float) -> str:
    """Write a number for people: four digits that count."""
    return f"{value:.4g}"


def span(seconds: float) -> str:
    """Write a time for people: "42 s", "3 min", "2.5 h"."""
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / MINUTE_S:.3g} min"
    return f"{seconds / HOUR_S:.3g} h"


def _present(rule: AlertRule, alert: Alert) -> str:
    if alert.value is None:
        return "There is no data."
    value, threshold = number(alert.value), number(rule.threshold)
    beyond = f"{value} is {SAID[rule.op]} {threshold}"
    if alert.state is State.PENDING:
        return f"{beyond}; if that holds it fires in {span(max(0.0, rule.for_s - alert.state_s))}."
    if alert.state is State.RECOVERING:
        left = span(max(0.0, rule.keep_firing_for_s - alert.state_s))
        return f"{value} is well again; if that holds it ends in {left}."
    if not COMPARE[rule.op](alert.value, rule.threshold) and rule.clear is not None:
        return f"{value} is past {threshold}, but still {SAID[rule.op]} {number(rule.clear)}, where the alert ends."
    return f"{beyond}, and has been for {span(alert.state_s)}."


def _missing(rule: AlertRule, alert: Alert) -> str:
    match alert.state:
        case State.PENDING:
            left = span(max(0.0, rule.for_s - alert.state_s))
            return f"Nothing usable is measured; if that lasts it fires in {left}."
        case State.RECOVERING:
            return "There are numbers again."
        case _:
            return f"Nothing usable has been measured for {span(alert.state_s)}."

"""Prometheus rules: the alert rules of the service as a rules file that Prometheus evaluates to the same states.

In    alert rules; the name of the group and how often it is to be evaluated
Out   YAML (``promtool check rules`` accepts it)
Rule  same rules, same bytes; ``clear`` becomes a look at ALERTS, which is the state of the evaluation before
Why   whoever has a Prometheus wants its paging, and must not write the rules a second time

What Prometheus cannot do is said in the file: it takes missing data for a resolved alert (``no_data = "keep"`` freezes
it here), and it knows no coverage. ``no_data = "alert"`` becomes a second rule with ``absent``.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.core.alert_rule import NO_DATA_ID, AlertRule
from harness.exporters._promql import count, duration, number, promql, quoted

MEDIA_TYPE = "application/yaml; charset=utf-8"


def render(rules: Iterable[AlertRule], *, group: str = "hive-harness", every_s: float = 15.0) -> bytes:
    """Write one group with all rules."""
    lines = [
        "# Made from the alert rules of the service. Missing data resolves an alert in Prometheus; in the service a",
        '# rule with no_data "keep" or "alert" stands still until there is data again.',
        "groups:",
        f"  - name: {quoted(group)}",
        f"    interval: {duration(every_s)}",
        "    rules:",
    ]
    for rule in rules:
        lines += _rule(rule)
    return ("\n".join(lines) + "\n").encode()


def expression(rule: AlertRule) -> str:
    """Write the condition of a rule, its second threshold included."""
    beyond = _all_windows(rule, rule.threshold)
    if rule.clear is None:
        return beyond
    firing = f'ALERTS{{alertname={quoted(rule.id)}, alertstate="firing"}}'
    # What the rule adds to its alerts is not among the labels of the series.
    held = f"({_all_windows(rule, rule.clear)}) and ignoring(alertname, alertstate, severity) {firing}"
    return f"({beyond}) or ({held})"


def _all_windows(rule: AlertRule, threshold: float) -> str:
    conditions = []
    for of in rule.indicators:
        conditions.append(f"({promql(of)}) {rule.op} {number(threshold)}")
        if rule.min_count > 0:
            conditions.append(f"({count(of)}) >= {number(rule.min_count)}")
    return " and ".join(conditions)


def _rule(rule: AlertRule) -> Iterable[str]:
    yield from _alert(rule, rule.id, expression(rule), rule.summary)
    if rule.no_data == "alert":
        known = " and ".join(f"({promql(of)})" for of in rule.indicators)
        yield from _alert(rule, rule.id + NO_DATA_ID, f"absent({known})", f"No data: {rule.summary}")


def _alert(rule: AlertRule, name: str, expr: str, summary: str) -> Iterable[str]:
    yield f"      - alert: {quoted(name)}"
    yield f"        expr: {quoted(expr)}"
    if rule.for_s > 0:
        yield f"        for: {duration(rule.for_s)}"
    if rule.keep_firing_for_s > 0:
        yield f"        keep_firing_for: {duration(rule.keep_firing_for_s)}"
    yield "        labels:"
    yield f"          severity: {quoted(rule.severity)}"
    yield "        annotations:"
    yield f"          summary: {quoted(_plain(summary))}"
    if rule.runbook:
        yield f"          runbook: {quoted(_plain(rule.runbook))}"


def _plain(text: str) -> str:
    """Keep what looks like a template from being one: annotations are expanded by Prometheus."""
    return text.replace("{{", '{{"{{"}}')

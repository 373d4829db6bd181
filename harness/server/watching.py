"""Watching: the answers of /api/alerts and /api/dashboard/data, from what the watcher holds ready.

In    the watcher
Out   plain data
Rule  nothing is computed anew: a request only reads
Why   in an incident everybody looks at once
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.chat import alert_words
from harness.core.alert_rule import NO_DATA_ID, AlertRule
from harness.core.dashboard import Dashboard
from harness.exporters import dashboard, grafana
from harness.server.watcher import Watcher
from harness.services.alerts import Alert, State, Verdict

RANK: Final = {State.FIRING: 3, State.RECOVERING: 2, State.PENDING: 1, State.INACTIVE: 0}
NO_DATA: Final = "no-data"
FORMATS: Final[Mapping[str, Callable[[Dashboard], bytes]]] = {"own": dashboard.render, "grafana": grafana.render}
"""What GET /api/dashboard can give."""


def alerts(watcher: Watcher) -> dict[str, Any]:
    """Give every rule with its state, its reason and its active alerts, and what moved last (newest first)."""
    now = watcher.history.now()
    active: dict[str, list[Alert]] = {}
    for one in watcher.engine.alerts(now):
        active.setdefault(one.rule, []).append(one)
    verdicts = {one.rule: one for one in watcher.engine.verdicts}
    return {
        "at": now,
        "rules": [
            _rule(rule, [*active.get(rule.id, ()), *active.get(rule.id + NO_DATA_ID, ())], verdicts.get(rule.id))
            for rule in watcher.engine.rules
        ],
        "recent": [
            {
                "at": moved.at,
                "rule": moved.move.rule,
                "labels": dict(moved.move.labels),
                "from": moved.move.before,
                "to": moved.move.after,
                "cause": moved.move.cause,
                "value": moved.move.value,
                "severity": moved.move.severity,
            }
            for moved in reversed(watcher.recent)
        ],
        "dropped": watcher.engine.dropped,
    }


def columns(watcher: Watcher) -> dict[str, Any]:
    """Give the values of every panel."""
    board = watcher.board
    return {
        "step_s": board.step_s,
        "at": board.moments,
        "panels": {
            panel: [{"name": line.name, "labels": dict(line.labels), "values": line.values} for line in lines]
            for panel, lines in board.columns().items()
        },
    }


def _rule(rule: AlertRule, active: list[Alert], verdict: Verdict | None) -> dict[str, Any]:
    worst = max(active, key=lambda one: RANK[one.state], default=None)
    if worst is not None:
        state: str = worst.state
    else:
        state = NO_DATA if verdict is None or verdict.worst is None else State.INACTIVE
    return {
        "id": rule.id,
        "severity": rule.severity,
        "summary": rule.summary,
        "runbook": rule.runbook,
        "op": rule.op,
        "threshold": rule.threshold,
        "clear": rule.clear,
        "for_s": rule.for_s,
        "keep_firing_for_s": rule.keep_firing_for_s,
        "no_data": rule.no_data,
        "metric": rule.of.metric,
        "agg": rule.of.agg,
        "window_s": rule.of.window_s,
        "state": state,
        "reason": alert_words.rest(rule, verdict) if worst is None else alert_words.reason(rule, worst),
        "alerts": [
            {
                "name": one.rule,
                "labels": dict(one.labels),
                "state": one.state,
                "state_s": round(one.state_s, 3),
                "value": one.value,
                "frozen": one.frozen,
                "reason": alert_words.reason(rule, one),
            }
            for one in active
        ],
    }

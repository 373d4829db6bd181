"""Dashboard: our own description of a dashboard, as JSON that fits dashboard.schema.json.

In    a dashboard
Out   plain data, every target with the expression by which Prometheus is asked
Rule  same dashboard, same data; ``schema`` is closed: what it does not name is an error
Why   a format that others may write needs words that a program can check
"""

from __future__ import annotations

import json
from typing import Any, Final

from harness.core.dashboard import Dashboard, Panel, Target
from harness.core.indicator import Indicator, Selector
from harness.exporters._promql import promql

SCHEMA_FILE: Final = "dashboard.schema.json"
"""The file beside this one: JSON Schema, draft 2020-12."""


def render(dashboard: Dashboard) -> bytes:
    """Write it as JSON."""
    return json.dumps(plain(dashboard), ensure_ascii=False, indent=2).encode() + b"\n"


def plain(dashboard: Dashboard) -> dict[str, Any]:
    """Give it as dicts and lists."""
    return {
        "version": dashboard.version,
        "title": dashboard.title,
        "refresh_s": dashboard.refresh_s,
        "range_s": dashboard.range_s,
        "rows": [{"title": row.title, "panels": [_panel(panel) for panel in row.panels]} for row in dashboard.rows],
    }


def expression(target: Target) -> str:
    """Give the expression of a target: its own, or the one that says what ``local`` says."""
    return target.expr or promql(target.local)


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "id": panel.id,
        "title": panel.title,
        "type": panel.type,
        "unit": panel.unit,
        "help": panel.help,
        "states": list(panel.states),
        "thresholds": [{"value": one.value, "level": one.level} for one in panel.thresholds],
        "targets": [
            {"local": _indicator(target.local), "legend": target.legend, "expr": expression(target)}
            for target in panel.targets
        ],
    }


def _indicator(of: Indicator) -> dict[str, Any]:
    return {
        **_selector(of),
        "agg": of.agg,
        "window_s": of.window_s,
        "by": None if of.by is None else list(of.by),
        "over": None if of.over is None else _selector(of.over),
    }


def _selector(of: Indicator | Selector) -> dict[str, Any]:
    return {
        "metric": of.metric,
        "match": {label: list(values) for label, values in of.match.items()},
        "unless": {label: list(values) for label, values in of.unless.items()},
    }

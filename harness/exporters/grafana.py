"""Grafana: our dashboard as Grafana's classic JSON (schema version 39), to be imported as it is.

In    a dashboard
Out   JSON with one data source to choose, one Grafana panel for each of ours, in the same order
Rule  same dashboard, same bytes; the classic model, which every Grafana from 9 on takes (its newer one may lose data)
Why   whoever has a Grafana should not draw the same charts again
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from harness.core.dashboard import Dashboard, Panel, Target
from harness.exporters.dashboard import expression

WIDTH: Final = 24
"""Columns of Grafana's grid."""
PANEL_WIDTH: Final = 8
PANEL_HEIGHT: Final = 8
SCHEMA_VERSION: Final = 39
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
KINDS: Final = {"timeseries": "timeseries", "stat": "stat", "state": "state-timeline", "table": "table"}
UNITS: Final = {
    "count": "short",
    "per-second": "reqps",
    "seconds": "s",
    "ratio": "percentunit",
    "bytes": "bytes",
    "state": "none",
}
COLOURS: Final = {"warn": "orange", "bad": "red"}


def render(dashboard: Dashboard) -> bytes:
    """Write it as JSON."""
    made: dict[str, Any] = {
        "title": dashboard.title,
        "uid": None,
        "schemaVersion": SCHEMA_VERSION,
        "version": dashboard.version,
        "editable": True,
        "graphTooltip": 1,
        "tags": ["hive-harness"],
        "timezone": "browser",
        "refresh": f"{dashboard.refresh_s}s",
        "time": {"from": f"now-{dashboard.range_s}s", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "annotations": {"list": []},
        "panels": list(_panels(dashboard)),
    }
    return json.dumps(made, ensure_ascii=False, indent=2).encode() + b"\n"


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in dashboard.rows:
        number += 1
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        top += 1
        for position, panel in enumerate(row.panels):
            number += 1
            column, line = position % (WIDTH // PANEL_WIDTH), position // (WIDTH // PANEL_WIDTH)
            where = {"x": column * PANEL_WIDTH, "y": top + line * PANEL_HEIGHT, "w": PANEL_WIDTH, "h": PANEL_HEIGHT}
            yield _panel(panel, number, where)
        lines = -(-len(row.panels) * PANEL_WIDTH // WIDTH)
        top += lines * PANEL_HEIGHT


def _panel(panel: Panel, number: int, where: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [
        {"color": COLOURS[one.level], "value": one.value} for one in sorted(panel.thresholds, key=lambda one: one.value)
    ]
    return {
        "id": number,
        "type": KINDS[panel.type],
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": where,
        "fieldConfig": {
            "defaults": {
                "unit": UNITS[panel.unit],
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                # A gap stays a gap.
                "custom": {"spanNulls": False, "thresholdsStyle": {"mode": "line" if panel.thresholds else "off"}}
                if panel.type == "timeseries"
                else {},
                "mappings": _mappings(panel.states),
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.type == "timeseries" else {},
        "targets": [_target(target, chr(ord("A") + place)) for place, target in enumerate(panel.targets)],
    }


def _target(target: Target, letter: str) -> dict[str, Any]:
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": expression(target),
        "legendFormat": target.legend or "__auto",
        "range": True,
    }


def _mappings(states: tuple[str, ...]) -> list[dict[str, Any]]:
    if not states:
        return []
    return [
        {
            "type": "value",
            "options": {
                str(number): {"text": states[number], "index": index}
                for index, number in enumerate((*range(len(states)), *range(-1, -len(states), -1)))
            },
        }
    ]

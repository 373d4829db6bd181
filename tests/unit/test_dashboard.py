"""The dashboard: its schema, the default one, and what Grafana and Prometheus get of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harness import exporters
from harness.core.dashboard import Dashboard, Panel, Row, Target, Threshold
from harness.core.families import FAMILIES
from harness.core.indicator import Indicator
from harness.errors import ScenarioError
from harness.exporters import dashboard as ours
from harness.exporters import grafana
from harness.exporters._promql import promql
from harness.server import watch_plan
from tests.oracles import oracle

SCHEMA: dict[str, Any] = json.loads((Path(exporters.__file__).with_name(ours.SCHEMA_FILE)).read_text("utf-8"))
DEFAULT = watch_plan.dashboard()
TARGET = Target(local=Indicator(metric="chat_sockets"), legend="sockets")
PANEL = Panel(id="sockets", title="Sockets", targets=(TARGET,))


def errors(data: object) -> list[str]:
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(data)]


def test_the_schema_is_one_and_the_default_dashboard_fits() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert errors(json.loads(ours.render(DEFAULT))) == []


def every_object(node: object) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        found = [node] if node.get("type") == "object" and "properties" in node else []
        return found + [one for value in node.values() for one in every_object(value)]
    return [one for value in node for one in every_object(value)] if isinstance(node, list) else []


def test_the_schema_is_closed_and_complete() -> None:
    closed = [one for one in every_object(SCHEMA) if "required" in one]
    assert len(closed) == 7
    for one in closed:
        assert one["additionalProperties"] is False
        assert set(one["required"]) == set(one["properties"])


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(ours.render(DEFAULT))
    change(data)
    return data


def target(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = data["rows"][0]["panels"][0]["targets"][0]
    return found


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda data: data.update(colour="red"), "$"),
        (lambda data: data.update(version=2), "$.version"),
        (lambda data: data.update(rows=[]), "$.rows"),
        (lambda data: data.pop("title"), "$"),
        (lambda data: data["rows"][0]["panels"][0].update(type="pie"), "$.rows[0].panels[0].type"),
        (lambda data: data["rows"][0]["panels"][0].update(states=["on"]), "$.rows[0].panels[0].states"),
        (lambda data: data["rows"][0]["panels"][0].update(targets=[]), "$.rows[0].panels[0].targets"),
        (lambda data: target(data)["local"].update(agg="mean"), "$.rows[0].panels[0].targets[0].local.agg"),
        (lambda data: target(data)["local"].update(agg="ratio"), "$.rows[0].panels[0].targets[0].local.over"),
        (lambda data: target(data).update(expr=""), "$.rows[0].panels[0].targets[0].expr"),
    ],
)
def test_what_does_not_fit_is_found_where_it_stands(change: Callable[[dict[str, Any]], object], path: str) -> None:
    assert path in errors(broken(change))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Panel(id="A b", title="x", targets=(TARGET,)), "id: 'A b'"),
        (lambda: Panel(id="a", title="x", targets=()), "targets: needs"),
        (lambda: Panel(id="a", title="x", type="state", targets=(TARGET,)), "states: belong"),
        (lambda: Panel(id="a", title="x", states=("on",), targets=(TARGET,)), "states: belong"),
        (lambda: Threshold(value=float("nan")), "threshold"),
        (
            lambda: Dashboard(title="x", rows=(Row(title="r", panels=(PANEL, PANEL)),)),
            "two panels are called 'sockets'",
        ),
        (lambda: Dashboard(title="x", rows=()), "from 1 to 60 panels"),
        (lambda: Dashboard(title="x", refresh_s=0, rows=(Row(title="r", panels=(PANEL,)),)), "refresh_s"),
    ],
)
def test_a_dashboard_that_cannot_be_shown_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        make()


def test_a_target_keeps_its_own_expression() -> None:
    own = Target(local=TARGET.local, expr="max(chat_sockets)")
    assert (ours.expression(own), ours.expression(TARGET)) == ("max(chat_sockets)", "chat_sockets")


def test_grafana_gets_every_panel_in_order_and_none_over_another() -> None:
    made = json.loads(grafana.render(DEFAULT))
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels] == [panel.title for panel in DEFAULT.panels()]
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in made["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < grafana.WIDTH
    for panel, own in zip(panels, DEFAULT.panels(), strict=True):
        assert [one["expr"] for one in panel["targets"]] == [promql(one.local) for one in own.targets]
        assert [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [
            None,
            *sorted(one.value for one in own.thresholds),
        ]
    (state,) = [panel for panel in panels if panel["type"] == "state-timeline"]
    assert state["fieldConfig"]["defaults"]["mappings"][0]["options"]["2"]["text"] == "open"
    assert json.loads(grafana.render(DEFAULT))["templating"]["list"][0]["query"] == "prometheus"


def test_every_expression_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{re.sub('[^a-z]', '_', panel.id)}:{number}", "expr": ours.expression(one)}
        for panel in DEFAULT.panels()
        for number, one in enumerate(panel.targets)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    done = subprocess.run([oracle("promtool"), "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    path.write_text(path.read_text("utf-8").replace("sum by (bot) (", "sum by (bot) (("), "utf-8")
    done = subprocess.run([oracle("promtool"), "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 1, "the control: an open parenthesis is found"


class TestFiles:
    def test_the_default_rules_are_there(self) -> None:
        rules = {rule.id: rule for rule in watch_plan.alert_rules()}
        assert {"error-rate", "breaker-open", "reply-slow", "queue-long", "not-saved", "loop-lag"} <= set(rules)
        assert {"metrics-overflow", "budget-burn-fast", "budget-burn-slow"} <= set(rules)
        assert rules["error-rate"].min_count > 0
        assert all(rule.summary and rule.runbook for rule in rules.values())
        assert all(rule.of.metric in FAMILIES for rule in rules.values())

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[[rules", "is not TOML"),
            ("[[rule]]\nid='x'", "unknown field 'rule'"),
            ("[[rules]]\nid='x'\nsummary='s'\nthreshold=1\nof={metric='chat_turn'}", "no metric 'chat_turn'"),
            ("[[rules]]\nid='x'\nsummary='s'\nthreshold=1\nof={metric='chat_turns_total'}", "is a counter"),
            (
                "[[rules]]\nid='x'\nsummary='s'\nthreshold=1\nof={metric='chat_bots', match={bot=['a']}}",
                "no label 'bot'",
            ),
            ("[[rules]]\nid='x'\nsummary=''\nthreshold=1\nof={metric='chat_bots'}", r"rules\[0\]: rule 'x': summary"),
        ],
    )
    def test_a_bad_file_of_rules_is_refused_with_its_name(self, tmp_path: Path, text: str, words: str) -> None:
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        with pytest.raises(ScenarioError, match=words) as caught:
            watch_plan.alert_rules(path)
        assert str(caught.value).startswith(str(path))

    def test_a_missing_file_is_refused_with_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(ScenarioError, match=r"none\.toml: cannot be read: No such file"):
            watch_plan.dashboard(tmp_path / "none.toml")

    def test_a_file_that_is_too_long_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "many.toml"
        rule = "[[rules]]\nid='x{}'\nsummary='s'\nthreshold=1\nof={{metric='chat_bots'}}\n"
        path.write_text("".join(rule.format(number) for number in range(201)), "utf-8")
        with pytest.raises(ScenarioError, match="at most 200, got 201"):
            watch_plan.alert_rules(path)

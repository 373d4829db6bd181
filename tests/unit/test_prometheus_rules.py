"""Alert rules as Prometheus' own: the exact text, and promtool's judgement on everything that can be written."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.core.alert_rule import AlertRule
from harness.core.indicator import Indicator, Selector
from harness.exporters._promql import count, duration, number, promql, quoted, selector
from harness.exporters.prometheus_rules import expression, render
from tests.oracles import oracle

ERRORS = Indicator(
    metric="chat_turns_total",
    unless={"outcome": ("done", "cancelled")},
    agg="ratio",
    window_s=300,
    by=("bot",),
    over=Selector(metric="chat_turns_total"),
)
RULE = AlertRule(id="errors", of=ERRORS, threshold=0.1, summary="Many errors.")
LAG = Indicator(metric="lag_seconds", window_s=90)


@pytest.mark.parametrize(
    ("of", "expr", "counted"),
    [
        (LAG, "lag_seconds", "count_over_time(lag_seconds[90s])"),
        (replace(LAG, agg="max"), "max_over_time(lag_seconds[90s])", "count_over_time(lag_seconds[90s])"),
        (replace(LAG, agg="avg"), "avg_over_time(lag_seconds[90s])", "count_over_time(lag_seconds[90s])"),
        (
            replace(LAG, agg="min", by=("bot",)),
            "min by (bot) (min_over_time(lag_seconds[90s]))",
            "sum by (bot) (count_over_time(lag_seconds[90s]))",
        ),
        (replace(LAG, by=()), "sum(lag_seconds)", "sum(count_over_time(lag_seconds[90s]))"),
        (
            Indicator(metric="x_total", match={"bot": ("a",)}, agg="rate", window_s=60),
            'rate(x_total{bot="a"}[1m])',
            'increase(x_total{bot="a"}[1m])',
        ),
        (
            replace(LAG, agg="p95"),
            "histogram_quantile(0.95, rate(lag_seconds_bucket[90s]))",
            "increase(lag_seconds_count[90s])",
        ),
        (
            replace(LAG, agg="p50", by=("bot",)),
            "histogram_quantile(0.5, sum by (le, bot) (rate(lag_seconds_bucket[90s])))",
            "sum by (bot) (increase(lag_seconds_count[90s]))",
        ),
        (
            ERRORS,
            (
                '(sum by (bot) (increase(chat_turns_total{outcome!~"done|cancelled"}[5m]))'
                " or 0 * sum by (bot) (increase(chat_turns_total[5m])))"
                " / sum by (bot) (increase(chat_turns_total[5m]))"
            ),
            "sum by (bot) (increase(chat_turns_total[5m]))",
        ),
    ],
)
def test_an_indicator_is_this_expression(of: Indicator, expr: str, counted: str) -> None:
    assert (promql(of), count(of)) == (expr, counted)


def test_small_parts() -> None:
    assert [duration(s) for s in (86400, 7200, 300, 90, 1.5)] == ["1d", "2h", "5m", "90s", "1500ms"]
    assert [number(v) for v in (1.0, -2.5, 1e300)] == ["1", "-2.5", "1e+300"]
    assert quoted('a"\\\n') == '"a\\"\\\\\\n"'
    assert selector("m", {"a": ("x.y", "z|")}, {"b": ("c",)}) == 'm{a=~"x\\\\.y|z\\\\|", b!="c"}'


def test_two_thresholds_look_at_the_evaluation_before() -> None:
    rule = AlertRule(id="lag", of=LAG, threshold=5, clear=3, summary="s")
    assert expression(rule) == (
        "((lag_seconds) > 5) or (((lag_seconds) > 3) and ignoring(alertname, alertstate, severity)"
        ' ALERTS{alertname="lag", alertstate="firing"})'
    )


def test_two_windows_and_a_minimum_are_conditions_too() -> None:
    rule = AlertRule(id="lag", of=LAG, also_window_s=30, threshold=5, min_count=7, summary="s")
    assert expression(rule) == (
        "(lag_seconds) > 5 and (count_over_time(lag_seconds[90s])) >= 7"
        " and (lag_seconds) > 5 and (count_over_time(lag_seconds[30s])) >= 7"
    )


def test_the_whole_file() -> None:
    rule = replace(
        RULE, of=LAG, for_s=60, keep_firing_for_s=120, no_data="alert", runbook="Look at {{ it }}.", severity="page"
    )
    assert render([rule], group="g", every_s=5).decode() == (
        "# Made from the alert rules of the service. Missing data resolves an alert in Prometheus; in the service a\n"
        '# rule with no_data "keep" or "alert" stands still until there is data again.\n'
        "groups:\n"
        '  - name: "g"\n'
        "    interval: 5s\n"
        "    rules:\n"
        '      - alert: "errors"\n'
        '        expr: "(lag_seconds) > 0.1"\n'
        "        for: 1m\n"
        "        keep_firing_for: 2m\n"
        "        labels:\n"
        '          severity: "page"\n'
        "        annotations:\n"
        '          summary: "Many errors."\n'
        '          runbook: "Look at {{\\"{{\\"}} it }}."\n'
        '      - alert: "errors-no-data"\n'
        '        expr: "absent((lag_seconds))"\n'
        "        for: 1m\n"
        "        keep_firing_for: 2m\n"
        "        labels:\n"
        '          severity: "page"\n'
        "        annotations:\n"
        '          summary: "No data: Many errors."\n'
        '          runbook: "Look at {{\\"{{\\"}} it }}."\n'
    )


NAMES = st.sampled_from(["bot", "outcome", "le_", "_x"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
MATCH = st.dictionaries(NAMES, st.lists(TEXTS, min_size=1, max_size=3).map(tuple), max_size=2)
SECONDS = st.integers(0, 100_000).map(lambda ms: ms / 1000)


@st.composite
def any_rule(draw: st.DrawFn) -> AlertRule:
    agg = draw(st.sampled_from(["rate", "increase", "last", "min", "max", "avg", "p1", "p99", "ratio"]))
    by = draw(st.none() | st.lists(NAMES, unique=True, max_size=2).map(tuple))
    changes: dict[str, Any] = {"by": None if agg == "avg" else by}
    if agg == "ratio":
        changes = {"by": by or (), "over": Selector(metric="y_total", match=draw(MATCH), unless=draw(MATCH))}
    return AlertRule(
        id=f"rule-{draw(st.integers(0, 10**9))}",
        of=Indicator(
            metric="x_total",
            match=draw(MATCH),
            unless=draw(MATCH),
            agg=agg,
            window_s=draw(st.integers(1000, 10**6)) / 1000,
            **changes,
        ),
        op=draw(st.sampled_from([">", ">=", "<", "<="])),
        threshold=(threshold := draw(st.floats(-1e9, 1e9))),
        clear=draw(st.sampled_from([None, threshold])),
        also_window_s=draw(st.none() | st.just(60.0)),
        for_s=draw(SECONDS),
        keep_firing_for_s=draw(SECONDS),
        min_count=draw(st.sampled_from([0.0, 2.5])),
        no_data=draw(st.sampled_from(["keep", "ok", "alert"])),
        summary="s" + draw(TEXTS),
        runbook=draw(TEXTS),
    )


# Each example starts a program: to shrink one would take minutes.
@settings(
    max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(any_rule(), min_size=20, max_size=40, unique_by=lambda rule: rule.id))
def test_promtool_accepts_whatever_rules_there_are(tmp_path: Path, rules: list[AlertRule]) -> None:
    path = tmp_path / "rules.yml"
    path.write_bytes(render(rules))
    done = subprocess.run([oracle("promtool"), "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

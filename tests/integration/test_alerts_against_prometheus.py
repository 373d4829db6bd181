"""The alert engine and Prometheus are given the same rules and the same series: they must say the same at every tick.

Prometheus says it through ``promtool test rules``, which runs the real rule evaluation. A state here is one (rule,
series, tick): not active, pending or firing (what recovers is firing in Prometheus). Missing data differs on purpose:
these rules take it as Prometheus does (``no_data = "ok"``); a gap is written "stale": a mere hole would be looked past.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.core.alert_rule import AlertRule, Op
from harness.core.indicator import Indicator
from harness.core.series import Labels, Observation
from harness.exporters import prometheus_rules
from harness.services.alerts import REPORTED_FIRING, AlertEngine
from tests.oracles import oracle

SERIES = 5
TICKS = 100
OPS: tuple[Op, ...] = (">", ">=", "<", "<=")
Value = float | None


def rules(dice: random.Random, number: int) -> list[AlertRule]:
    made = []
    for place in range(number):
        op = dice.choice(OPS)
        deadband = dice.choice([None, 0.0, 1.0, 2.0])
        made.append(
            AlertRule(
                id=f"rule-{place}",
                of=Indicator(metric="level", unless={"series": (f"s{dice.randrange(SERIES)}",)}, window_s=3.0),
                op=op,
                threshold=5.0,
                clear=None if deadband is None else 5.0 - deadband if op in (">", ">=") else 5.0 + deadband,
                for_s=float(dice.randrange(5)),
                keep_firing_for_s=float(dice.choice([0, 0, 1, 2, 3, 5])),
                min_count=dice.choice([0, 0, 2, 3]),
                no_data="ok",
                severity=dice.choice(["page", "warn", "info"]),
                summary="Too {{ high }} or too low.",
            )
        )
    return made


def walk(dice: random.Random) -> list[Value]:
    """A value that wanders about the thresholds, is away at times, and sometimes no number."""
    values: list[Value] = []
    level, away = 5.0, 0
    for _ in range(TICKS):
        away = away - 1 if away else dice.choice([0] * 12 + [1, 2, 4])
        level = min(9.0, max(1.0, level + dice.choice([-3.0, -1.0, 0.0, 0.0, 1.0, 3.0])))
        values.append(None if away else dice.choice([level] * 20 + [math.nan, math.inf, -math.inf]))
    return values


def ours(made: list[AlertRule], series: Mapping[str, list[Value]]) -> list[set[tuple[str, str, str]]]:
    """For every tick: (rule, series, "pending" or "firing")."""
    engine = AlertEngine(made)
    told = []
    for tick in range(TICKS):
        observed: dict[str, dict[Labels, Observation]] = {rule.id: {} for rule in made}
        for name, values in series.items():
            labels = (("series", name),)
            value = values[tick]
            if value is None:
                continue
            for rule in made:
                if rule.of.accepts(labels):
                    # Prometheus 2 counts both edges of a window.
                    window = values[max(0, tick - int(rule.of.window_s)) : tick + 1]
                    count = sum(one is not None for one in window)
                    observed[rule.id][labels] = Observation(value, count)
        engine.step(float(tick), observed)
        told.append(
            {
                (one.rule, dict(one.labels)["series"], "firing" if one.state in REPORTED_FIRING else one.state.value)
                for one in engine.alerts(float(tick))
            }
        )
    return told


def written(value: Value) -> str:
    if value is None:
        return "stale"
    return "NaN" if math.isnan(value) else f"{value:+g}".replace("inf", "Inf").lstrip("+") if value else "0"


def right(made: list[AlertRule]) -> bytes:
    return prometheus_rules.render(made, every_s=1.0)


def difference(
    folder: Path, seed: int, number: int, render: Callable[[list[AlertRule]], bytes] = right
) -> tuple[str, Counter[str]]:
    """What promtool has to say against our states; how many states of which kind were compared."""
    dice = random.Random(seed)
    made = rules(dice, number)
    series = {f"s{place}": walk(dice) for place in range(SERIES)}
    severities = {rule.id: rule.severity for rule in made}
    told = ours(made, series)
    (folder / "rules.yml").write_bytes(render(made))

    def sample(rule: str, name: str, state: str) -> dict[str, object]:
        labels = {"alertname": rule, "alertstate": state, "series": name, "severity": severities[rule]}
        return {"labels": f"ALERTS{{{','.join(f'{k}={json.dumps(v)}' for k, v in labels.items())}}}", "value": 1}

    expected = [
        {"expr": "ALERTS", "eval_time": f"{tick}s", "exp_samples": [sample(*one) for one in sorted(active)]}
        for tick, active in enumerate(told)
    ]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1s",
        "tests": [
            {
                "interval": "1s",
                "input_series": [
                    {"series": f'level{{series="{name}"}}', "values": " ".join(map(written, values))}
                    for name, values in series.items()
                ],
                "promql_expr_test": expected,
            }
        ],
    }
    (folder / "test.yml").write_text(json.dumps(test), "utf-8")
    done = subprocess.run(
        [oracle("promtool"), "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    counted = Counter(state for active in told for _, _, state in active)
    counted["inactive"] = number * SERIES * TICKS - counted.total()
    return ("" if done.returncode == 0 else f"seed {seed}: {done.stdout}{done.stderr}"[:4000]), counted


@pytest.mark.timeout(300)
def test_sixty_thousand_states_are_those_of_prometheus(tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    for seed in range(6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        words, states = difference(folder, seed, 20)
        assert not words, words
        counted += states
    assert counted.total() == 60_000
    assert min(counted[state] for state in ("inactive", "pending", "firing")) > 5_000, "every state must be met often"


def test_a_difference_would_be_seen(tmp_path: Path) -> None:
    """The control: with rules that hold one second longer, Prometheus must disagree."""

    def wrong(made: list[AlertRule]) -> bytes:
        return right(made).replace(b"for: 2s", b"for: 3s")

    assert "FAILED" in difference(tmp_path, 1, 6, render=wrong)[0]

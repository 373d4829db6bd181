"""The alert engine: stories in a table, what silence does, restarts, bounds, and any history against a naive model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.core.alert_rule import AlertRule
from harness.core.indicator import Indicator, Selector
from harness.core.series import Labels, Observation
from harness.errors import ScenarioError
from harness.services.alerts import NEXT, Alert, AlertEngine, AlertsConfig, Move, Signal, State

A: Labels = (("bot", "a"),)
B: Labels = (("bot", "b"),)
LAG = Indicator(metric="chat_loop_lag_seconds", agg="max", window_s=60)
RULE = AlertRule(id="lag", of=LAG, threshold=10, for_s=2, keep_firing_for_s=2, summary="late")


def told(value: float | None, labels: Labels = A, rule_id: str = "lag") -> Mapping[str, Mapping[Labels, Observation]]:
    return {rule_id: {} if value is None else {labels: Observation(value)}}


def play(rule: AlertRule, story: str, engine: AlertEngine | None = None) -> list[str]:
    """One step a second: H beyond the threshold, M between it and ``clear``, L below, "-" no data; the states."""
    engine = engine or AlertEngine([rule])
    levels = {"H": 11.0, "M": 7.0, "L": 1.0, "-": None}
    states = []
    for second, letter in enumerate(story):
        engine.step(float(second), told(levels[letter], rule_id=rule.id))
        found = [alert.state for alert in engine.alerts(float(second)) if alert.rule == rule.id]
        states.append(found[0][0] if found else ".")
    return states


@pytest.mark.parametrize(
    ("changes", "story", "states"),
    [
        pytest.param({}, "LLL", "...", id="all is well"),
        pytest.param({}, "HHL", "pp.", id="too short to fire"),
        pytest.param({}, "HHHH", "ppff", id="it fires once it has held for two seconds"),
        pytest.param({"for_s": 0.0}, "HL", "fr", id="without a wait it fires at once"),
        pytest.param({}, "HHHLLL", "ppfrr.", id="it recovers for two seconds, then it is over"),
        pytest.param({}, "HHHLHLLL", "ppfrfrr.", id="a relapse while it recovers fires at once"),
        pytest.param({"keep_firing_for_s": 0.0}, "HHHL", "ppf.", id="without a grace it ends at once"),
        pytest.param({}, "HHHMML", "ppfrr.", id="one threshold: in between is well"),
        pytest.param({"clear": 5.0}, "HHHMML", "ppfffr", id="two thresholds: in between goes on firing"),
        pytest.param({"clear": 5.0}, "MMM", "...", id="two thresholds: in between does not start"),
        pytest.param({"clear": 5.0}, "HHMM", "pp..", id="two thresholds: in between does not keep waiting"),
        pytest.param({"clear": 5.0}, "HHHLML", "ppfrfr", id="two thresholds: in between is a relapse"),
        pytest.param({}, "HH-L", "ppp.", id="silence stops the wait"),
        pytest.param({}, "H--HH", "ppppf", id="the wait goes on after silence"),
        pytest.param({}, "HHH--L", "ppfffr", id="silence keeps it firing"),
        pytest.param({}, "HHHL-LL", "ppfrrr.", id="silence stops the recovery"),
        pytest.param({"no_data": "ok"}, "HH-HHH", "pp.ppf", id="silence is well, as in Prometheus"),
        pytest.param({"no_data": "ok"}, "HHH-LL", "ppfrr.", id="silence is well: recovery begins"),
        pytest.param({"op": "<", "threshold": 5.0}, "MLLLM", ".ppfr", id="below a threshold"),
    ],
)
def test_story(changes: dict[str, Any], story: str, states: str) -> None:
    assert "".join(play(replace(RULE, **changes), story)) == states


def test_the_table_names_every_way_out_of_every_state() -> None:
    assert {state for state, _ in NEXT} == set(State)
    assert {signal for _, signal in NEXT} == set(Signal)
    assert all(NEXT[state, Signal.FORGOTTEN] is State.INACTIVE for state in State if state is not State.INACTIVE)


def test_moves_carry_cause_value_and_severity() -> None:
    engine = AlertEngine([replace(RULE, for_s=0.0, severity="page")])
    assert engine.step(0.0, told(11.0)) == (
        Move("lag", A, State.INACTIVE, State.PENDING, Signal.EXCEEDED, 11.0, "page"),
        Move("lag", A, State.PENDING, State.FIRING, Signal.HELD, 11.0, "page"),
    )


def test_label_sets_are_strangers() -> None:
    engine = AlertEngine([RULE])
    assert engine.rules == (RULE,)
    engine.step(0.0, {"lag": {A: Observation(11), B: Observation(1)}})
    engine.step(2.0, {"lag": {A: Observation(11), B: Observation(11)}})
    assert [(alert.labels, alert.state) for alert in engine.alerts(2.0)] == [(A, State.FIRING), (B, State.PENDING)]


@pytest.mark.parametrize(
    "unusable",
    [
        pytest.param(Observation(math.nan), id="no number"),
        pytest.param(Observation(11, n=2), id="too few events"),
        pytest.param(Observation(11, n=9, coverage=0.49), id="too little of the window seen"),
    ],
)
def test_what_is_unusable_is_no_data(unusable: Observation) -> None:
    engine = AlertEngine([replace(RULE, min_count=3)])
    assert engine.step(0.0, {"lag": {A: unusable}}) == ()
    (verdict,) = engine.verdicts
    assert (verdict.seen, verdict.unusable, verdict.worst) == (1, 1, None)


def test_half_of_the_window_is_enough() -> None:
    assert AlertEngine([RULE]).step(0.0, {"lag": {A: Observation(11, coverage=0.5)}})[0].after is State.PENDING


def test_infinity_is_a_value() -> None:
    assert AlertEngine([RULE]).step(0.0, told(math.inf))[0].after is State.PENDING


def test_the_verdict_holds_the_value_nearest_to_trouble() -> None:
    engine = AlertEngine([RULE, replace(RULE, id="low", op="<=")])
    both = {A: Observation(3), B: Observation(8)}
    engine.step(0.0, {"lag": both, "low": both})
    assert [verdict.worst for verdict in engine.verdicts] == [8, 3]


def test_silence_beyond_the_limit_is_forgotten() -> None:
    engine = AlertEngine([replace(RULE, for_s=0.0)], AlertsConfig(silence_s_max=5.0))
    engine.step(0.0, told(11.0))
    assert [move for second in range(1, 5) for move in engine.step(second, {})] == []
    assert engine.alerts(4.0) == (Alert("lag", A, State.FIRING, 0.0, 11.0, frozen=True, silence_s=4.0),)
    assert engine.step(5.0, {}) == (Move("lag", A, State.FIRING, State.INACTIVE, Signal.FORGOTTEN, None, "warn"),)
    assert engine.alerts(5.0) == ()


def test_missing_data_has_an_alert_of_its_own() -> None:
    rule = replace(RULE, no_data="alert")
    engine = AlertEngine([rule])
    engine.step(0.0, told(11.0))
    moves = [move for second in range(1, 8) for move in engine.step(second, told(None if second < 5 else 1.0))]
    assert [(move.rule, move.after) for move in moves] == [
        ("lag-no-data", State.PENDING),
        ("lag-no-data", State.FIRING),
        ("lag", State.INACTIVE),
        ("lag-no-data", State.RECOVERING),
        ("lag-no-data", State.INACTIVE),
    ]


def test_how_long_a_state_lasts_is_told_without_the_silence() -> None:
    engine = AlertEngine([RULE])
    engine.step(0.0, told(11.0))
    engine.step(1.0, told(11.0))
    assert engine.alerts(1.5)[0].state_s == 1.5
    engine.step(60.0, {})
    assert (engine.alerts(61.0)[0].state_s, engine.alerts(61.0)[0].silence_s) == (1.0, 60.0)


def test_a_restart_does_not_begin_the_wait_again() -> None:
    engine = AlertEngine([RULE])
    engine.step(0.0, told(11.0))
    engine.step(1.0, told(11.0))
    again = AlertEngine([RULE])
    again.restore(500.0, engine.saved(1.0))
    assert again.alerts(500.0)[0].frozen
    assert again.step(501.0, told(11.0))[0].after is State.FIRING


def test_a_restart_keeps_firing_alerts_and_leaves_out_rules_that_are_gone() -> None:
    saved = (
        Alert("lag", A, State.FIRING, 100.0, 11.0, frozen=False),
        Alert("gone", A, State.FIRING, 100.0, 11.0, frozen=False),
        Alert("lag-no-data", (), State.FIRING, 100.0, None, frozen=False),
    )
    engine = AlertEngine([RULE])
    engine.restore(0.0, saved)
    assert [(alert.rule, alert.state_s) for alert in engine.alerts(0.0)] == [("lag", 100.0)]
    watching = AlertEngine([replace(RULE, no_data="alert")])
    watching.restore(0.0, saved)
    assert [alert.rule for alert in watching.alerts(0.0)] == ["lag", "lag-no-data"]


@pytest.mark.parametrize(
    "nonsense",
    [
        Alert("lag", A, State.INACTIVE, 1.0, 1.0, frozen=False),
        Alert("lag", A, State.FIRING, -1.0, 1.0, frozen=False),
        Alert("lag", A, State.FIRING, math.nan, 1.0, frozen=False),
        Alert("lag", A, State.FIRING, 1.0, 1.0, frozen=False, silence_s=math.inf),
    ],
)
def test_what_cannot_have_been_saved_is_refused(nonsense: Alert) -> None:
    engine = AlertEngine([RULE])
    engine.step(3.0, told(11.0))
    with pytest.raises(ValueError, match="can have been saved"):
        engine.restore(4.0, [nonsense])
    assert [alert.state for alert in engine.alerts(3.0)] == [State.PENDING]


def test_more_alerts_than_the_limit_are_counted_not_followed() -> None:
    engine = AlertEngine([replace(RULE, no_data="alert")], AlertsConfig(active_max=1))
    engine.step(0.0, {"lag": {A: Observation(11), B: Observation(11)}})
    assert ([alert.labels for alert in engine.alerts(0.0)], engine.dropped) == ([A], 1)
    engine.step(1.0, {})
    assert len(engine.alerts(1.0)) == 1
    full = AlertEngine([RULE], AlertsConfig(active_max=1))
    full.restore(0.0, [Alert("lag", labels, State.FIRING, 1.0, 1.0, frozen=False) for labels in (A, B)])
    assert len(full.alerts(0.0)) == 1


@pytest.mark.parametrize(
    ("now", "observations", "words"),
    [
        (math.nan, {}, "finite"),
        (math.inf, {}, "finite"),
        (4.0, {}, "must not go back"),
        (6.0, {"unheard-of": {}}, "unknown rules: unheard-of"),
    ],
)
def test_a_bad_step_is_refused_and_changes_nothing(now: float, observations: Any, words: str) -> None:
    engine = AlertEngine([RULE])
    engine.step(5.0, told(11.0))
    before = engine.alerts(5.0), engine.verdicts
    with pytest.raises(ValueError, match=words):
        engine.step(now, observations)
    assert (engine.alerts(5.0), engine.verdicts) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "Loud"}, "id: 'Loud'"),
        ({"op": "=="}, "op: '=='"),
        ({"threshold": math.nan}, "threshold: must be a finite"),
        ({"clear": 11.0}, "clear: must be below"),
        ({"clear": math.nan}, "clear: must be below"),
        ({"op": "<", "clear": 9.0}, "clear: must be above"),
        ({"for_s": -1.0}, "for_s"),
        ({"for_s": math.nan}, "for_s"),
        ({"keep_firing_for_s": math.inf}, "keep_firing_for_s"),
        ({"min_count": -1.0}, "min_count"),
        ({"coverage_min": 0.0}, "coverage_min"),
        ({"coverage_min": 1.1}, "coverage_min"),
        ({"also_window_s": 0.0}, "also_window_s"),
        ({"no_data": "maybe"}, "no_data: 'maybe'"),
        ({"severity": "loud"}, "severity: 'loud'"),
        ({"summary": " "}, "summary: say"),
    ],
)
def test_bad_rules_are_refused_with_the_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        replace(RULE, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "a-b"}, "metric: 'a-b'"),
        ({"match": {"a b": ("c",)}}, "match: 'a b'"),
        ({"match": {"a": ()}}, "match.a: needs"),
        ({"unless": {"1": ("c",)}}, "unless: '1'"),
        ({"agg": "mean"}, "agg: 'mean'"),
        ({"agg": "p0"}, "agg: 'p0'"),
        ({"window_s": 0.5}, "window_s: must be from 1"),
        ({"window_s": math.nan}, "window_s: must be from 1"),
        ({"agg": "ratio", "by": ()}, "over: a ratio needs"),
        ({"over": Selector(metric="x")}, "over: only a ratio"),
        ({"agg": "ratio", "over": Selector(metric="x")}, "by: a ratio needs"),
        ({"agg": "avg", "by": ("bot",)}, "by: an average"),
        ({"by": ("a b",)}, "by: 'a b'"),
    ],
)
def test_bad_indicators_are_refused_with_the_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        replace(LAG, **changes)


@pytest.mark.parametrize("changes", [{"active_max": 0}, {"silence_s_max": 0.0}, {"silence_s_max": math.nan}])
def test_bad_engines_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match=next(iter(changes))):
        AlertsConfig(**changes)


@pytest.mark.parametrize("names", [("lag", "lag"), ("lag", "lag-no-data"), ("lag-no-data", "lag")])
def test_two_alerts_of_one_name_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ScenarioError, match="two alerts are called"):
        AlertEngine([replace(RULE, id=name, no_data="alert" if name == "lag" else "ok") for name in names])


def test_two_windows_must_both_be_beyond() -> None:
    burn = replace(RULE, of=replace(LAG, window_s=3600), also_window_s=300.0)
    assert [of.window_s for of in burn.indicators] == [3600, 300]
    assert RULE.indicators == (LAG,)
    long = {A: Observation(20, 100, 1.0), B: Observation(20)}
    assert burn.least([long, {A: Observation(5, 10, 0.9)}]) == {A: Observation(5, 10, 0.9)}
    assert replace(burn, op="<", clear=None).least([long, {A: Observation(5, 10, 0.9)}])[A].value == 20


class TestIndicator:
    def test_labels_decide_what_counts(self) -> None:
        of = Indicator(metric="m", match={"bot": ("a", "b")}, unless={"outcome": ("done",)}, agg="rate", by=("bot",))
        assert of.accepts((("bot", "a"), ("outcome", "busy")))
        assert not of.accepts((("bot", "a"), ("outcome", "done")))
        assert not of.accepts((("outcome", "busy"),))
        assert of.group((("bot", "a"), ("outcome", "busy"))) == A
        assert LAG.group(A) == A
        assert LAG.accepts(A)
        assert Selector(metric="m", match={"bot": ("a",)}).accepts(A)
        assert Selector(metric="m", match={"absent": ("",)}).accepts(A)

    def test_percentiles(self) -> None:
        assert replace(LAG, agg="p95").percentile == 95
        assert LAG.percentile is None


# --- Any history, against a model that looks at all of it anew each time ----------------------------------------------
History = list[tuple[float, float | None]]


def model(rule: AlertRule, history: History) -> str:
    """The state that a whole history leads to: on a clock that stands still where ``keep`` has no data."""
    clock = 0.0
    active_at: float | None = None
    keep_since: float | None = None
    fired = False
    before = history[0][0]
    for now, value in history:
        frozen = value is None and rule.no_data == "keep"
        clock += 0.0 if frozen else now - before
        before = now
        if frozen:
            continue
        bad = value is not None and (
            value > rule.threshold or (fired and rule.clear is not None and value > rule.clear)
        )
        if bad:
            active_at = clock if active_at is None else active_at
            keep_since = None
            fired = fired or clock - active_at >= rule.for_s
        elif fired:
            keep_since = clock if keep_since is None else keep_since
            if clock - keep_since >= rule.keep_firing_for_s:
                fired, active_at, keep_since = False, None, None
        else:
            active_at = None
    if fired:
        return "recovering" if keep_since is not None else "firing"
    return "pending" if active_at is not None else "inactive"


class AlertWalk(RuleBasedStateMachine):
    """Any values, gaps, pauses and restarts lead where the model says."""

    @initialize(
        clear=st.sampled_from([None, 5.0, 10.0]),
        for_s=st.sampled_from([0, 1, 2, 5]),
        keep=st.sampled_from([0, 1, 2, 5]),
        no_data=st.sampled_from(["keep", "ok"]),
    )
    def begin(self, clear: float | None, for_s: int, keep: int, no_data: Any) -> None:
        self.rule = replace(RULE, clear=clear, for_s=float(for_s), keep_firing_for_s=float(keep), no_data=no_data)
        self.engine = AlertEngine([self.rule])
        self.now = 0.0
        self.history: dict[Labels, History] = {A: [], B: []}
        self.states = {A: "inactive", B: "inactive"}
        self.restarted = False

    @rule(
        pause=st.integers(0, 3),
        # Mostly beyond the threshold: an alert that never fires proves little.
        one=st.sampled_from([11.0, 11.0, 11.0, 10.0, 7.0, 5.0, 1.0, None]),
        other=st.sampled_from([11.0, 11.0, 7.0, 1.0, None]),
    )
    def step(self, pause: int, one: float | None, other: float | None) -> None:
        self.now += pause
        self.restarted = False
        values = {A: one, B: other}
        for labels, value in values.items():
            self.history[labels].append((self.now, value))
        seen = {labels: Observation(value) for labels, value in values.items() if value is not None}
        for move in self.engine.step(self.now, {"lag": seen}):
            assert move.before == self.states[move.labels], "moves are told one after the other, without holes"
            assert NEXT[move.before, move.cause] is move.after
            self.states[move.labels] = move.after

    @rule(downtime=st.integers(0, 10_000))
    def restart(self, downtime: int) -> None:
        saved = self.engine.saved(self.now)
        self.engine = AlertEngine([self.rule])
        self.now += downtime
        self.engine.restore(self.now, saved)
        self.restarted = True
        self.history = {
            labels: [(t + downtime, value) for t, value in entries] for labels, entries in self.history.items()
        }

    @invariant()
    def the_model_agrees(self) -> None:
        for labels, history in getattr(self, "history", {}).items():
            wanted = model(self.rule, history) if history else "inactive"
            assert self.states[labels] == wanted
        if hasattr(self, "engine"):
            listed = {alert.labels: alert.state for alert in self.engine.alerts(self.now)}
            assert listed == {labels: state for labels, state in self.states.items() if state != "inactive"}
            for alert in self.engine.alerts(self.now):
                silent = self.history[alert.labels][-1][1] is None
                assert alert.frozen == (self.restarted or (silent and self.rule.no_data == "keep"))


TestAlertWalk = AlertWalk.TestCase
TestAlertWalk.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)

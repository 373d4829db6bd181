"""From the history to what is shown: indicators, the board's columns, the words for alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.chat import alert_words
from harness.chat.board import COLUMNS_MAX, LINES_MAX, Board
from harness.chat.indicators import Looker, ask
from harness.core.alert_rule import AlertRule
from harness.core.dashboard import Dashboard, Panel, Row, Target
from harness.core.indicator import Indicator, Selector
from harness.core.registry import Registry
from harness.core.series import Family, Labels, Observation
from harness.services.aggregator import Aggregator
from harness.services.alerts import Alert, State, Verdict

T0 = 1_700_000_000
TURNS = Family(name="chat_turns_total", kind="counter", help="Turns.", labels=("bot", "outcome"))
LAG = Family(name="chat_loop_lag_seconds", kind="gauge", help="Lag.", unit="seconds")
A: Labels = (("bot", "a"),)
ERRORS = Indicator(
    metric="chat_turns_total",
    unless={"outcome": ("done",)},
    agg="ratio",
    window_s=60,
    by=("bot",),
    over=Selector(metric="chat_turns_total"),
)


def service(seconds: int = 60) -> Aggregator:
    """Bot a fails one in four, bot b has not been asked yet."""
    registry, aggregator = Registry([TURNS, LAG]), Aggregator()
    done, failed = (registry.counter("chat_turns_total", "a", outcome) for outcome in ("done", "bot-gone"))
    registry.counter("chat_turns_total", "b", "done")
    lag = registry.gauge("chat_loop_lag_seconds")
    for second in range(seconds):
        done.add(3)
        failed.add(1)
        lag.set(second / 100)
        aggregator.tick(T0 + second, registry.collect())
    return aggregator


class TestAsking:
    def test_a_ratio_divides_what_counts_by_all(self) -> None:
        told = ask(service(), ERRORS, T0 + 59)
        assert told == {A: Observation(0.25, 240, 1.0)}, "bot b has nothing to divide by"

    def test_a_ratio_without_errors_is_zero(self) -> None:
        none = replace(ERRORS, match={"outcome": ("never",)}, unless={})
        assert ask(service(), none, T0 + 59)[A].value == 0.0

    def test_everything_else_is_the_history_s_own_answer(self) -> None:
        assert ask(service(), Indicator(metric="chat_loop_lag_seconds", agg="max"), T0 + 59)[()].value == 0.59
        rate = Indicator(metric="chat_turns_total", agg="rate", by=())
        assert ask(service(), rate, T0 + 59)[()].value == pytest.approx(4.0)
        assert ask(service(), Indicator(metric="chat_sockets"), T0 + 59) == {}

    def test_a_long_window_is_asked_for_more_rarely(self) -> None:
        aggregator = service()
        short = AlertRule(
            id="short", of=Indicator(metric="chat_loop_lag_seconds", window_s=10), threshold=1, summary="s"
        )
        long = replace(short, id="long", of=replace(short.of, window_s=600))
        looker = Looker([short, long])

        def look(now: float) -> list[str]:
            due = looker.due(now)
            for rule in due:
                looker.ask(rule, aggregator, now)
            return [rule.id for rule in due]

        assert look(T0 + 10) == ["short", "long"]
        assert look(T0 + 10.1) == []
        assert look(T0 + 19) == ["short"]
        assert {name: told[()].value for name, told in looker.told().items()} == {"short": 0.19, "long": 0.1}
        assert look(T0 + 20) == ["short", "long"]

    def test_two_windows_count_by_the_better_one(self) -> None:
        lag = Indicator(metric="chat_loop_lag_seconds", agg="min", window_s=60)
        rule = AlertRule(id="lag", of=lag, also_window_s=10, threshold=1, summary="s")
        looker = Looker([rule])
        looker.ask(rule, service(), T0 + 59)
        assert looker.told()["lag"][()].value == 0.0


SOCKETS = Target(local=Indicator(metric="chat_sockets"), legend="{{bot}}/{{bot}}")


def board(**changes: Any) -> Board:
    panel = Panel(id="p", title="P", targets=(SOCKETS,))
    return Board(
        Dashboard(title="t", rows=(Row(title="r", panels=(panel,)),), **{"refresh_s": 5, "range_s": 20, **changes})
    )


def note(made: Board, now: float, values: Mapping[str, float]) -> None:
    made.note(now, {("p", 0): {(("bot", bot),): Observation(value) for bot, value in values.items()}})


def shown(made: Board) -> dict[str, tuple[float | None, ...]]:
    return {line.name: line.values for line in made.columns()["p"]}


class TestBoard:
    def test_lines_are_as_long_as_the_moments(self) -> None:
        made = board()
        note(made, 0, {"a": 1})
        note(made, 5, {"a": 2, "b": 3})
        assert list(made.moments) == [0, 5]
        assert shown(made) == {"a/a": (1, 2), "b/b": (None, 3)}

    def test_it_keeps_its_range_and_no_more(self) -> None:
        made = board()
        for second in range(0, 100, 5):
            note(made, second, {"a": second})
        assert (made.moments, shown(made)) == ((80, 85, 90, 95), {"a/a": (80, 85, 90, 95)})

    def test_a_missed_moment_is_a_gap(self) -> None:
        made = board()
        note(made, 0, {"a": 1})
        note(made, 60, {"a": 2})
        assert (made.moments, shown(made)) == ((0, 5, 60), {"a/a": (1, None, 2)})

    def test_what_is_gone_leaves_the_picture_in_the_end(self) -> None:
        made = board()
        note(made, 0, {"a": 1, "b": 1})
        for second in range(5, 20, 5):
            note(made, second, {"b": 1})
        assert shown(made)["a/a"] == (1, None, None, None)
        note(made, 20, {"b": 1})
        assert list(shown(made)) == ["b/b"]

    def test_what_is_no_number_is_a_gap(self) -> None:
        made = board()
        note(made, 0, {"a": 1})
        note(made, 5, {"a": float("inf")})
        assert shown(made) == {"a/a": (1, None)}

    def test_lines_and_columns_are_bounded(self) -> None:
        made = board()
        note(made, 0, {f"b{number}": 1 for number in range(LINES_MAX + 9)})
        assert len(shown(made)) == LINES_MAX
        wide = board(refresh_s=1, range_s=86_400)
        assert wide.step_s == 120
        assert 86_400 // wide.step_s == COLUMNS_MAX

    def test_it_asks_for_every_target(self) -> None:
        assert list(board().questions()) == [(("p", 0), SOCKETS.local)]

    def test_it_says_when_the_next_column_is_due(self) -> None:
        made = board()
        assert made.due(0)
        note(made, 0, {})
        assert (made.due(4.9), made.due(5)) == (False, True)

    def test_a_line_without_a_legend_is_called_by_its_labels(self) -> None:
        panel = Panel(id="p", title="P", targets=(Target(local=Indicator(metric="chat_sockets")),))
        made = Board(Dashboard(title="t", rows=(Row(title="r", panels=(panel,)),)))
        made.note(0, {("p", 0): {(): Observation(1), (("bot", "a"), ("code", "x")): Observation(2)}})
        assert [line.name for line in made.columns()["p"]] == ["chat_sockets", "bot=a, code=x"]


RULE = AlertRule(
    id="lag",
    of=Indicator(metric="chat_loop_lag_seconds", window_s=300),
    threshold=0.25,
    clear=0.1,
    for_s=60,
    keep_firing_for_s=300,
    min_count=20,
    summary="Late.",
)


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        (
            Alert("lag", (), State.PENDING, 18.0, 0.3, frozen=False),
            "0.3 is above 0.25; if that holds it fires in 42 s.",
        ),
        (Alert("lag", (), State.FIRING, 180.0, 0.3, frozen=False), "0.3 is above 0.25, and has been for 3 min."),
        (
            Alert("lag", (), State.FIRING, 9000.0, 0.2, frozen=False),
            "0.2 is past 0.25, but still above 0.1, where the alert ends.",
        ),
        (
            Alert("lag", (), State.RECOVERING, 60.0, 0.05, frozen=False),
            "0.05 is well again; if that holds it ends in 4 min.",
        ),
        (
            Alert("lag", (), State.FIRING, 9000.0, 0.3, frozen=True, silence_s=12.0),
            "0.3 is above 0.25, and has been for 2.5 h. There has been no data for 12 s: the state is kept as it was.",
        ),
        (Alert("lag", (), State.FIRING, 1.0, None, frozen=False), "There is no data."),
        (
            Alert("lag-no-data", (), State.PENDING, 50.0, None, frozen=False),
            "Nothing usable is measured; if that lasts it fires in 10 s.",
        ),
        (
            Alert("lag-no-data", (), State.FIRING, 50.0, None, frozen=False),
            "Nothing usable has been measured for 50 s.",
        ),
        (Alert("lag-no-data", (), State.RECOVERING, 50.0, None, frozen=False), "There are numbers again."),
    ],
)
def test_why_an_alert_is_where_it_is(alert: Alert, words: str) -> None:
    assert alert_words.reason(RULE, alert) == words


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (None, "It has not been looked at yet."),
        (Verdict("lag", 0, 0, None), "There is nothing to measure yet."),
        (Verdict("lag", 2, 2, None), "There is too little to judge by yet: it takes 20 events and 2.5 min of history."),
        (Verdict("lag", 2, 0, 0.02), "0.02 is not above 0.25."),
    ],
)
def test_why_a_rule_is_at_rest(verdict: Verdict | None, words: str) -> None:
    assert alert_words.rest(RULE, verdict) == words


def test_without_a_minimum_the_words_name_none() -> None:
    words = "There is too little to judge by yet: it takes 2.5 min of history."
    assert alert_words.rest(replace(RULE, min_count=0), Verdict("lag", 1, 1, None)) == words

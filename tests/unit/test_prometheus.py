"""The text format, read back by Prometheus' own parser."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from harness.core.events import TurnSettled
from harness.exporters.prometheus import render
from harness.services.metrics import Gauges, Metrics, Sample, Series


def read(series: Series) -> dict[tuple[tuple[str, str], ...], float]:
    (family,) = text_string_to_metric_families(render([series]).decode())
    assert family.documentation == series.help
    assert family.type == series.kind
    return {tuple(sample.labels.items()): sample.value for sample in family.samples}


def test_one_series_is_this_text() -> None:
    series = Series("chat_turns_total", "counter", "Turns.", (Sample((("bot", "echo"), ("outcome", "done")), 3),))
    assert render([series]) == (
        b"# HELP chat_turns_total Turns.\n"
        b"# TYPE chat_turns_total counter\n"
        b'chat_turns_total{bot="echo",outcome="done"} 3\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (1e-9, "1e-09"),
        (2.0**60, "1.152921504606847e+18"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert render([Series("x", "gauge", "", (Sample((), value),))]).splitlines()[-1] == f"x {text}".encode()


# The parser splits lines as str.splitlines does, at more characters than the format knows.
OTHER_LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@given(st.text(st.characters(codec="utf-8", exclude_characters=OTHER_LINE_ENDS)))
def test_any_label_value_comes_back(value: str) -> None:
    assert read(Series("x", "gauge", "help", (Sample((("name", value),), 1),))) == {(("name", value),): 1}


def test_help_with_every_escape_comes_back() -> None:
    read(Series("x", "gauge", 'a \\ b " c', (Sample((), 1),)))


def test_a_series_without_samples_is_announced_all_the_same() -> None:
    assert render([Series("x", "gauge", "h", ())]) == b"# HELP x h\n# TYPE x gauge\n"


def test_everything_the_service_has_is_understood_and_no_name_comes_twice() -> None:
    metrics = Metrics()
    metrics.record(TurnSettled("echo", "t", "done", 0.3, 0.1))
    text = render(metrics.series(Gauges())).decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    reply = next(family for family in families if family.name == "chat_reply_seconds")
    assert reply.type == "histogram"
    assert [sample.value for sample in reply.samples if sample.labels.get("le") in ("0.25", "0.5", "+Inf")] == [0, 1, 1]

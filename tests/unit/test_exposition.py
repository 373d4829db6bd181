"""The two text formats of /metrics, read back by Prometheus' own parsers and by promtool."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as read_text

from harness.core.events import TurnSettled
from harness.core.histogram import Histogram
from harness.core.series import Family, Labels, Snapshot
from harness.exporters import openmetrics, prometheus
from harness.services.metrics import Metrics

ORACLES = Path(__file__).parents[2] / ".venv" / "oracles" / "usr" / "bin"
GAUGE = Family(name="x", kind="gauge", help="help", labels=("state",))
TURNS = Family(name="chat_turns_total", kind="counter", help='Turns \\ "of" bots.', labels=("bot", "outcome"))
TIMES = Family(name="x_seconds", kind="histogram", help="T.", unit="seconds", labels=("bot",), bounds=(0.5, 1.0))


def read_openmetrics(text: str) -> Iterable[Metric]:
    families: Iterable[Metric] = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return families


def one(value: float, labels: Labels = ()) -> list[Snapshot]:
    return [Snapshot(GAUGE, ((labels, value),))]


def lived() -> Metrics:
    metrics = Metrics()
    metrics.record(TurnSettled("echo", "t", "done", 0.3, 0.1))
    metrics.record(TurnSettled("mute", "t", "bot-silent", 30.0, None))
    metrics.watch("chat_sockets", lambda: 3)
    return metrics


def samples(families: Iterable[Metric]) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_one_family_is_this_text() -> None:
    snapshot = Snapshot(TURNS, (((("bot", "echo"), ("outcome", "done")), 3.0),))
    assert prometheus.render([snapshot]).decode().splitlines() == [
        '# HELP chat_turns_total Turns \\\\ "of" bots.',
        "# TYPE chat_turns_total counter",
        'chat_turns_total{bot="echo",outcome="done"} 3',
    ]
    assert openmetrics.render([snapshot]).decode().splitlines() == [
        "# TYPE chat_turns counter",
        '# HELP chat_turns Turns \\\\ \\"of\\" bots.',
        'chat_turns_total{bot="echo",outcome="done"} 3',
        "# EOF",
    ]


def test_one_histogram_is_this_text() -> None:
    snapshot = Snapshot(TIMES, (((("bot", "echo"),), Histogram([0.5, 0.6, 1.0, 9.0])),))
    lines = [
        'x_seconds_bucket{bot="echo",le="0.5"} 1',
        'x_seconds_bucket{bot="echo",le="1.0"} 3',
        'x_seconds_bucket{bot="echo",le="+Inf"} 4',
        'x_seconds_count{bot="echo"} 4',
        'x_seconds_sum{bot="echo"} 11.1',
    ]
    assert prometheus.render([snapshot]).decode().splitlines()[2:] == lines
    assert openmetrics.render([snapshot]).decode().splitlines()[1:-1] == [
        "# UNIT x_seconds seconds",
        "# HELP x_seconds T.",
        *lines,
    ]


def test_a_histogram_without_labels_has_only_its_bounds() -> None:
    plain = Family(name="x_seconds", kind="histogram", help="T.", bounds=(1.0,))
    text = prometheus.render([Snapshot(plain, (((), Histogram([0.0])),))]).decode()
    assert text.splitlines()[2:] == [
        'x_seconds_bucket{le="1.0"} 1',
        'x_seconds_bucket{le="+Inf"} 1',
        "x_seconds_count 1",
        "x_seconds_sum 0",
    ]


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
    assert prometheus.render(one(value)).splitlines()[-1] == f"x {text}".encode()


# The parsers split lines as str.splitlines does, at more characters than the format knows.
OTHER_LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@given(st.text(st.characters(codec="utf-8", exclude_characters=OTHER_LINE_ENDS)))
def test_any_label_value_comes_back(value: str) -> None:
    snapshots = one(1, (("state", value),))
    expected = {("x", (("state", value),)): 1.0}
    assert samples(read_text(prometheus.render(snapshots).decode())) == expected
    assert samples(read_openmetrics(openmetrics.render(snapshots).decode())) == expected


def test_a_family_without_series_is_announced_all_the_same() -> None:
    assert prometheus.render([Snapshot(GAUGE, ())]) == b"# HELP x help\n# TYPE x gauge\n"


def test_both_formats_say_the_same_and_no_name_comes_twice() -> None:
    snapshots = lived().collect()
    text = list(read_text(prometheus.render(snapshots).decode()))
    strict = list(read_openmetrics(openmetrics.render(snapshots).decode()))
    assert samples(text) == samples(strict)
    assert samples(text)["chat_reply_seconds_bucket", (("bot", "echo"), ("le", "0.5"))] == 1
    assert samples(text)["chat_reply_seconds_bucket", (("bot", "echo"), ("le", "0.25"))] == 0
    assert samples(text)["chat_sockets", ()] == 3
    assert [family.name for family in strict] == [snapshot.family.name.removesuffix("_total") for snapshot in snapshots]
    for family, snapshot in zip(strict, snapshots, strict=True):
        assert (family.type, family.unit, family.documentation) == (
            snapshot.family.kind,
            snapshot.family.unit,
            snapshot.family.help,
        )


def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool") or shutil.which(ORACLES / "promtool")
    if promtool is None:
        pytest.skip("promtool is not on this machine: ./ci/oracles fetches it")
    text = prometheus.render(lived().collect())
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("accept", "strict"),
    [
        pytest.param("", False, id="nothing said"),
        pytest.param("*/*", False, id="curl"),
        pytest.param("text/html,application/xhtml+xml,*/*;q=0.8", False, id="a browser"),
        pytest.param("application/openmetrics-text", True, id="any version"),
        pytest.param("application/openmetrics-text; version=1.0.0", True, id="named"),
        pytest.param('Application/OpenMetrics-Text;version="1.0.0"', True, id="capitals and quotes"),
        pytest.param("application/openmetrics-text; version=0.0.1", False, id="an older version"),
        pytest.param("application/openmetrics-text;q=0", False, id="not wanted"),
        pytest.param("application/openmetrics-text;q=x", False, id="a broken weight"),
        pytest.param("application/openmetrics-text;q=7", False, id="a weight above 1"),
        pytest.param("application/openmetrics-text;q=0.4,text/plain;q=0.5", False, id="text is dearer"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            True,
            id="Prometheus 2.42",
        ),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            True,
            id="Prometheus 3",
        ),
    ],
)
def test_who_asks_for_openmetrics_gets_it(accept: str, strict: bool) -> None:  # noqa: FBT001 - a table's column
    assert openmetrics.wanted(accept) is strict

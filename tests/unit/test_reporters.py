"""Reporters: the promises that each of them makes for itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from harness.core.events import CaseEnded, Entry, MemorySampled
from harness.core.histogram import Histogram
from harness.core.judge import judge
from harness.reporters._charts import Scale, scale_for, time_ticks
from harness.reporters._words import clean, figure_text, seconds
from harness.reporters.console import Console
from harness.reporters.html import Html
from harness.reporters.json import Json
from harness.reporters.junit import Junit
from harness.reporters.markdown import Markdown

if TYPE_CHECKING:
    from tests.sample_journals import Samples

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"


# --- Console ----------------------------------------------------------------------------------------------------------
def summary(entries: list[Entry]) -> str:
    return Console().render(judge("run-1", entries), entries)["summary.txt"].decode()


def test_console_puts_the_worst_first_and_the_verdict_last(samples: Samples) -> None:
    lines = summary(samples.everything()).splitlines()
    assert lines[0].startswith("FAIL        smoke/chat wired")
    assert "messages_lost is 2" in lines[0]
    heads = [line.split("  ")[0] for line in lines if line and not line.startswith((" ", "note"))]
    assert heads[:4] == ["FAIL", "ERROR", "NO VERDICT", "pass"]
    assert lines[-1] == "failed: 1 of 8 cases, 1 could not be carried out, 1 without a verdict"


def test_console_keeps_to_a_hundred_columns(samples: Samples) -> None:
    for entries in (samples.everything(), samples.hostile()):
        assert max(map(len, summary(entries).splitlines())) <= 100


# --- JSON -------------------------------------------------------------------------------------------------------------
def fits(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str = "$") -> None:
    """Check a value against the part of JSON Schema that report.schema.json uses; an unknown keyword is an error."""
    known = {
        "$ref",
        "anyOf",
        "const",
        "enum",
        "type",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "minimum",
    }
    assert set(schema) <= known | {"description", "title", "$schema", "$defs"}, f"{path}: {set(schema) - known}"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        fits(value, root["$defs"][name], root, path)
    if "anyOf" in schema:
        misfits: list[str] = []
        for choice in schema["anyOf"]:
            try:
                fits(value, choice, root, path)
            except AssertionError as error:
                misfits.append(str(error))
        assert len(misfits) < len(schema["anyOf"]), "; ".join(misfits)
    if "const" in schema:
        assert value == schema["const"], path
    if "enum" in schema:
        assert value in schema["enum"], path
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(is_a(value, each) for each in types), f"{path}: {value!r:.60} is no {types}"
    if "minimum" in schema:
        assert value >= schema["minimum"], path
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        assert set(schema.get("required", ())) <= set(value), f"{path}: {set(schema['required']) - set(value)} missing"
        for name, item in value.items():
            inner = properties.get(name, schema.get("additionalProperties", {}))
            assert inner is not False, f"{path}: {name} is not in the schema"
            fits(item, inner, root, f"{path}.{name}")
    if isinstance(value, list):
        for place, item in enumerate(value):
            fits(item, schema.get("items", {}), root, f"{path}[{place}]")


def is_a(value: object, kind: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "integer": number and value == int(value),  # type: ignore[call-overload]  # only evaluated for numbers
        "number": number,
        "boolean": isinstance(value, bool),
        "null": value is None,
    }[kind]


def report(entries: list[Entry]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(Json().render(judge("run-1", entries), entries)["report.json"])
    return parsed


def test_json_keeps_its_schema(samples: Samples) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    for entries in (samples.everything(), samples.hostile(), samples.breaker()[:60], []):
        fits(report(entries), schema, schema)


def test_the_schema_check_itself_refuses_what_is_wrong(samples: Samples) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    good = report(samples.everything())
    for wrong in (
        {**good, "schema": 2},
        {**good, "extra": 1},
        {**good, "outcome": "maybe"},
        {name: value for name, value in good.items() if name != "title"},
        {**good, "cases": [{**good["cases"][0], "seed": "7"}]},
    ):
        with pytest.raises(AssertionError):
            fits(wrong, schema, schema)


def test_json_carries_figures_and_the_histogram(samples: Samples) -> None:
    case = report(samples.run(samples.chat()))["cases"][0]
    assert case["figures"]["messages_lost"] == {"value": 0, "unit": "messages", "better": "lower"}
    again = Histogram.decode(case["response_ms"])
    assert again.n == 200
    assert again.quantile(0.95) == pytest.approx(case["figures"]["response_ms_p95"]["value"], rel=0.011)


def test_json_writes_null_for_what_never_happened(samples: Samples) -> None:
    verdict = judge("run-1", samples.breaker())
    never = replace(verdict.cases[0], figures={"recovery_s": math.inf})
    written = json.loads(Json().render(replace(verdict, cases=(never,)), ())["report.json"])
    assert written["cases"][0]["figures"]["recovery_s"]["value"] is None


# --- JUnit ------------------------------------------------------------------------------------------------------------
def test_junit_tells_the_outcomes_apart(samples: Samples) -> None:
    entries = samples.everything()
    root = ET.fromstring(Junit().render(judge("run-1", entries), entries)["junit.xml"])
    counts = {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "8", "failures": "1", "errors": "1", "skipped": "1"}
    (failure,) = root.iter("failure")
    assert failure.get("message") == "messages_lost is 2, must be at most 0: u0-13 (session s0), u1-13 (session s1)"
    (error,) = root.iter("error")
    assert error.get("type") == "exit-code-3"
    (skipped,) = root.iter("skipped")
    assert (skipped.get("message") or "").startswith("no verdict: the load generator was overloaded")


# --- Markdown ---------------------------------------------------------------------------------------------------------
def test_markdown_begins_with_the_verdict(samples: Samples) -> None:
    entries = samples.everything()
    text = Markdown().render(judge("run-1", entries), entries)["report.md"].decode()
    assert text.startswith("# ✗ failed: 1 of 8 cases")
    assert text.count("\n## ") == 8


def test_markdown_is_cut_before_the_verdict_is(samples: Samples) -> None:
    entries = samples.everything()
    content = Markdown(bytes_max=4_000).render(judge("run-1", entries), entries)["report.md"]
    assert len(content) <= 4_000
    assert content.decode().startswith("# ✗ failed: 1 of 8 cases")
    assert "more cases are in report.html" in content.decode()


def test_markdown_takes_no_markup_from_outside(samples: Samples) -> None:
    entries = samples.hostile()
    text = Markdown().render(judge("run-1", entries), entries)["report.md"].decode()
    assert "<script" not in re.sub(r"`[^`\n]*`", "", text), "only code may hold it, where it is shown as it is"
    for line in text.splitlines():
        if line.startswith(("| ✗", "| ?")):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5


# --- HTML -------------------------------------------------------------------------------------------------------------
class Page(HTMLParser):
    """Collects what a test asks for; complains about elements that are closed wrongly."""

    VOID = frozenset({"meta", "br", "img", "line", "rect", "path"})
    OPTIONAL = frozenset({"th", "td", "tr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.stack: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        self.ids.extend(value or "" for name, value in attrs if name == "id")
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack[-1] != tag and self.stack[-1] in self.OPTIONAL:
            self.stack.pop()
        assert self.stack, f"</{tag}> without a beginning"
        assert self.stack.pop() == tag, f"</{tag}> closes something else"


def page(entries: list[Entry], **pictures: bytes) -> str:
    made = Html(pictures=pictures).render(judge("run-1", entries), entries)
    return made["report.html"].decode()


def test_html_needs_nothing_but_itself(samples: Samples) -> None:
    for entries in (samples.everything(), samples.hostile()):
        seen = Page(page(entries))
        assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(seen.tags)
        outward = [(t, n, v) for t, n, v in seen.attributes if n in {"src", "href", "srcset", "action", "data"}]
        assert all(value.startswith(("#", "data:image/png;base64,")) for _, _, value in outward)
        assert not [name for _, name, _ in seen.attributes if name.startswith("on")]
        assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in seen.attributes


def test_html_is_well_formed_and_its_ids_are_unique(samples: Samples) -> None:
    for entries in (samples.everything(), samples.hostile(), []):
        seen = Page(page(entries))
        assert seen.stack == []
        assert len(seen.ids) == len(set(seen.ids))
        wanted = {v.removeprefix("#") for t, n, v in seen.attributes if (t, n) == ("a", "href")}
        wanted |= {each for t, n, v in seen.attributes if n == "aria-labelledby" for each in v.split()}
        assert wanted <= set(seen.ids)


def test_html_has_the_reason_on_top(samples: Samples) -> None:
    text = page(samples.everything())
    assert text.index("messages_lost is 2") < text.index("<table")
    order = [text.index(f'id="case-{number}"') for number in range(1, 9)]
    assert order == sorted(order)
    assert text.index("smoke/chat wired") < order[0]


def test_every_drawing_has_a_title_and_its_finding_in_words(samples: Samples) -> None:
    text = page(samples.everything())
    drawings = re.findall(r'<svg class="(?:chart|lane)" role="img".*?</desc>', text)
    assert len(drawings) > 20
    for drawing in drawings:
        assert re.search(r"<title id=[^>]+>[^<]{4,}</title><desc id=[^>]+>[^<]{4,}</desc>", drawing)


def test_html_takes_no_markup_from_outside(samples: Samples) -> None:
    text = page(samples.hostile())
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_pictures_are_embedded_and_missing_ones_are_said(samples: Samples) -> None:
    entries = samples.run(samples.page())
    pictures = {"cases/smoke.page-browser/step-1.png": samples.picture(), "step-2.png": samples.picture()}
    text = page(entries, **pictures)
    assert text.count("data:image/png;base64,") == 2
    assert "step-3.png is not in this report" in text


def test_html_of_a_long_run_stays_small(samples: Samples) -> None:
    entries = samples.run(samples.chat(messages=25_000, distance="wired"), samples.breaker(messages=10_000))
    assert len(page(entries)) < 150_000


def test_a_leaking_counter_stands_before_the_calm_ones(samples: Samples) -> None:
    text = page(samples.run(samples.leak()))
    assert text.index("memory blocks: leaks") < text.index("Python objects: no leak")
    assert "fake_bots/behaviours/leaky.py:31 hear" in text


def test_a_counter_that_one_process_lacks_leaves_an_empty_cell(samples: Samples) -> None:
    entries = [
        replace(entry, fact=replace(entry.fact, counters={**entry.fact.counters, "odd": entry.fact.cycle * 3}))
        if isinstance(entry.fact, MemorySampled) and entry.fact.cycle < 9
        else entry
        for entry in samples.leak()
    ]
    assert "odd: shown, never judged" in page(samples.run(entries))


def test_a_case_without_facts_is_still_shown(samples: Samples) -> None:
    text = page(samples.case(ended=CaseEnded("port 8000 is taken", 3)))
    assert text.count("port 8000 is taken") == 3


# --- Words and scales -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0 s"), (0.42, "0.42 s"), (12.34, "12.3 s"), (60.0, "1 min 0 s"), (125.4, "2 min 5 s")],
)
def test_durations(value: float, expected: str) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("messages_sent", 1_273.0, "1,273 messages"),
        ("response_ms_p95", 812.25, "812.2 ms"),
        ("generator_cpu_share", 0.4217, "0.422 of a core"),
        ("recovery_s", math.inf, "never"),
        ("breaker_opened", 3.0, "3"),
    ],
)
def test_figures_in_words(name: str, value: float, expected: str) -> None:
    assert figure_text(name, value) == expected


def test_clean_keeps_all_that_is_harmless() -> None:
    fine = "Grüße, 你好, 👋, tab\tand\nline"
    assert clean(fine) == fine
    assert clean("a\x00b\ud800c\x9bd\u202ee") == "a\ufffdb\ufffdc\ufffdd\ufffde"


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [0.0, 0.0], [1e-9, 1e9], [math.inf, 3.0]])
def test_every_scale_has_room_for_its_values(values: list[float]) -> None:
    for may_log in (False, True):
        scale = scale_for(values, may_log=may_log)
        for value in values:
            if math.isfinite(value) and (value > 0 or not scale.log):
                assert 0.0 <= scale.share(value) <= 1.0


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.4), (3.0, 33.0), (0.0, 299.0), (0.0, 900.0), (10.0, 86_400.0)])
def test_time_axes_have_a_few_round_moments(low: float, high: float) -> None:
    ticks = time_ticks(Scale(low, high))
    assert 2 <= len(ticks) <= 7
    assert all(low <= value <= high for value, _ in ticks)
    assert ticks[-1][1].endswith((" s", " min"))

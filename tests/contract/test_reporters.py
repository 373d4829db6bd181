"""The contract of every reporter, also of the one that you are about to add."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast
from xml.etree import ElementTree as ET

import pytest

from harness import plugins, reporters
from harness.core.events import Entry
from harness.core.judge import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.sample_journals import Samples


class Reporter(Protocol):
    def render(self, verdict: Verdict, entries: Sequence[Entry]) -> Mapping[str, bytes]: ...


JOURNALS: dict[str, Callable[[Samples], list[Entry]]] = {
    "everything": lambda samples: samples.everything(),
    "one that passes": lambda samples: samples.run(samples.chat()),
    "torn": lambda samples: samples.run(samples.breaker()[:-40]),
    "a case that did nothing": lambda samples: samples.case(),
    "hostile text": lambda samples: samples.hostile(),
    "no case": lambda samples: samples.run(),
    "nothing": lambda _: [],
}
OWN = ("console", "html", "json", "junit", "markdown")


@pytest.fixture(params=plugins.names(reporters))
def reporter(request: pytest.FixtureRequest) -> Reporter:
    return cast("Reporter", plugins.build(reporters, request.param, {}))


@pytest.fixture(params=JOURNALS)
def journal(request: pytest.FixtureRequest, samples: Samples) -> list[Entry]:
    return JOURNALS[request.param](samples)


def test_our_own_are_found() -> None:
    assert set(OWN) <= set(plugins.names(reporters))


def test_a_reporter_is_a_frozen_dataclass_with_defaults(reporter: Any) -> None:
    assert is_dataclass(reporter)
    cls = cast("Any", type(reporter))
    assert cls.__dataclass_params__.frozen
    assert cls() == reporter


def test_it_gives_files_for_every_journal(reporter: Reporter, journal: list[Entry]) -> None:
    files = reporter.render(judge("run-1", journal), journal)
    assert files
    for name, content in files.items():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*\.[a-z]+", name), "a plain file name, nothing that leads elsewhere"
        assert isinstance(content, bytes)
        content.decode("utf-8")


def test_the_same_journal_gives_the_same_bytes(reporter: Reporter, journal: list[Entry]) -> None:
    verdict = judge("run-1", journal)
    assert reporter.render(verdict, journal) == reporter.render(verdict, list(journal))


def test_a_verdict_alone_is_enough(reporter: Reporter, journal: list[Entry]) -> None:
    assert reporter.render(judge("run-1", journal), ())


def test_what_failed_is_said_in_every_report(reporter: Reporter, samples: Samples) -> None:
    entries = samples.run(samples.chat(lost=1))
    text = b"".join(reporter.render(judge("run-1", entries), entries).values()).decode()
    assert "messages" in text
    assert "u0-13" in re.sub(r"[\s\\]+", "", text)


def test_control_characters_reach_no_report(reporter: Reporter, samples: Samples) -> None:
    entries = samples.hostile()
    for content in reporter.render(judge("run-1", entries), entries).values():
        assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", content)


def test_no_two_reporters_write_the_same_file(samples: Samples) -> None:
    entries = samples.run(samples.chat())
    verdict = judge("run-1", entries)
    names = [
        name
        for each in plugins.names(reporters)
        for name in plugins.build(reporters, each, {}).render(verdict, entries)
    ]
    assert len(names) == len(set(names))


def test_junit_is_well_formed_whatever_stands_in_the_messages(journal: list[Entry]) -> None:
    verdict = judge("run-1", journal)
    (content,) = plugins.build(reporters, "junit", {}).render(verdict, journal).values()
    root = ET.fromstring(content)
    assert root.tag == "testsuites"
    assert len(root.findall(".//testcase")) == len(verdict.cases)

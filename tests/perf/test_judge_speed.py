"""How long it takes to judge 100,000 facts, and to draw them.

Run it: .venv/bin/pytest tests/perf/test_judge_speed.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_benchmark.fixture import BenchmarkFixture

from harness.core.judge import judge
from harness.reporters.html import Html

if TYPE_CHECKING:
    from tests.sample_journals import Samples


def test_judge_a_hundred_thousand_facts(benchmark: BenchmarkFixture, samples: Samples) -> None:
    entries = samples.run(samples.chat(messages=25_000, distance="wired"))
    assert len(entries) > 100_000
    verdict = benchmark.pedantic(judge, args=("run-1", entries), rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert verdict.cases[0].figures["messages_answered"] == 25_000
    benchmark.extra_info["facts"] = len(entries)


def test_draw_a_hundred_thousand_facts(benchmark: BenchmarkFixture, samples: Samples) -> None:
    entries = samples.run(samples.chat(messages=25_000, distance="wired"))
    verdict = judge("run-1", entries)
    files = benchmark.pedantic(Html().render, args=(verdict, entries), rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info["page_bytes"] = len(files["report.html"])

"""What the guard costs, beside other breakers in the same run.

Run it: .venv/bin/pytest tests/perf/test_guard_speed.py; the table of the docs comes from ci/benchmarks.py.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

CI = Path(__file__).parents[2] / "ci"


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCHMARKS = loaded(CI / "benchmarks.py")
GROUPS: Mapping[str, Mapping[str, Callable[[int], object]]] = {
    title: cases for title, _, cases in loaded(CI / "benchmark_groups/guard.py").groups()
}
CLOSED, CLOSED_ASYNC, REFUSED, FUSED = GROUPS
CALLS = 1_000


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, cases in GROUPS.items() for name in cases])
def test_a_thousand_calls(benchmark: BenchmarkFixture, group: str, name: str) -> None:
    benchmark.group = group
    benchmark.pedantic(GROUPS[group][name], args=(CALLS,), rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]


def ratios(group: str, ours: str, *others: str) -> dict[str, float]:
    """What ours costs in each other's price: the least of many rounds in which both had their turn."""
    cases = {name: GROUPS[group][name] for name in (ours, *others)}
    taken = {name: min(rounds) for name, rounds in BENCHMARKS.measured(cases, rounds=25).items()}
    return {name: taken[ours] / taken[name] for name in others}


@pytest.mark.parametrize(
    ("group", "ours", "cheapest"),
    [
        (CLOSED, "**guard, decorated**", "circuitbreaker"),
        (CLOSED, "**guard.call**", "circuitbreaker"),
        (CLOSED_ASYNC, "**guard, decorated**", "circuitbreaker"),
    ],
)
def test_a_closed_guard_costs_what_the_cheapest_breaker_costs_and_a_fifth_of_the_most_correct_one(
    group: str, ours: str, cheapest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ratios(group, ours, cheapest, "interlock-cb")
    with capsys.disabled():
        print(f"\n{group}, {ours}: " + ", ".join(f"{share:.2f} x {name}" for name, share in found.items()))
    assert found[cheapest] <= 1.2
    assert found["interlock-cb"] <= 1 / 5


def test_the_fused_guard_costs_half_of_a_stack_around_the_most_correct_breaker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stacks = ("interlock-cb + semaphore + prometheus", "circuitbreaker + semaphore + prometheus")
    found = ratios(FUSED, "**fused guard**", *stacks)
    with capsys.disabled():
        print("\nfused guard: " + ", ".join(f"{share:.2f} x {name}" for name, share in found.items()))
    assert found[stacks[0]] <= 0.6


def test_the_docs_have_a_table_of_each_group() -> None:
    text = (CI.parent / "docs/reference/benchmarks.md").read_text("utf-8")
    for title, cases in GROUPS.items():
        assert f"## {title}\n" in text
        for name in cases:
            assert f"| {name} | " in text

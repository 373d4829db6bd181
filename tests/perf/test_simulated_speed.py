"""How many messages a second the simulation plays on one core, journal included.

Run it: .venv/bin/pytest tests/perf/test_simulated_speed.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.adapters.journal import Book
from harness.core.decode import decode
from harness.core.scenario import Scenario
from harness.drivers._crowd import Crowd
from harness.drivers.simulated import World

SCENARIO = decode(
    Scenario,
    {
        "name": "hundred users",
        "why": "the size of the largest load scenario",
        "duration_s": 40,
        "load": {"users": 100, "say_every_s": 0.5},
        "bots": [{"behaviour": "echo", "count": 4}],
    },
)


def test_simulated_messages(benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Play 40 virtual seconds of 100 users with replies of six tokens; messages/s stands in extra_info."""
    crowds: list[Crowd] = []

    def play() -> None:
        book = Book(tmp_path / f"{len(crowds)}.jsonl")
        world = World(SCENARIO, 7, book)
        world.run()
        book.close()
        crowds.append(world.crowd)

    benchmark.pedantic(play, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    messages = crowds[-1].answered
    assert messages == crowds[-1].sent
    assert messages > 5_000
    assert benchmark.stats is not None
    benchmark.extra_info["messages"] = messages
    messages_per_s = benchmark.extra_info["messages_per_s"] = round(messages / benchmark.stats.stats.median)
    with capsys.disabled():
        print(f"\nsimulated: {messages_per_s:,} messages/s (median of 5 rounds of {messages:,} messages)")

"""Counters, probe, judgement and profile together, on real processes whose truth is known."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import harness
from harness.adapters.counters import ENV_DIR, probe, socket_path
from harness.core.events import AllocatorFound, MemorySampled, Noted
from harness.core.leak import judge_leaks
from harness.memory import culprits

HERE = Path(__file__).parent
PACKAGES = Path(harness.__file__).parent.parent
WARM_UP, CYCLES, MESSAGES = 4, 10, 400


@pytest.fixture
def probes() -> Iterator[Path]:
    # Not tmp_path: pytest's paths are longer than a Unix socket's may be.
    folder = Path(tempfile.mkdtemp(prefix="hive-"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("habit", ["clean", "cycles", "filling-cache", "sawtooth"])
def test_a_healthy_process_is_left_in_peace(habit: str, probes: Path) -> None:
    assert asyncio.run(leaking(habit, probes)) == set()


@pytest.mark.parametrize(
    ("habit", "counter"),
    [
        ("leak-small", "blocks"),
        ("leak-seldom", "blocks"),
        ("leak-dict", "objects"),
        ("leak-buffer", "heap_bytes"),
        ("leak-handle", "handles"),
        ("leak-task", "tasks"),
    ],
)
def test_a_leak_is_found_where_it_is(habit: str, counter: str, probes: Path) -> None:
    assert counter in asyncio.run(leaking(habit, probes))


def test_the_line_at_fault_is_named_with_its_rate(probes: Path, tmp_path: Path) -> None:
    facts = asyncio.run(profiled("leak-seldom", probes, tmp_path))
    found = [fact for fact in facts if isinstance(fact, AllocatorFound)]
    line = (HERE / "planted.py").read_text().splitlines().index("def leak_seldom(number: int) -> None:") + 3

    assert found[0].where.endswith(f"planted.py:{line} leak_seldom"), found
    assert found[0].allocations_per_message == pytest.approx(0.1, abs=0.01)
    assert (tmp_path / "leaks-planted.html").stat().st_size > 0


@pytest.mark.parametrize("habit", ["clean", "filling-cache"])
def test_a_healthy_process_has_no_line_at_fault(habit: str, probes: Path, tmp_path: Path) -> None:
    facts = asyncio.run(profiled(habit, probes, tmp_path))
    assert facts == [Noted("--profile: no line of planted allocates more with every message")]


def test_a_profile_is_complete_when_the_program_ends_by_sigterm(probes: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with planted("clean", probes, tmp_path) as process:
            process.terminate()
            await process.wait()

    asyncio.run(story())
    assert len(list(tmp_path.glob("planted.*.done"))) == 1


async def leaking(habit: str, probes: Path) -> set[str]:
    samples = []
    async with planted(habit, probes) as process:
        for cycle in range(-WARM_UP, CYCLES):
            await go(process, MESSAGES)
            seen = await probe(socket_path(probes, "planted"))
            samples.append(MemorySampled("planted", cycle, (cycle + WARM_UP + 1) * MESSAGES, seen.counters))
    return {verdict.counter for verdict in judge_leaks(samples, cycles=CYCLES) if verdict.leaking}


async def profiled(habit: str, probes: Path, folder: Path) -> list[AllocatorFound | Noted]:
    passes = []
    for count in (3_000, 6_000):
        out = folder / str(count)
        out.mkdir()
        async with planted(habit, probes, out) as process:
            await go(process, count)
            await probe(socket_path(probes, "planted"))
            await culprits.finish(out, ["planted"])
        passes.append(culprits.Pass(out, {"planted": count}))
    return culprits.compare(passes[0], passes[1], folder)


@asynccontextmanager
async def planted(habit: str, probes: Path, out: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "planted"] if out is None else culprits.profiled_command(out, "planted")
    env = {**os.environ, ENV_DIR: str(probes), "PYTHONPATH": os.pathsep.join([str(HERE), str(PACKAGES)])}
    process = await asyncio.create_subprocess_exec(
        *command, habit, env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def go(process: asyncio.subprocess.Process, count: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go %d\n" % count)
    assert await process.stdout.readline() == b"done\n"

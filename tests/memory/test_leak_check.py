"""The whole leak check: the real service, real bots, the wired driver; small plans, for the machinery is tested here.

Whether a clean service stays clean is asked with the full plan by scenarios/leaks, not here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import harness
from harness.adapters import journal
from harness.adapters.journal import Book
from harness.core.events import AllocatorFound, MemorySampled, Noted, RunFact
from harness.core.leak import judge_leaks, unjudgeable
from harness.core.scenario import Bot, Load, MemoryPlan, Scenario
from harness.drivers import Case
from harness.drivers.wired import Wired
from harness.errors import NoVerdictError

PACKAGES = Path(harness.__file__).parent.parent
SMALL = MemoryPlan(cycles=7, warm_up=2, messages=60)
LEAKY_AND_ECHO = Scenario(
    name="leaky and echo",
    why="One leaks, one does not.",
    distances=("wired",),
    load=Load(words=4),
    bots=(Bot(behaviour="leaky"), Bot(behaviour="echo")),
    memory=SMALL,
)


class Nobody:
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.counts = (0, 0, 0)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def counted(self, sent: int, answered: int, failed: int) -> None:
        self.counts = (sent, answered, failed)


def facts_of(scenario: Scenario, folder: Path, *, profile: bool = False, watch: Nobody | None = None) -> list[RunFact]:
    case = Case(
        scenario=scenario, distance="wired", seed=7, folder=folder / "case", state_dir=folder / ".deia", profile=profile
    )
    book = Book(folder / "journal.jsonl", t0=time.monotonic())
    try:
        asyncio.run(Wired().drive(case, book, watch or Nobody()))
    finally:
        book.close()
    return [entry.fact for entry in journal.read(book.path)]


def test_every_process_is_measured_after_every_cycle(tmp_path: Path) -> None:
    watch = Nobody()
    facts = facts_of(LEAKY_AND_ECHO, tmp_path, watch=watch)
    samples = [fact for fact in facts if isinstance(fact, MemorySampled)]
    assert len(samples) == len(facts) == 3 * (SMALL.warm_up + SMALL.cycles)
    # 47 messages of 32,000 characters come first, to fill caches; then 60 in each cycle.
    for subject, before, each in (("service", 47, 60), ("leaky", 24, 30), ("echo", 23, 30)):
        own = [(sample.cycle, sample.messages) for sample in samples if sample.subject == subject]
        assert own == [(place - 2, before + (place + 1) * each) for place in range(9)]
    assert watch.counts == (587, 587, 0)
    assert all(sample.answered == sample.messages for sample in samples)
    assert len({(sample.subject, sample.pid) for sample in samples}) == len({sample.pid for sample in samples}) == 3
    cast = ("service", "leaky", "echo")
    judged = [sample for sample in samples if sample.cycle >= 0]
    assert unjudgeable(judged, subjects=cast, cycles=SMALL.cycles) == ""
    assert watch.stages[-1] == "memory: cycle 7 of 7"
    leaking = {
        (verdict.subject, verdict.counter) for verdict in judge_leaks(samples, cycles=SMALL.cycles) if verdict.leaking
    }
    assert leaking >= {("leaky", "blocks"), ("leaky", "objects")}
    assert not any(subject == "echo" for subject, _ in leaking)


def test_messages_of_a_bot_that_often_fails_are_counted_and_noted(tmp_path: Path) -> None:
    bots = (Bot(behaviour="flaky", options={"error_rate": 0.3}),)
    settings = replace(LEAKY_AND_ECHO.service, breaker_failures_max=1000)
    watch = Nobody()
    facts = facts_of(replace(LEAKY_AND_ECHO, bots=bots, service=settings), tmp_path, watch=watch)
    sent, answered, failed = watch.counts
    assert (sent, answered + failed) == (587, 587)
    assert failed > 0
    noted = [fact.text for fact in facts if isinstance(fact, Noted)]
    assert noted == [f"leak check: {failed} of 587 messages failed ({noted[0].partition('(')[2]}"]
    assert "overloaded: " in noted[0]
    samples = [fact for fact in facts if isinstance(fact, MemorySampled) and fact.cycle >= 0]
    why = unjudgeable(samples, subjects=("service", "flaky"), cycles=SMALL.cycles)
    assert why.endswith("were answered; a leak check needs 95% of them")


def test_a_bot_that_starts_again_between_the_cycles_is_seen(tmp_path: Path) -> None:
    # Some 30 messages in each cycle: it dies within every third or so, and few of its messages fail.
    bots = (Bot(behaviour="crash", options={"after": 100}), Bot(behaviour="echo"))
    settings = replace(LEAKY_AND_ECHO.service, breaker_failures_max=1000)
    facts = facts_of(replace(LEAKY_AND_ECHO, bots=bots, service=settings), tmp_path)
    samples = [fact for fact in facts if isinstance(fact, MemorySampled) and fact.cycle >= 0]
    assert len({sample.pid for sample in samples if sample.subject == "crash"}) > 1
    why = unjudgeable(samples, subjects=("service", "crash", "echo"), cycles=SMALL.cycles)
    assert why.startswith("crash was started again between the cycles")


def test_a_bot_that_never_answers_gives_no_verdict(tmp_path: Path) -> None:
    bots = (Bot(behaviour="flaky", options={"error_rate": 1.0}),)
    with pytest.raises(NoVerdictError, match="of a whole cycle no message was answered"):
        facts_of(replace(LEAKY_AND_ECHO, bots=bots), tmp_path)


def test_the_profile_names_the_line_of_the_leaky_bot(tmp_path: Path) -> None:
    alone = replace(LEAKY_AND_ECHO, bots=(Bot(behaviour="leaky"),), memory=replace(SMALL, warm_up=1, messages=40))
    facts = facts_of(alone, tmp_path, profile=True)
    found = [fact for fact in facts if isinstance(fact, AllocatorFound) and fact.subject == "leaky"]
    assert found[0].where.startswith("fake_bots/turns.py:"), found
    assert found[0].allocations_per_message == pytest.approx(66, abs=2)
    assert found[0].bytes_per_message == pytest.approx(4096, rel=0.2)
    assert str(tmp_path) not in repr(found)
    assert (tmp_path / "case" / "leaks-leaky.html").exists()
    assert not list((tmp_path / "case").glob("memray-*")), "the raw profiles are large and were read"


def test_without_memray_it_is_said_what_to_install(tmp_path: Path) -> None:
    # Our package alone and no site-packages (-S): memray is not there, whatever else is installed.
    shutil.copytree(Path(harness.__file__).parent, tmp_path / "harness")
    code = "from harness.memory import culprits; print(culprits.problem())"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'hive-harness[memory]'" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_when_it_is_stopped_in_the_middle(number: signal.Signals, tmp_path: Path) -> None:
    scenario = tmp_path / "long.toml"
    scenario.write_text(
        'name = "long"\nwhy = "To be stopped."\ndistances = ["wired"]\nbots = [{ behaviour = "echo" }]\n'
        "memory = { cycles = 200, messages = 200 }\n"
    )
    with tempfile.TemporaryDirectory(prefix="hive-test-") as temporary:
        command = [sys.executable, "-m", "harness", "run", str(scenario), "--state-dir", str(tmp_path / "state")]
        command += ["--reports-dir", str(tmp_path / "reports")]
        env = {**os.environ, "TMPDIR": temporary, "PYTHONPATH": str(PACKAGES)}
        run = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: "memory-sampled" in written(tmp_path / "reports"), "the check to measure")
            family = psutil.Process(run.pid).children(recursive=True)
            assert len(family) >= 2, "the service and its bot"
            assert list(Path(temporary).glob("hive-*"))
        finally:
            run.send_signal(number)
            run.wait(timeout=60)
        wait_until(lambda: not any(map(alive, family)), "every process to end")
        wait_until(lambda: not list(Path(temporary).iterdir()), "the probe directory to go")


def written(reports: Path) -> str:
    return "".join(path.read_text() for path in reports.glob("runs/*/journal.jsonl"))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(met: object, what: str, *, within_s: float = 60.0) -> None:
    assert callable(met)
    deadline = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain for {what}"
        time.sleep(0.05)

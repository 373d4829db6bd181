"""The wired distance, with the real service, real bots and real Locust."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.adapters.journal import Book, read
from harness.core.decode import decode
from harness.core.events import (
    BotSeen,
    BreakerMoved,
    CaseEnded,
    CaseStarted,
    ClientBroke,
    Entry,
    FaultArmed,
    FaultDelivered,
    FaultHealed,
    GotAccepted,
    GotFailure,
    GotRefusal,
    GotReply,
    Sent,
    TranscriptRead,
)
from harness.core.judge import judge
from harness.core.scenario import Scenario
from harness.core.settings import Settings
from harness.drivers import Case
from harness.drivers.wired import Wired, find_locustfile, load_command
from harness.errors import TargetDownError
from harness.targets._api import Api
from harness.targets._child import Child, child_env
from harness.targets.reference import Reference

ROOT = Path(__file__).resolve().parents[2]
MARK = "HARNESS_TEST_MARK"


@dataclass
class Seen:
    """A watch that keeps what it was told."""

    stages: list[str] = field(default_factory=list)
    counts: list[tuple[int, int, int]] = field(default_factory=list)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def counted(self, sent: int, answered: int, failed: int) -> None:
        self.counts.append((sent, answered, failed))


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Whatever this test starts carries this in its environment."""
    token = secrets.token_hex(8)
    monkeypatch.setenv(MARK, token)
    return token


def marked(token: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == token:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def wait_until(true: Callable[[], bool], limit_s: float = 60.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def scenario(**changes: Any) -> Scenario:
    base = {
        "name": "small",
        "why": "a test",
        "duration_s": 2,
        "load": {"users": 4, "say_every_s": 0.2},
        "bots": [{"behaviour": "echo", "count": 2}],
    }
    return decode(Scenario, base | changes)


def driven(folder: Path, plan: Scenario) -> tuple[list[Entry], Seen]:
    """Drive a case as the runner does; give its journal."""
    case = Case(scenario=plan, distance="wired", seed=plan.seed, folder=folder / "case", state_dir=folder / "deia")
    seen, t0 = Seen(), time.monotonic()
    book = Book(folder / "journal.jsonl", t0=t0)
    try:
        book.write(t0, "runner", CaseStarted("small", "wired", plan.seed, asdict(plan)))
        asyncio.run(Wired().drive(case, book, seen))
        book.write(time.monotonic(), "runner", CaseEnded())
    finally:
        book.close()
    return list(read(folder / "journal.jsonl")), seen


def test_a_case_has_three_witnesses_on_one_clock(tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # As with ``--reports-dir reports``: the case's folder is a relative path.
    entries, seen = driven(Path(), scenario())
    kinds = Counter(type(entry.fact) for entry in entries)
    assert kinds[Sent] == kinds[GotAccepted] == kinds[GotReply] > 10
    assert {entry.source for entry in entries} == {"runner", "service", "client", "load", "store"}
    assert all(before.t <= after.t for before, after in pairwise(entries))
    sent = {entry.fact.cid: entry.t - entry.fact.intended for entry in entries if isinstance(entry.fact, Sent)}
    assert all(0.0 <= lag < 10.0 for lag in sent.values()), "what was meant and what was done are on one clock"
    stored = [entry.fact for entry in entries if isinstance(entry.fact, TranscriptRead)]
    assert sorted(cid for fact in stored for cid in fact.cids) == sorted(sent)
    assert sorted(cid for fact in stored for cid in fact.replies) == sorted(sent)
    assert judge("r", entries).exit_code == 0
    assert seen.counts[-1] == (kinds[Sent], kinds[GotReply], 0)
    assert "4 users for 2 s" in seen.stages
    assert sorted(path.name for path in (tmp_path / "case").iterdir()) == ["load.log", "service.log"]
    assert (tmp_path / "deia" / "bot-logs").is_dir()
    assert marked(mark) == []


def test_a_bot_that_keeps_dying_opens_its_breaker_and_one_probe_closes_it(tmp_path: Path, mark: str) -> None:
    plan = scenario(
        duration_s=6,
        bots=[{"behaviour": "echo", "name": "victim"}, {"behaviour": "echo", "name": "bystander"}],
        faults=[{"kind": "crash-loop", "bot": "victim", "at_s": 0.5, "for_s": 1.5}],
        service={"breaker_failures_max": 2, "breaker_cooldown_s": 2.0, "bot_restart_min_s": 0.05},
        expect={"bystanders_failed": {"max": 0}, "breaker_probes_max": {"min": 1, "max": 1}},
    )
    entries, _ = driven(tmp_path, plan)
    facts = [entry.fact for entry in entries]
    moves = [(fact.bot, fact.after) for fact in facts if isinstance(fact, BreakerMoved)]
    assert moves == [("victim", "open"), ("victim", "half-open"), ("victim", "closed")]
    hits = [fact for fact in facts if isinstance(fact, FaultDelivered)]
    started = {fact.pid for fact in facts if isinstance(fact, BotSeen) and fact.bot == "victim"}
    assert {f"pid {pid}, SIGKILL" for pid in started} >= {hit.detail for hit in hits}
    assert len({hit.detail for hit in hits}) == len(hits) == 2
    faults = [type(fact) for fact in facts if isinstance(fact, FaultArmed | FaultDelivered | FaultHealed)]
    assert faults == [FaultArmed, FaultDelivered, FaultDelivered, FaultHealed]
    assert FaultHealed("crash-loop", "victim", 2) in facts
    assert "circuit-open" in {fact.code for fact in facts if isinstance(fact, GotRefusal)}
    verdict = judge("r", entries)
    assert verdict.exit_code == 0, [finding.text for case in verdict.cases for finding in case.findings]
    assert marked(mark) == []


@pytest.mark.unmeasured
def test_kill_9_of_the_service_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path, mark: str) -> None:
    plan = scenario(duration_s=4, bots=[{"behaviour": "slow", "options": {"first_token_s": 0.05, "token_s": 0.02}}])
    load_journal = tmp_path / "load.jsonl"

    async def story() -> dict[str, list[str]]:
        async with Reference().open(folder=tmp_path / "case", bot_logs=tmp_path / "logs") as service:
            api = Api(service.url)
            try:
                await api.launch("slow", "slow", plan.bots[0].options, seed=7)
                await api.online(("slow",), limit_s=30)
                command = load_command(plan, 7, find_locustfile(), service.url, load_journal)
                env = child_env(service.guardian)
                load = await Child.start(command, guardian=service.guardian, log=tmp_path / "load.log", env=env)
                while load_journal.exists() is False or b"got-reply" not in load_journal.read_bytes():
                    assert load.ended is None, load.last_words()
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)
                address, number = service.url, service.pid
                await service.kill()
                await service.restart()
                assert service.url == address
                assert service.pid != number
                await asyncio.wait_for(load.process.wait(), 90)
                await load.end(grace_s=1)
                return {
                    name: [message["cid"] for message in await api.transcript(name) if message["role"] == "user"]
                    for name in await api.sessions()
                }
            finally:
                api.close()

    stored = asyncio.run(story())
    facts = [entry.fact for entry in read(load_journal)]
    sessions = {fact.cid: fact.session for fact in facts if isinstance(fact, Sent)}
    accepted = {fact.cid for fact in facts if isinstance(fact, GotAccepted)}
    assert len(accepted) > 10
    assert any(isinstance(fact, ClientBroke) for fact in facts)
    for cid in accepted:
        assert stored[sessions[cid]].count(cid) == 1
    # Every message has an outcome, also those that were under way: nobody waits for ever.
    settled = {fact.cid for fact in facts if isinstance(fact, GotReply | GotFailure | GotRefusal)}
    assert settled == set(sessions)
    assert all(fact.intact for fact in facts if isinstance(fact, GotReply))
    assert marked(mark) == []


def test_nothing_stays_behind_when_the_run_itself_is_killed(tmp_path: Path, mark: str) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "integration")!r})
from pathlib import Path
from test_wired_driver import driven, scenario
driven(Path({str(tmp_path)!r}), scenario(duration_s=60))
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with (tmp_path / "words").open("wb") as words:
        process = subprocess.Popen([sys.executable, "-c", program], env=env, stdout=words, stderr=words)
    load = tmp_path / "case" / "load.jsonl"
    assert wait_until(lambda: load.exists() and b"got-reply" in load.read_bytes()), (tmp_path / "words").read_text()
    running = marked(mark)
    assert any("locust" in command for command in running)
    assert any("fake_bots" in command for command in running)
    process.kill()
    process.wait()
    assert wait_until(lambda: marked(mark) == []), marked(mark)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param(
            Reference(service_command=(sys.executable, "-c", "print('no disk left'); raise SystemExit(3)")),
            "exit code 3:\nno disk left",
            id="it ends at once",
        ),
        pytest.param(
            Reference(service_command=(sys.executable, "-c", "import time; time.sleep(60)"), start_max_s=0.3),
            "does not listen after 0.3 s",
            id="it never listens",
        ),
        pytest.param(Reference(service_command=("/no/such/program",)), "cannot start /no/such/program", id="not there"),
    ],
)
def test_a_service_that_does_not_start(tmp_path: Path, mark: str, target: Reference, words: str) -> None:
    async def start() -> None:
        async with target.open(folder=tmp_path / "case", bot_logs=tmp_path / "logs"):
            pass

    with pytest.raises(TargetDownError, match=words):
        asyncio.run(start())
    assert marked(mark) == []


def test_limits_reach_the_service(tmp_path: Path) -> None:
    async def refusal() -> str:
        limits = Settings(bots_max=1)
        async with Reference().open(folder=tmp_path / "case", bot_logs=tmp_path / "logs", settings=limits) as service:
            api = Api(service.url)
            try:
                await api.launch("echo", "one", {}, seed=7)
                with pytest.raises(TargetDownError) as refused:
                    await api.launch("echo", "two", {}, seed=7)
            finally:
                api.close()
            return str(refused.value)

    assert "POST /api/bots: 409" in asyncio.run(refusal())


def test_a_cast_that_cannot_be_launched_names_why(tmp_path: Path, mark: str) -> None:
    with pytest.raises(TargetDownError, match="POST /api/bots: 4"):
        driven(tmp_path, scenario(bots=[{"behaviour": "no-such-behaviour"}]))
    assert marked(mark) == []

"""Whole scenarios in virtual time, over many seeds: same seed same journal, and no promise broken at any seed."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.adapters.journal import Book, read
from harness.core.decode import decode
from harness.core.events import (
    BotSeen,
    BreakerMoved,
    CaseEnded,
    CaseStarted,
    Entry,
    FaultDelivered,
    FaultHealed,
    GotFailure,
    GotRefusal,
)
from harness.core.judge import judge
from harness.core.scenario import Scenario
from harness.drivers import Case
from harness.drivers.simulated import Simulated
from harness.errors import PluginError, ScenarioError

SEEDS = range(1, 26)


class Nobody:
    """Looks on without saying anything."""

    def stage(self, text: str) -> None:
        """Nobody reads it."""

    def counted(self, sent: int, answered: int, failed: int) -> None:
        """Nobody reads it."""


def scenario(**changes: object) -> Scenario:
    """A small chat with every kind of bot that can fail, unless said otherwise."""
    data: dict[str, object] = {
        "name": "x",
        "why": "y",
        "duration_s": 20,
        "load": {"users": 12, "say_every_s": 0.4},
        "bots": [
            {"behaviour": "echo", "name": "beta"},
            {"behaviour": "slow"},
            {"behaviour": "flaky", "options": {"error_rate": 0.5}},
            {"behaviour": "crash", "options": {"after": 5}},
            {"behaviour": "hang", "options": {"after": 8}},
            {"behaviour": "garbled"},
        ],
        "service": {"breaker_cooldown_s": 2, "breaker_failures_max": 3, "reply_silence_max_s": 3, "turns_max": 2},
    }
    return decode(Scenario, data | changes)


def play(what: Scenario, seed: int, folder: Path) -> list[Entry]:
    """Run one case and give its journal."""
    folder.mkdir(parents=True, exist_ok=True)
    book = Book(folder / "journal.jsonl")
    case = Case(scenario=what, distance="simulated", seed=seed, folder=folder, state_dir=folder)
    book.write(0.0, "run", CaseStarted("x", "simulated", seed, asdict(what)))
    try:
        asyncio.run(Simulated().drive(case, book, Nobody()))
        book.write(0.0, "run", CaseEnded())
    finally:
        book.close()
    return list(read(folder / "journal.jsonl"))


def test_one_seed_one_journal_byte_for_byte(tmp_path: Path) -> None:
    play(scenario(), 11, tmp_path / "a")
    play(scenario(), 11, tmp_path / "b")
    play(scenario(), 12, tmp_path / "c")
    first, second, other = ((tmp_path / name / "journal.jsonl").read_bytes() for name in "abc")
    assert first == second
    assert first != other


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_breaks_a_promise(seed: int, tmp_path: Path) -> None:
    """Bots that die, hang, fail and babble: everything accepted is answered or fails clearly, once, and is stored."""
    verdict = judge("x", play(scenario(), seed, tmp_path))
    figures = verdict.cases[0].figures
    assert figures["messages_sent"] > 100
    for name in ("messages_lost", "messages_doubled", "messages_unanswered", "replies_broken", "calls_while_open"):
        assert figures[name] == 0, f"seed {seed}: {name}"


def test_a_killed_bot_costs_its_users_one_breaker(tmp_path: Path) -> None:
    what = scenario(
        bots=[{"behaviour": "echo", "name": "beta"}, {"behaviour": "echo", "name": "gamma"}],
        faults=[{"kind": "crash-loop", "bot": "beta", "at_s": 3, "for_s": 3}],
    )
    facts = [entry.fact for entry in play(what, 7, tmp_path)]
    moves = [fact for fact in facts if isinstance(fact, BreakerMoved)]
    assert moves[0].after == "open"
    assert moves[-1].after == "closed"
    assert {move.bot for move in moves} == {"beta"}
    assert any(isinstance(fact, FaultDelivered) for fact in facts)
    assert any(isinstance(fact, FaultHealed) and fact.delivered >= 3 for fact in facts)
    codes = {fact.code for fact in facts if isinstance(fact, GotRefusal | GotFailure)}
    assert "circuit-open" in codes
    assert codes <= {"circuit-open", "bot-gone"}
    assert {fact.bot for fact in facts if isinstance(fact, BotSeen) and fact.what == "gone"} == {"beta"}


def test_an_unknown_fault_says_so(tmp_path: Path) -> None:
    what = scenario(faults=[{"kind": "earthquake", "bot": "beta", "at_s": 1, "for_s": 1}])
    with pytest.raises(PluginError, match="earthquake"):
        play(what, 7, tmp_path)


def test_a_wrong_option_names_the_bot(tmp_path: Path) -> None:
    what = scenario(bots=[{"behaviour": "echo", "name": "beta", "options": {"loudness": 3}}])
    with pytest.raises(ScenarioError, match=r"bots\.beta\.options: unknown field 'loudness'"):
        play(what, 7, tmp_path)

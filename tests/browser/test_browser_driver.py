"""The browser distance: what it writes down, what it keeps when a step fails, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from harness.adapters.journal import Book, read
from harness.core.decode import decode
from harness.core.events import (
    BreakerMoved,
    ClientBroke,
    Entry,
    FaultHealed,
    GotAccepted,
    GotFirstToken,
    GotRefusal,
    GotReply,
    Noted,
    Sent,
    Stepped,
    TranscriptRead,
)
from harness.core.scenario import Scenario
from harness.drivers import Case
from harness.drivers.browser import Browser
from harness.errors import NoVerdictError, TargetDownError

LIMIT_S = 60.0
PNG = b"\x89PNG\r\n\x1a\n"
BREAKER = {
    "name": "breaker",
    "why": "test",
    "duration_s": 5,
    "load": {"say_every_s": 0.3},
    "bots": [{"behaviour": "echo", "name": "victim", "options": {"prefix": "I heard: "}}],
    "faults": [{"kind": "crash-loop", "bot": "victim", "at_s": 0.5, "for_s": 1.5}],
    "service": {"breaker_failures_max": 2, "breaker_cooldown_s": 1.5, "bot_restart_min_s": 0.05},
}
# The first message gets no reply: the bot hangs at once, and the service gives up on it.
HANGING = {
    "name": "hanging",
    "why": "test",
    "duration_s": 1,
    "bots": [{"behaviour": "hang", "options": {"after": 1}}],
    "service": {"reply_silence_max_s": 0.5},
}
DRIVE = """
import asyncio, json, sys, time
from pathlib import Path
from harness.adapters.journal import Book
from harness.core.decode import decode
from harness.core.scenario import Scenario
from harness.drivers import Case
from harness.drivers.browser import Browser

class Onlooker:
    def stage(self, text): print(text, flush=True)
    def counted(self, sent, answered, failed): pass

folder = Path(sys.argv[1])
case = Case(scenario=decode(Scenario, json.loads(sys.argv[2])), distance="browser", seed=7,
            folder=folder / "case", state_dir=folder / "state")
book = Book(folder / "journal.jsonl", t0=time.monotonic())
asyncio.run(Browser().drive(case, book, Onlooker()))
"""


class Onlooker:
    """Sees what a terminal would show."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.counts = (0, 0, 0)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def counted(self, sent: int, answered: int, failed: int) -> None:
        self.counts = (sent, answered, failed)


def drive(scenario: dict[str, object], folder: Path, onlooker: Onlooker | None = None) -> tuple[list[Entry], Onlooker]:
    onlooker = onlooker or Onlooker()
    case = Case(
        scenario=decode(Scenario, scenario),
        distance="browser",
        seed=7,
        folder=folder / "case",
        state_dir=folder / "state",
    )
    book = Book(folder / "journal.jsonl", t0=time.monotonic())
    try:
        asyncio.run(Browser().drive(case, book, onlooker))
    finally:
        book.close()
    return list(read(folder / "journal.jsonl")), onlooker


def test_a_breaker_is_seen_on_the_page(tmp_path: Path) -> None:
    entries, onlooker = drive(BREAKER, tmp_path)
    facts = [entry.fact for entry in entries]
    steps = [fact for fact in facts if isinstance(fact, Stepped)]
    assert [step for step in steps if not step.ok] == []
    assert {
        *("open the page", "launch victim", "select victim", "send a message", "read the streamed reply"),
        *("see the banner", "be refused at once, and told why", "see the banner go", "be answered again"),
        *("reload", "see the history"),
    } <= {step.step for step in steps}
    banner = next(step for step in steps if step.step == "see the banner")
    assert "Bot Unavailable (recovering)" in banner.detail
    pictures = [step.picture for step in steps if step.picture]
    assert {"chat-light.png", "banner.png", "refusal.png", "history.png"} <= set(pictures)
    for picture in pictures:
        assert (tmp_path / "case" / picture).read_bytes().startswith(PNG)
    moves = [(fact.before, fact.after) for fact in facts if isinstance(fact, BreakerMoved)]
    assert moves[0] == ("closed", "open")
    assert moves[-1] == ("half-open", "closed")
    assert any(isinstance(fact, FaultHealed) and fact.delivered for fact in facts)
    assert not [fact for fact in facts if isinstance(fact, ClientBroke)]

    sent = {fact.cid for fact in facts if isinstance(fact, Sent)}
    accepted = {fact.cid for fact in facts if isinstance(fact, GotAccepted)}
    replied = {fact.cid for fact in facts if isinstance(fact, GotReply) and fact.intact}
    refused = {fact.cid for fact in facts if isinstance(fact, GotRefusal) and fact.code == "circuit-open"}
    assert refused
    assert accepted | {fact.cid for fact in facts if isinstance(fact, GotRefusal)} == sent
    assert {fact.cid for fact in facts if isinstance(fact, GotFirstToken)} >= replied
    transcript = next(fact for fact in facts if isinstance(fact, TranscriptRead))
    assert set(transcript.cids) == accepted
    assert len(transcript.cids) == len(accepted)
    assert onlooker.counts == (len(sent), len(replied), len(sent) - len(replied))
    assert [entry.t for entry in entries] == sorted(entry.t for entry in entries)
    assert 0 <= entries[0].t <= entries[-1].t < LIMIT_S
    assert not (tmp_path / "case" / "trace.zip").exists()


def test_a_step_that_fails_is_kept_with_trace_picture_and_console(tmp_path: Path) -> None:
    entries, _ = drive(HANGING, tmp_path)
    steps = [entry.fact for entry in entries if isinstance(entry.fact, Stepped)]
    assert not steps[-1].ok
    assert steps[-1].step == "read the streamed reply"
    assert "bot-silent" in steps[-1].detail
    assert steps[-1].picture == "failed.png"
    for name in ("failed.png", "trace.zip", "console.txt"):
        assert (tmp_path / "case" / name).stat().st_size > 0
    assert any(isinstance(entry.fact, Noted) and "trace.zip" in entry.fact.text for entry in entries)
    assert any(isinstance(entry.fact, TranscriptRead) for entry in entries)


class Killer(Onlooker):
    """Kills the browser in the middle of the talk, as a machine without memory does."""

    def stage(self, text: str) -> None:
        super().stage(text)
        if text.startswith("one person"):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if "chrom" in child.name() and not any("--type=" in word for word in child.cmdline()):
                        child.kill()


def test_a_browser_that_dies_says_nothing_of_the_service(tmp_path: Path) -> None:
    with pytest.raises(NoVerdictError, match="the browser died"):
        drive(BREAKER | {"faults": []}, tmp_path, Killer())
    facts = [entry.fact for entry in read(tmp_path / "journal.jsonl")]
    assert not [fact for fact in facts if isinstance(fact, Stepped) and not fact.ok]
    assert any(isinstance(fact, TranscriptRead) for fact in facts)


def test_without_a_browser_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetDownError, match=r"none is installed.*install chromium"):
        drive(BREAKER, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_however_it_ends(tmp_path: Path, number: int) -> None:
    temporary = Path(tempfile.mkdtemp(dir="/tmp"))  # Short: Chromium puts a socket into it.
    env = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", DRIVE, str(tmp_path), json.dumps(BREAKER)]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "one person" in line:
                break
        family = psutil.Process(process.pid).children(recursive=True)
        assert any("chrom" in child.name() for child in family)
        os.killpg(process.pid, number)  # As Ctrl-C in a terminal does: everything in the foreground hears it.
        process.stdout.read()
        process.wait(LIMIT_S)
    _, alive = psutil.wait_procs(family, timeout=LIMIT_S)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    deadline = time.monotonic() + LIMIT_S
    while any(temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(temporary.iterdir()) == []
    temporary.rmdir()

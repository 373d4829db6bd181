"""The locustfile as a program, against a service that misbehaves on request."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.adapters.journal import read
from harness.core.events import (
    ClientBroke,
    Entry,
    GeneratorSeen,
    GotAccepted,
    GotFirstToken,
    GotRefusal,
    GotReply,
    RunFact,
    Sent,
)
from harness.errors import EXIT_NO_VERDICT

ROOT = Path(__file__).resolve().parents[2]
LOCUSTFILE = ROOT / "scenarios" / "locustfile.py"


@contextmanager
def scripted(folder: Path, *options: str) -> Iterator[str]:
    """Run the scripted service; give its address."""
    ready = folder / "ready.json"
    command = [sys.executable, str(Path(__file__).with_name("scripted_service.py")), str(ready), *options]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, (folder / "service.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        process.wait(30)


def locust(folder: Path, url: str, *options: str, locustfile: Path = LOCUSTFILE) -> tuple[int, str]:
    """Run Locust by hand, as a person would; give its exit code and its words."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    env["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--host", url, "--headless", "--only-summary"]
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env=env,
        timeout=90,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout


def played(folder: Path, *service: str, users: int = 5, seconds: int = 1) -> tuple[int, str, list[Entry]]:
    journal = folder / "load.jsonl"
    with scripted(folder, *service) as url:
        options = ("-u", str(users), "-r", str(users), "-t", f"{seconds}s", "--harness-journal", str(journal))
        code, words = locust(folder, url, *options, "--harness-say-every", "0.1")
    return code, words, list(read(journal))


def count(entries: list[Entry]) -> Counter[type[RunFact]]:
    return Counter(type(entry.fact) for entry in entries)


def test_every_message_is_followed_to_its_end(tmp_path: Path) -> None:
    before = time.monotonic()
    code, words, entries = played(tmp_path, seconds=2)
    after = time.monotonic()
    assert code == 0, words
    seen = count(entries)
    assert seen[Sent] > 20
    assert seen[Sent] == seen[GotAccepted] == seen[GotFirstToken] == seen[GotReply]
    assert seen[ClientBroke] == 0
    assert all(entry.fact.intact for entry in entries if isinstance(entry.fact, GotReply))
    # One clock for all processes of a run: what Locust stamps lies between two looks of ours.
    assert all(before < entry.t < after for entry in entries)
    sent = [entry for entry in entries if isinstance(entry.fact, Sent)]
    assert all(isinstance(e.fact, Sent) and e.fact.intended <= e.t for e in sent)
    assert len({e.fact.cid for e in sent if isinstance(e.fact, Sent)}) == len(sent)
    assert len({e.fact.session for e in sent if isinstance(e.fact, Sent)}) == 5
    # It found no bot, so it launched one; and Locust's own table tells of the same messages.
    assert "POST     /api/bots" in words
    assert re.search(rf"WS +reply +{seen[GotReply]} +0\(", words), words
    # The generator looks at itself every second.
    assert isinstance(entries[0].fact, GeneratorSeen), "the first line marks the beginning of the load"
    looks = [entry.fact for entry in entries if isinstance(entry.fact, GeneratorSeen)]
    assert len(looks) >= 2
    assert all(0.0 <= fact.cpu_share <= 1.5 and fact.lag_ms_p99 >= 0.0 for fact in looks)


def test_refusals_are_answers_and_no_reason_for_exit_code_1(tmp_path: Path) -> None:
    code, words, entries = played(tmp_path, "--refuse", "3")
    seen = count(entries)
    assert seen[GotRefusal] > 3
    assert seen[GotReply] + seen[GotRefusal] == seen[Sent]
    assert code == 0, words
    assert "circuit-open" in words


def test_lost_connections_and_missing_frames_are_mended_and_the_replies_resumed(tmp_path: Path) -> None:
    code, words, entries = played(tmp_path, "--cut", "9", "--skip", "7")
    seen = count(entries)
    broke = [entry.fact.why for entry in entries if isinstance(entry.fact, ClientBroke)]
    assert any("gap" in why for why in broke), broke
    assert any("1012" in why for why in broke), broke
    assert seen[GotReply] == seen[GotFirstToken] == seen[Sent]
    assert all(entry.fact.intact for entry in entries if isinstance(entry.fact, GotReply))
    assert code == 1, words


def test_a_reply_that_is_too_short_is_not_intact(tmp_path: Path) -> None:
    code, _, entries = played(tmp_path, "--short", "9")
    replies = [entry.fact for entry in entries if isinstance(entry.fact, GotReply)]
    assert 0 < sum(not fact.intact for fact in replies) < len(replies)
    assert code == 1


def test_what_never_ends_stays_open_when_the_drain_is_over(tmp_path: Path) -> None:
    journal = tmp_path / "load.jsonl"
    with scripted(tmp_path, "--mute", "4") as url:
        options = ("-u", "4", "-r", "4", "-t", "1s", "--stop-timeout", "1s", "--harness-journal", str(journal))
        code, words = locust(tmp_path, url, *options, "--harness-say-every", "0.1")
    seen = count(list(read(journal)))
    assert seen[GotReply] < seen[Sent]
    assert seen[GotFirstToken] == seen[Sent]
    assert code == 1
    assert "no outcome when the user left" in words


BROKEN = """
from locust import events
from harness.load.rig import Rig
from harness.load.user import ChatUser

class Person(ChatUser):
    rig = Rig.attach(events)

    def on_start(self):
        super().on_start()
        if self.rig.enlist()[0] % 2:
            raise RuntimeError("half of us never come")
"""


def test_a_load_whose_own_code_breaks_is_no_load(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN, "utf-8")
    with scripted(tmp_path) as url:
        options = ("-u", "4", "-r", "4", "-t", "1s", "--harness-say-every", "0.1")
        code, words = locust(tmp_path, url, *options, locustfile=tmp_path / "broken.py")
    assert code == EXIT_NO_VERDICT, words
    assert "half of us never come" in words


def test_nobody_listens(tmp_path: Path) -> None:
    code, words = locust(tmp_path, "http://127.0.0.1:9", "-u", "2", "-r", "2", "-t", "60s")
    assert code == 1
    assert "is the chat service running at http://127.0.0.1:9?" in words


@pytest.mark.parametrize(
    "options",
    [
        ("--harness-say-every", "soon"),
        ("--harness-say-every", "-1"),
        ("--harness-words", "0"),
        ("--harness-journal", "load.jsonl", "--processes", "2"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, words = locust(tmp_path, "http://127.0.0.1:9", *options, "-u", "1", "-t", "1s")
    assert code != 0
    assert options[0] in words
    assert "Traceback" not in words
    assert not (tmp_path / "load.jsonl").exists()

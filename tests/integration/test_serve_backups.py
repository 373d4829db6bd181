"""Backups of a running service, and the commands around them: made on time, listed, drilled, put back."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.adapters import backup_pruning
from harness.adapters.backups import Backups
from harness.adapters.sqlite import FILE_NAME

if TYPE_CHECKING:
    from tests.conftest import Served

WAIT_MAX_S = 60.0


def backup(state: Path, *words: str, code: int = 0) -> str:
    """Run ``harness backup``; what it said."""
    command = [sys.executable, "-m", "harness", "backup", *words, "--state-dir", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def listed(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(backup(state, "list", "--json"))
    return found


def metrics(service: Served) -> dict[str, float]:
    _, text = service.call("GET", "/metrics")
    lines = [line.split() for line in text.decode().splitlines() if line.startswith("chat_backup")]
    return {name: float(value) for name, value in lines}


def until_backed_up(service: Served, count: int) -> None:
    """Wait until the metrics know of so many; a service that has just started looks in the background."""
    deadline = time.monotonic() + WAIT_MAX_S
    while metrics(service)["chat_backups"] < count:
        assert time.monotonic() < deadline, service.words()
        time.sleep(0.1)


def converse(service: Served, session: str, count: int) -> None:
    async def story() -> None:
        async with service.joined(session) as talk:
            for number in range(count):
                await talk.say(f"{time.monotonic()}-{number}", f"message {number}")

    asyncio.run(story())


def test_a_running_service_is_backed_up_and_its_chat_goes_on(chat: Served) -> None:
    chat.start("--set", "backup_every_s=0.5")
    session = chat.session(chat.launch("echo"))
    converse(chat, session, 20)
    assert chat.messages(session)[-1]["text"]
    until_backed_up(chat, 2)
    converse(chat, session, 5)
    seen = metrics(chat)
    assert seen["chat_backup_failures_total"] == 0
    assert seen["chat_backup_runs_total"] >= 2
    assert seen["chat_backup_damaged"] == 0
    assert abs(time.time() - seen["chat_backup_newest_verified_timestamp_seconds"]) < WAIT_MAX_S
    assert 0 <= seen["chat_backup_age_seconds"] < WAIT_MAX_S
    assert seen["chat_backup_quota_bytes"] == 10 * 1024**3
    assert chat.stop() == 0
    backups = listed(chat.state_dir)
    assert backups["problems"] == []
    assert all(each["state"] == "verified" for each in backups["backups"])
    # What it was told is what a person's command means.
    rules = backup_pruning.remembered(Backups(chat.state_dir / "backups").folder)
    assert (rules.every_s, rules.quota_bytes) == (0.5, 10 * 1024**3)


def test_after_a_restart_it_goes_on_from_what_is_there(chat: Served) -> None:
    chat.start("--set", "backup_every_s=0.5")
    chat.session(chat.launch("echo"))
    until_backed_up(chat, 1)
    assert chat.stop() == 0
    count = len(listed(chat.state_dir)["backups"])
    chat.start("--set", "backup_every_s=0")
    until_backed_up(chat, count)
    assert metrics(chat)["chat_backup_runs_total"] == 0


def test_a_backup_that_cannot_be_made_is_told_once_and_counted(chat: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    chat.start("--set", "backup_every_s=0.2", "--backup-dir", str(tmp_path / "file" / "below"))
    deadline = time.monotonic() + WAIT_MAX_S
    while metrics(chat)["chat_backup_failures_total"] < 2:
        assert time.monotonic() < deadline, chat.words()
        time.sleep(0.1)
    assert len(re.findall(r"^chat: backups: .*--backup-dir", chat.words(), flags=re.MULTILINE)) == 1
    assert chat.call("GET", "/health/live")[0] == 200


def test_a_service_that_ends_takes_its_backup_along(chat: Served) -> None:
    """Whether a job runs at that moment is up to chance; nothing must be left in any case."""
    chat.start("--set", "backup_every_s=0.05")
    chat.session(chat.launch("echo"))
    until_backed_up(chat, 1)
    assert chat.stop(signal.SIGINT) == 0
    chat.assert_nothing_left()
    assert listed(chat.state_dir)["problems"] == []


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("backup_keep_last=-1", "backup_keep_last must be a number from 0 up"),
        ("backup_zone=Europe/Nowhere", "'Europe/Nowhere' is not known"),
        ("backup_every_s=-1", "backup_every_s must be a number from 0 up"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_start(tmp_path: Path, pair: str, said: str) -> None:
    command = [sys.executable, "-m", "harness", "serve", "--port", "0", "--state-dir", str(tmp_path), "--set", pair]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_person_backs_up_drills_and_puts_back(chat: Served) -> None:
    chat.start("--set", "backup_every_s=0")
    session = chat.session(chat.launch("echo"))
    converse(chat, session, 10)
    state = chat.state_dir
    said = backup(state, "create", "--pin", "before the upgrade")
    assert "level 2 verified" in said
    before = chat.messages(session)
    converse(chat, session, 3)

    refused = backup(state, "restore", "latest", code=3)
    assert "another service" in refused, "the live database must not be taken from under a service"

    drilled = json.loads(backup(state, "drill", "--json"))
    assert (drilled["session"], drilled["messages"]) == (session, len(before))
    assert 0 < drilled["unpacked_s"] < drilled["ready_s"] <= drilled["rto_s"]
    print(f"restore drill: {drilled['rto_s']:.2f} s from nothing to a session that was read")
    assert len(chat.messages(session)) == len(before) + 6, "the drill has not touched the live service"

    assert chat.stop() == 0
    said = backup(state, "restore", "latest")
    assert f"{FILE_NAME} is 20" in said
    assert "what stood there before is 20" in said
    chat.start("--set", "backup_every_s=0")
    assert chat.messages(session) == before
    until_backed_up(chat, 2)
    assert metrics(chat)["chat_backup_drill_rto_seconds"] == drilled["rto_s"]
    assert chat.stop() == 0
    names = [each["name"] for each in listed(state)["backups"]]
    assert len(names) == 2
    assert "pinned: before the upgrade" in backup(state, "list")
    backup(state, "restore", names[1])
    chat.start("--set", "backup_every_s=0")
    assert len(chat.messages(session)) == len(before) + 6, "and back again, from the safety backup"


def test_what_a_damaged_backup_ends_each_command_with(chat: Served) -> None:
    chat.start("--set", "backup_every_s=0")
    chat.session(chat.launch("echo"))
    assert chat.stop() == 0
    state = chat.state_dir
    assert "no backups" in backup(state, "list")
    assert "there is no verified backup" in backup(state, "drill", code=2)
    backup(state, "create")
    backups = Backups(state / "backups")
    (entry,) = backups.catalog().entries
    data = backups.folder.data(entry.snapshot.name)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.chmod(0o600)
    data.write_bytes(bytes(content))
    assert "level 0 verified" in backup(state, "verify", "--level", "0")
    assert "DAMAGED" in backup(state, "verify", code=1)
    assert "problem: " in backup(state, "list", code=1)
    assert "match checksum" in backup(state, "restore", "20", code=1)
    assert "there is no verified backup" in backup(state, "restore", "latest", code=2)
    data.unlink()
    assert "cannot be found" in backup(state, "drill", "20", code=1)
    assert "DAMAGED" in backup(state, "verify", code=1)


def test_the_words_of_the_other_commands(chat: Served) -> None:
    chat.start("--set", "backup_every_s=0")
    chat.session(chat.launch("echo"))
    assert chat.stop() == 0
    state = chat.state_dir
    assert "there is no database" in backup(state.with_name("nowhere"), "create", code=2)
    for _ in range(8):
        backup(state, "create")
    refused = backup(state, "prune", "--keep-last", "1", *none_but_last(), code=1)
    assert "refused: 5 of 8 backups would go" in refused
    assert len(listed(state)["backups"]) == 8
    assert "dry run: nothing was moved" in backup(
        state, "prune", "--dry-run", "--force", "--keep-last", "1", *none_but_last()
    )
    name = listed(state)["backups"][0]["name"]
    assert "say what" in backup(state, "mark", name, code=2)
    assert "noted" in backup(state, "mark", name, "--pin", "why not")
    said = backup(state, "prune", "--force", "--keep-last", "1", *none_but_last())
    assert "pinned: why not" in said
    assert "4 moved to trash" in said
    assert len(listed(state)["backups"]) == 4
    over = backup(state, "prune", "--quota-bytes", "10")
    assert "over the quota by" in over
    assert "keeps nothing" in backup(state, "prune", "--keep-last", "0", *none_but_last(), code=2)


@pytest.mark.parametrize("action", ["list", "verify", "prune", "drill"])
def test_a_folder_that_is_not_there_is_told_and_is_not_no_backups(tmp_path: Path, action: str) -> None:
    assert "nowhere: there is no such folder; check --state-dir" in backup(tmp_path / "nowhere", action, code=2)
    said = backup(tmp_path, action, "--backup-dir", str(tmp_path / "nowhere"), code=2)
    assert "nowhere: there is no such folder; check --backup-dir" in said


def test_a_pin_says_why_and_is_not_taken_away_in_the_same_breath(tmp_path: Path) -> None:
    assert "argument --pin: say why" in backup(tmp_path, "create", "--pin", " ", code=2)
    assert "argument --pin: say why" in backup(tmp_path, "mark", "latest", "--pin", "", code=2)
    assert "not allowed with argument" in backup(tmp_path, "mark", "latest", "--pin", "x", "--unpin", code=2)


def none_but_last() -> tuple[str, ...]:
    return tuple(word for name in ("hourly", "daily", "weekly", "monthly") for word in (f"--keep-{name}", "0"))

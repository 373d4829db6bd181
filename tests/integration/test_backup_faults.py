"""Kill -9, a full disk and a broken disk at every single write, fsync and rename of the real commands.

The faults are put into system calls by strace. That tests the order of steps and every path of errors; it cannot test
what a power cut does to pages that the kernel has not written yet.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from harness.adapters import backup_pruning
from harness.adapters.backup_pruning import Rules
from harness.adapters.backups import Backups
from harness.adapters.sqlite import FILE_NAME, Store
from harness.services.backup_orphans import Kind

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace", path=os.pathsep.join([os.environ["PATH"], str(ROOT / ".venv/oracles/usr/bin")]))
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "ftruncate")
FAULTS = ("signal=KILL", "error=ENOSPC", "error=EIO")
OLD_ROWS, NEW_ROWS = 20, 25


def why_not() -> str:
    """Why nothing can be injected here; empty if it can."""
    if STRACE is None:
        return "strace is not on this machine: ./ci/oracles fetches it"
    done = subprocess.run([STRACE, "-f", "--seccomp-bpf", "-o", os.devnull, "true"], capture_output=True, check=False)
    return f"strace may not trace here: {done.stderr.decode()[:200]}" if done.returncode else ""


WHY_NOT = why_not()
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it works"),
    pytest.mark.timeout(600),
    pytest.mark.unmeasured,
]


@dataclass(frozen=True)
class Injection:
    """One fault at one occurrence of one system call."""

    call: str
    number: int
    fault: str

    def __str__(self) -> str:
        return f"{self.fault} at {self.call} {self.number}"


def strace(state: Path, words: list[str], *options: str, log: str = os.devnull) -> subprocess.CompletedProcess[str]:
    """Run ``harness backup`` under strace."""
    assert STRACE is not None
    command = [STRACE, "-f", "--seccomp-bpf", "-qq", "-y", "-o", log, *options]
    command += [sys.executable, "-m", "harness", "backup", *words, "--state-dir", str(state)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def say(state: Path, count: int) -> None:
    with closing(sqlite3.connect(state / FILE_NAME)) as connection, connection:
        for _ in range(count):
            connection.execute(
                "INSERT INTO message (mid, session, cid, role, text, state, error, at) "
                "VALUES (hex(randomblob(8)), 's', hex(randomblob(8)), 'user', 'a line', 'done', '', 0)"
            )


def rows(state: Path) -> int:
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM message").fetchone()[0])


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A state folder with a database of 25 rows and a backup of its first 20."""
    state = tmp_path / "template"
    state.mkdir()
    Store(state / FILE_NAME).close()
    say(state, OLD_ROWS)
    Backups(state / "backups").create(state / FILE_NAME)
    say(state, NEW_ROWS - OLD_ROWS)
    return state


def injections(template: Path, words: list[str], faults: Iterable[str]) -> list[Injection]:
    """Every system call of a run that goes well, with every fault."""
    state = template.with_name("counted")
    shutil.copytree(template, state)
    log = state / "calls"
    done = strace(state, words, "-e", f"trace={','.join(CALLS)}", log=str(log))
    assert done.returncode == 0, done
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text("utf-8", "replace"), flags=re.MULTILINE))
    assert calls["fsync"] >= 5
    assert calls["rename"] >= 2
    return [
        Injection(call, number, fault) for call in CALLS for number in range(1, calls[call] + 1) for fault in faults
    ]


def attempt(template: Path, words: list[str], injection: Injection) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A fresh copy of everything, and the command with one fault in it."""
    state = template.with_name(str(injection).replace(" ", "-"))
    shutil.copytree(template, state)
    what = f"inject={injection.call}:{injection.fault}:when={injection.number}"
    return state, strace(state, words, "-e", f"trace={injection.call}", "-e", what)


def judge_folder(state: Path) -> str:
    """What is wrong with the backups that a fault has left; empty if nothing is."""
    backups = Backups(state / "backups")
    before = backups.catalog()
    names = [entry.snapshot.name for entry in before.entries]
    corrupt = [finding for finding in backups.check(names, 3) if not finding.ok]
    strange = [each for each in before.orphans if each.kind not in (Kind.UNFINISHED, Kind.UNCOMMITTED)]
    if corrupt or strange or before.problems or not names:
        return f"corrupt {corrupt}, strange {strange}, problems {before.problems}, backups {names}"
    _, finding = backups.create(state / FILE_NAME)
    backup_pruning.prune(backups, Rules(), forced=True)
    after = backups.catalog()
    if not finding.ok or after.orphans or after.problems or len(after.entries) != len(names) + 1:
        return f"afterwards: {finding}, orphans {after.orphans}, problems {after.problems}"
    return ""


def judge_create(template: Path, injection: Injection) -> str:
    state, done = attempt(template, ["create"], injection)
    words = done.stderr.splitlines()
    wrong = judge_folder(state)
    if injection.fault.startswith("error") and injection.call != "unlink" and done.returncode not in (0, 1, 4):
        wrong += f" exit code {done.returncode}: {done.stderr}"
    if "Traceback" in done.stderr and "sys.stdout.flush" not in done.stderr and "print(" not in done.stderr:
        wrong += f" {words}"
    shutil.rmtree(state)
    return f"{injection}: {wrong}" if wrong else ""


def judge_restore(template: Path, injection: Injection) -> str:
    state, done = attempt(template, ["restore", OLD], injection)
    wrong = judge_folder(state)
    found = rows(state)
    expected = (OLD_ROWS,) if done.returncode == 0 else (OLD_ROWS, NEW_ROWS)
    if found not in expected:
        wrong += f" {found} rows, {done}"
    shutil.rmtree(state)
    return f"{injection}: {wrong}" if wrong else ""


OLD = "20"
"""The beginning of the name of the only backup."""


def test_no_fault_in_create_leaves_a_corrupt_backup(template: Path) -> None:
    every = injections(template, ["create"], FAULTS)
    with ThreadPoolExecutor(2) as pool:
        wrong = [each for each in pool.map(partial(judge_create, template), every) if each]
    print(f"create: {len(every)} injections, {len(wrong)} with a corrupt backup or a leftover that nobody knows")
    assert wrong == []


def test_no_fault_in_restore_leaves_half_a_database(template: Path) -> None:
    every = injections(template, ["restore", OLD], ("signal=KILL",))
    every += [replaced for each in every if (replaced := broken(each)) is not None]
    with ThreadPoolExecutor(2) as pool:
        wrong = [each for each in pool.map(partial(judge_restore, template), every) if each]
    print(f"restore: {len(every)} injections, {len(wrong)} with neither the old nor the new database")
    assert wrong == []


def broken(injection: Injection) -> Injection | None:
    """The same place on a broken disk, for the calls that put things in their place."""
    kinds = ("fsync", "rename", "unlink")
    return Injection(injection.call, injection.number, "error=EIO") if injection.call in kinds else None

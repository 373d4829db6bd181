"""After a leak check that was stopped, and after runs that end by themselves, nothing is left.

Runs that are stopped at the other distances: test_nothing_left.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from harness.errors import EXIT_INTERRUPTED, EXIT_PASS, EXIT_TARGET_DOWN

GONE_MAX_S = 40.0
LOAD = 'load = { users = 3, say_every_s = 0.2 }\nbots = [{ behaviour = "echo", count = 2 }]\n'
SHORT = f'name = "n"\nwhy = "w"\nduration_s = 2\n{LOAD}'
LEAK = f"{SHORT}memory = {{ cycles = 100, warm_up = 1, messages = 100 }}\n"


@contextmanager
def running(cwd: Path, scenario: str, distance: str) -> Iterator[subprocess.Popen[str]]:
    (cwd / "own.toml").write_text(scenario, "utf-8")
    command = [sys.executable, "-m", "harness", "run", "own.toml", "--distance", distance, "--plain"]
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "TMPDIR": str(temporary(cwd))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def temporary(cwd: Path) -> Path:
    """A folder with a short name, for the path of a Unix socket has little room."""
    link = cwd / "temporary"
    if not link.is_symlink():
        link.symlink_to(tempfile.mkdtemp(prefix="hv-"))
    return link.readlink()


@pytest.fixture(autouse=True)
def _tidy(tmp_path: Path) -> Iterator[None]:
    """Remove what ``temporary`` made: empty by then, or a test has failed."""
    yield
    if (tmp_path / "temporary").is_symlink():
        shutil.rmtree(temporary(tmp_path), ignore_errors=True)


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"the run ended without {word!r}:\n{said}")


def family(pid: int) -> list[psutil.Process]:
    """Every process below, the ones that were cut loose on purpose too: they are still children while we live."""
    return psutil.Process(pid).children(recursive=True)


def assert_nothing_is_left(cwd: Path, processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=GONE_MAX_S)
    assert alive == []
    deadline = time.monotonic() + GONE_MAX_S
    while (left := list(temporary(cwd).rglob("*"))) and time.monotonic() < deadline:
        time.sleep(0.05)  # The guardian removes what nobody else can, a moment after the processes.
    assert left == []
    temporary(cwd).rmdir()


def test_kill_9_of_a_leak_check(tmp_path: Path) -> None:
    with running(tmp_path, LEAK, "wired") as process:
        read_until(process, "cycle 1 of")
        processes = family(process.pid)
        assert len(processes) >= 4, "the service, two bots and a guardian at least"
        process.kill()
        process.wait()
    assert_nothing_is_left(tmp_path, processes)


def test_ctrl_c_in_a_leak_check(tmp_path: Path) -> None:
    with running(tmp_path, LEAK, "wired") as process:
        read_until(process, "cycle 1 of")
        processes = family(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == EXIT_INTERRUPTED, said
    assert "report: " in said
    assert_nothing_is_left(tmp_path, processes)
    lines = (tmp_path / "reports/runs/latest/journal.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[-1]) | {"t": 0} == {
        "t": 0,
        "source": "runner",
        "fact": "case-ended",
        "problem": "interrupted",
        "exit_code": EXIT_INTERRUPTED,
    }


@pytest.mark.parametrize("distance", ["wired", "browser"])
def test_a_run_that_ends_by_itself(tmp_path: Path, distance: str) -> None:
    with running(tmp_path, SHORT, distance) as process:
        said = read_until(process, "starting 2 bots" if distance == "wired" else "opening the page")
        processes = family(process.pid)
        assert process.stdout is not None
        said += process.stdout.read()
        assert process.wait() == EXIT_PASS, said
    assert_nothing_is_left(tmp_path, processes)


def test_a_service_that_cannot_start_is_exit_3_and_the_queue_goes_on(tmp_path: Path) -> None:
    """The folder for the bots' logs is a file: nothing that a case could do about it."""
    (tmp_path / ".deia").mkdir()
    (tmp_path / ".deia/bot-logs").write_text("in the way")
    with running(tmp_path, SHORT, "wired") as process:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == EXIT_TARGET_DOWN, said
    assert "bot-logs" in said
    assert "report: " in said
    assert "Traceback" not in said

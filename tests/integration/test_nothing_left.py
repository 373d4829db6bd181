"""After any end of ``harness run`` nothing is left: no process, no port, no temporary file. Real runs, real kill -9."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SCENARIO = """
name = "long enough to be interrupted"
why = "whoever stops a run must not have to clean up after it"
distances = ["wired", "browser"]
duration_s = 60
load = { users = 3, say_every_s = 0.2 }
bots = [{ behaviour = "echo", count = 2 }, { behaviour = "hang", options = { after = 3 } }]
"""
ALL_AT_WORK = {"wired": ("harness serve", "locust", "fake_bots"), "browser": ("harness serve", "chrom", "fake_bots")}


class Run:
    """A ``harness run`` whose every descendant can be found by a mark in its environment."""

    def __init__(self, tmp_path: Path, distance: str) -> None:
        self.mark = f"mark-{secrets.token_hex(8)}"
        self.tmp = tmp_path / "tmp"
        self.tmp.mkdir()
        scenario = tmp_path / "long.toml"
        scenario.write_text(SCENARIO)
        command = [sys.executable, "-m", "harness", "run", str(scenario), "--distance", distance, "--plain"]
        command += ["--state-dir", str(tmp_path / "state"), "--reports-dir", str(tmp_path / "reports")]
        self.log = tmp_path / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "TMPDIR": str(self.tmp), "NOBODY_READS_THIS": self.mark},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def family(self) -> list[psutil.Process]:
        """Every process that carries the mark, however it was started."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("NOBODY_READS_THIS") == self.mark and process.status() != "zombie":
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def wait_for(self, *words: str) -> None:
        """Wait until a process is at work for each word."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            lines = [" ".join(line) for line in map(cmdline, self.family())]
            if all(any(word in line for line in lines) for word in words):
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"never saw {words}: {self.log.read_text()}")

    def ports(self) -> set[int]:
        """What the family listens on."""
        ports = set()
        for process in self.family():
            try:
                ports |= listening(process.net_connections(kind="tcp"))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return ports


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def listening(connections: Iterable[Any]) -> set[int]:
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}


def nothing_is_left(run: Run, ports: set[int]) -> None:
    until = time.monotonic() + 20
    while run.family() and time.monotonic() < until:
        time.sleep(0.1)
    assert [cmdline(process) for process in run.family()] == []
    assert not ports & listening(psutil.net_connections(kind="tcp"))
    # The guardian removes the folders last.
    while list(run.tmp.iterdir()) and time.monotonic() < until:
        time.sleep(0.1)
    assert list(run.tmp.iterdir()) == []


@pytest.fixture(params=["wired", "browser"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Start a run and wait until everything that belongs to its distance is at work."""
    run = Run(tmp_path, request.param)
    try:
        run.wait_for(*ALL_AT_WORK[request.param])
        yield run
    finally:
        for process in run.family():
            process.kill()
        run.process.wait()


def test_ctrl_c_ends_in_order_with_a_report(run: Run, tmp_path: Path) -> None:
    ports = run.ports()
    assert ports
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(timeout=40) == 130, run.log.read_text()
    nothing_is_left(run, ports)
    assert list((tmp_path / "reports").rglob("report.html")), run.log.read_text()


def test_kill_9_of_the_harness_leaves_nothing(run: Run) -> None:
    ports = run.ports()
    assert ports
    run.process.kill()
    run.process.wait()
    nothing_is_left(run, ports)

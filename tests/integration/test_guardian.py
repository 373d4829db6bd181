"""The guardian ends whatever its owner left behind: real processes, a real kill -9."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from harness.adapters.processes import Guardian, end, reason

# The owner starts a child in its own session (which starts a grandchild in yet another one), then waits to be killed.
OWNER = """
import subprocess, sys, time
from pathlib import Path
from harness.adapters.processes import Guardian
guardian = Guardian.start()
Path({folder!r}).mkdir()
guardian.watch_path(Path({folder!r}))
child = subprocess.Popen([sys.executable, "-c", {child!r}], env=guardian.env(), start_new_session=True)
guardian.watch(child.pid)
time.sleep({stay})
guardian.close()
"""
CHILD = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
time.sleep(60)
"""


def own(tmp_path: Path, *, stay: float) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """Start an owner and wait until its guardian, child and grandchild are there."""
    program = OWNER.format(folder=str(tmp_path / "left"), child=CHILD, stay=stay)
    owner = subprocess.Popen([sys.executable, "-c", program])
    family: list[psutil.Process] = []
    until = time.monotonic() + 30
    while len(family) < 3 and time.monotonic() < until:
        family = psutil.Process(owner.pid).children(recursive=True)
        time.sleep(0.02)
    assert len(family) == 3, family
    return owner, family


def all_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not alive


def test_nothing_survives_kill_9_of_the_owner(tmp_path: Path) -> None:
    owner, family = own(tmp_path, stay=60)
    owner.kill()
    owner.wait()
    assert all_gone(family), "the guardian, the stubborn child and its runaway grandchild must all end"
    assert not (tmp_path / "left").exists()


def test_closing_ends_what_is_still_registered(tmp_path: Path) -> None:
    owner, family = own(tmp_path, stay=0.5)
    assert owner.wait(timeout=30) == 0
    assert all_gone(family)
    assert not (tmp_path / "left").exists()


def test_a_stopped_process_is_ended_too(tmp_path: Path) -> None:
    owner, family = own(tmp_path, stay=60)
    for process in family:
        if process.cmdline()[-1] == CHILD:
            process.send_signal(signal.SIGSTOP)
    owner.kill()
    owner.wait()
    assert all_gone(family)


def test_forgetting_leaves_alone(tmp_path: Path) -> None:
    guardian = Guardian.start()
    kept = tmp_path / "kept"
    kept.mkdir()
    guardian.watch_path(kept)
    guardian.forget_path(kept)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    guardian.watch(child.pid)
    guardian.forget(child.pid)
    guardian.close()
    assert child.poll() is None
    assert kept.is_dir()
    child.kill()
    child.wait()


def test_a_guardian_that_was_killed_does_not_break_its_owner() -> None:
    guardian = Guardian.start()
    guardian._process.kill()
    guardian._process.wait()
    guardian.watch(1)
    guardian.close()


def test_ending_is_polite_first_and_firm_after_the_grace() -> None:
    async def both() -> tuple[int, int]:
        polite = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import time; time.sleep(60)", start_new_session=True
        )
        program = "import signal,time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
        deaf = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, start_new_session=True, stdout=asyncio.subprocess.PIPE
        )
        assert deaf.stdout is not None
        await deaf.stdout.readline()
        return await end(polite, grace_s=10), await end(deaf, grace_s=0.2)

    assert asyncio.run(both()) == (-signal.SIGTERM, -signal.SIGKILL)


def test_reasons_read_well() -> None:
    assert reason(3) == "exit code 3"
    assert reason(-9) == "signal 9 (SIGKILL)"
    assert reason(-99) == "signal 99 (unknown)"

"""The guardian ends whatever its owner left behind: real processes, a real kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from harness.adapters.processes import Guardian, end, reason, sweep

# The owner starts a child in its own session (which starts a grandchild in yet another one), then waits to be killed.
OWNER = """
import subprocess, sys, time
from pathlib import Path
from harness.adapters.processes import Guardian
guardian = Guardian.start()
Path({folder!r}).mkdir()
guardian.watch_folder(Path({folder!r}))
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
    guardian.watch_folder(kept)
    guardian.forget_path(kept)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    guardian.watch(child.pid)
    guardian.forget(child.pid)
    guardian.close()
    assert child.poll() is None
    assert kept.is_dir()
    child.kill()
    child.wait()


def test_a_guardian_that_was_killed_is_replaced_by_one_that_knows_everything(tmp_path: Path) -> None:
    owner, family = own(tmp_path, stay=60)
    first = next(process for process in family if "_guardian.py" in "".join(process.cmdline()))
    first.kill()
    until = time.monotonic() + 30
    while not (new := set(psutil.Process(owner.pid).children()) - set(family)):
        assert time.monotonic() < until
        time.sleep(0.02)
    # It has read what it must know when it sleeps again, waiting for more.
    while next(iter(new)).status() != psutil.STATUS_SLEEPING or "_guardian.py" not in str(next(iter(new)).cmdline()):
        assert time.monotonic() < until
        time.sleep(0.02)
    owner.kill()
    owner.wait()
    assert all_gone([*family, *new])
    assert not (tmp_path / "left").exists()


def test_a_guardian_that_was_killed_lets_its_owner_close() -> None:
    guardian = Guardian.start()
    os.kill(guardian.pid, signal.SIGKILL)
    guardian.watch_file(Path("nowhere"))
    guardian.close()


def test_a_file_is_unlinked_and_a_folder_in_its_place_stays(tmp_path: Path) -> None:
    file, folder, swapped = tmp_path / "file", tmp_path / "folder", tmp_path / "swapped"
    file.write_text("x")
    folder.mkdir()
    swapped.mkdir()
    (swapped / "precious").write_text("x")
    guardian = Guardian.start()
    guardian.watch_file(file)
    guardian.watch_folder(folder)
    guardian.watch_file(swapped)
    guardian.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["precious", "swapped"]


def test_a_name_with_a_line_break_is_one_name(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    nasty = Path(f"{tmp_path}/x\nfolder {precious}")
    other = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff \n"))
    other.write_text("x")
    guardian = Guardian.start()
    guardian.watch_folder(nasty)
    guardian.watch_file(other)
    guardian.close()
    assert precious.is_dir()
    assert not other.exists()


def test_ending_what_has_ended_signals_nobody_else() -> None:
    """The leader's number is free once it was waited for; what it left in its group is not."""

    async def story() -> tuple[int, int]:
        leader = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            # Its child does not hold the pipe: the end of a process is told when its pipes are closed, too.
            "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
            "stdout=subprocess.DEVNULL); print(p.pid, flush=True)",
            start_new_session=True,
            stdout=asyncio.subprocess.PIPE,
        )
        assert leader.stdout is not None
        left = int(await leader.stdout.readline())
        await leader.wait()
        return left, await end(leader, grace_s=10)

    left, code = asyncio.run(story())
    assert code == 0
    assert not psutil.pid_exists(left) or all_gone([psutil.Process(left)])


def test_a_number_that_was_given_away_is_not_swept() -> None:
    """As long as there is a process of this number, the group is its own."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other:
        sweep(other.pid)
        assert other.poll() is None
        other.kill()


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

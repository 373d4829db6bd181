"""Processes: start children so that nothing of them can be left behind.

In    a command; a child to end
Out   a child in a session of its own; the guarantee that it ends when its owner does
Rule  every child is in its own process group and watched by a guardian before it can do anything
Why   no orphan process, no leftover temp file, no open port after any end, kill -9 included
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from harness.core.backoff import Backoff
from harness.core.classifier import Failure
from harness.errors import Kind
from harness.services.recovery import Recovery

MARK: Final = "HARNESS_GUARD"
DIED: Final = Failure(Kind.TRANSIENT, "guardian-died")
CLOSE_MAX_S: Final = 10.0
LIFE_MIN_S: Final = 1.0
"""A helper that ends sooner than this is replaced only after this time, and each time in a row after a longer one."""
REPLACING: Final = Backoff(base_s=0.5, cap_s=5.0)
"""How much longer."""
_GUARDIAN: Final = Path(__file__).with_name("_guardian.py")


class Guardian:
    """A helper process that ends what is registered when this process dies or calls ``close``.

    A thread waits for the helper: if somebody ends it, there is a new one at once, and it knows everything.
    """

    def __init__(self, token: str, recovery: Recovery | None = None) -> None:
        """Use ``Guardian.start``."""
        self._token, self._recovery = token, recovery
        self._watched: dict[str, str] = {}
        """What the helper has been told and still holds, in order: what it is about, and the line."""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process = self._launch()
        self._thread = threading.Thread(target=self._replace_on, name="guardian", daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, recovery: Recovery | None = None) -> Self:
        """Start the helper (about 20 ms); it is in a session of its own, so Ctrl-C does not reach it.

        ``recovery`` counts how often one ended too early.
        """
        return cls(secrets.token_hex(12), recovery)

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the environment for children: who carries it is found, wherever it was forked to."""
        env = dict(os.environ if base is None else base)
        env[MARK] = ":".join(filter(None, (env.get(MARK), self._token)))
        return env

    @property
    def pid(self) -> int:
        """The helper's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the helper runs; one that was ended is replaced within about a second."""
        return self._process.poll() is None

    def watch(self, pid: int) -> None:
        """End the process group ``pid`` when the owner is gone."""
        self._tell(str(pid), f"watch {pid}")

    def forget(self, pid: int) -> None:
        """The process has ended: its number may be given to another one."""
        self._tell(str(pid), f"forget {pid}", holds=False)

    def watch_file(self, path: Path) -> None:
        """Unlink this file when the owner is gone; a folder of this name stays."""
        self._tell(_written(path), f"file {_written(path)}")

    def watch_folder(self, path: Path) -> None:
        """Remove this folder and all that is in it when the owner is gone; only for folders that the owner made."""
        self._tell(_written(path), f"folder {_written(path)}")

    def forget_path(self, path: Path) -> None:
        """Leave this file or folder alone."""
        self._tell(_written(path), f"unpath {_written(path)}", holds=False)

    def close(self) -> None:
        """End whatever is still registered, and the guardian itself."""
        with self._lock:
            self._closing.set()
            _close(self._process)
        self._thread.join(timeout=CLOSE_MAX_S)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARDIAN), self._token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def _tell(self, about: str, line: str, *, holds: bool = True) -> None:
        with self._lock:
            self._watched.pop(about, None)
            if holds:
                self._watched[about] = line
            if not self._closing.is_set():
                _send(self._process, line)

    def _replace_on(self) -> None:
        """Wait for the helper's end; unless it was asked for, start the next one."""
        dice, early = random.Random(), 0
        while True:
            since = time.monotonic()
            self._process.wait()
            now = time.monotonic()
            if self._recovery is not None and not self._closing.is_set():
                self._recovery.note(DIED, now)
            early = early + 1 if now - since < LIFE_MIN_S else 0
            if early:  # Whatever ends it at once will do so again.
                self._closing.wait(REPLACING.delay_s(early - 1, dice, floor_s=LIFE_MIN_S))
            with self._lock:
                _close(self._process)
                if self._closing.is_set():
                    return
                try:
                    self._process = self._launch()
                except OSError:
                    continue  # No room for a process now: the owner's own clean-up still runs.
                for line in self._watched.values():
                    _send(self._process, line)


def _written(path: Path) -> str:
    return os.fsencode(path.absolute()).hex()


def _send(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    rest = line.encode("ascii") + b"\n"
    try:
        while rest:
            rest = rest[process.stdin.write(rest) or 0 :]
    except (BrokenPipeError, ValueError):
        return  # The helper was ended from outside; the next one is told everything.


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()


async def end(process: asyncio.subprocess.Process, *, grace_s: float) -> int:
    """End a child's process group: SIGTERM, after ``grace_s`` SIGKILL; give back its exit code."""
    if process.returncode is None:
        signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            if process.returncode is None:
                signal_group(process.pid, signal.SIGKILL)
    code = await process.wait()
    sweep(process.pid)
    return code


def sweep(pid: int) -> None:
    """Kill what a leader that was waited for has left in its process group.

    No process gets the number of a group that has members: if there is a process ``pid`` again, the group was empty and
    the number belongs to somebody else.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        signal_group(pid, signal.SIGKILL)
    except PermissionError:
        return


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def reason(code: int) -> str:
    """Put an exit code of a child into words: "exit code 3", "signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"signal {-code} ({name})"

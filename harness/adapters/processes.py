"""Processes: start children so that nothing of them can be left behind.

In    a command; a child to end
Out   a child in a session of its own; the guarantee that it ends when its owner does
Rule  every child is in its own process group and watched by a guardian before it can do anything
Why   no orphan process, no leftover temp file, no open port after any end, kill -9 included
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

MARK: Final = "HARNESS_GUARD"
_GUARDIAN: Final = Path(__file__).with_name("_guardian.py")


class Guardian:
    """A helper process that ends what is registered when this process dies or calls ``close``."""

    def __init__(self, process: subprocess.Popen[bytes], token: str) -> None:
        """Use ``Guardian.start``."""
        self._process, self._token = process, token

    @classmethod
    def start(cls) -> Self:
        """Start the helper (about 20 ms); it is in a session of its own, so Ctrl-C does not reach it."""
        token = secrets.token_hex(12)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARDIAN), token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )
        return cls(process, token)

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the environment for children: who carries it is found, wherever it was forked to."""
        env = dict(os.environ if base is None else base)
        env[MARK] = ":".join(filter(None, (env.get(MARK), self._token)))
        return env

    def watch(self, pid: int) -> None:
        """End the process group ``pid`` when the owner is gone."""
        self._tell(f"watch {pid}")

    def forget(self, pid: int) -> None:
        """The process has ended: its number may be given to another one."""
        self._tell(f"forget {pid}")

    def watch_path(self, path: Path) -> None:
        """Remove this file or folder when the owner is gone."""
        self._tell(f"path {path}")

    def forget_path(self, path: Path) -> None:
        """Leave this path alone."""
        self._tell(f"unpath {path}")

    def close(self) -> None:
        """End whatever is still registered, and the guardian itself."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except (BrokenPipeError, ValueError):
            return  # The guardian was ended from outside; the owner's own clean-up still runs.


async def end(process: asyncio.subprocess.Process, *, grace_s: float) -> int:
    """End a child's process group: SIGTERM, after ``grace_s`` SIGKILL; give back its exit code."""
    signal_group(process.pid, signal.SIGTERM)
    try:
        code = await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        signal_group(process.pid, signal.SIGKILL)
        code = await process.wait()
    # The leader is gone; members that it forked must not stay.
    signal_group(process.pid, signal.SIGKILL)
    return code


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
